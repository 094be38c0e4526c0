// SPDX-License-Identifier: Apache-2.0
/*
 * Proofs of freshness, judged without a network: two sides of one TLS session, and a relay that has the certificate's
 * key (the class of CVE-2026-33697) but not the machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "identity/attestation.h"
#include "identity/sim.h"
#include "mesh/fresh.h"
#include "mesh/ratls.h"

struct side {
	struct id_sim_request who;
	char *cert, *key;
	struct ratls ratls;
};

/* One session; `up` dialled. */
struct session {
	SSL *up, *down;
};

static struct id_sim_root root, stranger;
static struct side alice, bob;
static uint8_t challenge[FRESH_CHALLENGE_LEN] = { ID_FRESH_QUOTE, 7 };

static void trust_fill(struct id_trust *t, void *arg)
{
	(void)arg;
	*t = (struct id_trust){ .now = time(NULL),
				.allow_simulated = true,
				.simulated_roots = root.root_cert,
				.simulated_roots_len = strlen(root.root_cert) };
}

static void side_make(struct side *s, uint8_t number)
{
	struct err e = ERR_INIT;

	s->who = (struct id_sim_request){ .common_name = "x",
					  .not_before = time(NULL) - 60,
					  .not_after = time(NULL) + 3600 };
	memset(s->who.app_id, number, sizeof(s->who.app_id));
	memset(s->who.instance_id, number, sizeof(s->who.instance_id));
	assert_int_equal(id_sim_issue(&root, &s->who, &s->cert, &s->key, &e), 0);
	s->ratls.trust = trust_fill;
	assert_int_equal(ratls_init(&s->ratls, &s->ratls, s->cert, s->key, &e), 0);
}

static void side_free(struct side *s)
{
	ratls_fini(&s->ratls);
	free(s->cert);
	free(s->key);
}

static struct session session_open(struct side *up, struct side *down)
{
	struct err e = ERR_INIT;
	struct session s = { ratls_session(&up->ratls, false, &e), ratls_session(&down->ratls, true, &e) };
	BIO *a, *b;

	assert_int_equal(BIO_new_bio_pair(&a, 1 << 18, &b, 1 << 18), 1);
	SSL_set_bio(s.up, a, a);
	SSL_set_bio(s.down, b, b);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(s.up);
		SSL_do_handshake(s.down);
	}
	assert_true(SSL_is_init_finished(s.up) && SSL_is_init_finished(s.down));
	return s;
}

static void session_close(struct session *s)
{
	SSL_free(s->up);
	SSL_free(s->down);
}

/* What the TEE of `who` says when it is asked for these 64 bytes. */
static void quote_make(const struct id_sim_root *by, const struct id_sim_request *who,
		       const uint8_t report_data[ID_REPORT_DATA_LEN], struct out *out)
{
	uint8_t rtmr3[ID_MR_LEN], body[ID_QUOTE_SIGNED_LEN];
	auto_call(id_events_fini) struct id_events events = { 0 };
	auto_free char *log = id_sim_eventlog(who, rtmr3);
	auto_free uint8_t *quote = NULL;
	struct err e = ERR_INIT;
	size_t len;

	assert_true(log && id_sim_quote_body(body, rtmr3, report_data));
	assert_int_equal(id_sim_quote_sign(by, body, &quote, &len, &e), 0);
	assert_int_equal(id_events_from_json(log, strlen(log), &events, &e), 0);
	assert_true(id_attestation_write(out, in_of(quote, len), &events, report_data, true));
}

/* The dialler's whole proof in `s`, as its own machine makes it. */
static void proof_make(struct session *s, enum id_fresh level, const struct id_sim_request *tee, struct out *proof)
{
	auto_out struct out attestation = { 0 };
	struct fresh fresh;

	assert_true(fresh_bind(s->up, true, true, challenge, &fresh));
	if (level == ID_FRESH_QUOTE)
		quote_make(&root, tee, fresh.report_data, &attestation);
	assert_true(fresh_prove(s->up, &fresh, level, in_of(attestation.data, attestation.len), proof));
}

/* What the listener of `s` says to it. */
static const char *judged(struct session *s, const void *proof, size_t len)
{
	const struct ratls_peer *peer = ratls_peer(s->down);
	struct err e = ERR_INIT;
	struct id_trust trust;
	struct fresh fresh;

	trust_fill(&trust, NULL);
	assert_true(fresh_bind(s->down, false, true, challenge, &fresh));
	fresh_check(s->down, &fresh, challenge[0], in_of(proof, len), &trust, &peer->claims, &e);
	return e.code ? id_reason_name(e.reason) : "";
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_sim_root_new(time(NULL), &root, &e), 0);
	assert_int_equal(id_sim_root_new(time(NULL), &stranger, &e), 0);
	side_make(&alice, 0xa1);
	side_make(&bob, 0xb2);
	challenge[0] = ID_FRESH_QUOTE;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	side_free(&alice);
	side_free(&bob);
	id_sim_root_fini(&root);
	id_sim_root_fini(&stranger);
	return 0;
}

static void each_level_is_proved(void **state)
{
	struct session s = session_open(&alice, &bob);

	(void)state;
	for (challenge[0] = ID_FRESH_OFF; challenge[0] < ID_FRESH_COUNT; challenge[0]++) {
		auto_out struct out proof = { 0 };

		proof_make(&s, challenge[0], &alice.who, &proof);
		assert_string_equal(judged(&s, proof.data, proof.len), "");
	}
	session_close(&s);
}

static void less_than_demanded_is_refused(void **state)
{
	struct session s = session_open(&alice, &bob);

	(void)state;
	for (challenge[0] = ID_FRESH_KEY; challenge[0] < ID_FRESH_COUNT; challenge[0]++) {
		auto_out struct out proof = { 0 };

		proof_make(&s, challenge[0] - 1, &alice.who, &proof);
		assert_string_equal(judged(&s, proof.data, proof.len), "FRESH_LEVEL");
		proof.data[0]++; /* and only calling it more does not help */
		assert_string_not_equal(judged(&s, proof.data, proof.len), "");
	}
	session_close(&s);
}

/* The relay has alice's certificate and key in a session of its own with bob; alice's machine is elsewhere. */
static void a_relay_has_the_key_and_not_the_machine(void **state)
{
	struct session relay = session_open(&alice, &bob), honest = session_open(&alice, &bob);
	struct id_sim_request other = alice.who;
	auto_out struct out old = { 0 }, attestation = { 0 }, spliced = { 0 }, own = { 0 }, bare = { 0 }, fake = { 0 };
	struct fresh there, here;

	(void)state;
	/* a quote that alice's machine made for a session of its own */
	assert_true(fresh_bind(honest.up, true, true, challenge, &there) &&
		    fresh_bind(relay.up, true, true, challenge, &here));
	assert_memory_not_equal(there.report_data, here.report_data, sizeof(there.report_data));
	quote_make(&root, &alice.who, there.report_data, &attestation);
	assert_true(fresh_prove(relay.up, &here, ID_FRESH_QUOTE, in_of(attestation.data, attestation.len), &spliced));
	assert_string_equal(judged(&relay, spliced.data, spliced.len), "QUOTE_BINDING");
	/* the same, with the attestation's own word on report_data changed */
	memcpy(attestation.data + attestation.len - 65, here.report_data, sizeof(here.report_data));
	assert_true(fresh_prove(relay.up, &here, ID_FRESH_QUOTE, in_of(attestation.data, attestation.len), &fake));
	assert_string_equal(judged(&relay, fake.data, fake.len), "QUOTE_BINDING");
	/* a whole proof of the other session */
	proof_make(&honest, ID_FRESH_QUOTE, &alice.who, &old);
	assert_string_equal(judged(&honest, old.data, old.len), "");
	assert_string_equal(judged(&relay, old.data, old.len), "FRESH_SIGNATURE");
	/* a good quote of this session by the relay's own machine: same app, another instance */
	memset(other.instance_id, 0xee, sizeof(other.instance_id));
	proof_make(&relay, ID_FRESH_QUOTE, &other, &own);
	assert_string_equal(judged(&relay, own.data, own.len), "FRESH_IDENTITY");
	/* no quote at all */
	assert_true(fresh_prove(relay.up, &here, ID_FRESH_QUOTE, in_of(NULL, 0), &bare));
	assert_string_equal(judged(&relay, bare.data, bare.len), "ATTESTATION_MALFORMED");
	session_close(&relay);
	session_close(&honest);
}

static void a_quote_of_nobodys_root_is_refused(void **state)
{
	struct session s = session_open(&alice, &bob);
	auto_out struct out attestation = { 0 }, proof = { 0 };
	struct fresh fresh;

	(void)state;
	assert_true(fresh_bind(s.up, true, true, challenge, &fresh));
	quote_make(&stranger, &alice.who, fresh.report_data, &attestation);
	assert_true(fresh_prove(s.up, &fresh, ID_FRESH_QUOTE, in_of(attestation.data, attestation.len), &proof));
	assert_string_equal(judged(&s, proof.data, proof.len), "QUOTE_CHAIN");
	session_close(&s);
}

static void a_challenge_is_answered_once_and_by_its_side(void **state)
{
	struct session s = session_open(&alice, &bob);
	auto_out struct out proof = { 0 }, reflected = { 0 };
	struct fresh fresh;

	(void)state;
	challenge[0] = ID_FRESH_KEY;
	proof_make(&s, ID_FRESH_KEY, NULL, &proof);
	challenge[5] ^= 1; /* the next challenge of the same session */
	assert_string_equal(judged(&s, proof.data, proof.len), "FRESH_SIGNATURE");
	challenge[5] ^= 1;
	/* bob's own proof, sent back to him */
	assert_true(fresh_bind(s.down, true, false, challenge, &fresh) &&
		    fresh_prove(s.down, &fresh, ID_FRESH_KEY, in_of(NULL, 0), &reflected));
	assert_string_equal(judged(&s, reflected.data, reflected.len), "FRESH_SIGNATURE");
	session_close(&s);
}

/* Truncated at every length, every byte changed, something behind it: nothing of it is accepted. */
static void no_altered_proof_is_accepted(void **state)
{
	struct session s = session_open(&alice, &bob);
	unsigned refused = 0;

	(void)state;
	for (challenge[0] = ID_FRESH_KEY; challenge[0] < ID_FRESH_COUNT; challenge[0]++) {
		auto_out struct out proof = { 0 };
		size_t step;

		proof_make(&s, challenge[0], &alice.who, &proof);
		step = proof.len > 200 ? 13 : 1;
		for (size_t i = 0; i < proof.len; i += step) {
			assert_string_not_equal(judged(&s, proof.data, i), "");
			proof.data[i] ^= 1 + i % 255;
			assert_string_not_equal(judged(&s, proof.data, proof.len), "");
			proof.data[i] ^= 1 + i % 255;
			refused += 2;
		}
		out_u8(&proof, 0);
		assert_string_not_equal(judged(&s, proof.data, proof.len), "");
	}
	print_message("# %u altered proofs, none accepted\n", refused);
	session_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_level_is_proved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(less_than_demanded_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_relay_has_the_key_and_not_the_machine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_quote_of_nobodys_root_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_challenge_is_answered_once_and_by_its_side, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_altered_proof_is_accepted, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("mesh/fresh", tests, NULL, NULL);
}
