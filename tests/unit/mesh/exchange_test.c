// SPDX-License-Identifier: Apache-2.0
/* Two nodes in one process exchange records over loopback; then everything that must not be answered. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "identity/attestation.h"
#include "identity/sim.h"
#include "mesh/exchange.h"
#include "mesh/ratls.h"

#include <openssl/pem.h>

struct side {
	struct mx *mx;
	char *cert, *key;
	uint8_t *record;
	size_t record_len;
	bool believe_simulated;
	enum id_fresh fresh; /* demanded by it */
	bool has_tee, tee_is_slow;
	struct id_sim_request who;
	uint64_t asked; /* token of a quote that the TEE is asked for */
	uint8_t report_data[ID_REPORT_DATA_LEN];
	struct event *tee;
	enum id_fresh proved; /* by the last node that it got */
	unsigned got, refused, refused_by_peer;
	int reason; /* of the last refusal */
	char node[BY_NODE_NAME_LEN];
};

static struct event_base *base;
static struct id_sim_root root;
static struct side a, b;
static struct ip_endpoint b_at;

static void trust(struct id_trust *t, void *arg)
{
	const struct side *s = arg;

	*t = (struct id_trust){ .now = time(NULL),
				.allow_simulated = s->believe_simulated,
				.simulated_roots = root.root_cert,
				.simulated_roots_len = strlen(root.root_cert) };
}

static int on_node(const struct id_node *node, const uint8_t *bytes, size_t len, const char *origin, struct err *e,
		   void *arg)
{
	struct side *s = arg;

	(void)bytes, (void)len, (void)origin, (void)e;
	s->got++;
	s->proved = node->claims.fresh;
	memcpy(s->node, node->record.node, sizeof(s->node));
	return 0;
}

static void on_refused(const char *origin, const struct err *e, bool is_remote, void *arg)
{
	struct side *s = arg;

	(void)origin;
	if (is_remote)
		s->refused_by_peer++;
	else
		s->refused++;
	s->reason = e->reason;
}

static void on_tee(int fd, short what, void *arg)
{
	auto_call(id_events_fini) struct id_events events = { 0 };
	uint8_t rtmr3[ID_MR_LEN], body[ID_QUOTE_SIGNED_LEN];
	struct side *s = arg;
	auto_free char *log = id_sim_eventlog(&s->who, rtmr3);
	auto_free uint8_t *quote = NULL;
	auto_out struct out out = { 0 };
	struct err e = ERR_INIT;
	size_t len;

	(void)fd, (void)what;
	assert_true(id_sim_quote_body(body, rtmr3, s->report_data));
	assert_int_equal(id_sim_quote_sign(&root, body, &quote, &len, &e), 0);
	assert_int_equal(id_events_from_json(log, strlen(log), &events, &e), 0);
	assert_true(id_attestation_write(&out, in_of(quote, len), &events, s->report_data, true));
	mx_quoted(s->mx, s->asked, out.data, out.len);
}

static int on_quote(uint64_t token, const uint8_t report_data[ID_REPORT_DATA_LEN], void *arg)
{
	struct timeval soon = { .tv_usec = 1000 };
	struct side *s = arg;

	s->asked = token;
	memcpy(s->report_data, report_data, sizeof(s->report_data));
	if (!s->has_tee)
		return -1;
	return s->tee_is_slow ? 0 : event_add(s->tee, &soon);
}

/* With what was set since; the record stays. */
static void remake(struct side *s)
{
	struct mx_conf conf = { .base = base,
				.cert_pem = s->cert,
				.key_pem = s->key,
				.trust = trust,
				.node = on_node,
				.refused = on_refused,
				.fresh = s->fresh,
				.quote = on_quote,
				.arg = s };
	struct err e = ERR_INIT;

	mx_free(s->mx);
	assert_int_equal(mx_new(&conf, &s->mx, &e), 0);
	assert_int_equal(mx_set_record(s->mx, s->record, s->record_len), 0);
}

static void make_side(struct side *s, const char *name, uint8_t number)
{
	struct id_sim_request req = { .common_name = name,
				      .not_before = time(NULL) - 60,
				      .not_after = time(NULL) + 3600 };
	struct id_record r = { .n_addrs = 1, .epoch = 1, .not_before = req.not_before, .not_after = req.not_after };
	struct err e = ERR_INIT;

	*s = (struct side){ .believe_simulated = true };
	s->tee = evtimer_new(base, on_tee, s);
	memset(req.app_id, number, sizeof(req.app_id));
	memset(req.instance_id, number, sizeof(req.instance_id));
	assert_int_equal(id_sim_issue(&root, &req, &s->cert, &s->key, &e), 0);
	snprintf(r.node, sizeof(r.node), "%s", name);
	memcpy(r.app_id, req.app_id, sizeof(r.app_id));
	memcpy(r.instance_id, req.instance_id, sizeof(r.instance_id));
	memset(r.wg_key, number, sizeof(r.wg_key));
	assert_true(addr_parse(&r.addrs[0], "100.64.0.9"));
	assert_int_equal(id_record_sign(&r, s->cert, s->key, &s->record, &s->record_len, &e), 0);
	s->who = req;
	remake(s);
}

static void free_side(struct side *s)
{
	mx_free(s->mx);
	event_free(s->tee);
	free(s->cert);
	free(s->key);
	free(s->record);
}

static void listen_on_loopback(struct side *s, struct ip_endpoint *at)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct err e = ERR_INIT;

	assert_true(bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 && listen(fd, 8) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	assert_true(endpoint_from_sockaddr(at, (struct sockaddr *)&sin));
	assert_int_equal(mx_listen(s->mx, fd, &e), 0);
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	base = event_base_new();
	assert_int_equal(id_sim_root_new(time(NULL), &root, &e), 0);
	make_side(&a, "a", 0xa1);
	make_side(&b, "b", 0xb2);
	listen_on_loopback(&b, &b_at);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free_side(&a);
	free_side(&b);
	id_sim_root_fini(&root);
	event_base_free(base);
	return 0;
}

/* Until `done` holds or five seconds are over. */
static void run_until(const unsigned *done)
{
	struct timeval tick = { .tv_usec = 10000 };

	for (int i = 0; i < 500 && !*done; i++) {
		event_base_loopexit(base, &tick);
		event_base_loop(base, 0);
	}
}

static void both_sides_learn_the_other(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(mx_dial(a.mx, &b_at, 3600, &e), 0);
	run_until(&a.got);
	assert_int_equal(a.got, 1);
	assert_int_equal(b.got, 1);
	assert_string_equal(a.node, "b");
	assert_string_equal(b.node, "a");
	assert_int_equal(a.refused + b.refused, 0);
}

static void simulated_evidence_ends_the_handshake_where_it_is_not_believed(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	b.believe_simulated = false;
	assert_int_equal(mx_dial(a.mx, &b_at, 3600, &e), 0);
	run_until(&b.refused);
	assert_string_equal(id_reason_name(b.reason), "QUOTE_SIMULATED");
	assert_int_equal(a.got + b.got, 0); /* b said nothing of itself */
}

static void the_dialler_judges_before_it_sends(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	a.believe_simulated = false;
	assert_int_equal(mx_dial(a.mx, &b_at, 3600, &e), 0);
	run_until(&a.refused);
	assert_string_equal(id_reason_name(a.reason), "QUOTE_SIMULATED");
	assert_int_equal(b.got, 0);
}

static void anothers_record_over_an_own_connection_is_refused(void **state)
{
	struct side victim;
	struct err e = ERR_INIT;

	(void)state;
	make_side(&victim, "victim", 0xc3);
	assert_int_equal(mx_set_record(a.mx, victim.record, victim.record_len), 0);
	assert_int_equal(mx_dial(a.mx, &b_at, 3600, &e), 0);
	run_until(&a.refused_by_peer);
	assert_string_equal(id_reason_name(b.reason), "PEER_MISMATCH");
	assert_string_equal(id_reason_name(a.reason), "PEER_MISMATCH"); /* the reason came back */
	assert_int_equal(a.got + b.got, 0);
	free_side(&victim);
}

/* --- a raw client: what TLS and frames let through --- */

struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

static void raw_open(struct raw *r, const struct side *as, int version)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&b_at, &ss);
	BIO *cert = as ? BIO_new_mem_buf(as->cert, -1) : NULL, *key = as ? BIO_new_mem_buf(as->key, -1) : NULL;
	X509 *x509 = cert ? PEM_read_bio_X509(cert, NULL, NULL, NULL) : NULL;
	EVP_PKEY *pkey = key ? PEM_read_bio_PrivateKey(key, NULL, NULL, NULL) : NULL;

	r->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(r->ctx, version);
	SSL_CTX_set_alpn_protos(r->ctx, (const unsigned char *)"\x0f" RATLS_ALPN_RECORD, 16);
	if (x509)
		assert_true(SSL_CTX_use_certificate(r->ctx, x509) == 1 && SSL_CTX_use_PrivateKey(r->ctx, pkey) == 1);
	r->ssl = SSL_new(r->ctx);
	r->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(r->fd, (struct sockaddr *)&ss, len), 0);
	SSL_set_fd(r->ssl, r->fd);
	X509_free(x509);
	EVP_PKEY_free(pkey);
	BIO_free(cert);
	BIO_free(key);
}

static void raw_close(struct raw *r)
{
	SSL_free(r->ssl);
	SSL_CTX_free(r->ctx);
	close(r->fd);
}

/* Runs the server's loop while the client, in another process, does `client`. Its exit status says what it got. */
static int with_client(void (*client)(void))
{
	pid_t pid = fork();

	int status = 0;

	if (!pid) {
		alarm(5);
		client();
		_exit(0);
	}
	for (int i = 0; i < 100 && waitpid(pid, &status, WNOHANG) == 0; i++) {
		struct timeval tick = { .tv_usec = 20000 };

		event_base_loopexit(base, &tick);
		event_base_loop(base, 0);
	}

	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

/* A whole frame; its type, 0 when the connection ended. */
static int frame_read(SSL *ssl, uint8_t *data, size_t *len)
{
	uint8_t head[5];
	size_t n = 0;

	for (int got; n < 5; n += (size_t)got)
		if ((got = SSL_read(ssl, head + n, (int)(5 - n))) <= 0)
			return 0;
	*len = (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
	for (n = 0; n < *len;) {
		int got = SSL_read(ssl, data + n, (int)(*len - n));

		if (got <= 0)
			return 0;
		n += (size_t)got;
	}
	return head[0];
}

/* 1: it ended the handshake or the connection, and said at most its challenge; 2: it refused by name; 3: its record */
static int ending(SSL *ssl)
{
	static uint8_t data[ID_RECORD_MAX];
	size_t len;
	int type;

	while ((type = frame_read(ssl, data, &len)))
		if (type == 1 || type == 2)
			return type == 1 ? 3 : 2;
	return 1;
}

static void speak(const struct side *as, int version, const void *bytes, size_t len)
{
	struct raw r;
	int got;

	raw_open(&r, as, version);
	if (SSL_connect(r.ssl) != 1)
		_exit(1);
	if (len)
		SSL_write(r.ssl, bytes, (int)len);
	got = ending(r.ssl);
	raw_close(&r);
	_exit(got);
}

static void client_without_certificate(void)
{
	speak(NULL, TLS1_3_VERSION, "", 0);
}

static void client_of_tls12(void)
{
	speak(&a, TLS1_2_VERSION, "", 0);
}

static void client_with_endless_frame(void)
{
	speak(&a, TLS1_3_VERSION, "\x01\xff\xff\xff\xff", 5);
}

static void client_with_unknown_frame(void)
{
	speak(&a, TLS1_3_VERSION, "\x07\x00\x00\x00\x01x", 6);
}

#define CHALLENGE(level) "\x03\x00\x00\x00\x21" level "0123456789abcdef0123456789abcdef"
#define PROOF_OFF        "\x04\x00\x00\x00\x01\x00"

static void client_with_rubbish_record(void)
{
	speak(&a, TLS1_3_VERSION, CHALLENGE("\0") PROOF_OFF "\x01\x00\x00\x00\x02{}", 51);
}

/* --- freshness: what a client that breaks the order of things gets --- */

static void client_with_two_challenges(void)
{
	speak(&a, TLS1_3_VERSION, CHALLENGE("\0") CHALLENGE("\0"), 76);
}

static void client_with_unknown_level(void)
{
	speak(&a, TLS1_3_VERSION, CHALLENGE("\3"), 38);
}

static void client_with_long_challenge(void)
{
	speak(&a, TLS1_3_VERSION, "\x03\x00\x00\x00\x22", 5);
}

static void client_with_endless_proof(void)
{
	speak(&a, TLS1_3_VERSION, "\x04\x00\x04\x00\x01", 5); /* one byte more than is read */
}

static void client_with_two_proofs(void)
{
	speak(&a, TLS1_3_VERSION, PROOF_OFF PROOF_OFF, 12);
}

/* Its own good record, with everything proved that `before` says. */
static void record_after(const void *before, size_t len)
{
	uint8_t *all = malloc(len + 5 + a.record_len);

	memcpy(all, before, len);
	memcpy(all + len, "\x01\x00", 2);
	all[len + 2] = (uint8_t)(a.record_len >> 16);
	all[len + 3] = (uint8_t)(a.record_len >> 8);
	all[len + 4] = (uint8_t)a.record_len;
	memcpy(all + len + 5, a.record, a.record_len);
	speak(&a, TLS1_3_VERSION, all, len + 5 + a.record_len);
}

static void client_with_record_at_once(void)
{
	record_after("", 0);
}

static void client_with_record_unproved(void)
{
	record_after(CHALLENGE("\0"), 38);
}

static void client_with_record_as_it_should_be(void)
{
	record_after(CHALLENGE("\0") PROOF_OFF, 44);
}

static void client_that_proves_off(void)
{
	record_after(CHALLENGE("\0") PROOF_OFF, 44);
}

static void the_order_of_frames_is_kept(void **state)
{
	static const struct {
		void (*client)(void);
		int ending;
		const char *reason;
	} cases[] = {
		{ client_with_two_challenges, 2, "FRESH_MALFORMED" },
		{ client_with_unknown_level, 2, "FRESH_MALFORMED" },
		{ client_with_long_challenge, 1, "RECORD_MALFORMED" },
		{ client_with_endless_proof, 1, "RECORD_MALFORMED" },
		{ client_with_two_proofs, 2, "FRESH_MALFORMED" },
		{ client_with_record_at_once, 2, "FRESH_MISSING" },
		{ client_with_record_unproved, 2, "FRESH_MISSING" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(with_client(cases[i].client), cases[i].ending);
		assert_string_equal(id_reason_name(b.reason), cases[i].reason);
	}
	assert_int_equal(b.got, 0);
	assert_int_equal(with_client(client_with_record_as_it_should_be), 3);
	assert_int_equal(b.got, 1);
	b.fresh = ID_FRESH_KEY;
	remake(&b);
	listen_on_loopback(&b, &b_at);
	assert_int_equal(with_client(client_that_proves_off), 2);
	assert_string_equal(id_reason_name(b.reason), "FRESH_LEVEL");
	assert_int_equal(b.got, 1);
}

static void meet(enum id_fresh of_a, enum id_fresh of_b)
{
	struct err e = ERR_INIT;

	a.fresh = of_a;
	b.fresh = of_b;
	remake(&a);
	remake(&b);
	listen_on_loopback(&b, &b_at);
	assert_int_equal(mx_dial(a.mx, &b_at, 3600, &e), 0);
}

static void each_side_gets_the_level_that_it_demands(void **state)
{
	(void)state;
	a.has_tee = b.has_tee = true;
	for (unsigned i = 0; i < 9; i++) {
		a.got = b.got = 0;
		meet(i / 3, i % 3);
		run_until(&a.got);
		assert_int_equal(a.got, 1);
		assert_int_equal(b.got, 1);
		assert_int_equal(a.proved, i / 3);
		assert_int_equal(b.proved, i % 3);
	}
	assert_int_equal(a.refused + b.refused, 0);
}

static void without_a_tee_no_quote_is_proved(void **state)
{
	(void)state;
	b.has_tee = true;
	meet(ID_FRESH_OFF, ID_FRESH_QUOTE);
	run_until(&a.refused_by_peer);
	assert_string_equal(id_reason_name(b.reason), "FRESH_LEVEL");
	assert_string_equal(id_reason_name(a.reason), "FRESH_LEVEL"); /* a hears why */
	assert_int_equal(a.got + b.got, 0);
}

static void a_silent_or_slow_peer_is_cut_off(void **state)
{
	struct timeval limit = { .tv_sec = MX_SESSION_MAX_S + 2 };

	(void)state;
	a.has_tee = a.tee_is_slow = true; /* its quote comes when the session is over */
	meet(ID_FRESH_OFF, ID_FRESH_QUOTE);
	event_base_loopexit(base, &limit);
	while (!b.refused && !event_base_got_exit(base))
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(b.refused, 1);
	assert_int_equal(a.got + b.got, 0);
	on_tee(-1, 0, &a); /* and is nobody's any more */
	assert_int_equal(a.got + b.got, 0);
}

static void strangers_get_nothing(void **state)
{
	(void)state;
	assert_int_equal(with_client(client_without_certificate), 1);
	assert_int_equal(with_client(client_of_tls12), 1);
	assert_int_equal(with_client(client_with_endless_frame), 1);
	assert_string_equal(id_reason_name(b.reason), "RECORD_MALFORMED");
	assert_int_equal(with_client(client_with_unknown_frame), 1);
	assert_int_equal(with_client(client_with_rubbish_record), 2); /* a refusal by name, no record */
	assert_string_equal(id_reason_name(b.reason), "RECORD_MALFORMED");
	assert_int_equal(b.got, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_sides_learn_the_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(simulated_evidence_ends_the_handshake_where_it_is_not_believed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_dialler_judges_before_it_sends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(anothers_record_over_an_own_connection_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(strangers_get_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_order_of_frames_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_side_gets_the_level_that_it_demands, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_tee_no_quote_is_proved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_silent_or_slow_peer_is_cut_off, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("mesh/exchange", tests, NULL, NULL);
}
