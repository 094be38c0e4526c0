// SPDX-License-Identifier: Apache-2.0
/*
 * Real quotes with real collateral at a given time, and what must come out: verdict, TCB status, every reason, every
 * advisory (cases.tsv of the shared evidence collection; skipped where there is none).
 */
#include <stdio.h>

#include "identity/collateral.h"
#include "identity/quote_tdx.h"
#include "world.h"

enum column { CASE, QUOTE, COLLATERAL, UNIX, TIME, STATUS, VERDICT, REASONS, ADVISORIES, WHAT, COLUMNS };

#define LIST_MAX 1024

static void list_add(char *list, const char *word)
{
	size_t len = strlen(list);

	snprintf(list + len, LIST_MAX - len, "%s%s", len ? "," : "", word);
}

struct got {
	struct id_verdict v;
	struct id_pck pck;
	char reasons[LIST_MAX], advisories[LIST_MAX];
};

static void lists_fill(struct got *got)
{
	char word[64];

	for (unsigned i = 0; i < got->v.n_findings; i++)
		list_add(got->reasons, id_verdict_word(&got->v, &got->v.finding[i], word));
	for (unsigned i = 0; i < got->v.n_advisories; i++)
		list_add(got->advisories, got->v.advisory[i]);
	if (!got->reasons[0])
		list_add(got->reasons, "-");
	if (!got->advisories[0])
		list_add(got->advisories, "-");
}

static struct got judge(const char *quote_file, const char *collateral_file, int64_t now, int times)
{
	struct id_trust trust = { .now = now };
	struct err e = ERR_INIT;
	size_t len, bundle_len;
	auto_free char *bytes = shared_file(quote_file, &len), *bundle = shared_file(collateral_file, &bundle_len);
	struct got got = { 0 };
	struct id_quote quote;

	if (id_quote_parse((uint8_t *)bytes, len, &quote, &e) < 0) {
		id_verdict_add(&got.v, (enum id_reason)e.reason, "%s", e.msg);
		lists_fill(&got);
		return got;
	}
	assert_int_equal(id_collaterals_new(NULL, 0, &trust.collaterals, &e), 0);
	assert_int_equal(id_collaterals_add(trust.collaterals, bundle, bundle_len, &e), 0);
	while (times--) /* the second time, the chain is remembered: the same must come out */
		id_quote_judge(&quote, &trust, &got.v, &got.pck);
	id_collaterals_free(trust.collaterals);
	lists_fill(&got);
	return got;
}

static void case_check(char **col, int times)
{
	struct got got = judge(col[QUOTE], col[COLLATERAL], strtoll(col[UNIX], NULL, 10), times);

	if (strcmp(got.v.is_accepted ? "accept" : "reject", col[VERDICT]) != 0 ||
	    strcmp(id_tcb_status_name(got.v.tcb_status), col[STATUS]) != 0 || strcmp(got.reasons, col[REASONS]) != 0 ||
	    strcmp(got.advisories, col[ADVISORIES]) != 0)
		fail_msg("%s (%s): %s %s %s %s", col[CASE], col[WHAT], got.v.is_accepted ? "accept" : "reject",
			 id_tcb_status_name(got.v.tcb_status), got.reasons, got.advisories);
}

static void each_case(void (*check)(char **col, int times), int times, unsigned want)
{
	size_t len;
	auto_free char *text = shared_file("cases.tsv", &len);
	unsigned n = 0;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *col[COLUMNS] = { NULL }, *at = line;

		for (int i = 0; i < COLUMNS; i++)
			col[i] = strsep(&at, "\t");
		assert_non_null(col[WHAT]);
		if (strcmp(col[CASE], "case") == 0)
			continue;
		check(col, times);
		n++;
	}
	assert_int_equal(n, want);
}

static void every_case_comes_out_as_it_must(void **state)
{
	(void)state;
	each_case(case_check, 1, 23);
}

static void a_remembered_chain_changes_nothing(void **state)
{
	(void)state;
	each_case(case_check, 2, 23);
}

static void claims_are_those_of_the_platform(void **state)
{
	struct got got = judge("quotes/q01-v4-b0c06f.bin", "collateral/c-b0c06f-2025-06.json", 1751328000, 1);
	static const uint8_t fmspc[] = { 0xb0, 0xc0, 0x6f, 0, 0, 0 };

	(void)state;
	assert_true(got.v.is_accepted && got.v.tee == ID_TEE_TDX);
	assert_memory_equal(got.pck.fmspc, fmspc, sizeof(fmspc));
	assert_true(got.pck.has_instance);
	assert_int_equal(got.v.evaluation, 17);
	assert_int_equal(got.v.collateral_until, 1752919235); /* nextUpdate of the PCK CRL, 2025-07-19T10:00:35Z */
}

static EVP_PKEY *signer_key(void)
{
	size_t len, pem_len;
	auto_free char *bundle = shared_file("collateral/c-b0c06f-2025-06.json", &len), *pem = NULL;
	auto_free uint8_t *der = malloc(2 * ID_PKI_CERT_MAX);
	struct id_pki_cert cert;
	struct in part[2];
	struct id_js js;

	assert_true(id_js_scan(bundle, len, &js));
	pem = id_js_string(&js, id_js_get(&js, 0, "tcb_info_issuer_chain"), &pem_len);
	id_js_fini(&js);
	assert_int_equal(id_pki_pem(pem, pem_len, der, 2 * ID_PKI_CERT_MAX, part, 2), 2);
	assert_null(id_pki_cert_parse(part[0], &cert));
	return id_p256_from_raw(cert.key_raw);
}

/* Bodies as Intel's service sends them: the signature is over the very bytes of the inner object. */
static void bodies_of_the_service_are_signed_as_they_stand(void **state)
{
	static const struct {
		const char *file, *member;
	} c[] = {
		{ "pcs-raw/tdx-qe-identity-2023-06.body.json", "enclaveIdentity" },
		{ "pcs-raw/tdx-qe-identity-2025-10.body.json", "enclaveIdentity" },
		{ "pcs-raw/tdx-tcb-00806f05-2025-10.body.json", "tcbInfo" },
		{ "pcs-raw/tdx-tcb-50806f-2023-06.body.json", "tcbInfo" },
		{ "pcs-raw/tdx-tcb-90c06f-2026-02.body.json", "tcbInfo" },
		{ "pcs-raw/tdx-tcbevaluationdatanumbers-2025-10.body.json", "tcbEvaluationDataNumbers" },
	};
	auto_call(cleanup_pkey) EVP_PKEY *key = signer_key();
	uint8_t signature[64];
	struct in signed_bytes;
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		auto_free char *body = shared_file(c[i].file, &len);

		assert_true(id_signed_body(body, len, c[i].member, &signed_bytes, signature));
		assert_true(id_ecdsa_verify_raw(key, signature, signed_bytes.p, signed_bytes.left));
		assert_false(id_ecdsa_verify_raw(key, signature, signed_bytes.p, signed_bytes.left - 1));
		assert_false(id_signed_body(body, len, "signature", &signed_bytes, signature));
		assert_false(id_signed_body(body, len - 2, c[i].member, &signed_bytes, signature));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_case_comes_out_as_it_must),
		cmocka_unit_test(a_remembered_chain_changes_nothing),
		cmocka_unit_test(claims_are_those_of_the_platform),
		cmocka_unit_test(bodies_of_the_service_are_signed_as_they_stand),
	};

	return cmocka_run_group_tests_name("identity/cases", tests, NULL, NULL);
}
