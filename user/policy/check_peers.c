// SPDX-License-Identifier: Apache-2.0
/* Who: apps, groups, and the two sides of a rule. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "check.h"
#include "near.h"

/* Words that a rule may say one day in place of an app. */
static const char *const reserved[] = { POL_ANY, "host", "world", "gateway", "control-plane", NULL };

static bool is_in(const char *word, const char *const *list)
{
	while (*list && strcmp(*list, word) != 0)
		list++;
	return *list != NULL;
}

const char *check_peer_name_fault(const char *name)
{
	const char *fault = check_name_fault(name);
	uint8_t id[BY_APP_ID_LEN];

	if (fault)
		return fault;
	if (is_in(name, reserved))
		return "is reserved";
	return hex_parse(id, sizeof(id), name) ? "looks like an app-id" : NULL;
}

/* --- apps -------------------------------------------------------------------------------------------------- */

static bool read_app(struct check *c, const struct yaml_node *node, struct pol_app *app)
{
	const struct yaml_node *id;

	if (!yaml_known_keys(c->doc, node, pol_keys_app, c->d) && node->kind != YAML_MAP)
		return false;
	id = yaml_need(c->doc, node, "app-id", YAML_SCALAR, c->d);
	if (!id)
		return false;
	if (!hex_parse(app->app_id, sizeof(app->app_id), id->text)) {
		wrong(c, id, "found '%.60s' (%zu characters), needed 40 hex digits", id->text, strlen(id->text));
		return false;
	}
	return true;
}

static void refuse_shared_ids(struct check *c, const struct yaml_node *apps)
{
	const struct pol_model *model = c->model;

	for (size_t i = 1; i < model->n_apps; i++) {
		const struct pol_app *first = &model->app[model->by_id[i - 1]];
		const struct pol_app *again = &model->app[model->by_id[i]];
		char where[POL_PLACE_MAX];

		if (memcmp(first->app_id, again->app_id, BY_APP_ID_LEN) == 0)
			wrong(c, apps->child[model->by_id[i]], "has the app-id of '%s' %s; one app has one name",
			      first->name, pol_place(model, again->file, first->file, first->line, where));
	}
}

void check_apps(struct check *c, const struct yaml_node *apps)
{
	struct pol_model *model = c->model;
	bool all = true;

	if (apps->kind != YAML_MAP || !apps->n) {
		wrong(c, apps, "needed a map of at least one app, such as web: { app-id: ... }");
		return;
	}
	model->app = check_room(c, apps->n, sizeof(*model->app));
	model->by_name = check_room(c, apps->n, sizeof(*model->by_name));
	model->by_id = check_room(c, apps->n, sizeof(*model->by_id));
	if (!model->app || !model->by_name || !model->by_id)
		return;
	for (size_t i = 0; i < apps->n; i++) {
		struct pol_app *app = &model->app[model->n_apps];

		const char *fault = check_peer_name_fault(apps->key[i]);

		if (fault)
			check_key_error(c, apps, i, "app name", fault);
		app->file = apps->child[i]->source->number;
		app->line = apps->key_line[i];
		app->name = check_copy(c, apps->key[i]);
		if (!app->name)
			return;
		model->n_apps++;
		all &= read_app(c, apps->child[i], app);
	}
	pol_model_index(model);
	if (all) /* or those without an id would be said to share it */
		refuse_shared_ids(c, apps);
}

/* --- lists of them ----------------------------------------------------------------------------------------- */

static void unknown_app(struct check *c, const struct yaml_node *node, const char *name)
{
	struct near near = NEAR_INIT(name);
	uint8_t app_id[BY_APP_ID_LEN];

	for (size_t i = 0; i < c->model->n_apps && c->d->n < DIAGS_MAX; i++)
		near_offer(&near, c->model->app[i].name);
	for (size_t i = 0; i < c->model->n_groups && c->d->n < DIAGS_MAX; i++)
		near_offer(&near, c->model->group[i].name);
	near_offer(&near, POL_ANY);
	if (is_in(name, reserved))
		wrong(c, node, "'%s' is reserved and means nothing yet", name);
	else if (near.best)
		wrong(c, node, "unknown app '%s'; did you mean '%s'?", name, near.best);
	else if (hex_parse(app_id, sizeof(app_id), name))
		wrong(c, node, "found an app-id, needed a name; give it one in apps:");
	else
		wrong(c, node, "unknown app '%s'; it is not among apps: or groups:", name);
}

/* Numbers of what a name stands for: the apps, then the groups. */
static bool find_peer(const struct check *c, const char *name, uint32_t *peer)
{
	const struct pol_group *group = pol_group_by_name(c->model, name);

	if (!group)
		return pol_app_by_name(c->model, name, peer);
	*peer = (uint32_t)(c->model->n_apps + (size_t)(group - c->model->group));
	return true;
}

static bool need_peer(struct check *c, const struct yaml_node *node, uint32_t *peer)
{
	const char *name = yaml_str(c->doc, node, c->d);

	if (!name)
		return false;
	if (find_peer(c, name, peer))
		return true;
	unknown_app(c, node, name);
	return false;
}

static const struct pol_group *group_of(const struct check *c, uint32_t peer)
{
	return peer < c->model->n_apps ? NULL : &c->model->group[peer - c->model->n_apps];
}

static int order_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The list's names, each once: peer << 32 | place in the list. */
static size_t find_peers(struct check *c, const struct yaml_node *list, uint64_t *found)
{
	size_t n = 0, kept = 0;
	uint32_t peer;

	for (size_t i = 0; i < list->n; i++) {
		const struct yaml_node *item = list->child[i];

		if (item->kind == YAML_SCALAR && strcmp(item->text, POL_ANY) == 0)
			wrong(c, item, POL_ANY " covers every app; write it alone, not in a list");
		else if (need_peer(c, item, &peer))
			found[n++] = (uint64_t)peer << 32 | i;
	}
	qsort(found, n, sizeof(*found), order_u64);
	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = list->child[(uint32_t)found[i]];

		if (kept && found[kept - 1] >> 32 == found[i] >> 32)
			wrong(c, item, "'%s' is in the list already", item->text);
		else
			found[kept++] = found[i];
	}
	return kept;
}

/* Groups give way to their apps. */
static size_t expand(const struct check *c, const uint64_t *found, size_t n, uint32_t *app)
{
	size_t n_apps = 0, kept = 0;

	for (size_t i = 0; i < n; i++) {
		const struct pol_group *group = group_of(c, (uint32_t)(found[i] >> 32));

		if (!group)
			app[n_apps++] = (uint32_t)(found[i] >> 32);
		for (size_t j = 0; group && j < group->n; j++)
			app[n_apps++] = group->app[j];
	}
	qsort(app, n_apps, sizeof(*app), order_u32);
	for (size_t i = 0; i < n_apps; i++)
		if (!kept || app[kept - 1] != app[i])
			app[kept++] = app[i];
	return kept;
}

static void set_apps(struct check *c, const struct yaml_node *at, const uint64_t *found, size_t n, uint32_t **app,
		     size_t *n_apps)
{
	size_t room = 0;

	for (size_t i = 0; i < n; i++) {
		const struct pol_group *group = group_of(c, (uint32_t)(found[i] >> 32));

		room += group ? group->n : 1;
	}
	*app = check_entries(c, at, room, sizeof(**app));
	*n_apps = *app ? expand(c, found, n, *app) : 0;
}

static void read_peer_list(struct check *c, const struct yaml_node *list, uint32_t **app, size_t *n_apps)
{
	auto_free uint64_t *found = check_room(c, list->n, sizeof(*found));

	if (found)
		set_apps(c, list, found, find_peers(c, list, found), app, n_apps);
}

void check_side(struct check *c, const struct yaml_node *rule, const char *key, struct pol_side *side)
{
	const struct yaml_node *node = yaml_get(rule, key);
	uint32_t peer;

	if (!node)
		wrong(c, rule, "the key '%s' is missing", key);
	else if (node->kind == YAML_LIST && node->n)
		read_peer_list(c, node, &side->app, &side->n);
	else if (node->kind == YAML_LIST)
		wrong(c, node, "an empty list; needed at least one app, or " POL_ANY);
	else if (node->kind == YAML_SCALAR && strcmp(node->text, POL_ANY) == 0)
		side->is_any = true;
	else if (need_peer(c, node, &peer))
		set_apps(c, node, &(uint64_t){ (uint64_t)peer << 32 }, 1, &side->app, &side->n);
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
		read_peer_list(w->c, list, &group->app, &group->n);
	}
	w->depth--;
	w->state[g] = DONE;
}

static void resolve_all(struct check *c, const struct yaml_node *groups)
{
	auto_free uint8_t *state = check_room(c, groups->n, sizeof(*state));
	auto_free uint8_t *height = check_room(c, groups->n, sizeof(*height));
	struct walk w = { .c = c, .groups = groups, .state = state, .height = height };

	for (uint32_t g = 0; state && height && g < c->model->n_groups; g++)
		if (state[g] == NEW)
			resolve(&w, g);
}

static int order_group_name(const void *a, const void *b, void *arg)
{
	const struct pol_group *group = arg;

	return strcmp(group[*(const uint32_t *)a].name, group[*(const uint32_t *)b].name);
}

static void read_group_name(struct check *c, const struct yaml_node *groups, size_t i)
{
	const char *name = groups->key[i], *fault = check_peer_name_fault(name);
	char clash[POL_PLACE_MAX + 32], where[POL_PLACE_MAX];
	const struct pol_app *same;
	uint32_t app;

	if (!fault && pol_app_by_name(c->model, name, &app)) {
		same = &c->model->app[app];
		snprintf(clash, sizeof(clash), "is the name of the app %s",
			 pol_place(c->model, groups->child[i]->source->number, same->file, same->line, where));
		fault = clash;
	}
	if (fault)
		check_key_error(c, groups, i, "group name", fault);
}

/* All names are known before the first list is read: a group may name one that stands below it. */
void check_groups(struct check *c, const struct yaml_node *groups)
{
	struct pol_model *model = c->model;

	if (groups->kind != YAML_MAP || !groups->n) {
		wrong(c, groups, "needed a map of at least one group, such as frontends: [web, api]");
		return;
	}
	model->group = check_room(c, groups->n, sizeof(*model->group));
	model->group_by_name = check_room(c, groups->n, sizeof(*model->group_by_name));
	for (size_t i = 0; model->group && model->group_by_name && i < groups->n; i++) {
		read_group_name(c, groups, i);
		model->group[i] = (struct pol_group){ .name = check_copy(c, groups->key[i]),
						      .file = groups->child[i]->source->number,
						      .line = groups->key_line[i] };
		if (!model->group[i].name)
			break;
		model->group_by_name[i] = (uint32_t)i;
		model->n_groups++;
	}
	if (!model->n_groups)
		return;
	qsort_r(model->group_by_name, model->n_groups, sizeof(*model->group_by_name), order_group_name, model->group);
	resolve_all(c, groups);
}
