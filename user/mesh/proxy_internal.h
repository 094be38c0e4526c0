/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy engine from inside. A connection (struct conn) is one socket with TLS or without; a relay is one inbound
 * connection with the outbound one that it uses at the moment. Whatever happens to either, relay_run() goes on with
 * the relay's stage until nothing moves; nobody else changes a relay.
 *
 * Sockets are registered once, edge-triggered for both directions. A read that gave less than was asked for has emptied
 * the socket, so it is not read again before the next event (`is_drained`), but for streams, whose end must not be
 * missed when a reset comes with the last bytes.
 */
#pragma once

#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/queue.h>

#include "http/http.h"
#include "proxy.h"

#define LINGER_MS   2000
#define LINGER_MAX  (1u << 20)
#define ROUND_BYTES (512u << 10) /* moved for one relay before others have their turn */
#define KEPT_MAX    64           /* buffers, and heads, kept for the next user */

struct buf {
	char *p; /* NULL: none */
	uint32_t start, end;
};

enum phase { PHASE_CONNECT, PHASE_HANDSHAKE, PHASE_JUDGE, PHASE_OPEN };

struct conn {
	struct event ev;
	struct mp *mp;
	SSL *ssl;
	struct relay *relay;    /* NULL: pooled */
	struct mp_upstream *up; /* outbound; a reference */
	struct mp_peer *peer;   /* who is there; a reference */
	struct mp_peer *owner;  /* outbound: for whom; a reference */
	struct buf in, out;
	TAILQ_ENTRY(conn) link; /* of the pool */
	int64_t since_ms;       /* pooled */
	uint64_t requests;
	int fd;
	enum phase phase;
	bool is_streaming, is_drained, has_rdhup;
	bool has_more;     /* another write follows this one */
	bool is_eof;       /* nothing more will be read */
	bool is_truncated; /* TLS ended without close_notify */
	bool is_broken;    /* nothing can be read or written */
	bool cannot_write;
	bool has_shut; /* our side is closed */
	bool was_pooled;
};

/* One direction of a message's body. */
struct flow {
	struct http_body body;
	uint32_t ready; /* checked bytes at the front of the source's buffer */
	bool unchunk;
};

enum stage { STAGE_ACCEPT, STAGE_HEAD, STAGE_ROUTE, STAGE_CONNECT, STAGE_EXCHANGE, STAGE_TUNNEL, STAGE_LINGER };

struct relay {
	TAILQ_ENTRY(relay) link;
	struct mp *mp;
	struct mp_listener *listener; /* a reference */
	struct conn *in, *out;
	struct http_head *req, *resp; /* while they are needed */
	struct flow up, down;
	uint64_t token;
	int64_t born_ms, moved_ms, deadline_ms; /* deadline 0: none */
	uint64_t bytes_up, bytes_down, requests;
	uint64_t rule_id;
	char rule[MP_RULE_TEXT];
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} from;
	uint32_t held;   /* bytes of the request's head that stay until the response comes, for a second try */
	uint32_t budget; /* of this round */
	enum stage stage;
	bool is_running, is_cut, must_rerun, is_waiting; /* is_waiting: for mp_again() */
	bool is_over;                                    /* ended in order: no reset */
	bool is_http0, to_head, to_connect, keep_alive, wants_upgrade, expects_continue, may_retry, was_retried;
	bool out_keep;   /* the upstream's connection can be used again */
	bool up_stopped; /* the upstream takes no more of the request */
	bool req_whole;  /* the request was sent to its end */
	bool resp_began; /* its head was passed on */
	bool is_tunnel_route;
	uint32_t lingered;
};

struct mp_listener {
	TAILQ_ENTRY(mp_listener) link;
	unsigned refs;
	struct mp *mp;
	struct mp_listener_conf conf;
	struct event *ev; /* NULL: closed */
	int fd;
	bool is_paused;
};

TAILQ_HEAD(conns, conn);

struct mp_upstream {
	TAILQ_ENTRY(mp_upstream) link;
	unsigned refs, n_idle;
	struct mp *mp; /* NULL: the engine is gone */
	struct mp_upstream_conf conf;
	struct conns idle; /* the latest first */
	bool is_dropped;
};

struct kept {
	struct kept *next;
};

struct mp {
	struct mp_conf conf;
	struct http_limits limits;
	TAILQ_HEAD(, relay) relays;
	TAILQ_HEAD(, mp_listener) listeners;
	TAILQ_HEAD(, mp_upstream) upstreams;
	struct kept *bufs, *heads;
	unsigned n_bufs, n_heads;
	struct mp_counters counters;
	struct event *sweep;
	uint64_t last_token;
	int64_t now_ms, drain_ms;
	struct relay *cursor; /* the sweep's next; relay_free() moves it on */
	bool is_draining;
	void (*drained)(void *arg);
	void *drained_arg;
};

extern const char *const mp_reserved[]; /* names that are never forwarded */

/* proxy_conn.c */
struct conn *conn_new(struct mp *mp, int fd, struct relay *s); /* takes over the fd; NULL: closed it */
bool conn_tls(struct conn *c, SSL *ssl, bool is_server);       /* takes over the SSL, also when it fails */
void conn_free(struct conn *c);                                /* accepts NULL */
void conn_reset(struct conn *c);                               /* the same with RST */
/* Bytes that came to c->in; 0: none now (is_eof and is_broken say more). Makes room itself. */
size_t conn_read(struct conn *c);
size_t conn_write(struct conn *c, const char *p, size_t len);
bool conn_flush(struct conn *c); /* is c->out empty? */
bool conn_shut(struct conn *c);  /* no more from us; false: not yet, try again */
void conn_stream(struct conn *c);
bool conn_is_dead(struct conn *c);
enum step { STEP_WAIT, STEP_AGAIN, STEP_GONE };
enum step conn_handshake(struct conn *c); /* AGAIN: done, GONE: failed */
int64_t mp_clock(struct mp *mp);

static inline uint32_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

bool buf_need(struct mp *mp, struct buf *b); /* false: no memory */
void buf_done(struct mp *mp, struct buf *b); /* gives it back when it is empty */
void buf_drop(struct mp *mp, struct buf *b);
void buf_eat(struct buf *b, uint32_t n);
void *kept_get(struct kept **list, unsigned *n, size_t size);
void kept_put(struct kept **list, unsigned *n, void *p);

/* proxy_pool.c */
struct conn *pool_take(struct mp_upstream *up, struct mp_peer *owner, bool must_live);
void pool_put(struct conn *c, struct mp_peer *owner); /* or closes it */
void pool_event(struct conn *c);
void pool_sweep(struct mp *mp);
void pool_close(struct mp_upstream *up);
void pool_cut(struct conn *c);
struct conn *upstream_connect(struct mp_upstream *up, struct relay *s, struct err *e);
struct mp_upstream *upstream_ref(struct mp_upstream *up);
void upstream_unref(struct mp_upstream *up);

/* proxy.c */
void accept_resume(struct mp *mp);
void listener_unref(struct mp_listener *l);
void mp_wake(struct mp *mp); /* has the sweep run soon */

/* proxy_live.c */
void relay_of(const struct relay *s, struct mp_relay *r);

/* proxy_relay.c */
struct relay *relay_new(struct mp_listener *l, int fd);
void relay_run(struct relay *s);
void relay_free(struct relay *s, bool reset);
void relay_late(struct relay *s); /* its deadline has passed */
bool relay_is_idle(const struct relay *s);
enum step relay_refuse(struct relay *s, enum mp_error error, const struct err *e);
void relay_request(const struct relay *s, struct mp_request *req);

/* proxy_http.c */
enum step step_head(struct relay *s);
enum step step_exchange(struct relay *s);
enum step http_begin(struct relay *s, const struct mp_route *route, struct err *e);
enum step http_failed(struct relay *s, enum mp_error error, const struct err *e);
void http_reset(struct relay *s);          /* forgets the request */
enum step http_connected(struct relay *s); /* a tunnel's other end is there */
enum step http_answer(struct relay *s, int status, const char *type, const char *body, size_t len);
/* With more lines of the head, each with CRLF. */
enum step http_answer_with(struct relay *s, int status, const char *type, struct mp_text extra, const char *body,
			   size_t len);

/* proxy_flow.c */
enum moved { MOVED_WAIT, MOVED_ALL, MOVED_BAD, MOVED_SRC, MOVED_DST };
enum moved flow_move(struct relay *s, struct conn *src, struct conn *dst, struct flow *f);
/* Copies what is at hand behind a head in dst->out. */
bool flow_join(struct conn *src, struct conn *dst, struct flow *f);
enum step step_tunnel(struct relay *s);
void tunnel_begin(struct relay *s);
