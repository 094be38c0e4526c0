// SPDX-License-Identifier: Apache-2.0
/*
 * The mesh's paths against plain copying in the same run: one TCP relay through the proxy engine on loopback, the
 * engine, the sender and the receiver a thread each. The contenders take turns, the best round of each is kept. Beside
 * the rates is what the engine's thread used of a CPU, which says more on a machine that others use.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../lib/bench.h"
#include "../lib/proxy.h"
#include "datapath/relay.h"

#define ROUNDS  3
#define SECONDS 1.0

struct result {
	double rate, p50, p99, cpu; /* cpu: seconds of the engine's thread for a GB, microseconds for a turn */
};

/* A way to relay, and what it is compared with. */
struct contender {
	struct pw *w;
	enum pw_entry entry;
	struct result best;
};

static void die(const char *what)
{
	fprintf(stderr, "paths: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double cpu_of(struct pw *w)
{
	struct timespec ts;
	clockid_t clock;

	pthread_getcpuclockid(w->thread, &clock);
	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- bulk --- */

struct sink {
	int fd;
	size_t got;
};

static void *sink(void *arg)
{
	static char bytes[1 << 20];
	struct sink *s = arg;
	ssize_t n;

	while ((n = recv(s->fd, bytes, sizeof(bytes), 0)) > 0)
		s->got += (size_t)n;
	return NULL;
}

static struct result bulk(struct contender *c)
{
	static char bytes[1 << 16];
	int fd = pw_dial(c->w, c->entry);
	double cpu = cpu_of(c->w), start, end;
	struct sink s = { .fd = pw_accept(c->w) };
	pthread_t thread;

	if (s.fd < 0 || pthread_create(&thread, NULL, sink, &s))
		die("bulk");
	start = bench_now_s();
	while (bench_now_s() - start < SECONDS)
		pw_send_bytes(fd, bytes, sizeof(bytes));
	shutdown(fd, SHUT_WR);
	pthread_join(thread, NULL);
	end = bench_now_s();
	cpu = cpu_of(c->w) - cpu;
	close(fd);
	close(s.fd);
	return (struct result){ .rate = (double)s.got / 1e6 / (end - start), .cpu = cpu / ((double)s.got / 1e9) };
}

/* --- requests and answers --- */

static size_t message = 64;

static void *echo(void *arg)
{
	static char bytes[1 << 16];
	int fd = *(int *)arg;

	while (recv(fd, bytes, message, MSG_WAITALL) == (ssize_t)message)
		pw_send_bytes(fd, bytes, message);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct result ping_pong(struct contender *c)
{
	static double took[1 << 20];
	static char bytes[1 << 16];
	int fd = pw_dial(c->w, c->entry), back = pw_accept(c->w);
	double cpu = cpu_of(c->w), start = bench_now_s(), before, now = start;
	size_t n = 0;
	pthread_t thread;

	if (back < 0 || pthread_create(&thread, NULL, echo, &back))
		die("ping-pong");
	while (now - start < SECONDS && n < sizeof(took) / sizeof(took[0])) {
		before = now;
		pw_send_bytes(fd, bytes, message);
		if (recv(fd, bytes, message, MSG_WAITALL) != (ssize_t)message)
			die("answer");
		now = bench_now_s();
		took[n++] = (now - before) * 1e6;
	}
	cpu = cpu_of(c->w) - cpu;
	close(fd);
	pthread_join(thread, NULL);
	close(back);
	qsort(took, n, sizeof(took[0]), by_size);
	return (struct result){ .rate = (double)n / (now - start),
				.p50 = took[n / 2],
				.p99 = took[n * 99 / 100],
				.cpu = cpu * 1e6 / (double)n };
}

/* --- rows --- */

static void compare(struct contender *ours, struct contender *copy, struct result (*once)(struct contender *c))
{
	struct contender *c[2] = { ours, copy };

	ours->best = copy->best = (struct result){ 0 };
	for (int i = 0; i < 2 * ROUNDS; i++) {
		struct result r = once(c[i % 2]);

		if (r.rate > c[i % 2]->best.rate)
			c[i % 2]->best = r;
	}
}

static void bulk_row(const char *name, struct contender *ours, struct contender *copy, const char *what)
{
	char note[200];

	compare(ours, copy, bulk);
	snprintf(note, sizeof(note), "%s; CPU s a GB of the proxy: %.2f and %.2f", what, ours->best.cpu,
		 copy->best.cpu);
	bench_row(name, ours->best.rate, copy->best.rate, "plain copy", "MB/s", note);
}

static void turn_row(const char *name, struct contender *ours, struct contender *copy, const char *what)
{
	char note[200];

	compare(ours, copy, ping_pong);
	snprintf(note, sizeof(note),
		 "%s; p50 %.1f and %.1f us, p99 %.1f and %.1f; CPU us a turn of the proxy: %.1f and %.1f", what,
		 ours->best.p50, copy->best.p50, ours->best.p99, copy->best.p99, ours->best.cpu, copy->best.cpu);
	bench_row(name, ours->best.rate, copy->best.rate, "plain copy", "1/s", note);
}

static struct pw copying, splicing, joining, unbound;

/* Kernels, users and containers differ in whether they let us. */
static void sockmap_rows(struct contender *copy)
{
	struct contender joined = { .w = &joining, .entry = PW_PLAIN }, all = { .w = &unbound, .entry = PW_PLAIN };
	struct pw_conf usual = { .client.no_paths = 1u << MP_PATH_SPLICED }, never_left = usual;
	struct dp_relays *sockmap = NULL;
	struct err e = ERR_INIT;
	char text[300];

	if (dp_relays_open(&sockmap, &e) < 0) {
		printf("{\"name\":\"mesh.sockmap_pingpong\",\"skipped\":\"not measured here: %s\"}\n",
		       err_text(&e, text, sizeof(text)));
		return;
	}
	usual.client.sockmap = never_left.client.sockmap = sockmap;
	never_left.client.sockmap_bound = ~0u;
	pw_start(&joining, &usual);
	pw_start(&unbound, &never_left);
	turn_row("mesh.sockmap_pingpong", &joined, copy, "64 bytes there and back");
	message = 16384;
	turn_row("mesh.sockmap_pingpong_16k", &joined, copy, "16 KiB there and back");
	bulk_row("mesh.sockmap_bulk", &all, copy, "without a bound, so that it stays with the sockmap");
	bulk_row("mesh.sockmap_bulk_left", &joined, copy, "as it is: at 64 KiB on their way it leaves for the copy");
	pw_stop(&unbound);
	pw_stop(&joining);
	dp_relays_close(sockmap);
}

/* Both proxies of a relay with TLS between them, in one thread. */
static void ktls_rows(void)
{
	struct pw_conf none = { .client.no_paths = ~0u, .server.no_paths = ~0u };
	struct pw_conf by_kernel = { .client.ktls = true, .server.ktls = true };
	struct contender ours = { .w = &splicing, .entry = PW_TCP }, copy = { .w = &copying, .entry = PW_TCP };
	struct err e = ERR_INIT;
	char text[300];

	if (mp_ktls_probe(&e) < 0) {
		printf("{\"name\":\"mesh.ktls_bulk\",\"skipped\":\"not measured here: no kTLS: %s\"}\n",
		       err_text(&e, text, sizeof(text)));
		return;
	}
	pw_start(&copying, &none);
	pw_start(&splicing, &by_kernel);
	bulk_row("mesh.ktls_bulk", &ours, &copy, "two proxies with TLS between them, taken over after 1 MiB");
	message = 64;
	turn_row("mesh.ktls_pingpong", &ours, &copy, "64 bytes there and back: OpenSSL's below 1 MiB");
	pw_stop(&splicing);
	pw_stop(&copying);
}

/* With an argument: kTLS alone, for a VM. */
int main(int argc, char **argv)
{
	struct pw_conf none = { .client.no_paths = ~0u, .server.no_paths = ~0u }, usual = { 0 };
	struct contender copy = { .w = &copying, .entry = PW_PLAIN }, splice = { .w = &splicing, .entry = PW_PLAIN };

	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1) {
		ktls_rows();
		return 0;
	}
	pw_start(&copying, &none);
	pw_start(&splicing, &usual);
	bulk_row("mesh.splice_bulk", &splice, &copy, "a TCP relay, no TLS on either leg");
	turn_row("mesh.splice_pingpong", &splice, &copy, "64 bytes there and back: too little to be spliced");
	pw_stop(&splicing);
	sockmap_rows(&copy);
	pw_stop(&copying);
	ktls_rows();
	return 0;
}
