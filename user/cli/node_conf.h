/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration of baileyd, written for a person who has none yet: `bailey import`, `bailey up`. */
#pragma once

#include <getopt.h>
#include <net/if.h>

#include "base/buf.h"
#include "overlay/wg_quick.h"

#define EXCHANGE_PORT 7946

struct node_conf {
	const char *name; /* of instance and node: 1 to 31 of [a-z0-9-] */
	const char *interface;
	const char *policy;
	const char *agent, *certificate, *key; /* the agent, or the two others */
	const char *roots;                     /* of simulated evidence; NULL: none is believed */
	const char *wg_key;
	uint16_t port; /* 0: the default, as below */
	uint32_t mtu;
	const struct ip_prefix *networks, *addrs; /* addrs: none where a control plane says them */
	uint32_t n_networks, n_addrs;
	const char *endpoint; /* where others reach WireGuard (node_endpoints_parse); NULL: nowhere */
	const struct ip_endpoint *peers;
	uint32_t n_peers;
	const char *server, *app; /* the control plane; NULL: none */
	/* as `bailey up --env` has it, beside or in place of the above; NULL or 0: nothing is said */
	const char *state, *evidence, *collateral; /* collateral: a file, or a service's https:// */
	const struct ip_endpoint *servers;
	uint32_t n_servers;
	const char *host, *auth_key;      /* the name that servers are asked for; file of a pre-auth key */
	const char *topology, *hub, *via; /* hub: an app-id; via: node_via_parse() */
	bool has_dns;
};

/* Options that both commands have. False: it is none of them. */
#define NODE_CONF_OPTIONS                                                                                              \
	{ "name", required_argument, NULL, 'n' }, { "policy", required_argument, NULL, 'p' },                          \
		{ "agent", required_argument, NULL, 'a' }, { "certificate", required_argument, NULL, 'c' },            \
		{ "key", required_argument, NULL, 'k' }, { "simulated-root", required_argument, NULL, 'r' },           \
	{                                                                                                              \
		"endpoint", required_argument, NULL, 'e'                                                               \
	}
bool node_conf_option(struct node_conf *c, int letter, const char *value);

/* What a node's WireGuard interface is called where nobody says: "by-web". */
void node_conf_interface(char interface[IF_NAMESIZE], const char *name);
/* Paths that a person gave are relative to where he is, not to where the configuration will be. Once a process. */
void node_conf_absolute(struct node_conf *c);
/* What can be said before anything is written. */
int node_conf_check(struct node_conf *c, struct err *e);
void node_conf_print(const struct node_conf *c, struct out *out);
