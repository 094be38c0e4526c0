// SPDX-License-Identifier: Apache-2.0
#include "kinds.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "boxes.h"
#include "model.h"

#define VECTORS_MAX 4096u      /* of one app: then the product of its values is too large */
#define WORK_MAX    (1u << 26) /* values compared with claims */

uint32_t pol_atoms(const struct pol_model *model)
{
	return (uint32_t)(model->n_apps + model->n_instances + model->n_claims);
}

uint32_t pol_atom_of_instance(const struct pol_model *model, uint32_t instance)
{
	return (uint32_t)model->n_apps + instance;
}

uint32_t pol_atom_of_claim(const struct pol_model *model, uint32_t claim)
{
	return (uint32_t)(model->n_apps + model->n_instances) + claim;
}

void pol_kinds_fini(struct pol_kinds *kinds)
{
	for (uint32_t a = 0; kinds->own && a < kinds->n_apps; a++)
		free(kinds->own[a].item);
	free(kinds->own);
	free(kinds->plain.item);
	free(kinds->start);
	free(kinds->instance);
	free(kinds->at);
	free(kinds->by_id);
	free(kinds->place);
	free(kinds->n_met[0]);
	free(kinds->n_met[1]);
}

/* --- instances --------------------------------------------------------------------------------------------- */

static int order_instance(const void *a, const void *b, void *arg)
{
	const struct pol_instance *all = arg, *x = &all[*(const uint32_t *)a], *y = &all[*(const uint32_t *)b];
	int order = memcmp(x->instance_id, y->instance_id, BY_INSTANCE_ID_LEN);

	return order ? order : (x > y) - (x < y);
}

static int list_instances(const struct pol_model *model, struct pol_kinds *k)
{
	uint32_t n = (uint32_t)model->n_instances, n_apps = k->n_apps;
	auto_free uint32_t *next = calloc(n_apps + 1u, sizeof(*next));

	k->instance = calloc(n + 1u, sizeof(*k->instance));
	k->by_id = calloc(n + 1u, sizeof(*k->by_id));
	k->place = calloc(n + 1u, sizeof(*k->place));
	k->at = calloc(n_apps + 2u, sizeof(*k->at));
	if (!next || !k->instance || !k->by_id || !k->place || !k->at)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		k->by_id[i] = i;
		if (model->instance[i].app == POL_APP_OTHER)
			k->instance[k->n_free++] = i;
		else
			next[model->instance[i].app]++;
	}
	k->at[0] = k->n_free;
	for (uint32_t a = 0; a < n_apps; a++) {
		k->at[a + 1] = k->at[a] + next[a];
		next[a] = k->at[a];
	}
	k->at[n_apps + 1] = k->at[n_apps];
	for (uint32_t i = 0; i < n; i++)
		if (model->instance[i].app != POL_APP_OTHER)
			k->instance[next[model->instance[i].app]++] = i;
	for (uint32_t p = 0; p < n; p++) {
		uint32_t i = k->instance[p], app = model->instance[i].app;

		k->place[i] = 1 + (app == POL_APP_OTHER ? p : k->n_free + p - k->at[app]);
	}
	if (n)
		qsort_r(k->by_id, n, sizeof(*k->by_id), order_instance, model->instance);
	return 0;
}

/* Those that a node of the app can be, and none. */
static uint32_t places_of(const struct pol_kinds *k, uint32_t app)
{
	return 1 + k->n_free + k->at[app + 1] - k->at[app];
}

/* --- claims ------------------------------------------------------------------------------------------------ */

static int order_vector(const void *a, const void *b)
{
	const struct pol_vector *x = a, *y = b;

	if (x->sure != y->sure)
		return x->sure < y->sure ? -1 : 1;
	return (x->maybe > y->maybe) - (x->maybe < y->maybe);
}

static int vectors_make(const struct pol_model *model, const struct pol_claim *require, struct pol_vectors *vectors)
{
	struct pol_predicate predicate[POL_CLAIMS_MAX + 1];
	auto_call(pol_splits_fini) struct pol_splits splits = { 0 };
	auto_free struct pol_masks *masks = NULL;
	size_t n = 0, n_masks = 0;
	int ret;

	for (; n < model->n_claims; n++)
		predicate[n] = (struct pol_predicate){ .claim = &model->claim[n], .bit = (uint8_t)n };
	if (require)
		predicate[n++] = (struct pol_predicate){ .claim = require, .bit = POL_REQUIRE };
	ret = pol_splits_make(predicate, n, &splits);
	if (!ret)
		ret = pol_masks_all(&splits, VECTORS_MAX, &masks, &n_masks);
	if (ret)
		return ret;
	vectors->item = calloc(n_masks, sizeof(*vectors->item));
	if (!vectors->item)
		return -ENOMEM;
	for (size_t i = 0; i < n_masks; i++)
		vectors->item[i] = (struct pol_vector){ masks[i].sure[0], masks[i].maybe[0] };
	vectors->n = (uint32_t)n_masks;
	qsort(vectors->item, vectors->n, sizeof(*vectors->item), order_vector);
	return 0;
}

static uint64_t values_of(const struct pol_claim *claim)
{
	uint64_t n = 0;

	for (int d = 0; d < POL_DIM_COUNT; d++)
		n += claim->dim[d].n;
	return n;
}

static int list_vectors(const struct pol_model *model, struct pol_kinds *k)
{
	uint64_t n_values = 0, work = 0;
	int ret = vectors_make(model, NULL, &k->plain);

	for (size_t c = 0; c < model->n_claims; c++)
		n_values += values_of(&model->claim[c]);
	for (uint32_t a = 0; !ret && a < k->n_apps; a++) {
		const struct pol_claim *require = model->app[a].require;

		if (!require)
			continue;
		work += (n_values + values_of(require)) * (model->n_claims + 1);
		if (work > WORK_MAX)
			return -E2BIG;
		if (!k->own && !(k->own = calloc(k->n_apps, sizeof(*k->own))))
			return -ENOMEM;
		ret = vectors_make(model, require, &k->own[a]);
	}
	return ret;
}

const struct pol_vectors *pol_kind_vectors(const struct pol_kinds *kinds, uint32_t app)
{
	return kinds->own && app < kinds->n_apps && kinds->own[app].n ? &kinds->own[app] : &kinds->plain;
}

static bool is_met(const struct pol_vector *v, uint32_t bit, enum by_action action)
{
	return (action == BY_ALLOW ? v->sure : v->maybe) & 1ull << bit;
}

static uint32_t count_met(const struct pol_vectors *vectors, uint32_t bit, enum by_action action)
{
	uint32_t n = 0;

	for (uint32_t v = 0; v < vectors->n; v++)
		n += is_met(&vectors->item[v], bit, action);
	return n;
}

static int count_claims(const struct pol_model *model, struct pol_kinds *k)
{
	for (int action = 0; action < 2; action++) {
		k->n_met[action] = calloc(model->n_claims + 1, sizeof(*k->n_met[action]));
		if (!k->n_met[action])
			return -ENOMEM;
		for (uint32_t c = 0; c < model->n_claims; c++) {
			uint32_t n_plain = count_met(&k->plain, c, (enum by_action)action);

			for (uint32_t a = 0; a <= k->n_apps; a++) {
				const struct pol_vectors *v = pol_kind_vectors(k, a);

				k->n_met[action][c] +=
					places_of(k, a) *
					(v == &k->plain ? n_plain : count_met(v, c, (enum by_action)action));
			}
		}
	}
	return 0;
}

/* --- kinds ------------------------------------------------------------------------------------------------- */

static int number_kinds(struct pol_kinds *k)
{
	uint64_t n = 0;

	k->start = calloc(k->n_apps + 2u, sizeof(*k->start));
	if (!k->start)
		return -ENOMEM;
	for (uint32_t a = 0; a <= k->n_apps; a++) {
		n += (uint64_t)places_of(k, a) * pol_kind_vectors(k, a)->n;
		if (n > POL_KINDS_MAX)
			return -E2BIG;
		k->start[a + 1] = (uint32_t)n;
	}
	k->n = (uint32_t)n;
	return 0;
}

int pol_kinds_make(struct pol_model *model, struct err *e)
{
	struct pol_kinds *k = &model->kinds;
	int ret;

	k->n_apps = (uint32_t)model->n_apps;
	ret = list_instances(model, k);
	if (!ret)
		ret = list_vectors(model, k);
	if (!ret)
		ret = number_kinds(k);
	if (!ret)
		ret = count_claims(model, k);
	if (ret == -E2BIG)
		return err_at(
			e, ret, NULL,
			"apps, instances and claims tell too many kinds of nodes apart, the limit is %u in all and %u "
			"by the claims of one app; say of what app an instance is, ask fewer claims",
			POL_KINDS_MAX, VECTORS_MAX);
	return ret ? err_at(e, ret, NULL, "out of memory") : 0;
}

static uint32_t instance_of(const struct pol_model *model, const struct pol_subject *subject, uint32_t app)
{
	const struct pol_kinds *k = &model->kinds;
	size_t low = 0, high = model->n_instances;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct pol_instance *i = &model->instance[k->by_id[mid]];
		int order = memcmp(subject->instance_id, i->instance_id, BY_INSTANCE_ID_LEN);

		if (order == 0)
			return i->app == POL_APP_OTHER || i->app == app ? k->by_id[mid] : UINT32_MAX;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return UINT32_MAX;
}

static void meet(struct pol_vector *v, const struct pol_claim *claim, uint32_t bit, const struct pol_subject *subject)
{
	enum pol_met met = pol_claim_met(claim, subject);

	v->sure |= (uint64_t)(met == POL_MET) << bit;
	v->maybe |= (uint64_t)(met != POL_NOT_MET) << bit;
}

uint32_t pol_kind_at(const struct pol_model *model, const struct pol_kind *kind)
{
	const struct pol_kinds *k = &model->kinds;
	uint32_t a = kind->app == POL_APP_OTHER ? k->n_apps : kind->app;
	uint32_t place = kind->instance == UINT32_MAX ? 0 : k->place[kind->instance];
	const struct pol_vectors *vectors = pol_kind_vectors(k, a);
	const struct pol_vector *met = bsearch(&kind->met, vectors->item, vectors->n, sizeof(*met), order_vector);

	assert(met); /* the enumeration has every vector there can be; a guess would open something */
	return k->start[a] + place * vectors->n + (uint32_t)(met - vectors->item);
}

uint32_t pol_kind_of(const struct pol_model *model, const struct pol_subject *subject)
{
	struct pol_kind kind = { .app = pol_app_by_id(model, subject->app_id) };

	kind.instance = instance_of(model, subject, kind.app);
	for (uint32_t c = 0; c < model->n_claims; c++)
		meet(&kind.met, &model->claim[c], c, subject);
	if (kind.app != POL_APP_OTHER && model->app[kind.app].require)
		meet(&kind.met, model->app[kind.app].require, POL_REQUIRE, subject);
	return pol_kind_at(model, &kind);
}

static uint32_t app_of(const struct pol_kinds *k, uint32_t kind)
{
	uint32_t low = 0, high = k->n_apps;

	if (k->n == k->n_apps + 1)
		return kind;
	while (low < high) {
		uint32_t mid = low + (high - low + 1) / 2;

		if (k->start[mid] <= kind)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

struct pol_kind pol_kind_get(const struct pol_model *model, uint32_t kind)
{
	const struct pol_kinds *k = &model->kinds;
	uint32_t a = app_of(k, kind), place;
	const struct pol_vectors *vectors = pol_kind_vectors(k, a);
	struct pol_kind got = { .app = a == k->n_apps ? POL_APP_OTHER : a, .instance = UINT32_MAX };

	got.met = vectors->item[(kind - k->start[a]) % vectors->n];
	place = (kind - k->start[a]) / vectors->n;
	if (place)
		got.instance = k->instance[place <= k->n_free ? place - 1 : k->at[a] + place - 1 - k->n_free];
	return got;
}

/* --- atoms ------------------------------------------------------------------------------------------------- */

struct taker {
	uint32_t *kind;
	size_t n;
};

/* The kinds of one app in one place that meet the claim; bit ~0: all. */
static void take(const struct pol_kinds *k, uint32_t a, uint32_t place, uint32_t bit, enum by_action action,
		 struct taker *t)
{
	const struct pol_vectors *vectors = pol_kind_vectors(k, a);
	uint32_t first = k->start[a] + place * vectors->n;

	for (uint32_t v = 0; v < vectors->n; v++) {
		if (bit != ~0u && !is_met(&vectors->item[v], bit, action))
			continue;
		if (t->kind)
			t->kind[t->n] = first + v;
		t->n++;
	}
}

/* The bit that an allow rule needs of an app's nodes. */
static uint32_t needed(const struct pol_model *model, uint32_t app, enum by_action action)
{
	return action == BY_ALLOW && model->app[app].require ? POL_REQUIRE : ~0u;
}

static size_t instance_kinds(const struct pol_model *model, uint32_t i, enum by_action action, struct taker *t)
{
	const struct pol_kinds *k = &model->kinds;
	uint32_t app = model->instance[i].app;

	if (app != POL_APP_OTHER)
		take(k, app, k->place[i], needed(model, app, action), action, t);
	else
		for (uint32_t a = 0; a <= k->n_apps; a++)
			take(k, a, k->place[i], ~0u, action, t);
	return t->n;
}

size_t pol_atom_kinds(const struct pol_model *model, uint32_t atom, enum by_action action, uint32_t *kind)
{
	const struct pol_kinds *k = &model->kinds;
	struct taker t = { .kind = kind };
	uint32_t claim;

	if (atom < k->n_apps) {
		for (uint32_t p = 0; p < places_of(k, atom); p++)
			take(k, atom, p, needed(model, atom, action), action, &t);
		return t.n;
	}
	if (atom < k->n_apps + model->n_instances)
		return instance_kinds(model, atom - k->n_apps, action, &t);
	claim = atom - k->n_apps - (uint32_t)model->n_instances;
	if (!kind)
		return k->n_met[action][claim];
	for (uint32_t a = 0; a <= k->n_apps; a++)
		for (uint32_t p = 0; p < places_of(k, a); p++)
			take(k, a, p, claim, action, &t);
	return t.n;
}
