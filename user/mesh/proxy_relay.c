// SPDX-License-Identifier: Apache-2.0
/*
 * A relay's stages:
 *
 *   ACCEPT handshake and peer -> HEAD a request's head -> ROUTE where to -> CONNECT and the peer there -> EXCHANGE
 *   EXCHANGE ends in HEAD (kept alive), in LINGER (the answer must arrive before the connection goes) or in TUNNEL
 *   TCP: ACCEPT -> ROUTE -> CONNECT -> TUNNEL
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy_internal.h"

static bool tls_in(struct relay *s, struct err *e)
{
	struct mp_listener *l = s->listener;
	SSL *ssl = s->mp->conf.ops.tls_server(l, l->conf.data, e, s->mp->conf.arg);

	return ssl && conn_tls(s->in, ssl, true);
}

struct relay *relay_new(struct mp_listener *l, int fd)
{
	struct relay *s = calloc(1, sizeof(*s));
	struct mp *mp = l->mp;
	socklen_t len = sizeof(s->from);
	struct err e = ERR_INIT;

	if (!s) {
		close(fd);
		return NULL;
	}
	getpeername(fd, &s->from.sa, &len);
	s->mp = mp;
	s->token = ++mp->last_token;
	s->listener = l;
	s->proto = l->conf.proto;
	l->refs++;
	if (l->conf.is_captured)
		origin_of(fd, l->fd, &s->to);
	s->born_ms = s->moved_ms = mp->now_ms;
	s->deadline_ms = mp->now_ms + mp->conf.head_ms;
	s->stage = l->conf.is_tls ? STAGE_ACCEPT : s->proto == MP_HTTP ? STAGE_HEAD : STAGE_ROUTE;
	TAILQ_INSERT_TAIL(&mp->relays, s, link);
	mp->counters.connections++;
	mp->counters.accepted++;
	s->in = conn_new(mp, fd, s);
	if (s->in && !l->conf.is_tls) {
		s->in->phase = PHASE_OPEN;
		return s;
	}
	if (s->in && tls_in(s, &e)) {
		s->in->phase = PHASE_HANDSHAKE;
		return s;
	}
	if (e.code && mp->conf.ops.refused)
		mp->conf.ops.refused(NULL, MP_ERR_OVERLOADED, &e, mp->conf.arg);
	relay_free(s, true);
	return NULL;
}

/* A request that came in a stream of HTTP/2. */
struct relay *relay_of_stream(struct relay *session, struct h2_stream *st)
{
	struct relay *s = calloc(1, sizeof(*s));
	struct mp *mp = session->mp;

	if (!s)
		return NULL;
	s->in = stream_conn(st, s);
	if (!s->in) {
		free(s);
		return NULL;
	}
	s->mp = mp;
	s->token = ++mp->last_token;
	s->listener = session->listener;
	s->listener->refs++;
	s->proto = MP_HTTP;
	s->from = session->from;
	s->to = session->to;
	s->born_ms = s->moved_ms = mp->now_ms;
	s->deadline_ms = mp->now_ms + mp->conf.head_ms;
	s->stage = STAGE_HEAD;
	s->is_stream = true;
	mp->counters.h2_requests++;
	TAILQ_INSERT_TAIL(&mp->relays, s, link);
	return s;
}

void relay_free(struct relay *s, bool reset)
{
	struct mp *mp = s->mp;

	if (s->is_running) {
		s->is_cut = true;
		return;
	}
	due_drop(s);
	http_reset(s);
	sockmap_drop(s, reset);
	splice_drop(mp, &s->up);
	splice_drop(mp, &s->down);
	if (mp->cursor == s)
		mp->cursor = TAILQ_NEXT(s, link);
	TAILQ_REMOVE(&mp->relays, s, link);
	mp->counters.connections -= !s->is_stream;
	h2_pass_code(s->out, s->in);
	(reset ? conn_reset : conn_free)(s->out);
	(reset ? conn_reset : conn_free)(s->in);
	listener_unref(s->listener);
	free(s);
	accept_resume(mp);
	if (mp->is_draining && TAILQ_EMPTY(&mp->relays))
		mp_wake(mp);
}

/* --- what is told of a session --- */

void relay_request(const struct relay *s, struct mp_request *req)
{
	SSL *ssl = s->in ? h2_ssl(s->in) : NULL;
	const char *name = ssl ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : NULL;

	*req = (struct mp_request){ .token = s->token,
				    .listener = s->listener,
				    .listener_data = s->listener->conf.data,
				    .peer = s->in ? s->in->peer : NULL,
				    .is_http = s->proto == MP_HTTP,
				    .server_name = name ? name : "",
				    .from = &s->from.sa,
				    .to = s->to.sa.sa_family ? &s->to.sa : NULL };
}

static void tell(struct relay *s, enum mp_error error, const struct err *e)
{
	struct mp_request req;

	s->mp->counters.denied += error == MP_ERR_DENIED;
	if (!s->mp->conf.ops.refused)
		return;
	relay_request(s, &req);
	s->mp->conf.ops.refused(&req, error, e, s->mp->conf.arg);
}

/* HTTP gets an answer when none has begun; everything else is closed with a reset. */
enum step relay_refuse(struct relay *s, enum mp_error error, const struct err *e)
{
	tell(s, error, e);
	if (s->proto == MP_HTTP && s->in->phase == PHASE_OPEN && !s->resp_began && s->stage != STAGE_TUNNEL)
		return http_failed(s, error, e);
	return STEP_GONE;
}

/* --- handshakes and who is there --- */

static enum step handshake_failed(struct relay *s, struct conn *c, enum mp_error *error, struct err *e)
{
	struct mp_upstream *up = c->up;

	s->mp->counters.handshake_failures++;
	*error = s->mp->conf.ops.tls_failed ? s->mp->conf.ops.tls_failed(c->ssl, up, e, s->mp->conf.arg)
					    : MP_ERR_HANDSHAKE_FAILED;
	err_at(e, -EPROTO, up ? up->conf.name : s->listener->conf.name, "the TLS handshake failed");
	ERR_clear_error();
	return STEP_GONE;
}

/* No byte of a request passes before this says so. */
static enum step judge(struct relay *s, struct conn *c, enum mp_error *error, struct err *e)
{
	switch (s->mp->conf.ops.peer(c->ssl, c->up, s->token, &c->peer, error, e, s->mp->conf.arg)) {
	case MP_GO:
		c->phase = PHASE_OPEN;
		return STEP_AGAIN;
	case MP_LATER:
		s->is_waiting = true;
		return STEP_WAIT;
	default:
		s->mp->counters.handshake_failures++;
		if (*error == MP_ERR_NONE)
			*error = MP_ERR_VERIFICATION_FAILED;
		err_at(e, -EACCES, NULL, "the peer was refused");
		return STEP_GONE;
	}
}

static void count_handshake(struct mp *mp, const struct conn *c)
{
	bool resumed = SSL_session_reused(c->ssl);

	if (c->up) {
		mp->counters.handshakes_out++;
		mp->counters.resumed_out += resumed;
	} else {
		mp->counters.handshakes_in++;
		mp->counters.resumed_in += resumed;
	}
}

/* AGAIN: open. WAIT. GONE: refused, with *error and `e`. */
static enum step conn_open(struct relay *s, struct conn *c, enum mp_error *error, struct err *e)
{
	enum step step;

	if (c->phase == PHASE_HANDSHAKE) {
		step = conn_handshake(c);
		if (step == STEP_GONE)
			return handshake_failed(s, c, error, e);
		if (step == STEP_WAIT)
			return STEP_WAIT;
		count_handshake(s->mp, c);
		c->phase = PHASE_JUDGE;
	}
	if (c->phase == PHASE_JUDGE && !s->is_waiting)
		return judge(s, c, error, e);
	return c->phase == PHASE_OPEN ? STEP_AGAIN : STEP_WAIT;
}

static enum step step_accept(struct relay *s)
{
	enum mp_error error = MP_ERR_NONE;
	struct err e = ERR_INIT;
	enum step step = conn_open(s, s->in, &error, &e);

	if (step == STEP_GONE)
		tell(s, error, &e);
	if (step != STEP_AGAIN)
		return step;
	if (!guard_relay(s)) {
		err_at(&e, -EACCES, "peer", "is gone");
		tell(s, MP_ERR_VERIFICATION_FAILED, &e);
		return STEP_GONE;
	}
	s->stage = s->proto == MP_HTTP ? STAGE_HEAD : STAGE_ROUTE;
	return STEP_AGAIN;
}

/* --- where to --- */

static bool tls_out(struct conn *c, struct err *e)
{
	struct mp *mp = c->mp;
	SSL *ssl = mp->conf.ops.tls_client(c->up, e, mp->conf.arg);

	return ssl && (!c->is_dialling || h2_offer(ssl)) && conn_tls(c, ssl, false);
}

static enum step go_to(struct relay *s, const struct mp_route *route, struct err *e)
{
	bool is_http = s->proto == MP_HTTP && !(route->is_tunnel && s->to_connect);
	bool wants_h2 = is_http && h2_is_wanted(s, route->up);

	memcpy(s->rule, route->rule, sizeof(s->rule));
	s->rule_id = route->rule_id;
	s->is_tunnel_route = !is_http;
	if (wants_h2 && s->to_connect) {
		err_at(e, -ENOTSUP, route->up->conf.name, "CONNECT to a backend of HTTP/2");
		return relay_refuse(s, MP_ERR_NOT_IMPLEMENTED, e);
	}
	if (wants_h2)
		s->out = h2_take(route->up, s, &s->is_waiting);
	else if (is_http && !s->was_retried)
		s->out = pool_take(route->up, s->in->peer, !s->may_retry);
	if (s->out) {
		s->out->relay = s;
		s->mp->counters.upstream_reuses++;
	} else if (s->is_waiting) {
		return STEP_WAIT;
	} else {
		s->out = upstream_connect(route->up, s, e);
		if (s->out && wants_h2)
			h2_dialling(s->out);
	}
	if (!s->out) {
		s->mp->counters.upstream_failures++;
		return relay_refuse(s, MP_ERR_CONNECTION_FAILED, e);
	}
	s->out->requests++;
	s->stage = STAGE_CONNECT;
	s->deadline_ms = s->mp->now_ms + upstream_ms(s->out);
	return is_http ? http_begin(s, route, e) : STEP_AGAIN;
}

static enum step refuse_by_route(struct relay *s, struct mp_route *route, struct err *e)
{
	enum step step;

	if (route->error == MP_ERR_NONE)
		route->error = MP_ERR_DENIED;
	err_at(e, -EACCES, NULL, "refused");
	if (!route->body || s->proto != MP_HTTP)
		return relay_refuse(s, route->error, e);
	tell(s, route->error, e);
	step = http_answer(s, route->status ? route->status : mp_error_status(route->error), route->content_type,
			   route->body, route->body_len);
	return step;
}

struct head_at {
	const struct http_head *head;
	const char *p;
};

static struct mp_text text_of(const char *p, struct http_span span)
{
	return (struct mp_text){ .p = p + span.at, .len = span.len };
}

struct mp_text mp_request_field(const struct mp_request *req, const char *name, unsigned *count)
{
	const struct head_at *at = req->head;
	const struct http_field *f;
	unsigned n = 0;

	f = at ? http_head_find(at->head, at->p, name, &n) : NULL;
	if (count)
		*count = n;
	return f ? text_of(at->p, f->value) : (struct mp_text){ 0 };
}

static enum step step_route(struct relay *s)
{
	struct mp *mp = s->mp;
	struct mp_route route = { 0 };
	struct head_at at = { s->req, s->req ? s->in->in.p + s->in->in.start : NULL };
	struct mp_request req;
	struct err e = ERR_INIT;
	enum step step;

	if (s->is_waiting)
		return STEP_WAIT;
	relay_request(s, &req);
	if (s->req) {
		req.head = &at;
		req.method = text_of(at.p, s->req->method);
		req.target = text_of(at.p, s->req->is_connect ? s->req->target : s->req->path);
		req.host = text_of(at.p, s->req->authority);
	}
	switch (mp->conf.ops.route(&req, &route, &e, mp->conf.arg)) {
	case MP_GO:
		step = go_to(s, &route, &e);
		break;
	case MP_LATER:
		s->is_waiting = true;
		return STEP_WAIT;
	case MP_SPEAKS_HTTP:
		s->proto = MP_HTTP;
		s->stage = STAGE_HEAD;
		step = STEP_AGAIN;
		break;
	case MP_RESPOND:
		step = req.is_http ? http_answer_with(s, route.status, route.content_type,
						      (struct mp_text){ route.headers, route.headers_len }, route.body,
						      route.body_len)
				   : STEP_GONE;
		break;
	default:
		step = refuse_by_route(s, &route, &e);
	}
	free(route.body);
	return step;
}

static enum step upstream_failed(struct relay *s, enum mp_error error, struct err *e)
{
	s->mp->counters.upstream_failures++;
	conn_reset(s->out);
	s->out = NULL;
	return relay_refuse(s, error, e);
}

/* Has the kernel connected it? */
static enum step step_connected(struct relay *s, struct err *e)
{
	struct conn *c = s->out;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		err_at(e, -error, c->up->conf.name, "%s", strerror(error));
		return STEP_GONE;
	}
	len = sizeof(struct sockaddr_storage);
	if (getpeername(c->fd, (struct sockaddr *)&(struct sockaddr_storage){ 0 }, &len) < 0)
		return STEP_WAIT;
	upstream_connected(c);
	if (!c->up->conf.is_tls) {
		c->phase = PHASE_OPEN;
		return STEP_AGAIN;
	}
	c->phase = PHASE_HANDSHAKE;
	if (c->up->conf.n_more)
		s->deadline_ms = s->mp->now_ms + c->up->conf.connect_ms;
	return tls_out(c, e) ? STEP_AGAIN : STEP_GONE;
}

/* The next of its addresses, which has its own time. */
static bool redial(struct relay *s, struct err *e)
{
	if (!upstream_redial(s->out, e))
		return false;
	s->deadline_ms = s->mp->now_ms + upstream_ms(s->out);
	return true;
}

static enum step step_connect(struct relay *s)
{
	enum mp_error error = MP_ERR_CONNECTION_FAILED;
	struct err e = ERR_INIT;
	enum step step = s->out->phase == PHASE_CONNECT ? step_connected(s, &e) : STEP_AGAIN;

	if (step == STEP_AGAIN) {
		error = MP_ERR_NONE;
		step = conn_open(s, s->out, &error, &e);
	}
	if (step == STEP_GONE && s->out->phase == PHASE_CONNECT && redial(s, &e))
		return STEP_WAIT;
	if (step == STEP_GONE)
		return upstream_failed(s, error ? error : MP_ERR_CONNECTION_FAILED, &e);
	if (step == STEP_WAIT)
		return STEP_WAIT;
	if (!guard_relay(s)) {
		err_at(&e, -EACCES, s->out->up->conf.name, "the peer is gone");
		return upstream_failed(s, MP_ERR_VERIFICATION_FAILED, &e);
	}
	if (!h2_settle(s)) {
		err_at(&e, -ENOMEM, s->out->up->conf.name, "no memory for a session");
		return upstream_failed(s, MP_ERR_OVERLOADED, &e);
	}
	if (s->is_tunnel_route)
		return http_connected(s);
	s->stage = STAGE_EXCHANGE;
	s->deadline_ms = s->mp->now_ms + (s->req_whole ? s->mp->conf.response_ms : s->mp->conf.idle_ms);
	return STEP_AGAIN;
}

/* The answer is out; what still comes is thrown away for a while, for closing on it would reset the answer away. */
static enum step step_linger(struct relay *s)
{
	struct conn *c = s->in;
	size_t n;

	if (!conn_flush(c))
		return c->cannot_write || c->is_broken ? STEP_GONE : STEP_WAIT;
	if (!conn_shut(c))
		return STEP_WAIT;
	if (s->req_whole)
		return STEP_GONE;
	do {
		c->in.start = c->in.end = 0;
		n = conn_read(c);
		s->lingered += (uint32_t)n;
	} while (n > 0 && s->lingered < LINGER_MAX);
	c->in.start = c->in.end = 0;
	return c->is_eof || n > 0 ? STEP_GONE : STEP_WAIT;
}

/* --- the engine of it --- */

static enum step relay_step(struct relay *s)
{
	static enum step (*const steps[])(struct relay * s) = {
		[STAGE_ACCEPT] = step_accept,     [STAGE_HEAD] = step_head,
		[STAGE_ROUTE] = step_route,       [STAGE_CONNECT] = step_connect,
		[STAGE_EXCHANGE] = step_exchange, [STAGE_TUNNEL] = step_tunnel,
		[STAGE_LINGER] = step_linger,     [STAGE_H2] = step_h2,
	};

	return steps[s->stage](s);
}

/* An end in the middle of something is told as one. */
static bool must_reset(const struct relay *s)
{
	return !s->is_over && s->stage >= STAGE_ROUTE && s->stage != STAGE_LINGER;
}

bool relay_is_idle(const struct relay *s)
{
	return s->stage == STAGE_HEAD && !s->req && !buf_len(&s->in->in);
}

void relay_run(struct relay *s)
{
	enum step step;

	if (s->is_running) {
		s->must_rerun = true;
		return;
	}
	s->is_running = true;
	s->budget = ROUND_BYTES;
	do {
		s->must_rerun = false;
		step = relay_step(s);
	} while (!s->is_cut && step != STEP_GONE && (step == STEP_AGAIN || s->must_rerun));
	s->is_running = false;
	if (step == STEP_GONE || s->is_cut) {
		relay_free(s, s->is_cut || must_reset(s));
		return;
	}
	buf_done(s->mp, &s->in->in);
	buf_done(s->mp, &s->in->out);
	if (!s->out)
		return;
	buf_done(s->mp, &s->out->in);
	buf_done(s->mp, &s->out->out);
}

void relay_late(struct relay *s)
{
	struct err e = ERR_INIT;
	enum step step = STEP_GONE;

	sockmap_count(s);
	if (s->deadline_ms > s->mp->now_ms)
		return;
	if (s->in->session) {
		h2_late(s);
		return;
	}
	if (relay_is_idle(s)) { /* kept alive for nothing, or never said anything */
		conn_shut(s->in);
		relay_free(s, false);
		return;
	}
	if (s->stage == STAGE_CONNECT && s->out && s->out->phase == PHASE_CONNECT && redial(s, &e))
		return;
	s->mp->counters.timeouts++;
	if (s->waits_for) { /* for a session: no longer */
		s->waits_for = NULL;
		s->is_waiting = false;
	}
	s->is_running = true;
	s->deadline_ms = s->mp->now_ms + LINGER_MS;
	if (s->stage == STAGE_HEAD) {
		err_at(&e, -ETIMEDOUT, NULL, "the request's head did not come in time");
		step = relay_refuse(s, MP_ERR_REQUEST_TIMEOUT, &e);
	} else if (s->stage == STAGE_ROUTE || s->stage == STAGE_CONNECT ||
		   (s->stage == STAGE_EXCHANGE && !s->resp_began)) {
		err_at(&e, -ETIMEDOUT, s->out ? s->out->up->conf.name : NULL, "no answer in time");
		conn_reset(s->out);
		s->out = NULL;
		step = relay_refuse(s, MP_ERR_TIMEOUT, &e);
	}
	s->is_running = false;
	if (step == STEP_GONE)
		relay_free(s, true);
	else
		relay_run(s);
}

void mp_again(struct mp *mp, uint64_t token)
{
	struct relay *s;

	TAILQ_FOREACH(s, &mp->relays, link)
	if (s->token == token && s->is_waiting) {
		s->is_waiting = false;
		relay_run(s);
		return;
	}
}
