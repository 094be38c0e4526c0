// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "world.h"

/* Offsets in a version 4 quote (Intel TDX DCAP Quoting Library API, A.3); QE auth data is 32 bytes. */
enum {
	VENDOR = 12,
	MR_SIGNER_SEAM = 112,
	SEAM_ATTRIBUTES = 160,
	TD_ATTRIBUTES = 168,
	XFAM = 176,
	SIG_LEN = 632,
	SIGNATURE = 636,
	ATT_KEY = 700,
	OUTER_TYPE = 764,
	OUTER_LEN = 766,
	QE_REPORT = 770,
	QE_SIGNATURE = 1154,
	AUTH_LEN = 1218,
	AUTH = 1220,
	INNER_TYPE = 1252,
	INNER_LEN = 1254,
	PEM = 1258,
};

static uint8_t *quote_new(void (*body_edit)(uint8_t *), size_t *len)
{
	uint8_t body[ID_QUOTE_SIGNED_LEN], rtmr3[ID_MR_LEN] = { 3 }, report_data[ID_REPORT_DATA_LEN] = { 4 };
	struct err e = ERR_INIT;
	uint8_t *quote;

	assert_true(id_sim_quote_body(body, rtmr3, report_data));
	if (body_edit)
		body_edit(body);
	assert_int_equal(id_sim_quote_sign(&world_root, body, &quote, len, &e), 0);
	return quote;
}

static int judge(const struct id_quote *quote, const struct id_trust *trust, struct err *e)
{
	struct id_verdict verdict;
	int ret;

	id_quote_judge(quote, trust, &verdict, NULL);
	ret = id_verdict_err(&verdict, "quote", e);
	assert_int_equal(ret == 0, verdict.is_accepted);
	assert_int_equal(ret == 0, verdict.n_findings == 0);
	assert_int_not_equal(verdict.tee, ID_TEE_TDX);
	assert_true(ret || verdict.tee == ID_TEE_SIM);
	return ret;
}

static int check(const uint8_t *bytes, size_t len, struct err *e)
{
	struct id_quote quote;
	int ret = id_quote_parse(bytes, len, &quote, e);

	return ret ? ret : judge(&quote, &world_trust, e);
}

static void reads_every_field(void **state)
{
	size_t len;
	auto_free uint8_t *bytes = quote_new(NULL, &len);
	struct id_quote q;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(id_quote_parse(bytes, len, &q, &e), 0);
	assert_true(id_quote_is_simulated(&q));
	assert_memory_equal(q.qe_vendor, "BAILEY-SIMULATED", 16);
	assert_string_equal((char *)q.mr_seam, "BAILEY-SIMULATED-MRSEAM");
	assert_string_equal((char *)q.mrtd, "BAILEY-SIMULATED-MRTD");
	assert_string_equal((char *)q.rtmr[1], "BAILEY-SIMULATED-RTMR1");
	assert_int_equal(q.rtmr[3][0], 3);
	assert_int_equal(q.report_data[0], 4);
	assert_int_equal(q.td_attributes, ID_TD_SEPT_VE_DISABLE);
	assert_int_equal(q.xfam, 3);
	assert_int_equal(q.auth_len, 32);
	assert_ptr_equal(q.signature, bytes + SIGNATURE);
	assert_ptr_equal(q.att_key, bytes + ATT_KEY);
	assert_ptr_equal(q.qe_report, bytes + QE_REPORT);
	assert_ptr_equal((const uint8_t *)q.pck_pem, bytes + PEM);
	assert_int_equal(check(bytes, len, &e), 0);
}

static void refuses_every_truncation(void **state)
{
	size_t len;
	auto_free uint8_t *bytes = quote_new(NULL, &len);

	(void)state;
	for (size_t cut = 0; cut < len; cut++) {
		auto_free uint8_t *part = malloc(cut + 1);
		struct err e = ERR_INIT;

		memcpy(part, bytes, cut);
		assert_int_equal(check(part, cut, &e), -EBADMSG);
		assert_reason(e, QUOTE_MALFORMED);
	}
}

static void zeros_may_follow_and_nothing_else(void **state)
{
	size_t len;
	auto_free uint8_t *bytes = quote_new(NULL, &len);
	auto_free uint8_t *padded = calloc(1, len + 70);
	struct err e = ERR_INIT;

	(void)state;
	memcpy(padded, bytes, len);
	assert_int_equal(check(padded, len + 70, &e), 0);
	padded[len + 69] = 1;
	assert_int_equal(check(padded, len + 70, &e), -EBADMSG);
	assert_reason(e, NONZERO_TRAILING_BYTES);
}

static void refuses_sizes_that_disagree(void **state)
{
	static const uint32_t values[] = { 0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
	static const size_t fields[] = { SIG_LEN, OUTER_LEN, INNER_LEN };
	size_t len;
	auto_free uint8_t *bytes = quote_new(NULL, &len);

	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
		uint8_t kept[4];

		memcpy(kept, bytes + fields[f], 4);
		for (size_t i = 0; i < ARRAY_LEN(values) + 2; i++) {
			struct err e = ERR_INIT;
			uint32_t old, v;

			memcpy(&old, kept, 4); /* little-endian hosts only build Bailey */
			v = i < ARRAY_LEN(values) ? values[i] : i == ARRAY_LEN(values) ? old - 1 : old + 1;
			memcpy(bytes + fields[f], &v, 4);
			assert_int_equal(check(bytes, len, &e), -EBADMSG);
			assert_reason(e, QUOTE_MALFORMED);
		}
		memcpy(bytes + fields[f], kept, 4);
	}
	for (unsigned v = 0; v <= 0xffff; v += v < 64 ? 1 : 257) {
		struct err e = ERR_INIT;

		if (v == 32)
			continue;
		bytes[AUTH_LEN] = (uint8_t)v;
		bytes[AUTH_LEN + 1] = (uint8_t)(v >> 8);
		assert_true(check(bytes, len, &e) < 0);
	}
}

static void refuses_other_kinds_of_quote(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *reason; /* NULL: QUOTE_UNSUPPORTED */
	} c[] = {
		{ 0, 0, NULL },
		{ 0, 1, NULL },
		{ 0, 2, NULL },
		{ 0, 3, NULL },
		{ 0, 5, "QUOTE_MALFORMED" }, /* a body descriptor should follow */
		{ 0, 6, NULL },
		{ 1, 1, NULL },
		{ 1, 0xff, NULL },
		{ 2, 0, NULL },
		{ 2, 1, NULL },
		{ 2, 3, NULL },
		{ 4, 0, "NOT_TDX" },
		{ 4, 0x80, "NOT_TDX" },
		{ 4, 0x82, "NOT_TDX" },
		{ 7, 1, "NOT_TDX" },
		{ OUTER_TYPE, 1, NULL },
		{ OUTER_TYPE, 5, NULL },
		{ OUTER_TYPE, 7, NULL },
		{ INNER_TYPE, 1, NULL },
		{ INNER_TYPE, 2, NULL },
		{ INNER_TYPE, 3, NULL },
		{ INNER_TYPE, 4, NULL },
		{ INNER_TYPE, 6, NULL },
		{ INNER_TYPE, 7, NULL },
		{ VENDOR, 'b', NULL },
	};
	size_t len;
	auto_free uint8_t *bytes = quote_new(NULL, &len);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		struct err e = ERR_INIT;
		uint8_t kept = bytes[c[i].at];

		bytes[c[i].at] = c[i].value;
		assert_int_equal(check(bytes, len, &e), -EBADMSG);
		assert_string_equal(id_reason_name(e.reason), c[i].reason ? c[i].reason : "QUOTE_UNSUPPORTED");
		bytes[c[i].at] = kept;
	}
}

/* Each byte that a signature covers, under the name of the check that must see it. */
static void refuses_every_changed_byte(void **state)
{
	static const struct {
		size_t from, to;
		enum id_reason reason;
	} c[] = {
		{ 28, SIG_LEN, ID_QUOTE_SIGNATURE }, /* from the user data on: what stands before is form */
		{ SIGNATURE, ATT_KEY, ID_QUOTE_SIGNATURE }, { ATT_KEY, OUTER_TYPE, ID_QUOTE_QE },
		{ QE_REPORT, QE_SIGNATURE, ID_QUOTE_QE },   { QE_SIGNATURE, AUTH_LEN, ID_QUOTE_QE },
		{ AUTH, INNER_TYPE, ID_QUOTE_QE },
	};
	size_t len;
	auto_free uint8_t *bytes = quote_new(NULL, &len);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		for (size_t at = c[i].from; at < c[i].to; at++) {
			struct err e = ERR_INIT;

			bytes[at] ^= (uint8_t)(1 << at % 8);
			assert_int_equal(check(bytes, len, &e), -EBADMSG);
			assert_int_equal(e.reason, c[i].reason);
			bytes[at] ^= (uint8_t)(1 << at % 8);
		}
	}
}

static void signature_of_another_quote_does_not_fit(void **state)
{
	size_t len, other_len;
	auto_free uint8_t *bytes = quote_new(NULL, &len);
	auto_free uint8_t *other = quote_new(NULL, &other_len);
	struct err e = ERR_INIT;

	(void)state;
	/* an attestation key of the attacker's own under a genuine QE report */
	memcpy(bytes + SIGNATURE, other + SIGNATURE, OUTER_TYPE - SIGNATURE);
	assert_int_equal(check(bytes, len, &e), -EBADMSG);
	assert_reason(e, QUOTE_QE);
}

/* --- attributes: each edit is signed again, so that nothing else can refuse it --- */

static uint64_t edit_value;
static size_t edit_at;

static void edit_u64(uint8_t *body)
{
	memcpy(body + edit_at, &edit_value, sizeof(edit_value));
}

/* `reason` NULL: accepted */
static void attributes_case(size_t at, uint64_t value, const char *reason)
{
	struct err e = ERR_INIT;
	auto_free uint8_t *bytes = NULL;
	size_t len;

	edit_at = at;
	edit_value = value;
	bytes = quote_new(edit_u64, &len);
	assert_int_equal(check(bytes, len, &e), reason ? -EBADMSG : 0);
	assert_string_equal(id_reason_name(e.reason), reason ? reason : "NONE");
}

static void only_production_tds_pass(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t value = ID_TD_SEPT_VE_DISABLE ^ UINT64_C(1) << bit;
		bool good = bit == 27 || bit == 30 || bit == 31 || bit == 63;

		attributes_case(TD_ATTRIBUTES, value,
				good        ? NULL
				: bit == 0  ? "TD_DEBUG"
				: bit == 28 ? "SEPT_VE_DISABLE_CLEAR"
				: bit == 29 ? "SERVICE_TD"
					    : "QUOTE_ATTRIBUTES");
	}
	attributes_case(XFAM, 0x6dbe7, NULL);
	attributes_case(XFAM, 0x1, "QUOTE_ATTRIBUTES");
	attributes_case(XFAM, UINT64_C(1) << 63 | 3, "QUOTE_ATTRIBUTES");
	attributes_case(SEAM_ATTRIBUTES, 1, "MODULE_MISMATCH");
	attributes_case(MR_SIGNER_SEAM, 1, "MODULE_MISMATCH");
}

/* --- PCK chain --- */

static int check_chain(const char *leaf, const char *ca, const char *root, int64_t now, struct err *e)
{
	struct id_sim_root mixed = world_root;
	struct id_trust trust = world_trust;
	uint8_t body[ID_QUOTE_SIGNED_LEN], zero[64] = { 0 };
	auto_free uint8_t *bytes = NULL;
	struct id_quote quote;
	size_t len;

	mixed.pck_cert = (char *)(uintptr_t)leaf;
	mixed.intermediate_cert = (char *)(uintptr_t)ca;
	mixed.root_cert = (char *)(uintptr_t)root;
	trust.now = now;
	assert_true(id_sim_quote_body(body, zero, zero));
	assert_int_equal(id_sim_quote_sign(&mixed, body, &bytes, &len, e), 0);
	assert_int_equal(id_quote_parse(bytes, len, &quote, e), 0);
	return judge(&quote, &trust, e);
}

static void chain_must_lead_to_the_pinned_root(void **state)
{
	struct id_sim_root w = world_root, foreign;
	struct err none = ERR_INIT;

	(void)state;
	assert_int_equal(id_sim_root_new(NOW, &foreign, &none), 0);
	const struct {
		const char *leaf, *ca, *root;
		int64_t now;
	} bad[] = {
		{ foreign.pck_cert, foreign.intermediate_cert, foreign.root_cert, NOW }, /* same names, other keys */
		{ w.pck_cert, w.intermediate_cert, foreign.root_cert, NOW },
		{ foreign.pck_cert, w.intermediate_cert, w.root_cert, NOW },
		{ foreign.pck_cert, foreign.intermediate_cert, w.root_cert, NOW },
		{ w.root_cert, w.intermediate_cert, w.pck_cert, NOW }, /* reversed */
		{ w.pck_cert, w.pck_cert, w.root_cert, NOW },
		{ w.pck_cert, w.intermediate_cert, "", NOW },
		{ w.pck_cert, "", "", NOW },
		{ "", "", "", NOW },
		{ w.pck_cert, w.intermediate_cert, w.root_key, NOW },
		{ w.pck_cert, w.intermediate_cert, w.root_cert, NOW - 2 * DAY },    /* not yet valid */
		{ w.pck_cert, w.intermediate_cert, w.root_cert, NOW + 4000 * DAY }, /* expired */
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(check_chain(bad[i].leaf, bad[i].ca, bad[i].root, bad[i].now, &e), -EBADMSG);
		assert_reason(e, QUOTE_CHAIN);
	}
	assert_int_equal(check_chain(w.pck_cert, w.intermediate_cert, w.root_cert, NOW + 3000 * DAY, &none), 0);
	id_sim_root_fini(&foreign);
}

static void several_roots_may_be_trusted(void **state)
{
	struct id_trust trust = world_trust;
	struct id_sim_root other;
	struct err e = ERR_INIT;
	auto_free char *both = NULL;
	auto_free uint8_t *bytes = NULL;
	struct id_quote quote;
	size_t len;

	(void)state;
	assert_int_equal(id_sim_root_new(NOW, &other, &e), 0);
	both = malloc(strlen(other.root_cert) + strlen(world_root.root_cert) + 1);
	sprintf(both, "%s%s", other.root_cert, world_root.root_cert);
	id_sim_root_fini(&other);
	bytes = quote_new(NULL, &len);
	trust.simulated_roots = both;
	trust.simulated_roots_len = strlen(both);
	assert_int_equal(id_quote_parse(bytes, len, &quote, &e), 0);
	assert_int_equal(judge(&quote, &trust, &e), 0);
	both[40] = '!';
	assert_int_equal(judge(&quote, &trust, &e), -EBADMSG);
	assert_reason(e, QUOTE_CHAIN);
}

static void real_quotes_are_not_taken_without_collateral(void **state)
{
	static const struct {
		const char *file, *reason;
	} c[] = {
		{ "quotes/q01-v4-b0c06f.bin", NULL },       { "quotes/q02-v4-20a06f.bin", NULL },
		{ "quotes/q07-v4-00806f05-gcp.bin", NULL }, { "quotes/q09-v4-90c06f-dstack.bin", NULL },
		{ "quotes/q13-v4-00a06d08.bin", NULL },     { "quotes/q12-v4-50806f-trailing.bin", NULL },
		{ "quotes/q03-v5-90c06f.bin", NULL },       { "quotes/q14-v3-sgx-00a06711.bin", "NOT_TDX" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		size_t len = 0;
		auto_free char *bytes = shared_file(c[i].file, &len);
		struct err e = ERR_INIT;
		struct id_quote quote;
		int ret = id_quote_parse((uint8_t *)bytes, len, &quote, &e);

		if (c[i].reason) {
			assert_int_equal(ret, -EBADMSG);
			assert_string_equal(id_reason_name(e.reason), c[i].reason);
			continue;
		}
		assert_int_equal(ret, 0);
		assert_int_equal(judge(&quote, &world_trust, &e), -EBADMSG);
		assert_reason(e, COLLATERAL_MISSING);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_field),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(zeros_may_follow_and_nothing_else),
		cmocka_unit_test(refuses_sizes_that_disagree),
		cmocka_unit_test(refuses_other_kinds_of_quote),
		cmocka_unit_test(refuses_every_changed_byte),
		cmocka_unit_test(signature_of_another_quote_does_not_fit),
		cmocka_unit_test(only_production_tds_pass),
		cmocka_unit_test(chain_must_lead_to_the_pinned_root),
		cmocka_unit_test(several_roots_may_be_trusted),
		cmocka_unit_test(real_quotes_are_not_taken_without_collateral),
	};

	return cmocka_run_group_tests_name("identity/quote_tdx", tests, world_new, world_free);
}
