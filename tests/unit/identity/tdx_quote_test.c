// SPDX-License-Identifier: Apache-2.0
/*
 * Attacks on quotes, under an Intel of our own (tests/lib/intel.h). Numbers at the tests are those of one list of
 * attacks on TDX verifiers, which is covered from here to tdx_tcb_test.c: 1 truncation, 2 version, 3 key and TEE type,
 * 4 vendor, 5 body descriptor, 6 length of the signature data 7 sizes within it, 8 certification data types, 10
 * trailing bytes, 12 each signed byte, 13 each byte of the keys 14 r and s, 15 keys off the curve, 16 spliced quotes,
 * 17 second half of the QE's report data 18 attestation key of the attacker, 19 another quoting enclave 9, 11, 20, 21:
 * tdx_chain_test.c; 22 to 31: tdx_collateral_test.c; 30, 33 to 38: tdx_tcb_test.c real files where there are any (25,
 * 26, 32, 35): cases_test.c; the certificate around a quote (39 on): cert_test.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../lib/intel.h"
#include "base/cleanup.h"

static struct intel_made good, good5;

static const char *judge(const struct intel_made *made, const uint8_t *bytes, size_t len)
{
	struct id_verdict v;

	return intel_judge_bytes(bytes, len, made->set, INTEL_NOW, NULL, &v);
}

static int start(void **state)
{
	struct intel_opts o = intel_opts();

	if (intel_start(state) < 0)
		return -1;
	intel_make(&o, &good);
	o.version = 5;
	o.body = ID_TD_REPORT_15;
	intel_make(&o, &good5);
	return 0;
}

static int stop(void **state)
{
	intel_fini(&good);
	intel_fini(&good5);
	return intel_stop(state);
}

static uint8_t *copy_of(const struct intel_made *m)
{
	uint8_t *copy = malloc(m->quote_len);

	assert_non_null(copy);
	memcpy(copy, m->quote, m->quote_len);
	return copy;
}

static void good_ones_are_accepted(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_verdict v;

	(void)state;
	assert_string_equal(judge(&good, good.quote, good.quote_len), "");
	assert_string_equal(judge(&good5, good5.quote, good5.quote_len), "");
	o.version = 5; /* version 5 with a TD report 1.0 */
	assert_string_equal(intel_judge(&o, NULL, &v), "");
	assert_int_equal(v.tee, ID_TEE_TDX);
	assert_int_equal(v.tcb_status, ID_TCB_UP_TO_DATE);
	assert_int_equal(v.evaluation, 17);
	assert_int_equal(v.n_advisories, 3);
	assert_string_equal(v.advisory[0], "INTEL-SA-00001");
	assert_int_equal(v.tcb_date, 1767225600); /* 2026-01-01, the platform's: earlier than module and QE */
	assert_int_equal(v.collateral_until, INTEL_NOW + 20 * INTEL_DAY);
}

/* 1 */
static void every_truncation_is_malformed(void **state)
{
	const struct intel_made *const all[] = { &good, &good5 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		for (size_t cut = 0; cut < all[i]->quote_len; cut++) {
			auto_free uint8_t *part = malloc(cut + 1);

			memcpy(part, all[i]->quote, cut);
			assert_string_equal(judge(all[i], part, cut), "quote-malformed");
		}
}

struct poke {
	size_t at;
	uint32_t value;
	unsigned len;
	const char *word;
};

static void poke_all(const struct intel_made *made, const struct poke *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		auto_free uint8_t *bytes = copy_of(made);
		const char *word;

		memcpy(bytes + c[i].at, &c[i].value, c[i].len); /* little-endian hosts only build Bailey */
		word = judge(made, bytes, made->quote_len);
		if (strcmp(word, c[i].word) != 0)
			fail_msg("%zu: 0x%x at %zu: %s, needed %s", i, c[i].value, c[i].at, word, c[i].word);
	}
}

/* 2, 3, 4, 8 */
static void other_kinds_are_refused_by_name(void **state)
{
	static const struct poke c[] = {
		{ 0, 0, 2, "quote-unsupported" },
		{ 0, 1, 2, "quote-unsupported" },
		{ 0, 2, 2, "quote-unsupported" },
		{ 0, 3, 2, "quote-unsupported" },
		{ 0, 6, 2, "quote-unsupported" },
		{ 0, 0xffff, 2, "quote-unsupported" },
		{ 2, 0, 2, "quote-unsupported" },
		{ 2, 1, 2, "quote-unsupported" },
		{ 2, 3, 2, "quote-unsupported" },
		{ 4, 0, 4, "not-tdx" },
		{ 4, 0x80, 4, "not-tdx" },
		{ 4, 0x82, 4, "not-tdx" },
		{ AT_VENDOR, 0x92, 1, "quote-unsupported" },
		{ AT_OUTER_TYPE, 1, 2, "quote-unsupported" },
		{ AT_OUTER_TYPE, 5, 2, "quote-unsupported" },
		{ AT_OUTER_TYPE, 7, 2, "quote-unsupported" },
		{ AT_INNER_TYPE, 1, 2, "quote-unsupported" },
		{ AT_INNER_TYPE, 2, 2, "quote-unsupported" },
		{ AT_INNER_TYPE, 3, 2, "quote-unsupported" },
		{ AT_INNER_TYPE, 4, 2, "quote-unsupported" },
		{ AT_INNER_TYPE, 6, 2, "quote-unsupported" },
		{ AT_INNER_TYPE, 7, 2, "quote-unsupported" },
	};

	(void)state;
	poke_all(&good, c, ARRAY_LEN(c));
}

/* 5 */
static void version_5_bodies_are_exact(void **state)
{
	static const struct poke c[] = {
		{ 48, 0, 2, "quote-malformed" },          { 48, 1, 2, "quote-malformed" },
		{ 48, 2, 2, "quote-malformed" },          { 48, 4, 2, "quote-malformed" },
		{ 48, 5, 2, "quote-malformed" },          { 48, 0xffff, 2, "quote-malformed" },
		{ 50, 0, 4, "quote-malformed" },          { 50, 647, 4, "quote-malformed" },
		{ 50, 649, 4, "quote-malformed" },        { 50, 584, 4, "quote-malformed" },
		{ 50, 0xffffffff, 4, "quote-malformed" },
	};
	auto_free uint8_t *bytes = calloc(1, 2000);

	(void)state;
	poke_all(&good5, c, ARRAY_LEN(c));
	/* TD report 1.5 extended: known by name, not taken */
	memcpy(bytes, good5.quote, good5.quote_len < 2000 ? good5.quote_len : 2000);
	memcpy(bytes + 48, (const uint8_t[]){ 4, 0, 0x75, 0x03, 0, 0 }, 6);
	assert_string_equal(judge(&good5, bytes, 2000), "quote-unsupported");
}

/* 6, 7 */
static void sizes_must_agree(void **state)
{
	static const size_t fields[] = { AT_SIG_LEN, AT_OUTER_LEN, AT_INNER_LEN };
	uint32_t values[] = { 0, 1, 0, 0, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };

	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
		memcpy(&values[2], good.quote + fields[f], 4);
		values[3] = values[2] + 1;
		values[2]--;
		for (size_t i = 0; i < ARRAY_LEN(values); i++) {
			const struct poke c = { fields[f], values[i], 4, "quote-malformed" };

			poke_all(&good, &c, 1);
		}
	}
	for (uint32_t v = 0; v <= 0xffff; v += v < 64 ? 1 : 4093) {
		auto_free uint8_t *bytes = copy_of(&good);

		memcpy(bytes + AT_AUTH_LEN, &v, 2);
		if (v != 32)
			assert_string_not_equal(judge(&good, bytes, good.quote_len), "");
	}
}

/* 10 */
static void only_zeros_follow(void **state)
{
	size_t len = good.quote_len;
	auto_free uint8_t *bytes = calloc(1, 1 << 20);

	(void)state;
	memcpy(bytes, good.quote, len);
	assert_string_equal(judge(&good, bytes, len + 1), "");
	assert_string_equal(judge(&good, bytes, 8000), "");
	assert_string_equal(judge(&good, bytes, ID_QUOTE_MAX), "");
	assert_string_equal(judge(&good, bytes, ID_QUOTE_MAX + 1), "quote-malformed");
	assert_string_equal(judge(&good, bytes, 1 << 20), "quote-malformed");
	bytes[len + 40] = 1;
	assert_string_equal(judge(&good, bytes, len + 41), "nonzero-trailing-bytes");
}

/* 12, 13: nothing between the first byte and the last of the QE's part may change */
static void every_changed_byte_is_seen(void **state)
{
	static const struct {
		size_t from, to;
		const char *word; /* NULL: form, several */
	} c[] = {
		{ 0, 28, NULL },
		{ 28, AT_SIG_LEN, "quote-signature" },
		{ AT_SIG_LEN, AT_SIGNATURE, "quote-malformed" },
		{ AT_SIGNATURE, AT_ATT_KEY, "quote-signature" },
		{ AT_ATT_KEY, AT_OUTER_TYPE, "quote-qe" },
		{ AT_QE_REPORT, AT_QE_SIGNATURE, "quote-qe" },
		{ AT_QE_SIGNATURE, AT_AUTH_LEN, "quote-qe" },
		{ AT_AUTH_LEN, AT_AUTH, NULL },
		{ AT_AUTH, AT_INNER_TYPE, "quote-qe" },
		{ AT_INNER_TYPE, AT_PEM, NULL },
	};
	auto_free uint8_t *bytes = copy_of(&good);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++)
		for (size_t at = c[i].from; at < c[i].to; at++) {
			uint8_t kept = bytes[at];
			const char *word;

			bytes[at] ^= (uint8_t)(1 << at % 8);
			word = judge(&good, bytes, good.quote_len);
			if (c[i].word ? strcmp(word, c[i].word) != 0 : !word[0])
				fail_msg("byte %zu: '%s'", at, word);
			bytes[at] = kept;
		}
}

/* Anywhere in the quote, its certificates too. BAILEY_FLIPS=100000 for the long run. */
static void random_flips_are_never_accepted(void **state)
{
	const char *env = getenv("BAILEY_FLIPS");
	long flips = env ? atol(env) : 3000;
	const struct intel_made *const all[] = { &good, &good5 };
	unsigned seed = 20261121;

	(void)state;
	for (long i = 0; i < flips; i++) {
		const struct intel_made *m = all[i & 1];
		size_t at = (size_t)rand_r(&seed) % m->quote_len;
		auto_free uint8_t *bytes = copy_of(m);

		bytes[at] ^= (uint8_t)(1 << rand_r(&seed) % 8);
		if (!judge(m, bytes, m->quote_len)[0])
			fail_msg("flip %ld: byte %zu of %zu is not looked at", i, at, m->quote_len);
	}
	print_message("# %ld flips, none accepted\n", flips);
}

/* --- 14: r and s --- */

static const uint8_t order[32] = { 0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0,    0xff, 0xff, 0xff,
				   0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
				   0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };

/* n - s, by hand: the order minus a number below it */
static void negate(uint8_t s[32])
{
	int borrow = 0;

	for (int i = 31; i >= 0; i--) {
		int d = order[i] - s[i] - borrow;

		borrow = d < 0;
		s[i] = (uint8_t)(d + (borrow ? 256 : 0));
	}
}

static void r_and_s_lie_below_the_order(void **state)
{
	static const size_t at[] = { AT_SIGNATURE, AT_SIGNATURE + 32, AT_QE_SIGNATURE, AT_QE_SIGNATURE + 32 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		auto_free uint8_t *bytes = copy_of(&good);
		const char *word = at[i] < AT_ATT_KEY ? "quote-signature" : "quote-qe";

		memset(bytes + at[i], 0, 32);
		assert_string_equal(judge(&good, bytes, good.quote_len), word);
		memcpy(bytes + at[i], order, 32);
		assert_string_equal(judge(&good, bytes, good.quote_len), word);
		memset(bytes + at[i], 0xff, 32);
		assert_string_equal(judge(&good, bytes, good.quote_len), word);
	}
	/* s and n - s are both signatures: a quote's bytes are no identity of it */
	auto_free uint8_t *bytes = copy_of(&good);

	negate(bytes + AT_SIGNATURE + 32);
	assert_string_equal(judge(&good, bytes, good.quote_len), "");
}

/* --- 15, 17, 18: what the QE report binds --- */

static void bind_key(uint8_t *report, void *arg)
{
	const uint8_t *raw = arg;
	uint8_t auth[32];

	for (uint8_t i = 0; i < sizeof(auth); i++)
		auth[i] = i;
	assert_true(id_hash(EVP_sha256(), report + 320, raw, 64, auth, sizeof(auth)));
}

static void keys_off_the_curve_are_refused(void **state)
{
	static const uint8_t prime[32] = { 0xff, 0xff, 0xff, 0xff, 0,    0,    0,    1,    0,    0,    0,
					   0,    0,    0,    0,    0,    0,    0,    0,    0,    0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t keys[4][64] = { { 0 }, { 0 }, { 0 }, { 0 } };

	(void)state;
	memcpy(keys[0], good.quote + AT_ATT_KEY, 64);
	keys[0][63] ^= 1;
	memcpy(keys[2], prime, 32);
	memset(keys[3], 0xff, 64);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		auto_call(intel_fini) struct intel_made m = { 0 };
		struct intel_opts o = intel_opts();

		o.edit_qe = bind_key;
		o.arg = keys[i];
		intel_make(&o, &m);
		memcpy(m.quote + AT_ATT_KEY, keys[i], 64);
		assert_string_equal(judge(&m, m.quote, m.quote_len), "quote-signature");
	}
}

static void second_half(uint8_t *report, void *arg)
{
	(void)arg;
	report[320 + 63] = 1;
}

static void second_half_of_report_data_is_zero(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_verdict v;

	(void)state;
	o.edit_qe = second_half;
	assert_string_equal(intel_judge(&o, NULL, &v), "quote-qe");
}

static void an_attackers_key_is_not_bound(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	auto_free uint8_t *bytes = copy_of(&good);

	(void)state;
	bytes[AT_MRTD] ^= 1;
	assert_true(id_p256_to_raw(key, bytes + AT_ATT_KEY));
	assert_true(id_ecdsa_sign_raw(key, bytes + AT_SIGNATURE, bytes, AT_SIG_LEN));
	assert_string_equal(judge(&good, bytes, good.quote_len), "quote-qe");
}

/* 16 */
static void change_mrtd(uint8_t *bytes, void *arg)
{
	(void)arg;
	bytes[AT_MRTD] ^= 1;
}

static void parts_of_two_quotes_do_not_fit(void **state)
{
	auto_call(intel_fini) struct intel_made other = { 0 };
	auto_free uint8_t *bytes = copy_of(&good);
	struct intel_opts o = intel_opts();

	(void)state;
	o.edit_body = change_mrtd;
	intel_make(&o, &other);
	memcpy(bytes, other.quote, AT_SIG_LEN);
	assert_string_equal(judge(&good, bytes, good.quote_len), "quote-signature");
}

/* 19 */
static void qe_edit(uint8_t *report, void *arg)
{
	const size_t *at = arg;

	report[at[0]] ^= (uint8_t)at[1];
}

static void another_enclave_is_no_quoting_enclave(void **state)
{
	static size_t c[][2] = { { 128, 1 },   { 159, 0x80 }, { 256, 3 }, { 257, 1 },  { 48, 2 },
				 { 48, 0x10 }, { 55, 0x80 },  { 16, 1 },  { 19, 0x80 } };
	struct intel_opts o = intel_opts();
	struct id_verdict v;

	(void)state;
	o.edit_qe = qe_edit;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		o.arg = c[i];
		assert_string_equal(intel_judge(&o, NULL, &v), "qe-identity");
	}
	/* the mask leaves this bit alone, and the last 8 bytes of the attributes */
	o.arg = (size_t[]){ 48, 4 };
	assert_string_equal(intel_judge(&o, NULL, &v), "");
	o.arg = (size_t[]){ 56, 1 };
	assert_string_equal(intel_judge(&o, NULL, &v), "");
	/* QE in debug mode, when the identity's mask would let it be */
	o.arg = (size_t[]){ 48, 2 };
	o.qe[0] = (struct intel_edit){ "FBFFFFFFFFFFFFFF", "F9FFFFFFFFFFFFFF" };
	assert_string_equal(intel_judge(&o, NULL, &v), "qe-identity");
}

static void qe_report_of_another_signer(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_verdict v;

	(void)state;
	o.qe_report_by = BY_STRANGER;
	assert_string_equal(intel_judge(&o, NULL, &v), "quote-qe");
	o.qe_report_by = BY_CA;
	assert_string_equal(intel_judge(&o, NULL, &v), "quote-qe");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones_are_accepted),
		cmocka_unit_test(every_truncation_is_malformed),
		cmocka_unit_test(other_kinds_are_refused_by_name),
		cmocka_unit_test(version_5_bodies_are_exact),
		cmocka_unit_test(sizes_must_agree),
		cmocka_unit_test(only_zeros_follow),
		cmocka_unit_test(every_changed_byte_is_seen),
		cmocka_unit_test(random_flips_are_never_accepted),
		cmocka_unit_test(r_and_s_lie_below_the_order),
		cmocka_unit_test(keys_off_the_curve_are_refused),
		cmocka_unit_test(second_half_of_report_data_is_zero),
		cmocka_unit_test(an_attackers_key_is_not_bound),
		cmocka_unit_test(parts_of_two_quotes_do_not_fit),
		cmocka_unit_test(another_enclave_is_no_quoting_enclave),
		cmocka_unit_test(qe_report_of_another_signer),
	};

	return cmocka_run_group_tests_name("identity/tdx_quote", tests, start, stop);
}
