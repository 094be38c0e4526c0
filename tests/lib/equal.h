/* SPDX-License-Identifier: Apache-2.0 */
/* Random policies and packets: the loaded programs' answer against the image's and explain's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct equal {
	uint64_t seed;    /* the same seed, policies and packets give the same run */
	uint32_t packets; /* of each policy */
	uint64_t n_cases, n_allowed, n_denied, n_default, n_audited, n_policies;
};

/* Adds `policies` of eq->packets each. false: they disagreed; stderr says about what. */
bool equal_run(struct equal *eq, uint32_t policies);
/* The same with rules about host. */
bool equal_host_run(struct equal *eq, uint32_t policies);
