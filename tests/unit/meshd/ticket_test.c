// SPDX-License-Identifier: Apache-2.0
/* Handshakes between two workers' contexts: what a certificate proves, what a ticket brings back, and what it does not.
 */
#include <fcntl.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "identity/x509.h"
#include "meshd/worker.h"

#define APP_WEB 0xa1
#define APP_DB  0xb2

struct side {
	struct md_worker_state w;
	struct md_conf conf;
	struct md_target target; /* whom it dials */
	int fds[2];
};

static struct id_sim_root root, strange;

static void trust_root(struct side *s, const struct id_sim_root *r)
{
	free(s->w.judge.roots);
	s->w.judge.roots = strdup(r->root_cert);
	md_judge_settle(&s->w.judge);
}

static void give_policy(struct side *s)
{
	struct id_evidence_policy policy;
	struct ipc_msg msg = { 0 };

	id_evidence_policy_strict(&policy);
	policy.allow_simulated = true;
	msg.fd = ipc_blob_make(&policy, sizeof(policy));
	assert_true(msg.fd >= 0);
	edge_trust_policy(s->w.judge.evidence, &msg);
	close(msg.fd);
}

/* A side with a certificate of this app that ends in so many seconds. */
static void side_init(struct side *s, uint8_t app, int64_t life_s)
{
	struct id_sim_request req = { .common_name = "t",
				      .not_before = time(NULL) - 60,
				      .not_after = time(NULL) + life_s };
	char *cert, *key;
	EVP_PKEY *pkey;
	struct err e = ERR_INIT;

	memset(s, 0, sizeof(*s));
	memset(req.app_id, app, sizeof(req.app_id));
	memset(req.instance_id, app + 1, sizeof(req.instance_id));
	assert_int_equal(id_sim_issue(&root, &req, &cert, &key, &e), 0);
	md_conf_defaults(&s->conf);
	s->w.conf = &s->conf;
	s->w.judge.conf = &s->conf;
	s->w.base = event_base_new();
	assert_int_equal(ipc_pair(s->fds), 0);
	assert_int_equal(ipc_new(s->w.base, s->fds[0], NULL, NULL, NULL, &s->w.parent), 0);
	assert_int_equal(edge_trust_new(s->w.base, s->w.parent, &s->w.judge.evidence, &e), 0);
	give_policy(s);
	trust_root(s, &root);
	s->w.peers = md_peers_new();
	pkey = id_p256_from_pem(key);
	assert_int_equal(md_tls_new(&s->w, cert, pkey, NULL, &s->w.tls, &e), 0);
	EVP_PKEY_free(pkey);
	memset(&s->w.tickets, 7, sizeof(s->w.tickets));
	memset(&s->w.tickets.key[1], 8, sizeof(s->w.tickets.key[1]));
	s->target.refs = 1;
	s->target.want = (struct md_want){ .way = MD_WAY_MTLS, .host = "127.0.0.1" };
	free(cert);
	free(key);
}

static void side_fini(struct side *s)
{
	SSL_SESSION_free(s->target.session);
	if (s->target.session_peer)
		mp_peer_unref(&s->target.session_peer->mp);
	md_tls_fini(&s->w.tls);
	md_judge_forget(&s->w.judge);
	edge_trust_free(s->w.judge.evidence);
	md_peers_free(s->w.peers);
	ipc_free(s->w.parent);
	close(s->fds[1]);
	event_base_free(s->w.base);
	free(s->w.judge.roots);
}

/* What one connection came to, as the engine would see it. */
struct met {
	bool is_done, is_resumed, has_who;
	uint8_t who;         /* first byte of the app that the server was proved */
	uint8_t whom;        /* that the client was */
	enum mp_error error; /* of the client's side */
	size_t leaf_len;     /* of what the server keeps of the client's certificate */
};

static void finish(SSL *ssl, struct side *s, uint8_t *who, bool *has_who)
{
	const struct md_verdict *v = md_shake_verdict(ssl);
	struct md_peer *peer = v ? md_peer_get(s->w.peers, v) : NULL;

	if (has_who)
		*has_who = v;
	if (v)
		*who = v->claims.app_id[0];
	md_shake_done(ssl, peer);
	if (peer)
		mp_peer_unref(&peer->mp);
}

static void pump(SSL *a, SSL *b)
{
	char byte;

	for (int i = 0; i < 20; i++) {
		SSL_do_handshake(a);
		SSL_do_handshake(b);
	}
	SSL_read(a, &byte, 1);
	SSL_read(b, &byte, 1);
}

static struct met connect_with(struct side *client, struct side *server, SSL *c)
{
	struct err e = ERR_INIT;
	struct met met = { 0 };
	SSL *s = md_tls_server(&server->w, true, &e);
	BIO *bio[2];
	X509 *leaf;

	assert_non_null(c);
	assert_non_null(s);
	assert_int_equal(BIO_new_bio_pair(&bio[0], 1 << 17, &bio[1], 1 << 17), 1);
	SSL_set_bio(s, bio[0], bio[0]);
	SSL_set_bio(c, bio[1], bio[1]);
	for (int i = 0; i < 20; i++) {
		SSL_do_handshake(c);
		SSL_do_handshake(s);
	}
	met.is_done = SSL_is_init_finished(c) && SSL_is_init_finished(s);
	met.is_resumed = SSL_session_reused(s);
	if (!met.is_done)
		met.error = md_shake_error(c, &e);
	if (met.is_done) {
		leaf = SSL_get1_peer_certificate(s);
		met.leaf_len = leaf ? (size_t)i2d_X509(leaf, NULL) : 0;
		X509_free(leaf);
		finish(s, server, &met.who, &met.has_who);
		finish(c, client, &met.whom, NULL);
		pump(c, s); /* the ticket */
	}
	SSL_shutdown(c);
	SSL_shutdown(s);
	SSL_free(c);
	SSL_free(s);
	ERR_clear_error();
	return met;
}

static struct met connect_to(struct side *client, struct side *server)
{
	struct err e = ERR_INIT;

	return connect_with(client, server, md_tls_client(&client->w, &client->target, &e));
}

static void a_ticket_brings_the_verdict_back(void **state)
{
	static struct side web, db;
	struct met first, second, third;

	(void)state;
	side_init(&web, APP_WEB, 3600);
	side_init(&db, APP_DB, 3600);
	first = connect_to(&web, &db);
	assert_true(first.is_done && first.has_who && !first.is_resumed);
	assert_int_equal(first.who, APP_WEB);
	assert_int_equal(first.whom, APP_DB);
	assert_non_null(web.target.session);
	second = connect_to(&web, &db);
	assert_true(second.is_done && second.is_resumed && second.has_who);
	assert_int_equal(second.who, APP_WEB);
	assert_int_equal(second.whom, APP_DB);
	assert_int_equal(db.w.counts.verified, 1); /* the evidence was looked at once */
	third = connect_to(&web, &db);
	assert_true(third.is_resumed);
	assert_int_equal(third.who, APP_WEB);
	side_fini(&web);
	side_fini(&db);
}

/* Another worker of the same node, and the same one after the keys were turned. */
static void keys_are_shared_and_turned(void **state)
{
	static struct side web, db, db2;

	(void)state;
	side_init(&web, APP_WEB, 3600);
	side_init(&db, APP_DB, 3600);
	side_init(&db2, APP_DB, 3600);
	assert_true(connect_to(&web, &db).is_done);
	assert_true(connect_to(&web, &db2).is_resumed);
	db.w.tickets.key[1] = db.w.tickets.key[0];
	memset(&db.w.tickets.key[0], 9, sizeof(db.w.tickets.key[0]));
	assert_true(connect_to(&web, &db).is_resumed); /* by the key before; the new ticket is of the new one */
	assert_false(connect_to(&web, &db2).is_resumed);
	side_fini(&web);
	side_fini(&db);
	side_fini(&db2);
}

static void another_trust_refuses_tickets(void **state)
{
	static struct side web, db;
	struct met met;

	(void)state;
	side_init(&web, APP_WEB, 3600);
	side_init(&db, APP_DB, 3600);
	assert_true(connect_to(&web, &db).is_done);
	trust_root(&db, &strange); /* whose word was good is nobody any more */
	met = connect_to(&web, &db);
	assert_false(met.is_done);
	assert_int_equal(db.w.counts.tickets_refused, 1);
	assert_int_equal(db.w.counts.refused, 1);
	trust_root(&db, &root);
	assert_true(connect_to(&web, &db).is_done);
	/* the client's side, too: it does not go on with somebody whom it would not believe now */
	trust_root(&web, &strange);
	met = connect_to(&web, &db);
	assert_false(met.is_done);
	assert_int_equal(met.error, MP_ERR_VERIFICATION_FAILED);
	side_fini(&web);
	side_fini(&db);
}

/* A ticket goes before its verdict does: whoever has another certificate by then shows it. */
static void a_verdict_ends(void **state)
{
	static struct side web, late, db;
	struct met met;

	(void)state;
	side_init(&late, APP_WEB, 3);
	side_init(&web, APP_WEB, MP_LAST_S + 3);
	side_init(&db, APP_DB, 3600);
	assert_true(connect_to(&late, &db).is_done);
	assert_true(connect_to(&web, &db).is_done);
	assert_true(connect_to(&web, &db).is_resumed);
	sleep(4);
	met = connect_to(&web, &db);
	assert_true(met.is_done);
	assert_false(met.is_resumed);
	assert_false(connect_to(&late, &db).is_done);
	assert_true(db.w.counts.tickets_refused >= 1);
	side_fini(&web);
	side_fini(&late);
	side_fini(&db);
}

static void an_expired_server_is_told_apart(void **state)
{
	static struct side web, db;

	(void)state;
	side_init(&web, APP_WEB, 3600);
	side_init(&db, APP_DB, 1);
	sleep(2);
	assert_int_equal(connect_to(&web, &db).error, MP_ERR_CERT_EXPIRED);
	side_fini(&web);
	side_fini(&db);
}

/*
 * Tickets are sent in the clear. Whoever has seen web's presents it together with a cipher that it does not fit, and no
 * certificate: OpenSSL looks into the ticket, finds web in it, and makes a full handshake all the same.
 */
static void a_stolen_ticket_proves_nothing(void **state)
{
	static struct side web, db;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct met met;
	SSL *thief;

	(void)state;
	side_init(&web, APP_WEB, 3600);
	side_init(&db, APP_DB, 3600);
	assert_true(connect_to(&web, &db).is_done);
	SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384");
	thief = SSL_new(ctx);
	assert_int_equal(SSL_set_session(thief, web.target.session), 1);
	SSL_set_connect_state(thief);
	met = connect_with(&web, &db, thief);
	assert_true(met.is_done);
	assert_false(met.is_resumed);
	assert_false(met.has_who);                        /* nobody */
	assert_int_equal(db.w.counts.tickets_refused, 0); /* the ticket by itself was good: it was looked into */
	/* and the ticket that such a handshake gets brings nobody back either */
	SSL_CTX_free(ctx);
	side_fini(&web);
	side_fini(&db);
}

/* Somebody without a certificate may come in: route() sees that nobody was proved. A resumption changes nothing. */
static void no_certificate_is_nobody(void **state)
{
	static struct side web, db;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *session;
	struct met met;
	SSL *c = SSL_new(ctx);

	(void)state;
	side_init(&web, APP_WEB, 3600);
	side_init(&db, APP_DB, 3600);
	SSL_set_connect_state(c);
	SSL_up_ref(c);
	met = connect_with(&web, &db, c);
	assert_true(met.is_done);
	assert_false(met.has_who);
	session = SSL_get1_session(c);
	SSL_free(c);
	c = SSL_new(ctx);
	SSL_set_session(c, session);
	SSL_set_connect_state(c);
	met = connect_with(&web, &db, c);
	assert_true(met.is_done);
	assert_false(met.is_resumed);
	assert_false(met.has_who);
	SSL_SESSION_free(session);
	SSL_CTX_free(ctx);
	side_fini(&web);
	side_fini(&db);
}

/* A certificate with evidence has ten thousand bytes; what a connection keeps of it does not. */
static void evidence_is_let_go(void **state)
{
	static struct side web, db;
	struct met met;

	(void)state;
	side_init(&web, APP_WEB, 3600);
	side_init(&db, APP_DB, 3600);
	met = connect_to(&web, &db);
	assert_in_range(met.leaf_len, 1, 600);
	assert_true(i2d_SSL_SESSION(web.target.session, NULL) < 3500); /* with the ticket, which has the other's leaf */
	side_fini(&web);
	side_fini(&db);
}

static int make_roots(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	return id_sim_root_new(time(NULL), &root, &e) || id_sim_root_new(time(NULL), &strange, &e);
}

static int free_roots(void **state)
{
	(void)state;
	id_sim_root_fini(&root);
	id_sim_root_fini(&strange);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ticket_brings_the_verdict_back), cmocka_unit_test(keys_are_shared_and_turned),
		cmocka_unit_test(another_trust_refuses_tickets),    cmocka_unit_test(a_verdict_ends),
		cmocka_unit_test(an_expired_server_is_told_apart),  cmocka_unit_test(a_stolen_ticket_proves_nothing),
		cmocka_unit_test(no_certificate_is_nobody),         cmocka_unit_test(evidence_is_let_go),
	};

	log_init("ticket_test", LOG_ERR);
	return cmocka_run_group_tests_name("ticket", tests, make_roots, free_roots);
}
