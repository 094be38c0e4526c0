// SPDX-License-Identifier: Apache-2.0
/* Certificate requests: dstack's vector, every cut and bit of ours, and evidence that is not the request's own. */
#include "../../lib/intel.h"
#include "../identity/world.h"

#include <errno.h>

#include "identity/csr.h"
#include "kms/kms.h"

static EVP_PKEY *key;

/* A request as bailey-agent makes them. What is done differently from it: */
struct attempt {
	EVP_PKEY *bound;                /* the key in the quote */
	const struct id_sim_root *root; /* that signs the quote */
	struct id_sim_request identity;
	bool lies_about_data;     /* the attestation tells another report_data than the quote */
	struct intel_made *intel; /* the platform is one of tests/lib/intel.h, and this is made */
};

struct body {
	uint8_t rtmr3[ID_MR_LEN], data[ID_REPORT_DATA_LEN];
};

struct request {
	uint8_t *bytes;
	size_t len, sig_len;
	uint8_t sig[ID_ECDSA_MAX];
};

static void body_fill(uint8_t *bytes, void *arg)
{
	const struct body *b = arg;

	memcpy(bytes + AT_RTMR0 + 3 * ID_MR_LEN, b->rtmr3, ID_MR_LEN);
	memcpy(bytes + AT_REPORT_DATA, b->data, ID_REPORT_DATA_LEN);
}

static uint8_t *quote_of(const struct attempt *a, struct body *b, size_t *len)
{
	uint8_t body[ID_QUOTE_SIGNED_LEN], *quote = NULL;
	struct intel_opts o = intel_opts();
	struct err e = ERR_INIT;

	if (!a->intel) {
		assert_true(id_sim_quote_body(body, b->rtmr3, b->data));
		assert_int_equal(id_sim_quote_sign(a->root ? a->root : &world_root, body, &quote, len, &e), 0);
		return quote;
	}
	o.edit_body = body_fill;
	o.arg = b;
	intel_make(&o, a->intel);
	quote = malloc(a->intel->quote_len);
	*len = a->intel->quote_len;
	return memcpy(quote, a->intel->quote, *len);
}

static uint8_t *attest(const struct attempt *a, size_t *len)
{
	struct body b;
	uint8_t spki[ID_SPKI_LEN];
	auto_free char *log = id_sim_eventlog(&a->identity, b.rtmr3);
	auto_free uint8_t *quote = NULL;
	auto_call(id_events_fini) struct id_events events = { 0 };
	auto_out struct out out = { 0 };
	struct err e = ERR_INIT;
	size_t n;

	assert_true(id_p256_spki(a->bound ? a->bound : key, spki) && id_cert_report_data(spki, b.data));
	quote = quote_of(a, &b, &n);
	b.data[0] ^= a->lies_about_data;
	assert_int_equal(id_events_from_json(log, strlen(log), &events, &e), 0);
	assert_true(id_attestation_write(&out, in_of(quote, n), &events, b.data, true));
	return out_take(&out, len);
}

static struct request request_of(const struct attempt *a)
{
	struct id_csr csr = { .subject = "web", .n_alt_names = 2, .for_server = true, .with_evidence = true };
	struct request r = { 0 };
	struct err e = ERR_INIT;
	size_t n;
	auto_free uint8_t *attestation = attest(a, &n);

	strcpy(csr.alt_name[0], "web.internal");
	strcpy(csr.alt_name[1], "10.0.0.1");
	csr.has_not_after = true;
	csr.not_after = NOW + DAY;
	assert_int_equal(id_csr_write(&csr, key, attestation, n, &r.bytes, &r.len, r.sig, &r.sig_len, &e), 0);
	return r;
}

static int judge(const struct request *r, unsigned version, struct kms_boot *boot, struct err *e)
{
	struct id_csr_evidence evidence;
	struct id_csr csr;
	int ret = id_csr_read(r->bytes, r->len, version, r->sig, r->sig_len, &csr, &evidence, e);

	return ret ? ret : kms_verify_csr(&csr, &evidence, &world_trust, boot, e);
}

static void dstack_s_vector_is_read(void **state)
{
	static const char head[] =
		"44706c65617365207369676e20636572743a0c0102030040746573742e6578616d706c652e636f6d0001";
	uint8_t bytes[(sizeof(head) - 1) / 2 + 75] = { 0 };
	struct id_csr_evidence evidence;
	struct err e = ERR_INIT;
	struct in pubkey;
	struct id_csr csr;

	(void)state;
	assert_true(hex_parse(bytes, (sizeof(head) - 1) / 2, head));
	assert_int_equal(id_csr_parse(bytes, sizeof(bytes), 2, &csr, &pubkey, &evidence, &e), 0);
	assert_string_equal(csr.subject, "test.example.com");
	assert_memory_equal(pubkey.p, "\1\2\3", 3);
	assert_true(csr.for_server && !csr.for_client && !csr.with_evidence && !csr.with_app_info);
	assert_false(csr.has_not_before || csr.has_not_after);
	assert_int_equal(evidence.attestation.left, 1 + 1 + 3 + 64 + 1);
	/* its key is none */
	assert_int_equal(id_csr_read(bytes, sizeof(bytes), 2, bytes, 8, &csr, &evidence, &e), -EBADMSG);
	assert_reason(e, CSR_MALFORMED);
}

static void a_request_is_what_was_asked_for(void **state)
{
	struct attempt a = { .identity = world_request() };
	struct request r = request_of(&a);
	struct id_csr_evidence evidence;
	struct kms_boot boot;
	struct err e = ERR_INIT;
	struct id_csr csr;

	(void)state;
	assert_int_equal(id_csr_read(r.bytes, r.len, 2, r.sig, r.sig_len, &csr, &evidence, &e), 0);
	assert_string_equal(csr.subject, "web");
	assert_int_equal(csr.n_alt_names, 2);
	assert_string_equal(csr.alt_name[1], "10.0.0.1");
	assert_true(csr.has_not_after && csr.not_after == NOW + DAY && !csr.has_not_before);
	assert_int_equal(judge(&r, 2, &boot, &e), 0);
	assert_memory_equal(boot.app_id, a.identity.app_id, BY_APP_ID_LEN);
	assert_memory_equal(boot.compose_hash, a.identity.compose_hash, ID_HASH_LEN);
	assert_true(boot.has_instance_id && !boot.has_device_id);
	assert_string_equal(boot.tee_variant, "bailey-simulated");
	assert_string_equal(boot.tcb_status, "Simulated");
	free(r.bytes);
}

static void refused(const struct attempt *a, const char *reason)
{
	struct request r = request_of(a);
	struct kms_boot boot;
	struct err e = ERR_INIT;

	assert_int_equal(judge(&r, 2, &boot, &e), -EBADMSG);
	assert_string_equal(id_reason_name(e.reason), reason);
	free(r.bytes);
}

static void evidence_of_another_is_refused(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *other = id_p256_new();
	struct attempt a = { .identity = world_request() };
	struct id_sim_root strange;
	struct err e = ERR_INIT;

	(void)state;
	a.bound = other;
	refused(&a, "QUOTE_BINDING"); /* somebody else's evidence, replayed under our key */
	a.bound = NULL;
	a.lies_about_data = true;
	refused(&a, "QUOTE_BINDING");
	a.lies_about_data = false;
	assert_int_equal(id_sim_root_new(NOW, &strange, &e), 0);
	a.root = &strange;
	refused(&a, "QUOTE_CHAIN");
	id_sim_root_fini(&strange);
}

static void simulated_evidence_needs_leave(void **state)
{
	struct attempt a = { .identity = world_request() };

	(void)state;
	world_trust.allow_simulated = false;
	refused(&a, "QUOTE_SIMULATED");
	world_trust.allow_simulated = true;
}

/* A platform that was good is judged by collateral of today, or not at all. */
static void expired_evidence_is_refused(void **state)
{
	static const struct {
		int64_t now;
		const char *reason;
	} times[] = { { NOW, "NONE" },
		      { NOW + 19 * DAY, "NONE" },
		      { NOW + 21 * DAY, "CRL_OUT_OF_WINDOW" },
		      { NOW + 29 * DAY, "COLLATERAL_JSON_OUT_OF_WINDOW" },
		      { NOW - 31 * DAY, "COLLATERAL_JSON_OUT_OF_WINDOW" } };
	struct intel_made intel = { 0 };
	struct attempt a = { .identity = world_request(), .intel = &intel };
	struct request r = request_of(&a);

	(void)state;
	world_trust.collaterals = intel.set;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		struct kms_boot boot = { 0 };
		struct err e = ERR_INIT;

		world_trust.now = times[i].now;
		judge(&r, 2, &boot, &e);
		assert_string_equal(id_reason_name(e.reason), times[i].reason);
		assert_string_equal(boot.tcb_status, e.code ? "" : "UpToDate");
	}
	world_trust.now = NOW;
	world_trust.collaterals = NULL;
	intel_fini(&intel);
	free(r.bytes);
}

static void an_expired_certificate_is_refused(void **state)
{
	struct forge f = { .req = world_request() };
	size_t len;
	auto_free uint8_t *der = forge_cert(&f, &len);
	struct kms_boot boot;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kms_verify_cert(der, len, &world_trust, &boot, &e), 0);
	world_trust.now = f.req.not_after + 1;
	assert_int_equal(kms_verify_cert(der, len, &world_trust, &boot, &e), -EBADMSG);
	assert_reason(e, CERT_VALIDITY);
	world_trust.now = NOW;
}

/* The app-id is in the log, the log in RTMR3, RTMR3 in the quote: another one can not be written over it. */
static void another_app_s_id_is_refused(void **state)
{
	struct attempt a = { .identity = world_request() };
	struct request r = request_of(&a);
	unsigned found = 0;

	(void)state;
	for (size_t i = 0; i + BY_APP_ID_LEN <= r.len; i++) {
		struct kms_boot boot;
		struct err e = ERR_INIT;

		if (memcmp(r.bytes + i, a.identity.app_id, BY_APP_ID_LEN) != 0)
			continue;
		found++;
		r.bytes[i] ^= 1;
		assert_true(id_ecdsa_sign(key, r.sig, &r.sig_len, r.bytes, r.len)); /* by whoever asks */
		assert_int_equal(judge(&r, 2, &boot, &e), -EBADMSG);
		assert_reason(e, EVENTLOG_REPLAY);
		r.bytes[i] ^= 1;
	}
	assert_true(found >= 2); /* platform's list and runtime's */
	free(r.bytes);
}

static void every_cut_and_bit_is_refused(void **state)
{
	struct attempt a = { .identity = world_request() };
	struct request r = request_of(&a);
	size_t len = r.len;
	struct kms_boot boot;

	(void)state;
	for (r.len = 0; r.len < len; r.len++) {
		struct err e = ERR_INIT;

		assert_int_equal(judge(&r, 2, &boot, &e), -EBADMSG);
	}
	for (size_t i = 0; i < len; i += 7) {
		struct err e = ERR_INIT;

		r.bytes[i] ^= (uint8_t)(1 << (i % 8));
		assert_int_equal(judge(&r, 2, &boot, &e), -EBADMSG);
		assert_true(e.reason == ID_CSR_SIGNATURE || e.reason == ID_CSR_MALFORMED);
		r.bytes[i] ^= (uint8_t)(1 << (i % 8));
	}
	free(r.bytes);
}

static void a_request_signed_by_another_key_is_refused(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *other = id_p256_new();
	struct attempt a = { .identity = world_request() };
	struct request r = request_of(&a);
	struct kms_boot boot;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(id_ecdsa_sign(other, r.sig, &r.sig_len, r.bytes, r.len));
	assert_int_equal(judge(&r, 2, &boot, &e), -EBADMSG);
	assert_reason(e, CSR_SIGNATURE);
	free(r.bytes);
}

/* Bytes behind a container that ends by itself. */
static void trailing_bytes_are_refused(void **state)
{
	struct attempt a = { .identity = world_request() };
	struct request r = request_of(&a);
	struct kms_boot boot;
	struct err e = ERR_INIT;

	(void)state;
	r.bytes = realloc(r.bytes, r.len + 1);
	r.bytes[r.len++] = 0;
	assert_true(id_ecdsa_sign(key, r.sig, &r.sig_len, r.bytes, r.len));
	assert_int_equal(judge(&r, 2, &boot, &e), -EBADMSG);
	assert_reason(e, ATTESTATION_MALFORMED);
	free(r.bytes);
}

static int start(void **state)
{
	key = id_p256_new();
	return key && intel_start(state) == 0 ? world_new(state) : -1;
}

static int end(void **state)
{
	EVP_PKEY_free(key);
	return world_free(state) || intel_stop(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dstack_s_vector_is_read),
		cmocka_unit_test(a_request_is_what_was_asked_for),
		cmocka_unit_test(evidence_of_another_is_refused),
		cmocka_unit_test(simulated_evidence_needs_leave),
		cmocka_unit_test(expired_evidence_is_refused),
		cmocka_unit_test(an_expired_certificate_is_refused),
		cmocka_unit_test(another_app_s_id_is_refused),
		cmocka_unit_test(every_cut_and_bit_is_refused),
		cmocka_unit_test(a_request_signed_by_another_key_is_refused),
		cmocka_unit_test(trailing_bytes_are_refused),
	};

	return cmocka_run_group_tests_name("kms: requests", tests, start, end);
}
