// SPDX-License-Identifier: Apache-2.0
/* A report under an evidence policy: what snp.c refuses, then what is pinned. */
#include <errno.h>
#include <string.h>

#include "evidence_policy.h"

/* The first reason has its own words. */
static void reasons_copy(const struct id_snp_result *result, const struct err *e, struct id_verdict *v)
{
	for (unsigned i = 0; i < result->n_reasons; i++) {
		int reason = result->reasons[i];

		if (reason == e->reason)
			id_verdict_add(v, (enum id_reason)reason, "%s: %s", e->where, e->msg);
		else
			id_verdict_add(v, (enum id_reason)reason, "%s", id_reason_text(reason));
	}
}

void id_snp_judge(const uint8_t *bytes, size_t len, const struct id_snp_certs *certs, const struct id_snp_trust *trust,
		  const struct id_evidence_policy *policy, struct id_snp_result *result, struct id_verdict *v)
{
	struct id_evidence_policy strict;
	struct id_snp_trust mine = *trust;
	struct id_snp_report r;
	struct err e = ERR_INIT;

	*v = (struct id_verdict){ 0 };
	*result = (struct id_snp_result){ 0 };
	if (!policy) {
		id_evidence_policy_strict(&strict);
		policy = &strict;
	}
	mine.policy = policy->snp.demand;
	if (id_snp_verify(bytes, len, certs, &mine, result, &e) < 0) {
		reasons_copy(result, &e, v);
		if (!v->n_findings) /* out of memory */
			id_verdict_add(v, ID_SNP_UNSUPPORTED, "%s: %s", e.where, e.msg);
	}
	if (result->claims.tee != ID_TEE_SNP || id_snp_parse(bytes, len, &r, NULL) < 0)
		return;
	v->tee = ID_TEE_SNP;
	v->collateral_until = result->not_after;
	id_evidence_policy_judge_snp(policy, &r, v);
	v->is_accepted = v->n_findings == 0;
}
