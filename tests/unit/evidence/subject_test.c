// SPDX-License-Identifier: Apache-2.0
/* From a platform of tests/lib/intel.h by way of its quote and the collateral to the rule that asks for its claims. */
#include "../../lib/intel.h"
#include "../identity/world.h"

#include "evidence/files.h"
#include "identity/attestation.h"
#include "identity/evidence_policy.h"
#include "identity/sim.h"
#include "policy/policy.h"

struct body {
	uint8_t rtmr3[ID_MR_LEN], data[ID_REPORT_DATA_LEN];
};

static void body_fill(uint8_t *bytes, void *arg)
{
	const struct body *b = arg;

	memcpy(bytes + AT_RTMR0 + 3 * ID_MR_LEN, b->rtmr3, ID_MR_LEN);
	memcpy(bytes + AT_REPORT_DATA, b->data, ID_REPORT_DATA_LEN);
}

/* What a guest on a platform of this status proves where every status is accepted. */
static void prove(const char *status, struct id_claims *claims)
{
	struct id_sim_request who = world_request();
	struct body b = { .data = { 1, 2, 3 } };
	auto_free char *log = id_sim_eventlog(&who, b.rtmr3);
	auto_call(id_events_fini) struct id_events events = { 0 };
	auto_call(intel_fini) struct intel_made made = { 0 };
	struct intel_opts o = intel_opts();
	struct id_evidence_policy policy;
	struct id_trust trust = { .now = INTEL_NOW, .policy = &policy };
	struct err e = ERR_INIT;
	auto_out struct out out = { 0 };

	id_evidence_policy_strict(&policy);
	policy.any_advisory = true;
	for (int s = ID_TCB_UP_TO_DATE; s < ID_TCB_NOT_SUPPORTED; s++)
		policy.status[s].is_accepted = true;
	o.platform_status = status;
	o.edit_body = body_fill;
	o.arg = &b;
	intel_make(&o, &made);
	trust.collaterals = made.set;
	assert_int_equal(id_events_from_json(log, strlen(log), &events, &e), 0);
	assert_true(id_attestation_write(&out, in_of(made.quote, made.quote_len), &events, b.data, true));
	if (id_attestation_prove(out.data, out.len, b.data, &trust, claims, &e) < 0)
		fail_msg("%s: %s: %s", status, id_reason_name(e.reason), e.msg);
}

static const char text[] = "version: 1\n"
			   "apps:\n"
			   "  db: { app-id: 1f0c2a7e5d3b9c8f6a4e2d1c0b9a8f7e6d5c4b3a }\n"
			   "claims:\n"
			   "  hardened: { tcb: [UpToDate, SWHardeningNeeded], simulated: false, key-provider: none }\n"
			   "rules:\n"
			   "  - { name: r, from: hardened, to: db, allow: [tcp/5432] }\n";

static bool is_allowed(const struct id_claims *claims)
{
	struct pol_subject from = evp_subject(claims), to = { 0 };
	struct pol_model *model = NULL;
	struct pol_answer answer;
	struct diags d = { 0 };

	assert_true(hex_parse(to.app_id, sizeof(to.app_id), "1f0c2a7e5d3b9c8f6a4e2d1c0b9a8f7e6d5c4b3a"));
	assert_int_equal(pol_parse("p.yaml", text, strlen(text), &model, &d), 0);
	pol_explain_nodes(model, &from, &to, 5432, &answer);
	pol_free(model);
	diags_fini(&d);
	return answer.action == BY_ALLOW;
}

static void a_rule_sees_the_status_of_the_platform(void **state)
{
	static const struct {
		const char *word;
		enum pol_tcb tcb;
		bool is_allowed;
	} seen[] = {
		{ "UpToDate", POL_TCB_UP_TO_DATE, true },
		{ "SWHardeningNeeded", POL_TCB_SW_HARDENING, true },
		{ "ConfigurationNeeded", POL_TCB_CONFIGURATION, false },
		{ "ConfigurationAndSWHardeningNeeded", POL_TCB_CONFIGURATION_AND_SW_HARDENING, false },
		{ "OutOfDate", POL_TCB_OUT_OF_DATE, false },
		{ "OutOfDateConfigurationNeeded", POL_TCB_OUT_OF_DATE_CONFIGURATION, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
		struct id_claims claims = { 0 };
		struct pol_subject s;

		prove(seen[i].word, &claims);
		s = evp_subject(&claims);
		assert_int_equal(s.tcb, seen[i].tcb);
		assert_true(!s.is_simulated && s.has_compose_hash && s.has_mrtd && s.has_rtmr[0] && s.has_rtmr[3]);
		assert_memory_equal(s.rtmr, claims.rtmr, sizeof(s.rtmr));
		assert_string_equal(s.key_provider, "none");
		assert_int_equal(is_allowed(&claims), seen[i].is_allowed);
	}
}

/* No evidence policy accepts it, and an attempt to must not look like another status. */
static void revoked_is_revoked(void **state)
{
	struct id_claims claims = { .tee = ID_TEE_TDX, .tcb_status = ID_TCB_REVOKED };

	(void)state;
	assert_int_equal(evp_subject(&claims).tcb, POL_TCB_REVOKED);
}

/* Policy has seven words. Whatever else there is, and will be, is unknown to it and allows nothing. */
static void other_words_are_unknown(void **state)
{
	struct id_claims claims;

	(void)state;
	prove("UpToDate", &claims);
	assert_true(is_allowed(&claims));
	for (int s = ID_TCB_RELAUNCH; s < ID_TCB_STATUS_COUNT + 3; s++) {
		claims.tcb_status = (enum id_tcb_status)s;
		assert_int_equal(evp_subject(&claims).tcb, POL_TCB_UNKNOWN);
		assert_false(is_allowed(&claims));
	}
}

static void what_was_not_proved_is_unknown(void **state)
{
	struct pol_subject nobody = evp_subject(&(struct id_claims){ .tee = ID_TEE_NONE });
	struct pol_subject sim = evp_subject(&(struct id_claims){ .tee = ID_TEE_SIM, .is_simulated = true });
	struct pol_subject snp = evp_subject(&(struct id_claims){ .tee = ID_TEE_SNP });

	(void)state;
	assert_false(nobody.has_compose_hash || nobody.has_os_image_hash || nobody.has_mrtd || nobody.has_rtmr[0]);
	assert_true(sim.tcb == POL_TCB_UNKNOWN && sim.is_simulated && sim.has_rtmr[0]);
	assert_true(snp.tcb == POL_TCB_UNKNOWN && snp.has_mrtd && snp.has_compose_hash);
	for (int i = 0; i < 4; i++) /* a report has no registers: zeros would be a lie */
		assert_false(snp.has_rtmr[i] || nobody.has_rtmr[i]);
}

static int start(void **state)
{
	return intel_start(state) ? -1 : world_new(state);
}

static int stop(void **state)
{
	return world_free(state) || intel_stop(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_sees_the_status_of_the_platform),
		cmocka_unit_test(revoked_is_revoked),
		cmocka_unit_test(other_words_are_unknown),
		cmocka_unit_test(what_was_not_proved_is_unknown),
	};

	return cmocka_run_group_tests_name("evidence/subject", tests, start, stop);
}
