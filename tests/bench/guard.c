// SPDX-License-Identifier: Apache-2.0
/*
 * What it costs a mesh to be guarded: requests a second through two engines with mutual TLS between them, in a process
 * whose cgroup has the programs and whose sockets were all told of a node, against the same without programs, in turns.
 * Prints a row for run.sh.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/bench.h"
#include "../lib/cgroup.h"
#include "../lib/guarded.h"
#include "../lib/proxy.h"

#define ROUNDS  5
#define SECONDS 2.0
#define CLIENTS 8

static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\nx-dstack-target-app: " PW_APP_SERVER "\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

struct told {
	int port;
	unsigned legs;
	double cpu_s;
};

/* --- the mesh's process -------------------------------------------------------------------------------------- */

static bool on_leg(struct mp_peer *peer, struct mp_upstream *up, void *data, const struct sockaddr *from,
		   struct by_leg_set *leg, void *arg)
{
	(void)peer, (void)up, (void)data, (void)from, (void)arg;
	*leg = guarded_leg(DB, 443);
	return true;
}

static double cpu_of(pthread_t thread)
{
	struct timespec ts;
	clockid_t clock;

	pthread_getcpuclockid(thread, &clock);
	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Says where it listens, then for each byte how it is. */
static void engine_run(int fd, uint16_t backend)
{
	struct pw_conf conf = { .backend = backend };
	static struct pw w;
	struct told told;
	char what;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	conf.client.ops.leg = conf.server.ops.leg = on_leg;
	pw_start(&w, &conf);
	do
		told = (struct told){ .port = w.port[PW_HTTP],
				      .legs = pw_counters(&w, false).legs + pw_counters(&w, true).legs,
				      .cpu_s = cpu_of(w.thread) };
	while (send(fd, &told, sizeof(told), 0) > 0 && recv(fd, &what, 1, 0) == 1);
	_exit(0);
}

static struct told told_by(int fd, bool asks)
{
	struct told told = { 0 };

	if ((asks && send(fd, "", 1, 0) != 1) || recv(fd, &told, sizeof(told), 0) != sizeof(told))
		bench_must(-EIO, NULL, "the engine's process");
	return told;
}

/* --- both ends ------------------------------------------------------------------------------------------------- */

static void *backend_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char got[4096];

	while (recv(fd, got, sizeof(got), 0) > 0)
		pw_send(fd, answer);
	close(fd);
	return NULL;
}

static void *backend(void *arg)
{
	int listener = (int)(intptr_t)arg, fd;
	pthread_t thread;

	while ((fd = accept(listener, NULL, NULL)) >= 0)
		if (pthread_create(&thread, NULL, backend_one, (void *)(intptr_t)fd) == 0)
			pthread_detach(thread);
	return NULL;
}

struct client {
	pthread_t thread;
	int port;
	double end_s;
	unsigned n;
};

static void *ask(void *arg)
{
	struct client *c = arg;
	int fd = pw_dial_port((uint16_t)c->port);
	char got[4096];

	for (; bench_now_s() < c->end_s; c->n++) {
		size_t len = 0;
		ssize_t n = 1;

		pw_send(fd, request);
		while (n > 0 && (len < 5 || memcmp(got + len - 5, "hello", 5) != 0)) {
			n = recv(fd, got + len, sizeof(got) - len, 0);
			len += n > 0 ? (size_t)n : 0;
		}
		if (n <= 0 || memcmp(got, "HTTP/1.1 200 ", 13) != 0)
			bench_must(-EIO, NULL, "an answer");
	}
	close(fd);
	return NULL;
}

static double rate_of(int port)
{
	struct client c[CLIENTS];
	double start = bench_now_s();
	unsigned n = 0;

	for (int i = 0; i < CLIENTS; i++) {
		c[i] = (struct client){ .port = port, .end_s = start + SECONDS };
		pthread_create(&c[i].thread, NULL, ask, &c[i]);
	}
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(c[i].thread, NULL);
		n += c[i].n;
	}
	return n / (bench_now_s() - start);
}

/* --- the row ---------------------------------------------------------------------------------------------------- */

static int skipped(const char *why)
{
	printf("{\"name\":\"mesh.guard_rps\",\"skipped\":\"%s\"}\n", why);
	return 0;
}

static int measure(int fd)
{
	static const struct dp_guard_conf off;
	double best[2] = { 0 }, cpu[2] = { 0 };
	struct told told = told_by(fd, false);
	char note[200];

	for (int i = 0; i < 2 * ROUNDS; i++) {
		bool is_on = i % 2;
		struct err e = ERR_INIT;
		double rate, before;

		bench_must(dp_guard_set(guarded.g, is_on ? &guarded.conf : &off, &e), &e, "guard");
		sleep(1); /* the engines look for it now and then */
		before = told_by(fd, true).cpu_s;
		rate = rate_of(told.port);
		told = told_by(fd, true);
		if (is_on != (told.legs > 0))
			return skipped("the engine did not see that it was guarded, or no more");
		if (rate > best[is_on]) {
			best[is_on] = rate;
			cpu[is_on] = (told.cpu_s - before) / (rate * SECONDS) * 1e6;
		}
	}
	snprintf(note, sizeof(note), "%d connections, two engines in one thread; CPU us a request: %.1f and %.1f",
		 CLIENTS, cpu[1], cpu[0]);
	bench_row("mesh.guard_rps", best[1], best[0], "the same without mesh.cgroups", "1/s", note);
	return 0;
}

int main(void)
{
	uint16_t port = 0;
	int pair[2], listener, ret;
	pthread_t thread;
	pid_t engine;

	signal(SIGPIPE, SIG_IGN);
	guarded_setup(NULL);
	if (!guarded.top[0])
		return skipped("there are no cgroups of version 2");
	guarded_begin(NULL);
	listener = pw_listen_any(&port);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return skipped("no socket pair");
	cgroup2_enter(guarded.mesh);
	engine = fork();
	if (engine == 0)
		engine_run(pair[1], port);
	cgroup2_enter(guarded.outside);
	close(pair[1]);
	pthread_create(&thread, NULL, backend, (void *)(intptr_t)listener);
	ret = measure(pair[0]);
	kill(engine, SIGKILL);
	waitpid(engine, NULL, 0);
	guarded_end(NULL);
	return ret | guarded_teardown(NULL);
}
