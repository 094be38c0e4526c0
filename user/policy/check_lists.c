// SPDX-License-Identifier: Apache-2.0
/*
 * Entries of lists that say what other entries of the list say already: a warning with both places. How often each
 * app or piece of the port space is covered is counted; an entry all of whose parts are covered twice adds nothing.
 * From the last entry to the first, so that of two that say the same the later one is told.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"

#define RANGES_MAX 1024u /* of one list; longer ones are not looked at */

/* What the entries of one list cover: parts part[start[i]] .. part[start[i + 1] - 1] are entry i's. */
struct cover {
	size_t n, *start;
	uint32_t *part;
	uint32_t *count; /* by part */
};

static void cover_fini(struct cover *cover)
{
	free(cover->start);
	free(cover->part);
}

static bool has_parts(const struct cover *cover, size_t i, size_t of)
{
	size_t at = cover->start[of];

	for (size_t p = cover->start[i]; p < cover->start[i + 1]; p++) {
		while (at < cover->start[of + 1] && cover->part[at] < cover->part[p])
			at++;
		if (at == cover->start[of + 1] || cover->part[at] != cover->part[p])
			return false;
	}
	return true;
}

static void tell(struct check *c, const struct yaml_node *list, const struct cover *cover, size_t i)
{
	const struct yaml_node *item = list->child[i];
	size_t of = 0;

	while (of < list->n && (of == i || !has_parts(cover, i, of)))
		of++;
	if (of < list->n)
		yaml_warn(item, c->d, "'%s' adds nothing: '%s' at %u:%u covers it", item->text, list->child[of]->text,
			  list->child[of]->line, list->child[of]->col);
	else
		yaml_warn(item, c->d, "'%s' adds nothing: the others of the list at %u:%u cover it together",
			  item->text, list->line, list->col);
}

static bool is_superfluous(const struct cover *cover, size_t i)
{
	for (size_t p = cover->start[i]; p < cover->start[i + 1]; p++)
		if (cover->count[cover->part[p]] < 2)
			return false;
	return true;
}

static void find_superfluous(struct check *c, const struct yaml_node *list, const struct cover *cover)
{
	size_t n_parts = cover->start[list->n];

	for (size_t p = 0; p < n_parts; p++)
		cover->count[cover->part[p]]++;
	for (size_t i = list->n; i--;) {
		if (!is_superfluous(cover, i))
			continue;
		for (size_t p = cover->start[i]; p < cover->start[i + 1]; p++)
			cover->count[cover->part[p]]--;
		tell(c, list, cover, i);
	}
	for (size_t p = 0; p < n_parts; p++)
		cover->count[cover->part[p]] = 0;
}

/* --- nodes and networks ------------------------------------------------------------------------------------ */

#define BOTH_ACTIONS (-1)

/* What an entry covers depends on the action of the rule; an entry of a group must be superfluous for both. */
static size_t points_of(const struct check *c, const struct yaml_node *item, int action, uint32_t *part)
{
	uint32_t n_points = pol_points(c->model);
	size_t n, n_deny;

	if (action != BOTH_ACTIONS)
		return check_points(c, item, (enum by_action)action, part);
	n = check_points(c, item, BY_ALLOW, part);
	n_deny = check_points(c, item, BY_DENY, part ? &part[n] : NULL);
	for (size_t i = n; part && i < n + n_deny; i++)
		part[i] += n_points;
	return n + n_deny;
}

/* `count` has two zeros for every point, and has them again afterwards. */
static void look_at_peers(struct check *c, const struct yaml_node *list, int action, uint32_t *count)
{
	auto_call(cover_fini) struct cover cover = { .count = count };
	size_t n = 0;

	if (!list || list->kind != YAML_LIST || list->n < 2 || c->work > POL_WARN_WORK)
		return;
	cover.start = calloc(list->n + 1, sizeof(*cover.start));
	for (size_t i = 0; cover.start && i < list->n; i++)
		n += points_of(c, list->child[i], action, NULL);
	c->work += n;
	cover.part = calloc(n + 1, sizeof(*cover.part));
	if (!cover.start || !cover.part || n == list->n) /* each is one point, and no name is twice in a list */
		return;
	for (size_t i = 0; i < list->n; i++)
		cover.start[i + 1] = cover.start[i] + points_of(c, list->child[i], action, &cover.part[cover.start[i]]);
	find_superfluous(c, list, &cover);
}

static void look_at_rule(struct check *c, const struct yaml_node *rule, uint32_t *count)
{
	enum by_action action = yaml_get(rule, "allow") ? BY_ALLOW : BY_DENY;

	look_at_peers(c, yaml_get(rule, "from"), action, count);
	look_at_peers(c, yaml_get(rule, "to"), action, count);
	look_at_peers(c, yaml_get(rule, "on"), action, count);
}

/* --- ports ------------------------------------------------------------------------------------------------- */

static size_t ranges_of(const struct check *c, const struct yaml_node *item, bool in_set, struct pol_range *range)
{
	const struct pol_port_set *set = in_set ? NULL : pol_port_set_by_name(c->model, item->text);

	if (set && range)
		memcpy(range, set->port, set->n * sizeof(*range));
	else if (range)
		pol_range_parse(item->text, range, NULL);
	return set ? set->n : 1;
}

static int order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Where some range begins, and where one has ended; sorted. */
static void find_borders(const struct pol_range *range, size_t n, uint32_t *border)
{
	for (size_t i = 0; i < n; i++) {
		border[2 * i] = range[i].first;
		border[2 * i + 1] = range[i].last + 1;
	}
	qsort(border, 2 * n, sizeof(*border), order_u32);
}

/* The first border that is not below the selector. */
static uint32_t border_at(const uint32_t *border, size_t n_borders, uint32_t selector)
{
	size_t low = 0, high = n_borders;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (border[mid] < selector)
			low = mid + 1;
		else
			high = mid;
	}
	return (uint32_t)low;
}

/* Part b is what lies between borders b and b + 1. With part NULL they are counted. */
static size_t parts_of(const struct pol_range *range, const uint32_t *border, size_t n_borders, uint32_t *part)
{
	size_t n = 0;

	for (uint32_t b = border_at(border, n_borders, range->first); border[b] <= range->last; b++) {
		if (border[b] == border[b + 1])
			continue;
		if (part)
			part[n] = b;
		n++;
	}
	return n;
}

/* first[i]: the first range of entry i. */
static bool fill_parts(struct check *c, const struct yaml_node *list, const size_t *first,
		       const struct pol_range *range, const uint32_t *border, struct cover *cover)
{
	size_t n_borders = 2 * first[list->n], n = 0;

	for (size_t r = 0; r < first[list->n]; r++)
		n += parts_of(&range[r], border, n_borders, NULL);
	c->work += n;
	cover->part = calloc(n + 1, sizeof(*cover->part));
	n = 0;
	for (size_t i = 0; cover->part && i < list->n; i++) {
		for (size_t r = first[i]; r < first[i + 1]; r++)
			n += parts_of(&range[r], border, n_borders, &cover->part[n]);
		cover->start[i + 1] = n;
	}
	return cover->part != NULL;
}

static void cover_ports(struct check *c, const struct yaml_node *list, const size_t *first, bool in_set)
{
	auto_free struct pol_range *range = calloc(first[list->n], sizeof(*range));
	auto_free uint32_t *border = calloc(2 * first[list->n], sizeof(*border));
	auto_free uint32_t *count = calloc(2 * first[list->n], sizeof(*count));
	auto_call(cover_fini) struct cover cover = { .start = calloc(list->n + 1, sizeof(*cover.start)),
						     .count = count };

	if (!range || !border || !count || !cover.start)
		return;
	for (size_t i = 0; i < list->n; i++)
		ranges_of(c, list->child[i], in_set, &range[first[i]]);
	find_borders(range, first[list->n], border);
	if (fill_parts(c, list, first, range, border, &cover))
		find_superfluous(c, list, &cover);
}

static void look_at_ports(struct check *c, const struct yaml_node *list, bool in_set)
{
	auto_free size_t *first = NULL;

	if (!list || list->n < 2 || c->work > POL_WARN_WORK)
		return;
	first = calloc(list->n + 1, sizeof(*first));
	for (size_t i = 0; first && i < list->n; i++)
		first[i + 1] = first[i] + ranges_of(c, list->child[i], in_set, NULL);
	c->work += list->n;
	if (first && first[list->n] <= RANGES_MAX)
		cover_ports(c, list, first, in_set);
}

/* --- the file ---------------------------------------------------------------------------------------------- */

void check_lists(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *groups = yaml_get(root, "groups"), *sets = yaml_get(root, "ports");
	const struct yaml_node *rules = yaml_get(root, "rules");
	auto_free uint32_t *count = check_room(c, 2 * (size_t)pol_points(c->model), sizeof(*count));

	for (size_t i = 0; count && groups && i < groups->n; i++)
		look_at_peers(c, groups->child[i], BOTH_ACTIONS, count);
	for (size_t i = 0; sets && i < sets->n; i++)
		look_at_ports(c, sets->child[i], true);
	for (size_t i = 0; count && i < rules->n; i++) {
		look_at_rule(c, rules->child[i], count);
		look_at_ports(c, yaml_get(rules->child[i], "allow"), false);
		look_at_ports(c, yaml_get(rules->child[i], "deny"), false);
		check_http_list(c, rules->child[i], &c->model->rule[i]);
	}
	if (c->work > POL_WARN_WORK)
		yaml_warn(rules, c->d, "lists were not all looked at for entries that add nothing, that is too much");
}
