/* SPDX-License-Identifier: Apache-2.0 */
/* What the verify commands of quotes, certificates and records share: by what evidence is judged. */
#pragma once

#include "evidence.h"
#include "identity/evidence_policy.h"

#define VERIFY_FILE_MAX  (1 << 20)
#define VERIFY_FILES_MAX 64

struct verify_files {
	const char *path[VERIFY_FILES_MAX];
	size_t n;
};

struct verify_args {
	struct ev_args ev;
	const char *policy; /* NULL: the strict one */
	struct verify_files collateral;
};

/* For getopt_long(). */
#define VERIFY_OPTIONS                                                                                                 \
	{ "root", required_argument, NULL, 'r' }, { "allow-simulated", no_argument, NULL, 's' },                       \
		{ "at", required_argument, NULL, 'a' }, { "json", no_argument, NULL, 'j' },                            \
		{ "collateral", required_argument, NULL, 'c' },                                                        \
	{                                                                                                              \
		"policy", required_argument, NULL, 'p'                                                                 \
	}

/* One of VERIFY_OPTIONS, its value in optarg; false: it is none, or the value is wrong. */
bool verify_option(struct verify_args *args, int c);

struct verify_trust {
	struct id_trust trust; /* its collateral is still empty */
	struct id_evidence_policy policy;
	char *roots; /* owned, as is trust.collaterals */
};

/* Does not move afterwards. On failure nothing is owned. */
int verify_trust_open(const struct verify_args *args, struct verify_trust *t, struct err *e);
void verify_trust_fini(struct verify_trust *t);
/* Collateral of both kinds. An err without a reason is that of a file. */
int verify_collateral_read(const struct verify_files *files, struct id_collaterals *set, struct err *e);
