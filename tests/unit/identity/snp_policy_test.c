// SPDX-License-Identifier: Apache-2.0
/* What an operator demands of a report that is otherwise good. */
#include "identity/evidence_policy.h"
#include "snp_world.h"

static void reported_above_current(uint8_t *b)
{
	b[0x3e] = 6;
}

static void reported_above_committed(uint8_t *b)
{
	b[0x1e0] = 2;
}

static void committed_above_current(uint8_t *b)
{
	b[0x1e7] = 201;
}

static void current_above_reported(uint8_t *b)
{
	b[0x3e] = 8;
	b[0x3f] = 0xff;
}

static void tcb_order(void **state)
{
	(void)state;
	is_judged(&(struct snp_forge){ .report = reported_above_current }, "SNP_TCB");
	is_judged(&(struct snp_forge){ .report = reported_above_committed }, "SNP_TCB");
	is_judged(&(struct snp_forge){ .report = committed_above_current }, "SNP_TCB");
	is_judged(&(struct snp_forge){ .report = current_above_reported }, "NONE");
}

static void tcb_minimum_is_per_component(void **state)
{
	static const struct id_snp_tcb equal = { 3, 1, 7, 200, 2 };
	struct snp_case c;

	(void)state;
	snp_case_new(&(struct snp_forge){ .product = ID_SNP_TURIN }, &c);
	c.trust.policy.tcb_min = equal;
	assert_string_equal(judge(&c), "NONE");
	for (size_t i = 0; i < sizeof(equal); i++) {
		c.trust.policy.tcb_min = equal;
		((uint8_t *)&c.trust.policy.tcb_min)[i]++;
		assert_string_equal(judge(&c), "SNP_TCB");
	}
	snp_case_free(&c);
}

static void all_at_once(uint8_t *b)
{
	b[0x0a] |= 4 | 8; /* migration agent, debug */
	b[0x30] = 1;
	b[0x3e] = 6;
}

static void all_reasons_are_told(void **state)
{
	struct snp_case c;

	(void)state;
	snp_case_new(&(struct snp_forge){ .report = all_at_once }, &c);
	assert_string_equal(judge(&c), "SNP_TCB,SNP_DEBUG,SNP_POLICY,SNP_VMPL");
	c.trust.policy.allow_debug = c.trust.policy.allow_migration_agent = true;
	c.trust.policy.vmpl_max = 1;
	assert_string_equal(judge(&c), "SNP_TCB");
	snp_case_free(&c);
}

static void vmpl_of_the_host(uint8_t *b)
{
	memset(b + 0x30, 0xff, 4);
}

static void policies_are_held(void **state)
{
	struct snp_case c;

	(void)state;
	is_judged(&(struct snp_forge){ .report = vmpl_of_the_host }, "SNP_VMPL");
	snp_case_new(&(struct snp_forge){ 0 }, &c);
	c.trust.policy.deny_smt = true;
	assert_string_equal(judge(&c), "SNP_POLICY");
	c.trust.policy = (struct id_snp_policy){ .need_alias_check = true };
	assert_string_equal(judge(&c), "SNP_POLICY");
	c.report[0x40] |= 1 << 5;
	snp_report_sign(c.report);
	assert_string_equal(judge(&c), "NONE");
	c.trust.policy.abi_minor_min = 1;
	assert_string_equal(judge(&c), "SNP_POLICY");
	c.report[0x08] = 55;
	c.report[0x09] = 1;
	snp_report_sign(c.report);
	c.trust.policy.abi_major_min = 1;
	c.trust.policy.abi_minor_min = 55;
	assert_string_equal(judge(&c), "NONE");
	c.trust.policy.abi_minor_min = 56;
	assert_string_equal(judge(&c), "SNP_POLICY");
	snp_case_free(&c);
}

/* --- under an evidence policy --- */

static const char *under(const struct snp_case *c, const struct id_evidence_policy *policy)
{
	static char text[200], word[64];
	struct id_snp_result result;
	struct id_verdict v;

	id_snp_judge(c->report, sizeof(c->report), &c->certs, &c->trust, policy, &result, &v);
	assert_int_equal(v.is_accepted, v.n_findings == 0);
	assert_int_equal(v.tee, result.claims.tee);
	text[0] = '\0';
	for (unsigned i = 0; i < v.n_findings; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "," : "",
			 id_verdict_word(&v, &v.finding[i], word));
	return text;
}

static void nobody_says_which_tcb_is_good(void **state)
{
	struct id_evidence_policy p;
	struct snp_case c;

	(void)state;
	id_evidence_policy_strict(&p);
	snp_case_new(&(struct snp_forge){ 0 }, &c);
	assert_string_equal(under(&c, NULL), "snp-tcb");
	assert_string_equal(under(&c, &p), "snp-tcb");
	p.snp.is_allowed = true;
	assert_string_equal(under(&c, &p), "");
	p.snp.demand.tcb_min.microcode = 255;
	assert_string_equal(under(&c, &p), "snp-tcb");
	c.report[0x2a0] ^= 1;
	assert_string_equal(under(&c, &p), "snp-signature");
	snp_case_free(&c);
}

static void snp_pins_are_held(void **state)
{
	struct id_evidence_policy p;
	struct snp_case c;

	(void)state;
	id_evidence_policy_strict(&p);
	snp_case_new(&(struct snp_forge){ 0 }, &c);
	p.snp.is_allowed = true;
	p.snp.n_measurements = p.snp.n_host_data = p.snp.n_chips = 2;
	memcpy(p.snp.measurement[1], c.report + 0x90, ID_MR_LEN);
	memcpy(p.snp.host_data[1], c.report + 0xc0, ID_SNP_HOST_DATA_LEN);
	memcpy(p.snp.chip[1], c.report + 0x1a0, ID_SNP_CHIP_ID_LEN);
	assert_string_equal(under(&c, &p), "");
	p.snp.measurement[1][47] ^= 1;
	assert_string_equal(under(&c, &p), "measurement");
	p.snp.measurement[1][47] ^= 1;
	p.snp.host_data[1][31] ^= 1;
	assert_string_equal(under(&c, &p), "measurement");
	p.snp.host_data[1][31] ^= 1;
	p.snp.chip[1][63] ^= 1;
	assert_string_equal(under(&c, &p), "hardware");
	snp_case_free(&c);
}

/* A list of good TDX machines or images is none that SEV-SNP may pass by. */
static void pins_of_tdx_are_not_got_around(void **state)
{
	struct id_evidence_policy p;
	struct snp_case c;

	(void)state;
	id_evidence_policy_strict(&p);
	snp_case_new(&(struct snp_forge){ 0 }, &c);
	p.snp.is_allowed = true;
	p.pin[ID_REG_MRTD].n = 1;
	p.has_hardware = true;
	p.n_hardware = 1;
	assert_string_equal(under(&c, &p), "measurement,hardware");
	snp_case_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcb_order),
		cmocka_unit_test(tcb_minimum_is_per_component),
		cmocka_unit_test(all_reasons_are_told),
		cmocka_unit_test(policies_are_held),
		cmocka_unit_test(nobody_says_which_tcb_is_good),
		cmocka_unit_test(snp_pins_are_held),
		cmocka_unit_test(pins_of_tdx_are_not_got_around),
	};

	return cmocka_run_group_tests_name("identity/snp_policy", tests, snp_world_new, snp_world_free);
}
