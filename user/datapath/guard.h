/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets of meshes on this machine stop in the kernel when their peer, or its rule, is gone (bpf/guard.bpf.c): by
 * the overlay's maps of identities and verdicts, on the cgroups that the meshes are in. State is in pins of its own,
 * beside those of the overlay: what was set goes on while no process holds it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bailey/guard.h"
#include "bailey/maps.h"
#include "base/err.h"

#define DP_GUARD_CGROUPS 4
#define DP_GUARD_PATH    256

/* Plain bytes: one process reads it, another one does it. */
struct dp_guard_conf {
	char cgroup[DP_GUARD_CGROUPS][DP_GUARD_PATH];
	uint32_t n_cgroups;
};

struct dp_guard_status {
	uint32_t n_cgroups;                        /* that the programs are on */
	struct by_counter dropped[BY_MAX_REASONS]; /* by reason, both directions */
};

struct dp_guard;

/* Loads the programs, adopts what an earlier process left. The overlay's maps are pinned already. */
int dp_guard_open(const char *bpffs, const char *instance, struct dp_guard **guard, struct err *e);
void dp_guard_close(struct dp_guard *guard); /* accepts NULL; all of it goes on */
/* What is named comes first, then what is not named goes. Idempotent. */
int dp_guard_set(struct dp_guard *guard, const struct dp_guard_conf *conf, struct err *e);
/* Whether the cgroups of that are still the ones that the programs were put on. */
bool dp_guard_is_placed(const struct dp_guard *guard, const struct dp_guard_conf *conf);
int dp_guard_status(struct dp_guard *guard, struct dp_guard_status *st, struct err *e);
int dp_guard_destroy(const char *bpffs, const char *instance, struct err *e);
