// SPDX-License-Identifier: Apache-2.0
/* HTTP/2 through both sides: what a client says arrives, whichever version the backend speaks, and what it gets back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/h2.h"
#include "../../lib/proxy.h"

#define ENDS               NGHTTP2_FLAG_END_STREAM
#define TO                 "x-dstack-target-app: " PW_APP_SERVER "\n"
#define VIA2               "via: 1.1 bailey-mesh\nvia: 1.1 bailey-mesh\n"
#define APP1               "Via: 1.1 bailey-mesh\r\nX-Dstack-App-Id: " PW_APP_CLIENT "\r\n"
#define APP                "via: 1.1 bailey-mesh\r\n" APP1
#define HEAD(method, path) ":method: " method "\n:scheme: http\n:authority: h\n:path: " path "\n" TO
#define GRPC               HEAD("POST", "/pkg.Service/Call") "te: trailers\ncontent-type: application/grpc\n"

static struct pw w;
static struct h2t app, back;
static struct h2t_frame f;

static void begin(bool h2_backend, bool is_old)
{
	const struct pw_conf conf = { .h2_backend = h2_backend, .is_old = is_old };

	pw_start(&w, &conf);
	h2t_client(&app, pw_dial(&w, PW_HTTP));
	back = (struct h2t){ .fd = -1 };
}

static void done(void)
{
	h2t_done(&w, &app, &back);
}

static void assert_next(struct h2t *h, uint8_t type, uint32_t id, uint8_t flags, const char *text)
{
	assert_true(h2t_next(h, &f));
	assert_int_equal(f.type, type);
	assert_int_equal(f.id, id);
	assert_int_equal(f.flags & NGHTTP2_FLAG_END_STREAM, flags);
	if (text)
		assert_string_equal(f.text, text);
}

static void assert_gets(int fd, const char *text)
{
	char got[4096] = "";

	assert_true(pw_exactly(fd, got, strlen(text)));
	assert_string_equal(got, text);
}

/* --- a backend of HTTP/1.1 --- */

static void to_a_backend_of_http1(void **state)
{
	int fd;

	(void)state;
	begin(false, false);
	h2t_headers(&app, 1, ENDS, HEAD("GET", "/a?b") "cookie: a=1\naccept: */*\ncookie: b=2\n");
	fd = pw_accept(&w);
	assert_string_equal(pw_head(fd),
			    "GET /a?b HTTP/1.1\r\nHost: h\r\ncookie: a=1; b=2\r\naccept: */*\r\n" APP "\r\n");
	pw_send(fd, "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nServer: s\r\nConnection: x\r\nX: y\r\n\r\nhello");
	assert_next(&app, NGHTTP2_HEADERS, 1, 0, ":status: 200\nserver: s\ncontent-length: 5\n");
	assert_next(&app, NGHTTP2_DATA, 1, ENDS, "hello");
	/* both connections go on */
	h2t_headers(&app, 3, 0, HEAD("POST", "/b"));
	assert_string_equal(pw_head(fd),
			    "POST /b HTTP/1.1\r\nHost: h\r\nvia: 1.1 bailey-mesh\r\ntransfer-encoding: chunked\r\n" APP1
			    "\r\n");
	h2t_send(&app, NGHTTP2_DATA, 0, 3, "abc", 3);
	assert_gets(fd, "3\r\nabc\r\n");
	h2t_headers(&app, 3, ENDS, "sum: 9\n");
	assert_gets(fd, "0\r\nsum: 9\r\n\r\n");
	pw_send(fd, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
		    "chunked\r\n\r\n2\r\nok\r\n");
	assert_next(&app, NGHTTP2_HEADERS, 3, 0, ":status: 103\nlink: x\n");
	assert_next(&app, NGHTTP2_HEADERS, 3, 0, ":status: 200\n");
	assert_next(&app, NGHTTP2_DATA, 3, 0, "ok");
	pw_send(fd, "0\r\nC: d \r\n\r\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 3));
	assert_string_equal(f.text, "c: d\n");
	assert_int_equal(f.flags & ENDS, ENDS);
	/* a length that was told stays one */
	h2t_headers(&app, 5, 0, HEAD("PUT", "/c") "content-length: 3\n");
	h2t_send(&app, NGHTTP2_DATA, ENDS, 5, "abc", 3);
	assert_string_equal(pw_head(fd),
			    "PUT /c HTTP/1.1\r\nHost: h\r\nvia: 1.1 bailey-mesh\r\ncontent-length: 3\r\n" APP1 "\r\n");
	assert_gets(fd, "abc");
	pw_send(fd, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
	assert_next(&app, NGHTTP2_HEADERS, 5, 0, ":status: 200\n");
	assert_next(&app, NGHTTP2_DATA, 5, 0, "until the end");
	close(fd);
	assert_next(&app, NGHTTP2_DATA, 5, ENDS, "");
	assert_int_equal(pw_counters(&w, true).handshakes_in, 1);
	assert_int_equal(pw_counters(&w, true).h2_requests, 3);
	done();
}

static void heads_without_a_body(void **state)
{
	static const char *const answers[][2] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", ":status: 200\ncontent-length: 99\n" },
		{ "HTTP/1.1 304 No\r\nContent-Length: 99\r\n\r\n", ":status: 304\ncontent-length: 99\n" },
		{ "HTTP/1.1 204 No\r\n\r\n", ":status: 204\n" },
	};
	int fd = -1;

	(void)state;
	begin(false, false);
	for (uint32_t i = 0; i < 3; i++) {
		h2t_headers(&app, 2 * i + 1, ENDS, HEAD("HEAD", "/"));
		fd = fd < 0 ? pw_accept(&w) : fd;
		assert_non_null(strstr(pw_head(fd), "HEAD / "));
		pw_send(fd, answers[i][0]);
		assert_next(&app, NGHTTP2_HEADERS, 2 * i + 1, ENDS, answers[i][1]);
	}
	close(fd);
	done();
}

/* --- gRPC: both ways at once, trailers, statuses --- */

static void back_server(void)
{
	h2t_server(&back, pw_accept(&w));
}

static void grpc_both_ways(void **state)
{
	(void)state;
	begin(true, false);
	h2t_headers(&app, 1, 0, GRPC "grpc-timeout: 1S\nx-dstack-app-id: forged\nx_dstack_app_id: forged\n");
	back_server();
	assert_next(&back, NGHTTP2_HEADERS, 1, 0,
		    ":method: POST\n:scheme: http\n:authority: h\n:path: /pkg.Service/Call\n"
		    "content-type: application/grpc\ngrpc-timeout: 1S\n" VIA2 "x-dstack-app-id: " PW_APP_CLIENT
		    "\nte: trailers\n");
	/* the answer begins before the request ends, and nothing waits for more */
	h2t_headers(&back, 1, 0, ":status: 200\ncontent-type: application/grpc\n");
	assert_next(&app, NGHTTP2_HEADERS, 1, 0, ":status: 200\ncontent-type: application/grpc\n");
	for (int i = 0; i < 5; i++) {
		h2t_send(&app, NGHTTP2_DATA, 0, 1, "ping", 4);
		assert_next(&back, NGHTTP2_DATA, 1, 0, "ping");
		h2t_send(&back, NGHTTP2_DATA, 0, 1, "pong", 4);
		assert_next(&app, NGHTTP2_DATA, 1, 0, "pong");
	}
	/* half of it ends */
	h2t_send(&app, NGHTTP2_DATA, ENDS, 1, "", 0);
	assert_next(&back, NGHTTP2_DATA, 1, ENDS, "");
	h2t_send(&back, NGHTTP2_DATA, 0, 1, "last", 4);
	assert_next(&app, NGHTTP2_DATA, 1, 0, "last");
	h2t_headers(&back, 1, ENDS, "grpc-status: 0\nx-bin: aGVsbG8\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 1));
	assert_string_equal(f.text, "grpc-status: 0\nx-bin: aGVsbG8\n");
	assert_int_equal(f.flags & ENDS, ENDS);
	done();
}

static void grpc_without_messages(void **state)
{
	(void)state;
	begin(true, false);
	/* a status and nothing else is one HEADERS with the end in it: a client looks for that */
	h2t_headers(&app, 1, 0, GRPC "content-length: 5\n");
	h2t_send(&app, NGHTTP2_DATA, ENDS, 1, "abcde", 5);
	back_server();
	assert_true(h2t_until(&back, &f, NGHTTP2_DATA, 1));
	h2t_headers(&back, 1, ENDS, ":status: 200\ncontent-type: application/grpc\ngrpc-status: 5\n");
	assert_next(&app, NGHTTP2_HEADERS, 1, ENDS, ":status: 200\ncontent-type: application/grpc\ngrpc-status: 5\n");
	/* the server has heard enough: the client is told so, with the status */
	h2t_headers(&app, 3, 0, GRPC);
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 3));
	h2t_headers(&back, 3, 0, ":status: 200\ncontent-type: application/grpc\n");
	h2t_headers(&back, 3, ENDS, "grpc-status: 8\n");
	h2t_reset(&back, 3, NGHTTP2_NO_ERROR);
	assert_next(&app, NGHTTP2_HEADERS, 3, 0, NULL);
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 3));
	assert_string_equal(f.text, "grpc-status: 8\n");
	assert_next(&app, NGHTTP2_RST_STREAM, 3, 0, NULL);
	assert_int_equal(f.code, NGHTTP2_NO_ERROR);
	done();
}

static void resets_are_passed_on(void **state)
{
	(void)state;
	begin(true, false);
	h2t_headers(&app, 1, 0, GRPC);
	back_server();
	assert_next(&back, NGHTTP2_HEADERS, 1, 0, NULL);
	h2t_reset(&app, 1, NGHTTP2_CANCEL);
	assert_next(&back, NGHTTP2_RST_STREAM, 1, 0, NULL);
	assert_int_equal(f.code, NGHTTP2_CANCEL);
	h2t_headers(&app, 3, 0, GRPC);
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 3));
	h2t_headers(&back, 3, 0, ":status: 200\n");
	assert_next(&app, NGHTTP2_HEADERS, 3, 0, NULL);
	h2t_reset(&back, 3, NGHTTP2_ENHANCE_YOUR_CALM);
	assert_next(&app, NGHTTP2_RST_STREAM, 3, 0, NULL);
	assert_int_equal(f.code, NGHTTP2_ENHANCE_YOUR_CALM);
	/* before any answer: an error of ours, in gRPC's words */
	h2t_headers(&app, 5, 0, GRPC);
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 5));
	h2t_reset(&back, 5, NGHTTP2_REFUSED_STREAM);
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 5));
	assert_non_null(strstr(f.text, "grpc-status: 14\n"));
	assert_non_null(strstr(f.text, "CONNECTION_FAILED"));
	/* the socket goes: so does what is on it, and what comes then gets a new one */
	h2t_headers(&app, 7, 0, GRPC);
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 7));
	h2t_headers(&back, 7, 0, ":status: 200\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 7));
	h2t_end(&back);
	assert_true(h2t_until(&app, &f, NGHTTP2_RST_STREAM, 7));
	h2t_headers(&app, 9, 0, GRPC);
	back_server();
	assert_next(&back, NGHTTP2_HEADERS, 1, 0, NULL);
	done();
}

/* --- who may, each stream for itself --- */

static void each_stream_is_judged(void **state)
{
	(void)state;
	begin(true, false);
	h2t_headers(&app, 1, 0, HEAD("GET", "/fine"));
	back_server();
	assert_next(&back, NGHTTP2_HEADERS, 1, 0, NULL);
	h2t_headers(&app, 3, ENDS, HEAD("GET", "/deny"));
	assert_next(&app, NGHTTP2_HEADERS, 3, 0, NULL);
	assert_memory_equal(f.text, ":status: 403\n", 13);
	assert_next(&app, NGHTTP2_DATA, 3, ENDS, "{\"error\":\"DENIED: denied by rule \\\"none\\\"\"}");
	h2t_headers(&app, 5, 0, HEAD("POST", "/deny/x") "content-type: application/grpc+proto\n");
	assert_next(&app, NGHTTP2_HEADERS, 5, ENDS, NULL);
	assert_memory_equal(f.text, ":status: 200\n", 13);
	assert_non_null(strstr(f.text, "\ncontent-type: application/grpc\n"));
	assert_non_null(strstr(f.text, "\ngrpc-status: 7\n"));
	assert_non_null(strstr(f.text, "denied by rule"));
	assert_next(&app, NGHTTP2_RST_STREAM, 5, 0, NULL);
	assert_int_equal(f.code, NGHTTP2_NO_ERROR);
	h2t_headers(&app, 7, ENDS, ":method: GET\n:scheme: http\n:authority: h\n:path: /health\n");
	assert_next(&app, NGHTTP2_HEADERS, 7, 0, NULL);
	assert_next(&app, NGHTTP2_DATA, 7, ENDS, "well\n");
	/* the first one never noticed */
	h2t_headers(&back, 1, ENDS, ":status: 200\n");
	assert_next(&app, NGHTTP2_HEADERS, 1, ENDS, ":status: 200\n");
	assert_int_equal(pw_counters(&w, true).denied, 2);
	done();
}

/* --- versions --- */

static void an_old_peer_gets_http1(void **state)
{
	int fd;

	(void)state;
	begin(false, true);
	for (uint32_t i = 0; i < 3; i++) {
		h2t_headers(&app, 2 * i + 1, ENDS, HEAD("GET", "/old"));
		fd = i ? fd : pw_accept(&w);
		assert_non_null(strstr(pw_head(fd), "GET /old "));
		pw_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
		assert_next(&app, NGHTTP2_HEADERS, 2 * i + 1, 0, NULL);
		assert_next(&app, NGHTTP2_DATA, 2 * i + 1, ENDS, "x");
	}
	assert_int_equal(pw_counters(&w, true).h2_requests, 0);
	assert_int_equal(pw_counters(&w, true).handshakes_in, 1);
	close(fd);
	done();
}

static void an_old_client_reaches_a_new_backend(void **state)
{
	int fd;

	(void)state;
	begin(true, false);
	fd = pw_dial(&w, PW_HTTP);
	pw_send(fd, "POST /x HTTP/1.1\r\nHost: h\r\nx-dstack-target-app: " PW_APP_SERVER
		    "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n");
	back_server();
	assert_next(&back, NGHTTP2_HEADERS, 1, 0,
		    ":method: POST\n:scheme: http\n:authority: h\n:path: /x\n" VIA2 "x-dstack-app-id: " PW_APP_CLIENT
		    "\n");
	assert_next(&back, NGHTTP2_DATA, 1, 0, "abc");
	assert_next(&back, NGHTTP2_HEADERS, 1, ENDS, "a: b\n");
	h2t_headers(&back, 1, 0, ":status: 200\n");
	h2t_send(&back, NGHTTP2_DATA, 0, 1, "hello", 5);
	h2t_headers(&back, 1, ENDS, "c: d\n");
	assert_string_equal(pw_head(fd), "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n");
	assert_gets(fd, "5\r\nhello\r\n0\r\nc: d\r\n\r\n");
	pw_send(fd, "GET / HTTP/1.1\r\nHost: h\r\nx-dstack-target-app: " PW_APP_SERVER
		    "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	assert_next(&back, NGHTTP2_HEADERS, 3, ENDS, NULL);
	assert_null(strstr(f.text, "upgrade"));
	h2t_headers(&back, 3, ENDS, ":status: 400\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 400"));
	assert_gets(fd, "0\r\n\r\n");
	pw_send(fd, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nx-dstack-target-app: " PW_APP_SERVER "\r\n\r\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 501"));
	close(fd);
	done();
}

/* All at once, before there is a connection: one is made, and carries all. */
static void many_streams_one_connection(void **state)
{
	uint64_t answered = 0;

	(void)state;
	begin(true, false);
	for (uint32_t i = 0; i < 50; i++)
		h2t_headers(&app, 2 * i + 1, 0, HEAD("POST", "/many"));
	back_server();
	for (uint32_t i = 0; i < 50; i++)
		assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 2 * i + 1));
	assert_int_equal(pw_counters(&w, true).handshakes_in, 1);
	assert_int_equal(pw_counters(&w, true).upstream_connects, 1);
	assert_int_equal(pw_counters(&w, true).streams, 50);
	assert_int_equal(pw_counters(&w, true).connections, 1);
	for (uint32_t i = 0; i < 50; i++)
		h2t_headers(&back, 2 * i + 1, ENDS, ":status: 200\n");
	for (int n = 0; n < 50;) { /* in any order: streams do not wait for each other */
		assert_true(h2t_next(&app, &f));
		if (f.type != NGHTTP2_HEADERS)
			continue;
		assert_true(f.id % 2 && f.id < 100 && !(answered & 1ull << f.id / 2));
		answered |= 1ull << f.id / 2;
		n++;
	}
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(to_a_backend_of_http1),
		cmocka_unit_test(heads_without_a_body),
		cmocka_unit_test(grpc_both_ways),
		cmocka_unit_test(grpc_without_messages),
		cmocka_unit_test(resets_are_passed_on),
		cmocka_unit_test(each_stream_is_judged),
		cmocka_unit_test(an_old_peer_gets_http1),
		cmocka_unit_test(an_old_client_reaches_a_new_backend),
		cmocka_unit_test(many_streams_one_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
