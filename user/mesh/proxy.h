/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy engine: connections come in by a listener, requests (or whole connections) go out to an upstream, either
 * leg with TLS or without. It moves bytes and holds limits and clocks; who a peer is, where a request goes and who may
 * do what are asked of the environment (struct mp_ops). Room prefix mp_. One event_base, one thread, nothing blocks.
 *
 *   client side:  listener without TLS  ->  upstream with TLS     (x-dstack-target-* say where; the op route() reads
 * them) server side:  listener with TLS     ->  upstream without      (route() decides by peer, service, method, path)
 *
 * Order, for each connection: handshake, then peer() and only if it agrees a byte of any request is read from it
 * (inbound) or sent to it (outbound). Ops are called from within the loop; they may call any mp_ function but
 * mp_free(), and they answer at once or say MP_LATER and call mp_again() when they know.
 *
 * Ownership: what an op is given lives until the op returns; what an op fills in is copied before it is called again,
 * unless it says otherwise here. mp_peer and mp_upstream are counted references.
 */
#pragma once

#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bailey/guard.h"
#include "base/err.h"

#define MP_ID_TEXT   41 /* 20 bytes in hex, and NUL; "" where there is none */
#define MP_RULE_TEXT 64
#define MP_NAME_TEXT 128

struct mp;
struct mp_listener;
struct mp_upstream;
struct dp_relays;

/* What went wrong, for people and programs: status, and `{"error":"TYPE: cause"}`. */
#define MP_ERRORS(X)                                                                                                   \
	X(BAD_REQUEST, 400, "REQUEST_ERROR")                                                                           \
	X(EXPECTATION, 417, "REQUEST_ERROR")                                                                           \
	X(HEAD_TOO_LARGE, 431, "REQUEST_ERROR")                                                                        \
	X(REQUEST_TIMEOUT, 408, "REQUEST_TIMEOUT")                                                                     \
	X(NOT_IMPLEMENTED, 501, "REQUEST_ERROR")                                                                       \
	X(UNAUTHORIZED, 401, "UNAUTHORIZED")                                                                           \
	X(DENIED, 403, "DENIED")                                                                                       \
	X(NOT_FOUND, 404, "NOT_FOUND")                                                                                 \
	X(TIMEOUT, 504, "TIMEOUT")                                                                                     \
	X(CONNECTION_FAILED, 502, "CONNECTION_FAILED")                                                                 \
	X(BAD_RESPONSE, 502, "BAD_RESPONSE")                                                                           \
	X(UNKNOWN_ISSUER, 526, "SSL_UNKNOWN_ISSUER")                                                                   \
	X(CERT_EXPIRED, 526, "SSL_CERT_EXPIRED")                                                                       \
	X(HANDSHAKE_FAILED, 525, "SSL_HANDSHAKE_FAILED")                                                               \
	X(VERIFICATION_FAILED, 526, "SSL_VERIFICATION_FAILED")                                                         \
	X(OVERLOADED, 503, "OVERLOADED")                                                                               \
	X(UNKNOWN, 502, "UNKNOWN")                                                                                     \
	X(LOOP, 508, "LOOP_DETECTED")

enum mp_error {
	MP_ERR_NONE,
#define X(name, status, type) MP_ERR_##name,
	MP_ERRORS(X)
#undef X
		MP_ERR_COUNT
};

int mp_error_status(enum mp_error error);
const char *mp_error_type(enum mp_error error);

/* --- peers --- */

/*
 * Who a TLS peer was proved to be. Made by the environment, one for each identity, not for each connection: a pooled
 * connection is used again only for the very same object on the other leg, and mp_cut() compares it.
 */
struct mp_peer {
	unsigned refs;
	char app[MP_ID_TEXT], instance[MP_ID_TEXT]; /* lower-case hex */
	int64_t expires_s;                          /* wall clock; its connections end then. 0: never */
	void *data;                                 /* the environment's */
	void (*free)(struct mp_peer *peer);         /* with the last reference; NULL: free(peer) */
};

/*
 * A connection ends with what its peer proved, in the midst of whatever is on it. One that ends so soon brings nothing
 * new: another is made, for which a renewed certificate can vouch.
 */
#define MP_LAST_S 10

struct mp_peer *mp_peer_ref(struct mp_peer *peer); /* accepts NULL */
void mp_peer_unref(struct mp_peer *peer);          /* accepts NULL */

/* --- where to --- */

/* ALPN: requests that came by HTTP/2 offer it, and the peer chooses. PRIOR: it speaks nothing else. */
enum mp_h2 { MP_H2_NO, MP_H2_ALPN, MP_H2_PRIOR };

#define MP_ADDRS_MORE 7

union sock_name {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct mp_upstream_conf {
	char name[MP_NAME_TEXT]; /* for lists and messages: "app 01.. port 443", "backend 127.0.0.1:80" */
	struct sockaddr_storage addr;
	socklen_t addr_len;
	union sock_name more[MP_ADDRS_MORE]; /* dialled where that one can not be connected to */
	unsigned n_more;
	bool is_tls; /* ops.tls_client() and ops.peer() are asked */
	enum mp_h2 h2;
	char host[MP_NAME_TEXT]; /* Host of what is sent there; "": the request's own */
	unsigned max_idle;       /* connections kept for later; 0: none */
	bool allow_shared; /* an idle one of HTTP/1.1 may serve another inbound peer; otherwise each has its own */
	unsigned connect_ms, idle_ms; /* 0: of mp_conf */
	void *data;                   /* the environment's; the app and instance that it expects */
	void (*free)(void *data);     /* with the last reference; may be NULL */
};

/* With one reference, the caller's. An upstream never changes: another address or expectation is another upstream. */
struct mp_upstream *mp_upstream_new(struct mp *mp, const struct mp_upstream_conf *conf);
void *mp_upstream_data(const struct mp_upstream *up);
const struct mp_upstream_conf *mp_upstream_conf_of(const struct mp_upstream *up);
/* Closes what is idle and gives the reference back; relays that are under way hold theirs. Accepts NULL. */
void mp_upstream_drop(struct mp_upstream *up);

/* --- the environment --- */

/* Text that lives in the engine's buffer, without NUL. */
struct mp_text {
	const char *p;
	size_t len;
};

struct mp_request {
	uint64_t token; /* for mp_again() */
	const struct mp_listener *listener;
	void *listener_data;
	struct mp_peer *peer; /* who asks; NULL: a local application */
	bool is_http;         /* false: a whole TCP connection, and all below is empty */
	struct mp_text method, target, host;
	const char *server_name; /* SNI; "": none */
	const void *head;        /* for mp_request_field() */
	const struct sockaddr *from;
	const struct sockaddr *to; /* where a captured connection was meant to go; NULL: nobody knows */
};

/* The value of the request's field of that name (any case); p NULL: there is none, or (*count > 1) more than one. */
struct mp_text mp_request_field(const struct mp_request *req, const char *name, unsigned *count);

enum mp_verdict { MP_REFUSE, MP_GO, MP_LATER, MP_RESPOND, MP_SPEAKS_HTTP };

struct mp_route {
	/* MP_GO */
	struct mp_upstream *up;  /* not a new reference */
	char rule[MP_RULE_TEXT]; /* what allowed it, for lists and mp_cut() */
	uint64_t rule_id;        /* the environment's, for mp_cut() */
	/* Lines that the request gets, each with CRLF ("X-Dstack-App-Id: ..\r\n"); read before the next op is called.
	 * Whatever came under these names (reserved, below) is gone already. With MP_RESPOND: that the answer gets. */
	const char *headers;
	size_t headers_len;
	const char *target; /* request target instead of its own; NULL: its own. Read before the next op is called. */
	bool is_tunnel;     /* CONNECT ends here: 200, then bytes. Otherwise it is sent on like any other method */
	/* MP_REFUSE: error, and err.msg is the cause. MP_RESPOND: this answer */
	enum mp_error error;
	int status;
	const char *content_type; /* static */
	char *body;               /* malloc'ed, the engine frees it; also with MP_REFUSE, instead of the JSON text */
	size_t body_len;
};

struct mp_ops {
	/*
	 * Where this request, or connection, goes. For each request anew. Fields named x-dstack-target-*,
	 * x-dstack-app-id, -instance-id, -claims and -verified (with - or _) are never forwarded. MP_SPEAKS_HTTP: of a
	 * whole connection, which is asked about no more, but each of its requests.
	 */
	enum mp_verdict (*route)(const struct mp_request *req, struct mp_route *route, struct err *e, void *arg);
	/* A new SSL, the engine's from now on, of a context that demands the peer's certificate. NULL and `e`. */
	SSL *(*tls_client)(struct mp_upstream *up, struct err *e, void *arg);
	SSL *(*tls_server)(const struct mp_listener *listener, void *listener_data, struct err *e, void *arg);
	/*
	 * The handshake went well (it fails for a certificate that the context refuses). Who is it? MP_GO with a
	 * reference in *peer, that the engine gives back. MP_REFUSE: *error and `e`. `up`: the upstream that it must
	 * be, NULL for inbound. Inbound, MP_GO with *peer NULL lets somebody in without a certificate; route() sees
	 * that. What verification needed can be freed here.
	 */
	enum mp_verdict (*peer)(SSL *ssl, struct mp_upstream *up, uint64_t token, struct mp_peer **peer,
				enum mp_error *error, struct err *e, void *arg);
	/* A handshake failed: its kind and text, from the SSL and OpenSSL's queue. NULL: HANDSHAKE_FAILED. */
	enum mp_error (*tls_failed)(SSL *ssl, struct mp_upstream *up, struct err *e, void *arg);
	/*
	 * What the kernel is told of this peer, so that it stops what carries its bytes when it is gone; `up`: it was
	 * dialled there; else it came by the listener with this data, from there (NULL: not known). False: nothing. May
	 * be NULL: the kernel is told of nobody.
	 */
	bool (*leg)(struct mp_peer *peer, struct mp_upstream *up, void *listener_data, const struct sockaddr *from,
		    struct by_leg_set *leg, void *arg);
	/* Something was refused or failed; for logs and counters of the environment. May be NULL. */
	void (*refused)(const struct mp_request *req, enum mp_error error, const struct err *e, void *arg);
};

/* route() or peer() said MP_LATER: ask again. A request that is gone since is no matter. */
void mp_again(struct mp *mp, uint64_t token);

/* --- the engine --- */

struct mp_conf {
	struct event_base *base; /* outlives the engine */
	struct mp_ops ops;
	void *arg;
	/* 0: the default */
	unsigned max_connections; /* inbound, all listeners, streams of HTTP/2 with them; 8192 */
	unsigned max_head;        /* bytes; 16384 */
	unsigned max_fields;      /* 100, at most HTTP_FIELDS_MAX */
	unsigned buffer;          /* bytes; 65280 */
	unsigned head_ms;         /* handshake and request head, from first byte (or accept) to last; 10000 */
	unsigned connect_ms;   /* connect and handshake of an upstream; of several addresses each has its part; 5000 */
	unsigned response_ms;  /* from the end of a request to the response's head; 0: 60000 */
	unsigned idle_ms;      /* nothing moved in a body or tunnel; 300000 */
	unsigned keepalive_ms; /* no request on a kept inbound connection; 75000 */
	unsigned upstream_idle_ms; /* of a pooled connection; 60000, below the peer's keepalive_ms */
	unsigned bulk;             /* bytes that one read must bring for a stream to be spliced; the whole buffer */
	bool ktls;                 /* mp_ktls_probe() went well */
	unsigned ktls_after;       /* bytes of a direction, before TLS is handed to the kernel; 1 MiB */
	struct dp_relays *sockmap; /* outlives the engine; NULL: none */
	unsigned sockmap_bound;    /* bytes on their way in a direction; 65536 */
	unsigned no_paths;         /* those not to take: 1 << enum mp_path */
};

/* Whether the kernel does TLS 1.3 for a socket. Opens some on the loopback; with CAP_NET_ADMIN the kernel loads its
 * module. */
int mp_ktls_probe(struct err *e);

int mp_new(const struct mp_conf *conf, struct mp **mp, struct err *e);
void mp_free(struct mp *mp); /* closes everything at once; accepts NULL. Upstreams are dropped before. */

enum mp_proto { MP_HTTP, MP_TCP };

struct mp_listener_conf {
	char name[MP_NAME_TEXT];
	enum mp_proto proto;
	bool is_tls;
	bool h2;          /* HTTP/2 is understood: where ALPN chose it, or its preface comes and ALPN chose nothing */
	bool is_captured; /* the kernel brings what was dialled elsewhere: ops.route() is told where */
	void *data;       /* the environment's */
};

/* Takes over a bound or listening stream socket. */
int mp_listen(struct mp *mp, int fd, const struct mp_listener_conf *conf, struct mp_listener **listener, struct err *e);
void mp_listener_close(struct mp_listener *listener); /* no new connections; those that came by it go on */
/* A connection that the caller accepted, or made. Takes over the fd. */
int mp_adopt(struct mp *mp, struct mp_listener *listener, int fd, struct err *e);

/*
 * No new connections; responses say `Connection: close`, and what is idle is closed when no request comes soon. done()
 * comes when nobody is left, or after `within_ms`, when the rest was cut. Not from within this call.
 */
void mp_drain(struct mp *mp, unsigned within_ms, void (*done)(void *arg), void *arg);

/* --- what is alive --- */

enum mp_path { MP_PATH_PROXIED, MP_PATH_SPLICED, MP_PATH_SOCKMAP, MP_PATH_KTLS };

struct mp_relay {
	const struct mp_listener *listener;
	void *listener_data;
	const char *listener_name;
	const char *upstream_name; /* "": none at the moment */
	struct mp_upstream *up;    /* or NULL */
	struct mp_peer *in, *out;  /* who came, who was called; NULL: plain */
	const char *rule;
	uint64_t rule_id;
	enum mp_path path;
	const struct sockaddr *from, *to; /* to: as of mp_request */
	bool is_active;                   /* a request or tunnel is under way, not idle */
	bool is_tunnel;
	bool is_pooled;   /* an upstream connection on its own: no listener; `in` is whose requests it serves */
	bool is_stream;   /* of HTTP/2 */
	bool is_session;  /* HTTP/2's connection, inbound or (is_pooled) outbound; its streams are relays, too */
	unsigned streams; /* of a session */
	uint64_t age_ms, idle_ms, bytes_up, bytes_down, requests;
};

void mp_each_relay(struct mp *mp, void (*each)(const struct mp_relay *relay, void *arg), void *arg);
/* Closes at once, with a reset, each for which gone() is true. Returns how many. */
unsigned mp_cut(struct mp *mp, bool (*gone)(const struct mp_relay *relay, void *arg), void *arg);

/* What is left of it was judged in this round of the kernel's (BY_LEG_ROUND), which lets it go on. After mp_cut(). */
void mp_renew(struct mp *mp, uint32_t round);

#define MP_COUNTERS(X)                                                                                                 \
	X(accepted, "connections accepted")                                                                            \
	X(refused_full, "times accepting paused at the limit of connections or descriptors")                           \
	X(handshakes_in, "inbound TLS handshakes done")                                                                \
	X(handshakes_out, "outbound TLS handshakes done")                                                              \
	X(resumed_in, "of them resumed")                                                                               \
	X(resumed_out, "of them resumed")                                                                              \
	X(handshake_failures, "TLS handshakes that failed, and peers that were refused")                               \
	X(requests, "HTTP requests")                                                                                   \
	X(denied, "requests and connections that policy denied")                                                       \
	X(malformed_requests, "requests that are not HTTP")                                                            \
	X(malformed_responses, "responses that are not HTTP")                                                          \
	X(tunnels, "TCP relays, upgrades and CONNECT")                                                                 \
	X(upstream_connects, "connections made to upstreams")                                                          \
	X(upstream_reuses, "requests on a pooled connection")                                                          \
	X(upstream_retries, "requests repeated because a pooled connection had ended")                                 \
	X(upstream_redials, "connections tried at another address of the upstream, for one that did not answer")       \
	X(upstream_failures, "upstreams that could not be reached")                                                    \
	X(timeouts, "connections that ended by a clock")                                                               \
	X(h2_requests, "of the requests, by HTTP/2")                                                                   \
	X(h2_floods, "HTTP/2 connections ended because of a flood")                                                    \
	X(cuts, "relays closed because peer or rule is gone")                                                          \
	X(guard_cuts, "of them those that the kernel had stopped before")                                              \
	X(guard_missed, "times a socket could not be told: its peer is gone, or it is of another cgroup")              \
	X(bytes_up, "bytes of request bodies and tunnels, to upstreams")                                               \
	X(bytes_down, "bytes of response bodies and tunnels, from upstreams")                                          \
	X(bytes_spliced, "of them spliced")                                                                            \
	X(bytes_sockmap, "of them carried by the kernel from socket to socket")                                        \
	X(sockmap_joined, "relays that the kernel carried from their first byte")                                      \
	X(sockmap_left, "directions that left the sockmap, at its bound")                                              \
	X(ktls_directions, "directions of TLS connections that the kernel took over")                                  \
	X(ktls_failed, "of them those that it did not take: the connection ended")                                     \
	X(ktls_rekeys, "connections that ended because the peer took new keys, or said something else that the "       \
		       "kernel does not know")

struct mp_counters {
#define X(name, help) uint64_t name;
	MP_COUNTERS(X)
#undef X
	/* gauges */
	uint64_t connections, streams, sessions, active, pooled, buffers_in_use, buffers_kept;
	uint64_t guarded, legs; /* 1: the kernel stops sockets; how many it was told of */
};

void mp_counters(const struct mp *mp, struct mp_counters *counters);
