// SPDX-License-Identifier: Apache-2.0
/* Heads and trailers of HTTP/2 as text of HTTP/1.1: RFC 9113 sections 8.1 to 8.3. */
#include <string.h>

#include "internal.h"

void http2_head_init(struct http2_head *b, enum http2_kind kind, char *p, size_t room, unsigned max_fields)
{
	*b = (struct http2_head){ .kind = kind, .p = p, .room = room, .top = room, .max_fields = max_fields };
}

static void fail(struct http2_head *b, enum http_error error)
{
	if (!b->error)
		b->error = error;
}

static void put(struct http2_head *b, const char *p, size_t len)
{
	if (len > b->top - b->len) {
		fail(b, HTTP_E_TOO_LONG);
		return;
	}
	if (len)
		memcpy(b->p + b->len, p, len);
	b->len += len;
}

#define PUT(b, text) put((b), (text), sizeof(text) - 1)

static void put_field(struct http2_head *b, const char *name, size_t name_len, const char *value, size_t len)
{
	put(b, name, name_len);
	PUT(b, ": ");
	put(b, value, len);
	PUT(b, "\r\n");
}

static bool all_of(const char *p, size_t len, uint8_t class)
{
	for (size_t i = 0; i < len; i++)
		if (!is_char((unsigned char)p[i], class))
			return false;
	return true;
}

static bool is_text(const char *p, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(p, text, len) == 0;
}

/* --- pseudo-fields --- */

/* Kept behind the text until its first line can be written. */
static void keep(struct http2_head *b, size_t *at, size_t *n, const char *value, size_t len)
{
	if (len > b->top - b->len) {
		fail(b, HTTP_E_TOO_LONG);
		return;
	}
	b->top -= len;
	memcpy(b->p + b->top, value, len);
	*at = b->top;
	*n = len;
}

static void take_method(struct http2_head *b, const char *value, size_t len)
{
	b->is_connect = is_text(value, len, "CONNECT");
	if (b->method.len || !len || len > HTTP_METHOD_MAX || !all_of(value, len, CHAR_TOKEN) || b->is_connect)
		fail(b, HTTP_E_METHOD);
	else
		keep(b, &b->method.at, &b->method.len, value, len);
}

static void take_path(struct http2_head *b, const char *value, size_t len)
{
	if (b->path.len || !len || (value[0] != '/' && !is_text(value, len, "*")) || !all_of(value, len, CHAR_TARGET))
		fail(b, HTTP_E_TARGET);
	else
		keep(b, &b->path.at, &b->path.len, value, len);
}

static void take_authority(struct http2_head *b, const char *value, size_t len)
{
	if (b->authority.len || !len || !all_of(value, len, CHAR_HOST))
		fail(b, HTTP_E_HOST);
	else
		keep(b, &b->authority.at, &b->authority.len, value, len);
}

static void take_scheme(struct http2_head *b, const char *value, size_t len)
{
	if (b->has_scheme || (!is_text(value, len, "http") && !is_text(value, len, "https")))
		fail(b, HTTP_E_TARGET);
	b->has_scheme = true;
}

static void take_status(struct http2_head *b, const char *value, size_t len)
{
	if (b->status || len != 3 || value[0] < '1' || value[0] > '5')
		fail(b, HTTP_E_STATUS);
	for (size_t i = 0; i < 3 && !b->error; i++) {
		if (value[i] < '0' || value[i] > '9')
			fail(b, HTTP_E_STATUS);
		b->status = (uint16_t)(b->status * 10 + (value[i] - '0'));
	}
	if (b->status == 101) /* section 8.6 */
		fail(b, HTTP_E_STATUS);
}

static void take_pseudo(struct http2_head *b, const char *name, size_t name_len, const char *value, size_t len)
{
	if (b->has_line || b->kind == HTTP2_TRAILERS)
		fail(b, HTTP_E_FIELD_NAME);
	else if (b->kind == HTTP2_RESPONSE && is_text(name, name_len, ":status"))
		take_status(b, value, len);
	else if (b->kind == HTTP2_RESPONSE)
		fail(b, HTTP_E_FIELD_NAME);
	else if (is_text(name, name_len, ":method"))
		take_method(b, value, len);
	else if (is_text(name, name_len, ":path"))
		take_path(b, value, len);
	else if (is_text(name, name_len, ":authority"))
		take_authority(b, value, len);
	else if (is_text(name, name_len, ":scheme"))
		take_scheme(b, value, len);
	else
		fail(b, HTTP_E_FIELD_NAME);
}

/* The first line, when all pseudo-fields were there. */
static void put_line(struct http2_head *b)
{
	const char digits[] = { (char)('0' + b->status / 100), (char)('0' + b->status / 10 % 10),
				(char)('0' + b->status % 10) };

	if (b->has_line || b->error)
		return;
	b->has_line = true;
	if (b->kind == HTTP2_TRAILERS)
		return;
	if (b->kind == HTTP2_RESPONSE) {
		if (!b->status)
			fail(b, HTTP_E_STATUS);
		PUT(b, "HTTP/1.1 ");
		put(b, digits, 3);
		PUT(b, "\r\n");
		return;
	}
	if (!b->method.len)
		fail(b, HTTP_E_METHOD);
	else if (!b->path.len || !b->has_scheme ||
		 (b->p[b->path.at] == '*' && !is_text(b->p + b->method.at, b->method.len, "OPTIONS")))
		fail(b, HTTP_E_TARGET);
	if (b->error)
		return;
	put(b, b->p + b->method.at, b->method.len);
	PUT(b, " ");
	put(b, b->p + b->path.at, b->path.len);
	PUT(b, " HTTP/1.1\r\n");
	if (b->authority.len)
		put_field(b, "host", 4, b->p + b->authority.at, b->authority.len);
}

/* --- fields --- */

/* Beside :authority it says the same, or it is not clear who is asked. */
static void take_host(struct http2_head *b, const char *value, size_t len)
{
	bool is_same = b->authority.len == len && memcmp(b->p + b->authority.at, value, len) == 0;

	if (b->has_host || !len || !all_of(value, len, CHAR_HOST) || (b->authority.len && !is_same))
		fail(b, HTTP_E_HOST);
	else if (!b->authority.len)
		put_field(b, "host", 4, value, len);
	b->has_host = true;
}

static void take_length(struct http2_head *b, const char *value, size_t len)
{
	bool is_digits = len > 0 && len < sizeof(b->length) - 1;

	for (size_t i = 0; i < len && is_digits; i++)
		is_digits = value[i] >= '0' && value[i] <= '9';
	if (b->has_length || !is_digits) {
		fail(b, HTTP_E_LENGTH);
		return;
	}
	memcpy(b->length, value, len);
	b->has_length = true;
}

/* Crumbs become one line again (section 8.2.3). */
static void take_cookie(struct http2_head *b, const char *value, size_t len)
{
	if (!b->cookie) {
		put_field(b, "cookie", 6, value, len);
		b->cookie = b->len - 2;
		return;
	}
	if (len + 2 > b->top - b->len) {
		fail(b, HTTP_E_TOO_LONG);
		return;
	}
	memmove(b->p + b->cookie + len + 2, b->p + b->cookie, b->len - b->cookie);
	memcpy(b->p + b->cookie, "; ", 2);
	memcpy(b->p + b->cookie + 2, value, len);
	b->cookie += len + 2;
	b->len += len + 2;
}

static void take_special(struct http2_head *b, enum http_name id, const char *value, size_t len)
{
	if (id == HTTP_CONTENT_LENGTH && b->kind != HTTP2_TRAILERS)
		take_length(b, value, len);
	else if (id == HTTP_HOST && b->kind == HTTP2_REQUEST)
		take_host(b, value, len);
	else if (id == HTTP_EXPECT && b->kind == HTTP2_REQUEST)
		put_field(b, "expect", 6, value, len);
	else if (id == HTTP_TE && b->kind == HTTP2_REQUEST && is_text(value, len, "trailers"))
		b->takes_trailers = true;
	else
		fail(b, b->kind == HTTP2_TRAILERS ? HTTP_E_TRAILER : HTTP_E_CONNECTION);
}

static bool is_field(const char *name, size_t name_len, const char *value, size_t len)
{
	if (!all_of(name, name_len, CHAR_TOKEN) || !all_of(value, len, CHAR_VALUE))
		return false;
	for (size_t i = 0; i < name_len; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			return false;
	return !len || (value[0] != ' ' && value[0] != '\t' && value[len - 1] != ' ' && value[len - 1] != '\t');
}

static bool says_grpc(const char *value, size_t len)
{
	static const char grpc[] = "application/grpc";
	const size_t n = sizeof(grpc) - 1;

	return len >= n && memcmp(value, grpc, n) == 0 && (len == n || value[n] == '+' || value[n] == ';');
}

void http2_head_field(struct http2_head *b, const char *name, size_t name_len, const char *value, size_t len)
{
	enum http_name id;

	if (b->error)
		return;
	if (name_len && name[0] == ':') {
		take_pseudo(b, name, name_len, value, len);
		return;
	}
	if (!name_len || !is_field(name, name_len, value, len)) {
		fail(b, HTTP_E_FIELD_VALUE);
		return;
	}
	if (b->n_fields++ == b->max_fields) {
		fail(b, HTTP_E_TOO_MANY);
		return;
	}
	put_line(b);
	id = field_id(name, name_len);
	if (b->error)
		return;
	if (id != HTTP_OTHER) {
		take_special(b, id, value, len);
	} else if (b->kind == HTTP2_REQUEST && is_text(name, name_len, "cookie")) {
		take_cookie(b, value, len);
	} else {
		b->is_grpc |= is_text(name, name_len, "content-type") && says_grpc(value, len);
		put_field(b, name, name_len, value, len);
	}
}

/* --- how long the body is --- */

static void put_framing(struct http2_head *b, bool has_body, bool to_head)
{
	bool is_answer = b->kind == HTTP2_RESPONSE;
	bool is_empty = is_answer && (b->status < 200 || b->status == 204 || b->status == 304 || to_head);
	bool is_nothing = b->has_length && strspn(b->length, "0") == strlen(b->length);

	if (is_empty) {
		if (b->has_length && b->status >= 200 && b->status != 204)
			put_field(b, "content-length", 14, b->length, strlen(b->length));
		return;
	}
	if (!has_body && b->has_length && !is_nothing)
		fail(b, HTTP_E_LENGTH);
	b->is_chunked = has_body ? !b->has_length || b->is_grpc : is_answer && !b->has_length;
	if (b->is_chunked)
		PUT(b, "transfer-encoding: chunked\r\n");
	else if (b->has_length)
		put_field(b, "content-length", 14, b->length, strlen(b->length));
}

enum http_error http2_head_end(struct http2_head *b, bool has_body, bool to_head)
{
	put_line(b);
	if (b->kind == HTTP2_TRAILERS)
		return b->error;
	if (b->kind == HTTP2_REQUEST && !b->authority.len && !b->has_host)
		fail(b, HTTP_E_HOST);
	if (b->kind == HTTP2_RESPONSE && b->status < 200 && !has_body)
		fail(b, HTTP_E_STATUS);
	if (b->takes_trailers)
		PUT(b, "te: trailers\r\nconnection: te\r\n");
	put_framing(b, has_body, to_head);
	PUT(b, "\r\n");
	return b->error;
}
