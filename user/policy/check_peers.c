// SPDX-License-Identifier: Apache-2.0
/* Who: the sides of a rule, and groups. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "check.h"
#include "near.h"

/* An entry of a list: what it is and its number among those, so that what is said twice is found; and its place. */
struct entry {
	enum pol_what what;
	bool is_prefix; /* spelled out: `i` is a cell */
	uint32_t i, place;
};

static bool is_word(const struct yaml_node *node, const char *word)
{
	return node->kind == YAML_SCALAR && strcmp(node->text, word) == 0;
}

static bool is_reserved(const char *word)
{
	const char *const *r = check_reserved;

	while (*r && strcmp(*r, word) != 0)
		r++;
	return *r != NULL;
}

static void unknown_peer(struct check *c, const struct yaml_node *node, const char *name)
{
	struct near near = NEAR_INIT(name);
	uint8_t app_id[BY_APP_ID_LEN];

	for (size_t i = 0; i < c->model->n_names && c->d->n < DIAGS_MAX; i++)
		near_offer(&near, c->model->name[i].text);
	for (size_t i = 0; check_reserved[i]; i++)
		near_offer(&near, check_reserved[i]);
	if (is_reserved(name))
		wrong(c, node, "'%s' is an app that has no app-id yet; write apps: { %s: { app-id: ... } }", name,
		      name);
	else if (near.best)
		wrong(c, node, "unknown app '%s'; did you mean '%s'?", name, near.best);
	else if (hex_parse(app_id, sizeof(app_id), name))
		wrong(c, node, "found an app-id, needed a name; give it one in apps:");
	else
		wrong(c, node, "unknown app '%s'; it is not among apps: or groups:", name);
}

static bool find_prefix(struct check *c, const struct yaml_node *node, struct entry *entry)
{
	struct pol_prefix prefix;
	struct err e = ERR_INIT;

	if (!pol_prefix_parse(node->text, &prefix, &e)) {
		wrong(c, node, "%s", e.msg);
		return false;
	}
	*entry = (struct entry){ .what = POL_NAME_NETWORK, .is_prefix = true };
	entry->i = pol_cell_of(&c->model->cells, &prefix);
	return true;
}

static bool find_entry(struct check *c, const struct yaml_node *node, struct entry *entry)
{
	const char *text = yaml_str(c->doc, node, c->d);
	const struct pol_name *name = text ? pol_name_find(c->model, text) : NULL;

	if (!text)
		return false;
	if (!name && pol_prefix_is_text(text))
		return find_prefix(c, node, entry);
	if (!name) {
		unknown_peer(c, node, text);
		return false;
	}
	*entry = (struct entry){ .what = name->what, .i = name->i };
	return true;
}

static bool is_net(const struct entry *entry)
{
	return entry->what == POL_NAME_NETWORK;
}

static int order_entry(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->what != y->what)
		return x->what < y->what ? -1 : 1;
	if (x->is_prefix != y->is_prefix)
		return x->is_prefix ? 1 : -1;
	if (x->i != y->i)
		return x->i < y->i ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static int order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static size_t unique(uint32_t *v, size_t n)
{
	size_t kept = 0;

	qsort(v, n, sizeof(*v), order_u32);
	for (size_t i = 0; i < n; i++)
		if (!kept || v[kept - 1] != v[i])
			v[kept++] = v[i];
	return kept;
}

static bool stands_alone(struct check *c, const struct yaml_node *item)
{
	if (is_word(item, POL_ANY))
		wrong(c, item, POL_ANY " covers every app; write it alone, not in a list");
	else if (is_word(item, POL_WORLD))
		wrong(c, item, POL_WORLD " covers every address; write it alone, not in a list");
	else if (is_word(item, POL_HOST))
		wrong(c, item, "'" POL_HOST "' is the one side of its rule; write it alone, not in a list");
	else
		return false;
	return true;
}

/* The list's entries, each once, sorted. */
static size_t find_entries(struct check *c, const struct yaml_node *list, struct entry *found)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < list->n; i++) {
		if (stands_alone(c, list->child[i]) || !find_entry(c, list->child[i], &found[n]))
			continue;
		found[n++].place = (uint32_t)i;
	}
	qsort(found, n, sizeof(*found), order_entry);
	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = list->child[found[i].place];

		if (kept && found[kept - 1].what == found[i].what && found[kept - 1].i == found[i].i &&
		    found[kept - 1].is_prefix == found[i].is_prefix)
			wrong(c, item, "'%s' is in the list already", item->text);
		else
			found[kept++] = found[i];
	}
	return kept;
}

/* --- what entries stand for -------------------------------------------------------------------------------- */

/* The atoms of an entry that is nodes; NULL: how many. */
static size_t atoms_of(const struct pol_model *model, const struct entry *entry, uint32_t *atom)
{
	const struct pol_group *group = entry->what == POL_NAME_GROUP ? &model->group[entry->i] : NULL;

	if (group && group->n && atom)
		memcpy(atom, group->atom, group->n * sizeof(*atom));
	else if (!group && atom)
		*atom = entry->what == POL_NAME_APP        ? entry->i
			: entry->what == POL_NAME_INSTANCE ? pol_atom_of_instance(model, entry->i)
							   : pol_atom_of_claim(model, entry->i);
	return group ? group->n : 1;
}

static size_t cells_of(const struct pol_model *model, const struct entry *entry, uint32_t *point)
{
	const struct pol_prefix *prefix =
		entry->is_prefix ? &model->cells.prefix[entry->i] : model->network[entry->i].prefix;
	size_t n_prefixes = entry->is_prefix ? 1 : model->network[entry->i].n, n = 0;

	for (size_t p = 0; p < n_prefixes; p++)
		n += pol_cells_within(&model->cells, &prefix[p], point ? &point[n] : NULL);
	for (size_t i = 0; point && i < n; i++)
		point[i] = pol_point_of_cell(model, point[i]);
	return n;
}

static void take_atoms(struct check *c, const struct yaml_node *at, const struct entry *found, size_t n,
		       uint32_t **atom, size_t *n_atoms)
{
	size_t room = 0;

	for (size_t i = 0; i < n; i++)
		room += atoms_of(c->model, &found[i], NULL);
	*atom = check_entries(c, at, room, sizeof(**atom));
	*n_atoms = 0;
	for (size_t i = 0; *atom && i < n; i++)
		*n_atoms += atoms_of(c->model, &found[i], *atom + *n_atoms);
	if (*atom)
		*n_atoms = unique(*atom, *n_atoms);
}

static bool has_plain_kinds(const struct pol_model *model)
{
	return model->kinds.n == model->n_apps + 1;
}

static void take_kinds(struct check *c, const struct yaml_node *at, const struct entry *found, size_t n,
		       enum by_action action, struct pol_side *side)
{
	auto_free uint32_t *atom = NULL;
	size_t n_atoms, room = 0;

	take_atoms(c, at, found, n, &atom, &n_atoms);
	if (has_plain_kinds(c->model)) { /* an app is its one kind */
		side->point = take_ptr(atom);
		side->n = n_atoms;
		return;
	}
	for (size_t i = 0; i < n_atoms; i++)
		room += pol_atom_kinds(c->model, atom[i], action, NULL);
	side->point = check_entries(c, at, room, sizeof(*side->point));
	for (size_t i = 0; side->point && i < n_atoms; i++)
		side->n += pol_atom_kinds(c->model, atom[i], action, &side->point[side->n]);
	if (side->point)
		side->n = unique(side->point, side->n);
	side->atom = take_ptr(atom);
	side->n_atoms = n_atoms;
}

static void take_cells(struct check *c, const struct yaml_node *at, const struct entry *found, size_t n,
		       struct pol_side *side)
{
	size_t room = 0;

	for (size_t i = 0; i < n; i++)
		room += cells_of(c->model, &found[i], NULL);
	side->point = check_entries(c, at, room, sizeof(*side->point));
	for (size_t i = 0; side->point && i < n; i++)
		side->n += cells_of(c->model, &found[i], &side->point[side->n]);
	if (side->point)
		side->n = unique(side->point, side->n);
}

size_t check_points(const struct check *c, const struct yaml_node *item, enum by_action action, uint32_t *point)
{
	const struct pol_name *name = pol_name_find(c->model, item->text);
	struct entry entry = { .what = POL_NAME_NETWORK, .is_prefix = true };
	struct pol_prefix prefix;
	uint32_t atom;
	size_t n = 0;

	if (name)
		entry = (struct entry){ .what = name->what, .i = name->i };
	else if (pol_prefix_parse(item->text, &prefix, NULL))
		entry.i = pol_cell_of(&c->model->cells, &prefix);
	else
		return 0;
	if (is_net(&entry)) {
		n = cells_of(c->model, &entry, point);
		return point ? unique(point, n) : n;
	}
	if (entry.what != POL_NAME_GROUP) {
		atoms_of(c->model, &entry, &atom);
		return pol_atom_kinds(c->model, atom, action, point);
	}
	for (size_t i = 0; i < c->model->group[entry.i].n; i++)
		n += pol_atom_kinds(c->model, c->model->group[entry.i].atom[i], action, point ? &point[n] : NULL);
	return point ? unique(point, n) : n;
}

/* --- sides ------------------------------------------------------------------------------------------------- */

static enum check_who take(struct check *c, const struct yaml_node *at, const struct entry *found, size_t n,
			   enum by_action action, struct pol_side *side)
{
	if (!n)
		return CHECK_NOBODY;
	if (is_net(&found[0])) {
		take_cells(c, at, found, n, side);
		return CHECK_NETS;
	}
	take_kinds(c, at, found, n, action, side);
	return CHECK_NODES;
}

static enum check_who read_list(struct check *c, const struct yaml_node *list, enum by_action action,
				struct pol_side *side)
{
	auto_free struct entry *found = check_room(c, list->n, sizeof(*found));
	size_t n = found ? find_entries(c, list, found) : 0;

	for (size_t i = 1; i < n; i++) {
		if (is_net(&found[i]) == is_net(&found[0]))
			continue;
		wrong(c, list, "has both nodes ('%s') and networks ('%s'); write two rules",
		      list->child[found[is_net(&found[0]) ? i : 0].place]->text,
		      list->child[found[is_net(&found[0]) ? 0 : i].place]->text);
		return CHECK_NOBODY;
	}
	return take(c, list, found, n, action, side);
}

static enum check_who all_of(struct pol_side *side, uint32_t first, uint32_t end, enum check_who who)
{
	*side = (struct pol_side){ .is_any = true, .first = first, .end = end };
	return who;
}

enum check_who check_side(struct check *c, const struct yaml_node *node, enum by_action action, struct pol_side *side)
{
	uint32_t n_kinds = c->model->kinds.n;
	struct entry entry;

	if (node->kind == YAML_LIST && node->n)
		return read_list(c, node, action, side);
	if (node->kind == YAML_LIST)
		wrong(c, node, "an empty list; needed at least one app, or " POL_ANY);
	else if (is_word(node, POL_ANY))
		return all_of(side, 0, n_kinds, CHECK_NODES);
	else if (is_word(node, POL_WORLD))
		return all_of(side, n_kinds, pol_points(c->model), CHECK_NETS);
	else if (is_word(node, POL_HOST))
		return CHECK_HOST;
	else if (find_entry(c, node, &entry))
		return take(c, node, &entry, 1, action, side);
	return CHECK_NOBODY;
}

/* --- groups ------------------------------------------------------------------------------------------------ */

enum { NEW, OPEN, DONE };

/* A walk into groups within groups. */
struct walk {
	struct check *c;
	const struct yaml_node *groups;   /* child[g] is group g's list */
	uint8_t *state, *height;          /* of each group; height 1: has no groups in it */
	uint32_t open[CHECK_NESTING_MAX]; /* from the outermost inwards */
	unsigned depth;
};

/* "a -> b -> a" */
static void cycle_error(struct walk *w, const struct yaml_node *item, uint32_t g)
{
	const struct pol_group *group = w->c->model->group;
	char path[512] = "";
	unsigned i = w->depth;
	size_t len = 0;

	while (i && w->open[i - 1] != g)
		i--;
	for (i--; i < w->depth && len < sizeof(path); i++)
		len += (size_t)snprintf(path + len, sizeof(path) - len, "%.47s -> ", group[w->open[i]].name);
	if (len >= sizeof(path))
		memcpy(path + sizeof(path) - 8, "... -> ", 8);
	wrong(w->c, item, "group '%s' is in itself: %s%s", group[g].name, path, group[g].name);
}

static void too_deep(struct walk *w, const struct yaml_node *item)
{
	wrong(w->c, item, "groups lie within groups more than %u deep", CHECK_NESTING_MAX);
}

static void resolve(struct walk *w, uint32_t g);

/* What group `outer` needs of one of its items before its apps can be told. */
static void enter(struct walk *w, uint32_t outer, const struct yaml_node *item)
{
	const struct pol_group *group = item->kind == YAML_SCALAR ? pol_group_by_name(w->c->model, item->text) : NULL;
	uint32_t g = group ? (uint32_t)(group - w->c->model->group) : 0;

	if (!group)
		return;
	if (w->state[g] == OPEN) {
		cycle_error(w, item, g);
		return;
	}
	if (w->state[g] == NEW && w->depth < CHECK_NESTING_MAX)
		resolve(w, g);
	if (w->state[g] == NEW || w->height[g] >= CHECK_NESTING_MAX)
		too_deep(w, item);
	else if (w->height[g] >= w->height[outer])
		w->height[outer] = (uint8_t)(w->height[g] + 1);
}

static void read_group(struct check *c, const struct yaml_node *list, struct pol_group *group)
{
	auto_free struct entry *found = check_room(c, list->n, sizeof(*found));
	size_t n = found ? find_entries(c, list, found) : 0, kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (is_net(&found[i]))
			wrong(c, list->child[found[i].place],
			      "'%s' is a network, and a group has nodes in it; name several networks in networks:",
			      list->child[found[i].place]->text);
		else
			found[kept++] = found[i];
	}
	take_atoms(c, list, found, kept, &group->atom, &group->n);
}

static void resolve(struct walk *w, uint32_t g)
{
	const struct yaml_node *list = w->groups->child[g];
	struct pol_group *group = &w->c->model->group[g];

	w->state[g] = OPEN;
	w->height[g] = 1;
	w->open[w->depth++] = g;
	if (list->kind != YAML_LIST || !list->n) {
		wrong(w->c, list, "needed a list of at least one app or group, such as [web, api]");
	} else {
		for (size_t i = 0; i < list->n; i++)
			enter(w, g, list->child[i]);
		read_group(w->c, list, group);
	}
	w->depth--;
	w->state[g] = DONE;
}

void check_groups(struct check *c, const struct yaml_node *groups)
{
	auto_free uint8_t *state = check_room(c, groups->n, sizeof(*state));
	auto_free uint8_t *height = check_room(c, groups->n, sizeof(*height));
	struct walk w = { .c = c, .groups = groups, .state = state, .height = height };

	for (uint32_t g = 0; state && height && g < c->model->n_groups; g++)
		if (state[g] == NEW)
			resolve(&w, g);
}
