// SPDX-License-Identifier: Apache-2.0
/*
 * One of the processes that tests/bench/mesh.sh puts in a row: a client's or a server's proxy with a minimal
 * environment, a backend, or whoever opens connections. Certificates of DIR: ca.crt, node.crt, node.key.
 *
 *   mesh client PORT TO DIR        HTTP -> mutual TLS        mesh server PORT TO DIR    mutual TLS -> HTTP
 *   mesh backend PORT              answers "hello"; N bytes for /bytes/N; an app id for /auth
 *   mesh idle PORT N               N connections with one request each, then waits for its standard input to end
 * A proxy relays TCP, too, a hundred ports above.
 *   mesh handshakes PORT DIR S     new mutual TLS connections with one request each, for S seconds; prints the rate
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../lib/bench.h"
#include "mesh/proxy.h"

#define DIALLERS 16 /* at once, so that a proxy never waits for one of them */

static struct mp *mp;
static struct mp_upstream *to, *to_tcp;
static SSL_CTX *ctx;
static struct mp_peer *peer;

static void die(const char *what)
{
	fprintf(stderr, "mesh: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- a proxy --- */

static SSL *tls_client(struct mp_upstream *up, struct err *e, void *arg)
{
	(void)up, (void)e, (void)arg;
	return SSL_new(ctx);
}

static SSL *tls_server(const struct mp_listener *l, void *data, struct err *e, void *arg)
{
	(void)l, (void)data, (void)e, (void)arg;
	return SSL_new(ctx);
}

static enum mp_verdict who(SSL *ssl, struct mp_upstream *up, uint64_t token, struct mp_peer **out, enum mp_error *error,
			   struct err *e, void *arg)
{
	(void)up, (void)token, (void)error, (void)e, (void)arg;
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		return MP_REFUSE;
	*out = mp_peer_ref(peer);
	return MP_GO;
}

static enum mp_verdict route(const struct mp_request *req, struct mp_route *r, struct err *e, void *arg)
{
	static const char fields[] = "X-Dstack-App-Id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";

	(void)e, (void)arg;
	r->up = req->is_http ? to : to_tcp;
	if (!req->is_http)
		return MP_GO;
	if (req->peer) {
		r->headers = fields;
		r->headers_len = sizeof(fields) - 1;
	} else if (!mp_request_field(req, "x-dstack-target-app", NULL).p) {
		return MP_REFUSE;
	}
	return MP_GO;
}

static SSL_CTX *ctx_of(const char *dir, bool is_server)
{
	SSL_CTX *c = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
	char ca[256], crt[256], key[256];

	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	snprintf(crt, sizeof(crt), "%s/node.crt", dir);
	snprintf(key, sizeof(key), "%s/node.key", dir);
	SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
	SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_num_tickets(c, 1); /* as bailey-mesh */
	SSL_CTX_set_session_id_context(c, (const unsigned char *)"b", 1);
	if (SSL_CTX_load_verify_file(c, ca) != 1 || SSL_CTX_use_certificate_file(c, crt, SSL_FILETYPE_PEM) != 1 ||
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

static int listen_at(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in at = loopback(port);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, SOMAXCONN) < 0)
		die("listen");
	return fd;
}

static int proxy(bool is_server, int port, int to_port, const char *dir)
{
	struct mp_conf conf = {
		.base = event_base_new(),
		.max_connections = 16000,
		.ops = { .route = route, .tls_client = tls_client, .tls_server = tls_server, .peer = who }
	};
	struct mp_upstream_conf up = { .name = "next", .addr_len = sizeof(struct sockaddr_in), .max_idle = 1024 };
	struct mp_listener_conf lc = { .name = "in", .proto = MP_HTTP, .is_tls = is_server };
	struct mp_listener_conf tcp = { .name = "tcp", .proto = MP_TCP, .is_tls = is_server };
	struct sockaddr_in at = loopback(to_port);
	struct err e = ERR_INIT;

	ctx = ctx_of(dir, is_server);
	peer = calloc(1, sizeof(*peer));
	peer->refs = 1;
	bench_must(mp_new(&conf, &mp, &e), &e, "engine");
	memcpy(&up.addr, &at, sizeof(at));
	up.is_tls = !is_server;
	to = mp_upstream_new(mp, &up);
	to_tcp = to;
	if (!is_server) {
		at = loopback(to_port + 100);
		memcpy(&up.addr, &at, sizeof(at));
		to_tcp = mp_upstream_new(mp, &up);
	}
	bench_must(mp_listen(mp, listen_at(port), &lc, NULL, &e), &e, "listener");
	bench_must(mp_listen(mp, listen_at(port + 100), &tcp, NULL, &e), &e, "listener");
	return event_base_dispatch(conf.base);
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

static void backend(int port)
{
	int lfd = listen_at(port), ep = epoll_create1(0);
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
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = loopback(port);

	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		die("connect");
	return fd;
}

static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nx-dstack-target-app: "
			      "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n";

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

	ctx = ctx_of(dir, false);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	for (size_t i = 0; i < DIALLERS; i++)
		diallers[i] = (struct dialler){ .port = port, .end_s = start + seconds };
	dial_all(diallers, DIALLERS, dial_on);
	for (size_t i = 0; i < DIALLERS; i++)
		n += diallers[i].n;
	printf("%.1f\n", n / (bench_now_s() - start));
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit all = { 0 };

	getrlimit(RLIMIT_NOFILE, &all);
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
	if (argc == 5 && (!strcmp(argv[1], "client") || !strcmp(argv[1], "server")))
		return proxy(argv[1][0] == 's', atoi(argv[2]), atoi(argv[3]), argv[4]);
	if (argc == 3 && !strcmp(argv[1], "backend"))
		backend(atoi(argv[2]));
	if (argc == 4 && !strcmp(argv[1], "idle"))
		return idle(atoi(argv[2]), (unsigned)atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "handshakes"))
		return handshakes(atoi(argv[2]), argv[3], atof(argv[4]));
	fprintf(stderr, "usage: see tests/bench/mesh.c\n");
	return 2;
}
