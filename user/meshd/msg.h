/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bailey-mesh's processes say to each other, beside what baileyd/msg.h has for evidence, collateral and the agent.
 * P = parent, K = key process, W = worker. A receiver takes a payload only when its size is exact.
 */
#pragma once

#include "baileyd/msg.h"
#include "conf.h"
#include "mesh/proxy.h"
#include "sign.h"

enum md_msg {
	/* P -> K; also MSG_EDGE_AGENT */
	MD_KEY_CONF = 300, /* struct md_key_conf */
	MD_KEY_PEM,        /* struct md_number + blob */
	MD_KEY_LINK,       /* fd: a worker's channel (sign.h) */
	MD_KEY_FORGET,     /* struct md_number: a worker refuses its certificate */
	/* K -> P; also MSG_EDGE_AGENT_ASK, MSG_EDGE_REFUSED */
	MD_KEY_READY, /* struct md_key_ready; with a blob, the PEM chain, where the agent gave it */

	/* P -> W; also MSG_EDGE_ROOTS, _POLICY, _COLLATERAL */
	MD_CONF = 330, /* blob: struct md_conf */
	MD_CA,         /* blob: PEM */
	MD_PUBLIC_CA,  /* blob: PEM */
	MD_RULES,      /* blob: JSON list of {name, text}; none came: no policy */
	MD_CERT,       /* struct md_cert + blob: PEM chain */
	MD_LINK,       /* fd: the channel to the key process */
	MD_TICKETS,    /* struct md_tickets */
	MD_LISTEN,     /* struct md_listen + fd */
	MD_APPLY,      /* struct md_number: all of the above was sent. Answered by APPLIED */
	MD_NODES,      /* blob: struct md_node[], all that baileyd knows */
	MD_ASK,        /* struct md_ask: answered by COUNTS, FLOWs and ASKED */
	MD_DRAIN,      /* struct md_number: within so many ms. Answered by DRAINED */
	MD_ROUND,      /* struct md_number: what was sent are the rules of this round of the kernel's */
	MD_RESOLVER,   /* blob: resolv.conf, which has changed */
	/* W -> P; also MSG_EDGE_WANTS, _BUNDLES, _REFUSED */
	MD_APPLIED, /* struct md_applied */
	MD_COUNTS,  /* struct md_counts */
	MD_FLOW,    /* struct md_flow */
	MD_ASKED,   /* struct msg_token */
	MD_DRAINED,
	MD_CERT_REFUSED, /* struct md_number: of CERT; the one before goes on */
};

struct md_number {
	uint32_t n;
};

struct md_key_conf {
	uint32_t last; /* key number that was used before, by a key process that is gone */
	uint32_t has_agent, agent_is_legacy, agent_life_s, with_quote;
	char subject[MD_HOST_LEN];
};

struct md_key_ready {
	uint32_t number;
	int32_t code;
	uint8_t spki[ID_SPKI_LEN];
	struct err err;
};

struct md_cert {
	uint32_t number;
	uint8_t spki[ID_SPKI_LEN];
};

/* Of session tickets: the first encrypts, both decrypt. */
struct md_ticket_key {
	uint8_t name[16], aes[32], mac[32];
};

struct md_tickets {
	struct md_ticket_key key[2];
};

enum md_listener {
	MD_LISTEN_CLIENT,
	MD_LISTEN_TUNNEL,
	MD_LISTEN_SERVICE,
	MD_LISTEN_AUTH,
	MD_LISTEN_CAPTURED,
	MD_LISTEN_KINDS
};

static inline const char *md_listen_name(uint32_t kind)
{
	static const char *const names[] = { "client", "tunnel", "service", "auth", "captured" };

	return kind < MD_LISTEN_KINDS ? names[kind] : "unknown";
}

struct md_listen {
	uint32_t kind; /* enum md_listener */
	struct ip_endpoint at;
};

#define MD_NODE_ADDRS ID_MAX_ADDRS

/* An attested peer of a running baileyd. */
struct md_node {
	uint8_t app[BY_APP_ID_LEN], instance[BY_INSTANCE_ID_LEN];
	struct by_addr addr[MD_NODE_ADDRS]; /* on the overlay */
	uint32_t n_addrs;
};

struct md_ask {
	uint64_t token;
	uint32_t with_flows;
};

struct md_applied {
	uint32_t n; /* of APPLY */
	int32_t code;
	struct err err;
	struct id_claims self;
	uint32_t has_self, n_rules, cut;
	char digest[2 * 32 + 1]; /* of the policy */
	struct err ktls;         /* why the kernel's TLS is not used; code 0: it is */
};

struct md_counts {
	uint64_t token;
	struct mp_counters engine;
	uint64_t error[MP_ERR_COUNT];
	uint64_t tickets_refused;   /* resumption asked for by a verdict that is over, or of another trust */
	uint64_t verified, refused; /* peers, by their certificate */
	uint64_t audited;           /* requests that an audit rule would have denied */
	uint64_t resolved, unresolved;
	uint64_t resolvers; /* times that resolv.conf was read again */
};

struct md_flow {
	uint64_t token;
	char listener[MP_NAME_TEXT], upstream[MP_NAME_TEXT], rule[MP_RULE_TEXT];
	char in_app[MP_ID_TEXT], in_instance[MP_ID_TEXT], out_app[MP_ID_TEXT], out_instance[MP_ID_TEXT];
	struct ip_endpoint from, to; /* port 0: not known; to: that was dialled and captured */
	uint32_t path, is_active, is_tunnel, is_pooled, is_stream, is_session, streams;
	uint64_t age_ms, idle_ms, bytes_up, bytes_down, requests;
};
