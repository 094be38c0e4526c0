/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane, bailey-vpc: who belongs to the network, at which addresses, and what each node has said of itself.
 * Room prefix vs_. Three processes (docs/vpc.md): parent (configuration, the listening socket, the way to the guest
 * agent), front (TLS, evidence, records; no files), store (SQLite or etcd, the control socket; parses nothing of a
 * stranger, and of etcd's what etcd says).
 */
#pragma once

#include <limits.h>

#include "base/addr.h"
#include "base/err.h"
#include "evidence/files.h"
#include "identity/identity.h"
#include "policy/apps.h"
#include "policy/policy.h"
#include "store.h"

#define VS_URL     512
#define VS_GATEWAY 260

/* dstack-vpc's REST API, behind our own mesh. */
struct vs_api_conf {
	bool is_on;
	struct pol_apps apps;
	char mesh_user[64];        /* whose the socket is */
	char server_url[VS_URL];   /* that nodes are told; "": by the gateway */
	char gateway[VS_GATEWAY];  /* DOMAIN[:PORT] */
	char shared_key[PATH_MAX]; /* file; made where it is not there, and the store is a file */
	int64_t lease_s;
};

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
	struct vs_api_conf api;
	struct etcd_conf etcd; /* n_endpoints 0: the store is a file in `state` */
};

int vs_conf_parse(const char *file, const char *text, size_t len, struct vs_conf *conf, struct diags *d);
int vs_conf_load(const char *path, struct vs_conf *conf, struct err *e);
/* conf_env.c: "NAME=VALUE", NULL at the end, as dstack-vpc's containers have it; and who may join then. */
int vs_conf_env(char *const *env, struct vs_conf *conf, struct err *e);
char *vs_admit_text(const struct vs_conf *conf); /* malloc'ed */
void vs_conf_pools(struct vs_conf *conf, bool is_public);
/* How many numbers all pools have addresses for, from 1. */
uint32_t vs_conf_numbers(const struct vs_conf *conf);
struct by_addr vs_conf_address(const struct vs_conf *conf, uint32_t pool, uint32_t number);

/* What the configuration names, read. */
struct vs_loaded {
	struct vs_conf conf;
	struct evp_files evidence;
	struct pol_model *admit;
	char *cert_pem, *key_pem; /* NULL with an agent */
	struct etcd_pems etcd;
	char *shared_key; /* NULL without the REST API, and until it was made */
};

/* path NULL: the environment. */
int vs_load(const char *path, struct vs_loaded *loaded, struct err *e);
void vs_unload(struct vs_loaded *loaded);

/* conf_store.c: the section `store`, and the files that it names. */
struct conf_parse;
void vs_conf_store(struct conf_parse *p, struct vs_conf *conf);
int vs_load_etcd(const struct etcd_conf *conf, struct etcd_pems *pems, struct err *e);
void vs_unload_etcd(struct etcd_pems *pems);

/* conf_api.c: the section `api`, and the file that it names. */
void vs_conf_api(struct conf_parse *p, struct vs_conf *conf);
bool vs_url_ok(const char *text);
/* *shared_key stays NULL where it is not there yet and this server may make it. */
int vs_load_api(const struct vs_conf *conf, char **shared_key, struct err *e);
int vs_make_api(const struct vs_conf *conf, char **shared_key, struct err *e); /* one that was not there */

/* --- processes --- */

/* What front is given. api -1: there is no REST API; mesh: whose connections it listens to. */
struct vs_front_fds {
	int listener, store, parent, api;
	uid_t mesh;
};

int vs_run(const char *conf_path, char **argv);
int vs_front(struct vs_loaded *loaded, uid_t uid, gid_t gid, const struct vs_front_fds *fd);
int vs_store_process(const struct vs_loaded *loaded, uid_t uid, gid_t gid, int front_fd);
int vs_failed(const char *process, int code, const struct err *e); /* says so; the exit status */
void vs_store_path(const struct vs_conf *conf, char path[PATH_MAX]);
