/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: TLS, HTTP and names; no key, no capability, no file. role_worker.c (messages), judge.c (whom to believe),
 * tls.c (contexts, tickets), peer.c (identities), target.c (whom to dial), route*.c (what goes where).
 */
#pragma once

#include <event2/dns.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/queue.h>

#include "baileyd/edge_trust.h"
#include "evidence/files.h"
#include "mesh/proxy.h"
#include "msg.h"
#include "policy/policy.h"

/* --- whom to believe --- */

/* What was found about a peer; travels in session tickets, so it is flat and its padding is zero. */
struct md_verdict {
	uint8_t trust[32], meaning[32]; /* what it was judged by: see struct md_judge */
	int64_t until;                  /* unix seconds; then the certificate is looked at anew */
	uint32_t by_issuer;
	struct id_claims claims; /* by_issuer: app, instance and hashes, as the issuer says */
};

#define MD_SEEN_MAX 128

/* A certificate that was believed, with its chain. */
struct md_seen {
	uint8_t digest[32]; /* SHA-256 of them */
	struct md_verdict verdict;
};

struct md_judge {
	const struct md_conf *conf;
	struct edge_trust *evidence;
	char *ca, *roots;
	uint8_t trust[32];                 /* changes when another answer could come out */
	uint8_t meaning[32];               /* the same without collateral: what peers that are connected are held to */
	struct md_seen *seen[MD_SEEN_MAX]; /* by the digest's first byte; the later takes the earlier's place */
};

/* After each change of what it judges by. */
void md_judge_settle(struct md_judge *judge);
/* DER of the leaf, and the chain (leaf first) where the issuer decides. */
int md_judge_peer(struct md_judge *judge, const uint8_t *der, size_t len, STACK_OF(X509) * chain,
		  struct md_verdict *verdict, struct err *e);
void md_judge_forget(struct md_judge *judge); /* frees what it remembers */
/* The own certificate: PEM, leaf first. */
int md_judge_self(const struct md_judge *judge, const char *chain, struct md_verdict *verdict, struct err *e);
/* Good now and for MP_LAST_S, and judged by what judges now. */
bool md_verdict_holds(const struct md_judge *judge, const struct md_verdict *verdict);

/* --- identities --- */

struct md_rules;

struct md_peer {
	struct mp_peer mp; /* first */
	struct md_verdict verdict;
	struct pol_subject subject;
	uint64_t rules; /* the number of those that `in` and `out` are of */
	uint32_t in, out;
	char *claims; /* JSON, one line; made when first asked for */
};

struct md_peers; /* one md_peer for each verdict, while somebody holds it */

struct md_peers *md_peers_new(void);
void md_peers_free(struct md_peers *peers); /* accepts NULL; after all references */
/* With a reference. NULL: out of memory. */
struct md_peer *md_peer_get(struct md_peers *peers, const struct md_verdict *verdict);
const char *md_peer_claims(struct md_peer *peer);

/* --- policy --- */

struct md_decision {
	bool is_allowed, is_audited, is_about_http;
	char rule[MP_RULE_TEXT]; /* that decides; "": default deny */
	char why[256];           /* of a denial, for people */
};

/* From the JSON list of MD_RULES. */
int md_rules_new(const char *json, const struct pol_subject *self, struct md_rules **rules, char digest[65],
		 uint32_t *n_rules, struct err *e);
void md_rules_free(struct md_rules *rules); /* accepts NULL */
/* rules NULL: no policy, all is allowed. method NULL: whole connection. is_out: we ask the peer. */
void md_decide(struct md_rules *rules, struct md_peer *peer, bool is_out, uint16_t port, const char *method,
	       const char *target, struct md_decision *d);

/* Whether some rule of what this node may ask is about requests on this port. */
bool md_speaks_http(const struct md_rules *rules, uint16_t port);

/* --- TLS --- */

struct md_target;
struct md_worker_state;

struct md_tls {
	SSL_CTX *server, *client, *open; /* open: towards gateways that end TLS themselves */
};

/* Of the certificate `chain` with `key`; public_ca NULL: no open one. */
int md_tls_new(struct md_worker_state *w, const char *chain, EVP_PKEY *key, const char *public_ca, struct md_tls *tls,
	       struct err *e);
void md_tls_fini(struct md_tls *tls);

/* What a handshake learns; hangs on the SSL until the identity is known. */
struct md_shake {
	struct md_worker_state *w;
	struct md_target *target; /* that is dialled; a reference, or NULL */
	struct md_peer *peer;     /* a client's, for sessions that come later */
	bool has_verdict, is_fresh, is_public;
	bool is_http; /* a server's: requests come, in whichever version ALPN chooses; else bytes */
	/* what is below goes when the handshake is over */
	struct md_verdict verdict;
	struct err err; /* why its certificate was refused */
};

SSL *md_tls_server(struct md_worker_state *w, bool is_http, struct err *e);
SSL *md_tls_client(struct md_worker_state *w, struct md_target *target, struct err *e);
struct md_shake *md_shake_of(SSL *ssl);
/*
 * What this handshake proved, NULL: nothing. A ticket alone proves nothing: it is sent in the clear, so that a stranger
 * can present it, and OpenSSL may look into one and then make a full handshake all the same. It counts when the session
 * was resumed, which needs its secret.
 */
const struct md_verdict *md_shake_verdict(SSL *ssl);
/* What verification needed is freed; `peer` is remembered for sessions where the SSL is a client's. */
void md_shake_done(SSL *ssl, struct md_peer *peer);
enum mp_error md_shake_error(SSL *ssl, struct err *e);

/* --- whom to dial --- */

enum md_way { MD_WAY_PLAIN, MD_WAY_MTLS, MD_WAY_PUBLIC };

struct md_want {
	enum md_way way;
	char host[MD_HOST_LEN]; /* a name or address, or a path of a socket */
	uint16_t port;
	char app[MP_ID_TEXT], instance[MP_ID_TEXT]; /* MTLS: that it must be; instance "": any */
	bool on_overlay;
	uint16_t policy_port; /* that the peer knows it by */
	bool is_h2;           /* PLAIN: the backend speaks HTTP/2 */
};

struct md_target {
	unsigned refs;
	LIST_ENTRY(md_target) link;
	TAILQ_ENTRY(md_target) age;
	struct md_want want;
	struct md_worker_state *w;   /* NULL: the table is gone */
	struct mp_upstream *up;      /* NULL: not known yet */
	bool is_resolving, is_fixed; /* fixed: it was no name */
	int64_t resolved_ms;         /* monotonic */
	struct err err;              /* why there is no address */
	uint64_t *waiting;           /* tokens */
	size_t n_waiting;
	SSL_SESSION *session;
	struct md_peer *session_peer; /* whom it was with */
	struct md_peer *last_peer;    /* who was there last: requests on kept connections are judged by it */
};

struct md_targets;

int md_targets_new(struct md_worker_state *w, struct md_targets **targets, struct err *e);
void md_targets_free(struct md_targets *targets); /* accepts NULL */
/* MP_GO: *up; MP_LATER: `token` is called again; MP_REFUSE: `e`. */
enum mp_verdict md_target_find(struct md_targets *targets, const struct md_want *want, uint64_t token,
			       struct mp_upstream **up, struct err *e);
void md_target_met(struct md_target *target, struct md_peer *peer); /* it is there */
void md_targets_forget(struct md_targets *targets);                 /* all of it: the configuration changed */
void md_target_unref(struct md_target *target);                     /* accepts NULL */

/* resolver.c: the name servers of the resolv.conf in the message, from now on. */
void md_resolver_take(struct md_worker_state *w, const struct ipc_msg *msg);

/* --- what goes where --- */

#define MD_RECENT 1024

struct md_door {
	struct md_listen listen;
	struct mp_listener *listener;
	int fd; /* that is not open yet; -1: none */
	bool is_tcp;
	bool is_named; /* by the configuration that is being applied */
};

struct md_worker_state {
	struct event_base *base;
	struct ipc *parent;
	struct md_conf *conf, *next_conf;
	struct md_judge judge;
	char *public_ca, *rules_json, *chain;
	char *next_ca, *next_public_ca, *next_rules, *next_roots; /* until APPLY */
	struct id_evidence_policy *next_evidence;
	struct md_cert cert;
	struct sign_client *signer;
	struct md_tls tls;
	struct md_tickets tickets;
	struct md_verdict self;
	bool has_self, has_applied, rules_changed; /* changed: by the last APPLY */
	struct md_rules *rules;
	struct md_peers *peers;
	struct md_targets *targets;
	struct evdns_base *dns;
	struct mp *mp;
	struct md_door door[MD_LISTEN_MAX * 3 + MD_TUNNELS_MAX + MD_SERVICES_MAX];
	struct md_node *nodes; /* of baileyd */
	size_t n_nodes;
	bool has_nodes;
	uint32_t round; /* that the rules are of */
	struct md_applied applied;
	struct md_counts counts;
	char headers[8192]; /* of the request that is routed */
	struct md_asked_for {
		uint64_t token;
		const char *method, *target; /* in `text`; NULL: a whole connection, or nothing */
		char *text;
		size_t size;
	} recent[MD_RECENT]; /* what is asked of peers that are being dialled, by token */
};

/* door.c */
void md_on_listen(struct md_worker_state *w, struct ipc_msg *msg); /* one more for the next configuration */
/* Those that are not named any more, or speak something else now, are closed; who came by them goes on. */
int md_doors_apply(struct md_worker_state *w, struct err *e);
void md_doors_forget(struct md_worker_state *w);

/* The engine's questions. */
extern const struct mp_ops md_ops;
enum mp_verdict md_route_client(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
				struct err *e);
enum mp_verdict md_route_tunnel(struct md_worker_state *w, const struct mp_request *req, const struct ip_endpoint *at,
				struct mp_route *route, struct err *e);
enum mp_verdict md_route_captured(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
				  struct err *e);
enum mp_verdict md_route_service(struct md_worker_state *w, const struct mp_request *req, const struct ip_endpoint *at,
				 struct mp_route *route, struct err *e);
enum mp_verdict md_route_auth(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
			      struct err *e);
/* A target that policy may refuse; what is asked of it is kept until its handshake says who is there. */
enum mp_verdict md_dial(struct md_worker_state *w, const struct mp_request *req, const struct md_want *want,
			struct mp_route *route, struct err *e);
/* guard.c: what the kernel is told of a peer, and that the rules are those of a round. */
void md_on_round(struct md_worker_state *w, const struct md_number *m);
bool md_leg(struct mp_peer *peer, struct mp_upstream *up, void *listener_data, const struct sockaddr *from,
	    struct by_leg_set *leg, void *arg);
/* Whether policy would let this relay of a service in again. */
bool md_still_may(struct md_worker_state *w, const struct mp_relay *relay, const struct ip_endpoint *at);
/* Whether it was dialled on the overlay, and baileyd knows no such peer at that address any more. */
bool md_node_is_gone(const struct md_worker_state *w, const struct md_want *want);
/* What the request with this token asks; NULL: a whole connection, or forgotten since. */
const struct md_asked_for *md_asked_for(const struct md_worker_state *w, uint64_t token);
/* As much of it as there is room for, and NUL. */
static inline void md_copy(char *to, size_t size, struct mp_text from)
{
	size_t n = from.len < size ? from.len : size - 1;

	if (n)
		memcpy(to, from.p, n);
	to[n] = '\0';
}
/* A text answer. */
enum mp_verdict md_respond(struct mp_route *route, int status, const char *type, const char *body);
enum mp_verdict md_refuse(struct mp_route *route, enum mp_error error, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* "x-dstack-claims: ..." without what the peer does not prove. */
void md_tell(struct md_worker_state *w, const struct md_service *s, struct md_peer *peer, struct mp_route *route);
