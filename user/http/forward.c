// SPDX-License-Identifier: Apache-2.0
/* A head as it goes on, RFC 9110 section 7.6: lines that stay are copied in runs. */
#include <string.h>

#include "internal.h"

struct sink {
	char *p;
	size_t left;
	bool is_full;
};

static void put(struct sink *s, const char *p, size_t len)
{
	if (len > s->left) {
		s->is_full = true;
		return;
	}
	memcpy(s->p, p, len);
	s->p += len;
	s->left -= len;
}

#define PUT(s, text) put((s), (text), sizeof(text) - 1)

static bool is_gone(const struct http_head *h, const char *p, const struct http_field *f, const struct http_forward *o)
{
	if (f->is_hop)
		return true;
	switch (f->id) {
	case HTTP_OTHER:
		return !h->is_response && http_is_reserved(o->reserved, p + f->name.at, f->name.len);
	case HTTP_HOST:
		return !h->is_response;
	case HTTP_CONTENT_LENGTH: /* says nothing in 1xx, 204 and answers to CONNECT */
		return h->is_response && (h->status < 200 || h->status == 204 || h->framing == HTTP_TUNNEL);
	case HTTP_TRANSFER_ENCODING:
		return o->unchunk || h->framing == HTTP_TUNNEL;
	case HTTP_EXPECT:
		return !h->expects_continue;
	default:
		return true;
	}
}

static void put_fields(struct sink *s, const struct http_head *h, const char *p, const struct http_forward *o)
{
	size_t from = 0, to = 0; /* a run of lines that stay */

	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];

		if (is_gone(h, p, f, o))
			continue;
		if (f->name.at != to) {
			put(s, p + from, to - from);
			from = f->name.at;
		}
		to = f->end;
	}
	put(s, p + from, to - from);
}

static void put_request_line(struct sink *s, const struct http_head *h, const char *p, const struct http_forward *o)
{
	put(s, p + h->method.at, h->method.len);
	PUT(s, " ");
	if (o->target)
		put(s, o->target, o->target_len);
	else if (h->is_connect)
		put(s, p + h->target.at, h->target.len);
	else if (h->path.len)
		put(s, p + h->path.at, h->path.len);
	else
		PUT(s, "/");
	PUT(s, " HTTP/1.1\r\nHost: ");
	if (o->host)
		put(s, o->host, o->host_len);
	else
		put(s, p + h->authority.at, h->authority.len);
	PUT(s, "\r\n");
}

static void put_status_line(struct sink *s, const struct http_head *h, const char *p)
{
	PUT(s, "HTTP/1.1");
	put(s, p + h->start.at + 8, h->start.len - 8u);
	if (h->start.len == 12)
		PUT(s, " ");
	PUT(s, "\r\n");
}

static void put_upgrade(struct sink *s, const struct http_head *h, const char *p)
{
	PUT(s, "Connection: upgrade\r\n");
	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == HTTP_UPGRADE)
			put(s, p + h->fields[i].name.at, (size_t)h->fields[i].end - h->fields[i].name.at);
}

/* Trailers are passed on, so the wish for them is, too. */
static void put_connection(struct sink *s, const struct http_head *h, const char *p, const struct http_forward *o)
{
	if (h->wants_upgrade && (!h->is_response || h->status == 101))
		put_upgrade(s, h, p);
	else if (o->close)
		PUT(s, "Connection: close\r\n");
	else if (!h->is_response && h->takes_trailers)
		PUT(s, "TE: trailers\r\nConnection: TE\r\n");
	else if (o->keep_alive)
		PUT(s, "Connection: keep-alive\r\n");
}

size_t http_forward(const struct http_head *h, const char *p, const struct http_forward *f, char *dst, size_t room)
{
	struct sink s = { .p = dst, .left = room };

	if (h->is_response)
		put_status_line(&s, h, p);
	else
		put_request_line(&s, h, p, f);
	put_fields(&s, h, p, f);
	put_connection(&s, h, p, f);
	if (f->via && !h->is_response) {
		PUT(&s, "Via: 1.");
		put(&s, h->minor ? "1 " : "0 ", 2);
		put(&s, f->via, strlen(f->via));
		PUT(&s, "\r\n");
	}
	put(&s, f->headers ? f->headers : "", f->headers ? f->headers_len : 0);
	PUT(&s, "\r\n");
	return s.is_full ? 0 : room - s.left;
}

unsigned http_head_hops(const struct http_head *h, const char *p, const char *by)
{
	size_t len = strlen(by);
	unsigned n = 0;

	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];
		const char *at = p + f->value.at, *end = at + f->value.len;

		if (f->name.len != 3 || strncasecmp(p + f->name.at, "via", 3) != 0)
			continue;
		/* others may have joined the fields to a list */
		while ((at = memmem(at, (size_t)(end - at), by, len))) {
			at += len;
			n++;
		}
	}
	return n;
}
