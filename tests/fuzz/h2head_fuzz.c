// SPDX-License-Identifier: Apache-2.0
/*
 * Fields of a stranger's HTTP/2 head, any bytes: what is not refused is a head that the parser of HTTP/1.1 takes, to
 * its last byte, with the same method, target and length, and no line that was no field. First byte: kind and flags;
 * then pairs of name and value, each length-prefixed; a name's length of 0xe0 and more is a common name.
 */
#include <stdlib.h>
#include <string.h>

#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = { .max_head = HTTP_HEAD_MAX, .max_fields = HTTP_FIELDS_MAX };

static const char *const common[] = { ":method",
				      ":path",
				      ":authority",
				      ":scheme",
				      ":status",
				      "host",
				      "content-length",
				      "te",
				      "cookie",
				      "content-type",
				      "expect",
				      "connection",
				      "transfer-encoding",
				      "x-dstack-app-id" };

static void must(bool good)
{
	if (!good)
		abort();
}

static bool take(const uint8_t **p, const uint8_t *end, const char **text, size_t *len, bool is_name)
{
	size_t n;

	if (*p == end)
		return false;
	n = *(*p)++;
	if (is_name && n >= 0xe0) {
		*text = common[(n - 0xe0) % (sizeof(common) / sizeof(common[0]))];
		*len = strlen(*text);
		return true;
	}
	n = n < (size_t)(end - *p) ? n : (size_t)(end - *p);
	*text = (const char *)*p;
	*len = n;
	*p += n;
	return true;
}

static size_t lines_of(const char *p, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		must(p[i] != '\0');
		must((p[i] != '\r' || (i + 1 < len && p[i + 1] == '\n')) && (p[i] != '\n' || (i && p[i - 1] == '\r')));
		n += p[i] == '\n';
	}
	return n;
}

static void check_request(const struct http2_head *b, const struct http_head *h, bool has_body)
{
	must(h->method.len == b->method.len && memcmp(b->p, b->p + b->method.at, b->method.len) == 0);
	must(h->path.len == b->path.len && memcmp(b->p + h->path.at, b->p + b->path.at, b->path.len) == 0);
	must(h->has_host && !h->is_connect && !h->wants_upgrade);
	must((h->framing == HTTP_CHUNKED) == b->is_chunked);
	must(has_body || h->framing == HTTP_NONE);
	must(h->takes_trailers == b->takes_trailers && h->keep_alive);
	if (b->authority.len)
		must(h->authority.len == b->authority.len);
}

static void check_head(const struct http2_head *b, bool has_body, bool to_head)
{
	size_t lines = lines_of(b->p, b->len);
	struct http_head h;

	http_head_init(&h, b->kind == HTTP2_RESPONSE);
	if (b->n_fields + 5 > HTTP_FIELDS_MAX)
		return;
	/* an expectation that is not known is refused there, as it is of HTTP/1.1 */
	switch (http_head_parse(&h, b->p, b->len, &limits)) {
	case HTTP_OK:
		break;
	case HTTP_E_EXPECT:
		return;
	default:
		abort();
	}
	must(h.len == b->len && h.n_fields == lines - 2 && h.n_fields <= b->n_fields + 4);
	for (unsigned i = 0; i < h.n_fields; i++)
		must(!h.fields[i].is_hop);
	if (b->kind == HTTP2_REQUEST) {
		check_request(b, &h, has_body);
		return;
	}
	must(h.status == b->status && http_head_answers(&h, to_head, false) == HTTP_OK);
	must((h.framing == HTTP_CHUNKED) == b->is_chunked);
	must(h.framing != HTTP_UNTIL_CLOSE && h.framing != HTTP_TUNNEL);
}

static void check_trailers(const struct http2_head *b)
{
	static char text[80000];
	struct http_head chunked = { .framing = HTTP_CHUNKED };
	struct http_body body;
	enum http_error error;
	size_t whole, n = 3;

	memcpy(text, "0\r\n", 3);
	memcpy(text + n, b->p, b->len);
	n += b->len;
	memcpy(text + n, "\r\n", 2);
	n += 2;
	must(lines_of(b->p, b->len) == b->n_fields);
	http_body_init(&body, &chunked, NULL);
	error = http_body_scan(&body, text, n, &whole);
	must(error == HTTP_E_TRAILER || error == HTTP_E_CHUNK_EXTRA || (!error && whole == n && body.is_done));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[65536];
	const uint8_t *p = data + 1, *end = data + size;
	const char *name, *value;
	size_t name_len, len;
	struct http2_head b;
	bool has_body, to_head;

	if (!size)
		return 0;
	has_body = data[0] & 4;
	to_head = data[0] & 8;
	http2_head_init(&b, (enum http2_kind)(data[0] % 3), text, data[0] & 16 ? 200 : 16384, 100);
	while (take(&p, end, &name, &name_len, true) && take(&p, end, &value, &len, false))
		http2_head_field(&b, name, name_len, value, len);
	if (http2_head_end(&b, has_body, to_head))
		return 0;
	must(b.len <= b.room);
	if (b.kind == HTTP2_TRAILERS)
		check_trailers(&b);
	else
		check_head(&b, has_body, to_head);
	return 0;
}
