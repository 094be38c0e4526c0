// SPDX-License-Identifier: Apache-2.0
/*
 * What tests/bench/mesh.sh puts before and behind the proxies: a backend, and whoever opens connections. Certificates
 * of DIR: node.crt, node.key.
 *
 *   mesh backend PORT [ADDRESS]    on the loopback or there; answers "hello"; N bytes for /bytes/N; an app id for /auth
 *   mesh idle PORT N               N connections with one request each, then waits for its standard input to end
 *   mesh handshakes PORT DIR S     new mutual TLS connections with one request each, for S seconds; prints the rate.
 *                                  It waits for nothing but the proxy: no Nagle, and the server's chain is not judged
 *   mesh latency PORT APP RATE S   requests to APP that are due at RATE a second, at random as those of many who do not
 *                                  know of each other, for S seconds, whether earlier ones were answered or not. Prints
 *                                  p50, p99 and the longest in microseconds, each from when its request was due: what
 *                                  somebody holds up is late for all who came meanwhile
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/bench.h"

#define DIALLERS 16 /* at once, so that a proxy never waits for one of them */

static SSL_CTX *ctx;

static void die(const char *what)
{
	fprintf(stderr, "mesh: %s: %s\n", what, strerror(errno));
	exit(1);
}

static SSL_CTX *ctx_of(const char *dir)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());
	char crt[256], key[256];

	snprintf(crt, sizeof(crt), "%s/node.crt", dir);
	snprintf(key, sizeof(key), "%s/node.key", dir);
	SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_use_certificate_chain_file(c, crt) != 1 ||
	    SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1)
		die(dir);
	return c;
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int listen_at(int port, const char *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in at = loopback(port);

	at.sin_addr.s_addr = inet_addr(address);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, SOMAXCONN) < 0)
		die("listen");
	return fd;
}

/* --- a backend that does as little as one can --- */

static char bulk[1 << 20];

static bool write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0)
			p += n, len -= (size_t)n;
	}
	return true;
}

static bool send_bytes(int fd, size_t len)
{
	char head[128];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);

	if (!write_all(fd, head, (size_t)n))
		return false;
	for (; len > 0; len -= len < sizeof(bulk) ? len : sizeof(bulk))
		if (!write_all(fd, bulk, len < sizeof(bulk) ? len : sizeof(bulk)))
			return false;
	return true;
}

static bool respond(int fd)
{
	static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
	static const char auth[] = "HTTP/1.1 200 OK\r\nx-dstack-app-id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
				   "Content-Length: 0\r\n\r\n";
	char buf[8192];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	buf[n] = '\0';
	if (strncmp(buf, "GET /bytes/", 11) == 0)
		return send_bytes(fd, strtoul(buf + 11, NULL, 10));
	if (strncmp(buf, "GET /auth", 9) == 0)
		return write_all(fd, auth, sizeof(auth) - 1);
	return write_all(fd, hello, sizeof(hello) - 1);
}

static void backend(int port, const char *address)
{
	int lfd = listen_at(port, address), ep = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = lfd }, evs[256];

	epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev);
	for (;;) {
		int n = epoll_wait(ep, evs, 256, -1);

		for (int i = 0; i < n; i++) {
			if (evs[i].data.fd != lfd) {
				if (!respond(evs[i].data.fd))
					close(evs[i].data.fd);
				continue;
			}
			ev.data.fd = accept(lfd, NULL, NULL);
			epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev);
		}
	}
}

/* --- whoever opens connections --- */

static int dial(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in at = loopback(port);

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		die("connect");
	return fd;
}

static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

struct dialler {
	pthread_t thread;
	int port;
	double end_s;
	unsigned n; /* made, or to be made */
};

static void *idle_dial(void *arg)
{
	struct dialler *d = arg;
	char buf[4096];

	for (unsigned i = 0; i < d->n; i++) {
		int fd = dial(d->port);

		if (!write_all(fd, request, sizeof(request) - 1) || recv(fd, buf, sizeof(buf), 0) <= 0)
			die("request");
	}
	return NULL;
}

static void dial_all(struct dialler *diallers, size_t n, void *(*fn)(void *))
{
	for (size_t i = 0; i < n; i++)
		pthread_create(&diallers[i].thread, NULL, fn, &diallers[i]);
	for (size_t i = 0; i < n; i++)
		pthread_join(diallers[i].thread, NULL);
}

static int idle(int port, unsigned n)
{
	struct dialler diallers[DIALLERS];
	char buf[16];

	for (unsigned i = 0; i < DIALLERS; i++)
		diallers[i] = (struct dialler){ .port = port, .n = (n + i) / DIALLERS };
	dial_all(diallers, DIALLERS, idle_dial);
	printf("ready\n");
	fflush(stdout);
	while (read(0, buf, sizeof(buf)) > 0)
		;
	return 0;
}

static bool handshake_once(int port)
{
	char buf[4096];
	int fd = dial(port);
	SSL *ssl = SSL_new(ctx);
	bool good;

	SSL_set_fd(ssl, fd);
	good = SSL_connect(ssl) == 1 && SSL_write(ssl, request, sizeof(request) - 1) > 0 &&
	       SSL_read(ssl, buf, sizeof(buf)) > 0;
	SSL_free(ssl);
	close(fd);
	return good;
}

static void *dial_on(void *arg)
{
	struct dialler *d = arg;

	for (; bench_now_s() < d->end_s; d->n++)
		if (!handshake_once(d->port))
			die("handshake");
	return NULL;
}

static int handshakes(int port, const char *dir, double seconds)
{
	struct dialler diallers[DIALLERS];
	double start = bench_now_s();
	unsigned n = 0;

	ctx = ctx_of(dir);
	for (size_t i = 0; i < DIALLERS; i++)
		diallers[i] = (struct dialler){ .port = port, .end_s = start + seconds };
	dial_all(diallers, DIALLERS, dial_on);
	for (size_t i = 0; i < DIALLERS; i++)
		n += diallers[i].n;
	printf("%.1f\n", n / (bench_now_s() - start));
	return 0;
}

/* --- whoever asks at his own time --- */

#define ASKERS    64
#define SLOT_S    1e-5
#define WARM_S    0.5 /* not counted: connections are made */
#define PATIENT_S 10

struct asker {
	int fd;
	size_t asked; /* which request it waits for the answer of */
	size_t len;
	char answer[4096];
};

static struct asker askers[ASKERS], *at_rest[ASKERS];
static size_t n_at_rest;

/* The same times in each run: a request begins in each slot with the same chance, whatever came before. */
static double *times_due(size_t n, double rate)
{
	double *due = calloc(n, sizeof(*due)), at = 0;
	unsigned short seed[3] = { 1, 2, 3 };

	if (!due)
		die("memory");
	for (size_t i = 0; i < n; i++) {
		do
			at += SLOT_S;
		while (erand48(seed) >= rate * SLOT_S);
		due[i] = at;
	}
	return due;
}

static void ask(size_t i, const char *text)
{
	struct asker *a = at_rest[--n_at_rest];

	a->asked = i;
	a->len = 0;
	if (!write_all(a->fd, text, strlen(text)))
		die("request");
}

static bool is_answered(struct asker *a)
{
	static const char head[] = "HTTP/1.1 200 ", end[] = "\r\n\r\nhello";
	const size_t len = sizeof(end) - 1;
	ssize_t n = recv(a->fd, a->answer + a->len, sizeof(a->answer) - a->len, 0);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		die("answer");
	a->len += n > 0 ? (size_t)n : 0;
	if (a->len >= sizeof(head) && memcmp(a->answer, head, sizeof(head) - 1) != 0)
		die("another answer than 200");
	return a->len > len && memcmp(a->answer + a->len - len, end, len) == 0;
}

/* Until one of them comes, or the next is due. */
static int wait_for(int ep, struct epoll_event *evs, double until)
{
	double left = until - bench_now_s();
	struct timespec ts = { .tv_sec = (time_t)(left > 0 ? left : 0) };

	ts.tv_nsec = left > 0 ? (long)((left - (double)ts.tv_sec) * 1e9) : 0;
	return epoll_pwait2(ep, evs, ASKERS, &ts, NULL);
}

/* Each answer's time since its request was due takes the place of that. */
static void ask_all(int ep, const char *text, double *due, size_t n)
{
	double start = bench_now_s(), give_up = start + due[n - 1] + PATIENT_S;
	struct epoll_event evs[ASKERS];
	size_t sent = 0, done = 0;

	while (done < n) {
		double now = bench_now_s();
		int ready;

		while (sent < n && n_at_rest && start + due[sent] <= now)
			ask(sent++, text);
		ready = wait_for(ep, evs, sent < n && n_at_rest ? start + due[sent] : give_up);
		now = bench_now_s();
		if (now > give_up)
			die("not all were answered");
		for (int i = 0; i < ready; i++) {
			struct asker *a = evs[i].data.ptr;

			if (!is_answered(a))
				continue;
			due[a->asked] = now - start - due[a->asked];
			at_rest[n_at_rest++] = a;
			done++;
		}
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int latency(int port, const char *app, double rate, double seconds)
{
	size_t n = (size_t)(rate * (seconds + WARM_S)), warm = (size_t)(rate * WARM_S);
	double *due = times_due(n, rate);
	int ep = epoll_create1(0);
	char text[256];

	snprintf(text, sizeof(text), "GET /hello HTTP/1.1\r\nHost: x\r\nx-dstack-target-app: %s\r\n\r\n", app);
	for (struct asker *a = askers; a < askers + ASKERS; a++) {
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = a };

		a->fd = dial(port);
		fcntl(a->fd, F_SETFL, O_NONBLOCK);
		epoll_ctl(ep, EPOLL_CTL_ADD, a->fd, &ev);
		at_rest[n_at_rest++] = a;
	}
	ask_all(ep, text, due, n);
	due += warm;
	n -= warm;
	qsort(due, n, sizeof(*due), by_size);
	printf("%.1f %.1f %.1f\n", due[n / 2] * 1e6, due[n * 99 / 100] * 1e6, due[n - 1] * 1e6);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit all = { 0 };

	getrlimit(RLIMIT_NOFILE, &all);
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "backend"))
		backend(atoi(argv[2]), argc == 4 ? argv[3] : "127.0.0.1");
	if (argc == 4 && !strcmp(argv[1], "idle"))
		return idle(atoi(argv[2]), (unsigned)atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "handshakes"))
		return handshakes(atoi(argv[2]), argv[3], atof(argv[4]));
	if (argc == 6 && !strcmp(argv[1], "latency"))
		return latency(atoi(argv[2]), argv[3], atof(argv[4]), atof(argv[5]));
	fprintf(stderr, "usage: see tests/bench/mesh.c\n");
	return 2;
}
