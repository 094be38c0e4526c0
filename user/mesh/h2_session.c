// SPDX-License-Identifier: Apache-2.0
/* A session: bytes to and from its socket, clocks, floods, the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"

struct h2 *h2_new(struct conn *c, bool is_server)
{
	struct h2 *h = calloc(1, sizeof(*h));
	struct mp *mp = c->mp;

	if (!h)
		return NULL;
	h->mp = mp;
	h->c = c;
	h->is_server = is_server;
	h->moved_ms = h->heard_ms = h->idle_ms = c->since_ms = mp->now_ms;
	h->calm = (struct h2_allowance){ mp->now_ms, H2_CALM };
	h->resets = (struct h2_allowance){ mp->now_ms, H2_RESETS };
	TAILQ_INIT(&h->streams);
	if (h2_session_make(h) < 0) {
		free(h);
		return NULL;
	}
	c->session = h;
	mp->counters.sessions++;
	ktls_free(c);
	conn_stream(c);
	h2_wake(h);
	return h;
}

void h2_free(struct h2 *h)
{
	struct h2_stream *st, *next;

	if (!h)
		return;
	h->c->session = NULL;
	if (!h->is_server)
		TAILQ_REMOVE(&h->c->up->sessions, h, link);
	for (st = TAILQ_FIRST(&h->streams); st; st = next) {
		next = TAILQ_NEXT(st, link);
		stream_lost(st);
	}
	nghttp2_session_del(h->ng);
	buf_drop(h->mp, &h->head);
	h->mp->counters.sessions--;
	free(h);
}

void h2_wake(struct h2 *h)
{
	event_active(&h->c->ev, EV_WRITE, 0);
}

/* --- what is too much --- */

bool h2_allow(struct h2 *h, struct h2_allowance *a, uint32_t most, uint32_t each_s)
{
	int64_t passed = h->mp->now_ms - a->at_ms;

	if (passed >= 100) {
		uint64_t more = a->left + (uint64_t)passed * each_s / 1000;

		a->left = more < most ? (uint32_t)more : most;
		a->at_ms = h->mp->now_ms;
	}
	if (!a->left)
		return false;
	a->left--;
	return true;
}

void h2_flooded(struct h2 *h, const char *why)
{
	struct err e = ERR_INIT;

	if (h->is_flooded)
		return;
	h->is_flooded = true;
	h->mp->counters.h2_floods++;
	err_at(&e, -EPROTO, "HTTP/2", "%s", why);
	if (h->mp->conf.ops.refused)
		h->mp->conf.ops.refused(NULL, MP_ERR_BAD_REQUEST, &e, h->mp->conf.arg);
	nghttp2_session_terminate_session(h->ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* --- bytes --- */

/* A block is judged when it is whole: until then it has a bound in bytes, and a clock (h2_deadline). */
static void count_block(struct h2 *h, size_t n)
{
	h->block_bytes = h->is_block_open ? h->block_bytes + (uint32_t)n : 0;
	if (h->block_bytes > H2_BLOCK_MAX)
		h2_flooded(h, "a header block without end");
}

/* False: nothing more is to be read. */
static bool receive(struct h2 *h, uint32_t *budget)
{
	struct conn *c = h->c;

	while (!h->is_flooded && *budget && (buf_len(&c->in) || conn_read(c))) {
		uint32_t len = buf_len(&c->in);
		ssize_t n = nghttp2_session_mem_recv(h->ng, (uint8_t *)c->in.p + c->in.start, len);

		if (n < 0) {
			if (n == NGHTTP2_ERR_FLOODED)
				h2_flooded(h, "answers that it does not read");
			return false;
		}
		buf_eat(&c->in, len);
		count_block(h, len);
		h->moved_ms = h->heard_ms = h->mp->now_ms;
		h->asked_ms = 0;
		*budget -= len < *budget ? len : *budget;
	}
	return !c->is_eof && !c->is_broken && !h->is_flooded;
}

/* nghttp2 gives what it has frame by frame; many go in one write. */
static bool fill(struct h2 *h)
{
	struct buf *out = &h->c->out;

	if (!buf_need(h->mp, out))
		return false;
	for (;;) {
		size_t room = h->mp->conf.buffer - out->end;

		if (!h->n_pending) {
			ssize_t n = nghttp2_session_mem_send(h->ng, &h->pending);

			if (n <= 0)
				return n == 0;
			h->n_pending = (size_t)n;
		}
		room = room < h->n_pending ? room : h->n_pending;
		memcpy(out->p + out->end, h->pending, room);
		out->end += (uint32_t)room;
		h->pending += room;
		h->n_pending -= room;
		if (h->n_pending)
			return true;
	}
}

/* False: nobody takes it any more. */
static bool transmit(struct h2 *h, uint32_t *budget)
{
	struct conn *c = h->c;
	bool is_good = true;

	for (;;) {
		uint32_t len = buf_len(&c->out);

		if (!conn_flush(c))
			return !c->cannot_write && !c->is_broken;
		h->moved_ms = len ? h->mp->now_ms : h->moved_ms;
		if (!is_good || !*budget)
			return is_good;
		is_good = fill(h);
		len = buf_len(&c->out);
		if (!len) {
			buf_done(h->mp, &c->out);
			return is_good;
		}
		*budget -= len < *budget ? len : *budget;
	}
}

bool h2_run(struct h2 *h)
{
	uint32_t in = ROUND_BYTES, out = ROUND_BYTES;
	bool is_good = receive(h, &in);

	is_good = transmit(h, &out) && is_good;
	buf_done(h->mp, &h->c->in);
	if (!in || !out)
		h2_wake(h);
	if (!is_good || h->is_flooded)
		return false;
	/* in a drain: the peer knows which was the last stream, and it has ended */
	if (h->was_told && !h->n_streams && !buf_len(&h->c->out))
		return false;
	return nghttp2_session_want_read(h->ng) || nghttp2_session_want_write(h->ng);
}

/* --- inbound: the socket's relay --- */

/* What was said last must arrive before the socket goes. */
static enum step finish(struct relay *s)
{
	struct conn *c = s->in;

	s->is_over = !c->session->n_streams || !c->is_eof;
	h2_free(c->session);
	if (c->is_broken || c->cannot_write || c->is_eof)
		return STEP_GONE;
	s->stage = STAGE_LINGER;
	s->req_whole = false;
	s->deadline_ms = s->mp->now_ms + LINGER_MS;
	return STEP_AGAIN;
}

/* 0: none, the streams have their own. */
static int64_t deadline(const struct h2 *h)
{
	const struct mp_conf *conf = &h->mp->conf;

	if (h->notice_ms && !h->was_told)
		return h->notice_ms + H2_NOTICE_MS;
	if (h->is_block_open)
		return h->block_ms + conf->head_ms;
	return h->n_streams ? h->moved_ms + conf->idle_ms : h->idle_ms + conf->keepalive_ms;
}

enum step step_h2(struct relay *s)
{
	if (!s->in->session && !h2_new(s->in, true))
		return STEP_GONE;
	if (!h2_run(s->in->session))
		return finish(s);
	s->deadline_ms = deadline(s->in->session);
	return STEP_WAIT;
}

static void tell_last(struct h2 *h)
{
	h->was_told = true;
	nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng),
			      NGHTTP2_NO_ERROR, NULL, 0);
	h2_wake(h);
}

/* First that there will be an end, then, when what was under way has come, which stream is the last (RFC 9113, 6.8). */
void h2_drain(struct h2 *h)
{
	h->notice_ms = h->mp->now_ms;
	if (h->n_streams)
		nghttp2_submit_shutdown_notice(h->ng);
	else
		tell_last(h);
	h2_wake(h);
}

/* Its deadline has passed. */
void h2_late(struct relay *s)
{
	struct h2 *h = s->in->session;

	if (h->notice_ms && !h->was_told) {
		tell_last(h);
		s->deadline_ms = deadline(h);
		return;
	}
	s->mp->counters.timeouts += h->is_block_open || h->n_streams;
	h->is_closing = true;
	nghttp2_session_terminate_session(h->ng, NGHTTP2_NO_ERROR);
	h2_run(h);
	s->is_running = true;
	if (finish(s) == STEP_GONE) {
		s->is_running = false;
		relay_free(s, true);
		return;
	}
	s->is_running = false;
	relay_run(s);
}
