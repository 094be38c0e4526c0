// SPDX-License-Identifier: Apache-2.0
/*
 * Attacks on the chain of a platform, under an Intel of our own (tests/lib/intel.h); numbers as in tdx_quote_test.c:
 *    9 PEM chains     11 SGX extension     20 roots     21 shape of the chain
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

static struct intel_made good;

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
	return 0;
}

static int stop(void **state)
{
	intel_fini(&good);
	return intel_stop(state);
}

/* 9 */
static void chains_are_three_certificates(void **state)
{
	const char *leaf = good.pem[0], *ca = good.pem[1], *root = good.pem[2];
	const char *const c[][6] = {
		{ "" },
		{ leaf },
		{ leaf, ca },
		{ leaf, ca, root, root },
		{ leaf, leaf, ca, root },
		{ leaf, leaf, root },
		{ root, ca, leaf },
		{ ca, leaf, root },
		{ leaf, ca, ca },
		{ "x\n", leaf, ca, root },
		{ leaf, "\n", ca, root },
		{ leaf, ca, root, "x" },
		{ leaf, ca, root, "\r\n" },
		{ leaf, ca, "-----BEGIN CERTIFICATE-----\n" },
		{ leaf, ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" },
		{ leaf, ca, "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n" },
		{ leaf, ca, "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n" },
	};
	struct intel_opts o = intel_opts();
	auto_free char *many = calloc(61, strlen(leaf)), *crlf = NULL;
	struct id_verdict v;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		char pem[16384] = "";

		for (size_t part = 0; part < 6 && c[i][part]; part++)
			strcat(pem, c[i][part]);
		o.pem = pem;
		if (strcmp(intel_judge(&o, NULL, &v), "pck-chain") != 0)
			fail_msg("chain %zu is taken", i);
	}
	for (int i = 0; i < 60; i++)
		strcat(many, leaf);
	o.pem = many;
	assert_string_equal(intel_judge(&o, NULL, &v), "pck-chain");
	crlf = calloc(2, 16384);
	for (size_t part = 0, n = 0; part < 3; part++)
		for (const char *p = good.pem[part]; *p; p++) {
			if (*p == '\n')
				crlf[n++] = '\r';
			crlf[n++] = *p;
		}
	o.pem = crlf;
	assert_string_equal(intel_judge(&o, NULL, &v), "pck-chain");
}

/* --- 20, 21: chains --- */

static void only_the_pinned_root_counts(void **state)
{
	auto_call(intel_fini) struct intel_made other = { 0 };
	struct id_collaterals *intels = NULL;
	struct intel_opts o = intel_opts();
	struct err e = ERR_INIT;

	(void)state;
	o.root.not_after++; /* same name, same key, another certificate */
	intel_make(&o, &other);
	assert_string_equal(judge(&good, other.quote, other.quote_len), "pck-chain");
	assert_string_equal(judge(&other, good.quote, good.quote_len), "pck-chain");
	assert_int_equal(id_collaterals_new(NULL, 0, &intels, &e), 0); /* the real one */
	id_collaterals_add(intels, good.bundle, strlen(good.bundle), &e);
	assert_string_equal(id_reason_name(e.reason), "COLLATERAL_CHAIN");
	struct id_verdict v;

	assert_string_equal(intel_judge_bytes(good.quote, good.quote_len, intels, INTEL_NOW, NULL, &v), "pck-chain");
	id_collaterals_free(intels);
}

static void without_collateral_nothing_is_accepted(void **state)
{
	struct id_collaterals *set = NULL;
	struct err e = ERR_INIT;
	struct id_verdict v;

	(void)state;
	assert_string_equal(intel_judge_bytes(good.quote, good.quote_len, NULL, INTEL_NOW, NULL, &v),
			    "collateral-missing");
	assert_int_equal(id_collaterals_new(good.root, good.root_len, &set, &e), 0);
	assert_string_equal(intel_judge_bytes(good.quote, good.quote_len, set, INTEL_NOW, NULL, &v),
			    "collateral-missing");
	assert_int_equal(v.tee, ID_TEE_NONE);
	id_collaterals_free(set);
}

static void chains_have_their_shape(void **state)
{
	struct id_verdict v;
	struct intel_opts c[12];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++)
		c[i] = intel_opts();
	c[n++].pck_by = BY_ROOT;
	c[n++].pck_by = BY_TCB_SIGNER;
	c[n++].pck_by = BY_STRANGER;
	c[n++].pck_by = BY_PCK;
	c[n++].ca.basic = "critical,CA:FALSE";
	c[n++].ca.usage = "critical,digitalSignature";
	c[n++].pck.basic = "critical,CA:TRUE";
	c[n++].pck.usage = "critical,keyAgreement";
	c[n++].pck.cn = "Intel SGX TCB Signing";
	c[n++].ca.cn = "Intel SGX TCB Signing";
	c[n++].ca.cn = "Intel SGX PCK Platform CA 2";
	c[n].root.basic = "critical,CA:TRUE,pathlen:0";
	for (size_t i = 0; i <= n; i++)
		if (strcmp(intel_judge(&c[i], NULL, &v), "pck-chain") != 0)
			fail_msg("chain %zu", i);
	c[0] = intel_opts();
	c[0].ca.cn = "Intel SGX PCK Processor CA";
	assert_string_equal(intel_judge(&c[0], NULL, &v), "");
}

/* The TCB signing certificate between leaf and root: a real certificate of the root, but of another kind. */
static void tcb_signer_issues_no_platforms(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_verdict v;
	struct id_js js;
	char pem[16384];
	size_t len;

	(void)state;
	assert_true(id_js_scan(good.bundle, strlen(good.bundle), &js));
	auto_free char *signer = id_js_string(&js, id_js_get(&js, 0, "tcb_info_issuer_chain"), &len);

	id_js_fini(&js);
	snprintf(pem, sizeof(pem), "%s%s", good.pem[0], signer);
	o.pem = pem;
	o.pck_by = BY_TCB_SIGNER;
	assert_string_equal(intel_judge(&o, NULL, &v), "pck-chain");
}

/* --- 11: the SGX extension --- */

static size_t ext_of(uint8_t ext[1024])
{
	struct id_pki_cert cert;
	uint8_t der[ID_PKI_CERT_MAX];
	struct in part;

	assert_int_equal(id_pki_pem(good.pem[0], strlen(good.pem[0]), der, sizeof(der), &part, 1), 1);
	assert_null(id_pki_cert_parse(part, &cert));
	memcpy(ext, cert.sgx.p, cert.sgx.left);
	return cert.sgx.left;
}

static void extension_is_read_strictly(void **state)
{
	uint8_t ext[1024], bad[2048];
	size_t len = ext_of(ext);
	struct intel_opts o = intel_opts();
	struct id_pck pck;
	struct id_verdict v;

	(void)state;
	assert_null(id_pck_parse(in_of(ext, len), &pck));
	assert_memory_equal(pck.fmspc, o.platform.fmspc, sizeof(pck.fmspc));
	assert_int_equal(pck.pce_svn, 13);
	for (size_t cut = 0; cut < len; cut++)
		assert_non_null(id_pck_parse(in_of(ext, cut), &pck));
	for (size_t at = 0; at < len; at++) /* no change of a tag, a length or an OID goes unseen, or it is a value */
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, ext, len);
			bad[at] ^= (uint8_t)(1 << bit);
			id_pck_parse(in_of(bad, len), &pck);
		}
	o.ext_missing = true;
	assert_string_equal(intel_judge(&o, NULL, &v), "pck-extension");
	o = intel_opts();
	o.ext = (const uint8_t[]){ 0x30, 0x80, 0, 0 };
	o.ext_len = 4;
	assert_string_equal(intel_judge(&o, NULL, &v), "pck-extension");
	o.ext = (const uint8_t[]){ 0x30, 0x84, 0xff, 0xff, 0xff, 0xff };
	o.ext_len = 6;
	assert_string_equal(intel_judge(&o, NULL, &v), "pck-extension");
	for (size_t i = 0; i < 1000; i++) { /* nested 1000 deep: 4 bytes a level, the innermost last */
		size_t inner = 4 * (999 - i);

		if (4 * i + 4 > sizeof(bad))
			break;
		memcpy(bad + 4 * i, (const uint8_t[]){ 0x30, 0x82, (uint8_t)(inner >> 8), (uint8_t)inner }, 4);
	}
	assert_non_null(id_pck_parse(in_of(bad, sizeof(bad)), &pck));
}

/* One value swapped for another, in DER by hand. */
static void extension_members_have_their_sizes(void **state)
{
	uint8_t ext[1024], bad[1100];
	size_t len = ext_of(ext), outer = 4; /* 30 82 hh ll */
	struct id_pck pck;

	(void)state;
	assert_int_equal(ext[1], 0x82);
	/* the first pair (PPID) again at the end: repeated */
	size_t pair = 2u + ext[outer + 1];

	memcpy(bad, ext, len);
	memcpy(bad + len, ext + outer, pair);
	bad[2] = (uint8_t)((len - outer + pair) >> 8);
	bad[3] = (uint8_t)(len - outer + pair);
	assert_non_null(id_pck_parse(in_of(bad, len + pair), &pck));
	/* without it: a member is missing */
	memcpy(bad, ext, outer);
	memcpy(bad + outer, ext + outer + pair, len - outer - pair);
	bad[2] = (uint8_t)((len - outer - pair) >> 8);
	bad[3] = (uint8_t)(len - outer - pair);
	assert_non_null(id_pck_parse(in_of(bad, len - pair), &pck));
	/* each component as a negative number */
	for (size_t at = 0; at + 3 <= len; at++) {
		if (ext[at] != 0x02 || ext[at + 1] != 1 || ext[at + 2] != 5)
			continue;
		memcpy(bad, ext, len);
		bad[at + 2] = 0x85;
		assert_non_null(id_pck_parse(in_of(bad, len), &pck));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_are_three_certificates),          cmocka_unit_test(only_the_pinned_root_counts),
		cmocka_unit_test(without_collateral_nothing_is_accepted), cmocka_unit_test(chains_have_their_shape),
		cmocka_unit_test(tcb_signer_issues_no_platforms),         cmocka_unit_test(extension_is_read_strictly),
		cmocka_unit_test(extension_members_have_their_sizes),
	};

	return cmocka_run_group_tests_name("identity/tdx_chain", tests, start, stop);
}
