// SPDX-License-Identifier: Apache-2.0
/* Text that a relay writes to a stream leaves as HEADERS, DATA and trailers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2.h"

/* One head at a time is looked at in a thread; nghttp2 copies what it is given. */
static struct http_head head;
static nghttp2_nv fields[HTTP_FIELDS_MAX + 8];
static char names[HTTP_HEAD_MAX + 1];

struct list {
	size_t n, used; /* of fields, of names */
};

static void add(struct list *l, const char *name, size_t name_len, const char *value, size_t len)
{
	if (l->n == HTTP_FIELDS_MAX + 8)
		return;
	fields[l->n++] = (nghttp2_nv){
		.name = (uint8_t *)name, .namelen = name_len, .value = (uint8_t *)value, .valuelen = len
	};
}

/* Names are lower case in HTTP/2. */
static void add_lower(struct list *l, const char *name, size_t name_len, const char *value, size_t len)
{
	char *to = names + l->used;

	if (l->used + name_len > sizeof(names))
		return;
	for (size_t i = 0; i < name_len; i++)
		to[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
	l->used += name_len;
	add(l, to, name_len, value, len);
}

static void add_span(struct list *l, const char *name, const char *p, struct http_span span)
{
	add(l, name, strlen(name), p + span.at, span.len);
}

/* What is the connection's stays with it; what frames is in the frames (RFC 9113, 8.2.2). */
static void add_fields(struct list *l, const char *p)
{
	for (unsigned i = 0; i < head.n_fields; i++) {
		const struct http_field *f = &head.fields[i];
		bool stays = f->id == HTTP_OTHER || f->id == HTTP_CONTENT_LENGTH || f->id == HTTP_EXPECT;

		if (stays && !f->is_hop)
			add_lower(l, p + f->name.at, f->name.len, p + f->value.at, f->value.len);
	}
}

static void list_request(struct list *l, const struct h2_stream *st, const char *p)
{
	const char *scheme = st->h2->c->ssl ? "https" : "http";

	add_span(l, ":method", p, head.method);
	add(l, ":scheme", 7, scheme, strlen(scheme));
	add_span(l, ":authority", p, head.authority);
	if (head.path.len)
		add_span(l, ":path", p, head.path);
	else
		add(l, ":path", 5, "/", 1);
	add_fields(l, p);
	if (head.takes_trailers)
		add(l, "te", 2, "trailers", 8);
}

static void list_response(struct list *l, const char *p)
{
	add(l, ":status", 7, p + head.start.at + 9, 3);
	add_fields(l, p);
}

/* --- bodies --- */

static void submit_trailers(struct h2_stream *st)
{
	const char *line = st->out_trailers, *end, *colon;
	struct list l = { 0 };

	for (; (end = strstr(line, "\r\n")); line = end + 2) {
		colon = memchr(line, ':', (size_t)(end - line));
		if (!colon)
			continue;
		for (colon++; colon < end && (*colon == ' ' || *colon == '\t');)
			colon++;
		add_lower(&l, line, strcspn(line, ":"), colon, (size_t)(end - colon));
		while (fields[l.n - 1].valuelen && strchr(" \t", colon[fields[l.n - 1].valuelen - 1]))
			fields[l.n - 1].valuelen--;
	}
	nghttp2_submit_trailer(st->h2->ng, st->id, fields, l.n);
}

/* nghttp2 has room in the peer's windows, and takes what there is. */
static ssize_t pull(nghttp2_session *ng, int32_t id, uint8_t *p, size_t len, uint32_t *flags,
		    nghttp2_data_source *source, void *arg)
{
	struct h2_stream *st = source->ptr;
	int n = st->out ? evbuffer_remove(st->out, p, len) : 0;
	size_t left = evbuf_len(st->out);

	(void)ng, (void)id, (void)arg;
	if (st->was_full && left <= H2_OUT_MAX / 2) {
		st->was_full = false;
		stream_wake(st);
	}
	if (!left && st->out_end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (st->out_trailers) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			submit_trailers(st);
		}
		return n > 0 ? n : 0;
	}
	if (n > 0)
		return n;
	st->is_deferred = true;
	return NGHTTP2_ERR_DEFERRED;
}

static void resume(struct h2_stream *st)
{
	if (!st->h2 || st->is_closed)
		return;
	if (st->is_deferred) {
		st->is_deferred = false;
		nghttp2_session_resume_data(st->h2->ng, st->id);
	}
	h2_wake(st->h2);
}

void stream_end(struct h2_stream *st)
{
	st->out_end = true;
	resume(st);
}

static bool keep_trailer(struct h2_stream *st, const char *line, size_t len)
{
	size_t had = st->out_trailers ? strlen(st->out_trailers) : 0;
	char *more = realloc(st->out_trailers, had + len + 1);

	if (!more)
		return false;
	memcpy(more + had, line, len);
	more[had + len] = '\0';
	st->out_trailers = more;
	return true;
}

/* Up to the end of a line, where the next thing is one. */
static size_t part_of(const struct http_body *b, const char *p, size_t len, size_t room)
{
	const char *lf;

	if (b->framing != HTTP_CHUNKED || b->left)
		return len < room ? len : room;
	lf = memchr(p, '\n', len);
	return lf ? (size_t)(lf - p + 1) : 0;
}

/* Bytes used. *bad: it is no body. */
static size_t take_body(struct h2_stream *st, const char *p, size_t len, bool *bad)
{
	size_t used = 0, part, framing, data;

	while (used < len && !st->body.is_done) {
		bool is_trailer = http_body_in_trailers(&st->body);

		part = part_of(&st->body, p + used, len - used, H2_OUT_MAX - evbuf_len(st->out));
		if (!part) {
			st->was_full = true;
			break;
		}
		*bad = http_body_next(&st->body, p + used, part, &framing, &data) != HTTP_OK ||
		       (data && !evbuf_add(&st->out, p + used + framing, data)) ||
		       (is_trailer && framing > 2 && !keep_trailer(st, p + used, framing));
		if (*bad || framing + data == 0)
			break;
		used += framing + data;
	}
	st->out_end |= st->body.is_done;
	return used;
}

/* --- heads --- */

static bool submit(struct h2_stream *st, size_t n)
{
	nghttp2_data_provider from = { .source.ptr = st, .read_callback = pull };
	bool is_whole = st->out_end && !evbuf_len(st->out) && !st->out_trailers;
	struct h2 *h = st->h2;
	int32_t rc;

	if (h->is_server) {
		rc = nghttp2_submit_response(h->ng, st->id, fields, n, is_whole ? NULL : &from);
	} else {
		rc = nghttp2_submit_request(h->ng, NULL, fields, n, is_whole ? NULL : &from, st);
		st->id = rc > 0 ? rc : 0;
		h->is_closing |= rc < 0;
	}
	h2_wake(h);
	return rc >= 0;
}

static bool interim(struct h2_stream *st, const char *p)
{
	struct list l = { 0 };

	list_response(&l, p);
	h2_wake(st->h2);
	return nghttp2_submit_headers(st->h2->ng, NGHTTP2_FLAG_NONE, st->id, NULL, fields, l.n, NULL) == 0;
}

static bool parse(const struct h2_stream *st, const char *p, size_t len)
{
	static const struct http_limits limits = { .max_head = HTTP_HEAD_MAX, .max_fields = HTTP_FIELDS_MAX };
	bool is_answer = st->h2->is_server;

	http_head_init(&head, is_answer);
	if (http_head_parse(&head, p, len, &limits) || !head.len)
		return false;
	return is_answer ? !http_head_answers(&head, st->to_head, false) : !head.is_connect;
}

/* Relays write heads whole. Bytes used; 0: it is none. */
static size_t take_head(struct h2_stream *st, const char *p, size_t len)
{
	struct list l = { 0 };
	bool bad = false;
	size_t used;

	if (!parse(st, p, len))
		return 0;
	if (head.is_response && head.status < 200)
		return interim(st, p) ? head.len : 0;
	if (head.is_response)
		list_response(&l, p);
	else
		list_request(&l, st, p);
	if (!head.is_response)
		st->to_head = head.is_head;
	http_body_init(&st->body, &head, NULL);
	st->out_end = st->body.is_done;
	st->out_began = true;
	used = head.len;
	used += take_body(st, p + used, len - used, &bad);
	return !bad && submit(st, l.n) ? used : 0;
}

size_t h2_write(struct conn *c, const char *p, size_t len)
{
	struct h2_stream *st = c->stream;
	size_t used = 0, n = 0;
	bool bad = false;

	if (!st->h2 || st->is_closed || st->reset) {
		c->cannot_write = true;
		return 0;
	}
	do {
		n = st->out_began ? 0 : take_head(st, p + used, len - used);
		used += n;
	} while (n && used < len);
	if (!st->out_began && used < len)
		bad = true;
	if (st->out_began && used < len) {
		used += take_body(st, p + used, len - used, &bad);
		resume(st);
	}
	c->cannot_write |= bad;
	return used;
}

void stream_respond(struct h2_stream *st, int status)
{
	char digits[8];
	struct list l = { 0 };

	snprintf(digits, sizeof(digits), "%d", status);
	add(&l, ":status", 7, digits, 3);
	st->out_end = st->must_stop = true;
	nghttp2_submit_response(st->h2->ng, st->id, fields, l.n, NULL);
	h2_wake(st->h2);
}
