/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's configuration file; the keys are in docs/man/baileyd.conf.5. */
#pragma once

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "bailey/conf.h"
#include "base/addr.h"
#include "conf_workloads.h"
#include "datapath/datapath.h"
#include "datapath/divert.h"
#include "datapath/guard.h"
#include "dns/dns.h"
#include "identity/identity.h"
#include "overlay/overlay.h"
#include "policy/diag.h"
#include "policy/policy.h"
#include "vpc/join.h"

#define CONF_MAX_LISTEN   8
#define CONF_MAX_PEERS    256
#define CONF_MAX_VIA      256
#define CONF_MAX_NETWORKS 4
#define CONF_FILE_MAX     (256 * 1024) /* bytes of the configuration file */
#define CONF_MAX_POLICY   16
#define CONF_MAX_MESH     16
#define CONF_MAX_FAILSAFE 16 /* networks, and ports */
#define CONF_MAX_OPENINGS (CONF_MAX_FAILSAFE * CONF_MAX_FAILSAFE + 2 * CONF_MAX_LISTEN + CONF_MAX_PEERS + 4)

/* The host's own network device. */
struct conf_underlay {
	char interface[IF_NAMESIZE]; /* "": it is not judged */
	struct dp_host_options host;
	struct pol_opening openings[CONF_MAX_OPENINGS]; /* win over every rule */
	uint32_t n_openings;
};
#define CONF_URL_LEN 512

/* A network whose control plane says who belongs to it, and which addresses are whose. */
struct conf_vpc {
	bool is_on;
	struct ip_endpoint server[VPC_SERVERS]; /* one control plane's: they share what they know */
	uint32_t n_servers;
	bool any_app; /* else its evidence must prove this one: */
	uint8_t app_id[BY_APP_ID_LEN];
	char host[VPC_HOST];    /* the name that the handshake asks for; "": none */
	char key[VPC_KEY_TEXT]; /* pre-auth key, read at the start from `vpc_key`; "": none */
};

#define CONF_DNS_LISTEN  4
#define CONF_DNS_CLIENTS 8
#define CONF_DNS_FORWARD 3 /* as many as a resolv.conf has */

enum conf_resolver {
	CONF_RESOLVER_AUTO,     /* systemd-resolved where it runs */
	CONF_RESOLVER_NONE,     /* this host's resolver is left alone */
	CONF_RESOLVER_RESOLVED, /* the same as auto, and an error where it does not run */
	CONF_RESOLVER_FILE,     /* /etc/resolv.conf is ours while the daemon runs */
};

/* What a record says is at `recorded` is reached from here at `dialled`. */
struct conf_via {
	struct ip_endpoint recorded, dialled;
};

/* Names of the overlay's nodes. */
struct conf_dns {
	bool is_on;
	char suffix[DNS_SUFFIX_LEN];
	uint32_t ttl;
	struct ip_endpoint listen[CONF_DNS_LISTEN]; /* beside this node's overlay addresses */
	uint32_t n_listen;
	bool members;                               /* other nodes may ask for names, at overlay addresses */
	struct ip_prefix clients[CONF_DNS_CLIENTS]; /* who else may ask, like this machine itself */
	uint32_t n_clients;
	bool has_forward; /* else those of resolv.conf */
	struct ip_endpoint forward[CONF_DNS_FORWARD];
	uint32_t n_forward;
	enum conf_resolver resolver;
	char resolv_conf[PATH_MAX];
};

struct conf {
	char file[PATH_MAX];             /* that all of this is from; "" when it was no file */
	char instance[BY_NODE_NAME_LEN]; /* [a-z0-9-]: names pins, state and the control socket */
	char node[BY_NODE_NAME_LEN];     /* what other nodes show */

	char certificate[PATH_MAX], key[PATH_MAX]; /* "" with an agent */
	char agent[PATH_MAX];                      /* socket of the guest agent, "" when absent */
	bool agent_is_legacy;                      /* it is a tappd.sock */
	uint32_t agent_life_s;                     /* of certificates from it */
	bool allow_simulated;
	char simulated_roots[PATH_MAX]; /* "" when absent */
	enum id_fresh fresh;            /* that peers must prove */
	uint32_t fresh_max_age_s, fresh_budget_s;
	char evidence_policy[PATH_MAX]; /* "" when absent: the strict one */
	char collateral[PATH_MAX];      /* folder of bundles, "" when absent */
	char pcs_url[CONF_URL_LEN];     /* where collateral is fetched, "" when absent: never */
	char pcs_root_crl[CONF_URL_LEN], pcs_ca[PATH_MAX];

	char interface[IF_NAMESIZE];
	enum ov_backend backend;
	char wg_key[PATH_MAX];
	uint16_t wg_port;
	uint32_t rotate_s; /* the WireGuard key is rotated when it is so old; 0: when somebody says so */
	uint32_t mtu;
	struct ip_prefix networks[CONF_MAX_NETWORKS];
	uint32_t n_networks;
	struct by_addr addrs[ID_MAX_ADDRS]; /* of this node, inside networks; with vpc: granted */
	uint32_t n_addrs;
	struct ip_endpoint endpoints[ID_MAX_ENDPOINTS]; /* where others reach WireGuard */
	uint32_t n_endpoints;
	struct conf_via via[CONF_MAX_VIA];
	uint32_t n_via;
	uint32_t lazy_peers, lazy_idle_s; /* with more peers than so many they are configured when one talks to them */
	enum by_topology topology;
	uint8_t hub_app[BY_APP_ID_LEN]; /* of a spoke: what its hub must prove to be */

	struct pol_range
		mesh[CONF_MAX_MESH]; /* where this node's mesh listens; sorted, neither overlapping nor touching */
	size_t n_mesh;
	struct dp_guard_conf guard; /* whose sockets the kernel stops */

	struct ip_endpoint listen[CONF_MAX_LISTEN]; /* RA-TLS record exchange */
	uint32_t n_listen;
	struct ip_endpoint peers[CONF_MAX_PEERS];
	uint32_t n_peers;
	struct ip_endpoint status[CONF_MAX_LISTEN]; /* of /status and /health, for anybody; none: nobody may ask */
	uint32_t n_status;
	char records[PATH_MAX]; /* directory of records, "" when absent */
	uint32_t record_life_s;

	struct id_service services[ID_MAX_SERVICES]; /* that the node's record names */
	uint32_t n_services;
	struct conf_dns dns;
	struct dp_divert_conf capture; /* n_cgroups 0: nothing is */
	struct conf_vpc vpc;
	char vpc_key[PATH_MAX]; /* "": none */
	struct conf_underlay underlay;
	struct conf_workloads workloads;

	char policy[CONF_MAX_POLICY][PATH_MAX]; /* files and folders, one policy */
	uint32_t n_policy;
	char state[PATH_MAX], run[PATH_MAX], bpffs[PATH_MAX];
	char user[64]; /* the edge process runs as */
};

#define CONF_TOPOLOGIES 3
extern const char *const conf_topology_name[CONF_TOPOLOGIES];

/* Relative paths are relative to the configuration file. 0, or -EINVAL with every problem in `d`. */
int conf_parse(const char *file, const char *text, size_t len, struct conf *conf, struct diags *d);
int conf_load(const char *file, struct conf *conf, struct diags *d);
/* Where a record's WireGuard is dialled. False: nowhere. */
bool conf_endpoint(const struct conf *conf, const struct ip_endpoint *recorded, size_t n, struct ip_endpoint *at);
/* The network that holds an overlay address, NULL when none does. */
/* A second device takes the next port of each, while a key is rotated (docs/overlay.md). */
bool conf_has_next_port(const struct conf *conf);
const char *conf_second_device(const char *interface, char buf[static IF_NAMESIZE]);
const struct ip_prefix *conf_network_of(const struct conf *conf, const struct by_addr *addr);
