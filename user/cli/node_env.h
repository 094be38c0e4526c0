/* SPDX-License-Identifier: Apache-2.0 */
/* dstack-vpc's environment of a node: what `bailey up --env` goes by. No files, no sockets. */
#pragma once

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"

/* Text of the environment that was read, which must outlive this; checked, so it goes into YAML and URLs as it is. */
struct node_env {
	const char *name, *type;           /* type NULL: none is told */
	const char *server_app;            /* 40 hex digits, or self */
	const char *server_url;            /* NULL: as the control plane says */
	const char *apps, *policy;         /* NULL: none; policy stands in place of apps */
	const char *mesh_url, *agent;      /* agent: the socket's path */
	const char *interface;             /* NULL: by the name */
	const char *endpoint;              /* a list; NULL: nobody can reach this node first */
	const char *topology, *hub, *via;  /* as of overlay; hub: 40 hex digits or self */
	const char *authkey;               /* KEY or file:/PATH; NULL: the control plane gives one */
	const char *state, *shared;        /* folders; state NULL: by the name */
	const char *evidence, *collateral; /* NULL: strict; Intel's service, or none where evidence is simulated */
	const char *dstack_pool;           /* true, false, NULL */
	const char *simulated_roots;       /* NULL: no such evidence is believed */
};

bool node_authkey_ok(const char *key); /* a pre-auth key's text: 16 to 127 printable characters */
/* vars: "NAME=VALUE", NULL at the end. */
int node_env_read(char *const *vars, struct node_env *env, struct err *e);
bool node_env_is_true(const char *value); /* NULL is not */
/* The variables that were given, one comment each, but no key: what a configuration was written for. */
void node_env_print(char *const *vars, struct out *out);

#define NODE_URL_HOST 254

struct node_url {
	char host[NODE_URL_HOST];
	uint16_t port;
};

/* "https://HOST[:PORT]", a slash behind it or not; HOST may be an address, IPv6 in brackets, which are taken off. */
bool node_url_parse(const char *text, const char *scheme, uint16_t port, struct node_url *url);
