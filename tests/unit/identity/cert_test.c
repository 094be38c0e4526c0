// SPDX-License-Identifier: Apache-2.0
/* Every reason that a certificate can be refused for, each produced by the attack that it stands against. */
#include <errno.h>
#include <openssl/err.h>

#include "world.h"

static void refused(const struct forge *f, const struct id_trust *trust, const char *reason)
{
	struct id_claims claims, before;
	struct err e = ERR_INIT;
	size_t len;
	auto_free uint8_t *der = forge_cert(f, &len);

	memset(&claims, 0x5a, sizeof(claims));
	before = claims;
	assert_int_equal(id_cert_verify(der, len, trust, &claims, &e), -EBADMSG);
	assert_string_equal(id_reason_name(e.reason), reason);
	assert_memory_equal(&claims, &before, sizeof(claims)); /* outputs untouched */
}

static void accepts_what_it_issued(void **state)
{
	struct id_sim_request req = world_request();
	auto_free char *cert = NULL, *key = NULL;
	auto_free uint8_t *der = NULL;
	struct id_claims claims;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	assert_int_equal(id_sim_issue(&world_root, &req, &cert, &key, &e), 0);
	der = pem_to_der(cert, &len);
	assert_int_equal(id_cert_verify(der, len, &world_trust, &claims, &e), 0);
	assert_int_equal(e.code, 0);
	assert_true(claims.is_simulated && claims.tee == ID_TEE_SIM && claims.has_instance_id);
	assert_memory_equal(claims.app_id, req.app_id, sizeof(req.app_id));
	assert_memory_equal(claims.instance_id, req.instance_id, sizeof(req.instance_id));
	assert_memory_equal(claims.compose_hash, req.compose_hash, sizeof(req.compose_hash));
	assert_string_equal(claims.key_provider, "none");
	assert_string_equal((char *)claims.mrtd, "BAILEY-SIMULATED-MRTD");
	assert_int_equal(claims.not_before, req.not_before);
	assert_int_equal(claims.not_after, req.not_after);
	assert_false(claims.has_os_image_hash);
}

static void an_instance_id_may_be_absent(void **state)
{
	struct forge f = { .req = world_request() };
	auto_free uint8_t *der = NULL;
	struct id_claims claims;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	memset(f.req.instance_id, 0, sizeof(f.req.instance_id));
	der = forge_cert(&f, &len);
	assert_int_equal(id_cert_verify(der, len, &world_trust, &claims, &e), 0);
	assert_false(claims.has_instance_id);
}

static void cert_malformed(void **state)
{
	struct forge f = { .req = world_request() };
	struct id_claims claims;
	size_t len;
	auto_free uint8_t *der = forge_cert(&f, &len);
	auto_free uint8_t *longer = malloc(len + 1);

	(void)state;
	for (size_t cut = 0; cut < len; cut++) {
		auto_free uint8_t *part = malloc(cut + 1); /* its own block: a sanitizer sees a read past the end */
		struct err e = ERR_INIT;

		memcpy(part, der, cut);
		assert_int_equal(id_cert_verify(part, cut, &world_trust, &claims, &e), -EBADMSG);
		assert_reason(e, CERT_MALFORMED);
	}
	memcpy(longer, der, len);
	longer[len] = 0;
	struct err e = ERR_INIT;
	assert_int_equal(id_cert_verify(longer, len + 1, &world_trust, &claims, &e), -EBADMSG);
	assert_reason(e, CERT_MALFORMED);
}

static void use_p384(X509 *leaf)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = EVP_EC_gen("P-384");

	assert_int_equal(X509_set_pubkey(leaf, key), 1);
}

static void cert_key(void **state)
{
	struct forge f = { .req = world_request(), .leaf = use_p384 };

	(void)state;
	refused(&f, &world_trust, "CERT_KEY");
}

static void rename_issuer(X509 *leaf)
{
	auto_call(cleanup_x509) X509 *other = X509_new();

	X509_NAME_add_entry_by_txt(X509_get_subject_name(other), "CN", MBSTRING_ASC, (const uint8_t *)"CA", -1, -1, 0);
	assert_int_equal(X509_set_issuer_name(leaf, X509_get_subject_name(other)), 1);
}

static void cert_signature(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *other = id_p256_new();
	struct forge f = { .req = world_request(), .signer = other };

	(void)state;
	refused(&f, &world_trust, "CERT_SIGNATURE");
}

/* What a CA that nobody trusts signs proves what its quote proves, and nothing that the CA says beside it. */
static void an_issuer_adds_nothing(void **state)
{
	static const uint8_t other_app[BY_APP_ID_LEN] = { 0xbb };
	auto_call(cleanup_pkey) EVP_PKEY *ca = id_p256_new(), *thief = id_p256_new();
	struct forge f = { .req = world_request(), .signer = ca, .leaf = rename_issuer };
	struct id_claims claims;
	struct err e = ERR_INIT;
	size_t len;
	auto_free uint8_t *der = forge_cert(&f, &len);

	(void)state;
	assert_int_equal(id_cert_verify(der, len, &world_trust, &claims, &e), 0);
	assert_memory_equal(claims.app_id, f.req.app_id, sizeof(claims.app_id));
	f.app_id = other_app;
	f.app_id_len = sizeof(other_app);
	refused(&f, &world_trust, "CERT_CLAIM");
	f.app_id = NULL;
	f.usage = "kms:rpc";
	f.usage_len = strlen(f.usage);
	refused(&f, &world_trust, "CERT_CLAIM");
	f.usage = NULL;
	f.bound = thief; /* another's quote in a certificate of one's own key */
	refused(&f, &world_trust, "QUOTE_BINDING");
}

static void cert_validity(void **state)
{
	struct forge f = { .req = world_request() };
	struct id_trust trust = world_trust;

	(void)state;
	trust.now = f.req.not_after + 1;
	refused(&f, &trust, "CERT_VALIDITY");
	trust.now = f.req.not_before - 1;
	refused(&f, &trust, "CERT_VALIDITY");
}

static void second_app_id(X509 *leaf)
{
	assert_true(id_x509_add_ext(leaf, ID_EXT_APP_ID, "01234567890123456789", BY_APP_ID_LEN));
	assert_true(id_x509_add_ext(leaf, ID_EXT_APP_ID, "01234567890123456789", BY_APP_ID_LEN));
}

static void second_log(X509 *leaf)
{
	assert_true(id_x509_add_ext(leaf, ID_EXT_EVENTLOG, "[]", 2));
}

static void cert_extension(void **state)
{
	struct forge twice = { .req = world_request(), .leaf = second_app_id };
	struct forge two_logs = { .req = world_request(), .leaf = second_log };
	struct forge no_quote = { .req = world_request(), .no_quote = true };
	struct forge no_log = { .req = world_request(), .no_log = true };

	(void)state;
	refused(&twice, &world_trust, "CERT_EXTENSION");
	refused(&two_logs, &world_trust, "CERT_EXTENSION");
	refused(&no_quote, &world_trust, "CERT_EXTENSION");
	refused(&no_log, &world_trust, "CERT_EXTENSION");
}

static void cert_claim(void **state)
{
	struct forge other_app = { .req = world_request(),
				   .app_id = "01234567890123456789",
				   .app_id_len = BY_APP_ID_LEN };
	struct forge short_app = { .req = world_request(), .app_id = other_app.req.app_id, .app_id_len = 19 };
	struct forge usage = { .req = world_request(), .usage = "app:ca", .usage_len = 6 };

	(void)state;
	refused(&other_app, &world_trust, "CERT_CLAIM");
	refused(&short_app, &world_trust, "CERT_CLAIM");
	refused(&usage, &world_trust, "CERT_CLAIM");
	usage.usage = "kms:rpc";
	usage.usage_len = 7;
	refused(&usage, &world_trust, "CERT_CLAIM");
}

static void cut_quote(uint8_t *quote, size_t len)
{
	(void)len;
	quote[632]--; /* length of the signature data */
}

static void quote_malformed(void **state)
{
	struct forge f = { .req = world_request(), .quote = cut_quote };

	(void)state;
	refused(&f, &world_trust, "QUOTE_MALFORMED");
}

static void version_6(uint8_t *body)
{
	body[0] = 6;
}

static void intel_vendor(uint8_t *body)
{
	memcpy(body + 12, id_qe_vendor_intel, ID_QE_VENDOR_LEN);
}

static void attestation_ext(X509 *leaf)
{
	assert_true(id_x509_add_ext(leaf, ID_EXT_ATTESTATION, "\0\1", 2)); /* version 0, GCP */
}

static void quote_unsupported(void **state)
{
	struct forge version = { .req = world_request(), .body = version_6 };
	struct forge vendor = { .req = world_request(), .body = intel_vendor };
	struct forge newer = { .req = world_request(), .leaf = attestation_ext, .no_quote = true, .no_log = true };

	(void)state;
	refused(&version, &world_trust, "QUOTE_UNSUPPORTED");
	/* signed by a trusted simulation root, but it says Intel: never taken for either */
	refused(&vendor, &world_trust, "COLLATERAL_MISSING");
	refused(&newer, &world_trust, "QUOTE_UNSUPPORTED");
}

static void quote_simulated(void **state)
{
	struct forge f = { .req = world_request() };
	struct id_trust trust = world_trust;

	(void)state;
	trust.allow_simulated = false;
	refused(&f, &trust, "QUOTE_SIMULATED");
}

static void quote_chain(void **state)
{
	struct id_sim_root foreign;
	struct forge f = { .req = world_request(), .root = &foreign };
	struct id_trust trust = world_trust;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_sim_root_new(NOW, &foreign, &e), 0);
	refused(&f, &world_trust, "QUOTE_CHAIN");
	id_sim_root_fini(&foreign);
	trust.simulated_roots = NULL;
	f.root = NULL;
	refused(&f, &trust, "QUOTE_CHAIN");
}

static void set_profiling(uint8_t *body)
{
	body[168] |= 0x10; /* HGS_PLUS_PROF */
}

static void quote_attributes(void **state)
{
	struct forge f = { .req = world_request(), .body = set_profiling };

	(void)state;
	refused(&f, &world_trust, "QUOTE_ATTRIBUTES");
}

static void swap_measurement(uint8_t *quote, size_t len)
{
	(void)len;
	quote[184] ^= 1;
}

static void quote_signature(void **state)
{
	struct forge f = { .req = world_request(), .quote = swap_measurement };

	(void)state;
	refused(&f, &world_trust, "QUOTE_SIGNATURE");
}

static void swap_auth_data(uint8_t *quote, size_t len)
{
	(void)len;
	quote[1220] ^= 1;
}

static void quote_qe(void **state)
{
	struct forge f = { .req = world_request(), .quote = swap_auth_data };

	(void)state;
	refused(&f, &world_trust, "QUOTE_QE");
}

/* A stolen certificate's quote under the thief's key. */
static void quote_binding(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *victim = id_p256_new();
	struct forge f = { .req = world_request(), .bound = victim };

	(void)state;
	refused(&f, &world_trust, "QUOTE_BINDING");
}

static void eventlog_reasons(void **state)
{
	struct forge f = { .req = world_request(), .log = "{}" };

	(void)state;
	refused(&f, &world_trust, "EVENTLOG_MALFORMED");
	f.log = "[{\"imr\":3,\"event_type\":134217729,\"digest\":\"\",\"event\":\"x\",\"event_payload\":\"\"}]";
	refused(&f, &world_trust, "EVENTLOG_REPLAY");
	f.log = "[]"; /* replays to zero, which is what RTMR3 is told to be */
	refused(&f, &world_trust, "EVENTLOG_IDENTITY");
}

/* A flip in one of the two names makes another issuer of it: that proves what it proved before, and nothing else does.
 */
static bool names_another_issuer(const uint8_t *der, size_t len)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	struct err e = ERR_INIT;

	return id_cert_parse(der, len, &cert, &e) == 0 && !cert.is_self_issued;
}

/* Every bit of the certificate, and every byte replaced: all of it is under the key's own signature. */
static void no_flipped_bit_is_accepted(void **state)
{
	struct forge f = { .req = world_request() };
	struct id_claims claims, original;
	struct err e = ERR_INIT;
	size_t len, flips = 0, renamed = 0;
	auto_free uint8_t *der = forge_cert(&f, &len);

	(void)state;
	assert_int_equal(id_cert_verify(der, len, &world_trust, &original, &e), 0);
	for (size_t bit = 0; bit<8 * len; bit += len> 4096 ? 7 : 1) {
		e = ERR_INIT;
		der[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (id_cert_verify(der, len, &world_trust, &claims, &e) == 0) {
			assert_true(names_another_issuer(der, len));
			assert_memory_equal(&claims, &original, sizeof(claims));
			renamed++;
		} else {
			assert_int_equal(e.code, -EBADMSG);
			assert_true(e.reason > ID_NONE && e.reason < ID_REASON_COUNT);
		}
		der[bit / 8] ^= (uint8_t)(1 << bit % 8);
		flips++;
	}
	print_message("# %zu flips of %zu bytes, %zu in a name, none accepted for more\n", flips, len, renamed);
	assert_true(flips >= 2000 && renamed < 200);
}

static void errors_do_not_leak_into_openssl_queue(void **state)
{
	struct id_claims claims;
	struct err e = ERR_INIT;

	(void)state;
	ERR_clear_error();
	assert_int_equal(id_cert_verify((const uint8_t *)"0\x03xyz", 5, &world_trust, &claims, &e), -EBADMSG);
	assert_int_equal(ERR_peek_error(), 0);
}

/* dstack's own leaf of 2025: a quote by Intel's QE. */
static void real_dstack_leaf_needs_collateral(void **state)
{
	size_t len = 0;
	auto_free char *der = shared_file("ratls/dstack-ratls-leaf.der", &len);
	struct id_claims claims;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_cert_verify((uint8_t *)der, len, &world_trust, &claims, &e), -EBADMSG);
	assert_reason(e, COLLATERAL_MISSING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_it_issued),
		cmocka_unit_test(an_instance_id_may_be_absent),
		cmocka_unit_test(cert_malformed),
		cmocka_unit_test(cert_key),
		cmocka_unit_test(cert_signature),
		cmocka_unit_test(an_issuer_adds_nothing),
		cmocka_unit_test(cert_validity),
		cmocka_unit_test(cert_extension),
		cmocka_unit_test(cert_claim),
		cmocka_unit_test(quote_malformed),
		cmocka_unit_test(quote_unsupported),
		cmocka_unit_test(quote_simulated),
		cmocka_unit_test(quote_chain),
		cmocka_unit_test(quote_attributes),
		cmocka_unit_test(quote_signature),
		cmocka_unit_test(quote_qe),
		cmocka_unit_test(quote_binding),
		cmocka_unit_test(eventlog_reasons),
		cmocka_unit_test(no_flipped_bit_is_accepted),
		cmocka_unit_test(errors_do_not_leak_into_openssl_queue),
		cmocka_unit_test(real_dstack_leaf_needs_collateral),
	};

	return cmocka_run_group_tests_name("identity/cert", tests, world_new, world_free);
}
