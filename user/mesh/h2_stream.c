// SPDX-License-Identifier: Apache-2.0
/* A stream as the connection that a relay sees: what it reads, and how either side ends it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"

struct h2_stream *stream_new(struct h2 *h, int32_t id)
{
	struct h2_stream *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->h2 = h;
	st->id = id;
	TAILQ_INSERT_TAIL(&h->streams, st, link);
	h->n_streams++;
	h->mp->counters.streams += h->is_server;
	return st;
}

static void uncount(struct h2_stream *st)
{
	st->is_closed = true;
	st->h2->n_streams--;
	st->h2->mp->counters.streams -= st->h2->is_server;
	st->h2->idle_ms = st->h2->c->since_ms = st->h2->mp->now_ms;
}

static void stream_free(struct h2_stream *st)
{
	if (st->h2) {
		if (!st->is_closed)
			uncount(st);
		TAILQ_REMOVE(&st->h2->streams, st, link);
		if (st->id) /* of one that was never sent nghttp2 may still tell the end */
			nghttp2_session_set_stream_user_data(st->h2->ng, st->id, NULL);
		if (!st->h2->n_streams) /* it may have waited for this */
			h2_wake(st->h2);
	}
	if (st->in)
		evbuffer_free(st->in);
	if (st->out)
		evbuffer_free(st->out);
	free(st->in_trailers);
	free(st->out_trailers);
	free(st);
}

/* --- its connection --- */

static void on_stream(int fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd, (void)what;
	mp_clock(c->mp);
	if (c == c->relay->in && c->is_broken)
		relay_free(c->relay, true);
	else
		relay_run(c->relay);
}

struct conn *stream_conn(struct h2_stream *st, struct relay *s)
{
	struct conn *c = calloc(1, sizeof(*c)), *socket = st->h2->c;

	if (!c)
		return NULL;
	c->mp = st->h2->mp;
	c->relay = s;
	c->fd = -1;
	c->phase = PHASE_OPEN;
	c->stream = st;
	c->peer = mp_peer_ref(socket->peer);
	c->owner = mp_peer_ref(socket->owner);
	c->up = socket->up ? upstream_ref(socket->up) : NULL;
	event_assign(&c->ev, c->mp->conf.base, -1, EV_PERSIST, on_stream, c);
	st->c = c;
	return c;
}

void stream_wake(struct h2_stream *st)
{
	if (st->c)
		event_active(&st->c->ev, EV_READ, 0);
}

bool h2_is_grpc(const struct conn *c)
{
	return c->stream && c->stream->is_grpc;
}

struct conn *h2_socket(struct conn *c)
{
	if (!c->stream)
		return c;
	return c->stream->h2 ? c->stream->h2->c : NULL;
}

SSL *h2_ssl(struct conn *c)
{
	struct conn *socket = h2_socket(c);

	return socket ? socket->ssl : NULL;
}

void h2_each_relay(const struct conn *socket, void (*each)(struct relay *s, void *arg), void *arg)
{
	struct h2_stream *st;

	if (!socket->session)
		return;
	TAILQ_FOREACH(st, &socket->session->streams, link)
	if (st->c || !st->is_closed)
		each(st->c ? st->c->relay : NULL, arg);
}

/* --- what is read from it --- */

static void consume(struct h2_stream *st, size_t n)
{
	if (!st->h2 || st->is_closed)
		return;
	nghttp2_session_consume_stream(st->h2->ng, st->id, n);
	h2_wake(st->h2);
}

static size_t read_chunk(struct h2_stream *st, char *p, size_t len, size_t have)
{
	size_t n;

	if (len <= 16)
		return 0;
	have = have < len - 16 ? have : len - 16;
	n = (size_t)snprintf(p, len, "%zx\r\n", have);
	evbuffer_remove(st->in, p + n, have);
	memcpy(p + n + have, "\r\n", 2);
	consume(st, have);
	return n + have + 2;
}

/* The last chunk and the trailers, which go in whole or wait for room. */
size_t stream_read_end(struct conn *c, char *p, size_t len)
{
	const char *trailers = c->stream->in_trailers ? c->stream->in_trailers : "";
	size_t n = strlen(trailers);

	if (!c->stream->in_chunked) {
		c->is_eof = true;
		return 0;
	}
	if (n + 5 > len)
		return 0;
	memcpy(p, "0\r\n", 3);
	memcpy(p + 3, trailers, n);
	memcpy(p + 3 + n, "\r\n", 2);
	c->is_eof = true;
	return n + 5;
}

size_t h2_read(struct conn *c, char *p, size_t len)
{
	struct h2_stream *st = c->stream;
	size_t have = evbuf_len(st->in);

	if (c->has_shut) { /* the answer is out: what else comes is not wanted */
		c->is_eof = true;
		return 0;
	}
	if (!st->in_began)
		return 0;
	if (!have)
		return st->in_end ? stream_read_end(c, p, len) : 0;
	if (st->in_chunked)
		return read_chunk(st, p, len, have);
	have = have < len ? have : len;
	evbuffer_remove(st->in, p, have);
	consume(st, have);
	return have;
}

/* --- how it ends --- */

/* For nghttp2 it is over: what came whole can still be read, all else is lost. */
void stream_closed(struct h2_stream *st, uint32_t code)
{
	struct conn *c = st->c;

	if (st->is_closed)
		return;
	uncount(st);
	if (!c) {
		stream_free(st);
		return;
	}
	c->cannot_write = true;
	if (code != NGHTTP2_NO_ERROR || !st->in_end) {
		st->reset = code;
		c->is_eof = c->is_broken = true;
	}
	stream_wake(st);
}

void stream_lost(struct h2_stream *st)
{
	struct conn *c = st->c;

	if (!c) {
		stream_free(st);
		return;
	}
	if (!st->is_closed) {
		uncount(st);
		c->cannot_write = true;
		if (!st->in_end || st->h2->is_server)
			c->is_eof = c->is_broken = true;
	}
	TAILQ_REMOVE(&st->h2->streams, st, link);
	st->h2 = NULL;
	stream_wake(st);
}

void stream_reset(struct h2_stream *st, uint32_t code)
{
	if (st->is_closed)
		return;
	st->reset = code;
	if (st->id)
		nghttp2_submit_rst_stream(st->h2->ng, NGHTTP2_FLAG_NONE, st->id, code);
	h2_wake(st->h2);
}

/* A relay's end in disorder is told with the code that ended its other side. */
void h2_pass_code(const struct conn *from, struct conn *to)
{
	if (from && to && from->stream && to->stream && from->stream->reset && !to->stream->reset)
		to->stream->reset = from->stream->reset;
}

static void detach_server(struct h2_stream *st, bool reset)
{
	if (!st->out_end || reset)
		stream_reset(st, st->reset ? st->reset : NGHTTP2_INTERNAL_ERROR);
	else if (st->was_sent && !st->in_end)
		stream_reset(st, NGHTTP2_NO_ERROR);
	else
		st->must_stop = true; /* where the request is not whole */
}

static void detach_client(struct h2_stream *st, bool reset)
{
	struct h2 *h = st->h2;

	/* nothing was heard for long: whoever asks next asks elsewhere */
	if (reset && h->mp->now_ms - h->heard_ms >= H2_SILENCE_MS)
		h->is_closing = true;
	if (reset || !st->out_end || !st->in_end)
		stream_reset(st, st->in_end && !reset ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
}

/* The relay lets go of it. */
void h2_detach(struct conn *c, bool reset)
{
	struct h2_stream *st = c->stream;

	c->stream = NULL;
	st->c = NULL;
	if (st->h2)
		st->h2->c->has_cut |= reset;
	if (!st->h2 || st->is_closed || !st->id)
		stream_free(st);
	else if (st->h2->is_server)
		detach_server(st, reset);
	else
		detach_client(st, reset);
}

void h2_shut(struct conn *c)
{
	struct h2_stream *st = c->stream;

	if (st->out_began && st->body.framing == HTTP_UNTIL_CLOSE && !st->out_end)
		stream_end(st);
}
