// SPDX-License-Identifier: Apache-2.0
/* What nghttp2 tells of a session: header blocks become text, DATA is put aside for its relay, all else is counted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"

static struct h2_stream *stream_of(nghttp2_session *ng, int32_t id)
{
	return nghttp2_session_get_stream_user_data(ng, id);
}

/* --- header blocks --- */

static enum http2_kind kind_of(const struct h2 *h, const struct h2_stream *st)
{
	return st->in_began ? HTTP2_TRAILERS : h->is_server ? HTTP2_REQUEST : HTTP2_RESPONSE;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct h2_stream *st = stream_of(ng, frame->hd.stream_id);
	struct h2 *h = arg;
	size_t room = h->mp->conf.buffer;

	if (!st && h->is_server && (st = stream_new(h, frame->hd.stream_id)))
		nghttp2_session_set_stream_user_data(ng, st->id, st);
	if (!st || !buf_need(h->mp, &h->head))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	h->is_block_open = true;
	h->block_ms = h->mp->now_ms;
	http2_head_init(&h->block, kind_of(h, st), h->head.p, room, h->mp->limits.max_fields);
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct h2 *h = arg;

	(void)ng, (void)frame, (void)flags;
	http2_head_field(&h->block, (const char *)name, name_len, (const char *)value, len);
	return 0;
}

/* nghttp2 would leave such a field out and go on. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
			     const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct h2 *h = arg;

	(void)ng, (void)frame, (void)name, (void)name_len, (void)value, (void)len, (void)flags;
	if (!h->block.error)
		h->block.error = HTTP_E_FIELD_VALUE;
	return 0;
}

/* A head that is all there is: the end goes with it, so that it can leave in one frame (gRPC: trailers only). */
static void end_with_head(struct h2_stream *st)
{
	struct buf *to = &st->c->in;

	if (st->in_end)
		to->end += (uint32_t)stream_read_end(st->c, to->p + to->end, st->h2->mp->conf.buffer - to->end);
}

/* The text goes to the relay as it is. */
static bool hand_over(struct h2 *h, struct buf *to)
{
	uint32_t len = (uint32_t)h->block.len;

	if (!to->p) {
		*to = h->head;
		to->end = len;
		h->head = (struct buf){ 0 };
		return true;
	}
	if (len > h->mp->conf.buffer - to->end)
		return false;
	memcpy(to->p + to->end, h->head.p, len);
	to->end += len;
	return true;
}

static void refuse(struct h2_stream *st, enum http_error error)
{
	struct mp *mp = st->h2->mp;
	bool is_big = error == HTTP_E_TOO_LONG || error == HTTP_E_TOO_MANY, is_connect = st->h2->block.is_connect;
	struct err e = ERR_INIT;

	mp->counters.malformed_requests++;
	err_at(&e, -EBADMSG, "request", "HTTP/2: %s", is_connect ? "CONNECT" : http_error_text(error));
	if (mp->conf.ops.refused)
		mp->conf.ops.refused(NULL,
				     is_big       ? MP_ERR_HEAD_TOO_LARGE
				     : is_connect ? MP_ERR_NOT_IMPLEMENTED
						  : MP_ERR_BAD_REQUEST,
				     &e, mp->conf.arg);
	stream_respond(st, is_big ? 431 : is_connect ? 501 : 400);
}

static void request_came(struct h2 *h, struct h2_stream *st)
{
	enum http_error error = http2_head_end(&h->block, !st->in_end, false);
	struct relay *s = NULL;

	if (error) {
		refuse(st, error);
		return;
	}
	st->in_chunked = h->block.is_chunked;
	st->is_grpc = h->block.is_grpc;
	st->to_head = h->block.method.len == 4 && memcmp(h->head.p + h->block.method.at, "HEAD", 4) == 0;
	/* it is counted already */
	if (h->mp->counters.connections + h->mp->counters.streams <= h->mp->conf.max_connections)
		s = relay_of_stream(h->c->relay, st);
	if (!s || !hand_over(h, &st->c->in)) {
		stream_reset(st, NGHTTP2_REFUSED_STREAM);
		return;
	}
	h->c->relay->requests++;
	h->calm.left += h->calm.left < H2_CALM ? 2 : 0;
	stream_wake(st);
}

static void response_bad(struct h2 *h, struct h2_stream *st)
{
	h->mp->counters.malformed_responses++;
	stream_reset(st, NGHTTP2_PROTOCOL_ERROR);
}

static void response_came(struct h2 *h, struct h2_stream *st)
{
	enum http_error error = http2_head_end(&h->block, !st->in_end, st->to_head);

	if (!st->c) /* its relay is gone, and it was reset */
		return;
	if (error || !hand_over(h, &st->c->in)) {
		response_bad(h, st);
		return;
	}
	st->in_began = h->block.status >= 200;
	st->in_chunked = h->block.is_chunked;
	st->in_empty = st->to_head || h->block.status == 204 || h->block.status == 304;
	end_with_head(st);
	stream_wake(st);
}

static void trailers_came(struct h2 *h, struct h2_stream *st)
{
	if (http2_head_end(&h->block, false, false)) {
		if (h->is_server)
			h->mp->counters.malformed_requests++;
		stream_reset(st, NGHTTP2_PROTOCOL_ERROR);
		return;
	}
	/* beside a length HTTP/1.1 has no place for them */
	if (h->block.len && st->in_chunked)
		st->in_trailers = strndup(h->head.p, h->block.len);
	stream_wake(st);
}

static void block_came(struct h2 *h, struct h2_stream *st, bool is_end)
{
	enum http2_kind kind = kind_of(h, st);

	h->is_block_open = false;
	st->in_end = is_end;
	if (kind == HTTP2_TRAILERS)
		trailers_came(h, st);
	else if (kind == HTTP2_RESPONSE)
		response_came(h, st);
	else
		st->in_began = true, request_came(h, st);
	buf_drop(h->mp, &h->head);
}

/* --- frames --- */

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct h2_stream *st = frame->hd.stream_id ? stream_of(ng, frame->hd.stream_id) : NULL;
	bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2 *h = arg;

	if (frame->hd.type == NGHTTP2_HEADERS && st) {
		block_came(h, st, is_end);
	} else if (frame->hd.type == NGHTTP2_DATA && st && is_end) {
		st->in_end = true;
		stream_wake(st);
	} else if (frame->hd.type == NGHTTP2_GOAWAY) {
		h->is_closing = true;
	}
	return 0;
}

/* nghttp2 has refused it, and says so to the peer. */
static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
	struct h2 *h = arg;

	(void)ng, (void)error;
	if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
		*(h->is_server ? &h->mp->counters.malformed_requests : &h->mp->counters.malformed_responses) += 1;
	h->is_block_open = false;
	return 0;
}

/* What moves nothing is allowed for: a little each second, and some for each frame that moved something. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
	bool is_use = hd->type == NGHTTP2_HEADERS ||
		      (hd->type == NGHTTP2_DATA && (hd->length || hd->flags & NGHTTP2_FLAG_END_STREAM));
	struct h2 *h = arg;

	(void)ng;
	if (!is_use && !h2_allow(h, &h->calm, H2_CALM, H2_CALM_S))
		h2_flooded(h, "a flood of frames that carry nothing");
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t len, void *arg)
{
	struct h2_stream *st = stream_of(ng, id);
	struct h2 *h = arg;

	(void)flags;
	nghttp2_session_consume_connection(ng, len);
	h->calm.left += h->calm.left < H2_CALM;
	if (st && st->c && st->in_empty) {
		response_bad(h, st);
	} else if (st && st->c && !st->reset) {
		if (!evbuf_add(&st->in, p, len))
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		stream_wake(st);
		return 0;
	}
	/* nobody wants it, but its sender must come to the end */
	nghttp2_session_consume_stream(ng, id, len);
	return 0;
}

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	struct h2_stream *st = frame->hd.stream_id ? stream_of(ng, frame->hd.stream_id) : NULL;
	bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2 *h = arg;

	if (frame->hd.type == NGHTTP2_DATA)
		h->calm.left += h->calm.left < H2_CALM ? 4 : 0;
	if (!st || !is_end || (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
		return 0;
	st->was_sent = true;
	if (st->must_stop && !st->in_end)
		stream_reset(st, NGHTTP2_NO_ERROR);
	return 0;
}

/* A stream that never was: GOAWAY came before its turn. */
static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
	struct h2_stream *st;
	struct h2 *h = arg;

	(void)ng, (void)error;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	TAILQ_FOREACH(st, &h->streams, link)
	if (st->id == frame->hd.stream_id) {
		stream_closed(st, NGHTTP2_REFUSED_STREAM);
		break;
	}
	return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_stream *st = stream_of(ng, id);
	struct h2 *h = arg;

	if (!st)
		return 0;
	/* opened and taken back, or ended by what it sent: CVE-2023-44487 and its kin */
	if (h->is_server && code != NGHTTP2_NO_ERROR && !st->reset && !h2_allow(h, &h->resets, H2_RESETS, H2_RESETS_S))
		h2_flooded(h, "streams are opened and reset too fast");
	h->resets.left += code == NGHTTP2_NO_ERROR && h->resets.left < H2_RESETS;
	nghttp2_session_set_stream_user_data(ng, id, NULL);
	stream_closed(st, code);
	return 0;
}

/* --- sessions --- */

static nghttp2_session_callbacks *callbacks(void)
{
	static nghttp2_session_callbacks *cb;

	if (cb || nghttp2_session_callbacks_new(&cb) != 0)
		return cb;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	return cb;
}

static nghttp2_option *options(void)
{
	static nghttp2_option *made;

	if (made || nghttp2_option_new(&made) != 0)
		return made;
	nghttp2_option_set_no_auto_window_update(made, 1);
	nghttp2_option_set_no_closed_streams(made, 1);
	return made;
}

static int settings(struct h2 *h)
{
	const nghttp2_settings_entry iv[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h->mp->conf.max_head },
		{ h->is_server ? NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES : NGHTTP2_SETTINGS_ENABLE_PUSH, h->is_server },
	};

	if (nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, iv, sizeof(iv) / sizeof(iv[0])) != 0 ||
	    nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW) != 0)
		return -ENOMEM;
	return 0;
}

int h2_session_make(struct h2 *h)
{
	int rc;

	if (!callbacks() || !options())
		return -ENOMEM;
	rc = h->is_server ? nghttp2_session_server_new2(&h->ng, callbacks(), h, options())
			  : nghttp2_session_client_new2(&h->ng, callbacks(), h, options());
	if (rc != 0)
		return -ENOMEM;
	if (settings(h) < 0) {
		nghttp2_session_del(h->ng);
		return -ENOMEM;
	}
	return 0;
}
