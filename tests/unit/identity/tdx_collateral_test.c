// SPDX-License-Identifier: Apache-2.0
/*
 * Attacks on collateral, under an Intel of our own (tests/lib/intel.h); numbers as in tdx_quote_test.c:
 *   22 revocation            25 dates of the documents     28 signed bytes
 *   23 CRLs                  26 another platform or kind   29 strict JSON
 *   24 dates of certificates 27 swapped documents          30 rollback, 31 levels
 */
#include <errno.h>
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

static void comes_out(const struct intel_opts *o, const char *words)
{
	struct id_verdict v;
	const char *got = intel_judge(o, NULL, &v);

	if (strcmp(got, words) != 0)
		fail_msg("'%s', needed '%s': %s", got, words, v.n_findings ? v.finding[0].text : "");
}

static void edit(struct intel_edit *list, const char *find, const char *put)
{
	while (list->find)
		list++;
	*list = (struct intel_edit){ find, put };
}

static void tcb_edit(const char *find, const char *put, const char *words)
{
	struct intel_opts o = intel_opts();

	edit(o.tcb, find, put);
	comes_out(&o, words);
}

static void qe_edit(const char *find, const char *put, const char *words)
{
	struct intel_opts o = intel_opts();

	edit(o.qe, find, put);
	comes_out(&o, words);
}

static void bundle_edit(const char *find, const char *put, const char *words)
{
	struct intel_opts o = intel_opts();

	edit(o.bundle, find, put);
	comes_out(&o, words);
}

/* 22 */
static void revoked_certificates_are_refused(void **state)
{
	struct intel_opts leaf = intel_opts(), ca = intel_opts(), signer = intel_opts();

	(void)state;
	leaf.pck.is_revoked = true;
	comes_out(&leaf, "cert-revoked");
	ca.ca.is_revoked = true;
	comes_out(&ca, "cert-revoked");
	signer.signer.is_revoked = true;
	comes_out(&signer, "cert-revoked");
}

/* 23 */
static void crls_are_needed_and_genuine(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	bundle_edit("\"root_ca_crl\"", "\"other\"", "crl-invalid");
	bundle_edit("\"pck_crl\"", "\"other\"", "crl-invalid");
	o.crl_by = BY_ROOT;
	comes_out(&o, "crl-invalid");
	o.crl_by = BY_STRANGER;
	comes_out(&o, "crl-invalid");
	o.crl_by = BY_ROOT; /* named right, signed right, but it is the root's list, not the intermediate's */
	o.has_crl_name_of_root = true;
	comes_out(&o, "crl-invalid");
	o = intel_opts();
	o.root_crl_by = BY_CA;
	comes_out(&o, "crl-invalid");
	o.root_crl_by = BY_STRANGER;
	comes_out(&o, "crl-invalid");
	o = intel_opts();
	o.ca.usage = "critical,keyCertSign";
	comes_out(&o, "crl-invalid");
}

static void swapped_crls_are_refused(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	edit(o.bundle, "\"root_ca_crl\":", "\"x\":");
	edit(o.bundle, "\"pck_crl\":", "\"root_ca_crl\":");
	edit(o.bundle, "\"x\":", "\"pck_crl\":");
	comes_out(&o, "crl-invalid");
}

static void crl_dates(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	o.crl_from = INTEL_NOW + 1;
	comes_out(&o, "crl-out-of-window");
	o.crl_from = INTEL_NOW;
	comes_out(&o, "");
	o.crl_to = INTEL_NOW;
	comes_out(&o, "");
	o.crl_from = INTEL_NOW - 10;
	o.crl_to = INTEL_NOW - 1;
	comes_out(&o, "crl-out-of-window");
	o = intel_opts();
	o.root_crl_from = INTEL_NOW + 1;
	comes_out(&o, "crl-out-of-window");
	o.root_crl_from = INTEL_NOW - 10;
	o.root_crl_to = INTEL_NOW - 1;
	comes_out(&o, "crl-out-of-window");
}

/* 24, both ends, each certificate */
static void certificate_dates(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct intel_opts o = intel_opts();
		struct intel_cert *const certs[] = { &o.pck, &o.ca, &o.root, &o.signer };
		/* the root's dates count for what it signed as well */
		const char *words = i == 3 ? "collateral-chain" : i == 2 ? "collateral-chain,pck-chain" : "pck-chain";

		certs[i]->not_before = INTEL_NOW + 1;
		comes_out(&o, words);
		certs[i]->not_before = INTEL_NOW;
		comes_out(&o, "");
		certs[i]->not_before = INTEL_NOW - 10;
		certs[i]->not_after = INTEL_NOW - 1;
		comes_out(&o, words);
		certs[i]->not_after = INTEL_NOW;
		comes_out(&o, "");
	}
}

/* 25: the same bundle, later and earlier */
static void documents_have_their_time(void **state)
{
	struct id_verdict v;

	(void)state;
	assert_string_equal(
		intel_judge_bytes(good.quote, good.quote_len, good.set, INTEL_NOW - 2 * INTEL_DAY - 1, NULL, &v),
		"collateral-json-out-of-window,crl-out-of-window");
	assert_string_equal(
		intel_judge_bytes(good.quote, good.quote_len, good.set, INTEL_NOW + 28 * INTEL_DAY + 1, NULL, &v),
		"collateral-json-out-of-window,crl-out-of-window");
	tcb_edit("\"nextUpdate\":\"2026-10", "\"nextUpdate\":\"2026-08", "collateral-json-out-of-window");
	qe_edit("\"nextUpdate\":\"2026-10", "\"nextUpdate\":\"2026-08", "collateral-json-out-of-window");
	tcb_edit("\"issueDate\":\"2026", "\"issueDate\":\"2027", "collateral-json-out-of-window");
	qe_edit("\"issueDate\":\"2026", "\"issueDate\":\"2027", "collateral-json-out-of-window");
	assert_string_equal(intel_judge_bytes(good.quote, good.quote_len, good.set, INTEL_NOW, NULL, &v), "");
}

/* 26 */
static void another_platform_or_kind(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	tcb_edit("00906ED50000", "00906ED50001", "fmspc-mismatch");
	tcb_edit("00906ED50000", "00906ed50000", "");
	tcb_edit("\"pceId\":\"0000\"", "\"pceId\":\"0001\"", "pce-id-mismatch");
	tcb_edit("\"tcbType\":0", "\"tcbType\":1", "collateral-kind");
	tcb_edit("\"version\":3", "\"version\":2", "collateral-kind");
	tcb_edit("\"version\":3", "\"version\":4", "collateral-kind");
	tcb_edit("\"id\":\"TDX\"", "\"id\":\"SGX\"", "collateral-kind");
	qe_edit("\"version\":2", "\"version\":3", "collateral-kind");
	qe_edit("TD_QE", "QE", "collateral-kind");
	o.platform.fmspc[5] = 1;
	comes_out(&o, "fmspc-mismatch");
}

/* 27, 28: only the exact bytes of the right document by the right signer */
static void signed_bytes_are_exact(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	o.json_by = BY_STRANGER;
	comes_out(&o, "collateral-signature");
	o.json_by = BY_PCK; /* a PCK leaf is no TCB signer */
	comes_out(&o, "collateral-signature");
	o = intel_opts();
	o.signer_by = BY_CA;
	comes_out(&o, "collateral-chain");
	o.signer_by = BY_STRANGER;
	comes_out(&o, "collateral-chain");
	o = intel_opts();
	o.signer.cn = "Intel SGX PCK Certificate";
	comes_out(&o, "collateral-chain");
	o = intel_opts();
	o.signer.basic = "critical,CA:TRUE";
	comes_out(&o, "collateral-chain");
	bundle_edit("{\\\"id\\\":\\\"TDX\\\"", "{ \\\"id\\\":\\\"TDX\\\"", "collateral-signature");
	bundle_edit("\\\"tcbType\\\":0", "\\\"tcbType\\\":1", "collateral-signature");
	bundle_edit("\\\"pceId\\\":\\\"0000\\\",\\\"tcbType\\\":0", "\\\"tcbType\\\":0,\\\"pceId\\\":\\\"0000\\\"",
		    "collateral-signature");
	bundle_edit("\\\"isvprodid\\\":2", "\\\"isvprodid\\\":1", "collateral-signature");
	/* an escape that stands for the same character is the same signed text */
	bundle_edit("{\\\"id\\\":\\\"TDX\\\"", "{\\u0022id\\\":\\\"TDX\\\"", "");
	bundle_edit("\"tcb_info_signature\":\"", "\"tcb_info_signature\":\"0", "collateral-signature");
	bundle_edit("\"tcb_info_signature\":\"", "\"tcb_info_signature\":\"00", "collateral-signature");
	bundle_edit("\"qe_identity_signature\":\"", "\"qe_identity_signature\":\"g", "collateral-signature");
}

static void swapped_documents_are_refused(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	edit(o.bundle, "\"tcb_info\":", "\"x\":");
	edit(o.bundle, "\"qe_identity\":", "\"tcb_info\":");
	edit(o.bundle, "\"x\":", "\"qe_identity\":");
	comes_out(&o, "collateral-signature");
	edit(o.bundle, "\"tcb_info_signature\":", "\"y\":");
	edit(o.bundle, "\"qe_identity_signature\":", "\"tcb_info_signature\":");
	edit(o.bundle, "\"y\":", "\"qe_identity_signature\":");
	comes_out(&o, "collateral-kind"); /* each with its own signature */
}

/* 29: signed nonsense is still nonsense */
static void json_is_read_strictly(void **state)
{
	static const struct intel_edit tcb[] = {
		{ "\"fmspc\":\"00906ED50000\"", "\"fmspc\":\"00906ED50000\",\"fmspc\":\"00906ED50000\"" },
		{ "\"tcbStatus\":\"UpToDate\"", "\"tcbStatus\":\"UpToDate\",\"tcbStatus\":\"UpToDate\"" },
		{ "{\"id\"", "{\"\\u0069d\":\"TDX\",\"id\"" }, /* a name with an escape */
		{ "\"svn\":5}", "\"svn\":256}" },
		{ "\"svn\":5}", "\"svn\":-1}" },
		{ "\"svn\":5}", "\"svn\":5.0}" },
		{ "\"svn\":5}", "\"svn\":5e0}" },
		{ "\"svn\":5}", "\"svn\":05}" },
		{ "\"svn\":5}", "\"svn\":\"5\"}" },
		{ "\"svn\":5}", "\"svn\":null}" },
		{ "\"svn\":5}", "\"svn\":18446744073709551621}" },
		{ "\"sgxtcbcomponents\":[{\"svn\":5},", "\"sgxtcbcomponents\":[" },
		{ "\"sgxtcbcomponents\":[", "\"sgxtcbcomponents\":[{\"svn\":5}," },
		{ "\"tdxtcbcomponents\":[{\"svn\":255},", "\"tdxtcbcomponents\":[" },
		{ "\"pcesvn\":13", "\"pcesvn\":65536" },
		{ "\"isvsvn\":5", "\"isvsvn\":65536" },
		{ "\"tcbEvaluationDataNumber\":17", "\"tcbEvaluationDataNumber\":4294967296" },
		{ "00906ED50000", "00906ED5000" },
		{ "00906ED50000", "00906ED500000" },
		{ "00906ED50000", "00906ED5000G" },
		{ "\"pceId\":\"0000\"", "\"pceId\":\"00\"" },
		{ "\"mrsigner\":\"00", "\"mrsigner\":\"0000" },
		{ "INTEL-SA-00003", "INTEL-SA\\u0000" },
		{ "INTEL-SA-00003", "INTEL,SA" },
		{ "INTEL-SA-00003", "INTEL-SA-\xff" },
		{ "INTEL-SA-00003", "INTEL-SA-\xc0\x80" },
		{ "INTEL-SA-00003", "INTEL-SA-\xed\xa0\x80" },
		{ "INTEL-SA-00003", "INTEL-SA-\\ud800" },
		{ "INTEL-SA-00003", "INTEL-SA-0000000000000000000000000000000000" },
		{ "\"issueDate\":\"2026-09", "\"issueDate\":\"2026-9" },
		{ "\"issueDate\":\"2026-09", "\"issueDate\":\"2026-13" },
		{ "T00:00:00Z\",\"tcbStatus\"", "T24:00:00Z\",\"tcbStatus\"" },
		{ "\"tcbDate\":\"2026-03-01T00:00:00Z\"", "\"tcbDate\":\"2026-02-30T00:00:00Z\"" },
		{ "\"tcbDate\":\"2026-03-01T00:00:00Z\"", "\"tcbDate\":\"2026-03-01T00:00:00+00:00\"" },
		{ "\"id\":\"TDX_01\"", "\"id\":\"TDX_1\"" },
		{ "\"id\":\"TDX_01\"", "\"id\":\"TDX_+1\"" },
		{ "\"id\":\"TDX_01\"", "\"id\":\"TDX_00\"" },
		{ "\"id\":\"TDX\",", "" },
		{ "\"tcbType\":0", "\"x\":[[[[[[[[[[[]]]]]]]]]]],\"tcbType\":0" },
		{ "{\"id\"", "{}{\"id\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tcb); i++) {
		const char *words = strcmp(tcb[i].put, "") == 0 ? "collateral-kind" : "collateral-malformed";

		tcb_edit(tcb[i].find, tcb[i].put, words);
	}
	qe_edit("\"miscselect\":\"00", "\"miscselect\":\"", "collateral-malformed");
	qe_edit("\"isvprodid\":2", "\"isvprodid\":65536", "collateral-malformed");
	qe_edit("\"isvprodid\":2", "\"isvprodid\":2,\"isvprodid\":2", "collateral-malformed");
	/* Intel adds members now and then */
	tcb_edit("\"tcbType\":0", "\"tcbType\":0,\"new\":{\"a\":[1,true,null,\"\\u00e4\xc3\xa4\"]}", "");
	tcb_edit("TDX_01", "TDX_0a", "module-mismatch,tcb-NotSupported");
	bundle_edit("{", "{}{", "collateral-malformed");
	bundle_edit("{", "{\"tcb_info\":\"\",", "collateral-malformed");
	bundle_edit("\"tcb_info\"", "\"tcb_inf\"", "collateral-malformed");
	bundle_edit("\"pck_crl_issuer_chain\":\"\"", "\"pck_crl_issuer_chain\":\"\",\"pck_certificate_chain\":\"\"",
		    "");
}

static void load_refused(const char *text, size_t len, const char *name)
{
	struct id_collateral *c = NULL;
	struct id_root root;
	struct err e = ERR_INIT;

	assert_int_equal(id_root_load(id_intel_root, id_intel_root_len, &root, &e), 0);
	assert_int_equal(id_collateral_load(text, len, &root, &c, &e), -EBADMSG);
	assert_string_equal(id_reason_name(e.reason), name);
	assert_null(c);
	id_root_fini(&root);
}

static void nonsense_is_bounded(void **state)
{
	auto_free char *deep = malloc(10000), *big = malloc(ID_BUNDLE_MAX + 1), *number = malloc(ID_BUNDLE_MAX);

	(void)state;
	memset(deep, '[', 10000);
	load_refused(deep, 10000, "COLLATERAL_MALFORMED");
	memset(big, ' ', ID_BUNDLE_MAX + 1);
	load_refused(big, ID_BUNDLE_MAX + 1, "COLLATERAL_MALFORMED");
	memset(number, '1', ID_BUNDLE_MAX);
	load_refused(number, ID_BUNDLE_MAX, "COLLATERAL_MALFORMED");
	load_refused("", 0, "COLLATERAL_MALFORMED");
	for (size_t cut = 0, n = strlen(good.bundle); cut < n; cut += 1 + cut / 64) {
		auto_free char *part = malloc(cut + 1);

		memcpy(part, good.bundle, cut);
		load_refused(part, cut, "COLLATERAL_MALFORMED");
	}
}

/* In hex members, and only there, a digit of the other case is the same number. */
static bool is_in_hex(const struct id_js *js, size_t at)
{
	static const char *const hex[] = { "root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature" };

	for (size_t i = 0; i < ARRAY_LEN(hex); i++) {
		int v = id_js_get(js, 0, hex[i]);

		assert_true(v >= 0);
		if (at > js->node[v].start && at + 1 < js->node[v].end)
			return true;
	}
	return false;
}

static bool flip_is_accepted(size_t at, int bit)
{
	auto_free char *text = strdup(good.bundle);
	struct id_collaterals *set = NULL;
	struct err e = ERR_INIT;
	struct id_verdict v;
	bool ok;

	text[at] ^= (char)(1 << bit);
	assert_int_equal(id_collaterals_new(good.root, good.root_len, &set, &e), 0);
	/* the PCK CRL is held against the intermediate that a quote brings */
	ok = id_collaterals_add(set, text, strlen(good.bundle), &e) == 0 &&
	     !intel_judge_bytes(good.quote, good.quote_len, set, INTEL_NOW, NULL, &v)[0];
	id_collaterals_free(set);
	return ok;
}

/* Any flip of a bit, everywhere but in the first member, which is not used. */
static void random_flips_are_never_accepted(void **state)
{
	const char *env = getenv("BAILEY_FLIPS");
	long flips = env ? atol(env) : 3000, same = 0;
	size_t len = strlen(good.bundle), skip = strlen("{\"pck_crl_issuer_chain\":\"\",");
	unsigned seed = 20261121;
	struct id_js js;

	(void)state;
	assert_true(id_js_scan(good.bundle, len, &js));
	for (long i = 0; i < flips;) {
		size_t at = skip + (size_t)rand_r(&seed) % (len - skip);
		int bit = rand_r(&seed) % 8;

		if (bit == 5 && strchr("abcdefABCDEF", good.bundle[at]) && is_in_hex(&js, at)) {
			same++;
			continue;
		}
		i++;
		if (flip_is_accepted(at, bit))
			fail_msg("flip %ld: bit %d of byte %zu ('%.20s')", i, bit, at, good.bundle + at);
	}
	id_js_fini(&js);
	print_message("# %ld flips, none accepted; %ld more would have been the same hex digit\n", flips, same);
}

/* 30: a newer set stays the one that is used; policy has a minimum */
static void older_collateral_does_not_win(void **state)
{
	auto_call(intel_fini) struct intel_made m = { 0 };
	auto_call(intel_fini) struct intel_made old = { 0 };
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;
	struct err e = ERR_INIT;
	struct id_verdict v;

	(void)state;
	intel_make(&o, &m);
	edit(o.tcb, "\"tcbEvaluationDataNumber\":17", "\"tcbEvaluationDataNumber\":16");
	o.platform_status = "Revoked";
	intel_make(&o, &old);
	assert_int_equal(id_collaterals_add(m.set, old.bundle, strlen(old.bundle), &e), 0);
	assert_int_equal(id_collaterals_count(m.set), 2);
	assert_string_equal(intel_judge_bytes(m.quote, m.quote_len, m.set, INTEL_NOW, NULL, &v), "");
	id_evidence_policy_strict(&policy);
	policy.min_evaluation = 17;
	assert_string_equal(intel_judge_bytes(m.quote, m.quote_len, m.set, INTEL_NOW, &policy, &v), "");
	policy.min_evaluation = 18;
	assert_string_equal(intel_judge_bytes(m.quote, m.quote_len, m.set, INTEL_NOW, &policy, &v),
			    "collateral-rollback");
	policy.min_evaluation = 0;
	policy.min_tcb_date = v.tcb_date + 1;
	assert_string_equal(intel_judge_bytes(m.quote, m.quote_len, m.set, INTEL_NOW, &policy, &v),
			    "collateral-rollback");
	o = intel_opts();
	edit(o.qe, "\"tcbEvaluationDataNumber\":17", "\"tcbEvaluationDataNumber\":16");
	policy.min_tcb_date = 0;
	policy.min_evaluation = 17;
	assert_string_equal(intel_judge(&o, &policy, &v), "collateral-rollback");
}

static void a_remembered_chain_follows_its_collateral(void **state)
{
	auto_call(intel_fini) struct intel_made m = { 0 };
	auto_call(intel_fini) struct intel_made revoking = { 0 };
	struct intel_opts o = intel_opts();
	struct err e = ERR_INIT;
	struct id_verdict v;

	(void)state;
	intel_make(&o, &m);
	assert_string_equal(intel_judge_bytes(m.quote, m.quote_len, m.set, INTEL_NOW, NULL, &v), "");
	o.pck.is_revoked = true;
	edit(o.tcb, "\"tcbEvaluationDataNumber\":17", "\"tcbEvaluationDataNumber\":18");
	intel_make(&o, &revoking);
	assert_int_equal(id_collaterals_add(m.set, revoking.bundle, strlen(revoking.bundle), &e), 0);
	assert_string_equal(intel_judge_bytes(m.quote, m.quote_len, m.set, INTEL_NOW, NULL, &v), "cert-revoked");
	/* remembered again, and its dates are judged each time */
	assert_string_equal(intel_judge_bytes(m.quote, m.quote_len, m.set, INTEL_NOW + 2000 * INTEL_DAY, NULL, &v),
			    "cert-revoked");
}

/* 31 */
static void levels_are_sorted_and_distinct(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	tcb_edit("\"tcbLevels\":[{\"tcb\":{\"sgx", "\"tcbLevels\":[],\"x\":[{\"tcb\":{\"sgx", "collateral-malformed");
	tcb_edit("\"tcbLevels\":[{\"tcb\":{\"isvsvn\":5", "\"tcbLevels\":[],\"x\":[{\"tcb\":{\"isvsvn\":5",
		 "collateral-malformed");
	tcb_edit("{\"tcb\":{\"isvsvn\":2", "{\"tcb\":{\"isvsvn\":5", "collateral-malformed");
	tcb_edit("\"tcbStatus\":\"OutOfDate\"", "\"tcbStatus\":\"Splendid\"", "collateral-malformed");
	tcb_edit("\"tcbStatus\":\"UpToDate\"", "\"tcbStatus\":\"Splendid\"", "collateral-malformed");
	tcb_edit("\"tcbStatus\":\"UpToDate\"", "\"tcbStatus\":\"NotSupported\"", "collateral-malformed");
	tcb_edit("\"tcbStatus\":\"UpToDate\"", "\"tcbStatus\":\"uptodate\"", "collateral-malformed");
	/* the lower level first in the document: the higher one still wins */
	edit(o.tcb, "\"isvsvn\":5", "\"isvsvn\":1");
	edit(o.tcb, "\"tcbStatus\":\"UpToDate\"", "\"tcbStatus\":\"Revoked\"");
	edit(o.tcb, "\"isvsvn\":2", "\"isvsvn\":5");
	edit(o.tcb, "\"tcbStatus\":\"OutOfDate\"", "\"tcbStatus\":\"UpToDate\"");
	comes_out(&o, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(revoked_certificates_are_refused),
		cmocka_unit_test(crls_are_needed_and_genuine),
		cmocka_unit_test(swapped_crls_are_refused),
		cmocka_unit_test(crl_dates),
		cmocka_unit_test(certificate_dates),
		cmocka_unit_test(documents_have_their_time),
		cmocka_unit_test(another_platform_or_kind),
		cmocka_unit_test(signed_bytes_are_exact),
		cmocka_unit_test(swapped_documents_are_refused),
		cmocka_unit_test(json_is_read_strictly),
		cmocka_unit_test(nonsense_is_bounded),
		cmocka_unit_test(random_flips_are_never_accepted),
		cmocka_unit_test(older_collateral_does_not_win),
		cmocka_unit_test(a_remembered_chain_follows_its_collateral),
		cmocka_unit_test(levels_are_sorted_and_distinct),
	};

	return cmocka_run_group_tests_name("identity/tdx_collateral", tests, start, stop);
}
