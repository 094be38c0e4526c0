/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the processes say to each other. P = parent, N = net, E = edge, F = fetch, S = status, D = dns. Payloads are
 * plain structures; a receiver takes one only when its size is exact, and never a string that is not terminated
 * (msg_terminate).
 *
 * Start: P sends CONF to both. E gets SELF, the stored RECORDs and MARK; when it answers MARK, P knows the verified
 * nodes, compiles the policy with them and sends N, for each target: POLICY, NODE_SET for itself and each node; then
 * SYNC. From then on N and E can die and are started again from what P holds.
 *
 * A target is what has a policy and counters of its own: the overlay device is number 0, others follow in the order of
 * the configuration or are made and removed while the daemon runs. Messages about one carry its number first.
 */
#pragma once

#include "conf.h"
#include "datapath/datapath.h"
#include "identity/collateral.h"
#include "identity/identity.h"
#include "vpc/join.h"

enum msg_type {
	/* P -> N */
	MSG_NET_CONF = 1,   /* struct msg_net_conf */
	MSG_NET_TARGET,     /* struct msg_target: one more */
	MSG_NET_TARGET_DEL, /* struct msg_number: a workload's, with all that it had */
	MSG_NET_POLICY,     /* struct msg_number + blob: struct pol_image */
	MSG_NET_NODE_SET,   /* struct msg_node_set, NODES_AT_ONCE at most, of one target */
	MSG_NET_NODE_DEL,   /* struct msg_instance */
	MSG_NET_SYNC,       /* all nodes were named: remove others, bring the overlay up */
	MSG_NET_STATUS,     /* struct msg_ask_status */
	MSG_NET_FLOWS,      /* struct msg_ask_flows: one page of a table, answered in order */
	MSG_NET_CAPTURE,    /* struct msg_capture */
	MSG_NET_ASK,        /* struct msg_ask */
	MSG_NET_DIVERT,     /* struct dp_divert_conf: what is captured; without cgroups nothing */
	MSG_NET_GUARD,      /* struct dp_guard_conf: whose sockets stop in the kernel; without cgroups nobody's */
	MSG_NET_ADDRS,      /* struct msg_addrs: of the overlay's device, in place of those of CONF */
	MSG_NET_ROTATE,     /* struct msg_rotate: where this node's key rotation is */
	MSG_NET_WAKE,       /* struct msg_instance: it shakes hands, WireGuard shall know it */
	/* N -> P */
	MSG_NET_PACKET,       /* struct msg_packet, while a capture is on */
	MSG_NET_DONE,         /* struct msg_done, for CONF ... SYNC */
	MSG_NET_EVENT,        /* struct msg_event */
	MSG_NET_DETOUR,       /* struct msg_detour, each second while there is a second device */
	MSG_NET_LOSS,         /* struct msg_loss, when it changed, once a second */
	MSG_NET_FLOW_PAGE,    /* struct msg_flow_page */
	MSG_NET_ASKED,        /* struct msg_asked */
	MSG_NET_RULES,        /* struct msg_rules, before STATUS_REPLY */
	MSG_NET_PAIRS,        /* struct msg_pairs, before STATUS_REPLY where pairs were asked for */
	MSG_NET_PEER,         /* struct msg_peer, before STATUS_REPLY */
	MSG_NET_COUNTS,       /* struct msg_counts, one for each target, before STATUS_REPLY */
	MSG_NET_STATUS_REPLY, /* struct msg_status */

	/* P -> E */
	MSG_EDGE_CONF = 100, /* struct msg_edge_conf */
	MSG_EDGE_CERT,       /* blob: PEM chain */
	MSG_EDGE_KEY,        /* blob: PEM key */
	MSG_EDGE_ROOTS,      /* blob: PEM simulation roots */
	MSG_EDGE_LISTEN,     /* fd: listening socket */
	MSG_EDGE_START,      /* all of the above was sent */
	MSG_EDGE_SELF,       /* struct id_record to sign and to hand to peers */
	MSG_EDGE_RECORD,     /* blob: a record from disk; struct msg_stored */
	MSG_EDGE_MARK,       /* struct msg_token, answered in order */
	MSG_EDGE_POLICY,     /* blob: struct id_evidence_policy; none came: the strict one */
	MSG_EDGE_COLLATERAL, /* struct msg_origin + blob: a bundle */
	MSG_EDGE_AGENT,      /* struct msg_agent + fd: a connection to the guest agent */
	MSG_EDGE_REVOKE,     /* struct msg_revoked: from the state directory, before any RECORD */
	MSG_EDGE_JOIN,       /* struct vpc_seen: connect to the control plane */
	MSG_EDGE_KNOCKS,     /* struct msg_knocks + fd: a raw socket */
	MSG_EDGE_REMEMBER,   /* one or more struct id_seen: from the state directory, before any RECORD */
	MSG_EDGE_VPC,        /* struct conf_vpc: in place of CONF's */
	/* E -> P */
	MSG_EDGE_STARTED,   /* struct msg_started: what the own certificate proves, or why not */
	MSG_EDGE_SIGNED,    /* blob: the own record */
	MSG_EDGE_NODE,      /* struct msg_node + blob: its record */
	MSG_EDGE_REFUSED,   /* struct msg_refused */
	MSG_EDGE_MARKED,    /* struct msg_token */
	MSG_EDGE_RENEWED,   /* struct msg_started: another certificate, or TCB status; SELF shall come again */
	MSG_EDGE_AGENT_ASK, /* struct msg_token, answered by AGENT */
	MSG_EDGE_BUNDLES,   /* struct msg_bundles, when they changed */
	MSG_EDGE_WANTS,     /* struct id_missed: collateral that is missing or ends soon */
	MSG_EDGE_GRANT,     /* struct vpc_grant: addresses for this node */
	MSG_EDGE_REVOKED,   /* struct msg_revoked: as the control plane says */
	MSG_EDGE_SEEN,      /* struct vpc_seen: what the control plane told up to now was taken */
	MSG_EDGE_VPC_LINK,  /* struct msg_vpc_link */
	MSG_EDGE_KNOCK,     /* struct msg_knock */
	MSG_EDGE_WITHDRAWN, /* struct msg_withdrawn */

	/* P -> F, and its answer in order: the only messages that it knows */
	MSG_FETCH_ASK = 200, /* struct msg_fetch */
	MSG_FETCH_GOT,       /* struct msg_fetched, with a blob where its code is 0: a bundle that verified */

	/* P -> S, the status process */
	MSG_STATUS_LISTEN = 300, /* fd: listening socket */
	MSG_STATUS_SNAPSHOT,     /* struct msg_snapshot + blob: JSON */
	/* S -> P */
	MSG_STATUS_ASK, /* nothing: a snapshot is wanted */

	/* P -> D: CONF first */
	MSG_DNS_CONF = 400, /* struct msg_dns_conf */
	MSG_DNS_FORWARD,    /* struct msg_dns_forward: who is asked for other names, from now on */
	MSG_DNS_LISTEN,     /* struct msg_dns_listen + fd: a UDP socket or a listening one */
	MSG_DNS_NODE,       /* struct dns_node: verified, and alive */
	MSG_DNS_GONE,       /* struct msg_instance */
	/* D -> P */
	MSG_DNS_STATS, /* struct msg_dns_stats, each second when they changed */
};

struct msg_addrs {
	struct ip_prefix addrs[ID_MAX_ADDRS]; /* with the network's length */
	uint32_t n_addrs;
};

struct msg_net_conf {
	char instance[BY_NODE_NAME_LEN];
	char bpffs[PATH_MAX];
	char interface[IF_NAMESIZE];
	uint32_t backend; /* enum ov_backend */
	uint8_t private_key[OV_KEY_LEN];
	uint32_t wg_port, mtu;
	uint32_t keepalive_s; /* 0: off */
	uint32_t topology;    /* enum by_topology */
	uint32_t lazy_peers, lazy_idle_s;
	struct msg_addrs addrs;                       /* none yet: ADDRS comes before SYNC */
	struct ip_prefix networks[CONF_MAX_NETWORKS]; /* of the overlay: what lies behind a spoke's hub */
	uint32_t n_networks;
};

/* Of a key rotation: nothing; traffic leaves the first device; that one has its new key and traffic comes back. */
enum detour_phase { DETOUR_NONE, DETOUR_OUT, DETOUR_BACK, DETOUR_PHASES };

struct msg_rotate {
	uint32_t phase;                                          /* enum detour_phase */
	uint8_t private_key[OV_KEY_LEN], second_key[OV_KEY_LEN]; /* of the devices */
};

struct msg_detour {
	uint32_t phase;   /* as net has it */
	uint32_t is_open; /* there is a second device */
	uint32_t waiting; /* peers with a session that are not yet where they shall be */
	uint32_t idle;    /* likewise without one */
	uint32_t quiet_s; /* for so long no packet came by the device that nobody shall use */
	char trouble[320];
};

#define TARGETS_MAX    64 /* net keeps who was named for which in one word */
#define TARGET_OVERLAY 0u
#define TARGET_DIVERT  UINT32_MAX /* of flows alone: captured connections to the proxy */

enum target_kind {
	TARGET_IS_OVERLAY,  /* made by CONF, always there */
	TARGET_IS_UNDERLAY, /* the host's own device: networks for peers, no nodes */
	TARGET_IS_WORKLOAD, /* a machine behind this host */
	TARGET_IS_FREE,     /* nothing; the next one may have the number */
};

#define WAY_HOST UINT32_MAX /* it is this host itself */

struct msg_target {
	uint32_t target, kind; /* enum target_kind */
	char interface[IF_NAMESIZE];
	struct dp_host_options host; /* of the underlay */
	struct conf_workload workload;
};

struct msg_number {
	uint32_t target;
};

#define NODES_AT_ONCE 128

/* One attested node as the target's datapath shall know it; is_local: the one that the target judges for. */
struct msg_node_set {
	uint32_t target;
	uint32_t is_wg_peer;
	uint32_t is_way;             /* the hub that leads to all others */
	uint32_t way;                /* the target whose device it comes by, or WAY_HOST */
	struct dp_identity identity; /* without `via` */
	uint8_t wg_key[OV_KEY_LEN];
	uint32_t has_endpoint;
	struct ip_endpoint endpoint;
	uint32_t has_detour;
	uint8_t detour_key[OV_KEY_LEN];
};

struct msg_instance {
	uint32_t target;
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
};

struct msg_token {
	uint64_t token;
};

struct msg_ask_status {
	uint64_t token;
	uint32_t pairs; /* of so many peers of each target also what they sent and got */
};

struct msg_done {
	uint32_t target;
	uint32_t request; /* enum msg_type */
	int32_t code;     /* 0 or -errno */
	struct err err;
};

struct msg_event {
	uint32_t target;
	struct by_event event;
	char rule[sizeof(((struct by_rule *)0)->name)];
	char where[sizeof(((struct by_rule *)0)->where)];
};

struct msg_loss {
	uint32_t target;
	uint64_t kernel; /* events never sent by the datapath, since it was made */
	uint64_t held;   /* not forwarded by this net, of all targets: the parent did not read */
};

/* Pages: the message ends behind the last item that counts. */
#define PAGE_ITEMS             512
#define msg_page_size(page, n) (offsetof(__typeof__(page), item) + (n) * sizeof((page).item[0]))

struct rule_hits {
	uint32_t target, number; /* of the image that was last committed */
	struct by_counter hits;
};

struct msg_rules {
	uint32_t n;
	struct rule_hits item[PAGE_ITEMS];
};

struct pair_count {
	uint32_t target;
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	struct by_pair n;
};

struct msg_pairs {
	uint32_t n;
	struct pair_count item[PAGE_ITEMS];
};

struct msg_capture {
	uint32_t is_on;
};

struct msg_packet {
	uint32_t target;
	uint64_t lost;         /* by the datapath and on the way, ever */
	struct by_capture rec; /* version 0: none, `lost` is the news */
};

struct msg_ask_flows {
	uint64_t token;
	uint32_t target;
	struct dp_place at;
};

struct msg_flow_page {
	uint64_t token;
	int32_t code;       /* 0 or -errno: the table can not be read */
	struct dp_place at; /* to ask for the next page with */
	uint32_t n;
	struct dp_flow item[PAGE_ITEMS];
};

#define ASK_MAX 16 /* questions at once */

struct msg_ask {
	uint64_t token;
	uint32_t target, n;
	struct dp_question question[ASK_MAX];
};

struct asked_rule {
	char name[sizeof(((struct by_rule *)0)->name)]; /* "": none */
	char where[sizeof(((struct by_rule *)0)->where)];
};

struct asked {
	int32_t code; /* 0 or -errno: nothing below is known */
	struct dp_answer dp;
	struct asked_rule rule, audit;
};

struct msg_asked {
	uint64_t token;
	uint32_t n;
	struct asked answer[ASK_MAX];
};

struct msg_peer {
	uint8_t wg_key[OV_KEY_LEN];
	uint32_t has_endpoint;
	struct ip_endpoint endpoint; /* as WireGuard uses it now */
	int64_t last_handshake_s;
	uint64_t rx_bytes, tx_bytes;
};

struct msg_counts {
	uint32_t target;
	int32_t code; /* 0 or -errno: nothing below is known */
	struct dp_status dp;
	uint32_t pairs_left; /* peers that PAIRS has no item for, not counting those without a packet that were seen */
	char attach[24];
	struct dp_host_status host; /* of the underlay */
	char trouble[320];          /* why its device is not guarded; "" when it is */
};

struct msg_status {
	uint64_t token;
	char backend[16];
	uint64_t events_held; /* not forwarded: the parent did not read */
	uint32_t is_capturing, is_guarding;
	uint32_t is_lazy, n_asleep; /* peers that WireGuard is not told of now */
	uint64_t n_woken;
	struct dp_divert_status divert;
	struct dp_guard_status guard;
};

struct msg_edge_conf {
	uint32_t allow_simulated;
	struct ip_prefix networks[CONF_MAX_NETWORKS];
	uint32_t n_networks;
	struct ip_endpoint peers[CONF_MAX_PEERS];
	uint32_t n_peers;
	uint32_t refresh_s; /* exchange again with a peer after this */
	uint32_t has_agent; /* certificate and key come from it, CERT and KEY do not */
	uint32_t agent_is_legacy;
	uint32_t agent_life_s;       /* of a certificate that is asked for */
	uint32_t fresh;              /* enum id_fresh that peers must prove */
	uint32_t fresh_max_age_s;    /* how long a proof is good for */
	uint32_t fresh_budget_s;     /* for a quote, ours or theirs */
	char node[BY_NODE_NAME_LEN]; /* its subject */
	struct conf_vpc vpc;
};

struct msg_revoked {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint32_t is_revoked; /* 0: not any more */
};

/* A record does not verify. Whoever is here by this very one has to go. */
struct msg_withdrawn {
	uint8_t instance_id[BY_INSTANCE_ID_LEN]; /* as the record says: only the digest makes it true */
	uint8_t digest[32];
	struct err err; /* why */
};

struct msg_knocks {
	uint32_t is_v4;  /* the socket gives the IP header, too */
	uint32_t n_keys; /* 2: the second device has another one, while a key is rotated */
	uint8_t private_key[2][OV_KEY_LEN], public_key[2][OV_KEY_LEN];
};

struct msg_knock {
	uint8_t wg_key[OV_KEY_LEN]; /* of who sent an initiation: nobody has looked whether it is old */
};

struct msg_vpc_link {
	uint32_t is_up;
	uint32_t server; /* in msg_edge_conf.vpc.server */
};

struct msg_bundles {
	uint32_t n;
	int64_t until; /* the first end among them, unix seconds; 0: there is none */
};

struct msg_fetch {
	char url[CONF_URL_LEN], root_crl[CONF_URL_LEN], ca_file[PATH_MAX];
	struct id_missed platform;
};

struct msg_fetched {
	struct id_missed platform;
	int32_t code;
	struct err err;
};

#define STATUS_TEXT_MAX 4096

struct msg_snapshot {
	uint32_t is_healthy;
};

struct msg_agent {
	uint64_t token;
	struct err err; /* why no fd came along */
};

struct msg_started {
	int32_t code; /* 0: the own certificate verifies and `claims` holds */
	struct id_claims claims;
	struct err err;
};

/* Whom a socket is for: it is bound to a device, so that the kernel tells them apart. */
enum dns_from {
	DNS_FROM_LOCAL,   /* to the loopback device: this machine */
	DNS_FROM_OVERLAY, /* to the overlay's: other nodes, and what this machine sends by that device */
	DNS_FROM_CLIENTS, /* to none: those of the configured networks */
};

struct msg_dns_conf {
	struct dns_zone zone;
	struct by_addr own[ID_MAX_ADDRS];
	uint32_t n_own;
	uint32_t members;
	struct ip_prefix clients[CONF_DNS_CLIENTS];
	uint32_t n_clients;
};

struct msg_dns_forward {
	struct ip_endpoint server[CONF_DNS_FORWARD];
	uint32_t n;
};

struct msg_dns_listen {
	uint32_t from; /* enum dns_from */
	uint32_t is_tcp;
};

#define DNS_RCODES 6 /* NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED; of others there are none but BADVERS */

struct msg_dns_stats {
	uint64_t queries, dropped; /* dropped: who asked may not, or it was no query */
	uint64_t answers[DNS_RCODES];
	uint64_t forwarded, forward_failed;
	uint32_t names, connections;
};

#define MSG_ORIGIN_LEN 256

struct msg_origin {
	char origin[MSG_ORIGIN_LEN]; /* file, for refusals */
};

struct msg_stored {
	char origin[MSG_ORIGIN_LEN]; /* file, for refusals */
	uint32_t fresh; /* enum id_fresh that the node proved in a session, as the state directory has it */
	int64_t fresh_at;
};

struct msg_node {
	struct id_node node;
	char origin[MSG_ORIGIN_LEN];
};

struct msg_refused {
	char origin[MSG_ORIGIN_LEN];
	struct err err;
};

/* Makes an array that came in a message a string. */
#define msg_terminate(array) ((array)[sizeof(array) - 1] = '\0')

static inline void msg_terminate_err(struct err *e)
{
	msg_terminate(e->where);
	msg_terminate(e->msg);
}
