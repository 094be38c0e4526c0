// SPDX-License-Identifier: Apache-2.0
/*
 * Heads: what is taken, what is refused and by which name (RFC 9112, RFC 9110). Each message is parsed whole, byte by
 * byte, and cut at every length: always the same answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "http/http.h"

static const struct http_limits limits = { .max_head = 16384, .max_fields = 100 };

struct seen {
	const char *text; /* a message, whose head ends where it ends unless `rest` says how much is behind it */
	enum http_error error;
	enum http_framing framing;
	uint64_t length;
	unsigned rest;
	char flags[8]; /* k keep-alive, c close, e 100-continue, u upgrade, t trailers */
};

#define GET(fields)  "GET / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define POST(fields) "POST / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define LINE(line)   line "\r\nHost: h\r\n\r\n"
#define BAD(name)    HTTP_E_##name, 0, 0, 0, ""

static const struct seen requests[] = {
	/* request lines */
	{ LINE("GET / HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("GET /a/b?c=d&e HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("GET /%41 HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("GET /a|b{c} HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("OPTIONS * HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("M-SEARCH / HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("get / HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("GET http://h/ HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("GET http://h HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("GET HTTPS://h:1/x?y HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("CONNECT h:443 HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ LINE("CONNECT [::1]:443 HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ "\r\n" LINE("GET / HTTP/1.1"), 0, 0, 0, 0, "k" },
	{ "GET / HTTP/1.0\r\n\r\n", 0, 0, 0, 0, "c" },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, 0, 0, 0, "k" },
	{ "\r\n\r\n" LINE("GET / HTTP/1.1"), BAD(METHOD) },
	{ "\n" LINE("GET / HTTP/1.1"), BAD(LINE_END) },
	{ LINE(" GET / HTTP/1.1"), BAD(METHOD) },
	{ LINE("GET  / HTTP/1.1"), BAD(VERSION) },
	{ LINE("GET /  HTTP/1.1"), BAD(VERSION) },
	{ LINE("GET\t/ HTTP/1.1"), BAD(METHOD) },
	{ LINE("GET / HTTP/1.1 "), BAD(VERSION) },
	{ LINE("GET / HTTP/1.1\t"), BAD(VERSION) },
	{ LINE("GET /"), BAD(VERSION) },
	{ LINE("GET"), BAD(METHOD) },
	{ LINE("G(T / HTTP/1.1"), BAD(METHOD) },
	{ LINE("G\x80T / HTTP/1.1"), BAD(METHOD) },
	{ LINE("GET: / HTTP/1.1"), BAD(METHOD) },
	{ LINE("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1"), BAD(METHOD) },
	{ LINE("GET / HTTP/1.2"), BAD(VERSION) },
	{ LINE("GET / HTTP/2.0"), BAD(VERSION) },
	{ LINE("GET / HTTP/0.9"), BAD(VERSION) },
	{ LINE("GET / HTTP/1.10"), BAD(VERSION) },
	{ LINE("GET / HTTP/1."), BAD(VERSION) },
	{ LINE("GET / http/1.1"), BAD(VERSION) },
	{ LINE("GET / HTTP/1,1"), BAD(VERSION) },
	{ LINE("GET / HTTP 1.1"), BAD(VERSION) },
	{ LINE("GET / HTTP/1.1x"), BAD(VERSION) },
	{ LINE("PRI * HTTP/2.0"), BAD(VERSION) },
	{ LINE("GET a HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET * HTTP/1.1"), BAD(TARGET) },
	{ LINE("OPTIONS *x HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET h:443 HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET ftp://h/ HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET http:/// HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET http:// HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET http://h?x HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET http://u@h/ HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET /a#b HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET /\x80 HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET /\x7f HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET /\x01 HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET /a\tb HTTP/1.1"), BAD(TARGET) },
	{ LINE("GET /a\rb HTTP/1.1"), BAD(LINE_END) },
	{ LINE("CONNECT h HTTP/1.1"), BAD(TARGET) },
	{ LINE("CONNECT h: HTTP/1.1"), BAD(TARGET) },
	{ LINE("CONNECT :443 HTTP/1.1"), BAD(TARGET) },
	{ LINE("CONNECT h:123456 HTTP/1.1"), BAD(TARGET) },
	{ LINE("CONNECT / HTTP/1.1"), BAD(TARGET) },
	{ LINE("CONNECT http://h:1/ HTTP/1.1"), BAD(TARGET) },
	{ "GET / HTTP/1.1\nHost: h\r\n\r\n", BAD(LINE_END) },
	/* line ends */
	{ "GET / HTTP/1.1\r\nHost: h\n\r\n", BAD(LINE_END) },
	{ "GET / HTTP/1.1\r\nHost: h\r\n\n", BAD(LINE_END) },
	{ "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", BAD(LINE_END) },
	{ GET("A: b\rc\r\n"), BAD(LINE_END) },
	{ GET("A: b\r\r\n"), BAD(LINE_END) },
	{ GET("A: b\n"), BAD(LINE_END) },
	{ GET("A: b\nContent-Length: 5\r\n"), BAD(LINE_END) },
	{ GET("\rA: b\r\n"), BAD(FIELD_NAME) },
	/* fields */
	{ GET("A: b\r\n"), 0, 0, 0, 0, "k" },
	{ GET("A:\r\n"), 0, 0, 0, 0, "k" },
	{ GET("A:b\r\n"), 0, 0, 0, 0, "k" },
	{ GET("A: \t b \t \r\n"), 0, 0, 0, 0, "k" },
	{ GET("A: b\tc\r\n"), 0, 0, 0, 0, "k" },
	{ GET("A: \x80\xff\r\n"), 0, 0, 0, 0, "k" },
	{ GET("!#$%&'*+-.^_`|~09azAZ: b\r\n"), 0, 0, 0, 0, "k" },
	{ GET("A: b:c\r\n"), 0, 0, 0, 0, "k" },
	{ GET("A : b\r\n"), BAD(FIELD_NAME) },
	{ GET("A\t: b\r\n"), BAD(FIELD_NAME) },
	{ GET("A b: c\r\n"), BAD(FIELD_NAME) },
	{ GET(": b\r\n"), BAD(FIELD_NAME) },
	{ GET("A\r\n"), BAD(FIELD_NAME) },
	{ GET("A(: b\r\n"), BAD(FIELD_NAME) },
	{ GET("A\x80: b\r\n"), BAD(FIELD_NAME) },
	{ GET("A\x01: b\r\n"), BAD(FIELD_NAME) },
	{ GET("\"A\": b\r\n"), BAD(FIELD_NAME) },
	{ GET("A: b\x01\r\n"), BAD(FIELD_VALUE) },
	{ GET("A: b\x7f\r\n"), BAD(FIELD_VALUE) },
	{ GET("A: b\x0b\r\n"), BAD(FIELD_VALUE) },
	{ GET("A: b\r\n c\r\n"), BAD(FOLD) },
	{ GET("A: b\r\n\tc\r\n"), BAD(FOLD) },
	{ "GET / HTTP/1.1\r\n Host: h\r\n\r\n", BAD(FOLD) },
	{ GET(" \r\n"), BAD(FOLD) },
	/* Host */
	{ "GET / HTTP/1.1\r\n\r\n", BAD(HOST) },
	{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BAD(HOST) },
	{ "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", BAD(HOST) },
	{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0, 0, 0, 0, "k" },
	{ "GET / HTTP/1.1\r\nHost: a.b:80\r\n\r\n", 0, 0, 0, 0, "k" },
	{ "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0, 0, 0, 0, "k" },
	{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD(HOST) },
	{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BAD(HOST) },
	{ "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", BAD(HOST) },
	{ "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", BAD(HOST) },
	{ "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", BAD(HOST) },
	/* Content-Length */
	{ POST("Content-Length: 5\r\n") "hello", 0, HTTP_LENGTH, 5, 5, "k" },
	{ POST("content-LENGTH:5\r\n") "hello", 0, HTTP_LENGTH, 5, 5, "k" },
	{ POST("Content-Length: 0\r\n"), 0, HTTP_NONE, 0, 0, "k" },
	{ POST("Content-Length: 000\r\n"), 0, HTTP_NONE, 0, 0, "k" },
	{ POST("Content-Length: 999999999999999999\r\n"), 0, HTTP_LENGTH, 999999999999999999, 0, "k" },
	{ GET("Content-Length: 3\r\n") "abc", 0, HTTP_LENGTH, 3, 3, "k" },
	{ POST(""), 0, HTTP_NONE, 0, 0, "k" },
	{ POST("Content-Length: 5\r\nContent-Length: 5\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 5\r\nContent-Length: 6\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 5, 5\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 5,\r\n"), BAD(LENGTH) },
	{ POST("Content-Length:\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: +5\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: -5\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 5 5\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 0x5\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 5.0\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: five\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: \"5\"\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 1234567890123456789\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 18446744073709551617\r\n"), BAD(LENGTH) },
	{ POST("Content-Length: 5\x0b\r\n"), BAD(FIELD_VALUE) },
	{ POST("Content-Length : 5\r\n"), BAD(FIELD_NAME) },
	{ POST("Content-Length\xa0: 5\r\n"), BAD(FIELD_NAME) },
	{ POST("Content_Length: 5\r\n"), 0, HTTP_NONE, 0, 0, "k" },
	/* Transfer-Encoding */
	{ POST("Transfer-Encoding: chunked\r\n"), 0, HTTP_CHUNKED, 0, 0, "k" },
	{ POST("transfer-encoding:CHUNKED\r\n"), 0, HTTP_CHUNKED, 0, 0, "k" },
	{ POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), BAD(BOTH) },
	{ POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), BAD(BOTH) },
	{ POST("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), BAD(BOTH) },
	{ POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: gzip, chunked\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: chunked, chunked\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: chunked, identity\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: chunked,\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: ,chunked\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: identity\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: gzip\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: xchunked\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: chunkedx\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: \"chunked\"\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: chunked;q=1\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding:\r\n"), BAD(CODING) },
	{ POST("Transfer-Encoding: \x0b"
	       "chunked\r\n"),
	  BAD(FIELD_VALUE) },
	{ POST("Transfer-Encoding : chunked\r\n"), BAD(FIELD_NAME) },
	{ POST("Transfer-Encoding\r\n : chunked\r\n"), BAD(FIELD_NAME) },
	{ POST("Transfer-Encoding:\r\n chunked\r\n"), BAD(CODING) },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BAD(CODING) },
	{ "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", 0, HTTP_LENGTH, 5, 0, "c" },
	/* Connection */
	{ GET("Connection: close\r\n"), 0, 0, 0, 0, "c" },
	{ GET("Connection: Close\r\n"), 0, 0, 0, 0, "c" },
	{ GET("Connection: keep-alive, close\r\n"), 0, 0, 0, 0, "c" },
	{ GET("Connection: keep-alive\r\nConnection: close\r\n"), 0, 0, 0, 0, "c" },
	{ GET("Connection: ,, x ,\tclose ,\r\n"), 0, 0, 0, 0, "c" },
	{ GET("Connection: x-y\r\nX-Y: 1\r\n"), 0, 0, 0, 0, "k" },
	{ GET("Connection: x y\r\n"), BAD(CONNECTION) },
	{ GET("Connection: a;b\r\n"), BAD(CONNECTION) },
	{ GET("Connection: host\r\n"), BAD(CONNECTION) },
	{ GET("Connection: close, Content-Length\r\n"), BAD(CONNECTION) },
	{ GET("Connection: transfer_encoding\r\n"), BAD(CONNECTION) },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 0, 0, 0, 0, "c" },
	/* Upgrade */
	{ GET("Connection: Upgrade\r\nUpgrade: websocket\r\n"), 0, 0, 0, 0, "ku" },
	{ GET("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"), 0, 0, 0, 0, "ku" },
	{ GET("Upgrade: websocket\r\n"), 0, 0, 0, 0, "k" },
	{ GET("Connection: Upgrade\r\n"), 0, 0, 0, 0, "k" },
	{ GET("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"), 0, 0, 0, 0, "k" },
	{ GET("Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n"), 0, 0, 0, 0, "k" },
	{ POST("Content-Length: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), 0, HTTP_LENGTH, 1, 0, "k" },
	{ "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 0, 0, 0, 0, "c" },
	/* Expect, TE, CONNECT */
	{ POST("Content-Length: 1\r\nExpect: 100-continue\r\n"), 0, HTTP_LENGTH, 1, 0, "ke" },
	{ POST("Content-Length: 1\r\nExpect: 100-Continue\r\n"), 0, HTTP_LENGTH, 1, 0, "ke" },
	{ GET("Expect: 100-continue\r\n"), 0, 0, 0, 0, "k" },
	{ POST("Content-Length: 1\r\nExpect: 200-ok\r\n"), BAD(EXPECT) },
	{ POST("Content-Length: 1\r\nExpect:\r\n"), BAD(EXPECT) },
	{ GET("TE: trailers\r\nConnection: TE\r\n"), 0, 0, 0, 0, "kt" },
	{ GET("TE: trailers\r\n"), 0, 0, 0, 0, "k" },
	{ "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n", BAD(NO_BODY) },
	{ "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n", BAD(NO_BODY) },
	/* what is behind a head is not looked at */
	{ GET("") "GET / HTTP/9", 0, 0, 0, 12, "k" },
};

static const struct seen responses[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 0, HTTP_LENGTH, 2, 2, "k" },
	{ "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 200 A \x80 B\r\nContent-Length: 0\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, HTTP_CHUNKED, 0, 0, "k" },
	{ "HTTP/1.1 200 OK\r\n\r\n", 0, HTTP_UNTIL_CLOSE, 0, 0, "c" },
	{ "HTTP/1.0 200 OK\r\n\r\n", 0, HTTP_UNTIL_CLOSE, 0, 0, "c" },
	{ "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", 0, HTTP_LENGTH, 1, 0, "c" },
	{ "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", 0, HTTP_LENGTH, 1, 0, "k" },
	{ "HTTP/1.1 204 No\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", 0, HTTP_NONE, 9, 0, "k" },
	{ "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 100 Continue\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 0, HTTP_TUNNEL, 0, 0, "ku" },
	{ "HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 200 OK\r\nHost: a\r\nHost: b c\r\nContent-Length: 0\r\n\r\n", 0, HTTP_NONE, 0, 0, "k" },
	{ "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", BAD(NO_BODY) },
	{ "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", BAD(NO_BODY) },
	{ "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n", BAD(NO_BODY) },
	{ "HTTP/1.1 101 x\r\nContent-Length: 5\r\n\r\n", BAD(NO_BODY) },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BAD(BOTH) },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", BAD(LENGTH) },
	{ "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", BAD(LENGTH) },
	{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BAD(CODING) },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", BAD(CODING) },
	{ "HTTP/1.1 99 x\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1 099 x\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1 600 x\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1 2000 x\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1 20x x\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1  200 x\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1 -200\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1 20\r\n\r\n", BAD(STATUS) },
	{ "HTTP/1.1 200\tOK\r\n\r\n", BAD(STATUS) },
	{ "HTTP/2.0 200 OK\r\n\r\n", BAD(VERSION) },
	{ "HTTP/1.2 200 OK\r\n\r\n", BAD(VERSION) },
	{ "ICY 200 OK what\r\n\r\n", BAD(VERSION) },
	{ "\r\nHTTP/1.1 200 OK\r\n\r\n", BAD(METHOD) },
	{ "HTTP/1.1 200 O\rK\r\n\r\n", BAD(LINE_END) },
	{ "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", BAD(LINE_END) },
	{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", BAD(FOLD) },
	{ "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", BAD(FIELD_NAME) },
};

static void flags_of(const struct http_head *h, char flags[8])
{
	char *p = flags;

	*p++ = h->keep_alive ? 'k' : 'c';
	if (h->expects_continue)
		*p++ = 'e';
	if (h->wants_upgrade)
		*p++ = 'u';
	if (h->takes_trailers)
		*p++ = 't';
	*p = '\0';
}

/* `step` bytes more each time; then what is left must be what was expected. */
static enum http_error parse(struct http_head *h, bool is_response, const char *text, size_t len, size_t step)
{
	enum http_error error = HTTP_OK;

	http_head_init(h, is_response);
	for (size_t n = step < len ? step : len; !error && !h->len; n = n + step < len ? n + step : len) {
		/* memory of its own, so that a sanitizer sees a look behind the end; it moves, too */
		char *copy = malloc(n ? n : 1);

		memcpy(copy, text, n);
		error = http_head_parse(h, copy, n, &limits);
		free(copy);
		if (n == len)
			break;
	}
	if (!error && h->len && is_response)
		error = http_head_answers(h, false, false);
	return error;
}

static void check(const struct seen *s, bool is_response)
{
	static const size_t steps[] = { 1u << 20, 1, 2, 3, 7 };
	size_t len = strlen(s->text);
	struct http_head h;
	char flags[8];

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		enum http_error error = parse(&h, is_response, s->text, len, steps[i]);

		if (error != s->error)
			fail_msg("%s, not %s: %s", http_error_name(error), http_error_name(s->error), s->text);
		if (error)
			continue;
		flags_of(&h, flags);
		if (h.len != len - s->rest || h.framing != s->framing || h.content_length != s->length ||
		    strcmp(flags, s->flags) != 0)
			fail_msg("len %u framing %d length %lu flags %s: %s", h.len, h.framing,
				 (unsigned long)h.content_length, flags, s->text);
	}
}

/* Whatever is missing at the end: not whole, or refused already, but never something else. */
static void check_cut(const struct seen *s, bool is_response)
{
	size_t len = strlen(s->text) - s->rest;
	struct http_head h;

	for (size_t n = 0; n < len; n++) {
		enum http_error error = parse(&h, is_response, s->text, n, 1u << 20);

		assert_true(error == HTTP_OK || error == s->error);
		assert_int_equal(error ? 0 : h.len, 0);
	}
}

static void requests_as_listed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		check(&requests[i], false);
		check_cut(&requests[i], false);
	}
}

static void responses_as_listed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
		check(&responses[i], true);
		check_cut(&responses[i], true);
	}
}

/* Every byte in each place of a head: only those of the grammar pass. */
static void every_byte_everywhere(void **state)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	struct http_head h;
	char text[128];

	(void)state;
	for (int c = 0; c < 256; c++) {
		bool is_token = c && strchr(token, c);
		int n = sprintf(text, "G_T / HTTP/1.1\r\nHost: h\r\nA_B: c_d\r\n\r\n");

		text[1] = (char)c;
		assert_int_equal(parse(&h, false, text, (size_t)n, 1u << 20) == HTTP_OK, is_token);
		text[1] = 'E';
		text[26] = (char)c;
		assert_int_equal(parse(&h, false, text, (size_t)n, 1u << 20) == HTTP_OK, is_token || c == ':');
		text[26] = '_';
		text[31] = (char)c;
		assert_int_equal(parse(&h, false, text, (size_t)n, 1u << 20) == HTTP_OK,
				 c == '\t' || (c >= 0x20 && c != 0x7f));
	}
}

static void zero_bytes_are_refused(void **state)
{
	static const char in_value[] = "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n";
	static const char in_target[] = "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n";
	static const char in_name[] = "GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n";
	struct http_head h;

	(void)state;
	assert_int_equal(parse(&h, false, in_value, sizeof(in_value) - 1, 1), HTTP_E_LINE_END);
	assert_int_equal(parse(&h, false, in_target, sizeof(in_target) - 1, 1), HTTP_E_LINE_END);
	assert_int_equal(parse(&h, false, in_name, sizeof(in_name) - 1, 1), HTTP_E_FIELD_NAME);
}

static void limits_hold(void **state)
{
	static char text[40000];
	const struct http_limits tight = { .max_head = 100, .max_fields = 3 };
	struct http_head h;

	(void)state;
	http_head_init(&h, false);
	strcpy(text, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA: b\r\nA: b\r\n\r\n");
	assert_int_equal(http_head_parse(&h, text, strlen(text), &tight), HTTP_E_TOO_MANY);
	http_head_init(&h, false);
	strcpy(text, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA: b\r\n\r\n");
	assert_int_equal(http_head_parse(&h, text, strlen(text), &tight), HTTP_OK);
	assert_int_equal(h.len, strlen(text));
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /", 5);
	http_head_init(&h, false);
	assert_int_equal(http_head_parse(&h, text, 99, &tight), HTTP_OK);
	assert_int_equal(http_head_parse(&h, text, 100, &tight), HTTP_E_TOO_LONG);
	http_head_init(&h, false);
	assert_int_equal(http_head_parse(&h, text, sizeof(text), &limits), HTTP_E_TOO_LONG);
}

static void an_answer_ends_by_what_was_asked(void **state)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
	struct http_head h;

	(void)state;
	parse(&h, true, ok, sizeof(ok) - 1, 1u << 20);
	assert_int_equal(http_head_answers(&h, true, false), HTTP_OK);
	assert_int_equal(h.framing, HTTP_NONE);
	assert_int_equal(http_head_answers(&h, false, true), HTTP_OK);
	assert_int_equal(h.framing, HTTP_TUNNEL);
	assert_int_equal(http_head_answers(&h, false, false), HTTP_OK);
	assert_int_equal(h.framing, HTTP_LENGTH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_as_listed),    cmocka_unit_test(responses_as_listed),
		cmocka_unit_test(every_byte_everywhere), cmocka_unit_test(zero_bytes_are_refused),
		cmocka_unit_test(limits_hold),           cmocka_unit_test(an_answer_ends_by_what_was_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
