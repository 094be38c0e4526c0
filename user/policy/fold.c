// SPDX-License-Identifier: Apache-2.0
#include "fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* --- view -------------------------------------------------------------------------------------------------- */

int pol_view_of(const struct pol_model *model, uint32_t self, bool is_host, struct pol_view *view)
{
	view->item = calloc(model->n_rules ? model->n_rules : 1, sizeof(*view->item));
	if (!view->item)
		return -ENOMEM;
	view->n = 0;
	for (size_t i = 0; i < model->n_rules; i++) {
		const struct pol_rule *rule = &model->rule[i];
		bool is_in = pol_side_has(&rule->to, self), is_out = pol_side_has(&rule->from, self);

		if (rule->is_host != is_host || (!is_in && !is_out))
			continue;
		view->item[view->n++] = (struct pol_view_item){ .rule = rule, .is_in = is_in, .is_out = is_out };
	}
	return 0;
}

void pol_view_fini(struct pol_view *view)
{
	free(view->item);
	free(view->cut);
	*view = (struct pol_view){ 0 };
}

bool pol_view_has(const struct pol_view *view, size_t i, enum by_dir dir)
{
	return dir == BY_DIR_IN ? view->item[i].is_in : view->item[i].is_out;
}

const struct pol_side *pol_view_side(const struct pol_view *view, size_t i, enum by_dir dir)
{
	return dir == BY_DIR_IN ? &view->item[i].rule->from : &view->item[i].rule->to;
}

const struct pol_range *pol_view_ports(const struct pol_view *view, size_t i, enum by_dir dir, size_t *n)
{
	const struct pol_view_item *item = &view->item[i];

	*n = item->own[dir] ? item->n_own[dir] : item->rule->n_ports;
	return item->own[dir] ? item->own[dir] : item->rule->port;
}

static size_t intersect(const struct pol_range *a, size_t n_a, const struct pol_range *b, size_t n_b,
			struct pol_range *out)
{
	size_t i = 0, j = 0, n = 0;

	while (i < n_a && j < n_b) {
		uint32_t first = a[i].first > b[j].first ? a[i].first : b[j].first;
		uint32_t last = a[i].last < b[j].last ? a[i].last : b[j].last;

		if (first <= last)
			out[n++] = (struct pol_range){ first, last };
		if (a[i].last < b[j].last)
			i++;
		else
			j++;
	}
	return n;
}

/* All that is not in `a`; room for n + 1. */
static size_t complement(const struct pol_range *a, size_t n_a, struct pol_range *out)
{
	uint32_t first = 0;
	size_t n = 0;

	for (size_t i = 0; i < n_a; i++) {
		if (a[i].first > first)
			out[n++] = (struct pol_range){ first, a[i].first - 1 };
		first = a[i].last + 1;
	}
	if (first < BY_PORT_SPACE)
		out[n++] = (struct pol_range){ first, BY_PORT_SPACE - 1 };
	return n;
}

/* Ranges that two lists have in common are fewer than both have together. */
static size_t room_for_cuts(const struct pol_view *view, size_t n_mesh)
{
	size_t room = 1;

	for (size_t i = 0; i < view->n; i++)
		if (view->item[i].rule->n_http)
			room += view->item[i].rule->n_ports + n_mesh + 1;
	return room;
}

int pol_view_narrow(struct pol_view *view, const struct pol_range *mesh, size_t n_mesh)
{
	auto_free struct pol_range *rest = calloc(n_mesh + 1, sizeof(*rest));
	size_t n_rest, at = 0;

	view->cut = calloc(room_for_cuts(view, n_mesh), sizeof(*view->cut));
	if (!rest || !view->cut)
		return -ENOMEM;
	n_rest = complement(mesh, n_mesh, rest);
	for (size_t i = 0; i < view->n; i++) {
		struct pol_view_item *item = &view->item[i];
		bool is_deny = item->rule->action == BY_DENY;

		if (!item->rule->n_http)
			continue;
		item->own[BY_DIR_IN] = &view->cut[at];
		item->n_own[BY_DIR_IN] = intersect(item->rule->port, item->rule->n_ports, is_deny ? rest : mesh,
						   is_deny ? n_rest : n_mesh, &view->cut[at]);
		at += item->n_own[BY_DIR_IN];
		if (is_deny)
			item->own[BY_DIR_OUT] = &view->cut[at]; /* none */
	}
	return 0;
}

/* --- ports ------------------------------------------------------------------------------------------------- */

/*
 * A set of rules is named by the XOR of 128 random bits per rule, so one sweep over the port space keeps the name
 * of the set that covers each selector. The bits come from the digest of the policy's own text: two sets with one
 * name would merge two classes, and nobody can choose a text for which that happens without breaking SHAKE256 or
 * trying some 2^94 of them; by accident it is less likely than a broken memory.
 */
struct set_name {
	uint64_t high, low;
};

struct sweep {
	struct set_name flip[BY_PORT_SPACE + 1]; /* what changes at this selector */
	int32_t depth[BY_PORT_SPACE + 1];        /* how many more rules cover from here on */
};

struct segment {
	struct set_name name;
	uint32_t first;
	uint32_t leader; /* index of the first segment of the same name */
	uint16_t class;
};

static void flip(struct set_name *at, const struct set_name *name)
{
	at->high ^= name->high;
	at->low ^= name->low;
}

static int sweep_fill(struct sweep *sweep, const struct pol_view *view, enum by_dir dir, const uint8_t seed[32])
{
	auto_free struct set_name *name = calloc(view->n + 1, sizeof(*name));
	int ret = name ? pol_shake256(seed, 32, name, (view->n + 1) * sizeof(*name)) : -ENOMEM;

	for (size_t i = 0; !ret && i < view->n; i++) {
		size_t n;
		const struct pol_range *port = pol_view_ports(view, i, dir, &n);

		if (!pol_view_has(view, i, dir))
			continue;
		for (size_t j = 0; j < n; j++) {
			flip(&sweep->flip[port[j].first], &name[i]);
			flip(&sweep->flip[port[j].last + 1], &name[i]);
			sweep->depth[port[j].first]++;
			sweep->depth[port[j].last + 1]--;
		}
	}
	return ret;
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct segment *all = arg, *x = &all[*(const uint32_t *)a], *y = &all[*(const uint32_t *)b];

	if (x->name.high != y->name.high)
		return x->name.high < y->name.high ? -1 : 1;
	if (x->name.low != y->name.low)
		return x->name.low < y->name.low ? -1 : 1;
	return (x > y) - (x < y);
}

static bool same_name(const struct segment *a, const struct segment *b)
{
	return a->name.high == b->name.high && a->name.low == b->name.low;
}

/* Cuts the space where the covering set changes. Covered segments only; `at` of a selector is its segment + 1. */
static uint32_t cut(const struct sweep *sweep, struct segment *segment, uint32_t *at)
{
	struct set_name name = { 0 };
	int64_t depth = 0;
	uint32_t n = 0;

	for (uint32_t s = 0; s < BY_PORT_SPACE; s++) {
		bool is_same = !sweep->flip[s].high && !sweep->flip[s].low && s;

		flip(&name, &sweep->flip[s]);
		depth += sweep->depth[s];
		if (depth > 0 && (!is_same || !at[s - 1]))
			segment[n++] = (struct segment){ .name = name, .first = s };
		at[s] = depth > 0 ? n : 0;
	}
	return n;
}

static int find_leaders(struct segment *segment, uint32_t n)
{
	auto_free uint32_t *order = calloc(n ? n : 1, sizeof(*order));

	if (!order)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof(*order), by_name, segment);
	for (uint32_t i = 0; i < n; i++) {
		bool is_new = !i || !same_name(&segment[order[i]], &segment[order[i - 1]]);

		segment[order[i]].leader = is_new ? order[i] : segment[order[i - 1]].leader;
	}
	return 0;
}

static int number_classes(struct segment *segment, uint32_t n, struct pol_ports *ports, struct err *e)
{
	uint32_t n_classes = 0;

	for (uint32_t i = 0; i < n; i++)
		n_classes += segment[i].leader == i;
	if (n_classes > UINT16_MAX)
		return err_at(e, -E2BIG, "policy",
			      "the rules of this node tell %u sets of ports apart, the limit is %d", n_classes,
			      UINT16_MAX);
	ports->sample = calloc(n_classes + 1, sizeof(*ports->sample));
	if (!ports->sample)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (segment[i].leader == i)
			ports->sample[++ports->n] = segment[i].first;
		segment[i].class = segment[i].leader == i ? (uint16_t)ports->n : segment[segment[i].leader].class;
	}
	return 0;
}

int pol_ports_fold(const struct pol_view *view, enum by_dir dir, const uint8_t seed[32], struct pol_ports *ports,
		   struct err *e)
{
	auto_free struct sweep *sweep = calloc(1, sizeof(*sweep));
	auto_free struct segment *segment = calloc(BY_PORT_SPACE, sizeof(*segment));
	auto_free uint32_t *at = calloc(BY_PORT_SPACE, sizeof(*at));
	uint32_t n;
	int ret;

	*ports = (struct pol_ports){ .class_at = calloc(BY_PORT_SPACE, sizeof(*ports->class_at)) };
	if (!sweep || !segment || !at || !ports->class_at)
		return -ENOMEM;
	ret = sweep_fill(sweep, view, dir, seed);
	if (ret)
		return ret;
	n = cut(sweep, segment, at);
	ret = find_leaders(segment, n);
	if (!ret)
		ret = number_classes(segment, n, ports, e);
	for (uint32_t s = 0; !ret && s < BY_PORT_SPACE; s++)
		ports->class_at[s] = at[s] ? segment[at[s] - 1].class : 0;
	return ret;
}

void pol_ports_fini(struct pol_ports *ports)
{
	free(ports->class_at);
	free(ports->sample);
	*ports = (struct pol_ports){ 0 };
}

/* The least class whose sample is not below `selector`; n + 1 when there is none. */
static uint32_t class_from(const struct pol_ports *ports, uint32_t selector)
{
	uint32_t low = 1, high = ports->n + 1;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (ports->sample[mid] < selector)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void pol_ports_find(const struct pol_ports *ports, const struct pol_range *range, uint32_t *first, uint32_t *end)
{
	*first = class_from(ports, range->first);
	*end = class_from(ports, range->last + 1);
}

/* --- peers ------------------------------------------------------------------------------------------------- */

/* Calls of this with side NULL count; then, with room made, they fill. */
static void walk_sides(const struct pol_view *view, uint32_t *next, uint32_t *side)
{
	for (size_t i = 0; i < view->n; i++) {
		for (int dir = BY_DIR_IN; dir < BY_DIR_COUNT; dir++) {
			const struct pol_side *s = pol_view_side(view, i, (enum by_dir)dir);

			if (!pol_view_has(view, i, (enum by_dir)dir) || s->is_any)
				continue;
			for (size_t j = 0; j < s->n; j++) {
				if (side)
					side[next[s->point[j]]] = (uint32_t)(2 * i) + (uint32_t)dir;
				next[s->point[j]]++;
			}
		}
	}
}

static int list_sides(const struct pol_view *view, struct pol_peers *peers)
{
	auto_free uint32_t *next = calloc(peers->n_points + 1u, sizeof(*next));

	peers->start = calloc(peers->n_points + 1u, sizeof(*peers->start));
	if (!next || !peers->start)
		return -ENOMEM;
	walk_sides(view, next, NULL);
	for (uint32_t a = 0; a < peers->n_points; a++)
		peers->start[a + 1] = peers->start[a] + next[a];
	peers->side = calloc(peers->start[peers->n_points] + 1, sizeof(*peers->side));
	if (!peers->side)
		return -ENOMEM;
	memcpy(next, peers->start, peers->n_points * sizeof(*next));
	walk_sides(view, next, peers->side);
	return 0;
}

static int compare_sides(const struct pol_peers *peers, uint32_t a, uint32_t b)
{
	uint32_t n_a = peers->start[a + 1] - peers->start[a], n_b = peers->start[b + 1] - peers->start[b];

	if (n_a != n_b)
		return n_a < n_b ? -1 : 1;
	return memcmp(&peers->side[peers->start[a]], &peers->side[peers->start[b]], n_a * sizeof(*peers->side));
}

static int by_sides(const void *a, const void *b, void *arg)
{
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = compare_sides(arg, i, j);

	return order ? order : (i > j) - (i < j);
}

/* order: the points, those with the same sides together and the least of them first. */
static void number_peers(struct pol_peers *peers, const uint32_t *order, uint32_t *leader, uint32_t n_points)
{
	for (uint32_t i = 0; i < n_points; i++) {
		bool is_new = !i || compare_sides(peers, order[i - 1], order[i]) != 0;

		leader[order[i]] = is_new ? order[i] : leader[order[i - 1]];
	}
	peers->n = POL_CLASS_OTHER;
	for (uint32_t a = 0; a < n_points; a++) {
		bool is_named = peers->start[a + 1] > peers->start[a];

		if (is_named && leader[a] == a)
			peers->sample[++peers->n] = a;
		peers->class_of[a] = !is_named        ? POL_CLASS_OTHER
				     : leader[a] == a ? peers->n
						      : peers->class_of[leader[a]];
	}
}

int pol_peers_fold(const struct pol_view *view, uint32_t n_points, struct pol_peers *peers)
{
	auto_free uint32_t *order = calloc(n_points + 1u, sizeof(*order));
	auto_free uint32_t *leader = calloc(n_points + 1u, sizeof(*leader));
	int ret;

	*peers = (struct pol_peers){ .n_points = n_points,
				     .class_of = calloc(n_points + 1u, sizeof(*peers->class_of)),
				     .sample = calloc(n_points + 2u, sizeof(*peers->sample)) };
	if (!order || !leader || !peers->class_of || !peers->sample)
		return -ENOMEM;
	ret = list_sides(view, peers);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < n_points; i++)
		order[i] = i;
	qsort_r(order, n_points, sizeof(*order), by_sides, peers);
	number_peers(peers, order, leader, n_points);
	return 0;
}

void pol_peers_fini(struct pol_peers *peers)
{
	free(peers->class_of);
	free(peers->start);
	free(peers->side);
	free(peers->sample);
	*peers = (struct pol_peers){ 0 };
}
