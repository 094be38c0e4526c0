// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "evidence/policy_file.h"
#include "identity/quote_tdx.h"

#define MR   "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f"
#define ZERO "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
#define PPID "00112233445566778899aabbccddeeff"
#define HOST PPID PPID
#define CHIP HOST HOST
#define MIN  "min_tcb: {boot_loader: 3, tee: 0, snp: 8, microcode: 115}"

static void good(const char *text, struct id_evidence_policy *policy)
{
	auto_call(diags_fini) struct diags d = { 0 };

	if (evp_parse("e.yaml", text, strlen(text), policy, &d) < 0)
		fail_msg("%s", d.item[0].msg);
}

static void everything_is_read(void **state)
{
	struct id_evidence_policy p;

	(void)state;
	good("tcb:\n"
	     "  accept: [UpToDate, SWHardeningNeeded, {status: OutOfDate, grace_days: 30}]\n"
	     "  advisories: [INTEL-SA-00001, INTEL-SA-00002]\n"
	     "  min_evaluation: 17\n"
	     "  min_date: 2025-01-31\n"
	     "td:\n"
	     "  attributes: [PKS, TPA]\n"
	     "  service_tds: [" MR "]\n"
	     "measurements:\n"
	     "  mrtd: " MR "\n"
	     "  rtmr2: [" MR ", '" ZERO "']\n"
	     "hardware: [" PPID "]\n"
	     "simulated: true\n",
	     &p);
	assert_true(p.status[ID_TCB_UP_TO_DATE].is_accepted && !p.status[ID_TCB_UP_TO_DATE].has_grace);
	assert_true(p.status[ID_TCB_SW_HARDENING].is_accepted && p.status[ID_TCB_OUT_OF_DATE].is_accepted);
	assert_true(p.status[ID_TCB_OUT_OF_DATE].has_grace);
	assert_int_equal(p.status[ID_TCB_OUT_OF_DATE].grace_s, 30 * 86400);
	assert_false(p.status[ID_TCB_CONFIGURATION].is_accepted || p.any_advisory);
	assert_int_equal(p.n_advisories, 2);
	assert_string_equal(p.advisory[1], "INTEL-SA-00002");
	assert_int_equal(p.min_evaluation, 17);
	assert_int_equal(p.min_tcb_date, 1738281600);
	assert_int_equal(p.td_attributes, ID_TD_PKS | ID_TD_TPA);
	assert_int_equal(p.n_service_td, 1);
	assert_int_equal(p.service_td[0][47], 15);
	assert_int_equal(p.pin[ID_REG_MRTD].n, 1);
	assert_int_equal(p.pin[ID_REG_RTMR2].n, 2);
	assert_int_equal(p.pin[ID_REG_RTMR1].n, 0);
	assert_int_equal(p.pin[ID_REG_RTMR2].value[0][1], 1);
	assert_true(p.has_hardware && p.n_hardware == 1 && p.hardware[0][15] == 0xff);
	assert_true(p.allow_simulated);
}

static void everything_of_snp_is_read(void **state)
{
	static const struct id_snp_tcb min = { 3, 0, 8, 115, 4 };
	struct id_evidence_policy p;

	(void)state;
	good("snp:\n"
	     "  min_tcb: {boot_loader: 3, tee: 0, snp: 8, microcode: 115, fmc: 4}\n"
	     "  max_vmpl: 1\n"
	     "  min_abi: 1.55\n"
	     "  smt: false\n"
	     "  migration_agent: true\n"
	     "  alias_check: true\n"
	     "  crl: true\n"
	     "  csp_id: CN=cloud.example\n"
	     "  measurements: [" MR "]\n"
	     "  host_data: [" HOST "]\n"
	     "  chip_ids: [" CHIP "]\n",
	     &p);
	assert_true(p.snp.is_allowed);
	assert_memory_equal(&p.snp.demand.tcb_min, &min, sizeof(min));
	assert_int_equal(p.snp.demand.vmpl_max, 1);
	assert_true(p.snp.demand.abi_major_min == 1 && p.snp.demand.abi_minor_min == 55);
	assert_true(p.snp.demand.deny_smt && p.snp.demand.allow_migration_agent && p.snp.demand.need_alias_check);
	assert_true(p.snp.demand.need_crl && !p.snp.demand.allow_debug);
	assert_string_equal(p.snp.demand.csp_id, "CN=cloud.example");
	assert_true(p.snp.n_measurements == 1 && p.snp.n_host_data == 1 && p.snp.n_chips == 1);
	assert_true(p.snp.measurement[0][1] == 1 && p.snp.host_data[0][31] == 0xff && p.snp.chip[0][63] == 0xff);
	good("snp: {" MIN "}\n", &p);
	assert_true(p.snp.is_allowed && !p.snp.demand.deny_smt && !p.snp.demand.vmpl_max);
}

static void what_is_left_out_is_strict(void **state)
{
	struct id_evidence_policy p, strict;

	(void)state;
	id_evidence_policy_strict(&strict);
	good("simulated: false\n", &p);
	assert_memory_equal(&p, &strict, sizeof(p));
	good("tcb: {accept: [OutOfDate], advisories: any}\n", &p);
	assert_false(p.status[ID_TCB_UP_TO_DATE].is_accepted); /* the list says all */
	assert_true(p.any_advisory);
}

static void mistakes_are_refused_in_place(void **state)
{
	static const struct {
		const char *text;
		unsigned line, col;
		const char *msg;
	} c[] = {
		{ "tbc: {}\n", 1, 1, "unknown key 'tbc'; did you mean 'tcb'?" },
		{ "tcb: {accept: [Revoked]}\n", 1, 16, "Revoked is never accepted" },
		{ "tcb: {accept: [NotSupported]}\n", 1, 16, "NotSupported is never accepted" },
		{ "tcb: {accept: [uptodate]}\n", 1, 16, "'uptodate' is no TCB status" },
		{ "tcb: {accept: []}\n", 1, 15, "has 0 entries, needs 1 to 11" },
		{ "tcb: {accept: UpToDate}\n", 1, 15, "found a single value, needed a list" },
		{ "tcb: {accept: [UpToDate, UpToDate]}\n", 1, 26, "UpToDate is there already" },
		{ "tcb: {accept: [{status: OutOfDate, grace_days: 9999}]}\n", 1, 48, "9999 is above 3650" },
		{ "tcb: {accept: [{status: OutOfDate, grace: 9}]}\n", 1, 36, "unknown key 'grace'" },
		{ "collateral: {grace_days: 31}\n", 1, 26, "31 is above 30" },
		{ "tcb: {accept: [{grace_days: 9}]}\n", 1, 16, "the key 'status' is missing" },
		{ "tcb: {advisories: []}\n", 1, 19, "has 0 entries" },
		{ "tcb: {min_evaluation: 4294967296}\n", 1, 23, "is above 4294967295" },
		{ "tcb: {min_date: 2025-02-30}\n", 1, 17, "needs a date" },
		{ "tcb: {min_date: yesterday}\n", 1, 17, "needs a date" },
		{ "td: {attributes: [DEBUG]}\n", 1, 19, "others are never let through" },
		{ "td: {attributes: [MIGRATABLE]}\n", 1, 19, "others are never let through" },
		{ "td: {service_tds: [" ZERO "]}\n", 1, 20, "zero is no service TD" },
		{ "measurements: {mrtd: 00}\n", 1, 22, "needs 96 hex digits" },
		{ "measurements: {mrtd: " MR "00}\n", 1, 22, "needs 96 hex digits" },
		{ "measurements: {mrtd: []}\n", 1, 22, "has 0 values" },
		{ "measurements: {mrtd: }\n", 1, 22, "found nothing" },
		{ "measurements: {rtmr4: " MR "}\n", 1, 16, "unknown key 'rtmr4'" },
		{ "measurements:\n  rtmr0:\n    - " MR "\n    - xyz\n", 4, 7, "needs 96 hex digits" },
		{ "hardware: []\n", 1, 11, "has 0 entries" },
		{ "hardware: [0011]\n", 1, 12, "needs 32 hex digits" },
		{ "simulated: maybe\n", 1, 12, "needed true or false" },
		{ "snp: {}\n", 1, 6, "the key 'min_tcb' is missing" },
		{ "snp: {min_tcb: {boot_loader: 3, tee: 0, snp: 8}}\n", 1, 16, "the key 'microcode' is missing" },
		{ "snp: {min_tcb: {boot_loader: 256, tee: 0, snp: 8, microcode: 1}}\n", 1, 30, "256 is above 255" },
		{ "snp: {min_tcb: {ucode: 1}}\n", 1, 17, "unknown key 'ucode'" },
		{ "snp: {" MIN ", max_vmpl: 4}\n", 1, 76, "4 is above 3" },
		{ "snp: {" MIN ", min_abi: 1}\n", 1, 75, "needs a version as 1.55" },
		{ "snp: {" MIN ", min_abi: 1.256}\n", 1, 75, "needs a version as 1.55" },
		{ "snp: {" MIN ", min_abi: -1.5}\n", 1, 75, "needs a version as 1.55" },
		{ "snp: {" MIN ", debug: true}\n", 1, 66, "unknown key 'debug'" },
		{ "snp: {" MIN ", csp_id: ''}\n", 1, 74, "needs 1 to 127 bytes" },
		{ "snp: {" MIN ", measurements: []}\n", 1, 80, "has 0 entries" },
		{ "snp: {" MIN ", host_data: [" PPID "]}\n", 1, 78, "needs 64 hex digits" },
		{ "snp: {" MIN ", chip_ids: [" HOST "]}\n", 1, 77, "needs 128 hex digits" },
		{ "snp: {" MIN ", chip_ids: ['" ZERO "00000000000000000000000000000000']}\n", 1, 77,
		  "zero is no chip id" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		auto_call(diags_fini) struct diags d = { 0 };
		struct id_evidence_policy p = { .min_evaluation = 77 };

		if (evp_parse("e.yaml", c[i].text, strlen(c[i].text), &p, &d) == 0)
			fail_msg("accepted: %s", c[i].text);
		assert_int_equal(p.min_evaluation, 77);
		if (d.item[0].line != c[i].line || d.item[0].col != c[i].col || !strstr(d.item[0].msg, c[i].msg))
			fail_msg("%s -> %u:%u %s", c[i].text, d.item[0].line, d.item[0].col, d.item[0].msg);
	}
}

static void files_that_are_not_there_are_told(void **state)
{
	struct id_evidence_policy p;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(evp_load("/nonexistent/e.yaml", &p, &e) < 0);
	assert_string_equal(e.where, "/nonexistent/e.yaml");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_read),
		cmocka_unit_test(everything_of_snp_is_read),
		cmocka_unit_test(what_is_left_out_is_strict),
		cmocka_unit_test(mistakes_are_refused_in_place),
		cmocka_unit_test(files_that_are_not_there_are_told),
	};

	return cmocka_run_group_tests_name("evidence/policy_file", tests, NULL, NULL);
}
