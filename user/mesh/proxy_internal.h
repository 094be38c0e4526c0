/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy engine from inside. A connection (struct conn) is one socket with TLS or without; a relay is one inbound
 * connection with the outbound one that it uses at the moment. Whatever happens to either, relay_run() goes on with
 * the relay's stage until nothing moves; nobody else changes a relay.
 *
 * Sockets are registered once, edge-triggered for both directions. A read that gave less than was asked for has emptied
 * the socket, so it is not read again before the next event (`is_drained`), but for streams, whose end must not be
 * missed when a reset comes with the last bytes. All that is ready in a turn of the loop is read before heads are
 * written.
 */
#pragma once

#include <event2/event_struct.h>
#include <sys/queue.h>

#include "http/http.h"
#include "proxy.h"

#define LINGER_MS   2000
#define LINGER_MAX  (1u << 20)
#define ROUND_BYTES (512u << 10) /* moved for one relay before others have their turn */
#define ASIDES_MAX  32           /* messages of TLS itself that a peer sends between two pieces of text */
#define KEPT_MAX    64           /* buffers, and heads, kept for the next user */
#define PIPES_KEPT  8
/*
 * A buffer is written as four records of TLS 1.3 at most, and the other side reads them at once. Together they are one
 * segment of the loopback (64 KiB with TCP's and IPv6's headers): a little more would be a second one of a few bytes,
 * with a wake-up of its own, and a read that ends inside a record.
 */
#define BUFFER_BYTES  (65536 - 256)
#define RECORDS_BYTES (4 * (5 + 1 + 16)) /* header, type and tag of each */
#define DUE_MAX       64                 /* relays whose writes wait for the end of a turn of the loop */

struct buf {
	char *p; /* NULL: none */
	uint32_t start, end;
};

enum phase { PHASE_CONNECT, PHASE_HANDSHAKE, PHASE_JUDGE, PHASE_OPEN };

struct conn {
	struct event ev;
	struct mp *mp;
	SSL *ssl;
	struct ktls *ktls;        /* NULL: OpenSSL alone */
	struct relay *relay;      /* NULL: pooled, or the socket of an outbound session */
	struct mp_upstream *up;   /* outbound; a reference */
	struct mp_peer *peer;     /* who is there; a reference */
	struct mp_peer *owner;    /* outbound: for whom; a reference */
	struct h2 *session;       /* of HTTP/2 on this socket */
	struct h2_stream *stream; /* this is one, and has no socket (h2.h) */
	struct buf in, out;
	TAILQ_ENTRY(conn) link; /* of the pool, or of those that are dialled */
	int64_t since_ms;       /* pooled */
	uint64_t requests;
	struct by_leg_set leg; /* what the kernel was told of it */
	uint32_t asides;
	unsigned tried; /* addresses of the upstream, as bits, */
	unsigned addr;  /* and the one of now */
	int fd;
	enum phase phase;
	bool is_streaming, is_drained, has_rdhup;
	bool has_leg;
	bool has_more;     /* another write follows this one */
	bool is_eof;       /* nothing more will be read */
	bool is_truncated; /* TLS ended without close_notify */
	bool is_broken;    /* nothing can be read or written */
	bool cannot_write;
	bool has_shut; /* our side is closed */
	bool was_pooled;
	bool has_cut;     /* a stream on it did not come to its end, */
	bool has_gone;    /* because its peer or rule is gone */
	bool is_dialling; /* others wait for the session that it may become */
};

/* One direction of a message's body. */
struct flow {
	struct http_body body;
	uint32_t ready;    /* checked bytes at the front of the source's buffer */
	uint32_t piped;    /* bytes in the pipe */
	struct pipe *pipe; /* NULL: none */
	bool unchunk;
	bool is_bulk;   /* worth a splice */
	bool is_joined; /* the kernel's */
	uint8_t bad;    /* enum http_error: what is wrong with the body */
};

enum stage {
	STAGE_ACCEPT,
	STAGE_HEAD,
	STAGE_ROUTE,
	STAGE_CONNECT,
	STAGE_EXCHANGE,
	STAGE_TUNNEL,
	STAGE_LINGER,
	STAGE_H2
};

struct relay {
	TAILQ_ENTRY(relay) link;
	struct mp *mp;
	struct mp_listener *listener; /* a reference */
	struct conn *in, *out;
	struct http_head *req, *resp; /* while they are needed */
	struct flow up, down;
	struct joined *joined; /* by the sockmap; NULL: never was */
	uint64_t token;
	int64_t born_ms, moved_ms, deadline_ms; /* deadline 0: none */
	uint64_t bytes_up, bytes_down, requests;
	uint64_t rule_id;
	char rule[MP_RULE_TEXT];
	union sock_name from, to; /* to: of a captured connection, else AF_UNSPEC */
	enum mp_proto proto;
	uint32_t held;   /* bytes of the request's head that stay until the response comes, for a second try */
	uint32_t budget; /* of this round */
	enum stage stage;
	struct mp_upstream *waits_for; /* a session to it is being made */
	bool is_stream;
	uint8_t due; /* its place among those that write at the turn's end, from 1; 0: none */
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
	struct conns dialling;
	TAILQ_HEAD(, h2) sessions;
	int64_t h1_until_ms;                  /* it chose HTTP/1.1 when HTTP/2 was offered */
	int64_t failed_ms[1 + MP_ADDRS_MORE]; /* when an address could not be connected to; 0: never */
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
	struct pipe *pipes; /* empty ones */
	unsigned n_bufs, n_heads, n_pipes, n_pipes_used;
	struct mp_counters counters;
	struct event *sweep;
	struct relay *due[DUE_MAX]; /* NULL: it is gone */
	unsigned n_due;
	struct event turn_end; /* while somebody is due */
	bool is_flushing;
	uint64_t last_token;
	int64_t now_ms, drain_ms;
	struct {
		int fd;
		bool is_there;
		uint32_t gen, round;
	} guard;
	struct relay *cursor; /* the sweep's next; relay_free() moves it on */
	bool is_draining;
	void (*drained)(void *arg);
	void *drained_arg;
};

extern const char *const mp_reserved[]; /* names that are never forwarded */

/* Accepts NULL, who never ends. at_s: wall clock, MP_LAST_S ahead where it is soon that counts. */
static inline bool peer_ends_by(const struct mp_peer *peer, int64_t at_s)
{
	return peer && peer->expires_s && peer->expires_s <= at_s;
}

/* proxy_conn.c */
struct conn *conn_new(struct mp *mp, int fd, struct relay *s); /* takes over the fd; NULL: closed it */
bool conn_reopen(struct conn *c, int fd); /* another socket, before anything came by the old; takes over the fd */
bool conn_tls(struct conn *c, SSL *ssl, bool is_server); /* takes over the SSL, also when it fails */
void conn_free(struct conn *c);                          /* accepts NULL */
void conn_reset(struct conn *c);                         /* the same with RST */
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

/* h2*.c: HTTP/2, see h2.h */
struct h2;
struct h2_stream;
enum h2_hello { H2_NO, H2_UNKNOWN, H2_YES };
enum h2_hello h2_hello(const struct relay *s); /* what a connection begins with */
enum step step_h2(struct relay *s);
void h2_late(struct relay *s);
void h2_drain(struct h2 *h);
void h2_free(struct h2 *h); /* accepts NULL */
/* A stream as a connection. */
size_t h2_read(struct conn *c, char *p, size_t len);
size_t h2_write(struct conn *c, const char *p, size_t len);
void h2_shut(struct conn *c);
void h2_detach(struct conn *c, bool reset);
void h2_pass_code(const struct conn *from, struct conn *to);     /* accept NULL */
struct conn *stream_conn(struct h2_stream *st, struct relay *s); /* NULL: no memory */
bool h2_is_grpc(const struct conn *c);
struct conn *h2_socket(struct conn *c); /* itself, or whose stream it is; NULL: that is gone */
SSL *h2_ssl(struct conn *c);            /* of the socket */
/* Upstreams. */
bool h2_is_wanted(const struct relay *s, const struct mp_upstream *up);
bool h2_offer(SSL *ssl);
struct conn *h2_take(struct mp_upstream *up, struct relay *s, bool *must_wait);
void h2_dialling(struct conn *c);
void h2_dialled(struct conn *c);
bool h2_settle(struct relay *s); /* s->out is open; false: no memory */
void h2_event(struct conn *c);
void h2_pool_close(struct mp_upstream *up);
void h2_pool_cut(struct mp_upstream *up); /* with what is on them; the caller holds it */
void h2_pool_sweep(struct mp_upstream *up);
void h2_each(struct mp_upstream *up, void (*each)(struct conn *socket, void *arg), void *arg); /* may end it */
unsigned h2_streams(const struct conn *c);
/* Whose streams are on this socket; NULL for each whose relay is gone and which is not at its end. */
void h2_each_relay(const struct conn *socket, void (*each)(struct relay *s, void *arg), void *arg);

/* proxy_pool.c */
struct conn *pool_take(struct mp_upstream *up, struct mp_peer *owner, bool must_live);
void pool_put(struct conn *c, struct mp_peer *owner); /* or closes it */
void pool_event(struct conn *c);
void pool_sweep(struct mp *mp);
void pool_close(struct mp_upstream *up);
void pool_cut(struct conn *c);
struct conn *upstream_connect(struct mp_upstream *up, struct relay *s, struct err *e);
/* The address that is dialled does not answer: another one is. False: there is none. */
bool upstream_redial(struct conn *c, struct err *e);
void upstream_connected(struct conn *c);
unsigned upstream_ms(const struct conn *c); /* how long it may take from now on */
struct mp_upstream *upstream_ref(struct mp_upstream *up);
void upstream_unref(struct mp_upstream *up);

/* proxy.c */
void accept_resume(struct mp *mp);
static inline bool mp_is_full(const struct mp *mp)
{
	return mp->counters.connections + mp->counters.streams >= mp->conf.max_connections;
}
void listener_unref(struct mp_listener *l);
void mp_wake(struct mp *mp); /* has the sweep run soon */

/* proxy_guard.c */
void guard_open(struct mp *mp);
void guard_sweep(struct mp *mp);
void guard_forget(struct conn *c);
bool guard_relay(struct relay *s);           /* both ends, as far as they are there. False: the peer is gone */
void guard_gone(struct relay *s, void *arg); /* is to be cut for that; accepts NULL */
bool guard_is_same(struct conn *socket, struct relay *s); /* told of what `s` came by, or of nothing */

/* proxy_origin.c */
bool origin_of(int fd, int listening, union sock_name *to);

/* proxy_live.c */
void relay_of(const struct relay *s, struct mp_relay *r);

/* proxy_relay.c */
struct relay *relay_new(struct mp_listener *l, int fd);
struct relay *relay_of_stream(struct relay *session, struct h2_stream *st);
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
void due_init(struct mp *mp);
void due_flush(struct mp *mp); /* writes what is kept for the turn's end; not from within relay_run() */
void due_drop(struct relay *s);
enum moved { MOVED_WAIT, MOVED_ALL, MOVED_BAD, MOVED_SRC, MOVED_DST };
void flow_begin(struct flow *f, const struct http_head *h, const char *const *reserved); /* a message's body */
/* Nobody here looks at what comes, and that is no little: a tunnel, or the rest of a body of known length. */
bool flow_is_opaque(const struct conn *src, const struct conn *dst, const struct flow *f);
void flow_moved(struct relay *s, const struct conn *src, size_t n);
enum moved flow_move(struct relay *s, struct conn *src, struct conn *dst, struct flow *f);
/* Copies what is at hand behind a head in dst->out. */
bool flow_join(struct conn *src, struct conn *dst, struct flow *f);
enum step step_tunnel(struct relay *s);
void tunnel_begin(struct relay *s);

/* path_sockmap.c */
void sockmap_begin(struct relay *s);
void sockmap_drop(struct relay *s, bool reset);
enum moved sockmap_watch(struct relay *s, struct conn *src, struct conn *dst, struct flow *f);
void sockmap_count(struct relay *s);

/* path_ktls.c: all of it does nothing for a connection without */
void ktls_prepare(struct conn *c); /* before the handshake */
void ktls_free(struct conn *c);
void ktls_message(struct conn *c, bool write, int type, const uint8_t *p, size_t len); /* of OpenSSL's, either way */
bool ktls_has(const struct conn *c, bool to_read); /* the direction is the kernel's */
size_t ktls_read_max(const struct conn *c, size_t len);
void ktls_saw(struct conn *c, const uint8_t *p, size_t len); /* what OpenSSL was given */
void ktls_wrote(struct conn *c, bool is_pending);
size_t ktls_read(struct conn *c, char *p, size_t len);
bool ktls_shut(struct conn *c);
/* Both ends of a direction are handed over as soon as they can, from when it pays. False: that failed. */
bool ktls_turn(struct conn *src, struct conn *dst, bool pays);
bool ktls_is_due(const struct conn *src); /* OpenSSL has read up to a record's end, for ktls_turn() */

/* path_splice.c */
bool splice_may(const struct conn *src, const struct conn *dst, const struct flow *f);
/* Some, and how much; true: there may be more at once. The ends say what else there is. */
bool splice_move(struct relay *s, struct conn *src, struct conn *dst, struct flow *f, size_t *moved);
void splice_drop(struct mp *mp, struct flow *f);
void splice_fini(struct mp *mp);
