// SPDX-License-Identifier: Apache-2.0
/*
 * Everything that a stream of bytes through the proxy must hold, in each mode that has one: TCP over mutual TLS, TCP
 * without, CONNECT and an upgraded request.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/proxy.h"

#define TO   "x-dstack-target-app: " PW_APP_SERVER "\r\n"
#define MANY 1000

static struct pw w;

struct pair {
	int client, backend;
};

/* --- modes --- */

static struct pair open_tcp(void)
{
	struct pair p = { .client = pw_dial(&w, PW_TCP) };

	p.backend = pw_accept(&w);
	return p;
}

static struct pair open_plain(void)
{
	struct pair p = { .client = pw_dial(&w, PW_PLAIN) };

	p.backend = pw_accept(&w);
	return p;
}

static struct pair open_connect(void)
{
	struct pair p = { .client = pw_dial(&w, PW_HTTP) };

	pw_send(p.client, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\nx-test-tunnel: 1\r\n" TO "\r\n");
	assert_non_null(strstr(pw_head(p.client), "HTTP/1.1 200 "));
	p.backend = pw_accept(&w);
	return p;
}

static struct pair open_upgrade(void)
{
	struct pair p = { .client = pw_dial(&w, PW_HTTP) };
	char *head;

	pw_send(p.client, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" TO "\r\n");
	p.backend = pw_accept(&w);
	head = pw_head(p.backend);
	assert_non_null(strstr(head, "Connection: upgrade\r\nUpgrade: websocket\r\n"));
	pw_send(p.backend, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	assert_non_null(strstr(pw_head(p.client), "HTTP/1.1 101 "));
	return p;
}

static struct pair (*const modes[])(void) = { open_tcp, open_plain, open_connect, open_upgrade };

#define N_MODES (sizeof(modes) / sizeof(modes[0]))

static void end(struct pair p)
{
	close(p.client);
	close(p.backend);
}

/* --- a sender of its own thread, whose bytes follow from a seed --- */

struct stream {
	int fd;
	uint32_t seed;
	size_t len;
	bool shut;
	pthread_t thread;
};

static uint8_t next_byte(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (uint8_t)(*state >> 24);
}

static void *stream_send(void *arg)
{
	struct stream *s = arg;
	uint32_t state = s->seed;
	static __thread uint8_t bytes[70000];

	for (size_t left = s->len; left;) {
		size_t n = 1 + (state >> 8) % sizeof(bytes);

		n = n < left ? n : left;
		for (size_t i = 0; i < n; i++)
			bytes[i] = next_byte(&state);
		pw_send_bytes(s->fd, bytes, n);
		left -= n;
	}
	if (s->shut)
		shutdown(s->fd, SHUT_WR);
	return NULL;
}

static void stream_start(struct stream *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, stream_send, s), 0);
}

static bool stream_arrives(int fd, uint32_t seed, size_t len)
{
	static __thread uint8_t bytes[65536];
	uint32_t state = seed;

	for (size_t left = len; left;) {
		ssize_t n = recv(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);

		if (n <= 0)
			return false;
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] != next_byte(&state))
				return false;
		left -= (size_t)n;
	}
	return true;
}

static void *stream_check(void *arg)
{
	struct stream *s = arg;

	return stream_arrives(s->fd, s->seed, s->len) ? s : NULL;
}

/* --- properties --- */

static void ping_pong(void **state)
{
	char got[8];

	(void)state;
	for (size_t m = 0; m < N_MODES; m++) {
		struct pair p = modes[m]();

		for (int i = 0; i < 10; i++) {
			pw_send(p.client, "ping");
			assert_true(pw_exactly(p.backend, got, 4) && memcmp(got, "ping", 4) == 0);
			pw_send(p.backend, "pong!");
			assert_true(pw_exactly(p.client, got, 5) && memcmp(got, "pong!", 5) == 0);
		}
		end(p);
	}
}

static void transfers_are_exact_both_ways(void **state)
{
	const size_t len = 6 << 20;

	(void)state;
	for (size_t m = 0; m < N_MODES; m++) {
		struct pair p = modes[m]();
		struct stream up = { .fd = p.client, .seed = 1, .len = len, .shut = true };
		struct stream down = { .fd = p.backend, .seed = 2, .len = len, .shut = true };
		struct stream check = { .fd = p.client, .seed = 2, .len = len };
		void *good;

		stream_start(&up);
		stream_start(&down);
		assert_int_equal(pthread_create(&check.thread, NULL, stream_check, &check), 0);
		assert_true(stream_arrives(p.backend, 1, len));
		pthread_join(up.thread, NULL);
		pthread_join(down.thread, NULL);
		pthread_join(check.thread, &good);
		assert_non_null(good);
		assert_true(pw_is_eof(p.backend) && pw_is_eof(p.client));
		end(p);
	}
}

/* Who asks and closes its side still gets the whole answer; and so it is the other way round. */
static void half_close(void **state)
{
	const size_t len = 1 << 20;
	char got[4];

	(void)state;
	for (size_t m = 0; m < N_MODES; m++)
		for (int reverse = 0; reverse < 2; reverse++) {
			struct pair p = modes[m]();
			int asks = reverse ? p.backend : p.client, answers = reverse ? p.client : p.backend;
			struct stream s = { .fd = answers, .seed = 3, .len = len, .shut = true };

			pw_send(asks, "ask");
			shutdown(asks, SHUT_WR);
			assert_true(pw_exactly(answers, got, 3) && pw_is_eof(answers));
			stream_start(&s);
			assert_true(stream_arrives(asks, 3, len) && pw_is_eof(asks));
			pthread_join(s.thread, NULL);
			end(p);
		}
}

static void reset_with(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* A reset is told as a reset: an orderly end would say that the stream was whole. */
static void resets_are_told(void **state)
{
	char got[4];

	(void)state;
	for (size_t m = 0; m < N_MODES; m++)
		for (int reverse = 0; reverse < 2; reverse++) {
			struct pair p = modes[m]();
			int cuts = reverse ? p.backend : p.client, other = reverse ? p.client : p.backend;

			pw_send(cuts, "ask");
			assert_true(pw_exactly(other, got, 3));
			reset_with(cuts);
			assert_true(pw_is_reset(other));
			close(other);
		}
}

/* Until the reader stops taking: how much the sender could get rid of. */
static size_t send_until_full(int fd, uint32_t *seed)
{
	static uint8_t bytes[65536];
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	size_t sent = 0, have = 0, at = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (poll(&pfd, 1, 500) == 1 && sent < (256u << 20)) {
		ssize_t n;

		if (at == have) {
			for (have = 0; have < sizeof(bytes); have++)
				bytes[have] = next_byte(seed);
			at = 0;
		}
		n = send(fd, bytes + at, have - at, MSG_NOSIGNAL);
		if (n > 0)
			at += (size_t)n, sent += (size_t)n;
	}
	fcntl(fd, F_SETFL, 0);
	return sent;
}

static void slow_reader_costs_no_memory(void **state)
{
	(void)state;
	for (size_t m = 0; m < N_MODES; m++)
		for (int reverse = 0; reverse < 2; reverse++) {
			struct pair p = modes[m]();
			int from = reverse ? p.backend : p.client, to = reverse ? p.client : p.backend, small = 65536;
			uint32_t seed = 4;
			size_t before = mallinfo2().uordblks, after, sent, buffers;

			setsockopt(to, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
			sent = send_until_full(from, &seed);
			after = mallinfo2().uordblks;
			buffers = pw_counters(&w, false).buffers_in_use + pw_counters(&w, true).buffers_in_use;
			assert_true(sent < (64u << 20)); /* the kernel's own buffers of three connections */
			assert_in_range(buffers, 1, 4);
			assert_true(after < before + 512 * 1024);
			assert_true(stream_arrives(to, 4, sent));
			end(p);
		}
}

/* Bytes and even the end may be there before the way is. */
static void what_came_early_is_not_lost(void **state)
{
	static const enum pw_entry entries[] = { PW_TCP, PW_PLAIN };
	const size_t len = 200000;
	char got[8];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct stream s = { .fd = pw_dial(&w, entries[i]), .seed = 5, .len = len, .shut = true };
		int back;

		stream_start(&s);
		usleep(20000);
		back = pw_accept(&w);
		assert_true(stream_arrives(back, 5, len) && pw_is_eof(back));
		pthread_join(s.thread, NULL);
		end((struct pair){ s.fd, back });
	}
	{
		struct pair p = { .client = pw_dial(&w, PW_HTTP) };

		pw_send(p.client,
			"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n" TO "\r\nearly");
		p.backend = pw_accept(&w);
		assert_non_null(pw_head(p.backend));
		pw_send(p.backend, "HTTP/1.1 101 Up\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nwelcome");
		assert_non_null(pw_head(p.client));
		assert_true(pw_exactly(p.client, got, 7) && memcmp(got, "welcome", 7) == 0);
		assert_true(pw_exactly(p.backend, got, 5) && memcmp(got, "early", 5) == 0);
		end(p);
	}
}

static void many_at_once(void **state)
{
	static struct pair all[MANY];
	char got[64], text[65];

	(void)state;
	for (size_t m = 0; m < N_MODES; m++) {
		for (int i = 0; i < MANY; i++)
			all[i] = modes[m]();
		for (int i = 0; i < MANY; i++) {
			snprintf(text, sizeof(text), "%064d", i);
			pw_send(all[i].client, text);
		}
		for (int i = 0; i < MANY; i++) {
			snprintf(text, sizeof(text), "%064d", i);
			assert_true(pw_exactly(all[i].backend, got, 64) && memcmp(got, text, 64) == 0);
			pw_send(all[i].backend, text);
		}
		for (int i = 0; i < MANY; i++) {
			snprintf(text, sizeof(text), "%064d", i);
			assert_true(pw_exactly(all[i].client, got, 64) && memcmp(got, text, 64) == 0);
		}
		/* idle ones hold no buffers */
		assert_int_equal(pw_counters(&w, false).buffers_in_use, 0);
		assert_int_equal(pw_counters(&w, true).buffers_in_use, 0);
		for (int i = 0; i < MANY; i++)
			end(all[i]);
	}
}

/* Nobody says anything any more: after idle_ms both ends are told. */
static void vanished_peers(void **state)
{
	struct pw_conf conf = { .client = { .idle_ms = 300 }, .server = { .idle_ms = 300 } };

	(void)state;
	pw_stop(&w);
	pw_start(&w, &conf);
	for (size_t m = 0; m < N_MODES; m++) {
		struct pair p = modes[m]();

		assert_true(pw_is_reset(p.client));
		assert_true(pw_is_reset(p.backend));
		end(p);
	}
	assert_true(pw_counters(&w, false).timeouts >= 1);
}

static int start(void **state)
{
	struct pw_conf conf = { 0 };
	struct rlimit all;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &all);
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
	pw_start(&w, &conf);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	pw_stop(&w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ping_pong),
		cmocka_unit_test(transfers_are_exact_both_ways),
		cmocka_unit_test(half_close),
		cmocka_unit_test(resets_are_told),
		cmocka_unit_test(slow_reader_costs_no_memory),
		cmocka_unit_test(what_came_early_is_not_lost),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(vanished_peers),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
