// SPDX-License-Identifier: Apache-2.0
/*
 * The difference of two models, exact. Points that the same rules name as `from` are one class. For such a class the
 * rules of both policies that have it are few; they are sorted by the points that they name as `to`, and for each such
 * point, and once for all kinds and once for all cells that none of them names, the allowed ports of both policies are
 * computed as sets and subtracted. Then what has the same ports becomes one change.
 */
#include "diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model.h"

enum { KINDS, CELLS, PLANES };

/* A rule of either policy; its number is that of the old policy's rules and then the new one's. */
struct work {
	const struct pol_model *model[2];
	struct pol_diff *diff;
	uint32_t *at[2], *cut[2]; /* the points of model m's point p: cut[m][at[m][p]] .. cut[m][at[m][p + 1] - 1] */
	uint32_t *start, *name;   /* rules that name point p as from: name[start[p]] .. name[start[p + 1] - 1] */
	uint32_t *order;          /* points; those of one class together */
	uint32_t *any[PLANES];    /* rules whose from is any-attested; is world */
	size_t n_any[PLANES], room, n_pairs;
};

/* What is at hand for one class of `from`. */
struct part {
	uint32_t *rule; /* that have the class as from */
	size_t n_rules;
	uint64_t *to; /* point << 32 | rule, for the lists among their `to`; sorted */
	size_t n_to;
	/* scratch, room for all their ports; `door` is what lets some request pass, `net` whatever is said */
	struct pol_range *allow[2], *http[2], *deny[2], *net[2], *door[2], *out, *known;
	size_t first; /* the part's first change */
};

static void work_fini(struct work *w)
{
	for (int m = 0; m < 2; m++) {
		free(w->at[m]);
		free(w->cut[m]);
		free(w->any[m]);
	}
	free(w->start);
	free(w->name);
	free(w->order);
}

static void part_fini(struct part *p)
{
	for (int m = 0; m < 2; m++) {
		free(p->allow[m]);
		free(p->http[m]);
		free(p->deny[m]);
		free(p->net[m]);
		free(p->door[m]);
	}
	free(p->out);
	free(p->known);
	free(p->rule);
	free(p->to);
}

static int model_of(const struct work *w, uint32_t rule)
{
	return rule >= w->model[0]->n_rules;
}

static const struct pol_rule *rule_of(const struct work *w, uint32_t rule)
{
	size_t n_old = w->model[0]->n_rules;

	return rule < n_old ? &w->model[0]->rule[rule] : &w->model[1]->rule[rule - n_old];
}

static size_t rules_of_both(const struct work *w)
{
	return w->model[0]->n_rules + w->model[1]->n_rules;
}

static void *room_for(size_t n, size_t size)
{
	return calloc(n ? n : 1, size);
}

/* The points that either policy's points are cut into. */
static int list_cuts(struct work *w, int m)
{
	const struct pol_diff *diff = w->diff;
	uint32_t n_own = pol_points(w->model[m]);
	auto_free uint32_t *next = room_for(n_own, sizeof(*next));

	w->at[m] = room_for(n_own + 1u, sizeof(*w->at[m]));
	w->cut[m] = room_for(diff->n, sizeof(*w->cut[m]));
	if (!next || !w->at[m] || !w->cut[m])
		return -ENOMEM;
	for (size_t p = 0; p < diff->n; p++)
		w->at[m][diff->point[p].own[m] + 1]++;
	for (uint32_t p = 0; p < n_own; p++) {
		w->at[m][p + 1] += w->at[m][p];
		next[p] = w->at[m][p];
	}
	for (uint32_t p = 0; p < diff->n; p++)
		w->cut[m][next[diff->point[p].own[m]]++] = p;
	return 0;
}

static int plane_of(const struct work *w, uint32_t point)
{
	return point < w->diff->n_kinds ? KINDS : CELLS;
}

/* Whether the side is all kinds, or all cells. */
static bool is_all(const struct work *w, uint32_t rule, const struct pol_side *side, int plane)
{
	uint32_t n_kinds = w->model[model_of(w, rule)]->kinds.n;

	return side->is_any && (side->first < n_kinds ? KINDS : CELLS) == plane;
}

/* --- classes of from --------------------------------------------------------------------------------------- */

/* With name NULL it counts. */
static void walk_from(const struct work *w, uint32_t *next, uint32_t *name)
{
	for (uint32_t r = 0; r < rules_of_both(w); r++) {
		const struct pol_side *side = &rule_of(w, r)->from;
		int m = model_of(w, r);

		for (size_t i = 0; !side->is_any && i < side->n; i++) {
			for (uint32_t c = w->at[m][side->point[i]]; c < w->at[m][side->point[i] + 1]; c++) {
				uint32_t point = w->cut[m][c];

				if (name)
					name[next[point]] = r;
				next[point]++;
			}
		}
	}
}

static int compare_from(const struct work *w, uint32_t a, uint32_t b)
{
	uint32_t n_a = w->start[a + 1] - w->start[a], n_b = w->start[b + 1] - w->start[b];

	if (plane_of(w, a) != plane_of(w, b))
		return plane_of(w, a) - plane_of(w, b);
	if (n_a != n_b)
		return n_a < n_b ? -1 : 1;
	return memcmp(&w->name[w->start[a]], &w->name[w->start[b]], n_a * sizeof(*w->name));
}

static int order_from(const void *a, const void *b, void *arg)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int order = compare_from(arg, x, y);

	return order ? order : (x > y) - (x < y);
}

static int make_classes(struct work *w)
{
	uint32_t n = (uint32_t)w->diff->n;
	auto_free uint32_t *next = calloc(n, sizeof(*next));

	w->start = calloc(n + 1u, sizeof(*w->start));
	w->order = calloc(n, sizeof(*w->order));
	if (!next || !w->start || !w->order)
		return -ENOMEM;
	walk_from(w, next, NULL);
	for (uint32_t p = 0; p < n; p++) {
		w->order[p] = p;
		w->start[p + 1] = w->start[p] + next[p];
	}
	w->name = room_for(w->start[n], sizeof(*w->name));
	if (!w->name)
		return -ENOMEM;
	memcpy(next, w->start, n * sizeof(*next));
	walk_from(w, next, w->name);
	qsort_r(w->order, n, sizeof(*w->order), order_from, w);
	return 0;
}

/* --- ports ------------------------------------------------------------------------------------------------- */

/* a without b; room for n_a + n_b */
static size_t subtract(const struct pol_range *a, size_t n_a, const struct pol_range *b, size_t n_b,
		       struct pol_range *out)
{
	size_t j = 0, n = 0;

	for (size_t i = 0; i < n_a; i++) {
		uint32_t first = a[i].first;

		while (j < n_b && b[j].last < first)
			j++;
		for (size_t k = j; k < n_b && b[k].first <= a[i].last && first <= a[i].last; k++) {
			if (b[k].first > first)
				out[n++] = (struct pol_range){ first, b[k].first - 1 };
			first = b[k].last + 1;
		}
		if (first <= a[i].last)
			out[n++] = (struct pol_range){ first, a[i].last };
	}
	return n;
}

struct fill {
	size_t n_allow[2], n_http[2], n_deny[2];
};

struct nets {
	size_t n[2], n_door[2];
};

static void take_ports(const struct work *w, struct part *p, uint32_t r, struct fill *f)
{
	const struct pol_rule *rule = rule_of(w, r);
	int m = model_of(w, r);
	bool is_deny = rule->action == BY_DENY;
	struct pol_range *into = is_deny ? p->deny[m] : rule->n_http ? p->http[m] : p->allow[m];
	size_t *n = is_deny ? &f->n_deny[m] : rule->n_http ? &f->n_http[m] : &f->n_allow[m];

	if (is_deny && (rule->flags & BY_RULE_AUDIT || rule->n_http)) /* denies nothing, or some requests */
		return;
	memcpy(&into[*n], rule->port, rule->n_ports * sizeof(*into));
	*n += rule->n_ports;
}

static void net_of(struct part *p, int m, struct fill *f, struct nets *nets)
{
	pol_range_merge(p->allow[m], &f->n_allow[m]);
	pol_range_merge(p->deny[m], &f->n_deny[m]);
	nets->n[m] = subtract(p->allow[m], f->n_allow[m], p->deny[m], f->n_deny[m], p->net[m]);
	memcpy(&p->http[m][f->n_http[m]], p->allow[m], f->n_allow[m] * sizeof(*p->out));
	f->n_http[m] += f->n_allow[m];
	pol_range_merge(p->http[m], &f->n_http[m]);
	nets->n_door[m] = subtract(p->http[m], f->n_http[m], p->deny[m], f->n_deny[m], p->door[m]);
}

/* What both policies allow to a point that those rules name (to[0..n-1]) and that all of its plane has as well. */
static void net_ports(const struct work *w, struct part *p, int plane, const uint64_t *to, size_t n, struct nets *nets)
{
	struct fill f = { 0 };

	for (size_t i = 0; i < n; i++)
		take_ports(w, p, (uint32_t)to[i], &f);
	for (size_t i = 0; i < p->n_rules; i++)
		if (is_all(w, p->rule[i], &rule_of(w, p->rule[i])->to, plane))
			take_ports(w, p, p->rule[i], &f);
	for (int m = 0; m < 2; m++)
		net_of(p, m, &f, nets);
}

/* --- changes ----------------------------------------------------------------------------------------------- */

static bool same_ports(const struct pol_change *a, const struct pol_range *port, size_t n)
{
	return a->n_ports == n && memcmp(a->port, port, n * sizeof(*port)) == 0;
}

static struct pol_change *new_change(struct work *w, enum by_action now, bool is_http, const struct pol_range *port,
				     size_t n)
{
	struct pol_diff *diff = w->diff;
	struct pol_change *c = NULL;

	if (diff->n_changes == w->room) {
		size_t room = w->room ? 2 * w->room : 16;

		c = reallocarray(diff->change, room, sizeof(*c));
		if (!c)
			return NULL;
		diff->change = c;
		w->room = room;
	}
	c = &diff->change[diff->n_changes];
	*c = (struct pol_change){ .now = now, .is_http = is_http, .port = room_for(n, sizeof(*port)), .n_ports = n };
	if (!c->port)
		return NULL;
	memcpy(c->port, port, n * sizeof(*port));
	diff->n_changes++;
	return c;
}

/* The part's change of these ports for that plane, made when there is none. */
static struct pol_change *change_of(struct work *w, const struct part *p, enum by_action now, bool is_http, int plane,
				    size_t n)
{
	for (size_t i = p->first; i < w->diff->n_changes; i++) {
		struct pol_change *c = &w->diff->change[i];

		if (c->now == now && c->is_http == is_http && plane_of(w, c->to.point[0]) == plane &&
		    same_ports(c, p->out, n))
			return c;
	}
	return new_change(w, now, is_http, p->out, n);
}

static int side_add(struct work *w, struct pol_diff_side *side, uint32_t point)
{
	uint32_t *grown;

	if (++w->n_pairs > POL_DIFF_PAIRS)
		return -E2BIG;
	if (!(side->n & (side->n - 1))) { /* room is the next power of two */
		grown = reallocarray(side->point, side->n ? 2 * side->n : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		side->point = grown;
	}
	side->point[side->n++] = point;
	return 0;
}

/* Into p->out what policy m has beyond the other one: of HTTP what is not told without it already. */
static size_t beyond(struct part *p, int m, bool is_http, const struct nets *nets)
{
	size_t n = subtract(p->net[m], nets->n[m], p->net[!m], nets->n[!m], is_http ? p->known : p->out), n_door;

	if (!is_http)
		return n;
	n_door = subtract(p->door[m], nets->n_door[m], p->door[!m], nets->n_door[!m], p->allow[0]);
	return subtract(p->allow[0], n_door, p->known, n, p->out);
}

/* Notes for some points of `to` what has come and what has gone. */
static int note(struct work *w, struct part *p, const struct nets *nets, const uint32_t *point, size_t n_points)
{
	int plane = n_points ? plane_of(w, point[0]) : KINDS;

	for (int i = 0; n_points && i < 4; i++) { /* come and gone, then the same of HTTP */
		bool is_http = i >= 2;
		int m = !(i % 2);
		size_t n = beyond(p, m, is_http, nets);
		struct pol_change *change = n ? change_of(w, p, m ? BY_ALLOW : BY_DENY, is_http, plane, n) : NULL;
		int ret = n && !change ? -ENOMEM : 0;

		for (size_t at = 0; change && !ret && at < n_points; at++)
			ret = side_add(w, &change->to, point[at]);
		if (ret)
			return ret;
	}
	return 0;
}

static int note_named(struct work *w, struct part *p)
{
	struct nets nets;

	for (size_t i = 0, end; i < p->n_to; i = end) {
		uint32_t point = (uint32_t)(p->to[i] >> 32);
		int ret;

		for (end = i; end < p->n_to && p->to[end] >> 32 == point;)
			end++;
		net_ports(w, p, plane_of(w, point), &p->to[i], end - i, &nets);
		ret = note(w, p, &nets, &point, 1);
		if (ret)
			return ret;
	}
	return 0;
}

/* All points of a plane that no list of these rules names. */
static size_t find_rest(const struct work *w, const struct part *p, int plane, uint32_t *rest)
{
	size_t n = 0, at = 0, first = plane == KINDS ? 0 : w->diff->n_kinds;
	size_t end = plane == KINDS ? w->diff->n_kinds : w->diff->n;

	for (size_t a = first; a < end; a++) {
		while (at < p->n_to && p->to[at] >> 32 < a)
			at++;
		if (at == p->n_to || p->to[at] >> 32 != a)
			rest[n++] = (uint32_t)a;
	}
	return n;
}

static bool same_nets(const struct part *p, const struct nets *nets)
{
	return nets->n[0] == nets->n[1] && memcmp(p->net[0], p->net[1], nets->n[0] * sizeof(*p->out)) == 0 &&
	       nets->n_door[0] == nets->n_door[1] &&
	       memcmp(p->door[0], p->door[1], nets->n_door[0] * sizeof(*p->out)) == 0;
}

static int note_rest(struct work *w, struct part *p, int plane)
{
	auto_free uint32_t *rest = NULL;
	struct nets nets;

	net_ports(w, p, plane, NULL, 0, &nets);
	if (same_nets(p, &nets))
		return 0;
	rest = calloc(w->diff->n, sizeof(*rest));
	return rest ? note(w, p, &nets, rest, find_rest(w, p, plane, rest)) : -ENOMEM;
}

/* --- one class of from ------------------------------------------------------------------------------------- */

static int order_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int find_any(struct work *w)
{
	for (int plane = 0; plane < PLANES; plane++) {
		w->any[plane] = room_for(rules_of_both(w), sizeof(*w->any[plane]));
		if (!w->any[plane])
			return -ENOMEM;
		for (uint32_t r = 0; r < rules_of_both(w); r++)
			if (is_all(w, r, &rule_of(w, r)->from, plane))
				w->any[plane][w->n_any[plane]++] = r;
	}
	return 0;
}

static int find_rules(const struct work *w, uint32_t from, struct part *p)
{
	uint32_t n = w->start[from + 1] - w->start[from];
	int plane = plane_of(w, from);

	p->n_rules = n + w->n_any[plane];
	p->rule = room_for(p->n_rules, sizeof(*p->rule));
	if (!p->rule)
		return -ENOMEM;
	memcpy(p->rule, &w->name[w->start[from]], n * sizeof(*p->rule));
	memcpy(p->rule + n, w->any[plane], w->n_any[plane] * sizeof(*p->rule));
	return 0;
}

/* With `to` NULL it counts. */
static size_t walk_to(const struct work *w, const struct part *p, uint64_t *to)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_rules; i++) {
		const struct pol_side *side = &rule_of(w, p->rule[i])->to;
		int m = model_of(w, p->rule[i]);

		for (size_t j = 0; !side->is_any && j < side->n; j++)
			for (uint32_t c = w->at[m][side->point[j]]; c < w->at[m][side->point[j] + 1]; c++, n++)
				if (to)
					to[n] = (uint64_t)w->cut[m][c] << 32 | p->rule[i];
	}
	return n;
}

static int find_to(const struct work *w, struct part *p)
{
	p->n_to = walk_to(w, p, NULL);
	p->to = room_for(p->n_to, sizeof(*p->to));
	if (!p->to)
		return -ENOMEM;
	walk_to(w, p, p->to);
	qsort(p->to, p->n_to, sizeof(*p->to), order_u64);
	return 0;
}

/* A list without another one has at most as many ranges as both; what is left of four of them is the most. */
static int make_scratch(const struct work *w, struct part *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_rules; i++)
		n += rule_of(w, p->rule[i])->n_ports;
	for (int m = 0; m < 2; m++) {
		p->allow[m] = room_for(4 * n, sizeof(*p->out));
		p->http[m] = room_for(n, sizeof(*p->out));
		p->deny[m] = room_for(n, sizeof(*p->out));
		p->net[m] = room_for(2 * n, sizeof(*p->out));
		p->door[m] = room_for(2 * n, sizeof(*p->out));
		if (!p->allow[m] || !p->http[m] || !p->deny[m] || !p->net[m] || !p->door[m])
			return -ENOMEM;
	}
	p->out = room_for(8 * n, sizeof(*p->out));
	p->known = room_for(4 * n, sizeof(*p->out));
	return p->out && p->known ? 0 : -ENOMEM;
}

/* The class's points are point[0..n-1]. */
static int compare_class(struct work *w, const uint32_t *point, size_t n)
{
	auto_call(part_fini) struct part p = { .first = w->diff->n_changes };
	int ret = find_rules(w, point[0], &p);

	if (!ret)
		ret = find_to(w, &p);
	if (!ret)
		ret = make_scratch(w, &p);
	if (!ret)
		ret = note_named(w, &p);
	for (int plane = 0; !ret && plane < PLANES; plane++)
		ret = note_rest(w, &p, plane);
	for (size_t c = p.first; !ret && c < w->diff->n_changes; c++)
		for (size_t i = 0; !ret && i < n; i++)
			ret = side_add(w, &w->diff->change[c].from, point[i]);
	return ret;
}

static int compare_all(struct work *w)
{
	size_t n = w->diff->n;
	int ret = 0;

	for (size_t i = 0, end; !ret && i < n; i = end) {
		for (end = i + 1; end < n && compare_from(w, w->order[i], w->order[end]) == 0;)
			end++;
		ret = compare_class(w, &w->order[i], end - i);
	}
	return ret;
}

int pol_diff_make(const struct pol_model *old, const struct pol_model *new, struct pol_diff *diff, struct err *e)
{
	struct pol_diff made = { 0 };
	auto_call(work_fini) struct work w = { .model = { old, new }, .diff = &made };
	int ret = pol_diff_points(w.model, &made);
	bool is_cut = !ret;

	for (int m = 0; !ret && m < 2; m++)
		ret = list_cuts(&w, m);
	if (!ret)
		ret = make_classes(&w);
	if (!ret)
		ret = find_any(&w);
	if (!ret)
		ret = compare_all(&w);
	if (!ret)
		ret = pol_diff_join(&made);
	if (!ret)
		ret = pol_diff_rules(w.model, &made);
	if (!ret) {
		*diff = made;
		return 0;
	}
	pol_diff_fini(&made);
	if (ret == -E2BIG && !is_cut)
		return err_at(e, ret, NULL, "both policies together tell too many kinds of nodes apart");
	return ret == -E2BIG ? err_at(e, ret, NULL, "more than %u pairs of apps differ", POL_DIFF_PAIRS)
			     : err_at(e, ret, NULL, "%s", strerror(-ret));
}
