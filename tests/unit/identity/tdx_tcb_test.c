// SPDX-License-Identifier: Apache-2.0
/*
 * TCB evaluation and policy, under an Intel of our own (tests/lib/intel.h); numbers as in tdx_quote_test.c:
 *   30 minimum of the policy (see tdx_collateral_test.c)   35 attributes, service TD, module
 *   33 status of platform, module, QE; launch and current  36 accepted statuses
 *   34 each security version number                        37 pinned measurements   38 another TEE
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

static const char *const status[] = { "UpToDate",
				      "SWHardeningNeeded",
				      "ConfigurationNeeded",
				      "ConfigurationAndSWHardeningNeeded",
				      "OutOfDate",
				      "OutOfDateConfigurationNeeded",
				      "Revoked" };
static const char *const part_status[] = { "UpToDate", "OutOfDate", "Revoked" };

/* The rule in other words than the code's: the worst part decides, and what an old part makes of the platform. */
static const char *converged(size_t platform, size_t module, size_t qe)
{
	static const char *const old[] = { "OutOfDate",
					   "OutOfDate",
					   "OutOfDateConfigurationNeeded",
					   "OutOfDateConfigurationNeeded",
					   "OutOfDate",
					   "OutOfDateConfigurationNeeded",
					   "Revoked" };
	size_t worst = module > qe ? module : qe;

	return worst == 2 ? "Revoked" : worst == 1 ? old[platform] : status[platform];
}

static void judge(const struct intel_opts *o, const struct id_evidence_policy *policy, const char *words,
		  const char *tcb_status)
{
	struct id_verdict v;
	const char *got = intel_judge(o, policy, &v);

	if (strcmp(got, words) != 0 || (tcb_status && strcmp(id_tcb_status_name(v.tcb_status), tcb_status) != 0))
		fail_msg("'%s' %s, needed '%s' %s", got, id_tcb_status_name(v.tcb_status), words,
			 tcb_status ? tcb_status : "");
}

static struct id_verdict verdict_of(const struct intel_opts *o, const struct id_evidence_policy *policy)
{
	struct id_verdict v;

	intel_judge(o, policy, &v);
	return v;
}

/* 33 */
static void every_combination_converges(void **state)
{
	(void)state;
	for (size_t p = 0; p < ARRAY_LEN(status); p++)
		for (size_t m = 0; m < ARRAY_LEN(part_status); m++)
			for (size_t q = 0; q < ARRAY_LEN(part_status); q++) {
				struct intel_opts o = intel_opts();
				const char *wanted = converged(p, m, q);
				char words[80] = "";

				o.platform_status = status[p];
				o.module_status = part_status[m];
				o.qe_status = part_status[q];
				if (strcmp(wanted, "UpToDate") != 0)
					snprintf(words, sizeof(words), "tcb-%s", wanted);
				judge(&o, NULL, words, wanted);
			}
}

static void svn_edit(uint8_t *bytes, void *arg)
{
	const uint8_t *at = arg; /* place in TEE_TCB_SVN, value; 0xff ends */

	for (; *at != 0xff; at += 2)
		bytes[(bytes[0] == 5 ? 6 : 0) + AT_TCB_SVN + at[0]] = at[1];
}

static void modules_are_judged_by_their_own_levels(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	o.edit_body = svn_edit;
	o.arg = (uint8_t[]){ 0, 4, 0xff };
	judge(&o, NULL, "tcb-OutOfDate", "OutOfDate");
	o.arg = (uint8_t[]){ 0, 2, 0xff };
	judge(&o, NULL, "tcb-OutOfDate", "OutOfDate");
	o.arg = (uint8_t[]){ 0, 1, 0xff };
	judge(&o, NULL, "tcb-NotSupported", "NotSupported");
	o.arg = (uint8_t[]){ 1, 2, 0xff };
	judge(&o, NULL, "module-mismatch,tcb-NotSupported", "NotSupported");
	/* major version 0: the base entry, and all 16 components count */
	o.arg = (uint8_t[]){ 1, 0, 0xff };
	judge(&o, NULL, "tcb-NotSupported", "NotSupported");
	o.tcb[0] = (struct intel_edit){ "{\"svn\":255},{\"svn\":255}", "{\"svn\":5},{\"svn\":0}" };
	judge(&o, NULL, "", "UpToDate");
	o.tcb[0] = (struct intel_edit){ "{\"svn\":255},{\"svn\":255}", "{\"svn\":6},{\"svn\":0}" };
	judge(&o, NULL, "tcb-NotSupported", "NotSupported");
}

/* 34: equal is enough, one below is not */
static void every_svn_counts(void **state)
{
	(void)state;
	for (uint8_t i = 0; i < 16; i++) {
		struct intel_opts o = intel_opts();

		o.platform.svn[i] = 4;
		judge(&o, NULL, "tcb-OutOfDate", "OutOfDate");
		o.platform.svn[i] = 3;
		judge(&o, NULL, "tcb-NotSupported", "NotSupported");
		o.platform.svn[i] = 255;
		judge(&o, NULL, "", "UpToDate");
	}
	for (uint8_t i = 2; i < 16; i++) {
		struct intel_opts o = intel_opts();

		o.edit_body = svn_edit;
		o.arg = (uint8_t[]){ i, 2, 0xff };
		judge(&o, NULL, "tcb-OutOfDate", "OutOfDate");
		o.arg = (uint8_t[]){ i, 1, 0xff };
		judge(&o, NULL, "tcb-NotSupported", "NotSupported");
	}
	struct intel_opts o = intel_opts();

	o.platform.pce_svn = 12;
	judge(&o, NULL, "tcb-OutOfDate", "OutOfDate");
	o.platform.pce_svn = 11;
	judge(&o, NULL, "tcb-NotSupported", "NotSupported");
	o.platform.pce_svn = 65535;
	judge(&o, NULL, "", "UpToDate");
	/* the raw CPUSVN is not what is compared */
	o = intel_opts();
	memset(o.platform.cpu_svn, 0, sizeof(o.platform.cpu_svn));
	judge(&o, NULL, "", "UpToDate");
}

static void qe_svn(uint8_t *report, void *arg)
{
	memcpy(report + 258, arg, 2);
}

static void the_quoting_enclave_has_a_level(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	o.edit_qe = qe_svn;
	o.arg = (uint8_t[]){ 3, 0 };
	judge(&o, NULL, "tcb-NotSupported", "NotSupported");
	o.arg = (uint8_t[]){ 0, 1 };
	judge(&o, NULL, "", "UpToDate");
}

/* --- version 5, TD report 1.5: at launch, and now --- */

enum { AT_TCB_SVN2 = 638, AT_SERVICE_TD = 654 };

static void svn2_edit(uint8_t *bytes, void *arg)
{
	const uint8_t *two = arg; /* minor at launch, minor now */

	bytes[54] = two[0];
	bytes[AT_TCB_SVN2] = two[1];
}

static struct intel_opts opts_15(uint8_t *minors)
{
	struct intel_opts o = intel_opts();

	o.version = 5;
	o.body = ID_TD_REPORT_15;
	o.edit_body = svn2_edit;
	o.arg = minors;
	return o;
}

static void launch_and_current_are_both_judged(void **state)
{
	struct intel_opts same = opts_15((uint8_t[]){ 5, 5 }), updated = opts_15((uint8_t[]){ 2, 5 }),
			  both_old = opts_15((uint8_t[]){ 2, 2 }), back = opts_15((uint8_t[]){ 5, 2 }),
			  gone = opts_15((uint8_t[]){ 1, 5 }), lost = opts_15((uint8_t[]){ 5, 1 });

	(void)state;
	judge(&same, NULL, "", "UpToDate");
	judge(&updated, NULL, "tcb-TDRelaunchAdvised", "TDRelaunchAdvised");
	judge(&both_old, NULL, "tcb-OutOfDate", "OutOfDate");
	judge(&back, NULL, "tcb-OutOfDate", "OutOfDate"); /* what runs now is the worse */
	judge(&gone, NULL, "tcb-NotSupported", "NotSupported");
	judge(&lost, NULL, "tcb-NotSupported", "NotSupported");
	updated.platform_status = "ConfigurationNeeded";
	judge(&updated, NULL, "tcb-TDRelaunchAdvisedConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded");
	updated.platform_status = "Revoked";
	judge(&updated, NULL, "tcb-Revoked", "Revoked");
}

static void relaunch_table(void **state)
{
	(void)state;
	for (enum id_tcb_status l = ID_TCB_UP_TO_DATE; l <= ID_TCB_REVOKED; l++)
		for (enum id_tcb_status c = ID_TCB_UP_TO_DATE; c <= ID_TCB_REVOKED; c++) {
			bool old_l = l == ID_TCB_OUT_OF_DATE || l == ID_TCB_OUT_OF_DATE_CONFIGURATION;
			bool good_c = c <= ID_TCB_CONFIGURATION_SW;
			bool config = l == ID_TCB_OUT_OF_DATE_CONFIGURATION || c == ID_TCB_CONFIGURATION ||
				      c == ID_TCB_CONFIGURATION_SW;
			enum id_tcb_status wanted = old_l && good_c
							    ? config ? ID_TCB_RELAUNCH_CONFIGURATION : ID_TCB_RELAUNCH
						    : c > l ? c
							    : l;

			assert_int_equal(id_tcb_relaunch(l, c), wanted);
			assert_int_equal(id_tcb_relaunch(l, ID_TCB_NOT_SUPPORTED), ID_TCB_NOT_SUPPORTED);
			assert_int_equal(id_tcb_relaunch(ID_TCB_NOT_SUPPORTED, c), ID_TCB_NOT_SUPPORTED);
		}
}

/* --- 35: what kind of TD --- */

struct u64_edit {
	size_t at;
	uint64_t value;
};

static void edit_u64(uint8_t *bytes, void *arg)
{
	const struct u64_edit *e = arg;

	memcpy(bytes + e->at, &e->value, sizeof(e->value));
}

static void u64_case(size_t at, uint64_t value, const struct id_evidence_policy *policy, const char *words)
{
	struct intel_opts o = intel_opts();
	struct u64_edit e = { at, value };

	o.edit_body = edit_u64;
	o.arg = &e;
	judge(&o, policy, words, NULL);
}

static void every_attribute_bit_has_its_say(void **state)
{
	struct id_evidence_policy wide;

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		bool good = bit == 27 || bit == 30 || bit == 31 || bit == 63;

		u64_case(AT_TD_ATTRIBUTES, ID_TD_SEPT_VE_DISABLE ^ UINT64_C(1) << bit, NULL,
			 good        ? ""
			 : bit == 0  ? "td-debug"
			 : bit == 28 ? "sept-ve-disable-clear"
			 : bit == 29 ? "service-td"
				     : "quote-attributes");
	}
	id_evidence_policy_strict(&wide);
	wide.td_attributes = ~UINT64_C(0); /* no policy lets these through */
	u64_case(AT_TD_ATTRIBUTES, ID_TD_SEPT_VE_DISABLE | 1, &wide, "td-debug");
	u64_case(AT_TD_ATTRIBUTES, 0, &wide, "sept-ve-disable-clear");
	u64_case(AT_TD_ATTRIBUTES, ID_TD_SEPT_VE_DISABLE | ID_TD_MIGRATABLE, &wide, "service-td");
	for (unsigned bit = 0; bit < 64; bit++)
		u64_case(AT_XFAM, 0xe7 ^ UINT64_C(1) << bit, NULL,
			 bit == 2 || (UINT64_C(0x6dbe7) >> bit & 1 && bit > 1) ? "" : "quote-attributes");
	for (unsigned bit = 0; bit < 64; bit++)
		u64_case(AT_SEAM_ATTRIBUTES, UINT64_C(1) << bit, NULL, "module-mismatch");
	u64_case(AT_SIGNER_SEAM, 1, NULL, "module-mismatch");
	u64_case(AT_SIGNER_SEAM + 40, UINT64_C(1) << 63, NULL, "module-mismatch");
}

/* Intel's own words about its module count, too: a signer in the TCB Info that the quote has not. */
static void the_module_is_the_one_described(void **state)
{
	struct intel_opts o = intel_opts();

	(void)state;
	o.tcb[0] = (struct intel_edit){ "\"TDX_01\",\"mrsigner\":\"00", "\"TDX_01\",\"mrsigner\":\"01" };
	judge(&o, NULL, "module-mismatch", NULL);
	o.tcb[0] = (struct intel_edit){ "\"tdxModule\":{\"mrsigner\":\"00", "\"tdxModule\":{\"mrsigner\":\"01" };
	judge(&o, NULL, "", NULL); /* of major version 0, which this is not */
}

static void service_td_edit(uint8_t *bytes, void *arg)
{
	(void)arg;
	bytes[AT_SERVICE_TD + 47] = 1;
}

static void migratable_edit(uint8_t *bytes, void *arg)
{
	service_td_edit(bytes, arg);
	bytes[6 + AT_TD_ATTRIBUTES + 3] |= 0x20;
}

static void service_tds_are_listed(void **state)
{
	struct intel_opts o = opts_15(NULL);
	struct id_evidence_policy policy;

	(void)state;
	id_evidence_policy_strict(&policy);
	o.edit_body = service_td_edit;
	judge(&o, NULL, "service-td", NULL);
	policy.n_service_td = 1;
	judge(&o, &policy, "service-td", NULL);
	policy.service_td[0][47] = 1;
	judge(&o, &policy, "", NULL);
	o.edit_body = migratable_edit;
	judge(&o, &policy, "", NULL);
	judge(&o, NULL, "service-td", NULL);
	policy.service_td[0][47] = 0; /* listing zero lets nothing migrate */
	u64_case(AT_TD_ATTRIBUTES, ID_TD_SEPT_VE_DISABLE | ID_TD_MIGRATABLE, &policy, "service-td");
}

/* --- 36: statuses --- */

static void accepted_statuses(void **state)
{
	(void)state;
	for (size_t accepted = 0; accepted < ARRAY_LEN(status); accepted++)
		for (size_t found = 0; found < ARRAY_LEN(status); found++) {
			struct intel_opts o = intel_opts();
			struct id_evidence_policy policy;
			char words[80] = "";

			id_evidence_policy_strict(&policy);
			policy.any_advisory = true;
			policy.status[ID_TCB_UP_TO_DATE].is_accepted = false;
			policy.status[ID_TCB_UP_TO_DATE + accepted].is_accepted = true;
			o.platform_status = status[found];
			if (found != accepted || found == 6) /* Revoked: not even when it is listed */
				snprintf(words, sizeof(words), "tcb-%s", status[found]);
			judge(&o, &policy, words, status[found]);
		}
}

static void not_supported_is_never_accepted(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;

	(void)state;
	id_evidence_policy_strict(&policy);
	for (int s = 0; s < ID_TCB_STATUS_COUNT; s++)
		policy.status[s].is_accepted = true;
	policy.any_advisory = true;
	o.platform.pce_svn = 1;
	judge(&o, &policy, "tcb-NotSupported", "NotSupported");
}

static void grace_ends(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;
	int64_t date = 1767225600; /* 2026-01-01, of the platform's level */

	(void)state;
	id_evidence_policy_strict(&policy);
	policy.any_advisory = true;
	policy.status[ID_TCB_OUT_OF_DATE].is_accepted = true;
	policy.status[ID_TCB_OUT_OF_DATE].has_grace = true;
	policy.status[ID_TCB_OUT_OF_DATE].grace_s = INTEL_NOW - date;
	o.platform_status = "OutOfDate";
	judge(&o, &policy, "", "OutOfDate");
	assert_int_equal(verdict_of(&o, &policy).good_until, INTEL_NOW);
	policy.status[ID_TCB_OUT_OF_DATE].grace_s--;
	judge(&o, &policy, "tcb-OutOfDate", "OutOfDate");
}

static void stale_collateral_has_its_limit(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;

	(void)state;
	id_evidence_policy_strict(&policy);
	o.crl_to = o.root_crl_to = INTEL_NOW - 5 * INTEL_DAY;
	judge(&o, &policy, "crl-out-of-window", NULL);
	policy.collateral_grace_s = 5 * INTEL_DAY;
	judge(&o, &policy, "", NULL);
	assert_int_equal(verdict_of(&o, &policy).good_until, INTEL_NOW);
	o.pck.not_after = INTEL_NOW + 3;
	policy.collateral_grace_s = 6 * INTEL_DAY;
	assert_int_equal(verdict_of(&o, &policy).good_until, INTEL_NOW + 3);
	o.pck.not_after = intel_opts().pck.not_after;
	policy.collateral_grace_s = 5 * INTEL_DAY;
	policy.collateral_grace_s--;
	judge(&o, &policy, "crl-out-of-window", NULL);
}

static void advisories_are_listed(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;

	(void)state;
	id_evidence_policy_strict(&policy);
	policy.status[ID_TCB_SW_HARDENING].is_accepted = true;
	o.platform_status = "SWHardeningNeeded";
	judge(&o, &policy, "tcb-advisory", "SWHardeningNeeded");
	strcpy(policy.advisory[0], "INTEL-SA-00001");
	strcpy(policy.advisory[1], "INTEL-SA-00002");
	policy.n_advisories = 2;
	judge(&o, &policy, "tcb-advisory", NULL); /* the module's is one more */
	strcpy(policy.advisory[2], "INTEL-SA-00003");
	policy.n_advisories = 3;
	judge(&o, &policy, "", NULL);
}

/* --- 37: measurements and hardware --- */

static void measurements_are_compared_in_full(void **state)
{
	static const enum id_register at[] = { ID_REG_MRTD,  ID_REG_MRCONFIGID, ID_REG_MROWNER, ID_REG_MROWNERCONFIG,
					       ID_REG_RTMR0, ID_REG_RTMR1,      ID_REG_RTMR2,   ID_REG_RTMR3 };

	(void)state;
	for (uint8_t i = 0; i < ARRAY_LEN(at); i++) {
		struct intel_opts o = intel_opts();
		struct id_evidence_policy policy;

		id_evidence_policy_strict(&policy);
		policy.pin[at[i]].n = 1;
		memset(policy.pin[at[i]].value[0], 0xa0 + i, ID_MR_LEN);
		judge(&o, &policy, "", NULL);
		policy.pin[at[i]].value[0][47] ^= 1;
		judge(&o, &policy, "measurement", NULL);
		policy.pin[at[i]].n = 2; /* one of several is enough */
		memset(policy.pin[at[i]].value[1], 0xa0 + i, ID_MR_LEN);
		judge(&o, &policy, "", NULL);
	}
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;

	id_evidence_policy_strict(&policy);
	policy.pin[ID_REG_MRSEAM].n = 1;
	judge(&o, &policy, "", NULL);
	policy.pin[ID_REG_MRSEAM].value[0][0] = 1;
	judge(&o, &policy, "measurement", NULL);
}

static void hardware_is_listed(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;

	(void)state;
	id_evidence_policy_strict(&policy);
	policy.has_hardware = true;
	judge(&o, &policy, "hardware", NULL);
	policy.n_hardware = 1;
	judge(&o, &policy, "hardware", NULL);
	memset(policy.hardware[0], 0x77, ID_PPID_LEN);
	judge(&o, &policy, "", NULL);
	memset(policy.hardware[0], 0x99, ID_PPID_LEN);
	judge(&o, &policy, "", NULL);
	o.platform.has_instance = false; /* what is not there is not zero */
	memset(o.platform.instance, 0, sizeof(o.platform.instance));
	memset(policy.hardware[0], 0, ID_PPID_LEN);
	judge(&o, &policy, "hardware", NULL);
}

static void all_reasons_are_told(void **state)
{
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;
	struct u64_edit e = { AT_TD_ATTRIBUTES, 1 };

	(void)state;
	id_evidence_policy_strict(&policy);
	policy.has_hardware = true;
	policy.pin[ID_REG_MRTD].n = 1;
	policy.min_evaluation = 18;
	o.edit_body = edit_u64;
	o.arg = &e;
	o.crl_to = INTEL_NOW - 1;
	o.platform_status = "OutOfDate";
	o.pck.not_after = INTEL_NOW - 1;
	judge(&o, &policy,
	      "crl-out-of-window,pck-chain,tcb-OutOfDate,collateral-rollback,td-debug,sept-ve-disable-clear,"
	      "measurement,"
	      "hardware",
	      "OutOfDate");
}

/* 38 */
static void a_report_of_another_tee(void **state)
{
	uint8_t snp[1184] = { 0 };
	struct id_verdict v;

	(void)state;
	for (uint8_t version = 2; version <= 5; version++) {
		const char *words;

		snp[0] = version;
		words = intel_judge_bytes(snp, sizeof(snp), NULL, INTEL_NOW, NULL, &v);
		assert_string_equal(words, version == 2 ? "quote-unsupported" : "not-tdx");
	}
}

/* What programs read, by the name of each reason. */
static void reasons_have_their_words(void **state)
{
	static const struct {
		enum id_reason reason;
		const char *word;
	} c[] = {
		{ ID_NOT_TDX, "not-tdx" },
		{ ID_NONZERO_TRAILING_BYTES, "nonzero-trailing-bytes" },
		{ ID_QUOTE_CHAIN, "pck-chain" },
		{ ID_PCK_EXTENSION, "pck-extension" },
		{ ID_CERT_REVOKED, "cert-revoked" },
		{ ID_CRL_INVALID, "crl-invalid" },
		{ ID_CRL_OUT_OF_WINDOW, "crl-out-of-window" },
		{ ID_COLLATERAL_MISSING, "collateral-missing" },
		{ ID_COLLATERAL_MALFORMED, "collateral-malformed" },
		{ ID_COLLATERAL_KIND, "collateral-kind" },
		{ ID_COLLATERAL_CHAIN, "collateral-chain" },
		{ ID_COLLATERAL_SIGNATURE, "collateral-signature" },
		{ ID_COLLATERAL_JSON_OUT_OF_WINDOW, "collateral-json-out-of-window" },
		{ ID_COLLATERAL_ROLLBACK, "collateral-rollback" },
		{ ID_FMSPC_MISMATCH, "fmspc-mismatch" },
		{ ID_PCE_ID_MISMATCH, "pce-id-mismatch" },
		{ ID_QE_IDENTITY, "qe-identity" },
		{ ID_MODULE_MISMATCH, "module-mismatch" },
		{ ID_TCB_STATUS, "tcb-OutOfDate" },
		{ ID_TCB_ADVISORY, "tcb-advisory" },
		{ ID_TD_DEBUG, "td-debug" },
		{ ID_SEPT_VE_DISABLE_CLEAR, "sept-ve-disable-clear" },
		{ ID_SERVICE_TD, "service-td" },
		{ ID_MEASUREMENT, "measurement" },
		{ ID_HARDWARE, "hardware" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		struct id_verdict v = { .tcb_status = ID_TCB_OUT_OF_DATE };
		char word[64];

		id_verdict_add(&v, c[i].reason, "x");
		assert_string_equal(id_verdict_word(&v, &v.finding[0], word), c[i].word);
	}
}

static void a_zeroed_verdict_accepts_nothing(void **state)
{
	struct id_verdict v = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_true(id_verdict_err(&v, "quote", &e) < 0);
	for (int i = 0; i < 2 * ID_FINDINGS_MAX; i++)
		id_verdict_add(&v, (enum id_reason)(1 + i % (ID_REASON_COUNT - 1)), "x");
	assert_int_equal(v.n_findings, ID_FINDINGS_MAX);
	assert_false(v.is_accepted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_combination_converges),
		cmocka_unit_test(modules_are_judged_by_their_own_levels),
		cmocka_unit_test(every_svn_counts),
		cmocka_unit_test(the_quoting_enclave_has_a_level),
		cmocka_unit_test(launch_and_current_are_both_judged),
		cmocka_unit_test(relaunch_table),
		cmocka_unit_test(every_attribute_bit_has_its_say),
		cmocka_unit_test(the_module_is_the_one_described),
		cmocka_unit_test(service_tds_are_listed),
		cmocka_unit_test(accepted_statuses),
		cmocka_unit_test(not_supported_is_never_accepted),
		cmocka_unit_test(grace_ends),
		cmocka_unit_test(stale_collateral_has_its_limit),
		cmocka_unit_test(advisories_are_listed),
		cmocka_unit_test(measurements_are_compared_in_full),
		cmocka_unit_test(hardware_is_listed),
		cmocka_unit_test(all_reasons_are_told),
		cmocka_unit_test(a_report_of_another_tee),
		cmocka_unit_test(reasons_have_their_words),
		cmocka_unit_test(a_zeroed_verdict_accepts_nothing),
	};

	return cmocka_run_group_tests_name("identity/tdx_tcb", tests, intel_start, intel_stop);
}
