/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What applications dial, diverted: to the proxy of this machine, or straight to a node (bpf/sock.bpf.c). By cgroup,
 * without iptables and connection tracking. State is in pins of its own, beside those of the datapaths: what was set
 * goes on while no process holds it.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bailey/divert.h"
#include "base/addr.h"
#include "base/err.h"

#define DP_DIVERT_CGROUPS 8
#define DP_DIVERT_RULES   256
#define DP_DIVERT_PATH    256
#define DP_DIVERT_DEVICES 16

struct dp_divert_rule {
	struct ip_prefix net; /* what is dialled */
	uint8_t l4_proto;     /* 6 or 17 */
	bool is_peer;         /* `to` is a node, which needs no origin */
	uint16_t port;        /* 0: any */
	uint16_t to_port;     /* 0: the one that was dialled */
	struct by_addr to;    /* of the same family */
};

/* Plain bytes: one process reads it, another one does it. */
struct dp_divert_conf {
	char cgroup[DP_DIVERT_CGROUPS][DP_DIVERT_PATH]; /* whose sockets are diverted */
	uint32_t n_cgroups;
	char device[DP_DIVERT_DEVICES][IF_NAMESIZE]; /* that lead to network namespaces; they may come later and go */
	uint32_t n_devices;
	char proxy_cgroup[DP_DIVERT_PATH]; /* who is told the origin of a connection; "": nobody */
	struct dp_divert_rule rule[DP_DIVERT_RULES];
	uint32_t n_rules;
};

struct dp_divert_status {
	uint32_t n_cgroups, n_devices; /* that the programs are on */
	uint32_t n_rules, n_origins;
	uint64_t count[BY_DIVERT_STATS];
};

struct dp_divert;

/* Loads the programs, adopts what an earlier process left. */
int dp_divert_open(const char *bpffs, const char *instance, struct dp_divert **out, struct err *e);
void dp_divert_close(struct dp_divert *d); /* accepts NULL; all of it goes on */
/* What is named comes first, then what is not named goes: what both have is diverted all the time. Idempotent. */
int dp_divert_set(struct dp_divert *d, const struct dp_divert_conf *conf, struct err *e);
/* Whether the cgroups and devices of that are still the ones that the programs were put on: one that was removed and
 * made again is another. */
bool dp_divert_is_placed(const struct dp_divert *d, const struct dp_divert_conf *conf);
int dp_divert_status(struct dp_divert *d, struct dp_divert_status *st, struct err *e);
bool dp_divert_has_devices(const char *bpffs, const char *instance); /* as an earlier process left it */
int dp_divert_destroy(const char *bpffs, const char *instance, struct err *e);

/* A diverted connection whose proxy can ask for its origin. */
typedef int (*dp_origin_fn)(const struct by_origin_key *key, const struct by_origin *origin, void *arg);
/* The next ones from `at` on, `chunk` at most, as dp_flows_on(). */
struct dp_place;
int dp_divert_origins(struct dp_divert *d, struct dp_place *at, uint32_t chunk, dp_origin_fn fn, void *arg,
		      struct err *e);
