// SPDX-License-Identifier: Apache-2.0
/*
 * RA-TLS certificates: attestations in extension .1.8, SEV-SNP in a certificate, and the attacks on them by their
 * number in the list of negative tests (docs/ratls.md): 39 to 43 and 46.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "att_world.h"
#include "identity/collateral.h"
#include "snp_world.h"

/* The certificate that is being made: cmocka's callbacks have no argument for it. */
static const struct att_forge *current;

static void report_data_of(X509 *leaf, uint8_t report_data[ID_REPORT_DATA_LEN])
{
	uint8_t spki[ID_SPKI_LEN];

	assert_true(id_p256_spki(X509_get0_pubkey(leaf), spki) && id_cert_report_data(spki, report_data));
}

static void add_attestation(X509 *leaf)
{
	struct id_sim_request req = world_request();
	uint8_t report_data[ID_REPORT_DATA_LEN];
	auto_out struct out out = { 0 };

	report_data_of(leaf, report_data);
	att_write(&out, current, &req, report_data);
	assert_true(id_x509_add_ext(leaf, ID_EXT_ATTESTATION, out.data, out.len));
}

static const char *reason_of(const struct forge *f, struct id_claims *claims)
{
	struct err e = ERR_INIT;
	size_t len;
	auto_free uint8_t *der = forge_cert(f, &len);
	int ret = id_cert_verify(der, len, &world_trust, claims, &e);

	assert_int_equal(ret, e.code);
	return id_reason_name(e.reason);
}

static const char *att_reason(const struct att_forge *f)
{
	struct forge forge = { .req = world_request(), .leaf = add_attestation, .no_quote = true, .no_log = true };
	struct id_claims claims;

	current = f;
	return reason_of(&forge, &claims);
}

static void attestations_prove_what_quote_and_log_did(void **state)
{
	static const struct att_forge good[] = {
		{ .version = 0 },
		{ .version = 0, .no_platform_log = true },
		{ .version = 1, .as_arrays = true },
		{ .version = 1, .runtime_v2 = true, .with_preimage = true },
	};
	struct forge f = { .req = world_request(), .leaf = add_attestation, .no_quote = true, .no_log = true };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct id_claims claims = { 0 };

		current = &good[i];
		assert_string_equal(reason_of(&f, &claims), "NONE");
		assert_true(claims.is_simulated && claims.tee == ID_TEE_SIM && claims.has_os_image_hash);
		assert_memory_equal(claims.app_id, f.req.app_id, sizeof(claims.app_id));
		assert_memory_equal(claims.compose_hash, f.req.compose_hash, sizeof(claims.compose_hash));
		assert_string_equal(claims.key_provider, "kms");
	}
}

/* Both lists of RTMR3's events must be what the quote signed, and what is told beside it must be what it says. */
static void attestations_that_contradict_their_quote(void **state)
{
	struct id_sim_request req = world_request(), other = world_request();
	struct att_event events[ATT_EVENTS_MAX], foreign[ATT_EVENTS_MAX];
	size_t n = att_guest_events(&req, 1, events);

	(void)state;
	memset(other.app_id, 0x66, sizeof(other.app_id));
	att_guest_events(&other, 1, foreign);
	assert_string_equal(att_reason(&(struct att_forge){ .runtime = foreign, .n_runtime = n }), "EVENTLOG_REPLAY");
	assert_string_equal(att_reason(&(struct att_forge){ .platform = foreign, .n_platform = n }), "EVENTLOG_REPLAY");
	assert_string_equal(att_reason(&(struct att_forge){ .runtime = events, .n_runtime = n - 1 }),
			    "EVENTLOG_REPLAY");
	assert_string_equal(att_reason(&(struct att_forge){ .runtime = events, .n_runtime = 0 }), "EVENTLOG_REPLAY");
	assert_string_equal(att_reason(&(struct att_forge){ .version = 1, .platform = events, .n_platform = 1 }),
			    "EVENTLOG_REPLAY");
	assert_string_equal(att_reason(&(struct att_forge){ .other_report_data = true }), "QUOTE_BINDING");
	assert_string_equal(att_reason(&(struct att_forge){ .version = 1, .other_report_data = true }),
			    "QUOTE_BINDING");
	assert_string_equal(att_reason(&(struct att_forge){ .tail = "", .tail_len = 1 }), "ATTESTATION_MALFORMED");
}

/* A digest of version 2 is another one: the version that is told must be the one that was used. */
static void versions_of_digests_do_not_mix(void **state)
{
	struct id_sim_request req = world_request();
	struct att_event events[ATT_EVENTS_MAX];
	size_t n = att_guest_events(&req, 2, events);

	(void)state;
	assert_string_equal(att_reason(&(struct att_forge){ .version = 1, .runtime = events, .n_runtime = n }),
			    "EVENTLOG_REPLAY");
}

static bool names_another_issuer(const uint8_t *der, size_t len)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	struct err e = ERR_INIT;

	return id_cert_parse(der, len, &cert, &e) == 0 && !cert.is_self_issued;
}

static void no_flip_of_an_attestation_is_accepted(void **state)
{
	static const struct att_forge versions[] = { { .version = 0 }, { .version = 1, .as_arrays = true } };
	struct forge f = { .req = world_request(), .leaf = add_attestation, .no_quote = true, .no_log = true };
	unsigned flips = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct id_claims claims, original;
		auto_free uint8_t *der = NULL;
		struct err ok = ERR_INIT;
		size_t len;

		current = &versions[i];
		der = forge_cert(&f, &len);
		assert_int_equal(id_cert_verify(der, len, &world_trust, &original, &ok), 0);
		for (size_t bit = 0; bit < 8 * len; bit += 23) {
			struct err e = ERR_INIT;
			int ret;

			der[bit / 8] ^= (uint8_t)(1 << bit % 8);
			ret = id_cert_verify(der, len, &world_trust, &claims, &e);
			if (ret == 0 && names_another_issuer(der, len)) /* cert_test.c has what that means */
				assert_memory_equal(&claims, &original, sizeof(claims));
			else
				assert_int_equal(ret, -EBADMSG);
			der[bit / 8] ^= (uint8_t)(1 << bit % 8);
			flips++;
		}
	}
	print_message("# %u flips, none accepted\n", flips);
}

/* --- 39 to 41: what report_data is made of --- */

static void test_39_real_quote_under_another_key(void **state)
{
	size_t len = 0;
	auto_free char *der = shared_file("ratls/dstack-ratls-leaf.der", &len);
	auto_call(cleanup_pkey) EVP_PKEY *thief = id_p256_new();
	struct id_cert cert;
	struct id_quote quote;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_cert_parse((uint8_t *)der, len, &cert, &e), 0);
	assert_int_equal(id_quote_parse(cert.ext[ID_EXT_QUOTE].p, cert.ext[ID_EXT_QUOTE].left, &quote, &e), 0);
	assert_true(id_cert_is_bound(&cert, quote.report_data));
	assert_true(id_p256_spki(thief, cert.spki));
	assert_false(id_cert_is_bound(&cert, quote.report_data));
	id_cert_fini(&cert);
}

static const char bind_tag[] = "ratls-cert:";

/* How the quote binds its key in these tests. */
static void (*bind_key)(EVP_PKEY *key, uint8_t report_data[ID_REPORT_DATA_LEN]);

static void add_bound_attestation(X509 *leaf)
{
	struct id_sim_request req = world_request();
	uint8_t report_data[ID_REPORT_DATA_LEN] = { 0 };
	auto_out struct out out = { 0 };

	bind_key(X509_get0_pubkey(leaf), report_data);
	att_write(&out, &(struct att_forge){ 0 }, &req, report_data);
	assert_true(id_x509_add_ext(leaf, ID_EXT_ATTESTATION, out.data, out.len));
}

static void bind_well(EVP_PKEY *key, uint8_t *report_data)
{
	uint8_t spki[ID_SPKI_LEN];

	assert_true(id_p256_spki(key, spki) && id_cert_report_data(spki, report_data));
}

static void bind_point(EVP_PKEY *key, uint8_t *report_data)
{
	uint8_t xy[ID_P256_RAW_LEN];

	assert_true(id_p256_to_raw(key, xy));
	id_hash(EVP_sha512(), report_data, bind_tag, strlen(bind_tag), xy, sizeof(xy));
}

static void bind_pem(EVP_PKEY *key, uint8_t *report_data)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
	len = BIO_get_mem_data(bio, &text);
	id_hash(EVP_sha512(), report_data, bind_tag, strlen(bind_tag), text, (size_t)len);
	BIO_free(bio);
}

static void bind_untagged(EVP_PKEY *key, uint8_t *report_data)
{
	uint8_t spki[ID_SPKI_LEN];

	assert_true(id_p256_spki(key, spki));
	id_hash(EVP_sha512(), report_data, spki, sizeof(spki), NULL, 0);
}

static void bind_app_data(EVP_PKEY *key, uint8_t *report_data)
{
	uint8_t spki[ID_SPKI_LEN];

	assert_true(id_p256_spki(key, spki));
	id_hash(EVP_sha512(), report_data, "app-data:", strlen("app-data:"), spki, sizeof(spki));
}

static void bind_sha256(EVP_PKEY *key, uint8_t *report_data)
{
	uint8_t spki[ID_SPKI_LEN];

	assert_true(id_p256_spki(key, spki));
	id_hash(EVP_sha256(), report_data, bind_tag, strlen(bind_tag), spki, sizeof(spki));
}

static void bind_nothing(EVP_PKEY *key, uint8_t *report_data)
{
	(void)key;
	memset(report_data, 0, ID_REPORT_DATA_LEN);
}

static void bind_almost(EVP_PKEY *key, uint8_t *report_data)
{
	bind_well(key, report_data);
	report_data[ID_REPORT_DATA_LEN - 1] ^= 1;
}

static const char *binding_reason(void (*how)(EVP_PKEY *key, uint8_t *report_data))
{
	struct forge f = { .req = world_request(), .leaf = add_bound_attestation, .no_quote = true, .no_log = true };
	struct id_claims claims;

	bind_key = how;
	return reason_of(&f, &claims);
}

static void test_40_binding_over_something_else(void **state)
{
	(void)state;
	assert_string_equal(binding_reason(bind_well), "NONE");
	assert_string_equal(binding_reason(bind_point), "QUOTE_BINDING");
	assert_string_equal(binding_reason(bind_pem), "QUOTE_BINDING");
	assert_string_equal(binding_reason(bind_untagged), "QUOTE_BINDING");
	assert_string_equal(binding_reason(bind_app_data), "QUOTE_BINDING");
}

static void test_41_binding_of_zeros_or_a_shorter_hash(void **state)
{
	(void)state;
	assert_string_equal(binding_reason(bind_nothing), "QUOTE_BINDING");
	assert_string_equal(binding_reason(bind_sha256), "QUOTE_BINDING");
	assert_string_equal(binding_reason(bind_almost), "QUOTE_BINDING");
}

static void test_41_real_zero_report_data(void **state)
{
	static const uint8_t zero[ID_REPORT_DATA_LEN];
	size_t len = 0, leaf_len = 0;
	auto_free char *bytes = shared_file("quotes/q07-v4-00806f05-gcp.bin", &len);
	auto_free char *der = shared_file("ratls/dstack-ratls-leaf.der", &leaf_len);
	struct id_cert cert;
	struct id_quote quote;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_quote_parse((uint8_t *)bytes, len, &quote, &e), 0);
	assert_memory_equal(quote.report_data, zero, sizeof(zero));
	assert_int_equal(id_cert_parse((uint8_t *)der, leaf_len, &cert, &e), 0);
	assert_false(id_cert_is_bound(&cert, quote.report_data));
	id_cert_fini(&cert);
}

/* --- 42: extensions --- */

static void both_kinds(X509 *leaf)
{
	current = &(struct att_forge){ 0 };
	add_attestation(leaf);
}

static void two_attestations(X509 *leaf)
{
	both_kinds(leaf);
	both_kinds(leaf);
}

/* The extension's value as it stands, without the inner OCTET STRING. */
static const void *raw_value;
static size_t raw_len;

static void add_raw(X509 *leaf)
{
	ASN1_OBJECT *object = OBJ_txt2obj("1.3.6.1.4.1.62397.1.8", 1);
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;

	ASN1_OCTET_STRING_set(octets, raw_value, (int)raw_len);
	ext = X509_EXTENSION_create_by_OBJ(NULL, object, 0, octets);
	assert_int_equal(X509_add_ext(leaf, ext, -1), 1);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(octets);
	ASN1_OBJECT_free(object);
}

static const char *raw_reason(const void *value, size_t len)
{
	struct forge f = { .req = world_request(), .leaf = add_raw, .no_quote = true, .no_log = true };
	struct id_claims claims;

	raw_value = value;
	raw_len = len;
	return reason_of(&f, &claims);
}

static void test_42_extensions(void **state)
{
	struct forge both = { .req = world_request(), .leaf = both_kinds };
	struct forge beside_log = { .req = world_request(), .leaf = both_kinds, .no_quote = true };
	struct forge twice = { .req = world_request(), .leaf = two_attestations, .no_quote = true, .no_log = true };
	auto_free uint8_t *big = calloc(1, 1 << 20);
	struct id_claims claims;

	(void)state;
	assert_string_equal(reason_of(&both, &claims), "CERT_EXTENSION");
	assert_string_equal(reason_of(&beside_log, &claims), "CERT_EXTENSION");
	assert_string_equal(reason_of(&twice, &claims), "CERT_EXTENSION");
	assert_string_equal(raw_reason("", 0), "CERT_EXTENSION");
	assert_string_equal(raw_reason("\x04\x00", 2), "ATTESTATION_MALFORMED");  /* empty inside */
	assert_string_equal(raw_reason("\x03\x01\x00", 3), "CERT_EXTENSION");     /* no OCTET STRING */
	assert_string_equal(raw_reason("\x04\x01\x00\x00", 4), "CERT_EXTENSION"); /* bytes behind it */
	assert_string_equal(raw_reason("\x04\x81\x01\x00", 4), "CERT_EXTENSION"); /* not DER */
	assert_string_equal(raw_reason("\x24\x80\x00\x00", 4), "CERT_EXTENSION"); /* BER, in parts */
	assert_string_equal(raw_reason("\x04\x84\xff\xff\xff\xff", 6), "CERT_EXTENSION");
	memcpy(big, "\x04\x83\x0f\xff\xfb", 5);
	assert_string_equal(raw_reason(big, 1 << 20), "CERT_MALFORMED");
}

/* The issuer's claims are not believed, but a lie among them is told. */
static struct id_app_info info;
static uint32_t info_elements;

static void add_app_info(X509 *leaf)
{
	auto_out struct out out = { 0 };

	both_kinds(leaf);
	mp_add_array(&out, info_elements);
	mp_add_bin(&out, info.app_id, sizeof(info.app_id));
	mp_add_bin(&out, info.compose_hash, 32);
	mp_add_bin(&out, info.instance_id, info.has_instance_id ? 20 : 0);
	mp_add_bin(&out, info.device_id, 32);
	mp_add_bin(&out, info.mr_system, 32);
	mp_add_bin(&out, info.mr_aggregated, 32);
	mp_add_bin(&out, info.os_image_hash, 32);
	mp_add_bin(&out, "{}", 2);
	if (info_elements > 8)
		mp_add_array(&out, 0);
	assert_true(id_x509_add_ext(leaf, ID_EXT_APP_INFO, out.data, out.len));
}

static void test_42_contradicting_claims(void **state)
{
	struct forge f = { .req = world_request(), .leaf = both_kinds, .no_quote = true, .no_log = true };
	struct id_claims claims;
	uint8_t *fields[] = { info.app_id, info.compose_hash, info.instance_id, info.mr_system, info.mr_aggregated };
	uint8_t *harmless[] = { info.device_id, info.os_image_hash };

	(void)state;
	assert_string_equal(reason_of(&f, &claims), "NONE");
	memcpy(info.app_id, claims.app_id, sizeof(info.app_id));
	memcpy(info.compose_hash, claims.compose_hash, 32);
	memcpy(info.instance_id, claims.instance_id, 20);
	memcpy(info.mr_system, claims.mr_system, 32);
	memcpy(info.mr_aggregated, claims.mr_aggregated, 32);
	info.has_instance_id = true;
	f.leaf = add_app_info;
	for (info_elements = 8; info_elements <= 9; info_elements++) {
		assert_string_equal(reason_of(&f, &claims), "NONE");
		for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
			fields[i][0] ^= 1;
			assert_string_equal(reason_of(&f, &claims), "CERT_CLAIM");
			fields[i][0] ^= 1;
		}
		for (size_t i = 0; i < ARRAY_LEN(harmless); i++) {
			harmless[i][0] ^= 1;
			assert_string_equal(reason_of(&f, &claims), "NONE");
		}
	}
	info_elements = 8;
	info.has_instance_id = false;
	assert_string_equal(reason_of(&f, &claims), "CERT_CLAIM");
	info_elements = 7;
	assert_string_equal(reason_of(&f, &claims), "CERT_EXTENSION");
}

/* --- 43, 46 --- */

static void test_43_certificate_signature(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *other = id_p256_new();
	struct forge f = {
		.req = world_request(), .leaf = both_kinds, .no_quote = true, .no_log = true, .signer = other
	};
	struct id_claims claims;

	(void)state;
	assert_string_equal(reason_of(&f, &claims), "CERT_SIGNATURE");
}

static EVP_PKEY *weak_key;

static void use_weak_key(X509 *leaf)
{
	both_kinds(leaf); /* bound to the good key: the quote is never looked at */
	assert_int_equal(X509_set_pubkey(leaf, weak_key), 1);
}

static void test_46_weak_or_unexpected_keys(void **state)
{
	struct forge f = { .req = world_request(), .leaf = use_weak_key, .no_quote = true, .no_log = true };
	EVP_PKEY *keys[] = { EVP_RSA_gen(1024), EVP_EC_gen("P-224"), EVP_EC_gen("P-384"), EVP_RSA_gen(2048),
			     EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") };
	struct id_claims claims;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		weak_key = keys[i];
		assert_non_null(weak_key);
		assert_string_equal(reason_of(&f, &claims), "CERT_KEY");
		EVP_PKEY_free(keys[i]);
	}
}

/* --- SEV-SNP --- */

#define SNP_CONFIG                                                                                                     \
	"{\"app_id\":\"5bb4ff9a3837357f19dc176407a5709c62eb6c56\","                                                    \
	"\"compose_hash\":\"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\","                       \
	"\"key_provider\":\"kms\",\"version\":3}"

static struct snp_case snp_case;
static uint8_t snp_report_data[ID_REPORT_DATA_LEN];
static bool snp_no_certs, snp_other_config;

static void snp_bind(uint8_t *report)
{
	static const char tag[] = "dstack-mr-config-v3:";

	memcpy(report + 0x50, snp_report_data, ID_REPORT_DATA_LEN);
	assert_true(id_hash(EVP_sha256(), report + 0xc0, tag, sizeof(tag), SNP_CONFIG, strlen(SNP_CONFIG)));
}

static void add_snp(X509 *leaf)
{
	static const struct snp_forge f = { .report = snp_bind };
	auto_out struct out out = { 0 };

	report_data_of(leaf, snp_report_data);
	if (bind_key)
		bind_key(X509_get0_pubkey(leaf), snp_report_data);
	snp_case_free(&snp_case);
	snp_case_new(&f, &snp_case);
	out_u8(&out, 0);
	out_u8(&out, 3);
	sc_bytes(&out, snp_case.report, ID_SNP_REPORT_LEN);
	sc_compact(&out, snp_no_certs ? 0 : 2);
	if (!snp_no_certs) {
		sc_bytes(&out, snp_case.intermediate.p, snp_case.intermediate.len);
		sc_bytes(&out, snp_case.vek.p, snp_case.vek.len);
	}
	sc_bytes(&out, SNP_CONFIG " ", strlen(SNP_CONFIG) + snp_other_config);
	sc_compact(&out, 0); /* runtime events: nothing would prove them */
	out_bytes(&out, snp_report_data, ID_REPORT_DATA_LEN);
	sc_bytes(&out, "{}", 2);
	assert_true(id_x509_add_ext(leaf, ID_EXT_ATTESTATION, out.data, out.len));
}

static const char *snp_reason(struct id_claims *claims)
{
	struct forge f = { .req = world_request(), .leaf = add_snp, .no_quote = true, .no_log = true };

	return reason_of(&f, claims);
}

/* VEK and intermediate as an operator has them, twice: the second time says nothing new. */
static void snp_at_hand(const struct snp_forge *f)
{
	struct snp_case c;

	snp_case_new(f, &c);
	for (int i = 0; i < 2; i++)
		assert_true(id_collaterals_add(world_trust.collaterals, (char *)c.vek.p, c.vek.len, NULL) == 0 &&
			    id_collaterals_add(world_trust.collaterals, (char *)c.intermediate.p, c.intermediate.len,
					       NULL) == 0);
	snp_case_free(&c);
}

static void sev_snp_in_a_certificate(void **state)
{
	static const uint8_t other_chip[ID_SNP_CHIP_ID_LEN] = { 1 };
	struct id_evidence_policy policy;
	struct id_claims claims;

	(void)state;
	bind_key = NULL;
	id_evidence_policy_strict(&policy);
	world_trust.snp_roots = snp.roots;
	assert_string_equal(snp_reason(&claims), "SNP_TCB"); /* nobody said what is good enough */
	world_trust.policy = &policy;
	assert_string_equal(snp_reason(&claims), "SNP_TCB");
	policy.snp.is_allowed = true;
	assert_string_equal(snp_reason(&claims), "NONE");
	assert_true(claims.tee == ID_TEE_SNP && !claims.is_simulated && !claims.has_instance_id);
	assert_true(claims.app_id[0] == 0x5b && claims.compose_hash[31] == 0xc0 && claims.mrtd[47] == 0x3e);
	assert_string_equal(claims.key_provider, "kms");
	snp_other_config = true; /* a blank more: not the document that the host gave */
	assert_string_equal(snp_reason(&claims), "EVENTLOG_REPLAY");
	snp_other_config = false;
	bind_key = bind_sha256; /* report data padded differently */
	assert_string_equal(snp_reason(&claims), "QUOTE_BINDING");
	bind_key = bind_almost;
	assert_string_equal(snp_reason(&claims), "QUOTE_BINDING");
	bind_key = NULL;
	snp_no_certs = true;
	assert_string_equal(snp_reason(&claims), "COLLATERAL_MISSING");
	assert_int_equal(id_collaterals_new(NULL, 0, &world_trust.collaterals, NULL), 0);
	snp_at_hand(&(struct snp_forge){ .hwid = other_chip, .hwid_len = sizeof(other_chip) });
	assert_string_equal(snp_reason(&claims), "COLLATERAL_MISSING");
	snp_at_hand(&(struct snp_forge){ 0 });
	assert_string_equal(snp_reason(&claims), "NONE");
	snp_no_certs = false;
	id_collaterals_free(world_trust.collaterals);
	world_trust.collaterals = NULL;
	policy.snp.demand.tcb_min.snp = 8;
	assert_string_equal(snp_reason(&claims), "SNP_TCB");
	policy.snp.demand.tcb_min.snp = 7;
	policy.snp.n_measurements = 1;
	assert_string_equal(snp_reason(&claims), "MEASUREMENT");
	world_trust.snp_roots = NULL; /* AMD's, who never made this chip */
	assert_string_equal(snp_reason(&claims), "SNP_CHAIN");
	world_trust.policy = NULL;
	snp_case_free(&snp_case);
	snp_case = (struct snp_case){ 0 };
}

static int start(void **state)
{
	return world_new(state) || snp_world_new(state);
}

static int stop(void **state)
{
	return snp_world_free(state) || world_free(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attestations_prove_what_quote_and_log_did),
		cmocka_unit_test(attestations_that_contradict_their_quote),
		cmocka_unit_test(versions_of_digests_do_not_mix),
		cmocka_unit_test(no_flip_of_an_attestation_is_accepted),
		cmocka_unit_test(test_39_real_quote_under_another_key),
		cmocka_unit_test(test_40_binding_over_something_else),
		cmocka_unit_test(test_41_binding_of_zeros_or_a_shorter_hash),
		cmocka_unit_test(test_41_real_zero_report_data),
		cmocka_unit_test(test_42_extensions),
		cmocka_unit_test(test_42_contradicting_claims),
		cmocka_unit_test(test_43_certificate_signature),
		cmocka_unit_test(test_46_weak_or_unexpected_keys),
		cmocka_unit_test(sev_snp_in_a_certificate),
	};

	return cmocka_run_group_tests_name("identity/ratls", tests, start, stop);
}
