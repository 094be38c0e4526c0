// SPDX-License-Identifier: Apache-2.0
/* One request and its response: heads are parsed, rewritten and passed on; bodies flow (proxy_flow.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_internal.h"

#define VIA      "bailey-mesh" /* the same for all, so that it tells nobody who they are */
#define HOPS_MAX 16

const char *const mp_reserved[] = { "x-dstack-target-*", "x-dstack-app-id",   "x-dstack-instance-id",
				    "x-dstack-claims",   "x-dstack-verified", NULL };

static struct http_head *head_get(struct mp *mp, bool is_response)
{
	struct http_head *h = kept_get(&mp->heads, &mp->n_heads, sizeof(*h));

	if (h)
		http_head_init(h, is_response);
	return h;
}

static void head_put(struct mp *mp, struct http_head **h)
{
	kept_put(&mp->heads, &mp->n_heads, *h);
	*h = NULL;
}

/* What is left of the request's head is used up. */
static void head_eat(struct relay *s)
{
	buf_eat(&s->in->in, s->held);
	s->held = 0;
}

void http_reset(struct relay *s)
{
	head_put(s->mp, &s->req);
	head_put(s->mp, &s->resp);
	s->req_whole = s->resp_began = s->was_retried = s->may_retry = s->up_stopped = s->to_head = false;
	s->held = 0;
}

/* --- answers of our own --- */

static const char *reason_of(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{ 200, "OK" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 417, "Expectation Failed" },
		{ 431, "Request Header Fields Too Large" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 508, "Loop Detected" },
		{ 525, "TLS Handshake Failed" },
		{ 526, "Invalid Peer Certificate" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Answer";
}

static void linger(struct relay *s)
{
	s->stage = STAGE_LINGER;
	s->deadline_ms = s->mp->now_ms + LINGER_MS;
}

static void next_request(struct relay *s)
{
	http_reset(s);
	s->stage = STAGE_HEAD;
	s->in->is_streaming = false;
	s->deadline_ms = s->mp->now_ms + s->mp->conf.keepalive_ms;
}

/* gRPC's own mapping of HTTP's statuses (doc/http-grpc-status-mapping), for its numbers of google.rpc.Code. */
static int grpc_status(int status)
{
	switch (status) {
	case 400:
		return 13;
	case 401:
		return 16;
	case 403:
		return 7;
	case 404:
		return 12;
	case 429:
	case 502:
	case 503:
	case 504:
		return 14;
	default:
		return 2;
	}
}

/* A call of gRPC is answered in its own words: 200, with status and message where its client looks for them. */
static size_t grpc_head(char *dst, size_t room, int status, const char *body, size_t len)
{
	int n = snprintf(dst, room,
			 "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: %d\r\nGrpc-Message: ",
			 grpc_status(status));

	for (size_t i = 0; i < len && n >= 0 && (size_t)n + 8 < room; i++) {
		unsigned char c = (unsigned char)body[i];

		if (c >= 0x20 && c <= 0x7e && c != '%')
			dst[n++] = (char)c;
		else
			n += snprintf(dst + n, room - (size_t)n, "%%%02X", c);
	}
	return n < 0 ? 0 : (size_t)n + (size_t)snprintf(dst + n, room - (size_t)n, "\r\nContent-Length: 0\r\n");
}

static bool answer_write(struct relay *s, int status, const char *type, struct mp_text extra, const char *body,
			 size_t len, bool keep)
{
	struct buf *out = &s->in->out;
	size_t room;
	int n;

	if (!buf_need(s->mp, out))
		return false;
	room = s->mp->conf.buffer - out->end;
	if (h2_is_grpc(s->in)) {
		out->end += (uint32_t)grpc_head(out->p + out->end, room / 2, status, body, len);
		memcpy(out->p + out->end, "\r\n", 2);
		out->end += 2;
		return true;
	}
	n = snprintf(out->p + out->end, room,
		     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: %s\r\n%.*s\r\n", status,
		     reason_of(status), type ? type : "text/plain", len, keep ? "keep-alive" : "close", (int)extra.len,
		     extra.len ? extra.p : "");
	if (n < 0 || (size_t)n + len > room)
		return false;
	out->end += (uint32_t)n;
	if (!s->to_head && len) {
		memcpy(out->p + out->end, body, len);
		out->end += (uint32_t)len;
	}
	return true;
}

enum step http_answer(struct relay *s, int status, const char *type, const char *body, size_t len)
{
	return http_answer_with(s, status, type, (struct mp_text){ 0 }, body, len);
}

enum step http_answer_with(struct relay *s, int status, const char *type, struct mp_text extra, const char *body,
			   size_t len)
{
	bool keep = s->keep_alive && s->req_whole && !s->mp->is_draining;

	if (s->out) {
		conn_reset(s->out);
		s->out = NULL;
	}
	if (!answer_write(s, status, type, extra, body, len, keep))
		return STEP_GONE;
	head_eat(s);
	s->resp_began = true;
	if (keep && conn_flush(s->in))
		next_request(s);
	else
		linger(s);
	return STEP_AGAIN;
}

static size_t json_escape(char *dst, size_t room, const char *text)
{
	size_t n = 0;

	for (; *text && n + 7 < room; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			n += (size_t)snprintf(dst + n, room - n, "\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			n += (size_t)snprintf(dst + n, room - n, "\\u%04x", c);
		else
			dst[n++] = (char)c;
	}
	dst[n] = '\0';
	return n;
}

enum step http_failed(struct relay *s, enum mp_error error, const struct err *e)
{
	char text[sizeof(e->where) + sizeof(e->msg) + 4], cause[2048], body[2200];
	int n;

	json_escape(cause, sizeof(cause), err_text(e, text, sizeof(text)));
	n = snprintf(body, sizeof(body), "{\"error\":\"%s: %s\"}", mp_error_type(error), cause);
	return http_answer(s, mp_error_status(error), "application/json", body, (size_t)n);
}

/* --- requests --- */

static enum step request_malformed(struct relay *s, enum http_error error)
{
	enum mp_error as = error == HTTP_E_TOO_LONG || error == HTTP_E_TOO_MANY ? MP_ERR_HEAD_TOO_LARGE
			   : error == HTTP_E_EXPECT                             ? MP_ERR_EXPECTATION
			   : error == HTTP_E_CODING                             ? MP_ERR_NOT_IMPLEMENTED
										: MP_ERR_BAD_REQUEST;
	struct err e = ERR_INIT;

	s->mp->counters.malformed_requests++;
	s->keep_alive = false;
	err_at(&e, -EBADMSG, "request", "%s", http_error_text(error));
	return relay_refuse(s, as, &e);
}

static bool is_idempotent(const struct http_head *h, const char *p)
{
	static const char *const methods[] = { "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (h->method.len == strlen(methods[i]) && memcmp(p + h->method.at, methods[i], h->method.len) == 0)
			return true;
	return false;
}

static enum step request_begin(struct relay *s)
{
	const struct http_head *h = s->req;
	struct err e = ERR_INIT;

	s->requests++;
	s->mp->counters.requests++;
	s->to_head = h->is_head;
	s->to_connect = h->is_connect;
	s->is_http0 = h->minor == 0;
	s->wants_upgrade = h->wants_upgrade;
	s->expects_continue = h->expects_continue;
	s->keep_alive = h->keep_alive;
	s->req_whole = h->framing == HTTP_NONE && !h->is_connect;
	s->may_retry = s->req_whole && !h->wants_upgrade && is_idempotent(h, s->in->in.p + s->in->in.start);
	s->held = h->len;
	s->stage = STAGE_ROUTE;
	s->deadline_ms = s->mp->now_ms + s->mp->conf.connect_ms;
	if (http_head_hops(h, s->in->in.p + s->in->in.start, VIA) >= HOPS_MAX) {
		err_at(&e, -ELOOP, "request", "it has come by %d meshes and goes in circles", HOPS_MAX);
		return relay_refuse(s, MP_ERR_LOOP, &e);
	}
	return STEP_AGAIN;
}

enum step step_head(struct relay *s)
{
	struct conn *c = s->in;

	if (!s->req) {
		if (!buf_len(&c->in) && !conn_read(c)) {
			s->is_over = c->is_eof;
			return c->is_eof ? STEP_GONE : STEP_WAIT;
		}
		s->req = head_get(s->mp, false);
		if (!s->req)
			return STEP_GONE;
		if (s->requests)
			s->deadline_ms = s->mp->now_ms + s->mp->conf.head_ms;
	}
	for (;;) {
		enum h2_hello hello = h2_hello(s);
		enum http_error error = HTTP_OK;

		if (hello == H2_YES) {
			http_reset(s);
			s->stage = STAGE_H2;
			return STEP_AGAIN;
		}
		if (hello == H2_NO)
			error = http_head_parse(s->req, c->in.p + c->in.start, buf_len(&c->in), &s->mp->limits);

		if (error)
			return request_malformed(s, error);
		if (s->req->len)
			return request_begin(s);
		if (!conn_read(c))
			return c->is_eof ? STEP_GONE : STEP_WAIT;
	}
}

/* The head for the upstream, with what there is of the body behind it: one write takes both. */
enum step http_begin(struct relay *s, const struct mp_route *route, struct err *e)
{
	const struct mp_upstream_conf *up = &s->out->up->conf;
	struct http_forward f = { .target = route->target,
				  .target_len = route->target ? strlen(route->target) : 0,
				  .host = up->host[0] ? up->host : NULL,
				  .host_len = strlen(up->host),
				  .headers = route->headers,
				  .headers_len = route->headers_len,
				  .reserved = mp_reserved,
				  .via = VIA };
	struct buf *out = &s->out->out;

	if (buf_need(s->mp, out))
		out->end =
			(uint32_t)http_forward(s->req, s->in->in.p + s->in->in.start, &f, out->p, s->mp->conf.buffer);
	if (!out->end) {
		err_at(e, -E2BIG, "request", "no room for its head and the fields that are added");
		return relay_refuse(s, MP_ERR_HEAD_TOO_LARGE, e);
	}
	flow_begin(&s->up, s->req, mp_reserved);
	if (s->may_retry)
		return STEP_AGAIN;
	head_eat(s);
	head_put(s->mp, &s->req);
	if (!flow_join(s->in, s->out, &s->up))
		return request_malformed(s, s->up.bad);
	if (!s->up.body.is_done)
		conn_stream(s->in);
	return STEP_AGAIN;
}

/* CONNECT that ends here. */
enum step http_connected(struct relay *s)
{
	static const char ok[] = "HTTP/1.1 200 Connection established\r\n\r\n";
	struct buf *out = &s->in->out;

	if (s->req && buf_need(s->mp, out)) {
		memcpy(out->p, ok, sizeof(ok) - 1);
		out->end = sizeof(ok) - 1;
		head_eat(s);
		head_put(s->mp, &s->req);
		s->resp_began = true;
	}
	tunnel_begin(s);
	return STEP_AGAIN;
}

static enum step request_move(struct relay *s)
{
	if (s->up_stopped)
		return STEP_WAIT;
	switch (flow_move(s, s->in, s->out, &s->up)) {
	case MOVED_ALL:
		if (!s->req_whole && !s->resp_began)
			s->deadline_ms = s->mp->now_ms + s->mp->conf.response_ms;
		s->req_whole = !s->to_connect;
		s->in->is_streaming = false;
		return STEP_WAIT;
	case MOVED_BAD:
		return s->resp_began ? STEP_GONE : request_malformed(s, s->up.bad);
	case MOVED_SRC:
		return STEP_GONE;
	case MOVED_DST: /* it may have answered before it closed */
		s->up_stopped = true;
		return STEP_WAIT;
	default:
		return STEP_WAIT;
	}
}

/* --- responses --- */

static enum step response_bad(struct relay *s, enum http_error error)
{
	struct err e = ERR_INIT;

	s->mp->counters.malformed_responses++;
	err_at(&e, -EBADMSG, s->out->up->conf.name, "its response: %s", http_error_text(error));
	return relay_refuse(s, MP_ERR_BAD_RESPONSE, &e);
}

/* A pooled connection may have ended just before it was used: what can be repeated is, once. */
static enum step response_missing(struct relay *s)
{
	struct err e = ERR_INIT;

	if (s->may_retry && s->out->was_pooled && !s->was_retried && s->held && !buf_len(&s->out->in)) {
		conn_reset(s->out);
		s->out = NULL;
		head_put(s->mp, &s->resp);
		s->was_retried = true;
		s->up_stopped = false;
		s->mp->counters.upstream_retries++;
		s->stage = STAGE_ROUTE;
		return STEP_AGAIN;
	}
	err_at(&e, -ECONNRESET, s->out->up->conf.name, "the connection ended before the response");
	return relay_refuse(s, MP_ERR_CONNECTION_FAILED, &e);
}

static bool head_pass(struct relay *s, const struct http_forward *f)
{
	struct buf *out = &s->in->out, *from = &s->out->in;
	size_t n;

	if (!buf_need(s->mp, out))
		return false;
	n = http_forward(s->resp, from->p + from->start, f, out->p + out->end, s->mp->conf.buffer - out->end);
	out->end += (uint32_t)n;
	buf_eat(from, s->resp->len);
	return n > 0;
}

/* 100 and the like are passed on, but to HTTP/1.0, which knows none. */
static enum step response_interim(struct relay *s)
{
	struct http_forward f = { 0 };

	if (s->is_http0)
		buf_eat(&s->out->in, s->resp->len);
	else if (!head_pass(s, &f))
		return response_bad(s, HTTP_E_TOO_LONG);
	http_head_init(s->resp, true);
	return conn_flush(s->in) ? STEP_AGAIN : STEP_WAIT;
}

static enum step response_begin(struct relay *s)
{
	const struct http_head *h = s->resp;
	struct http_forward f = { .unchunk = s->is_http0 && h->framing == HTTP_CHUNKED };

	if (h->status == 101 && !(s->wants_upgrade && h->wants_upgrade))
		return response_bad(s, HTTP_E_STATUS);
	s->keep_alive = s->keep_alive && !s->mp->is_draining && h->framing != HTTP_UNTIL_CLOSE && !f.unchunk;
	/* the rest of the request will not be taken */
	if (!s->req_whole && (!h->keep_alive || s->expects_continue))
		s->keep_alive = false;
	f.close = !s->keep_alive && h->framing != HTTP_TUNNEL;
	f.keep_alive = s->keep_alive && s->is_http0;
	s->out_keep = h->keep_alive;
	flow_begin(&s->down, h, NULL);
	s->down.unchunk = f.unchunk;
	head_eat(s);
	if (!head_pass(s, &f))
		return response_bad(s, HTTP_E_TOO_LONG);
	s->resp_began = true;
	head_put(s->mp, &s->resp);
	head_put(s->mp, &s->req);
	s->deadline_ms = s->mp->now_ms + s->mp->conf.idle_ms;
	if (s->down.body.framing == HTTP_TUNNEL) {
		tunnel_begin(s);
		return STEP_AGAIN;
	}
	if (!flow_join(s->out, s->in, &s->down))
		return STEP_GONE;
	if (!s->down.body.is_done)
		conn_stream(s->out);
	return STEP_AGAIN;
}

/* AGAIN: the response has begun, or the stage is another. */
static enum step response_head(struct relay *s)
{
	struct conn *c = s->out;
	enum http_error error;

	if (!s->resp)
		s->resp = head_get(s->mp, true);
	if (!s->resp)
		return STEP_GONE;
	for (;;) {
		error = buf_len(&c->in)
				? http_head_parse(s->resp, c->in.p + c->in.start, buf_len(&c->in), &s->mp->limits)
				: HTTP_OK;
		if (error)
			return response_bad(s, error);
		if (!s->resp->len) {
			if (conn_read(c))
				continue;
			return c->is_eof ? response_missing(s) : STEP_WAIT;
		}
		error = http_head_answers(s->resp, s->to_head, s->to_connect);
		if (error)
			return response_bad(s, error);
		if (s->resp->status >= 200 || s->resp->status == 101)
			return response_begin(s);
		if (!conn_flush(s->in))
			return STEP_WAIT;
		if (response_interim(s) != STEP_AGAIN)
			return STEP_WAIT;
	}
}

static enum step exchange_end(struct relay *s)
{
	struct conn *out = s->out;

	s->out = NULL;
	if (s->req_whole && s->out_keep && buf_len(&out->out) == 0) {
		pool_put(out, s->in->peer);
	} else {
		conn_shut(out);
		conn_free(out);
	}
	if (s->keep_alive && s->req_whole)
		next_request(s);
	else
		linger(s);
	return STEP_AGAIN;
}

/*
 * The whole answer came before the whole request, and nobody said that it would end there. A client that waited for 100
 * will not send its body: what it sends next could be taken for one.
 */
static bool may_still_send(const struct relay *s)
{
	return !s->req_whole && s->out_keep && !s->out->has_rdhup && s->keep_alive && !s->up_stopped &&
	       !s->out->cannot_write && !s->to_connect && !s->expects_continue;
}

static enum step response_move(struct relay *s)
{
	switch (flow_move(s, s->out, s->in, &s->down)) {
	case MOVED_ALL:
		return may_still_send(s) ? STEP_WAIT : exchange_end(s);
	case MOVED_WAIT:
		return STEP_WAIT;
	default:
		return STEP_GONE;
	}
}

/* Nothing is to be read from the client, and yet it has an event: has it gone? */
static bool client_is_gone(struct relay *s)
{
	char byte;

	if (s->in->stream)
		return s->in->is_broken;
	if (!s->req_whole || s->in->is_drained || recv(s->in->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
		return false;
	s->in->is_drained = errno == EAGAIN;
	return errno != EAGAIN && errno != EINTR && errno != EIO; /* a record of the kernel's TLS that is no data */
}

enum step step_exchange(struct relay *s)
{
	enum step step = request_move(s);

	if (step != STEP_WAIT)
		return step;
	if (!s->resp_began) {
		step = response_head(s);
		if (step == STEP_WAIT && client_is_gone(s))
			return STEP_GONE;
		if (step != STEP_AGAIN || s->stage != STAGE_EXCHANGE)
			return step;
	}
	return response_move(s);
}
