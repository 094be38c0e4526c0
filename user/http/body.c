// SPDX-License-Identifier: Apache-2.0
/* Where a body ends, RFC 9112 sections 6 and 7. */
#include <string.h>

#include "internal.h"

enum state { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS };

void http_body_init(struct http_body *b, const struct http_head *h, const char *const *reserved)
{
	*b = (struct http_body){ .framing = h->framing, .state = CHUNK_SIZE, .reserved = reserved };
	if (h->framing == HTTP_LENGTH)
		b->left = h->content_length;
	b->is_done = h->framing == HTTP_NONE;
}

/* --- chunk = size [extensions] CRLF data CRLF --- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

static size_t blanks(const char *p, size_t at, size_t len)
{
	while (at < len && (p[at] == ' ' || p[at] == '\t'))
		at++;
	return at;
}

static size_t token(const char *p, size_t at, size_t len)
{
	while (at < len && is_char((unsigned char)p[at], CHAR_TOKEN))
		at++;
	return at;
}

/* Its end, or 0 where it has none. */
static size_t quoted(const char *p, size_t at, size_t len)
{
	for (at++; at < len && p[at] != '"'; at++) {
		if (p[at] == '\\')
			at++;
		if (at == len || !is_char((unsigned char)p[at], CHAR_VALUE))
			return 0;
	}
	return at < len ? at + 1 : 0;
}

/* *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ): section 7.1.1, and nothing after it. */
static bool are_extensions(const char *p, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t name, value;

		at = blanks(p, at, len);
		if (at == len || p[at] != ';')
			return false;
		name = blanks(p, at + 1, len);
		at = token(p, name, len);
		if (at == name)
			return false;
		value = blanks(p, at, len);
		if (value == len || p[value] != '=')
			continue;
		value = blanks(p, value + 1, len);
		at = value < len && p[value] == '"' ? quoted(p, value, len) : token(p, value, len);
		if (at <= value)
			return false;
	}
	return true;
}

static enum http_error size_line(struct http_body *b, const char *p, size_t len)
{
	uint64_t size = 0;
	size_t digits = 0;

	while (digits < len && hex_digit(p[digits]) >= 0)
		size = size << 4 | (uint64_t)hex_digit(p[digits++]);
	if (digits == 0 || digits > 15 || !are_extensions(p + digits, len - digits))
		return HTTP_E_CHUNK;
	b->extra += (uint32_t)(len - digits);
	b->left = size;
	b->state = size ? CHUNK_DATA : TRAILERS;
	return HTTP_OK;
}

/* RFC 9110 section 6.5.1: what frames, routes or belongs to the connection can not come after the body. */
static bool may_trail(const struct http_body *b, const char *name, const struct http_field *f)
{
	return f->id == HTTP_OTHER && !same_text(name, f->name.len, "trailer") &&
	       !same_text(name, f->name.len, "authorization") && !same_text(name, f->name.len, "set-cookie") &&
	       !http_is_reserved(b->reserved, name, f->name.len);
}

static enum http_error trailer_line(struct http_body *b, const char *p, size_t len)
{
	struct http_field f;
	enum http_error error;

	if (len == 0) {
		b->is_done = true;
		return HTTP_OK;
	}
	error = field_parse(p, 0, len, &f);
	if (error)
		return error;
	b->extra += (uint32_t)len;
	return may_trail(b, p, &f) ? HTTP_OK : HTTP_E_TRAILER;
}

/* One line, when it is whole: its length with CRLF, else 0. */
static enum http_error control_line(struct http_body *b, const char *p, size_t len, size_t *used)
{
	size_t seen = len < HTTP_LINE_MAX ? len : HTTP_LINE_MAX;
	const char *lf = memchr(p, '\n', seen);
	enum http_error error;

	*used = 0;
	if (!lf)
		return len >= HTTP_LINE_MAX ? HTTP_E_CHUNK_EXTRA : HTTP_OK;
	if (lf == p || lf[-1] != '\r')
		return HTTP_E_LINE_END;
	*used = (size_t)(lf - p + 1);
	error = b->state == TRAILERS ? trailer_line(b, p, *used - 2) : size_line(b, p, *used - 2);
	return !error && b->extra > HTTP_EXTRA_MAX ? HTTP_E_CHUNK_EXTRA : error;
}

static enum http_error chunk_end(struct http_body *b, const char *p, size_t len, size_t *used)
{
	*used = 0;
	if ((len > 0 && p[0] != '\r') || (len > 1 && p[1] != '\n'))
		return HTTP_E_CHUNK;
	if (len > 1) {
		*used = 2;
		b->state = CHUNK_SIZE;
	}
	return HTTP_OK;
}

static size_t take(struct http_body *b, size_t len)
{
	size_t n = b->left < len ? (size_t)b->left : len;

	b->left -= n;
	return n;
}

static enum http_error chunked_next(struct http_body *b, const char *p, size_t len, size_t *framing, size_t *data)
{
	while (!b->is_done && b->state != CHUNK_DATA) {
		size_t used;
		enum http_error error = b->state == CHUNK_END ? chunk_end(b, p + *framing, len - *framing, &used)
							      : control_line(b, p + *framing, len - *framing, &used);

		if (error)
			return error;
		if (used == 0)
			return HTTP_OK;
		*framing += used;
	}
	if (b->is_done)
		return HTTP_OK;
	*data = take(b, len - *framing);
	if (b->left == 0)
		b->state = CHUNK_END;
	return HTTP_OK;
}

enum http_error http_body_next(struct http_body *b, const char *p, size_t len, size_t *framing, size_t *data)
{
	*framing = *data = 0;
	if (b->is_done)
		return HTTP_OK;
	switch (b->framing) {
	case HTTP_CHUNKED:
		return chunked_next(b, p, len, framing, data);
	case HTTP_LENGTH:
		*data = take(b, len);
		b->is_done = b->left == 0;
		return HTTP_OK;
	default:
		*data = len;
		return HTTP_OK;
	}
}

void http_body_passed(struct http_body *b, uint64_t n)
{
	b->left -= n;
	b->is_done = b->left == 0;
}

bool http_body_in_trailers(const struct http_body *b)
{
	return b->framing == HTTP_CHUNKED && b->state == TRAILERS && !b->is_done;
}

enum http_error http_body_scan(struct http_body *b, const char *p, size_t len, size_t *whole)
{
	size_t framing, data;

	*whole = 0;
	do {
		enum http_error error = http_body_next(b, p + *whole, len - *whole, &framing, &data);

		if (error)
			return error;
		*whole += framing + data;
	} while (framing + data > 0 && *whole < len && !b->is_done);
	return HTTP_OK;
}
