// SPDX-License-Identifier: Apache-2.0
/* Any bytes as an evidence policy: a refusal has a place and a reason, and nothing that is read accepts what none may.
 */
#include <stdlib.h>

#include "evidence/policy_file.h"
#include "identity/quote_tdx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void read_check(const struct id_evidence_policy *p)
{
	static const struct id_quote nothing;
	struct id_verdict v = { .tcb_status = ID_TCB_REVOKED };

	must(!p->status[ID_TCB_REVOKED].is_accepted && !p->status[ID_TCB_NOT_SUPPORTED].is_accepted);
	must(p->n_advisories <= ID_ADVISORIES_MAX && p->n_hardware <= ID_HARDWARE_MAX);
	must(p->n_service_td <= ID_SERVICE_TD_MAX && !(p->td_attributes & (ID_TD_DEBUG_BIT | ID_TD_MIGRATABLE)));
	must(!p->has_hardware || p->n_hardware);
	for (int i = 0; i < ID_REG_COUNT; i++)
		must(p->pin[i].n <= ID_PINS_MAX);
	id_evidence_policy_judge(p, &nothing, NULL, 1790000000, &v);
	must(v.n_findings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct id_evidence_policy policy;
	struct diags d = { 0 };

	if (evp_parse("fuzz.yaml", (const char *)data, size, &policy, &d) == 0)
		read_check(&policy);
	else
		must(d.n_errors && d.n);
	diags_fini(&d);
	return 0;
}
