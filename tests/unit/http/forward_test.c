// SPDX-License-Identifier: Apache-2.0
/* Heads as they go on: byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "http/http.h"

static const struct http_limits limits = { .max_head = 16384, .max_fields = 100 };
static const char *const reserved[] = { "x-dstack-target-*", "x-dstack-app-id", NULL };

static const struct {
	const char *in, *out;
	struct http_forward how;
} cases[] = {
	{ "GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n", { 0 } },
	{ "GET /a HTTP/1.1\r\nA: b\r\nHost: h\r\nC: d\r\n\r\n",
	  "GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n",
	  { 0 } },
	{ "GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: \r\n\r\n", { 0 } },
	/* the target's authority wins over Host (RFC 9112, section 3.2.2) */
	{ "GET http://t/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: t\r\n\r\n", { 0 } },
	{ "GET http://t HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: t\r\n\r\n", { 0 } },
	{ "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", { 0 } },
	{ "CONNECT h:1 HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", { 0 } },
	/* Host, target and fields that are set */
	{ "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
	  "GET /z HTTP/1.1\r\nHost: other\r\nY: 1\r\n\r\n",
	  { .host = "other",
	    .host_len = 5,
	    .target = "/z",
	    .target_len = 2,
	    .headers = "Y: 1\r\n",
	    .headers_len = 6 } },
	/* what belongs to the connection stays behind */
	{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-A\r\nX-A: 1\r\nx-a: 2\r\nX-B: 3\r\nKeep-Alive: 5\r\n"
	  "Proxy-Connection: x\r\nTE: gzip\r\nUpgrade: websocket\r\nHTTP2-Settings: x\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nX-B: 3\r\n\r\n",
	  { 0 } },
	{ "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
	  { 0 } },
	{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "
	  "x\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	  { 0 } },
	{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
	  "x\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	  { 0 } },
	/* nobody else says who the peer is, however it is spelt, and Connection can not take it away */
	{ "GET / HTTP/1.1\r\nHost: h\r\nX-Dstack-App-Id: f\r\nx_dstack_APP_id: f\r\nX-DSTACK-Target-Anything: f\r\n"
	  "X-Dstack-Other: g\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nX-Dstack-Other: g\r\nX-Dstack-App-Id: 1\r\n\r\n",
	  { .reserved = reserved, .headers = "X-Dstack-App-Id: 1\r\n", .headers_len = 20 } },
	{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Dstack-App-Id\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nX-Dstack-App-Id: 1\r\n\r\n",
	  { .reserved = reserved, .headers = "X-Dstack-App-Id: 1\r\n", .headers_len = 20 } },
	/* framing */
	{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
	  "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
	  { 0 } },
	{ "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n",
	  "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n",
	  { 0 } },
	{ "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", { 0 } },
	/* responses */
	{ "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1\r\nConnection: X\r\nX: y\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1\r\n\r\n",
	  { 0 } },
	{ "HTTP/1.0 200\r\nContent-Length: 1\r\n\r\n",
	  "HTTP/1.1 200 \r\nContent-Length: 1\r\nConnection: close\r\n\r\n",
	  { .close = true } },
	{ "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n", { 0 } },
	{ "HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n", { 0 } },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
	  { .unchunk = true, .close = true } },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
	  { .keep_alive = true } },
	{ "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n",
	  "HTTP/1.1 101 Switching\r\nA: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	  { 0 } },
	{ "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h3\r\nContent-Length: 0\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	  { 0 } },
	{ "HTTP/1.1 200 OK\r\nX-Dstack-App-Id: b\r\nContent-Length: 0\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nX-Dstack-App-Id: b\r\nContent-Length: 0\r\n\r\n",
	  { .reserved = reserved } },
};

static void as_listed(void **state)
{
	char out[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool is_response = strncmp(cases[i].in, "HTTP/", 5) == 0;
		struct http_head h;
		size_t n;

		http_head_init(&h, is_response);
		assert_int_equal(http_head_parse(&h, cases[i].in, strlen(cases[i].in), &limits), HTTP_OK);
		assert_int_equal(h.len, strlen(cases[i].in));
		if (is_response)
			assert_int_equal(http_head_answers(&h, false, false), HTTP_OK);
		n = http_forward(&h, cases[i].in, &cases[i].how, out, sizeof(out) - 1);
		assert_true(n > 0);
		out[n] = '\0';
		assert_string_equal(out, cases[i].out);
		/* a byte less is no room; a byte of it is never written behind */
		assert_int_equal(http_forward(&h, cases[i].in, &cases[i].how, out, n - 1), 0);
		assert_int_equal(http_forward(&h, cases[i].in, &cases[i].how, out, n), n);
	}
}

static void names_are_told_apart(void **state)
{
	static const char *const names[] = { "x-a", "y-*", NULL };

	(void)state;
	assert_true(http_is_reserved(names, "X-A", 3));
	assert_true(http_is_reserved(names, "x_a", 3));
	assert_true(http_is_reserved(names, "Y-anything", 10));
	assert_true(http_is_reserved(names, "y_", 2));
	assert_false(http_is_reserved(names, "x-ab", 4));
	assert_false(http_is_reserved(names, "x-", 2));
	assert_false(http_is_reserved(names, "xa", 2));
	assert_false(http_is_reserved(names, "y", 1));
	assert_false(http_is_reserved(NULL, "y", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_listed),
		cmocka_unit_test(names_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
