/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of bailey-mesh: a file (docs/man/bailey-mesh.8), or the environment as dstack-vpc's containers have
 * it. Flat: it goes to the workers as it is.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "bailey/types.h"
#include "base/addr.h"
#include "policy/diag.h"

#define MD_HOST_LEN      256 /* a DNS name or an address, with NUL */
#define MD_LISTEN_MAX    8
#define MD_SERVICES_MAX  64
#define MD_TUNNELS_MAX   64
#define MD_POLICY_MAX    16
#define MD_WORKERS_MAX   64
#define MD_CONF_FILE_MAX (256 * 1024)

/* Somebody to dial: not resolved yet. */
struct md_place {
	char host[MD_HOST_LEN];
	uint16_t port;
};

/* What peers reach here. */
struct md_service {
	char name[BY_NODE_NAME_LEN];
	struct ip_endpoint listen;
	bool is_tcp;            /* bytes; else HTTP */
	bool is_h2;             /* the backend speaks HTTP/2, and nothing else */
	char host[MD_HOST_LEN]; /* of the request; "": any that no other service on the same address has */
	struct md_place backend;
	uint16_t port;                                  /* as policy names it */
	bool tell_instance, tell_claims, tell_verified; /* headers beside X-Dstack-App-Id */
};

/* A local port that leads to a service of another app: TCP for those who do not speak HTTP. */
struct md_tunnel {
	char name[BY_NODE_NAME_LEN];
	struct ip_endpoint listen;
	uint8_t app[BY_APP_ID_LEN];
	uint8_t instance[BY_INSTANCE_ID_LEN];
	bool has_instance;
	uint16_t port;
};

struct md_limits {
	uint32_t connections, head_bytes, fields; /* for each worker */
	uint32_t head_s, connect_s, response_s, idle_s, keepalive_s, drain_s;
};

struct md_conf {
	char file[PATH_MAX]; /* "": the environment */
	char instance[BY_NODE_NAME_LEN];
	char run[PATH_MAX];   /* the control socket is RUN/INSTANCE/ctl.sock */
	char state[PATH_MAX]; /* fetched collateral is kept here; "": nowhere */
	char user[64];
	uint32_t workers;

	char certificate[PATH_MAX], key[PATH_MAX]; /* "" with an agent */
	char agent[PATH_MAX];                      /* socket; "": none */
	bool agent_is_legacy;
	uint32_t agent_life_s;
	char subject[MD_HOST_LEN]; /* of certificates from it */
	bool with_quote;           /* they carry evidence */

	/* One of the two: who issued the certificate (weaker), or what it proves. */
	bool trust_ca; /* of `ca`, or where it is "": the last certificate of the agent's own chain */
	char ca[PATH_MAX];
	bool ca_without_keycertsign; /* CAs of dstack's older KMS pass */
	char evidence_policy[PATH_MAX], simulated_roots[PATH_MAX], collateral[PATH_MAX];
	char pcs_url[512], pcs_root_crl[512], pcs_ca[PATH_MAX];
	uint32_t verdict_s; /* the longest that a peer's evidence is not looked at again */

	char policy[MD_POLICY_MAX][PATH_MAX];
	uint32_t n_policy; /* 0: every peer that is trusted may do everything */

	struct ip_endpoint client[MD_LISTEN_MAX];
	uint32_t n_client;
	struct ip_endpoint captured[MD_LISTEN_MAX]; /* where the kernel brings what was dialled elsewhere */
	uint32_t n_captured;
	/* "DOMAIN[:PORT]", "fixed/HOST[:PORT]" or "direct/HOST"; "": only nodes that baileyd knows */
	char gateway[MD_HOST_LEN + 8];
	struct md_place gateway_at; /* what of it is to be dialled */
	uint16_t default_port;      /* of targets without x-dstack-target-port */
	bool agent_access;          /* requests without a target go to `agent` */
	char baileyd[PATH_MAX];     /* its control socket; "": none */
	char public_ca[PATH_MAX];   /* whom to believe with x-dstack-target-use-tls: false; "": that is refused */
	struct md_tunnel tunnel[MD_TUNNELS_MAX];
	uint32_t n_tunnels;

	struct md_service service[MD_SERVICES_MAX];
	uint32_t n_services;
	struct ip_endpoint auth[MD_LISTEN_MAX]; /* plain HTTP, for nginx' auth_request */
	uint32_t n_auth;
	uint16_t auth_port; /* that policy knows what is behind nginx by */

	struct md_limits limits;
	bool no_splice, no_ktls; /* paths that are not taken */
};

int md_conf_parse(const char *file, const char *text, size_t len, struct md_conf *conf, struct diags *d);
int md_conf_load(const char *file, struct md_conf *conf, struct diags *d);
/* env.c: "NAME=VALUE", NULL at the end. What dstack-vpc has and this program has not is refused by name. */
int md_conf_env(char *const *env, struct md_conf *conf, struct err *e);
void md_conf_defaults(struct md_conf *conf);
/* Things that must hold whatever it was read from. */
int md_conf_check(const struct md_conf *conf, struct err *e);
bool md_gateway_parse(const char *gateway, struct md_place *at);
bool md_unix_parse(struct md_place *place, const char *text); /* "unix:/PATH": host is the path */
bool md_needs_unix(const struct md_conf *conf);               /* workers open Unix sockets */
/* "host:port", "[::1]:80", "host" with `port` 0: needed. */
bool md_place_parse(struct md_place *place, const char *text, uint16_t port);
