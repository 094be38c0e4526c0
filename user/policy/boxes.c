// SPDX-License-Identifier: Apache-2.0
#include "boxes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct pol_masks pol_masks_and(const struct pol_masks *a, const struct pol_masks *b)
{
	struct pol_masks both;

	for (int s = 0; s < 2; s++) {
		both.sure[s] = a->sure[s] & b->sure[s];
		both.maybe[s] = a->maybe[s] & b->maybe[s];
	}
	return both;
}

static int order_masks(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pol_masks));
}

/* --- one dimension ----------------------------------------------------------------------------------------- */

static bool lists(const struct pol_claim *claim, enum pol_dim dim, const struct pol_value *value)
{
	return bsearch(value, claim->dim[dim].value, claim->dim[dim].n, sizeof(*value), pol_value_order) != NULL;
}

/* value NULL: one that nobody lists */
static struct pol_masks masks_of(const struct pol_predicate *predicate, size_t n, enum pol_dim dim,
				 const struct pol_value *value)
{
	struct pol_masks m = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct pol_predicate *p = &predicate[i];

		if (p->claim->dim[dim].n && (!value || !lists(p->claim, dim, value)))
			continue;
		m.sure[p->set] |= 1ull << p->bit;
		m.maybe[p->set] |= 1ull << p->bit;
	}
	return m;
}

/* All values that are listed or that the dimension has, sorted, each once. *n 0: the dimension is not asked for. */
static struct pol_value *all_values(const struct pol_predicate *predicate, size_t n_predicates, enum pol_dim dim,
				    size_t *n)
{
	size_t room = 0, kept = 0;
	struct pol_value *value;

	*n = 0;
	for (size_t i = 0; i < n_predicates; i++)
		room += predicate[i].claim->dim[dim].n;
	value = calloc(room + POL_TCB_COUNT, sizeof(*value));
	if (!value || !room)
		return value;
	for (size_t i = 0; i < n_predicates; i++) {
		const struct pol_claim *claim = predicate[i].claim;

		if (claim->dim[dim].n)
			memcpy(&value[*n], claim->dim[dim].value, claim->dim[dim].n * sizeof(*value));
		*n += claim->dim[dim].n;
	}
	*n += pol_dim_values(dim, &value[*n]);
	qsort(value, *n, sizeof(*value), pol_value_order);
	for (size_t i = 0; i < *n; i++)
		if (!kept || pol_value_order(&value[kept - 1], &value[i]) != 0)
			value[kept++] = value[i];
	*n = kept;
	return value;
}

/* The part of these masks, made when there is none. */
static struct pol_part *part_of(struct pol_split *split, const struct pol_masks *masks)
{
	struct pol_part *grown;

	for (size_t i = 0; i < split->n; i++)
		if (order_masks(&split->part[i].masks, masks) == 0)
			return &split->part[i];
	if (!(split->n & (split->n - 1))) {
		grown = reallocarray(split->part, split->n ? 2 * split->n : 1, sizeof(*grown));
		if (!grown)
			return NULL;
		split->part = grown;
	}
	split->part[split->n] = (struct pol_part){ .masks = *masks };
	return &split->part[split->n++];
}

static int part_add(struct pol_part *part, const struct pol_value *value)
{
	struct pol_value *grown;

	if (!part)
		return -ENOMEM;
	if (!(part->n & (part->n - 1))) {
		grown = reallocarray(part->value, part->n ? 2 * part->n : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		part->value = grown;
	}
	part->value[part->n++] = *value;
	return 0;
}

static int split_make(const struct pol_predicate *predicate, size_t n_predicates, enum pol_dim dim,
		      const struct pol_masks *all, struct pol_split *split)
{
	struct pol_value none[POL_TCB_COUNT];
	size_t n;
	auto_free struct pol_value *value = all_values(predicate, n_predicates, dim, &n);
	struct pol_masks m;
	struct pol_part *part;

	if (!value)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		m = masks_of(predicate, n_predicates, dim, &value[i]);
		if (part_add(part_of(split, &m), &value[i]) < 0)
			return -ENOMEM;
	}
	if (!n)
		return 0;
	m = masks_of(predicate, n_predicates, dim, NULL);
	if (!pol_dim_values(dim, none)) {
		if (!(part = part_of(split, &m)))
			return -ENOMEM;
		part->has_rest = true;
	}
	memcpy(m.maybe, all->maybe, sizeof(m.maybe));
	if (pol_dim_can_be_unknown(dim)) {
		if (!(part = part_of(split, &m)))
			return -ENOMEM;
		part->has_unknown = true;
	}
	return 0;
}

int pol_splits_make(const struct pol_predicate *predicate, size_t n, struct pol_splits *splits)
{
	int ret = 0;

	*splits = (struct pol_splits){ 0 };
	for (size_t i = 0; i < n; i++)
		splits->all.sure[predicate[i].set] |= 1ull << predicate[i].bit;
	memcpy(splits->all.maybe, splits->all.sure, sizeof(splits->all.maybe));
	for (int d = 0; !ret && d < POL_DIM_COUNT; d++)
		ret = split_make(predicate, n, (enum pol_dim)d, &splits->all, &splits->dim[d]);
	return ret;
}

void pol_splits_fini(struct pol_splits *splits)
{
	for (int d = 0; d < POL_DIM_COUNT; d++) {
		for (size_t i = 0; i < splits->dim[d].n; i++)
			free(splits->dim[d].part[i].value);
		free(splits->dim[d].part);
	}
	*splits = (struct pol_splits){ 0 };
}

/* --- all of them ------------------------------------------------------------------------------------------- */

static size_t unique(struct pol_masks *m, size_t n)
{
	size_t kept = 0;

	qsort(m, n, sizeof(*m), order_masks);
	for (size_t i = 0; i < n; i++)
		if (!kept || order_masks(&m[kept - 1], &m[i]) != 0)
			m[kept++] = m[i];
	return kept;
}

int pol_masks_all(const struct pol_splits *splits, size_t max, struct pol_masks **masks, size_t *n)
{
	auto_free struct pol_masks *at = malloc(sizeof(*at));
	size_t n_at = 1;

	if (!at)
		return -ENOMEM;
	at[0] = splits->all;
	for (int d = 0; d < POL_DIM_COUNT; d++) {
		const struct pol_split *split = &splits->dim[d];
		struct pol_masks *next;

		if (!split->n)
			continue;
		if (split->n > max) /* n_at is no more than that either, so the product has an end */
			return -E2BIG;
		next = calloc(n_at * split->n, sizeof(*next));
		if (!next)
			return -ENOMEM;
		for (size_t i = 0; i < n_at; i++)
			for (size_t p = 0; p < split->n; p++)
				next[i * split->n + p] = pol_masks_and(&at[i], &split->part[p].masks);
		n_at = unique(next, n_at * split->n);
		free(at);
		at = next;
		if (n_at > max)
			return -E2BIG;
	}
	*masks = take_ptr(at);
	*n = n_at;
	return 0;
}
