/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane, bailey-vpc: who belongs to the network, at which addresses, and what each node has said of itself.
 * Room prefix vs_. Three processes (docs/vpc.md): parent (configuration, the listening socket, the way to the guest
 * agent), front (TLS, evidence, records; no files), store (SQLite, the control socket; parses nothing of a stranger).
 */
#pragma once

#include <limits.h>

#include "base/addr.h"
#include "base/err.h"
#include "evidence/files.h"
#include "identity/identity.h"
#include "policy/policy.h"
#include "store.h"

struct vs_conf {
	struct ip_endpoint listen;
	char state[PATH_MAX], run[PATH_MAX];
	char user[64];
	char certificate[PATH_MAX], key[PATH_MAX]; /* "" with an agent */
	char agent[PATH_MAX];                      /* "" without */
	uint32_t agent_life_s;
	struct evp_paths evidence;
	char admit[PATH_MAX]; /* policy: who may reach `listen` may join */
	bool approve;         /* and somebody has to say yes */
	struct ip_prefix pools[ID_MAX_ADDRS];
	uint32_t n_pools;
	bool has_public_pool;
	uint32_t max_nodes;
};

int vs_conf_parse(const char *file, const char *text, size_t len, struct vs_conf *conf, struct diags *d);
int vs_conf_load(const char *path, struct vs_conf *conf, struct err *e);
/* How many numbers all pools have addresses for, from 1. */
uint32_t vs_conf_numbers(const struct vs_conf *conf);
struct by_addr vs_conf_address(const struct vs_conf *conf, uint32_t pool, uint32_t number);

/* What the configuration names, read. */
struct vs_loaded {
	struct vs_conf conf;
	struct evp_files evidence;
	struct pol_model *admit;
	char *cert_pem, *key_pem; /* NULL with an agent */
};

int vs_load(const char *path, struct vs_loaded *loaded, struct err *e);
void vs_unload(struct vs_loaded *loaded);

/* --- processes --- */

int vs_run(const char *conf_path, char **argv);
int vs_front(struct vs_loaded *loaded, uid_t uid, gid_t gid, int listener, int store_fd, int parent_fd);
int vs_store_process(const struct vs_conf *conf, uid_t uid, gid_t gid, int front_fd);
int vs_failed(const char *process, int code, const struct err *e); /* says so; the exit status */
void vs_store_path(const struct vs_conf *conf, char path[PATH_MAX]);
