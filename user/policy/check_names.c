// SPDX-License-Identifier: Apache-2.0
/* Names: of apps, instances, claims, networks and groups. They share one space, for all can stand in a side. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "check.h"

const char *const check_reserved[] = { POL_ANY, POL_HOST, POL_WORLD, "gateway", "control-plane", NULL };

#define RESERVED_NEVER 3 /* of these, the first so many are not even an app */

static const struct section {
	const char *key, *example;
	enum pol_what what;
} sections[] = {
	{ "apps", "app, such as web: { app-id: ... }", POL_NAME_APP },
	{ "instances", "instance, such as db-1: { instance-id: ... }", POL_NAME_INSTANCE },
	{ "claims", "claim, such as good-tcb: { tcb: [UpToDate] }", POL_NAME_CLAIM },
	{ "networks", "network, such as office: [10.0.0.0/8]", POL_NAME_NETWORK },
	{ "groups", "group, such as frontends: [web, api]", POL_NAME_GROUP },
};

static const char *name_fault(const char *name, enum pol_what what)
{
	const char *fault = check_name_fault(name);
	uint8_t id[BY_APP_ID_LEN];

	for (size_t i = 0; !fault && check_reserved[i]; i++)
		if ((i < RESERVED_NEVER || what != POL_NAME_APP) && strcmp(name, check_reserved[i]) == 0)
			fault = "is reserved";
	if (fault)
		return fault;
	return hex_parse(id, sizeof(id), name) ? "looks like an app-id" : NULL;
}

/* Room for what the names will mean, with the names in it. */
static bool make_room(struct check *c, enum pol_what what, size_t n)
{
	struct pol_model *model = c->model;

	switch (what) {
	case POL_NAME_APP:
		model->app = check_room(c, n, sizeof(*model->app));
		return model->app;
	case POL_NAME_INSTANCE:
		model->instance = check_room(c, n, sizeof(*model->instance));
		return model->instance;
	case POL_NAME_CLAIM:
		model->claim = check_room(c, n, sizeof(*model->claim));
		return model->claim;
	case POL_NAME_NETWORK:
		model->network = check_room(c, n, sizeof(*model->network));
		return model->network;
	case POL_NAME_GROUP:
		model->group = check_room(c, n, sizeof(*model->group));
		return model->group;
	}
	return false;
}

/* Hands the name over to the next one of its sort. */
static uint32_t give_name(struct pol_model *model, enum pol_what what, char *name, unsigned file, unsigned line)
{
	switch (what) {
	case POL_NAME_APP:
		model->app[model->n_apps] = (struct pol_app){ .name = name, .file = file, .line = line };
		return (uint32_t)model->n_apps++;
	case POL_NAME_INSTANCE:
		model->instance[model->n_instances] =
			(struct pol_instance){ .name = name, .file = file, .line = line, .app = POL_APP_OTHER };
		return (uint32_t)model->n_instances++;
	case POL_NAME_CLAIM:
		model->claim[model->n_claims] = (struct pol_claim){ .name = name, .file = file, .line = line };
		return (uint32_t)model->n_claims++;
	case POL_NAME_NETWORK:
		model->network[model->n_networks] = (struct pol_network){ .name = name, .file = file, .line = line };
		return (uint32_t)model->n_networks++;
	case POL_NAME_GROUP:
		model->group[model->n_groups] = (struct pol_group){ .name = name, .file = file, .line = line };
		return (uint32_t)model->n_groups++;
	}
	return 0;
}

static void key_error(struct check *c, const struct yaml_node *at, enum pol_what what, const char *fault)
{
	yaml_key_error(at, c->d, "%s name '%s' %s", pol_what_text(what), at->key, fault);
}

static bool read_section(struct check *c, const struct section *s, const struct yaml_node *map)
{
	struct pol_model *model = c->model;

	if (map->kind != YAML_MAP || !map->n) {
		wrong(c, map, "needed a map of at least one %s", s->example);
		return true;
	}
	if (!make_room(c, s->what, map->n))
		return false;
	for (size_t i = 0; i < map->n; i++) {
		const struct yaml_node *at = map->child[i];
		const char *fault = name_fault(at->key, s->what);
		char *name = check_copy(c, at->key);
		unsigned file = at->source->number;
		uint32_t number;

		if (fault)
			key_error(c, at, s->what, fault);
		if (!name)
			return false;
		number = give_name(model, s->what, name, file, at->key_line);
		model->name[model->n_names++] = (struct pol_name){ name, s->what, number, file, at->key_line };
	}
	return true;
}

/* Of two with one name the later sort is at fault; within a sort YAML has refused it. */
static int order_name(const void *a, const void *b)
{
	const struct pol_name *x = a, *y = b;
	int order = strcmp(x->text, y->text);

	return order ? order : (x->what > y->what) - (x->what < y->what);
}

static void refuse_clashes(struct check *c, const struct yaml_node *root)
{
	const struct pol_model *model = c->model;
	char clash[POL_PLACE_MAX + 32], where[POL_PLACE_MAX];

	for (size_t i = 1; i < model->n_names; i++) {
		const struct pol_name *first = &model->name[i - 1], *again = &model->name[i];

		if (strcmp(first->text, again->text) != 0)
			continue;
		snprintf(clash, sizeof(clash), "is the name of the %s %s", pol_what_text(first->what),
			 pol_place(model, again->file, first->file, first->line, where));
		key_error(c, yaml_get(root, sections[again->what].key)->child[again->i], again->what, clash);
	}
}

bool check_names(struct check *c, const struct yaml_node *root)
{
	struct pol_model *model = c->model;
	size_t room = 0;

	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		const struct yaml_node *map = yaml_get(root, sections[i].key);

		room += map ? map->n : 0;
	}
	model->name = check_room(c, room, sizeof(*model->name));
	if (!model->name)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		const struct yaml_node *map = yaml_get(root, sections[i].key);

		if (map && !read_section(c, &sections[i], map))
			return false;
	}
	if (model->n_names)
		qsort(model->name, model->n_names, sizeof(*model->name), order_name);
	refuse_clashes(c, root);
	return true;
}
