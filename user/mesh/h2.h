/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 in the proxy engine. To a relay a stream is a connection like any other, which speaks HTTP/1.1: what comes in
 * frames is read from it as text (http2_head_*), and text that is written to it leaves as frames. So routes, policy,
 * limits, errors and clocks are those of HTTP/1.1, each stream is a relay of its own, and every pair of versions works.
 * Framing itself is nghttp2's.
 *
 *   socket (struct conn) -- session (struct h2) -- stream (struct h2_stream) -- its struct conn -- relay -- ..
 *
 * Inbound, the socket's own relay stays in STAGE_H2 and runs the session; outbound, an upstream has a list of sessions,
 * each for the requests of one inbound peer, as pooled connections are.
 *
 * Nothing runs inside anything else: a session that has something for a stream's relay, and a relay that has written
 * something for the session, say so with event_active(), and the loop goes on there.
 *
 * Memory: a stream holds H2_WINDOW bytes that its relay did not take (its peer is told of more room only when it does)
 * and H2_OUT_MAX that its peer did not take; streams count among the engine's connections.
 */
#pragma once

#include <event2/buffer.h>
#include <nghttp2/nghttp2.h>

#include "proxy_internal.h"

#define H2_STREAMS     128
#define H2_WINDOW      (256 << 10)
#define H2_CONN_WINDOW (16 << 20) /* what streams hold is bounded by their own windows */
#define H2_OUT_MAX     (64u << 10)
#define H2_BLOCK_MAX   (256u << 10) /* bytes of a header block as they come, CONTINUATION and all */
#define H2_CALM        500          /* frames that carry nothing, at once.. */
#define H2_CALM_S      200          /* ..and each second */
#define H2_RESETS      1000 /* streams that the peer opened and took back; one that ends well makes up for one */
#define H2_RESETS_S    100
#define H2_NOTICE_MS   500   /* between the two GOAWAYs of a drain */
#define H2_SILENCE_MS  10000 /* a peer that was asked for something is asked whether it lives, and has as long again */
#define H2_OLD_MS      60000 /* that a peer chose HTTP/1.1 is remembered */

/* So much at once, and so much each second. */
struct h2_allowance {
	int64_t at_ms;
	uint32_t left;
};

struct h2_stream {
	TAILQ_ENTRY(h2_stream) link;
	struct h2 *h2;                    /* NULL: the session is gone */
	struct conn *c;                   /* its relay's end; NULL: the relay is gone */
	int32_t id;                       /* 0: not opened yet */
	struct evbuffer *in, *out;        /* NULL: nothing yet */
	char *in_trailers, *out_trailers; /* lines, each with CRLF */
	struct http_body body;            /* of what is written */
	uint32_t reset;                   /* the code that it ended with, or is to end with */
	bool is_closed;                   /* nghttp2 knows it no more */
	bool in_began, in_chunked, in_empty, in_end;
	bool out_began, out_end, is_deferred, was_full;
	bool was_sent;  /* the end of what is written */
	bool must_stop; /* the rest of the request is not wanted: said when the answer is out */
	bool to_head, is_grpc;
};

struct h2 {
	TAILQ_ENTRY(h2) link; /* of an upstream */
	struct mp *mp;
	struct conn *c; /* the socket, which owns the session */
	nghttp2_session *ng;
	TAILQ_HEAD(, h2_stream) streams;
	unsigned n_streams; /* that nghttp2 knows, or will */
	struct buf head;    /* the header block that is coming; blocks of streams never mix */
	struct http2_head block;
	uint32_t block_bytes;
	const uint8_t *pending; /* of nghttp2's, until it is asked for more */
	size_t n_pending;
	int64_t block_ms, moved_ms, heard_ms, idle_ms, asked_ms, notice_ms;
	struct h2_allowance calm, resets;
	bool is_server, is_block_open;
	bool is_closing; /* no new streams */
	bool is_flooded;
	bool was_told; /* of the last stream that counts, in a drain */
};

static inline size_t evbuf_len(struct evbuffer *b)
{
	return b ? evbuffer_get_length(b) : 0;
}

static inline bool evbuf_add(struct evbuffer **b, const void *p, size_t len)
{
	if (!*b)
		*b = evbuffer_new();
	return *b && evbuffer_add(*b, p, len) == 0;
}

/* h2_session.c */
struct h2 *h2_new(struct conn *c, bool is_server); /* NULL: no memory; else it is c->session */
bool h2_run(struct h2 *h);                         /* false: it is over */
void h2_wake(struct h2 *h);
bool h2_allow(struct h2 *h, struct h2_allowance *a, uint32_t most, uint32_t each_s);
void h2_flooded(struct h2 *h, const char *why);

/* h2_frame.c */
int h2_session_make(struct h2 *h);

/* h2_stream.c */
struct h2_stream *stream_new(struct h2 *h, int32_t id);
void stream_closed(struct h2_stream *st, uint32_t code);
void stream_lost(struct h2_stream *st); /* with its session */
void stream_wake(struct h2_stream *st);
size_t stream_read_end(struct conn *c, char *p, size_t len);
void stream_reset(struct h2_stream *st, uint32_t code);

/* h2_send.c */
void stream_end(struct h2_stream *st); /* nothing more is written to it */
void stream_respond(struct h2_stream *st, int status);
