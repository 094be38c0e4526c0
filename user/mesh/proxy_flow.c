// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes from one connection to the other, as many as the other takes: what it does not take stays in one buffer, and
 * then the source is not read, so that its sender waits.
 */
#include <string.h>

#include "proxy_internal.h"

/* --- writes at the end of a turn --- */

/*
 * Each head, with what there is of the body, is written when all that was ready in this turn of the loop has been read:
 * whom the first write wakes finds the others at once, and is not woken for each. Nobody waits for a clock.
 */
void due_drop(struct relay *s)
{
	if (s->due)
		s->mp->due[s->due - 1] = NULL;
	s->due = 0;
}

void due_flush(struct mp *mp)
{
	mp->is_flushing = true; /* nobody is added */
	for (unsigned i = 0; i < mp->n_due; i++) {
		struct relay *s = mp->due[i];

		if (!s)
			continue;
		s->due = 0;
		relay_run(s);
	}
	mp->n_due = 0;
	mp->is_flushing = false;
}

static void on_turn_end(int fd, short what, void *arg)
{
	(void)fd, (void)what;
	due_flush(arg);
}

void due_init(struct mp *mp)
{
	event_assign(&mp->turn_end, mp->conf.base, -1, 0, on_turn_end, mp);
}

/* True: what waits in dst->out is written when all that is ready has been read. */
static bool is_for_later(struct relay *s, const struct conn *dst)
{
	struct mp *mp = s->mp;

	if (!buf_len(&dst->out) || dst->stream)
		return false;
	if (s->due)
		return true;
	if (mp->is_flushing || mp->n_due == DUE_MAX)
		return false;
	if (!mp->n_due)
		event_active(&mp->turn_end, EV_TIMEOUT, 0);
	mp->due[mp->n_due++] = s;
	s->due = (uint8_t)mp->n_due;
	return true;
}

/* What is whole and checked at the front of the buffer. */
static enum http_error flow_check(struct conn *src, struct flow *f)
{
	size_t framing = 0, whole = 0;
	enum http_error error;

	if (!f->unchunk) {
		error = http_body_scan(&f->body, src->in.p + src->in.start, buf_len(&src->in), &whole);
	} else {
		error = http_body_next(&f->body, src->in.p + src->in.start, buf_len(&src->in), &framing, &whole);
		if (!error)
			buf_eat(&src->in, (uint32_t)framing);
	}
	f->ready = error ? 0 : (uint32_t)whole;
	f->bad = (uint8_t)error;
	return error;
}

void flow_begin(struct flow *f, const struct http_head *h, const char *const *reserved)
{
	http_body_init(&f->body, h, reserved);
	f->ready = 0;
	f->unchunk = f->is_bulk = false;
}

bool flow_is_opaque(const struct conn *src, const struct conn *dst, const struct flow *f)
{
	if (src->stream || dst->stream) /* of HTTP/2: no socket of its own */
		return false;
	return f->body.framing == HTTP_TUNNEL || (f->body.framing == HTTP_LENGTH && f->body.left >= src->mp->conf.bulk);
}

static bool flow_has_moved(const struct relay *s, const struct conn *src)
{
	return (src == s->in ? s->bytes_up : s->bytes_down) >= s->mp->conf.ktls_after;
}

static enum moved flow_ended(struct conn *src, struct flow *f)
{
	bool may_end = f->body.framing == HTTP_UNTIL_CLOSE || f->body.framing == HTTP_TUNNEL;

	if (!src->is_eof)
		return MOVED_WAIT;
	if (!may_end || src->is_broken || src->is_truncated || buf_len(&src->in))
		return MOVED_SRC;
	f->body.is_done = true;
	return MOVED_ALL;
}

/* WAIT with f->ready: there is something to write. */
static enum moved flow_fill(struct conn *src, struct conn *dst, struct flow *f)
{
	while (!f->body.is_done) {
		size_t n;

		if (buf_len(&src->in) && flow_check(src, f))
			return MOVED_BAD;
		if (f->ready)
			return MOVED_WAIT;
		if (f->body.is_done)
			break;
		n = conn_read(src);
		if (!n)
			return flow_ended(src, f);
		f->is_bulk = n >= src->mp->conf.bulk && splice_may(src, dst, f);
	}
	return MOVED_ALL;
}

static void flow_count(struct relay *s, const struct conn *src, size_t n)
{
	bool is_up = src == s->in;

	*(is_up ? &s->bytes_up : &s->bytes_down) += n;
	*(is_up ? &s->mp->counters.bytes_up : &s->mp->counters.bytes_down) += n;
}

static bool has_had_turn(struct relay *s, size_t n)
{
	if (s->budget > n) {
		s->budget -= (uint32_t)n;
		return false;
	}
	s->budget = 0;
	event_active(&s->in->ev, EV_WRITE, 0);
	return true;
}

void flow_moved(struct relay *s, const struct conn *src, size_t n)
{
	if (!n)
		return;
	flow_count(s, src, n);
	s->moved_ms = s->mp->now_ms;
	s->deadline_ms = s->moved_ms + s->mp->conf.idle_ms;
}

/* WAIT with *again: more may be had at once. */
static enum moved flow_splice(struct relay *s, struct conn *src, struct conn *dst, struct flow *f, bool *again)
{
	size_t n;
	bool more = splice_move(s, src, dst, f, &n);

	flow_moved(s, src, n);
	if (dst->cannot_write || dst->is_broken)
		return MOVED_DST;
	if (f->body.is_done && !f->piped)
		return MOVED_ALL;
	if (!more && !f->piped)
		return flow_ended(src, f);
	*again = more && !has_had_turn(s, n);
	return MOVED_WAIT;
}

enum moved flow_move(struct relay *s, struct conn *src, struct conn *dst, struct flow *f)
{
	for (;;) {
		enum moved moved;
		size_t n;

		if (is_for_later(s, dst))
			return MOVED_WAIT;
		if (!conn_flush(dst))
			return dst->cannot_write || dst->is_broken ? MOVED_DST : MOVED_WAIT;
		if (!f->piped && !ktls_turn(src, dst, flow_is_opaque(src, dst, f) && flow_has_moved(s, src)))
			return MOVED_DST;
		if (f->piped || (f->is_bulk && !f->ready && !buf_len(&src->in))) {
			bool again = false;

			moved = flow_splice(s, src, dst, f, &again);
			if (again)
				continue;
			return moved;
		}
		moved = f->ready ? MOVED_WAIT : flow_fill(src, dst, f);
		if (moved == MOVED_WAIT && !f->ready && ktls_is_due(src))
			continue;
		if (moved != MOVED_WAIT || !f->ready)
			return moved;
		n = conn_write(dst, src->in.p + src->in.start, f->ready);
		buf_eat(&src->in, (uint32_t)n);
		f->ready -= (uint32_t)n;
		flow_moved(s, src, n);
		if (f->ready)
			return dst->cannot_write || dst->is_broken ? MOVED_DST : MOVED_WAIT;
		if (has_had_turn(s, n))
			return MOVED_WAIT;
	}
}

bool flow_join(struct conn *src, struct conn *dst, struct flow *f)
{
	uint32_t room = src->mp->conf.buffer - dst->out.end, n;

	if (f->body.is_done || !buf_len(&src->in))
		return true;
	if (flow_check(src, f))
		return false;
	n = f->ready < room ? f->ready : room;
	memcpy(dst->out.p + dst->out.end, src->in.p + src->in.start, n);
	dst->out.end += n;
	buf_eat(&src->in, n);
	f->ready -= n;
	flow_count(src->relay, src, n);
	return true;
}

/* --- tunnels --- */

void tunnel_begin(struct relay *s)
{
	struct http_body stream = { .framing = HTTP_TUNNEL };

	s->up = s->down = (struct flow){ .body = stream };
	conn_stream(s->in);
	conn_stream(s->out);
	s->stage = STAGE_TUNNEL;
	s->deadline_ms = s->mp->now_ms + s->mp->conf.idle_ms;
	s->mp->counters.tunnels++;
	sockmap_begin(s);
}

/* ALL: one end closed its side, and so did we at the other. */
static enum moved tunnel_half(struct relay *s, struct conn *src, struct conn *dst, struct flow *f)
{
	enum moved moved = MOVED_ALL;

	if (f->is_joined) {
		moved = sockmap_watch(s, src, dst, f);
		if (moved != MOVED_ALL)
			return moved;
	}
	if (!dst->has_shut)
		moved = flow_move(s, src, dst, f);
	if (moved == MOVED_ALL && !conn_shut(dst))
		return MOVED_WAIT;
	return moved;
}

enum step step_tunnel(struct relay *s)
{
	enum moved up = tunnel_half(s, s->in, s->out, &s->up);
	enum moved down = tunnel_half(s, s->out, s->in, &s->down);

	s->is_over = up == MOVED_ALL && down == MOVED_ALL;
	if (s->is_over || up > MOVED_ALL || down > MOVED_ALL)
		return STEP_GONE;
	return STEP_WAIT;
}
