// SPDX-License-Identifier: Apache-2.0
/* What ends relays: clocks, limits, cuts, drain; and what peers may not share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/proxy.h"

static struct pw w;

static void start(struct mp_conf client, struct mp_conf server)
{
	struct pw_conf conf = { .client = client, .server = server };

	pw_start(&w, &conf);
}

static const struct mp_conf usual;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A request that is at the backend. */
static void ask(int *fd, int *back)
{
	*fd = pw_dial(&w, PW_HTTP);
	pw_get(*fd);
	*back = pw_accept(&w);
	assert_non_null(pw_head(*back));
}

static void stop(int fd, int back)
{
	close(fd);
	close(back);
	pw_stop(&w);
}

/* --- clocks --- */

static void slow_heads_end(void **state)
{
	const struct mp_conf quick = { .head_ms = 200 };
	double begin = now_s();
	char byte;
	int fd, tls;

	(void)state;
	start(quick, quick);
	fd = pw_dial(&w, PW_HTTP);
	tls = pw_dial(&w, PW_TLS_HTTP); /* never shakes hands */
	for (int i = 0; i < 4; i++) {
		pw_send(fd, "G");
		usleep(40000);
	}
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 408 Request Timeout\r\n"));
	assert_true(now_s() - begin < 5);
	assert_false(pw_exactly(tls, &byte, 1));
	assert_true(pw_counters(&w, false).timeouts >= 1);
	close(fd);
	close(tls);
	pw_stop(&w);
}

static void idle_keep_alive_ends(void **state)
{
	int fd;

	(void)state;
	start((struct mp_conf){ .keepalive_ms = 200 }, usual);
	fd = pw_dial(&w, PW_HTTP);
	pw_send(fd, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_non_null(pw_head(fd));
	assert_non_null(pw_until(fd, "well\n"));
	assert_true(pw_is_eof(fd));
	close(fd);
	pw_stop(&w);
}

static void silent_backend_is_504(void **state)
{
	int fd, back;

	(void)state;
	start(usual, (struct mp_conf){ .response_ms = 200 });
	ask(&fd, &back);
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 504 "));
	assert_non_null(strstr(pw_until(fd, "}"), "TIMEOUT"));
	stop(fd, back);
}

static void peers_expire(void **state)
{
	struct pw_conf conf = { .peer_s = 2 };
	char byte;
	int fd, back;

	(void)state;
	pw_start(&w, &conf);
	fd = pw_dial(&w, PW_TCP);
	back = pw_accept(&w);
	pw_send(fd, "x");
	assert_true(pw_exactly(back, &byte, 1));
	assert_true(pw_is_reset(back));
	assert_true(pw_is_reset(fd));
	assert_true(pw_counters(&w, true).cuts + pw_counters(&w, false).cuts >= 1);
	stop(fd, back);
}

/* --- limits --- */

static void connections_are_limited(void **state)
{
	int a, b, c;

	(void)state;
	start((struct mp_conf){ .max_connections = 2 }, usual);
	a = pw_dial(&w, PW_HTTP);
	b = pw_dial(&w, PW_HTTP);
	usleep(50000);
	c = pw_dial(&w, PW_HTTP); /* waits in the kernel's queue */
	pw_send(c, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
	usleep(50000);
	assert_int_equal(pw_counters(&w, false).connections, 2);
	assert_true(pw_counters(&w, false).refused_full >= 1);
	close(a);
	assert_non_null(strstr(pw_head(c), "HTTP/1.1 200 "));
	close(b);
	close(c);
	pw_stop(&w);
}

/* --- asked again --- */

#define MANY 70 /* more than the engine lets wait for the end of a turn */

static int many[MANY], backs[MANY];

/* In the loop's thread, so that all of them are ready when it goes on. */
static void ask_all(struct pw *world, void *arg)
{
	(void)world, (void)arg;
	for (int i = 0; i < MANY; i++)
		pw_get(many[i]);
}

static void answer_all(struct pw *world, void *arg)
{
	(void)world, (void)arg;
	for (int i = 0; i < MANY; i++)
		pw_answer(backs[i]);
}

static void many_in_one_turn_are_served(void **state)
{
	const struct mp_conf patient = { .connect_ms = 60000, .head_ms = 60000 };

	(void)state;
	start(patient, patient);
	for (int i = 0; i < MANY; i++)
		many[i] = pw_dial(&w, PW_HTTP);
	pw_do(&w, ask_all, NULL);
	for (int i = 0; i < MANY; i++) {
		backs[i] = pw_accept(&w);
		assert_non_null(pw_head(backs[i]));
	}
	pw_do(&w, answer_all, NULL);
	for (int i = 0; i < MANY; i++)
		assert_true(pw_is_answered(many[i]));
	assert_int_equal(pw_counters(&w, false).requests, MANY);
	for (int i = 0; i < MANY; i++) {
		close(many[i]);
		close(backs[i]);
	}
	pw_stop(&w);
}

static void late_answers_are_waited_for(void **state)
{
	int fd, back;

	(void)state;
	start(usual, usual);
	w.later = true;
	ask(&fd, &back);
	pw_answer(back);
	assert_true(pw_is_answered(fd));
	assert_true(w.routes >= 4);
	stop(fd, back);
}

/* --- cuts --- */

static bool by_rule(const struct mp_relay *r, void *arg)
{
	return r->rule_id == *(uint64_t *)arg;
}

static void cut_by_rule(struct pw *world, void *arg)
{
	assert_int_equal(mp_cut(world->server, by_rule, arg), 1);
}

static bool by_peer(const struct mp_relay *r, void *arg)
{
	return r->in == arg || r->out == arg;
}

static void cut_by_peer(struct pw *world, void *arg)
{
	(void)arg;
	assert_int_equal(mp_cut(world->client, by_peer, world->peers[PW_SERVER]), 1);
}

/* A relay whose rule is gone ends at once, in the middle of a body, at both ends; one that has another goes on. */
static void cut_relays_end_at_once(void **state)
{
	uint64_t rule = 7;
	int fd, back;
	char got[4];
	double begin;

	(void)state;
	start(usual, usual);
	ask(&fd, &back);
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
	assert_non_null(pw_head(fd));
	assert_true(pw_exactly(fd, got, 4));
	begin = now_s();
	pw_do(&w, cut_by_rule, &rule);
	assert_true(pw_is_reset(back));
	assert_true(pw_is_reset(fd));
	assert_true(now_s() - begin < 2);
	stop(fd, back);
}

/* A peer that is revoked loses what is idle, too: the next request shakes hands anew. */
static void pooled_connections_are_cut(void **state)
{
	int fd, back;

	(void)state;
	start(usual, usual);
	ask(&fd, &back);
	pw_answer(back);
	assert_true(pw_is_answered(fd));
	assert_int_equal(pw_counters(&w, false).pooled, 1);
	pw_do(&w, cut_by_peer, NULL);
	assert_int_equal(pw_counters(&w, false).pooled, 0);
	pw_get(fd);
	close(back);
	back = pw_accept(&w);
	assert_non_null(pw_head(back));
	pw_answer(back);
	assert_true(pw_is_answered(fd));
	assert_int_equal(pw_counters(&w, false).handshakes_out, 2);
	stop(fd, back);
}

struct listing {
	unsigned n, active, tunnels, pooled;
	uint64_t up, down;
	char rule[MP_RULE_TEXT], app[MP_ID_TEXT];
};

static void list_one(const struct mp_relay *r, void *arg)
{
	struct listing *l = arg;

	l->n++;
	l->active += r->is_active;
	l->tunnels += r->is_tunnel;
	l->pooled += r->is_pooled;
	l->up += r->bytes_up;
	l->down += r->bytes_down;
	snprintf(l->rule, sizeof(l->rule), "%s", r->rule);
	if (r->in)
		snprintf(l->app, sizeof(l->app), "%s", r->in->app);
}

static void list_server(struct pw *world, void *arg)
{
	mp_each_relay(world->server, list_one, arg);
}

static void relays_are_listed(void **state)
{
	struct listing l = { 0 };
	char got[5];
	int fd, back;

	(void)state;
	start(usual, usual);
	fd = pw_dial(&w, PW_TCP);
	back = pw_accept(&w);
	pw_send(fd, "hello");
	assert_true(pw_exactly(back, got, 5));
	pw_send(back, "you");
	assert_true(pw_exactly(fd, got, 3));
	pw_do(&w, list_server, &l);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.active + l.tunnels, 2);
	assert_int_equal(l.up, 5);
	assert_int_equal(l.down, 3);
	assert_string_equal(l.rule, "web");
	assert_string_equal(l.app, PW_APP_CLIENT);
	stop(fd, back);
}

/* --- drain --- */

static _Atomic bool drained;

static void on_drained(void *arg)
{
	(void)arg;
	drained = true;
}

static void drain_client(struct pw *world, void *arg)
{
	drained = false;
	mp_drain(world->client, *(unsigned *)arg, on_drained, NULL);
}

static bool becomes_drained(void)
{
	for (int i = 0; i < 5000 && !drained; i++)
		usleep(1000);
	return drained;
}

static void drain_lets_requests_finish(void **state)
{
	unsigned within = 60000;
	int fd, idle[2], back;
	char *head;

	(void)state;
	start(usual, usual);
	for (int i = 0; i < 2; i++) {
		idle[i] = pw_dial(&w, PW_HTTP);
		pw_send(idle[i], "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
		assert_non_null(pw_head(idle[i]));
		assert_non_null(pw_until(idle[i], "well\n"));
	}
	ask(&fd, &back);
	pw_do(&w, drain_client, &within);
	/* who is kept alive may bring one more, which was perhaps on its way */
	pw_send(idle[0], "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_non_null(strstr(pw_head(idle[0]), "Connection: close\r\n"));
	assert_non_null(pw_until(idle[0], "well\n"));
	assert_true(pw_is_eof(idle[0]));
	assert_true(pw_is_eof(idle[1]));
	assert_false(drained);
	pw_answer(back);
	head = pw_head(fd);
	assert_non_null(strstr(head, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(head, "Connection: close\r\n"));
	assert_non_null(pw_until(fd, "ok"));
	assert_true(pw_is_eof(fd));
	assert_true(becomes_drained());
	close(fd);
	close(idle[0]);
	close(idle[1]);
	close(back);
	pw_stop(&w);
}

static void drain_ends_in_time(void **state)
{
	unsigned within = 100;
	int fd, back;

	(void)state;
	start(usual, usual);
	fd = pw_dial(&w, PW_TCP);
	back = pw_accept(&w);
	pw_do(&w, drain_client, &within);
	assert_true(becomes_drained());
	assert_true(pw_is_reset(fd));
	stop(fd, back);
}

/* --- peers --- */

static SSL *tls_dial(SSL_CTX *ctx)
{
	SSL *ssl = SSL_new(ctx);

	SSL_set_fd(ssl, pw_dial(&w, PW_TLS_HTTP));
	assert_int_equal(SSL_connect(ssl), 1);
	return ssl;
}

static void tls_end(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_free(ssl);
	close(fd);
}

static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

static void tls_get(SSL *ssl)
{
	assert_int_equal(SSL_write(ssl, request, sizeof(request) - 1), sizeof(request) - 1);
}

static void tls_answered(SSL *ssl)
{
	char got[256] = "";

	assert_true(SSL_read(ssl, got, sizeof(got) - 1) > 0);
	assert_non_null(strstr(got, "HTTP/1.1 200 OK\r\n"));
}

/* What one peer left in a backend's connection is never another's: each has its own, though one is idle. */
static void peers_share_no_connection(void **state)
{
	SSL_CTX *ctx_a, *ctx_c;
	SSL *a, *c, *again;
	int back_a, back_c;

	(void)state;
	start(usual, usual);
	ctx_a = pw_client_ctx(&w, PW_CLIENT), ctx_c = pw_client_ctx(&w, PW_OTHER);
	a = tls_dial(ctx_a);
	tls_get(a);
	back_a = pw_accept(&w);
	assert_non_null(pw_head(back_a));
	pw_answer(back_a);
	tls_answered(a);
	c = tls_dial(ctx_c);
	tls_get(c);
	back_c = pw_accept(&w);
	assert_true(back_c >= 0);
	assert_non_null(pw_head(back_c));
	pw_answer(back_c);
	tls_answered(c);
	/* another connection of the first peer finds what that one left */
	again = tls_dial(ctx_a);
	tls_get(again);
	assert_non_null(pw_head(back_a));
	pw_answer(back_a);
	tls_answered(again);
	tls_end(a);
	tls_end(c);
	tls_end(again);
	close(back_a);
	close(back_c);
	SSL_CTX_free(ctx_a);
	SSL_CTX_free(ctx_c);
	pw_stop(&w);
}

/* TLS that ends without close_notify may have been cut by anybody: the backend is not told that it was the end. */
static void truncation_is_no_end(void **state)
{
	SSL_CTX *ctx;
	SSL *ssl;
	int back, fd;

	(void)state;
	start(usual, usual);
	ctx = pw_client_ctx(&w, PW_CLIENT);
	ssl = SSL_new(ctx);
	fd = pw_dial(&w, PW_TLS_TCP);
	SSL_set_fd(ssl, fd);
	assert_int_equal(SSL_connect(ssl), 1);
	assert_int_equal(SSL_write(ssl, "x", 1), 1);
	back = pw_accept(&w);
	assert_non_null(pw_until(back, "x"));
	shutdown(fd, SHUT_WR);
	assert_true(pw_is_reset(back));
	close(back);
	tls_end(ssl);
	SSL_CTX_free(ctx);
	pw_stop(&w);
}

static void no_certificate_no_entry(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	char got[64];

	(void)state;
	start(usual, usual);
	SSL_set_fd(ssl, pw_dial(&w, PW_TLS_HTTP));
	/* in TLS 1.3 the client hears of it with the first read */
	if (SSL_connect(ssl) == 1)
		SSL_write(ssl, request, sizeof(request) - 1);
	assert_true(SSL_read(ssl, got, sizeof(got)) <= 0);
	assert_int_equal(pw_counters(&w, true).handshake_failures, 1);
	assert_int_equal(pw_counters(&w, true).requests, 0);
	tls_end(ssl);
	SSL_CTX_free(ctx);
	pw_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_heads_end),
		cmocka_unit_test(idle_keep_alive_ends),
		cmocka_unit_test(silent_backend_is_504),
		cmocka_unit_test(peers_expire),
		cmocka_unit_test(connections_are_limited),
		cmocka_unit_test(late_answers_are_waited_for),
		cmocka_unit_test(many_in_one_turn_are_served),
		cmocka_unit_test(cut_relays_end_at_once),
		cmocka_unit_test(pooled_connections_are_cut),
		cmocka_unit_test(relays_are_listed),
		cmocka_unit_test(drain_lets_requests_finish),
		cmocka_unit_test(drain_ends_in_time),
		cmocka_unit_test(peers_share_no_connection),
		cmocka_unit_test(truncation_is_no_end),
		cmocka_unit_test(no_certificate_no_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
