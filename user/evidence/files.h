/* SPDX-License-Identifier: Apache-2.0 */
/* Whose evidence a program believes, as files that its configuration names under `evidence`: read once, kept. */
#pragma once

#include <limits.h>

#include "identity/evidence_policy.h"
#include "policy/policy.h"
#include "policy/yaml.h"

#define EVP_COLLATERAL_MAX 8

struct evp_paths {
	char policy[PATH_MAX];          /* "": strict, and simulated evidence where roots of it are named */
	char simulated_roots[PATH_MAX]; /* "": none */
	char collateral[EVP_COLLATERAL_MAX][PATH_MAX];
	unsigned n_collateral;
};

struct evp_files {
	struct id_evidence_policy policy;
	struct id_collaterals *collaterals;
	char *roots;
	size_t roots_len;
};

/* Its keys: policy, collateral, simulated_roots. Paths are absolute. What is wrong is in `d`. */
void evp_paths_read(const struct yaml_doc *doc, struct evp_paths *paths, struct diags *d);
int evp_files_load(const struct evp_paths *paths, struct evp_files *files, struct err *e);
void evp_files_fini(struct evp_files *files);
/* As of this moment; borrows all of it. */
struct id_trust evp_trust_now(const struct evp_files *files);

/* The collateral alone; *set is NULL where none is named. */
int evp_collateral_load(const struct evp_paths *paths, struct id_collaterals **set, struct err *e);
/* How its files look from outside: another number when another file has taken the place of one. */
uint64_t evp_collateral_look(const struct evp_paths *paths);

/* What policy may ask of whoever proved these claims. */
struct pol_subject evp_subject(const struct id_claims *claims);
