// SPDX-License-Identifier: Apache-2.0
/* Request and response heads, RFC 9112 sections 2 to 6. */
#include <string.h>

#include "internal.h"

void http_head_init(struct http_head *h, bool is_response)
{
	memset(h, 0, offsetof(struct http_head, fields));
	h->is_response = is_response;
}

/* --- first lines --- */

static enum http_error version_parse(struct http_head *h, const char *p, size_t len)
{
	if (len != 8 || memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '0' && p[7] != '1'))
		return HTTP_E_VERSION;
	h->minor = (uint8_t)(p[7] - '0');
	return HTTP_OK;
}

static bool is_host(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_char((unsigned char)p[i], CHAR_HOST))
			return false;
	return true;
}

/* "host:port", both there (RFC 9110 section 9.3.6). */
static bool is_authority(const char *p, size_t len)
{
	size_t digits = 0;

	while (digits < len && p[len - 1 - digits] >= '0' && p[len - 1 - digits] <= '9')
		digits++;
	return digits > 0 && digits <= 5 && len > digits + 1 && p[len - 1 - digits] == ':' &&
	       is_host(p, len - digits - 1);
}

/* The four forms of section 3.2. */
static enum http_error absolute_parse(struct http_head *h, const char *p, size_t scheme)
{
	size_t at = h->target.at + scheme, end = (size_t)h->target.at + h->target.len, slash = at;

	while (slash < end && p[slash] != '/' && p[slash] != '?')
		slash++;
	if (slash == at || !is_host(p + at, slash - at))
		return HTTP_E_TARGET;
	/* "http://host?query" would need a slash of ours in front */
	if (slash < end && p[slash] != '/')
		return HTTP_E_TARGET;
	h->authority = (struct http_span){ (uint16_t)at, (uint16_t)(slash - at) };
	h->path = (struct http_span){ (uint16_t)slash, (uint16_t)(end - slash) };
	return HTTP_OK;
}

static enum http_error target_parse(struct http_head *h, const char *p)
{
	const char *t = p + h->target.at;
	size_t len = h->target.len;

	for (size_t i = 0; i < len; i++)
		if (!is_char((unsigned char)t[i], CHAR_TARGET))
			return t[i] == '\r' || t[i] == '\0' ? HTTP_E_LINE_END : HTTP_E_TARGET;
	if (h->is_connect) {
		h->authority = h->target;
		return is_authority(t, len) ? HTTP_OK : HTTP_E_TARGET;
	}
	h->path = h->target;
	if (len && t[0] == '/')
		return HTTP_OK;
	if (len == 1 && t[0] == '*' && h->method.len == 7 && memcmp(p + h->method.at, "OPTIONS", 7) == 0)
		return HTTP_OK;
	if (len > 7 && same_text(t, 7, "http://"))
		return absolute_parse(h, p, 7);
	if (len > 8 && same_text(t, 8, "https://"))
		return absolute_parse(h, p, 8);
	return HTTP_E_TARGET;
}

static enum http_error request_line(struct http_head *h, const char *p, size_t at, size_t len)
{
	const char *line = p + at, *sp, *sp2;
	enum http_error error;
	size_t method = 0;

	while (method < len && is_char((unsigned char)line[method], CHAR_TOKEN))
		method++;
	if (method == 0 || method == len || method > HTTP_METHOD_MAX || line[method] != ' ')
		return HTTP_E_METHOD;
	sp = line + method;
	sp2 = memchr(sp + 1, ' ', len - method - 1);
	if (!sp2)
		return HTTP_E_VERSION;
	h->start = (struct http_span){ (uint16_t)at, (uint16_t)len };
	h->method = (struct http_span){ (uint16_t)at, (uint16_t)method };
	h->target = (struct http_span){ (uint16_t)(at + method + 1), (uint16_t)(sp2 - sp - 1) };
	h->is_head = method == 4 && memcmp(line, "HEAD", 4) == 0;
	h->is_connect = method == 7 && memcmp(line, "CONNECT", 7) == 0;
	error = version_parse(h, sp2 + 1, (size_t)(line + len - sp2 - 1));
	return error ? error : target_parse(h, p);
}

static enum http_error status_line(struct http_head *h, const char *p, size_t at, size_t len)
{
	const char *line = p + at;
	enum http_error error;

	if (len < 12)
		return HTTP_E_STATUS;
	error = version_parse(h, line, 8);
	if (error)
		return error;
	if (line[8] != ' ' || (len > 12 && line[12] != ' '))
		return HTTP_E_STATUS;
	for (size_t i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return HTTP_E_STATUS;
		h->status = (uint16_t)(h->status * 10 + (line[i] - '0'));
	}
	if (h->status < 100 || h->status > 599)
		return HTTP_E_STATUS;
	for (size_t i = 12; i < len; i++)
		if (!is_char((unsigned char)line[i], CHAR_VALUE))
			return HTTP_E_LINE_END;
	h->start = (struct http_span){ (uint16_t)at, (uint16_t)len };
	return HTTP_OK;
}

/* --- fields that mean something --- */

static enum http_error length_parse(struct http_head *h, const char *p, size_t len)
{
	uint64_t n = 0;

	if (h->has_length || len == 0 || len > 18)
		return HTTP_E_LENGTH;
	for (size_t i = 0; i < len; i++) {
		if (p[i] < '0' || p[i] > '9')
			return HTTP_E_LENGTH;
		n = n * 10 + (uint64_t)(p[i] - '0');
	}
	h->has_length = true;
	h->content_length = n;
	return HTTP_OK;
}

static enum http_error host_parse(struct http_head *h, const char *p, const struct http_field *f)
{
	if (h->has_host || !is_host(p + f->value.at, f->value.len))
		return HTTP_E_HOST;
	h->has_host = true;
	if (!h->authority.len)
		h->authority = f->value;
	return HTTP_OK;
}

static enum http_error field_note(struct http_head *h, const char *p, const struct http_field *f)
{
	const char *value = p + f->value.at;

	switch (f->id) {
	case HTTP_CONTENT_LENGTH:
		return length_parse(h, value, f->value.len);
	case HTTP_TRANSFER_ENCODING:
		if (h->has_coding || !same_text(value, f->value.len, "chunked"))
			return HTTP_E_CODING;
		h->has_coding = true;
		return HTTP_OK;
	case HTTP_HOST:
		return h->is_response ? HTTP_OK : host_parse(h, p, f);
	case HTTP_EXPECT:
		if (h->is_response)
			return HTTP_OK;
		if (!same_text(value, f->value.len, "100-continue"))
			return HTTP_E_EXPECT;
		h->expects_continue = true;
		return HTTP_OK;
	default:
		return HTTP_OK;
	}
}

/* --- the whole head --- */

struct options {
	bool close, keep_alive, upgrade, te;
};

static bool is_named(const char *p, const struct http_field *f, const char *name, size_t len)
{
	if (f->name.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (lower(p[f->name.at + i]) != lower(name[i]))
			return false;
	return true;
}

static void hop_mark(struct http_head *h, const char *p, const char *name, size_t len)
{
	for (unsigned i = 0; i < h->n_fields; i++)
		if (is_named(p, &h->fields[i], name, len))
			h->fields[i].is_hop = true;
}

static bool is_option(const char *name, size_t len, struct options *o)
{
	bool *known = same_text(name, len, "close")        ? &o->close
		      : same_text(name, len, "keep-alive") ? &o->keep_alive
		      : same_text(name, len, "upgrade")    ? &o->upgrade
		      : same_text(name, len, "te")         ? &o->te
							   : NULL;

	if (known)
		*known = true;
	return known;
}

static enum http_error connection_parse(struct http_head *h, const char *p, const struct http_field *f,
					struct options *o)
{
	static const char *const never[] = { "host", "content-length", "transfer-encoding", "expect", NULL };
	const char *q = p + f->value.at, *end = q + f->value.len, *name;
	size_t len;
	bool bad;

	while (list_next(&q, end, &name, &len, &bad)) {
		if (http_is_reserved(never, name, len))
			return HTTP_E_CONNECTION;
		if (!is_option(name, len, o))
			hop_mark(h, p, name, len);
	}
	return bad ? HTTP_E_CONNECTION : HTTP_OK;
}

/* Upgrade's elements are "name/version"; h2c would put another protocol behind the checks of this one. */
static bool names_h2c(const char *p, size_t len)
{
	for (size_t i = 0; i + 3 <= len; i++)
		if (same_text(p + i, 3, "h2c"))
			return true;
	return false;
}

static bool takes_trailers(const char *p, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i++)
		if (same_text(p + i, 8, "trailers"))
			return true;
	return false;
}

static enum http_error options_parse(struct http_head *h, const char *p, struct options *o)
{
	bool has_upgrade = false, has_h2c = false, trailers = false;

	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];
		const char *value = p + f->value.at;
		enum http_error error = HTTP_OK;

		if (f->id == HTTP_CONNECTION)
			error = connection_parse(h, p, f, o);
		else if (f->id == HTTP_UPGRADE)
			has_upgrade = true, has_h2c |= names_h2c(value, f->value.len);
		else if (f->id == HTTP_TE)
			trailers |= takes_trailers(value, f->value.len);
		if (error)
			return error;
	}
	h->wants_upgrade = o->upgrade && has_upgrade && !has_h2c && h->minor == 1;
	h->takes_trailers = o->te && trailers;
	return HTTP_OK;
}

static enum http_error request_framing(struct http_head *h)
{
	if (h->minor == 1 && !h->has_host)
		return HTTP_E_HOST;
	h->framing = h->has_coding ? HTTP_CHUNKED : h->has_length && h->content_length ? HTTP_LENGTH : HTTP_NONE;
	if (h->is_connect && (h->has_coding || h->has_length))
		return HTTP_E_NO_BODY;
	if (h->framing != HTTP_NONE || h->is_connect)
		h->wants_upgrade = false;
	if (h->framing == HTTP_NONE || h->minor == 0)
		h->expects_continue = false;
	return HTTP_OK;
}

static enum http_error head_finish(struct http_head *h, const char *p)
{
	struct options o = { 0 };
	enum http_error error = options_parse(h, p, &o);

	if (error)
		return error;
	if (h->has_coding && h->has_length)
		return HTTP_E_BOTH;
	if (h->has_coding && h->minor == 0)
		return HTTP_E_CODING;
	h->keep_alive = !o.close && (h->minor == 1 || o.keep_alive);
	return h->is_response ? HTTP_OK : request_framing(h);
}

/* One line without its CRLF. */
static enum http_error line_parse(struct http_head *h, const char *p, size_t len, const struct http_limits *limits)
{
	enum http_error error;

	if (!h->start.len) {
		if (len == 0) /* one empty line before a request (section 2.2) */
			return h->is_response || h->scanned ? HTTP_E_METHOD : HTTP_OK;
		return h->is_response ? status_line(h, p, h->scanned, len) : request_line(h, p, h->scanned, len);
	}
	if (len == 0) {
		h->len = (uint16_t)(h->scanned + 2);
		return head_finish(h, p);
	}
	if (h->n_fields == limits->max_fields)
		return HTTP_E_TOO_MANY;
	error = field_parse(p + h->scanned, h->scanned, len, &h->fields[h->n_fields]);
	return error ? error : field_note(h, p, &h->fields[h->n_fields++]);
}

enum http_error http_head_parse(struct http_head *h, const char *p, size_t len, const struct http_limits *limits)
{
	while (!h->len) {
		size_t seen = len < limits->max_head ? len : limits->max_head;
		const char *line = p + h->scanned, *lf = memchr(line, '\n', seen - h->scanned);
		enum http_error error;

		if (!lf)
			return len >= limits->max_head ? HTTP_E_TOO_LONG : HTTP_OK;
		if (lf == line || lf[-1] != '\r')
			return HTTP_E_LINE_END;
		error = line_parse(h, p, (size_t)(lf - line - 1), limits);
		if (error)
			return error;
		h->scanned += (uint32_t)(lf - line + 1);
	}
	return HTTP_OK;
}

enum http_error http_head_answers(struct http_head *h, bool to_head, bool to_connect)
{
	bool is_tunnel = h->status == 101 || (to_connect && h->status >= 200 && h->status < 300);
	bool is_empty = h->status < 200 || h->status == 204 || h->status == 304 || to_head;

	h->framing = HTTP_NONE;
	if (is_tunnel) {
		h->framing = HTTP_TUNNEL;
		return h->status == 101 && (h->has_coding || h->content_length) ? HTTP_E_NO_BODY : HTTP_OK;
	}
	if (h->status < 200 || h->status == 204)
		return h->has_coding || h->content_length ? HTTP_E_NO_BODY : HTTP_OK;
	if (is_empty)
		return HTTP_OK;
	if (h->has_coding)
		h->framing = HTTP_CHUNKED;
	else if (!h->has_length)
		h->framing = HTTP_UNTIL_CLOSE;
	else if (h->content_length)
		h->framing = HTTP_LENGTH;
	if (h->framing == HTTP_UNTIL_CLOSE)
		h->keep_alive = false;
	return HTTP_OK;
}

const struct http_field *http_head_find(const struct http_head *h, const char *p, const char *name, unsigned *count)
{
	const struct http_field *first = NULL;
	size_t len = strlen(name);

	*count = 0;
	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];

		if (!is_named(p, f, name, len))
			continue;
		first = first ? first : f;
		++*count;
	}
	return first;
}
