// SPDX-License-Identifier: Apache-2.0
/* What a node must prove: apps and their requirements, instances, claims. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "check.h"
#include "near.h"

const char *const pol_keys_app[] = { "app-id", "require", NULL };
const char *const pol_keys_instance[] = { "instance-id", "app", NULL };
const char *const pol_keys_claim[] = { "tcb",   "simulated", "compose-hash", "os-image-hash", "mrtd", "rtmr0",
				       "rtmr1", "rtmr2",     "rtmr3",        "key-provider",  NULL };

/* --- claims ------------------------------------------------------------------------------------------------ */

static bool read_value(struct check *c, enum pol_dim dim, const struct yaml_node *node, struct pol_value *value)
{
	const char *text = yaml_str(c->doc, node, c->d);
	struct err e = ERR_INIT;

	if (!text)
		return false;
	if (pol_value_parse(dim, text, value, &e))
		return true;
	wrong(c, node, "%s", e.msg);
	return false;
}

static void add_value(struct check *c, enum pol_dim dim, const struct yaml_node *node, struct pol_claim *claim)
{
	struct pol_value v, *all = claim->dim[dim].value;
	size_t n = claim->dim[dim].n;

	if (!read_value(c, dim, node, &v))
		return;
	if (n && lfind(&v, all, &n, sizeof(v), pol_value_order))
		wrong(c, node, "'%s' is in the list already", node->text);
	else
		all[claim->dim[dim].n++] = v;
}

/* One value, or a list of those that will do. */
static void read_dim(struct check *c, enum pol_dim dim, const struct yaml_node *node, struct pol_claim *claim)
{
	bool is_one = node->kind == YAML_SCALAR, may_be_list = pol_dim_can_be_unknown(dim);

	if (!is_one && (node->kind != YAML_LIST || !node->n || !may_be_list)) {
		wrong(c, node, may_be_list ? "needed a value, or a list of at least one" : "needed true or false");
		return;
	}
	claim->dim[dim].value = check_room(c, is_one ? 1 : node->n, sizeof(struct pol_value));
	if (!claim->dim[dim].value)
		return;
	if (is_one)
		add_value(c, dim, node, claim);
	for (size_t i = 0; !is_one && i < node->n; i++)
		add_value(c, dim, node->child[i], claim);
	if (claim->dim[dim].n)
		qsort(claim->dim[dim].value, claim->dim[dim].n, sizeof(struct pol_value), pol_value_order);
}

static void read_claim(struct check *c, const struct yaml_node *node, struct pol_claim *claim)
{
	yaml_known_keys(c->doc, node, pol_keys_claim, c->d);
	if (node->kind != YAML_MAP)
		return;
	if (!node->n)
		wrong(c, node, "needed at least one claim, such as tcb: [UpToDate]");
	for (int d = 0; d < POL_DIM_COUNT; d++) {
		const struct yaml_node *part = yaml_get(node, pol_dim_key[d]);

		if (part)
			read_dim(c, (enum pol_dim)d, part, claim);
	}
}

/* --- apps -------------------------------------------------------------------------------------------------- */

static bool read_id(struct check *c, const struct yaml_node *node, const char *key, uint8_t id[BY_APP_ID_LEN])
{
	const struct yaml_node *at = yaml_need(c->doc, node, key, YAML_SCALAR, c->d);

	if (at && !hex_parse(id, BY_APP_ID_LEN, at->text))
		wrong(c, at, "found '%.60s' (%zu characters), needed 40 hex digits", at->text, strlen(at->text));
	else if (at)
		return true;
	return false;
}

static bool read_app(struct check *c, const struct yaml_node *node, struct pol_app *app)
{
	const struct yaml_node *require = yaml_get(node, "require");

	if (!yaml_known_keys(c->doc, node, pol_keys_app, c->d) && node->kind != YAML_MAP)
		return false;
	if (require && (app->require = check_room(c, 1, sizeof(*app->require))))
		read_claim(c, require, app->require);
	return read_id(c, node, "app-id", app->app_id);
}

static void refuse_shared_app_ids(struct check *c, const struct yaml_node *apps)
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

static bool read_apps(struct check *c, const struct yaml_node *apps)
{
	struct pol_model *model = c->model;
	bool all = true;

	model->by_id = check_room(c, model->n_apps, sizeof(*model->by_id));
	if (!model->by_id)
		return false;
	for (size_t i = 0; i < model->n_apps; i++)
		all &= read_app(c, apps->child[i], &model->app[i]);
	pol_apps_index(model);
	if (all) /* or those without an id would be said to share it */
		refuse_shared_app_ids(c, apps);
	return true;
}

/* --- instances --------------------------------------------------------------------------------------------- */

static void read_instance_app(struct check *c, const struct yaml_node *node, struct pol_instance *instance)
{
	const char *text = yaml_str(c->doc, node, c->d);
	const struct pol_name *name = text ? pol_name_find(c->model, text) : NULL;
	struct near near = NEAR_INIT(text ? text : "");

	if (!text)
		return;
	if (name && name->what == POL_NAME_APP) {
		instance->app = name->i;
		return;
	}
	for (size_t i = 0; !name && i < c->model->n_apps && c->d->n < DIAGS_MAX; i++)
		near_offer(&near, c->model->app[i].name);
	if (name)
		wrong(c, node, "'%s' is a name for a %s; needed an app", text, pol_what_text(name->what));
	else if (near.best)
		wrong(c, node, "unknown app '%s'; did you mean '%s'?", text, near.best);
	else
		wrong(c, node, "unknown app '%s'; it is not among apps:", text);
}

static bool read_instance(struct check *c, const struct yaml_node *node, struct pol_instance *instance)
{
	static const uint8_t none[BY_INSTANCE_ID_LEN];
	const struct yaml_node *app = yaml_get(node, "app");

	if (!yaml_known_keys(c->doc, node, pol_keys_instance, c->d) && node->kind != YAML_MAP)
		return false;
	if (app)
		read_instance_app(c, app, instance);
	if (!read_id(c, node, "instance-id", instance->instance_id))
		return false;
	if (memcmp(instance->instance_id, none, sizeof(none)) != 0)
		return true;
	wrong(c, yaml_get(node, "instance-id"), "zero is no instance: nodes without an instance-id have it");
	return false;
}

static int order_instance(const void *a, const void *b, void *arg)
{
	const struct pol_instance *all = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = memcmp(all[i].instance_id, all[j].instance_id, BY_INSTANCE_ID_LEN);

	return order ? order : (i > j) - (i < j);
}

static bool read_instances(struct check *c, const struct yaml_node *instances)
{
	struct pol_instance *all = c->model->instance;
	uint32_t n = (uint32_t)c->model->n_instances;
	auto_free uint32_t *order = check_room(c, n, sizeof(*order));
	bool is_whole = true;

	for (uint32_t i = 0; order && i < n; i++) {
		order[i] = i;
		is_whole &= read_instance(c, instances->child[i], &all[i]);
	}
	if (!order || !is_whole)
		return order != NULL;
	qsort_r(order, n, sizeof(*order), order_instance, all);
	for (uint32_t i = 1; i < n; i++) {
		const struct pol_instance *first = &all[order[i - 1]], *again = &all[order[i]];
		char where[POL_PLACE_MAX];

		if (memcmp(first->instance_id, again->instance_id, BY_INSTANCE_ID_LEN) == 0)
			wrong(c, instances->child[order[i]],
			      "has the instance-id of '%s' %s; one instance has one name", first->name,
			      pol_place(c->model, again->file, first->file, first->line, where));
	}
	return true;
}

/* --- all --------------------------------------------------------------------------------------------------- */

bool check_nodes(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *apps = yaml_get(root, "apps"), *instances = yaml_get(root, "instances");
	const struct yaml_node *claims = yaml_get(root, "claims");
	struct pol_model *model = c->model;
	struct err e = ERR_INIT;

	if (model->n_apps && !read_apps(c, apps))
		return false;
	if (model->n_instances && !read_instances(c, instances))
		return false;
	for (size_t i = 0; i < model->n_claims; i++)
		read_claim(c, claims->child[i], &model->claim[i]);
	if (model->n_claims > POL_CLAIMS_MAX) {
		wrong(c, claims, "%zu claims, the limit is %u", model->n_claims, POL_CLAIMS_MAX);
		return false;
	}
	if (pol_kinds_make(model, &e) == 0)
		return true;
	wrong(c, claims ? claims : instances ? instances : apps, "%s", e.msg);
	return false;
}
