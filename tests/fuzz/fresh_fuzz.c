// SPDX-License-Identifier: Apache-2.0
/*
 * What a peer sends as proof of freshness (user/mesh/fresh.c), over one TLS session that was made before. The first
 * byte says how: its low two bits are the level that is demanded. 'p' (0x70 to 0x72)   the rest is the proof as it
 * stands 'a' (0x60 to 0x62)   the rest is an attestation, signed for this session as the peer would 'P' (0x50 to 0x52)
 * the rest are changes of a good proof, each an offset (2 bytes, little-endian) and what is exclusive-ored to the byte
 * there Nothing may be accepted that is not the good proof, as far as its signature and its quote go.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "identity/attestation.h"
#include "identity/sim.h"
#include "mesh/fresh.h"
#include "mesh/ratls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct id_sim_root root;
static struct ratls ratls;
static SSL *peer_ssl, *own_ssl;
static struct id_trust trust;
static struct out good; /* of the level QUOTE */
static size_t proved;   /* bytes of it that nothing may be changed in: level, signature, quote */

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void trust_fill(struct id_trust *t, void *arg)
{
	(void)arg;
	*t = trust;
}

static void bound(SSL *ssl, bool is_own, enum id_fresh level, struct fresh *fresh)
{
	const uint8_t challenge[FRESH_CHALLENGE_LEN] = { (uint8_t)level, 7 };

	need(fresh_bind(ssl, is_own, true, challenge, fresh));
}

static void session_make(const struct id_sim_request *who)
{
	auto_free char *cert = NULL, *key = NULL;
	BIO *a, *b;

	need(id_sim_issue(&root, who, &cert, &key, NULL) == 0);
	ratls.trust = trust_fill;
	need(ratls_init(&ratls, &ratls, cert, key, NULL) == 0);
	peer_ssl = ratls_session(&ratls, false, NULL);
	own_ssl = ratls_session(&ratls, true, NULL);
	need(peer_ssl && own_ssl && BIO_new_bio_pair(&a, 1 << 18, &b, 1 << 18) == 1);
	SSL_set_bio(peer_ssl, a, a);
	SSL_set_bio(own_ssl, b, b);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(peer_ssl);
		SSL_do_handshake(own_ssl);
	}
	need(SSL_is_init_finished(own_ssl));
}

static void good_make(const struct id_sim_request *who)
{
	uint8_t rtmr3[ID_MR_LEN], body[ID_QUOTE_SIGNED_LEN];
	auto_call(id_events_fini) struct id_events events = { 0 };
	auto_free char *log = id_sim_eventlog(who, rtmr3);
	auto_free uint8_t *quote = NULL;
	auto_out struct out attestation = { 0 };
	struct fresh fresh;
	size_t len;

	bound(peer_ssl, true, ID_FRESH_QUOTE, &fresh);
	need(log && id_sim_quote_body(body, rtmr3, fresh.report_data));
	need(id_sim_quote_sign(&root, body, &quote, &len, NULL) == 0);
	need(id_events_from_json(log, strlen(log), &events, NULL) == 0);
	need(id_attestation_write(&attestation, in_of(quote, len), &events, fresh.report_data, true));
	need(fresh_prove(peer_ssl, &fresh, ID_FRESH_QUOTE, in_of(attestation.data, attestation.len), &good));
	proved = 2 + good.data[1] + 2 + 4 + len; /* lengths, container, kind, compact length of the quote */
}

static void start(void)
{
	struct id_sim_request who = { .common_name = "x",
				      .not_before = time(NULL) - 60,
				      .not_after = time(NULL) + 86400 };

	memset(who.app_id, 1, sizeof(who.app_id));
	memset(who.instance_id, 1, sizeof(who.instance_id));
	need(id_sim_root_new(time(NULL), &root, NULL) == 0);
	trust = (struct id_trust){ .now = time(NULL),
				   .allow_simulated = true,
				   .simulated_roots = root.root_cert,
				   .simulated_roots_len = strlen(root.root_cert) };
	session_make(&who);
	good_make(&who);
}

static bool accepted(enum id_fresh level, const uint8_t *proof, size_t len)
{
	struct fresh fresh;
	struct err e = ERR_INIT;

	bound(own_ssl, false, level, &fresh);
	return fresh_check(own_ssl, &fresh, level, in_of(proof, len), &trust, &ratls_peer(own_ssl)->claims, &e) == 0;
}

static void signed_attestation(enum id_fresh level, const uint8_t *data, size_t size)
{
	auto_out struct out proof = { 0 };
	struct fresh fresh;

	bound(peer_ssl, true, level, &fresh);
	need(fresh_prove(peer_ssl, &fresh, ID_FRESH_QUOTE, in_of(data, size), &proof));
	need(!accepted(level, proof.data, proof.len)); /* its quote is of no session that there ever was */
}

static void changed(enum id_fresh level, const uint8_t *data, size_t size)
{
	auto_free uint8_t *proof = malloc(good.len);
	bool is_whole = true, was_accepted;

	need(proof);
	memcpy(proof, good.data, good.len);
	for (; size >= 3; data += 3, size -= 3)
		proof[((size_t)data[0] | (size_t)data[1] << 8) % good.len] ^= data[2];
	is_whole = memcmp(proof, good.data, proved) == 0;
	was_accepted = accepted(level, proof, good.len);
	need(!was_accepted || (is_whole && level == ID_FRESH_QUOTE));
	need(was_accepted || level != ID_FRESH_QUOTE || memcmp(proof, good.data, good.len) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum id_fresh level = size ? data[0] & 3 : ID_FRESH_COUNT;

	if (!good.len)
		start();
	if (level >= ID_FRESH_COUNT)
		return 0;
	data++;
	size--;
	if ((data[-1] & 0xf0) == 0x70)
		need(!accepted(level, data, size) || (level == ID_FRESH_OFF && size == 1 && !data[0]));
	else if ((data[-1] & 0xf0) == 0x60)
		signed_attestation(level, data, size);
	else
		changed(level, data, size);
	return 0;
}
