/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's configuration file; the keys are in docs/man/baileyd.conf.5. */
#pragma once

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "conf_workloads.h"
#include "datapath/datapath.h"
#include "datapath/divert.h"
#include "identity/identity.h"
#include "overlay/overlay.h"
#include "policy/diag.h"
#include "policy/policy.h"

#define CONF_MAX_LISTEN   8
#define CONF_MAX_PEERS    256
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
	struct ip_endpoint server;
	bool any_app; /* else its evidence must prove this one: */
	uint8_t app_id[BY_APP_ID_LEN];
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
	uint32_t mtu;
	struct ip_prefix networks[CONF_MAX_NETWORKS];
	uint32_t n_networks;
	struct by_addr addrs[ID_MAX_ADDRS]; /* of this node, inside networks; with vpc: granted */
	uint32_t n_addrs;
	struct ip_endpoint endpoints[ID_MAX_ENDPOINTS]; /* where others reach WireGuard */
	uint32_t n_endpoints;

	struct pol_range
		mesh[CONF_MAX_MESH]; /* where this node's mesh listens; sorted, neither overlapping nor touching */
	size_t n_mesh;

	struct ip_endpoint listen[CONF_MAX_LISTEN]; /* RA-TLS record exchange */
	uint32_t n_listen;
	struct ip_endpoint peers[CONF_MAX_PEERS];
	uint32_t n_peers;
	char records[PATH_MAX]; /* directory of records, "" when absent */
	uint32_t record_life_s;

	struct dp_divert_conf capture; /* n_cgroups 0: nothing is */
	struct conf_vpc vpc;
	struct conf_underlay underlay;
	struct conf_workloads workloads;

	char policy[CONF_MAX_POLICY][PATH_MAX]; /* files and folders, one policy */
	uint32_t n_policy;
	char state[PATH_MAX], run[PATH_MAX], bpffs[PATH_MAX];
	char user[64]; /* the edge process runs as */
};

/* Relative paths are relative to the configuration file. 0, or -EINVAL with every problem in `d`. */
int conf_parse(const char *file, const char *text, size_t len, struct conf *conf, struct diags *d);
int conf_load(const char *file, struct conf *conf, struct diags *d);
/* The network that holds an overlay address, NULL when none does. */
const struct ip_prefix *conf_network_of(const struct conf *conf, const struct by_addr *addr);
