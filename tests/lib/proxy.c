// SPDX-License-Identifier: Apache-2.0
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "datapath/relay.h"

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "proxy world: %s: %s\n", what, strerror(errno));
	abort();
}

/* --- certificates: one CA, a leaf for each app, its id as the common name --- */

static X509 *cert_new(struct pw *w, EVP_PKEY *key, const char *name, bool is_ca)
{
	X509 *x = X509_new();
	X509_NAME *n = X509_NAME_new();
	static long serial = 1;

	must(x && n, "certificate");
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_subject_name(x, n);
	X509_set_issuer_name(x, is_ca ? n : X509_get_subject_name(w->ca));
	X509_set_pubkey(x, key);
	if (is_ca) {
		X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

		X509_add_ext(x, ext, -1);
		X509_EXTENSION_free(ext);
	}
	must(X509_sign(x, w->ca_key, EVP_sha256()) > 0, "signature");
	X509_NAME_free(n);
	return x;
}

static const uint8_t apps[] = { PW_CLIENT, PW_SERVER, PW_OTHER };
static struct pw shared; /* its certificates; ca NULL: none */

static void certs_take(struct pw *w)
{
	X509_up_ref(shared.ca);
	EVP_PKEY_up_ref(shared.ca_key);
	w->ca = shared.ca;
	w->ca_key = shared.ca_key;
	for (size_t i = 0; i < sizeof(apps); i++) {
		X509_up_ref(shared.cert[apps[i]]);
		EVP_PKEY_up_ref(shared.key[apps[i]]);
		w->cert[apps[i]] = shared.cert[apps[i]];
		w->key[apps[i]] = shared.key[apps[i]];
	}
}

static void certs_make(struct pw *w)
{
	char name[MP_ID_TEXT];

	if (shared.ca) {
		certs_take(w);
		return;
	}
	w->ca_key = EVP_EC_gen("P-256");
	w->ca = cert_new(w, w->ca_key, "test CA", true);
	for (size_t i = 0; i < sizeof(apps); i++) {
		for (size_t c = 0; c < 20; c++)
			sprintf(name + 2 * c, "%02x", apps[i]);
		w->key[apps[i]] = EVP_EC_gen("P-256");
		w->cert[apps[i]] = cert_new(w, w->key[apps[i]], name, false);
	}
}

void pw_certs_share(void)
{
	if (!shared.ca)
		certs_make(&shared);
}

static SSL_CTX *ctx_new(struct pw *w, uint8_t who, bool is_server)
{
	SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());

	must(ctx, "context");
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), w->ca);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"pw", 2);
	must(SSL_CTX_use_certificate(ctx, w->cert[who]) == 1 && SSL_CTX_use_PrivateKey(ctx, w->key[who]) == 1, "key");
	return ctx;
}

/* As bailey-mesh does. */
static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned len,
		  void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	const struct pw *w = arg;
	unsigned skip = w->conf.is_old ? 3 : 0;

	(void)ssl;
	return SSL_select_next_proto((unsigned char **)out, out_len, ours + skip, sizeof(ours) - 1 - skip, in, len) ==
			       OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_NOACK;
}

SSL_CTX *pw_client_ctx(struct pw *w, uint8_t who)
{
	return ctx_new(w, who, false);
}

/* --- what the engines ask --- */

static SSL *on_tls_client(struct mp_upstream *up, struct err *e, void *arg)
{
	struct pw *w = arg;

	(void)up, (void)e;
	return SSL_new(w->out[PW_CLIENT]);
}

static SSL *on_tls_server(const struct mp_listener *listener, void *data, struct err *e, void *arg)
{
	struct pw *w = arg;

	(void)listener, (void)data, (void)e;
	return SSL_new(w->in[w->conf.server_is]);
}

static struct mp_peer *peer_of(struct pw *w, uint8_t who, const char *app)
{
	if (!w->peers[who]) {
		w->peers[who] = calloc(1, sizeof(struct mp_peer));
		must(w->peers[who], "peer");
		w->peers[who]->refs = 1;
		snprintf(w->peers[who]->app, MP_ID_TEXT, "%s", app);
		if (w->conf.peer_s)
			w->peers[who]->expires_s = time(NULL) + w->conf.peer_s;
	}
	return mp_peer_ref(w->peers[who]);
}

static enum mp_verdict on_peer(SSL *ssl, struct mp_upstream *up, uint64_t token, struct mp_peer **peer,
			       enum mp_error *error, struct err *e, void *arg)
{
	const uint8_t *expected = up ? mp_upstream_data(up) : NULL;
	X509 *cert = SSL_get0_peer_certificate(ssl);
	char app[MP_ID_TEXT] = "";
	struct pw *w = arg;
	unsigned who;

	(void)token;
	w->judged++;
	if (cert)
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, app, sizeof(app));
	if (sscanf(app, "%2x", &who) != 1 || (expected && *expected != who)) {
		*error = MP_ERR_VERIFICATION_FAILED;
		err_at(e, -EACCES, NULL, "it is app %s", app);
		return MP_REFUSE;
	}
	*peer = peer_of(w, (uint8_t)who, app);
	return MP_GO;
}

static bool starts(struct mp_text t, const char *with)
{
	return t.len >= strlen(with) && memcmp(t.p, with, strlen(with)) == 0;
}

struct later {
	struct pw *w;
	struct mp *mp;
	uint64_t token;
};

static void on_later(int fd, short what, void *arg)
{
	struct later *l = arg;

	(void)fd, (void)what;
	mp_again(l->mp, l->token);
	free(l);
}

/* Once in two asks the answer is not known yet. */
static bool must_wait(struct pw *w, struct mp *mp, const struct mp_request *req)
{
	struct timeval soon = { .tv_usec = 2000 };
	struct later *l;

	if (!w->later || w->waited++ % 2)
		return false;
	l = malloc(sizeof(*l));
	*l = (struct later){ w, mp, req->token };
	event_base_once(w->base, -1, EV_TIMEOUT, on_later, l, &soon);
	return true;
}

static enum mp_verdict route_client(const struct mp_request *req, struct mp_route *route, struct err *e, void *arg)
{
	struct mp_text app = mp_request_field(req, "X-Dstack-Target-App", NULL);
	struct pw *w = arg;
	unsigned who = 0;

	w->routes++;
	if (must_wait(w, w->client, req))
		return MP_LATER;
	if (!req->is_http) {
		route->up = req->listener_data ? w->plain : w->to_tcp;
		return MP_GO;
	}
	if (starts(req->target, "/health") && !app.p) {
		route->status = 200;
		route->content_type = "text/plain";
		route->body = strdup("well\n");
		route->body_len = 5;
		return MP_RESPOND;
	}
	if (!app.p || sscanf(app.p, "%2x", &who) != 1 || !w->to[who]) {
		route->error = MP_ERR_NOT_FOUND;
		err_at(e, -ENOENT, NULL, "no such app");
		return MP_REFUSE;
	}
	route->up = w->to[who];
	if (mp_request_field(req, "x-test-tunnel", NULL).p) {
		route->up = w->to_tcp;
		route->is_tunnel = true;
	}
	snprintf(route->rule, sizeof(route->rule), "to-server");
	return MP_GO;
}

static enum mp_verdict route_server(const struct mp_request *req, struct mp_route *route, struct err *e, void *arg)
{
	static const char fields[] = "X-Dstack-App-Id: " PW_APP_CLIENT "\r\n";
	struct pw *w = arg;

	w->routes++;
	if (must_wait(w, w->server, req))
		return MP_LATER;
	if (w->deny_all || starts(req->target, "/deny")) {
		err_at(e, -EACCES, NULL, "denied by rule \"none\"");
		return MP_REFUSE;
	}
	route->up = w->backend;
	route->headers = fields;
	route->headers_len = sizeof(fields) - 1;
	snprintf(route->rule, sizeof(route->rule), "web");
	route->rule_id = 7;
	return MP_GO;
}

static void on_refused(const struct mp_request *req, enum mp_error error, const struct err *e, void *arg)
{
	struct pw *w = arg;

	(void)req;
	err_text(e, w->last_text, sizeof(w->last_text));
	w->last_error = error;
	w->refused++;
}

/* --- the loop's thread --- */

struct task {
	void (*fn)(struct pw *w, void *arg);
	void *arg;
};

static void on_task(int fd, short what, void *arg)
{
	struct task t;

	(void)what;
	if (read(fd, &t, sizeof(t)) != sizeof(t) || !t.fn) {
		event_base_loopbreak(((struct pw *)arg)->base);
		return;
	}
	t.fn(arg, t.arg);
	must(write(fd, "", 1) == 1, "task");
}

void pw_do(struct pw *w, void (*fn)(struct pw *w, void *arg), void *arg)
{
	struct task t = { fn, arg };
	char done;

	must(write(w->wake[0], &t, sizeof(t)) == sizeof(t), "task");
	if (fn)
		must(read(w->wake[0], &done, 1) == 1, "task");
}

static void *loop(void *arg)
{
	struct pw *w = arg;

	event_base_dispatch(w->base);
	return NULL;
}

struct asked {
	bool of_server;
	struct mp_counters counters;
};

static void counters_get(struct pw *w, void *arg)
{
	struct asked *a = arg;

	mp_counters(a->of_server ? w->server : w->client, &a->counters);
}

struct mp_counters pw_counters(struct pw *w, bool of_server)
{
	struct asked a = { .of_server = of_server };

	pw_do(w, counters_get, &a);
	return a.counters;
}

/* --- the world --- */

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int pw_listen_any(uint16_t *port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_in at = loopback(*port);
	socklen_t len = sizeof(at);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	must(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, SOMAXCONN) == 0, "listen");
	getsockname(fd, (struct sockaddr *)&at, &len);
	*port = ntohs(at.sin_port);
	return fd;
}

static struct mp_upstream *upstream(struct mp *mp, uint16_t port, uint8_t *expected, enum mp_h2 h2,
				    const uint16_t bad[2])
{
	struct mp_upstream_conf conf = {
		.addr_len = sizeof(struct sockaddr_in), .is_tls = expected, .h2 = h2, .max_idle = 64, .data = expected
	};
	struct sockaddr_in at = loopback(port);

	snprintf(conf.name, sizeof(conf.name), "%s %u", expected ? "app" : "backend", port);
	for (int i = 0; bad && i < 2 && bad[i]; i++)
		conf.more[conf.n_more++].v4 = at;
	if (conf.n_more == 2)
		conf.more[0].v4.sin_port = htons(bad[1]);
	if (conf.n_more)
		at.sin_port = htons(bad[0]);
	memcpy(&conf.addr, &at, sizeof(at));
	return mp_upstream_new(mp, &conf);
}

static void listen_at(struct pw *w, enum pw_entry entry)
{
	static const char *const names[] = { "http", "tcp", "plain", "tls-http", "tls-tcp" };
	bool is_tls = entry >= PW_TLS_HTTP;
	struct mp_listener_conf conf = { .proto = entry == PW_HTTP || entry == PW_TLS_HTTP ? MP_HTTP : MP_TCP,
					 .is_tls = is_tls,
					 .h2 = true,
					 .data = entry == PW_PLAIN ? w : NULL };
	struct err e = ERR_INIT;
	int fd = pw_listen_any(&w->port[entry]);

	snprintf(conf.name, sizeof(conf.name), "%s", names[entry]);
	must(mp_listen(is_tls ? w->server : w->client, fd, &conf, &w->listeners[entry], &e) == 0, "mp_listen");
}

static void engine(struct pw *w, struct mp_conf *conf, struct mp **mp)
{
	struct err e = ERR_INIT;

	conf->base = w->base;
	conf->arg = w;
	conf->ops = (struct mp_ops){ .route = mp == &w->client ? route_client : route_server,
				     .tls_client = on_tls_client,
				     .tls_server = on_tls_server,
				     .peer = on_peer,
				     .leg = conf->ops.leg,
				     .refused = on_refused };
	must(mp_new(conf, mp, &e) == 0, "mp_new");
}

void pw_start(struct pw *w, const struct pw_conf *conf)
{
	static uint8_t expect[256];

	memset(w, 0, sizeof(*w));
	w->conf = *conf;
	w->conf.server_is = conf->server_is ? conf->server_is : PW_SERVER;
	certs_make(w);
	w->out[PW_CLIENT] = ctx_new(w, PW_CLIENT, false);
	w->in[w->conf.server_is] = ctx_new(w, w->conf.server_is, true);
	SSL_CTX_set_alpn_select_cb(w->in[w->conf.server_is], choose, w);
	w->base = event_base_new();
	engine(w, &w->conf.client, &w->client);
	engine(w, &w->conf.server, &w->server);
	for (int i = 0; i < PW_ENTRIES; i++)
		listen_at(w, (enum pw_entry)i);
	w->backend_fd = -1;
	w->backend_port = conf->backend;
	if (!conf->backend)
		w->backend_fd = pw_listen_any(&w->backend_port);
	w->backend = upstream(w->server, w->backend_port, NULL, conf->h2_backend ? MP_H2_PRIOR : MP_H2_NO, conf->bad);
	expect[PW_SERVER] = PW_SERVER, expect[PW_OTHER] = PW_OTHER;
	w->to[PW_SERVER] = upstream(w->client, w->port[PW_TLS_HTTP], &expect[PW_SERVER], MP_H2_ALPN, NULL);
	w->to[PW_OTHER] = upstream(w->client, w->port[PW_TLS_HTTP], &expect[PW_OTHER], MP_H2_ALPN, NULL);
	w->to_tcp = upstream(w->client, conf->tls_tcp ? conf->tls_tcp : w->port[PW_TLS_TCP], &expect[PW_SERVER],
			     MP_H2_NO, NULL);
	w->plain = upstream(w->client, w->backend_port, NULL, MP_H2_NO, NULL);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->wake) == 0, "socketpair");
	w->task = event_new(w->base, w->wake[1], EV_READ | EV_PERSIST, on_task, w);
	must(w->task && event_add(w->task, NULL) == 0, "task");
	must(pthread_create(&w->thread, NULL, loop, w) == 0, "thread");
}

void pw_stop(struct pw *w)
{
	pw_do(w, NULL, NULL);
	pthread_join(w->thread, NULL);
	for (int i = 0; i < 256; i++)
		mp_upstream_drop(w->to[i]);
	mp_upstream_drop(w->to_tcp);
	mp_upstream_drop(w->plain);
	mp_upstream_drop(w->backend);
	mp_free(w->client);
	mp_free(w->server);
	event_free(w->task);
	event_base_free(w->base);
	for (int i = 0; i < 256; i++) {
		mp_peer_unref(w->peers[i]);
		SSL_CTX_free(w->in[i]);
		SSL_CTX_free(w->out[i]);
		EVP_PKEY_free(w->key[i]);
		X509_free(w->cert[i]);
	}
	EVP_PKEY_free(w->ca_key);
	X509_free(w->ca);
	close(w->wake[0]);
	close(w->wake[1]);
	if (w->backend_fd >= 0)
		close(w->backend_fd);
}

/* --- both ends --- */

static int timed(int fd)
{
	struct timeval t = { .tv_sec = PW_TIMEOUT };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	return fd;
}

int pw_dial_port(uint16_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = loopback(port);

	must(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "connect");
	return timed(fd);
}

int pw_dial(struct pw *w, enum pw_entry entry)
{
	return pw_dial_port(w->port[entry]);
}

int pw_accept(struct pw *w)
{
	int fd;

	timed(w->backend_fd);
	fd = accept4(w->backend_fd, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? -1 : timed(fd);
}

void pw_send_bytes(int fd, const void *p, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send(fd, (const char *)p + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

void pw_send(int fd, const char *text)
{
	pw_send_bytes(fd, text, strlen(text));
}

char *pw_until(int fd, const char *mark)
{
	static char text[65536];
	size_t n = 0, len = strlen(mark);

	while (n + 1 < sizeof(text) && recv(fd, text + n, 1, 0) == 1) {
		text[++n] = '\0';
		if (n >= len && memcmp(text + n - len, mark, len) == 0)
			return text;
	}
	return NULL;
}

char *pw_head(int fd)
{
	return pw_until(fd, "\r\n\r\n");
}

bool pw_exactly(int fd, void *p, size_t len)
{
	return recv(fd, p, len, MSG_WAITALL) == (ssize_t)len;
}

bool pw_is_eof(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

bool pw_is_reset(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET;
}

void pw_get(int fd)
{
	pw_send(fd, "GET / HTTP/1.1\r\nHost: h\r\nx-dstack-target-app: " PW_APP_SERVER "\r\n\r\n");
}

void pw_answer(int back)
{
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

bool pw_is_answered(int fd)
{
	const char *head = pw_head(fd);
	char got[2];

	return head && strstr(head, "HTTP/1.1 200 OK\r\n") && pw_exactly(fd, got, 2);
}

/* --- paths --- */

static bool path_open(enum mp_path path, struct dp_relays **sockmap, struct err *e)
{
	*sockmap = NULL;
	if (path == MP_PATH_KTLS)
		return mp_ktls_probe(e) == 0;
	return path != MP_PATH_SOCKMAP || dp_relays_open(sockmap, e) == 0;
}

bool pw_has_path(enum mp_path path, const char *name, struct dp_relays **sockmap)
{
	struct err e = ERR_INIT;
	char text[300];

	if (path_open(path, sockmap, &e))
		return true;
	printf("ok - %s: all of it # SKIP %s\n", name, err_text(&e, text, sizeof(text)));
	return false;
}
