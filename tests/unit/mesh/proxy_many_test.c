// SPDX-License-Identifier: Apache-2.0
/*
 * 9,000 relays of TCP over mutual TLS at once, on each path that they can take. The client's side, the server's side
 * and both ends are processes of their own, for each has two descriptors a relay. Whole handshakes, 50 side by side. A
 * machine without the room is told as skipped.
 */
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/proxy.h"

#define MANY     9000
#define AT_ONCE  50 /* that are dialled before the first of them is waited for */
#define FDS      (2 * MANY + 500)
#define PIPES    (2 * 1024) /* their descriptors, where an engine splices */
#define TLS_KB   100        /* a relay, of this machine's memory: two engines, six sockets */
#define RELAY_KB 40         /* of that an engine's own, most of it OpenSSL's */

struct way {
	const char *name;
	enum mp_path path;
	unsigned fds;
	struct mp_conf conf;
};

static const struct way ways[] = {
	{ "copied", MP_PATH_PROXIED, FDS, { .no_paths = ~0u } },
	{ "ktls", MP_PATH_KTLS, FDS + PIPES, { .ktls = true, .ktls_after = 1, .bulk = 1 } },
};

struct pair {
	int client, backend;
};

/* A side's process; it is told and asked by `ask`. */
struct side {
	pid_t pid;
	int ask;
	uint16_t port;
};

/* What a side says when it is asked. */
struct said {
	struct mp_counters engine;
	size_t heap;
};

static const struct way *way;
static struct side server, client;
static struct pair all[MANY];
static int listener;

/* --- a side ------------------------------------------------------------------------------------------------------ */

static void side_run(int asked, bool of_server, const struct pw_conf *conf)
{
	static struct pw w;
	struct said said;
	uint16_t port;
	char what;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pw_start(&w, conf);
	port = w.port[of_server ? PW_TLS_TCP : PW_TCP];
	send(asked, &port, sizeof(port), 0);
	while (recv(asked, &what, 1, 0) == 1) {
		said = (struct said){ .engine = pw_counters(&w, of_server), .heap = mallinfo2().uordblks };
		send(asked, &said, sizeof(said), 0);
	}
	_exit(0);
}

static void side_start(struct side *side, bool of_server, const struct pw_conf *conf)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	side->pid = fork();
	if (side->pid == 0) {
		close(pair[0]);
		side_run(pair[1], of_server, conf);
	}
	close(pair[1]);
	side->ask = pair[0];
	assert_int_equal(recv(side->ask, &side->port, sizeof(side->port), 0), sizeof(side->port));
}

static struct said side_says(const struct side *side)
{
	struct said said;

	assert_int_equal(send(side->ask, "", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(side->ask, &said, sizeof(said), 0), sizeof(said));
	return said;
}

/* --- both ends ---------------------------------------------------------------------------------------------------- */

static int accepted(void)
{
	struct timeval patience = { .tv_sec = 6 * PW_TIMEOUT };
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Who came to the backend says who it is. */
static void open_some(int from)
{
	char text[65] = "";

	for (int i = from; i < from + AT_ONCE; i++) {
		all[i].client = pw_dial_port(client.port);
		snprintf(text, sizeof(text), "%064d", i);
		pw_send(all[i].client, text);
	}
	for (int i = 0; i < AT_ONCE; i++) {
		int fd = accepted(), who;

		assert_true(pw_exactly(fd, text, 64));
		who = atoi(text);
		assert_in_range(who, from, from + AT_ONCE - 1);
		all[who].backend = fd;
	}
}

static void all_answer(void)
{
	char got[64], text[65];

	for (int i = MANY - 1; i >= 0; i--) {
		snprintf(text, sizeof(text), "%064d", MANY - i);
		pw_send(all[i].backend, text);
	}
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "%064d", MANY - i);
		assert_true(pw_exactly(all[i].client, got, 64) && memcmp(got, text, 64) == 0);
	}
}

static void all_end(void)
{
	for (int i = 0; i < MANY; i++) {
		shutdown(all[i].client, SHUT_WR);
		assert_true(pw_is_eof(all[i].backend));
		close(all[i].backend);
		assert_true(pw_is_eof(all[i].client));
		close(all[i].client);
	}
}

/* --- the test ----------------------------------------------------------------------------------------------------- */

static void has_all(const struct side *side, size_t before)
{
	struct said s = side_says(side);
	size_t each = (s.heap - before) / MANY;

	assert_int_equal(s.engine.connections, MANY);
	assert_int_equal(s.engine.active, MANY);
	assert_int_equal(s.engine.refused_full + s.engine.handshake_failures + s.engine.timeouts + s.engine.cuts, 0);
	assert_int_equal(s.engine.buffers_in_use, 0); /* whoever says nothing holds none */
	print_message("# %s: %d relays, %zu bytes each at the %s's side\n", way->name, MANY, each,
		      side == &server ? "server" : "client");
	assert_true(each < RELAY_KB << 10);
}

static void has_none(const struct side *side)
{
	for (int i = 0; i < 600 && side_says(side).engine.connections; i++)
		usleep(50000);
	assert_int_equal(side_says(side).engine.connections, 0);
}

static void many_at_once(void **state)
{
	size_t at_server = side_says(&server).heap, at_client = side_says(&client).heap;

	(void)state;
	for (int i = 0; i < MANY; i += AT_ONCE)
		open_some(i);
	has_all(&server, at_server);
	has_all(&client, at_client);
	all_answer();
	all_end();
	has_none(&server);
	has_none(&client);
}

static int start(void **state)
{
	struct pw_conf conf = { .client = way->conf, .server = way->conf };

	(void)state;
	conf.client.max_connections = conf.server.max_connections = MANY + 100;
	listener = pw_listen_any(&conf.backend);
	side_start(&server, true, &conf);
	conf.tls_tcp = server.port;
	side_start(&client, false, &conf);
	return 0;
}

static void side_stop(struct side *side)
{
	close(side->ask);
	kill(side->pid, SIGKILL);
	waitpid(side->pid, NULL, 0);
}

static int stop(void **state)
{
	(void)state;
	side_stop(&client);
	side_stop(&server);
	close(listener);
	return 0;
}

/* --- room for it -------------------------------------------------------------------------------------------------- */

static void files_get(unsigned n)
{
	struct rlimit files = { n, n };

	if (setrlimit(RLIMIT_NOFILE, &files) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static unsigned long available_kb(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	unsigned long kb = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "MemAvailable: %lu kB", &kb);
	if (f)
		fclose(f);
	return kb;
}

static bool has_room(void)
{
	unsigned long kb = available_kb();
	struct rlimit files;

	files_get(way->fds);
	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur >= way->fds && kb >= TLS_KB * MANY)
		return true;
	printf("ok - %s: many_at_once # SKIP %d relays need %u descriptors a process and %d MB; there are %lu and "
	       "%lu\n",
	       way->name, MANY, way->fds, TLS_KB * MANY / 1000, (unsigned long)files.rlim_cur, kb / 1000);
	return false;
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(many_at_once, start, stop) };
	struct dp_relays *none;
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	pw_certs_share();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		way = &ways[i];
		if (pw_has_path(way->path, way->name, &none) && has_room())
			failed += cmocka_run_group_tests_name(way->name, tests, NULL, NULL);
	}
	return failed;
}
