/* SPDX-License-Identifier: Apache-2.0 */
/* What benchmarks share: rows for run.sh, points for curves.sh, and a network of any size with a policy of as many
 * rules. */
#pragma once

#include "datapath/datapath.h"
#include "policy/policy.h"

#define BENCH_SCALES 4
#define BENCH_APPS   1000 /* at most, in a network's policy */

extern const struct bench_scale {
	const char *name;
	uint32_t n;
} bench_scale[BENCH_SCALES]; /* 10, 1k, 10k, 100k */
#define BENCH_HOST_SCALES 3  /* the first ones: xdp-filter holds 10,000 addresses */

double bench_now_s(void);
void bench_must(int ret, struct err *e, const char *what); /* says what failed and ends the program */
/* A JSON object a line on standard output. peer <= 0: there was none to compare with. */
void bench_row(const char *name, double ours, double peer, const char *peer_name, const char *unit, const char *note);
/* A point of a curve, for the file CURVE.WHO.dat in the directory $CURVES; nothing without it. */
void bench_point(const char *curve, const char *who, double x, double y);
/* Without GRO, or an XDP program, a veth has no NAPI to take frames that XDP sends, and loses them. */
void bench_gro_on(const char *device);
double bench_median(double *all, size_t n); /* sorts */

/* Node `i` of `n`, two addresses each; node 0 runs the app that rule i % apps lets in. */
struct dp_identity network_identity(uint32_t i, uint32_t n);
struct pol_subject network_subject(uint32_t i, uint32_t n);
struct pol_subject network_self(void);
char *network_policy(uint32_t n, size_t *len); /* YAML of n rules, malloc'ed */
