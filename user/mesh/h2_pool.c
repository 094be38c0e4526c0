// SPDX-License-Identifier: Apache-2.0
/*
 * Sessions to upstreams: who finds one takes a stream of it, who finds one being made waits for it, and who finds none
 * makes one. A peer that chooses HTTP/1.1 is remembered as such for a while.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "h2.h"

bool h2_is_wanted(const struct relay *s, const struct mp_upstream *up)
{
	if (up->conf.h2 == MP_H2_PRIOR)
		return true;
	return up->conf.h2 == MP_H2_ALPN && s->in->stream && up->h1_until_ms <= s->mp->now_ms;
}

bool h2_offer(SSL *ssl)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1";

	return SSL_set_alpn_protos(ssl, both, sizeof(both) - 1) == 0;
}

static bool has_chosen(SSL *ssl, const char *protocol)
{
	const unsigned char *p;
	unsigned int len;

	SSL_get0_alpn_selected(ssl, &p, &len);
	return len == strlen(protocol) && memcmp(p, protocol, len) == 0;
}

/* --- inbound --- */

#define PREFACE_LEN 24

/* By ALPN; without it by the first bytes, as between parties that know each other and through a tunnel. */
enum h2_hello h2_hello(const struct relay *s)
{
	const struct buf *in = &s->in->in;
	size_t len = buf_len(in) < PREFACE_LEN ? buf_len(in) : PREFACE_LEN;

	if (!s->listener->conf.h2 || s->in->stream || s->requests)
		return H2_NO;
	if (s->in->ssl && has_chosen(s->in->ssl, "h2"))
		return H2_YES;
	if ((s->in->ssl && has_chosen(s->in->ssl, "http/1.1")) ||
	    memcmp(in->p + in->start, NGHTTP2_CLIENT_MAGIC, len) != 0)
		return H2_NO;
	return len == PREFACE_LEN ? H2_YES : H2_UNKNOWN;
}

/* --- outbound --- */

static bool takes_more(const struct h2 *h)
{
	return !h->is_closing && !h->is_flooded && !h->c->is_eof && !h->c->is_broken && !h->c->cannot_write &&
	       nghttp2_session_check_request_allowed(h->ng) &&
	       h->n_streams < nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) &&
	       h->n_streams < H2_STREAMS && !peer_ends_by(h->c->peer, time(NULL) + MP_LAST_S);
}

/* Nobody's streams are on a connection with another's: it is stopped, and held up, with all that is on it. */
static bool is_for(struct conn *c, struct relay *s)
{
	return c->owner == s->in->peer && guard_is_same(c, s);
}

static struct conn *stream_of(struct h2 *h, struct relay *s)
{
	struct h2_stream *st = stream_new(h, 0);
	struct conn *c = st ? stream_conn(st, s) : NULL;

	if (st && !c)
		stream_lost(st);
	if (c)
		h->c->requests++;
	return c;
}

struct conn *h2_take(struct mp_upstream *up, struct relay *s, bool *must_wait)
{
	struct conn *c;
	struct h2 *h;

	*must_wait = false;
	TAILQ_FOREACH(h, &up->sessions, link)
	if (is_for(h->c, s) && takes_more(h) && (c = stream_of(h, s))) {
		c->was_pooled = true;
		return c;
	}
	TAILQ_FOREACH(c, &up->dialling, link)
	*must_wait |= is_for(c, s);
	if (*must_wait)
		s->waits_for = up;
	return NULL;
}

void h2_dialling(struct conn *c)
{
	c->is_dialling = true;
	TAILQ_INSERT_TAIL(&c->up->dialling, c, link);
}

/* Whatever came of it: those who waited ask again. */
void h2_dialled(struct conn *c)
{
	struct relay *s;

	if (!c->is_dialling)
		return;
	c->is_dialling = false;
	TAILQ_REMOVE(&c->up->dialling, c, link);
	TAILQ_FOREACH(s, &c->mp->relays, link)
	if (s->waits_for == c->up) {
		s->waits_for = NULL;
		s->is_waiting = false;
		event_active(&s->in->ev, EV_WRITE, 0);
	}
}

/* It is open. The head that waits in it goes into a stream, or stays where it is for HTTP/1.1. */
bool h2_settle(struct relay *s)
{
	struct conn *c = s->out, *stream;
	struct h2 *h;

	if (!c->is_dialling)
		return true;
	if (c->ssl && !has_chosen(c->ssl, "h2")) {
		c->up->h1_until_ms = c->mp->now_ms + H2_OLD_MS;
		h2_dialled(c);
		return true;
	}
	h = h2_new(c, false);
	if (!h)
		return false;
	TAILQ_INSERT_HEAD(&c->up->sessions, h, link);
	stream = stream_of(h, s);
	h2_dialled(c);
	if (!stream) /* both go with the connection */
		return false;
	c->relay = NULL;
	stream->out = c->out;
	c->out = (struct buf){ 0 };
	s->out = stream;
	return true;
}

static void session_close(struct h2 *h, bool reset)
{
	if (reset) {
		conn_reset(h->c);
		return;
	}
	conn_shut(h->c);
	conn_free(h->c);
}

static bool is_unneeded(const struct h2 *h)
{
	return !h->n_streams && (h->is_closing || h->c->up->is_dropped || h->mp->is_draining);
}

void h2_event(struct conn *c)
{
	struct h2 *h = c->session;

	if (!h2_run(h) || is_unneeded(h))
		session_close(h, false);
}

void h2_pool_close(struct mp_upstream *up)
{
	struct h2 *h, *next;

	for (h = TAILQ_FIRST(&up->sessions); h; h = next) {
		next = TAILQ_NEXT(h, link);
		h->is_closing = true;
		if (!h->n_streams)
			session_close(h, false);
	}
}

void h2_pool_cut(struct mp_upstream *up)
{
	while (!TAILQ_EMPTY(&up->sessions))
		session_close(TAILQ_FIRST(&up->sessions), true);
}

/* Does a peer that owes answers still live? Not asked of backends: gRPC's servers take offence. */
static bool is_silent(struct h2 *h)
{
	int64_t now = h->mp->now_ms;

	if (!h->n_streams || !h->c->up->conf.is_tls || now - h->heard_ms < H2_SILENCE_MS)
		return false;
	if (h->asked_ms)
		return now - h->asked_ms >= H2_SILENCE_MS;
	h->asked_ms = now;
	nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL);
	h2_wake(h);
	return false;
}

void h2_pool_sweep(struct mp_upstream *up)
{
	int64_t now_s = time(NULL);
	struct h2 *h, *next;

	for (h = TAILQ_FIRST(&up->sessions); h; h = next) {
		bool is_idle = !h->n_streams && h->mp->now_ms - h->idle_ms >= up->conf.idle_ms;
		bool is_over = peer_ends_by(h->c->peer, now_s) || peer_ends_by(h->c->owner, now_s) || is_silent(h);

		next = TAILQ_NEXT(h, link);
		if (is_idle || is_over)
			session_close(h, is_over);
	}
}

void h2_each(struct mp_upstream *up, void (*each)(struct conn *socket, void *arg), void *arg)
{
	struct h2 *h, *next;

	for (h = TAILQ_FIRST(&up->sessions); h; h = next) {
		next = TAILQ_NEXT(h, link);
		each(h->c, arg);
	}
}

unsigned h2_streams(const struct conn *c)
{
	return c->session ? c->session->n_streams : 0;
}
