// SPDX-License-Identifier: Apache-2.0
/* The points of two policies cut by each other. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "diff.h"
#include "diff_boxes.h"
#include "model.h"

#define NO_INSTANCE UINT32_MAX

void pol_diff_points_fini(struct pol_diff *diff)
{
	for (size_t a = 0; a < diff->n_apps; a++) {
		struct pol_diff_app *app = &diff->app[a];

		if (app->boxes && (!app->boxes->is_shared || app->is_other))
			pol_diff_boxes_free(app->boxes);
		free(app->instance);
	}
	free(diff->app);
	free(diff->instance);
	free(diff->point);
	free(diff->cells.prefix);
}

/* --- claims of both ---------------------------------------------------------------------------------------- */

static int make_boxes(const struct pol_model *const model[2], struct pol_diff_app *app)
{
	struct pol_predicate predicate[2 * (POL_CLAIMS_MAX + 1)];
	size_t n = 0;

	for (uint8_t m = 0; m < 2; m++) {
		const struct pol_claim *require =
			app->own[m] == POL_APP_OTHER ? NULL : model[m]->app[app->own[m]].require;

		for (size_t c = 0; c < model[m]->n_claims; c++)
			predicate[n++] = (struct pol_predicate){ &model[m]->claim[c], m, (uint8_t)c };
		if (require)
			predicate[n++] = (struct pol_predicate){ require, m, POL_REQUIRE };
	}
	return pol_diff_boxes_make(predicate, n, &app->boxes);
}

/* --- apps of both ------------------------------------------------------------------------------------------ */

static void add_app(const struct pol_model *const model[2], struct pol_diff *diff, int m, uint32_t app)
{
	struct pol_diff_app *a = &diff->app[diff->n_apps++];

	memcpy(a->app_id, model[m]->app[app].app_id, sizeof(a->app_id));
	snprintf(a->label, sizeof(a->label), "%s", model[m]->app[app].name);
	for (int i = 0; i < 2; i++)
		a->own[i] = pol_app_by_id(model[i], a->app_id);
}

/* Both lists of apps are walked by rising app-id; the new policy's name is taken where both have the app. */
static void join_apps(const struct pol_model *const model[2], struct pol_diff *diff)
{
	const struct pol_model *old = model[0], *new = model[1];
	size_t i = 0, j = 0;

	while (i < old->n_apps || j < new->n_apps) {
		int order = i == old->n_apps   ? 1
			    : j == new->n_apps ? -1
					       : memcmp(old->app[old->by_id[i]].app_id, new->app[new->by_id[j]].app_id,
							BY_APP_ID_LEN);

		if (order < 0)
			add_app(model, diff, 0, old->by_id[i]);
		else
			add_app(model, diff, 1, new->by_id[j]);
		i += order <= 0;
		j += order >= 0;
	}
	diff->app[diff->n_apps++] = (struct pol_diff_app){ .is_other = true,
							   .label = "any other app",
							   .own = { POL_APP_OTHER, POL_APP_OTHER } };
}

/* A name that has another app-id now stands for two apps here: both show which they are. */
static void tell_namesakes_apart(const struct pol_model *const model[2], struct pol_diff *diff)
{
	for (size_t a = 0; a + 1 < diff->n_apps; a++) {
		struct pol_diff_app *app = &diff->app[a];
		int m = app->own[1] != POL_APP_OTHER;
		const struct pol_name *namesake = pol_name_find(model[!m], app->label);
		size_t len = strlen(app->label);

		if (namesake && namesake->what == POL_NAME_APP && namesake->i != app->own[!m])
			snprintf(app->label + len, sizeof(app->label) - len, "[%02x%02x%02x%02x]", app->app_id[0],
				 app->app_id[1], app->app_id[2], app->app_id[3]);
	}
}

/* --- instances of both ------------------------------------------------------------------------------------- */

static void join_instances(const struct pol_model *const model[2], struct pol_diff *diff)
{
	const uint32_t *by_id[2] = { model[0]->kinds.by_id, model[1]->kinds.by_id };
	size_t i[2] = { 0 };

	while (i[0] < model[0]->n_instances || i[1] < model[1]->n_instances) {
		struct pol_diff_instance *to = &diff->instance[diff->n_instances++];
		const struct pol_instance *at[2];
		int order;

		for (int m = 0; m < 2; m++)
			at[m] = i[m] < model[m]->n_instances ? &model[m]->instance[by_id[m][i[m]]] : NULL;
		order = !at[0] ? 1 : !at[1] ? -1 : memcmp(at[0]->instance_id, at[1]->instance_id, BY_INSTANCE_ID_LEN);
		*to = (struct pol_diff_instance){ .name = at[order >= 0]->name };
		memcpy(to->instance_id, at[order >= 0]->instance_id, sizeof(to->instance_id));
		to->own[0] = order <= 0 ? by_id[0][i[0]++] : NO_INSTANCE;
		to->own[1] = order >= 0 ? by_id[1][i[1]++] : NO_INSTANCE;
	}
}

/* The instance of policy m that a node of this app and instance is. */
static uint32_t own_instance(const struct pol_model *const model[2], int m, const struct pol_diff_instance *instance,
			     const struct pol_diff_app *app)
{
	uint32_t i = instance->own[m], of;

	if (i == NO_INSTANCE)
		return i;
	of = model[m]->instance[i].app;
	return of == POL_APP_OTHER || of == app->own[m] ? i : NO_INSTANCE;
}

static int make_places(const struct pol_model *const model[2], struct pol_diff *diff, struct pol_diff_app *app)
{
	app->n_places = 1;
	app->instance = diff->n_instances ? calloc(diff->n_instances + 1, sizeof(*app->instance)) : NULL;
	if (diff->n_instances && !app->instance)
		return -ENOMEM;
	for (uint32_t i = 0; i < diff->n_instances; i++)
		if (own_instance(model, 0, &diff->instance[i], app) != NO_INSTANCE ||
		    own_instance(model, 1, &diff->instance[i], app) != NO_INSTANCE)
			app->instance[app->n_places++] = i;
	return 0;
}

/* --- points ------------------------------------------------------------------------------------------------ */

static uint32_t own_kind(const struct pol_model *const model[2], int m, const struct pol_diff *diff,
			 const struct pol_diff_app *app, uint32_t place, uint32_t box)
{
	const struct pol_masks *masks = &app->boxes->masks[box];
	struct pol_kind kind = { .app = app->own[m],
				 .instance = NO_INSTANCE,
				 .met = { masks->sure[m], masks->maybe[m] } };

	if (place)
		kind.instance = own_instance(model, m, &diff->instance[app->instance[place]], app);
	return pol_kind_at(model[m], &kind);
}

static bool has_requirement(const struct pol_model *const model[2], const struct pol_diff_app *app)
{
	return (app->own[0] != POL_APP_OTHER && model[0]->app[app->own[0]].require) ||
	       (app->own[1] != POL_APP_OTHER && model[1]->app[app->own[1]].require);
}

static int count_kinds(const struct pol_model *const model[2], struct pol_diff *diff)
{
	struct pol_diff_app *others = &diff->app[diff->n_apps - 1];
	uint64_t n = 0;
	int ret = make_boxes(model, others);

	if (ret)
		return ret;
	others->boxes->is_shared = true;
	for (size_t a = 0; !ret && a < diff->n_apps; a++) {
		struct pol_diff_app *app = &diff->app[a];

		if (has_requirement(model, app))
			ret = make_boxes(model, app);
		else
			app->boxes = others->boxes;
		if (!ret)
			ret = make_places(model, diff, app);
		if (ret)
			return ret;
		app->first = (uint32_t)n;
		app->n_boxes = (uint32_t)app->boxes->n;
		n += (uint64_t)app->n_places * app->n_boxes;
		if (n > POL_DIFF_POINTS)
			return -E2BIG;
	}
	diff->n_kinds = (size_t)n;
	return ret;
}

static void add_kinds(const struct pol_model *const model[2], struct pol_diff *diff)
{
	for (uint32_t a = 0; a < diff->n_apps; a++) {
		const struct pol_diff_app *app = &diff->app[a];

		for (uint32_t place = 0; place < app->n_places; place++) {
			for (uint32_t box = 0; box < app->n_boxes; box++) {
				struct pol_diff_point *p = &diff->point[diff->n++];

				*p = (struct pol_diff_point){ .app = a, .place = place, .box = box };
				for (int m = 0; m < 2; m++)
					p->own[m] = own_kind(model, m, diff, app, place, box);
			}
		}
	}
}

static void add_cells(const struct pol_model *const model[2], struct pol_diff *diff)
{
	for (size_t c = 0; c < diff->cells.n; c++) {
		struct pol_diff_point *p = &diff->point[diff->n++];

		for (int m = 0; m < 2; m++)
			p->own[m] = pol_point_of_cell(model[m], pol_cell_of(&model[m]->cells, &diff->cells.prefix[c]));
	}
}

static int join_cells(const struct pol_model *const model[2], struct pol_diff *diff)
{
	struct pol_cells *cells = &diff->cells;

	cells->prefix = calloc(model[0]->cells.n + model[1]->cells.n + 2, sizeof(*cells->prefix));
	if (!cells->prefix)
		return -ENOMEM;
	for (int m = 0; m < 2; m++) {
		memcpy(&cells->prefix[cells->n], model[m]->cells.prefix, model[m]->cells.n * sizeof(*cells->prefix));
		cells->n += model[m]->cells.n;
	}
	pol_cells_make(cells);
	return 0;
}

int pol_diff_points(const struct pol_model *const model[2], struct pol_diff *diff)
{
	int ret;

	diff->app = calloc(model[0]->n_apps + model[1]->n_apps + 1, sizeof(*diff->app));
	diff->instance = calloc(model[0]->n_instances + model[1]->n_instances + 1, sizeof(*diff->instance));
	if (!diff->app || !diff->instance)
		return -ENOMEM;
	join_apps(model, diff);
	tell_namesakes_apart(model, diff);
	join_instances(model, diff);
	ret = count_kinds(model, diff);
	if (!ret)
		ret = join_cells(model, diff);
	if (ret)
		return ret;
	diff->point = calloc(diff->n_kinds + diff->cells.n, sizeof(*diff->point));
	if (!diff->point)
		return -ENOMEM;
	add_kinds(model, diff);
	add_cells(model, diff);
	return 0;
}
