// SPDX-License-Identifier: Apache-2.0
/* HTTP/2 from somebody who means harm: what must never reach a backend, what must not cost, and who is cut. */
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

#define STREAMS_MAX        128 /* of a connection, as docs/mesh.md says */
#define ENDS               NGHTTP2_FLAG_END_STREAM
#define TO                 "x-dstack-target-app: " PW_APP_SERVER "\n"
#define HEAD(method, path) ":method: " method "\n:scheme: http\n:authority: h\n:path: " path "\n" TO

static struct pw w;
static struct h2t app, back;
static struct h2t_frame f;

static void begin(bool h2_backend, const struct mp_conf *engine)
{
	struct pw_conf conf = { .h2_backend = h2_backend };

	if (engine)
		conf.client = conf.server = *engine;
	pw_start(&w, &conf);
	h2t_client(&app, pw_dial(&w, PW_HTTP));
	back = (struct h2t){ .fd = -1 };
}

static void done(void)
{
	h2t_done(&w, &app, &back);
}

/* The backend hears nothing but what is asked after it. */
static void assert_backend_hears_only(const char *path)
{
	char line[256];
	int fd;

	h2t_headers(&app, 2001, ENDS, HEAD("GET", "/after"));
	fd = pw_accept(&w);
	snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\n", path);
	assert_memory_equal(pw_head(fd), line, strlen(line));
	close(fd);
}

/* --- heads that two programs would read in two ways --- */

#define P ":method: GET\n:scheme: http\n:authority: h\n:path: /x\n"

static const char *const malformed[] = {
	/* a value that would be lines in HTTP/1.1 */
	P TO "a: b\\x0d\\x0aContent-Length: 3\n",
	P TO "a: b\\x0aX: y\n",
	P TO "a: b\\x0d\n",
	P TO "a: b\\x00c\n",
	P TO "a: b\\x7f\n",
	P TO "a\\x0d\\x0ab: c\n",
	":method: GET\n:scheme: http\n:authority: h\n:path: /x HTTP/1.1\\x0d\\x0aHost: y\\x0d\\x0a\n" TO,
	":method: GET /y HTTP/1.1\\x0d\\x0a\n:scheme: http\n:authority: h\n:path: /x\n" TO,
	":method: GET\n:scheme: http\n:authority: h\\x0d\\x0aX: y\n:path: /x\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n:path: /x y\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n:path: /x#y\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n:path: http://y/\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n:path: x\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n:path: \n" TO,
	":method: G T\n:scheme: http\n:authority: h\n:path: /x\n" TO,
	":method: \n:scheme: http\n:authority: h\n:path: /x\n" TO,
	":method: GET\n:scheme: http\n:authority: u@h\n:path: /x\n" TO,
	":method: GET\n:scheme: http\n:authority: h/y\n:path: /x\n" TO,
	":method: GET\n:scheme: ftp\n:authority: h\n:path: /x\n" TO,
	/* what belongs to a connection */
	P TO "connection: close\n",
	P TO "connection: x-dstack-app-id\n",
	P TO "transfer-encoding: chunked\n",
	P TO "keep-alive: 1\n",
	P TO "proxy-connection: close\n",
	P TO "upgrade: websocket\n",
	P TO "te: gzip\n",
	P TO "te: trailers, deflate\n",
	P TO "http2-settings: AAMAAABkAAQAAP__\n",
	/* who is asked, twice or not at all */
	P TO "host: y\n",
	P TO "host: h\nhost: h\n",
	":method: GET\n:scheme: http\n:path: /x\n" TO,
	":method: GET\n:scheme: http\n:path: /x\nhost: h\nhost: y\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n:authority: y\n:path: /x\n" TO,
	/* pseudo-fields */
	":method: GET\n:scheme: http\n:authority: h\n" TO ":path: /x\n",
	":method: GET\n:method: POST\n:scheme: http\n:authority: h\n:path: /x\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n:path: /x\n:path: /y\n" TO,
	":method: GET\n:authority: h\n:path: /x\n" TO,
	":scheme: http\n:authority: h\n:path: /x\n" TO,
	":method: GET\n:scheme: http\n:authority: h\n" TO,
	P ":status: 200\n" TO,
	P ":protocol: websocket\n" TO,
	P ":x: y\n" TO,
	":method: OPTION\n:scheme: http\n:authority: h\n:path: *\n" TO,
	/* lengths that are none, or not those */
	P TO "content-length: 3\n",
	P TO "content-length: 0\ncontent-length: 0\n",
	P TO "content-length: +0\n",
	P TO "content-length: 0x0\n",
	P TO "content-length: 99999999999999999999\n",
	P TO "content-length: -1\n",
	/* names */
	P TO "X-Upper: a\n",
	P TO "x y: a\n",
	P TO ": a\n",
};

static void what_can_be_read_in_two_ways(void **state)
{
	const unsigned n = sizeof(malformed) / sizeof(malformed[0]);

	(void)state;
	begin(false, NULL);
	for (uint32_t i = 0; i < n; i++) {
		h2t_headers(&app, 2 * i + 1, ENDS, malformed[i]);
		do
			assert_true(h2t_next(&app, &f));
		while (f.id != 2 * i + 1);
		if (f.type == NGHTTP2_RST_STREAM)
			assert_int_equal(f.code, NGHTTP2_PROTOCOL_ERROR);
		else if (f.type != NGHTTP2_HEADERS || memcmp(f.text, ":status: 400\n", 13) != 0)
			fail_msg("not refused: %s -> %u %s", malformed[i], f.type, f.text);
	}
	assert_int_equal(pw_counters(&w, true).requests, 0);
	assert_true(pw_counters(&w, false).malformed_requests >= n);
	assert_backend_hears_only("/after");
	done();
}

static void methods_that_are_not_for_us(void **state)
{
	(void)state;
	begin(false, NULL);
	h2t_headers(&app, 1, 0, ":method: CONNECT\n:authority: h:1\n" TO);
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 1));
	assert_memory_equal(f.text, ":status: 501\n", 13);
	done();
}

static void bodies_that_are_not_as_long_as_they_said(void **state)
{
	char text[256];
	int fd;

	(void)state;
	begin(false, NULL);
	h2t_headers(&app, 1, 0, HEAD("POST", "/long") "content-length: 3\n");
	fd = pw_accept(&w);
	assert_non_null(pw_head(fd));
	h2t_send(&app, NGHTTP2_DATA, ENDS, 1, "abcGET /smuggled HTTP/1.1\r\n\r\n", 29);
	assert_true(h2t_until(&app, &f, NGHTTP2_RST_STREAM, 1));
	assert_int_equal(f.code, NGHTTP2_PROTOCOL_ERROR);
	/* at most what was promised */
	assert_true(recv(fd, text, sizeof(text), 0) <= 3);
	close(fd);
	h2t_headers(&app, 3, 0, HEAD("POST", "/short") "content-length: 9\n");
	fd = pw_accept(&w);
	assert_non_null(pw_head(fd));
	h2t_send(&app, NGHTTP2_DATA, ENDS, 3, "abc", 3);
	assert_true(h2t_until(&app, &f, NGHTTP2_RST_STREAM, 3));
	close(fd);
	/* chunks are data here */
	h2t_headers(&app, 5, 0, HEAD("POST", "/chunks"));
	fd = pw_accept(&w);
	assert_non_null(pw_head(fd));
	h2t_send(&app, NGHTTP2_DATA, 0, 5, "0\r\n\r\n", 5);
	assert_true(pw_exactly(fd, text, 10));
	assert_memory_equal(text, "5\r\n0\r\n\r\n\r\n", 10);
	/* trailers that would be an identity, or framing */
	h2t_headers(&app, 5, ENDS, "x-dstack-app-id: forged\n");
	assert_true(pw_is_reset(fd));
	close(fd);
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 5));
	assert_memory_equal(f.text, ":status: 400\n", 13);
	h2t_headers(&app, 7, 0, HEAD("POST", "/trailers"));
	fd = pw_accept(&w);
	assert_non_null(pw_head(fd));
	h2t_headers(&app, 7, ENDS, "content-length: 3\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_RST_STREAM, 7));
	close(fd);
	done();
}

/* --- a server that means harm --- */

static void answers_that_are_none(void **state)
{
	static const char *const answers[] = {
		":status: 200\nconnection: close\n",
		":status: 200\ntransfer-encoding: chunked\n",
		":status: 200\na: b\\x0d\\x0ac: d\n",
		":status: 101\n",
		":status: 99\n",
		":status: 200\n:status: 201\n",
		":status: 200\n:path: /\n",
		"a: b\n",
		":status: 200\ncontent-length: 5\n",
	};

	(void)state;
	begin(true, NULL);
	for (uint32_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		h2t_headers(&app, 2 * i + 1, 0, HEAD("POST", "/"));
		if (!i)
			h2t_server(&back, pw_accept(&w));
		assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 2 * i + 1));
		h2t_headers(&back, 2 * i + 1, ENDS, answers[i]);
		assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 2 * i + 1));
		assert_memory_equal(f.text, ":status: 502\n", 13);
	}
	assert_int_equal(pw_counters(&w, true).malformed_responses, sizeof(answers) / sizeof(answers[0]));
	done();
}

/* --- floods --- */

static void assert_calm(uint32_t code)
{
	while (h2t_next(&app, &f))
		if (f.type == NGHTTP2_GOAWAY) {
			assert_int_equal(f.code, code);
			break;
		}
	assert_int_equal(f.type, NGHTTP2_GOAWAY);
	for (int i = 0; i < 2000 && pw_counters(&w, false).streams > 0; i++)
		usleep(1000);
	assert_int_equal(pw_counters(&w, false).streams, 0);
}

static void frames_that_carry_nothing(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t id, len;
		uint8_t p[8];
	} floods[] = {
		{ NGHTTP2_PING, 0, 8, "flooding" },
		{ NGHTTP2_SETTINGS, 0, 6, { 0, 3, 0, 0, 0, 100 } },
		{ NGHTTP2_SETTINGS, 0, 0, "" },
		{ NGHTTP2_WINDOW_UPDATE, 0, 4, { 0, 0, 0, 1 } },
		{ NGHTTP2_WINDOW_UPDATE, 1, 4, { 0, 0, 0, 1 } },
		{ NGHTTP2_DATA, 1, 0, "" },
		{ NGHTTP2_PRIORITY, 3, 5, { 0, 0, 0, 1, 5 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
		begin(true, NULL);
		h2t_headers(&app, 1, 0, HEAD("POST", "/flood"));
		for (int n = 0; n < 3000; n++)
			h2t_send(&app, floods[i].type, 0, floods[i].id, floods[i].p, floods[i].len);
		assert_calm(NGHTTP2_ENHANCE_YOUR_CALM);
		assert_int_equal(pw_counters(&w, false).h2_floods, 1);
		done();
	}
}

static void streams_that_are_taken_back(void **state)
{
	struct mp_counters c;

	(void)state;
	begin(true, NULL);
	for (uint32_t i = 0; i < 6000; i++) {
		h2t_headers(&app, 2 * i + 1, ENDS, HEAD("GET", "/rapid"));
		h2t_reset(&app, 2 * i + 1, NGHTTP2_CANCEL);
	}
	assert_calm(NGHTTP2_ENHANCE_YOUR_CALM);
	c = pw_counters(&w, false);
	assert_int_equal(c.h2_floods, 1);
	assert_true(c.h2_requests < 5000);
	done();
}

/* The server is made to reset them: a window that is larger than there is. */
static void streams_that_must_be_reset(void **state)
{
	(void)state;
	begin(true, NULL);
	for (uint32_t i = 0; i < 6000; i++) {
		h2t_headers(&app, 2 * i + 1, 0, HEAD("POST", "/made"));
		h2t_send(&app, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, "\x7f\xff\xff\xff", 4);
	}
	assert_calm(NGHTTP2_ENHANCE_YOUR_CALM);
	done();
}

static void blocks_without_end(void **state)
{
	static uint8_t block[16000];
	static char fields[16000];
	size_t len;

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(fields, "x-filler: 0123456789012345678901234567890123456789\n");
	len = h2t_block(block, fields);
	begin(true, NULL);
	h2t_send(&app, NGHTTP2_HEADERS, 0, 1, block, h2t_block(block, HEAD("GET", "/")));
	for (int i = 0; i < 500; i++)
		h2t_send(&app, NGHTTP2_CONTINUATION, 0, 1, block, h2t_block(block, fields));
	while (h2t_next(&app, &f) && f.type != NGHTTP2_GOAWAY)
		;
	assert_int_equal(pw_counters(&w, false).h2_requests, 0);
	assert_int_equal(pw_counters(&w, true).h2_requests, 0);
	h2t_end(&app);
	/* empty ones */
	h2t_client(&app, pw_dial(&w, PW_HTTP));
	h2t_send(&app, NGHTTP2_HEADERS, 0, 1, block, h2t_block(block, HEAD("GET", "/")));
	for (int i = 0; i < 5000; i++)
		h2t_send(&app, NGHTTP2_CONTINUATION, 0, 1, "", 0);
	while (h2t_next(&app, &f) && f.type != NGHTTP2_GOAWAY)
		;
	for (int i = 0; i < 2000 && pw_counters(&w, false).sessions > 0; i++)
		usleep(1000);
	assert_int_equal(pw_counters(&w, false).sessions, 0);
	h2t_end(&app);
	/* whole, but too much: said in an answer, and the connection lives */
	h2t_client(&app, pw_dial(&w, PW_HTTP));
	(void)len;
	h2t_send(&app, NGHTTP2_HEADERS, ENDS, 1, block, h2t_block(block, HEAD("GET", "/")));
	for (int i = 0; i < 4; i++)
		h2t_send(&app, NGHTTP2_CONTINUATION, i == 3 ? NGHTTP2_FLAG_END_HEADERS : 0, 1, block,
			 h2t_block(block, fields));
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 1));
	assert_memory_equal(f.text, ":status: 431\n", 13);
	done();
}

static void a_block_that_drips(void **state)
{
	const struct mp_conf engine = { .head_ms = 300, .keepalive_ms = 5000 };
	static uint8_t block[1000];

	(void)state;
	begin(true, &engine);
	h2t_send(&app, NGHTTP2_HEADERS, 0, 1, block, h2t_block(block, HEAD("GET", "/")));
	for (int i = 0; i < 60 && pw_counters(&w, false).connections; i++) {
		usleep(100000);
		h2t_send(&app, NGHTTP2_CONTINUATION, 0, 1, block, h2t_block(block, "a: b\n"));
	}
	assert_true(pw_counters(&w, false).timeouts >= 1);
	assert_int_equal(pw_counters(&w, false).connections, 0);
	done();
}

/* --- how much may be --- */

static void streams_have_a_limit(void **state)
{
	const struct mp_conf engine = { .max_connections = 20 };
	unsigned refused = 0;

	(void)state;
	/* all that are under way at once, by one connection or by many */
	begin(true, &engine);
	for (uint32_t i = 0; i < 30; i++)
		h2t_headers(&app, 2 * i + 1, 0, HEAD("POST", "/"));
	while (refused < 11 && h2t_next(&app, &f))
		if (f.type == NGHTTP2_RST_STREAM && f.code == NGHTTP2_REFUSED_STREAM)
			refused++;
	assert_int_equal(refused, 11);
	assert_int_equal(pw_counters(&w, false).streams, 19);
	done();
	/* and of one connection */
	begin(true, NULL);
	for (uint32_t i = 0; i < STREAMS_MAX + 2; i++)
		h2t_headers(&app, 2 * i + 1, 0, HEAD("POST", "/"));
	for (refused = 0; refused < 2 && h2t_next(&app, &f);)
		if (f.type == NGHTTP2_RST_STREAM) {
			assert_int_equal(f.code, NGHTTP2_REFUSED_STREAM);
			assert_true(f.id > 2 * STREAMS_MAX);
			refused++;
		}
	assert_int_equal(refused, 2);
	assert_int_equal(pw_counters(&w, false).streams, STREAMS_MAX);
	done();
}

/* A backend that does not read: its client stops, and what is held between them has a bound. */
static void what_nobody_reads(void **state)
{
	static char piece[16384];
	uint64_t sent = 0, window = 65535, conn = 65535;
	struct mp_counters c;

	(void)state;
	begin(true, NULL);
	app.shows_windows = true;
	h2t_headers(&app, 1, 0, HEAD("POST", "/slow"));
	h2t_server(&back, pw_accept(&w));
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 1));
	window = 256 << 10; /* as SETTINGS say */
	for (;;) {
		struct timeval t = { .tv_usec = 300000 };

		while (window >= sizeof(piece) && conn >= sizeof(piece)) {
			h2t_send(&app, NGHTTP2_DATA, 0, 1, piece, sizeof(piece));
			sent += sizeof(piece), window -= sizeof(piece), conn -= sizeof(piece);
		}
		setsockopt(app.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
		if (!h2t_next(&app, &f))
			break;
		if (f.type == NGHTTP2_WINDOW_UPDATE) {
			const uint8_t *p = (const uint8_t *)f.text;

			*(f.id ? &window : &conn) += (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | p[2] << 8 | p[3];
		}
	}
	/* two proxies with a window and two buffers each, and the backend's own window */
	assert_in_range(sent, 65535, 2 * ((256 << 10) + (64 << 10) * 3) + 65535);
	c = pw_counters(&w, false);
	assert_true(c.buffers_in_use <= 4);
	/* another stream does not wait for it */
	setsockopt(app.fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = PW_TIMEOUT }, sizeof(struct timeval));
	h2t_headers(&app, 3, ENDS, HEAD("GET", "/other"));
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 3));
	h2t_headers(&back, 3, ENDS, ":status: 204\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 3));
	done();
}

/* --- who is cut, and how it ends --- */

static bool is_any(const struct mp_relay *r, void *arg)
{
	(void)arg;
	return r->in && strcmp(r->in->app, PW_APP_CLIENT) == 0;
}

static void cut_client(struct pw *world, void *arg)
{
	*(unsigned *)arg = mp_cut(world->server, is_any, NULL);
}

static void a_peer_that_is_gone_is_cut(void **state)
{
	unsigned n = 0;

	(void)state;
	begin(true, NULL);
	h2t_headers(&app, 1, 0, HEAD("POST", "/a"));
	h2t_server(&back, pw_accept(&w));
	h2t_headers(&app, 3, 0, HEAD("POST", "/b"));
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 3));
	h2t_headers(&back, 3, 0, ":status: 200\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 3));
	pw_do(&w, cut_client, &n);
	assert_true(n >= 3); /* two streams, their connection and the backend's */
	assert_true(h2t_until(&app, &f, NGHTTP2_RST_STREAM, 3));
	for (int i = 0; i < 1000 && pw_counters(&w, true).connections; i++)
		usleep(1000);
	assert_int_equal(pw_counters(&w, true).connections + pw_counters(&w, true).streams, 0);
	while (h2t_next(&back, &f))
		;
	done();
}

static bool is_second(const struct mp_relay *r, void *arg)
{
	return r->is_stream && !(*(unsigned *)arg)--;
}

static void cut_second(struct pw *world, void *arg)
{
	mp_cut(world->server, is_second, arg);
}

static void one_stream_is_cut_alone(void **state)
{
	unsigned skip = 1;

	(void)state;
	begin(true, NULL);
	h2t_headers(&app, 1, 0, HEAD("POST", "/a"));
	h2t_server(&back, pw_accept(&w));
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 1));
	h2t_headers(&app, 3, 0, HEAD("POST", "/b"));
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 3));
	pw_do(&w, cut_second, &skip);
	assert_true(h2t_until(&back, &f, NGHTTP2_RST_STREAM, 3));
	h2t_headers(&back, 1, ENDS, ":status: 200\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 1));
	done();
}

static void on_drained(void *arg)
{
	*(_Atomic bool *)arg = true;
}

static void drain_both(struct pw *world, void *arg)
{
	mp_drain(world->client, 5000, on_drained, arg);
}

static void a_drain_lets_streams_end(void **state)
{
	_Atomic bool is_drained = false;

	(void)state;
	begin(true, NULL);
	h2t_headers(&app, 1, 0, HEAD("POST", "/a"));
	h2t_server(&back, pw_accept(&w));
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 1));
	pw_do(&w, drain_both, (void *)&is_drained);
	assert_true(h2t_until(&app, &f, NGHTTP2_GOAWAY, 0));
	assert_int_equal(f.code, NGHTTP2_NO_ERROR);
	assert_memory_equal(f.text, "\x7f\xff\xff\xff", 4);
	/* one that was on its way still counts */
	h2t_headers(&app, 3, 0, HEAD("POST", "/b"));
	assert_true(h2t_until(&back, &f, NGHTTP2_HEADERS, 3));
	assert_true(h2t_until(&app, &f, NGHTTP2_GOAWAY, 0));
	assert_memory_equal(f.text, "\0\0\0\3", 4);
	h2t_headers(&app, 5, 0, HEAD("POST", "/late"));
	h2t_send(&app, NGHTTP2_DATA, ENDS, 1, "abc", 3);
	assert_true(h2t_until(&back, &f, NGHTTP2_DATA, 1));
	h2t_headers(&back, 1, ENDS, ":status: 200\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 1));
	assert_false(is_drained);
	h2t_headers(&back, 3, ENDS, ":status: 200\n");
	assert_true(h2t_until(&app, &f, NGHTTP2_HEADERS, 3));
	h2t_end(&app);
	for (int i = 0; i < 3000 && !is_drained; i++)
		usleep(1000);
	assert_true(is_drained);
	assert_int_equal(pw_counters(&w, true).h2_requests, 2);
	h2t_client(&app, pw_dial(&w, PW_TLS_HTTP));
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_can_be_read_in_two_ways),
		cmocka_unit_test(methods_that_are_not_for_us),
		cmocka_unit_test(bodies_that_are_not_as_long_as_they_said),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(frames_that_carry_nothing),
		cmocka_unit_test(streams_that_are_taken_back),
		cmocka_unit_test(streams_that_must_be_reset),
		cmocka_unit_test(blocks_without_end),
		cmocka_unit_test(a_block_that_drips),
		cmocka_unit_test(streams_have_a_limit),
		cmocka_unit_test(what_nobody_reads),
		cmocka_unit_test(a_peer_that_is_gone_is_cut),
		cmocka_unit_test(one_stream_is_cut_alone),
		cmocka_unit_test(a_drain_lets_streams_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
