// SPDX-License-Identifier: Apache-2.0
/*
 * A mutual TLS 1.3 handshake in which both sides judge the other's evidence, against one with the same keys in which
 * both verify a leaf of a CA. Client and server take turns in one thread over memory. The time is the CPU's, of both
 * ends, without any network: a sample is long enough that the wall clock would count other processes. Warm: the
 * platforms were seen before. Cold: collateral is read and verified, too. TDX quotes of a made-up Intel
 * (tests/lib/intel.h). Prints one JSON object a line for run.sh.
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/intel.h"
#include "base/cleanup.h"
#include "identity/issue.h"
#include "identity/sim.h"
#include "mesh/ratls.h"

#define ROUNDS  300
#define FLIGHTS 20

struct side {
	EVP_PKEY *key;
	char *key_pem, *cert_pem;
	struct ratls ratls;
	SSL_CTX *plain;
};

static struct side side[2];
static struct intel_made made[2]; /* one platform each; the set of the first judges both */
static struct id_authority ca;

static void die(const char *what)
{
	fprintf(stderr, "ratls: %s\n", what);
	exit(1);
}

static void trust(struct id_trust *t, void *arg)
{
	(void)arg;
	*t = (struct id_trust){ .now = INTEL_NOW, .collaterals = made[0].set };
}

struct body {
	uint8_t rtmr3[ID_MR_LEN], report_data[ID_REPORT_DATA_LEN];
};

static void body_fill(uint8_t *bytes, void *arg)
{
	const struct body *b = arg;

	memcpy(bytes + AT_RTMR0 + 3 * ID_MR_LEN, b->rtmr3, ID_MR_LEN);
	memcpy(bytes + AT_REPORT_DATA, b->report_data, ID_REPORT_DATA_LEN);
}

static X509 *leaf_of(int i, const struct id_leaf_request *req)
{
	struct err e = ERR_INIT;
	X509 *leaf;

	if (id_leaf(&ca, side[i].key, req, &leaf, &e) < 0)
		die(e.msg);
	return leaf;
}

static void attested(int i)
{
	struct id_sim_request who = { .common_name = "bench", .app_id = { 1 }, .instance_id = { (uint8_t)(i + 1) } };
	struct id_leaf_request req = { .subject = "bench",
				       .for_server = true,
				       .for_client = true,
				       .not_before = INTEL_NOW - INTEL_DAY,
				       .not_after = INTEL_NOW + INTEL_DAY,
				       .app_id = who.app_id };
	struct body body;
	struct intel_opts o = intel_opts();
	uint8_t spki[ID_SPKI_LEN];
	auto_free char *log = id_sim_eventlog(&who, body.rtmr3);
	auto_call(cleanup_x509) X509 *leaf = NULL;
	struct err e = ERR_INIT;

	if (!log || !id_p256_spki(side[i].key, spki) || !id_cert_report_data(spki, body.report_data))
		die("no body");
	o.edit_body = body_fill;
	o.arg = &body;
	intel_make(&o, &made[i]);
	req.quote = in_of(made[i].quote, made[i].quote_len);
	req.event_log = log;
	leaf = leaf_of(i, &req);
	side[i].cert_pem = id_x509_to_pem(leaf);
	side[i].ratls.trust = trust;
	if (ratls_init(&side[i].ratls, &side[i].ratls, side[i].cert_pem, side[i].key_pem, &e) < 0)
		die(e.msg);
}

/* The clock of these certificates is not today's, so the CA's side is told the time. */
static void plain(int i)
{
	struct id_leaf_request req = { .subject = "bench",
				       .for_server = true,
				       .for_client = true,
				       .not_before = INTEL_NOW - INTEL_DAY,
				       .not_after = INTEL_NOW + INTEL_DAY };
	auto_call(cleanup_x509) X509 *leaf = leaf_of(i, &req);
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	X509_VERIFY_PARAM *param = ctx ? SSL_CTX_get0_param(ctx) : NULL;

	if (!ctx || SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, side[i].key) != 1 ||
	    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca.x509) != 1)
		die("no plain TLS");
	X509_VERIFY_PARAM_set_time(param, INTEL_NOW);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	side[i].plain = ctx;
}

static void shake(SSL *server, SSL *client)
{
	BIO *a, *b;

	if (!server || !client || BIO_new_bio_pair(&a, 1 << 16, &b, 1 << 16) != 1)
		die("no session");
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (int i = 0; i < FLIGHTS && !(SSL_is_init_finished(server) && SSL_is_init_finished(client)); i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	if (!SSL_is_init_finished(server) || !SSL_is_init_finished(client))
		die("no handshake");
	SSL_free(server);
	SSL_free(client);
}

static void shake_ratls(void)
{
	shake(ratls_session(&side[0].ratls, true, NULL), ratls_session(&side[1].ratls, false, NULL));
}

static void shake_plain(void)
{
	shake(SSL_new(side[0].plain), SSL_new(side[1].plain));
}

static void shake_cold(void)
{
	struct id_collaterals *warm = made[0].set;

	if (id_collaterals_new(made[0].root, made[0].root_len, &made[0].set, NULL) < 0 ||
	    id_collaterals_add(made[0].set, made[0].bundle, strlen(made[0].bundle), NULL) < 0)
		die("collateral is refused");
	shake_ratls();
	id_collaterals_free(made[0].set);
	made[0].set = warm;
}

static double once(void (*run)(void))
{
	struct timespec from, to;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	run();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / 1e6;
}

static void row(const char *name, double ours, double peer, const char *note)
{
	printf("{\"name\":\"%s\",\"ours\":%.3f,\"peer\":%.3f,\"peer_name\":\"mutual TLS 1.3, same "
	       "keys\",\"ratio\":%.3f,"
	       "\"unit\":\"ms\",\"note\":\"%s\"}\n",
	       name, ours, peer, ours / peer, note);
}

int main(void)
{
	static const uint8_t scalar[ID_SCALAR_LEN] = { [31] = 7 };
	double best_plain = 1e9, best_warm = 1e9, best_cold = 1e9, t;
	struct err e = ERR_INIT;

	if (intel_start(NULL) < 0 || id_root_ca(scalar, "Bench CA", INTEL_NOW, &ca, &e) < 0)
		die("no keys");
	for (int i = 0; i < 2; i++) {
		side[i].key = id_p256_new();
		side[i].key_pem = id_key_to_pem(side[i].key);
		attested(i);
		plain(i);
	}
	for (int i = 0; i < ROUNDS; i++) {
		best_plain = (t = once(shake_plain)) < best_plain ? t : best_plain;
		best_warm = (t = once(shake_ratls)) < best_warm ? t : best_warm;
		best_cold = (t = once(shake_cold)) < best_cold ? t : best_cold;
	}
	row("ratls.handshake_warm_vs_mtls", best_warm, best_plain, "both ends on one CPU, platforms seen before");
	row("ratls.handshake_cold_ms", best_cold, best_plain,
	    "both ends on one CPU, collateral read and verified once");
	return 0;
}
