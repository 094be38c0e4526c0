/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of claims, cut by what some predicates (claims, requirements) tell apart. A predicate belongs to one of
 * two sets, so that two policies can be cut together.
 */
#pragma once

#include "claims.h"

struct pol_predicate {
	const struct pol_claim *claim;
	uint8_t set, bit;
};

/* What is met surely and perhaps, by set. */
struct pol_masks {
	uint64_t sure[2], maybe[2];
};

/* Values of one dimension that no predicate tells apart. */
struct pol_part {
	struct pol_masks masks;
	struct pol_value *value; /* sorted */
	size_t n;
	bool has_rest;    /* also every value that no predicate lists */
	bool has_unknown; /* also a value that is not known */
};

struct pol_split {
	struct pol_part *part;
	size_t n; /* 0: no predicate asks for the dimension */
};

struct pol_splits {
	struct pol_split dim[POL_DIM_COUNT];
	struct pol_masks all; /* every predicate is met */
};

/* 0 or -ENOMEM */
int pol_splits_make(const struct pol_predicate *predicate, size_t n, struct pol_splits *splits);
void pol_splits_fini(struct pol_splits *splits);
struct pol_masks pol_masks_and(const struct pol_masks *a, const struct pol_masks *b);

/* Everything that a node can meet, each once, sorted. -ENOMEM; -E2BIG beyond `max`. */
int pol_masks_all(const struct pol_splits *splits, size_t max, struct pol_masks **masks, size_t *n);
