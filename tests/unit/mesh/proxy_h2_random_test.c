// SPDX-License-Identifier: Apache-2.0
/*
 * Three clients and a backend that send frames at random, in any order, between them two proxies with short clocks;
 * relays are cut and one side drains meanwhile. Nothing is expected but that all of it is gone afterwards. It found
 * what the tests with an order in them did not; with ASan it finds more (`make SAN=1`).
 */
#include <fcntl.h>
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

#define TO       "x-dstack-target-app: " PW_APP_SERVER "\n"
#define PATH(p)  ":scheme: http\n:authority: h\n:path: " p "\n" TO
#define CLIENTS  3
#define BACKENDS 8

static struct pw w;
static struct h2t client[CLIENTS], backend[BACKENDS];
static unsigned seed, n_backends;
static bool is_drained;

static unsigned any(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

static void headers(struct h2t *h, uint32_t id)
{
	static const char *const heads[] = {
		":method: POST\n" PATH("/a"),
		":method: GET\n" PATH("/deny"),
		":method: HEAD\n" PATH("/a"),
		":method: POST\n" PATH("/a") "content-length: 7\n",
		":method: POST\n" PATH("/a") "te: trailers\ncontent-type: application/grpc\n",
		":method: GET\n:scheme: http\n:authority: h\n:path: /health\n",
		"grpc-status: 0\n",
		":status: 200\n",
		":status: 100\n",
		":status: 204\n",
		":status: 200\ncontent-length: 5\n",
	};

	h2t_headers(h, id, any(2) ? NGHTTP2_FLAG_END_STREAM : 0, heads[any(sizeof(heads) / sizeof(heads[0]))]);
}

static void say(struct h2t *h)
{
	static const char bytes[16000];
	uint32_t id = any(42) | (any(8) ? 1 : 0);

	switch (any(12)) {
	case 0 ... 2:
		headers(h, id);
		break;
	case 3 ... 5:
		h2t_send(h, NGHTTP2_DATA, any(4) ? 0 : NGHTTP2_FLAG_END_STREAM, id, bytes,
			 any(3) ? any(20) : any(16000));
		break;
	case 6:
		h2t_reset(h, id, any(14));
		break;
	case 7:
		h2t_send(h, NGHTTP2_WINDOW_UPDATE, 0, any(2) ? id : 0, "\0\1\0\0", 4);
		break;
	case 8:
		if (!any(20))
			h2t_send(h, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\5\0\0\0\0", 8);
		break;
	case 9:
		h2t_send(h, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\1", any(2) ? 6 : 0);
		break;
	case 10:
		h2t_send(h, NGHTTP2_PING, 0, 0, "12345678", 8);
		break;
	default:
		if (!any(40))
			pw_send(h->fd, "this is no frame");
	}
}

static void say_http1(int fd)
{
	static const char *const texts[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"0\r\nx: y\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nthe rest",
		"nothing of the kind",
	};

	if (!any(3))
		pw_send(fd, texts[any(sizeof(texts) / sizeof(texts[0]))]);
}

static void hear(const struct h2t *h)
{
	char bytes[65536];

	while (any(10) && recv(h->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static bool is_unlucky(const struct mp_relay *relay, void *arg)
{
	(void)relay, (void)arg;
	return any(2);
}

static void cut(struct pw *world, void *arg)
{
	(void)arg;
	mp_cut(any(2) ? world->server : world->client, is_unlucky, NULL);
}

static void on_drained(void *arg)
{
	(void)arg;
}

static void drain(struct pw *world, void *arg)
{
	(void)arg;
	is_drained = true;
	mp_drain(world->client, 100, on_drained, NULL);
}

static void accept_backend(void)
{
	int fd = n_backends < BACKENDS ? accept4(w.backend_fd, NULL, NULL, SOCK_CLOEXEC) : -1;

	if (fd < 0)
		return;
	backend[n_backends] = (struct h2t){ .fd = fd };
	assert_int_equal(nghttp2_hd_inflate_new(&backend[n_backends].inflater), 0);
	if (w.conf.h2_backend && any(10))
		h2t_send(&backend[n_backends], NGHTTP2_SETTINGS, 0, 0, "", 0);
	n_backends++;
}

static void turn(void)
{
	struct h2t *h;

	say(&client[any(CLIENTS)]);
	accept_backend();
	h = n_backends ? &backend[any(n_backends)] : NULL;
	if (h && w.conf.h2_backend)
		say(h);
	else if (h)
		say_http1(h->fd);
	for (unsigned i = 0; i < CLIENTS; i++)
		hear(&client[i]);
	for (unsigned i = 0; i < n_backends; i++)
		hear(&backend[i]);
	if (!any(100))
		pw_do(&w, cut, NULL);
	if (!any(400))
		pw_do(&w, drain, NULL);
	if (!is_drained && !any(150)) {
		h = &client[any(CLIENTS)];
		h2t_end(h);
		h2t_client(h, pw_dial(&w, PW_HTTP));
	}
	if (!any(8))
		usleep(any(3000));
}

static void world(unsigned number)
{
	const unsigned clock = 200 + any(400);
	const struct mp_conf engine = { .head_ms = clock,
					.idle_ms = clock,
					.response_ms = clock,
					.keepalive_ms = clock,
					.connect_ms = clock,
					.upstream_idle_ms = clock,
					.max_connections = any(3) ? 0 : 20,
					.buffer = any(2) ? 0 : 20000 };
	const struct pw_conf conf = { .client = engine, .server = engine, .h2_backend = any(3), .is_old = !any(5) };

	pw_start(&w, &conf);
	w.later = number % 4 == 0;
	fcntl(w.backend_fd, F_SETFL, O_NONBLOCK);
	is_drained = false;
	n_backends = 0;
	for (unsigned i = 0; i < CLIENTS; i++)
		h2t_client(&client[i], pw_dial(&w, PW_HTTP));
	for (unsigned n = 0; n < 250; n++)
		turn();
	for (unsigned i = 0; i < CLIENTS; i++)
		h2t_end(&client[i]);
	for (unsigned i = 0; i < n_backends; i++)
		h2t_end(&backend[i]);
	/* every other time the engines end in the middle of it */
	for (int i = 0; number % 2 && i < 5000 && pw_counters(&w, false).streams + pw_counters(&w, true).streams > 0;
	     i++)
		usleep(1000);
	if (number % 2)
		assert_int_equal(pw_counters(&w, false).streams + pw_counters(&w, true).streams, 0);
	pw_stop(&w);
}

static void frames_at_random(void **state)
{
	(void)state;
	seed = 1;
	for (unsigned i = 0; i < 12; i++)
		world(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(frames_at_random) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
