/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds: all that policy can tell about an attested node. A kind is an app (or another one), a named instance (or
 * another one), and which claims the node meets. Every node there can be, newcomers too, is of exactly one kind. A
 * policy that names neither instances nor claims has a kind for each app, with the app's number, and one for others.
 */
#pragma once

#include "claims.h"

#define POL_CLAIMS_MAX 63u        /* named claims of one policy */
#define POL_KINDS_MAX  (1u << 20) /* of one policy */
#define POL_REQUIRE    63u        /* the bit of the app's own requirement */

/* Bit i: claim i. What is surely met may be met. */
struct pol_vector {
	uint64_t sure, maybe;
};

struct pol_vectors {
	struct pol_vector *item; /* sorted, each once */
	uint32_t n;
};

/* App a (n_apps: others) has the kinds start[a] .. start[a + 1] - 1: for no named instance, then for each that can be
 * of the app, one kind a vector. */
struct pol_kinds {
	uint32_t n, n_apps;
	uint32_t *start;
	struct pol_vectors plain; /* of apps without a requirement */
	struct pol_vectors *own;  /* by app, n 0: plain. NULL: no app has a requirement */
	/* instances: those of any app, then by app; at[a] .. at[a + 1] - 1 are app a's */
	uint32_t *instance, *at, n_free;
	uint32_t *by_id;    /* the instances, sorted by instance-id */
	uint32_t *place;    /* of each instance among those of its app: 1 ..., 0 is for other instances */
	uint32_t *n_met[2]; /* by action: how many kinds a rule that names the claim covers */
};

/* Apps, then instances, then claims: what can stand in a side beside groups. */
struct pol_model;
uint32_t pol_atoms(const struct pol_model *model);
uint32_t pol_atom_of_instance(const struct pol_model *model, uint32_t instance);
uint32_t pol_atom_of_claim(const struct pol_model *model, uint32_t claim);

/* From the model's apps, instances and claims. -E2BIG and the reason when there are too many. */
int pol_kinds_make(struct pol_model *model, struct err *e);
void pol_kinds_fini(struct pol_kinds *kinds);
uint32_t pol_kind_of(const struct pol_model *model, const struct pol_subject *subject);

/*
 * The kinds that a rule of this action covers when it names the atom; sorted. A requirement and a claim narrow what is
 * allowed and never what is denied: an allow rule has the kinds that surely meet it, a deny rule all of an app's and
 * those that may meet a claim. Returns how many; `kind` NULL: only that.
 */
size_t pol_atom_kinds(const struct pol_model *model, uint32_t atom, enum by_action action, uint32_t *kind);

/* What a kind is made of. */
struct pol_kind {
	uint32_t app;      /* or POL_APP_OTHER */
	uint32_t instance; /* or UINT32_MAX */
	struct pol_vector met;
};
struct pol_kind pol_kind_get(const struct pol_model *model, uint32_t kind);
uint32_t pol_kind_at(const struct pol_model *model, const struct pol_kind *kind);        /* which must be one */
const struct pol_vectors *pol_kind_vectors(const struct pol_kinds *kinds, uint32_t app); /* app: n_apps for others */
