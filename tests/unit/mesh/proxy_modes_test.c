// SPDX-License-Identifier: Apache-2.0
/*
 * Everything that a stream of bytes through the proxy must hold, in each mode that has one (TCP over mutual TLS, TCP
 * without, CONNECT and an upgraded request), and on each path that it can take.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/proxy.h"
#include "../../lib/stream.h"
#include "datapath/relay.h"

#define TO   "x-dstack-target-app: " PW_APP_SERVER "\r\n"
#define SOME 1000
#define MANY 9000

/* A path, and the modes that can take it. */
struct way {
	const char *name;
	enum mp_path path;
	unsigned first, last; /* modes */
	struct mp_conf conf;
};

static struct pw w;
static const struct way *way;
static struct dp_relays *sockmap;

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

static struct pair (*const modes[])(void) = { open_tcp, open_connect, open_upgrade, open_plain };

enum { TCP, CONNECT, UPGRADE, PLAIN };

#define ALL_PATHS (~0u)

/* A read of one byte is bulk: what is moved is moved by the path that the way is about. */
static const struct way ways[] = {
	{ "copied", MP_PATH_PROXIED, TCP, PLAIN, { .no_paths = ALL_PATHS } },
	{ "spliced", MP_PATH_SPLICED, PLAIN, PLAIN, { .bulk = 1 } },
	{ "sockmap", MP_PATH_SOCKMAP, PLAIN, PLAIN, { .no_paths = 1u << MP_PATH_SPLICED } },
	{ "ktls", MP_PATH_KTLS, TCP, CONNECT, { .ktls = true, .ktls_after = 1, .bulk = 1 } },
};

static void end(struct pair p)
{
	close(p.client);
	close(p.backend);
}

/* --- properties --- */

static void ping_pong(void **state)
{
	char got[8];

	(void)state;
	for (unsigned m = way->first; m <= way->last; m++) {
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
	for (unsigned m = way->first; m <= way->last; m++) {
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

#define HALF_CLOSES 40 /* both ends over, bytes not read yet: it takes luck to meet it */

/* Who asks and closes its side still gets the whole answer; and so it is the other way round. */
static void half_close(void **state)
{
	const size_t len = 1 << 20;
	char got[4];

	(void)state;
	for (unsigned m = way->first; m <= way->last; m++)
		for (int i = 0; i < HALF_CLOSES; i++) {
			bool reverse = i % 2;
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

/* A body of known length up, and one down, on connections that others used before and will use again. */
static void post(struct pair *p, size_t up, size_t down)
{
	struct stream body = { .len = up, .seed = 8 }, answer = { .len = down, .seed = 9 };
	char head[256];

	snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: %zu\r\n\r\n", up);
	pw_send(p->client, head);
	body.fd = p->client;
	stream_start(&body);
	if (p->backend < 0)
		p->backend = pw_accept(&w);
	assert_non_null(strstr(pw_head(p->backend), "POST / HTTP/1.1\r\n"));
	assert_true(stream_arrives(p->backend, 8, up));
	pthread_join(body.thread, NULL);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", down);
	pw_send(p->backend, head);
	answer.fd = p->backend;
	stream_start(&answer);
	assert_non_null(strstr(pw_head(p->client), "HTTP/1.1 200 OK\r\n"));
	assert_true(stream_arrives(p->client, 9, down));
	pthread_join(answer.thread, NULL);
}

/* Whatever path the bytes of a body take: the next head comes behind its last one. */
static void bodies_end_where_they_say(void **state)
{
	static const size_t len[] = { 4 << 20, 1, 0, 300000, 65536, 65537, 7, 1 << 20, 1000 };
	const size_t n = sizeof(len) / sizeof(len[0]);
	struct pair p = { .client = pw_dial(&w, PW_HTTP), .backend = -1 };
	uint64_t before = pw_counters(&w, false).bytes_spliced;

	(void)state;
	for (size_t i = 0; i < 2 * n; i++)
		post(&p, len[i % n], len[(i + 1 + i / n) % n]);
	end(p);
	assert_int_equal(pw_counters(&w, false).bytes_spliced > before, way->path == MP_PATH_KTLS);
}

/* One that ends before its length is no whole one. */
static void bodies_cut_short_are_told(void **state)
{
	static char bytes[65536];
	struct pair p = { .client = pw_dial(&w, PW_HTTP) };
	struct stream half = { .len = 2 << 20, .seed = 9, .shut = true };
	ssize_t n;

	(void)state;
	pw_send(p.client, "GET / HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
	p.backend = pw_accept(&w);
	assert_non_null(pw_head(p.backend));
	pw_send(p.backend, "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n");
	half.fd = p.backend;
	stream_start(&half);
	assert_non_null(pw_head(p.client));
	while ((n = recv(p.client, bytes, sizeof(bytes), 0)) > 0)
		;
	assert_true(n < 0 && errno == ECONNRESET);
	pthread_join(half.thread, NULL);
	end(p);
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
	for (unsigned m = way->first; m <= way->last; m++)
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
				bytes[have] = stream_byte(seed);
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
	for (unsigned m = way->first; m <= way->last; m++)
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
			assert_in_range(buffers, way->path == MP_PATH_PROXIED, 4);
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
	for (size_t i = way->first == PLAIN; i < 2; i++) {
		struct stream s = { .fd = pw_dial(&w, entries[i]), .seed = 5, .len = len, .shut = true };
		int back;

		stream_start(&s);
		usleep(20000);
		back = pw_accept(&w);
		assert_true(stream_arrives(back, 5, len) && pw_is_eof(back));
		pthread_join(s.thread, NULL);
		end((struct pair){ s.fd, back });
	}
	if (way->first <= UPGRADE && way->last >= UPGRADE) {
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

/* n relays at once, a message each way on all of them. */
static bool talk_on(struct pair (*open)(void), int n)
{
	static struct pair all[MANY];
	char got[64], text[65];
	bool good = true;

	for (int i = 0; i < n; i++)
		all[i] = open();
	for (int back = 0; back < 2; back++) {
		for (int i = 0; i < n; i++) {
			snprintf(text, sizeof(text), "%064d", i);
			pw_send(back ? all[i].backend : all[i].client, text);
		}
		for (int i = 0; i < n; i++) {
			snprintf(text, sizeof(text), "%064d", i);
			good &= pw_exactly(back ? all[i].client : all[i].backend, got, 64) &&
				memcmp(got, text, 64) == 0;
		}
	}
	if (way->path == MP_PATH_PROXIED) { /* idle ones hold no buffers */
		good &= n != SOME || pw_counters(&w, false).buffers_in_use == 0;
		good &= n != SOME || pw_counters(&w, true).buffers_in_use == 0;
	}
	for (int i = 0; i < n; i++)
		end(all[i]);
	return good;
}

/* Both ends are in another process: the proxy has two descriptors for each, and so have they. */
static void many_at_once(void **state)
{
	struct rlimit files;
	int status, n = MANY;
	pid_t child;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 2 * MANY + 200)
		n = ((int)files.rlim_cur - 200) / 2;
	for (unsigned m = way->first; m <= way->last; m++) {
		if (m != PLAIN) {
			assert_true(talk_on(modes[m], way->path == MP_PATH_KTLS ? SOME / 10 : SOME));
			continue;
		}
		child = fork();
		if (child == 0) {
			close_range(3, (unsigned)w.backend_fd - 1, 0);
			close_range((unsigned)w.backend_fd + 1, ~0u, 0);
			_exit(talk_on(open_plain, n) ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
}

/* Nobody says anything any more: after idle_ms both ends are told. */
static void vanished_peers(void **state)
{
	struct pw_conf conf = { .client = way->conf, .server = way->conf };

	(void)state;
	conf.client.sockmap = sockmap;
	conf.client.idle_ms = conf.server.idle_ms = 300;
	pw_stop(&w);
	pw_start(&w, &conf);
	for (unsigned m = way->first; m <= way->last; m++) {
		struct pair p = modes[m]();

		assert_true(pw_is_reset(p.client));
		assert_true(pw_is_reset(p.backend));
		end(p);
	}
	assert_true(pw_counters(&w, false).timeouts >= 1);
}

struct cut {
	bool of_server, is_count; /* is_count: none is cut */
	unsigned on_path;
};

static bool is_on_path(const struct mp_relay *r, void *arg)
{
	struct cut *c = arg;

	c->on_path += r->is_tunnel && r->path == way->path;
	return !c->is_count;
}

static void cut_all(struct pw *pw, void *arg)
{
	struct cut *c = arg;

	mp_cut(c->of_server ? pw->server : pw->client, is_on_path, c);
}

/* What tests before have left ends in its own time. */
static void wait_alone(bool of_server)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		struct cut left = { .of_server = of_server, .is_count = true };

		pw_do(&w, cut_all, &left);
		if (!left.on_path)
			return;
		usleep(10000);
	}
	fail_msg("relays of tests before do not end");
}

/* In the middle of a stream: both ends are told, whatever the path, and the list had said which it is. */
static void a_cut_ends_it(void **state)
{
	static char bytes[65536];

	(void)state;
	for (unsigned m = way->first; m <= way->last; m++) {
		struct cut cut = { .of_server = m != PLAIN };
		struct stream s = { .seed = 6, .len = way->path == MP_PATH_SOCKMAP ? 4000 : 64 << 20 };
		struct pair p;
		ssize_t n;

		wait_alone(cut.of_server);
		p = modes[m]();
		s.fd = p.client;
		stream_start(&s);
		assert_true(stream_arrives(p.backend, 6, way->path == MP_PATH_SOCKMAP ? 4000 : 4 << 20));
		pw_do(&w, cut_all, &cut);
		assert_int_equal(cut.on_path, 1);
		while ((n = recv(p.backend, bytes, sizeof(bytes), 0)) > 0)
			;
		assert_true(n < 0 && errno == ECONNRESET);
		pthread_join(s.thread, NULL); /* its send() failed, if it was not done */
		assert_true(send(p.client, "x", 1, MSG_NOSIGNAL) < 0);
		end(p);
	}
}

/* The last: what was done above was done on the path that the way is about. */
static void took_the_path(void **state)
{
	struct mp_counters c = pw_counters(&w, false);

	(void)state;
	assert_int_equal(c.bytes_spliced > 0, way->path == MP_PATH_SPLICED || way->path == MP_PATH_KTLS);
	assert_int_equal(c.ktls_directions > 0, way->path == MP_PATH_KTLS);
	assert_int_equal(c.ktls_failed + c.ktls_rekeys, 0);
	assert_int_equal(c.bytes_sockmap > 0, way->path == MP_PATH_SOCKMAP);
	/* bulk meets the bound, turns do not */
	assert_int_equal(c.sockmap_left > 0, way->path == MP_PATH_SOCKMAP);
	assert_true(c.sockmap_left < c.sockmap_joined || !c.sockmap_joined);
}

static int start(void **state)
{
	struct pw_conf conf = { .client = way->conf, .server = way->conf };

	(void)state;
	conf.client.sockmap = sockmap;
	conf.client.max_connections = MANY + 100;
	pw_start(&w, &conf);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	pw_stop(&w);
	return 0;
}

static void files_get(void)
{
	struct rlimit files = { 2 * MANY + 200, 2 * MANY + 200 };

	if (setrlimit(RLIMIT_NOFILE, &files) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

#define TEST(name)                                                                                                     \
	{                                                                                                              \
#name, name, NULL, NULL, NULL                                                                          \
	}

/* With a name: that way alone. */
int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST(ping_pong),
		TEST(transfers_are_exact_both_ways),
		TEST(half_close),
		TEST(bodies_end_where_they_say),
		TEST(bodies_cut_short_are_told),
		TEST(resets_are_told),
		TEST(slow_reader_costs_no_memory),
		TEST(what_came_early_is_not_lost),
		TEST(many_at_once),
		TEST(a_cut_ends_it),
		TEST(took_the_path),
		TEST(vanished_peers),
	};
	int failed = 0;

	signal(SIGPIPE, SIG_IGN);
	files_get();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct CMUnitTest named[sizeof(tests) / sizeof(tests[0])];
		char names[sizeof(tests) / sizeof(tests[0])][80];

		way = &ways[i];
		if ((argc > 1 && strcmp(argv[1], way->name) != 0) || !pw_has_path(way->path, way->name, &sockmap))
			continue;
		for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
			named[t] = tests[t];
			snprintf(names[t], sizeof(names[t]), "%s: %s", way->name, tests[t].name);
			named[t].name = names[t];
		}
		failed += cmocka_run_group_tests(named, start, stop);
		dp_relays_close(sockmap);
	}
	return failed;
}
