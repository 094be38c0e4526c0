// SPDX-License-Identifier: Apache-2.0
#include "evidence_policy.h"

#include <string.h>

#include "base/cleanup.h"
#include "quote_tdx.h"

#define XFAM_NEEDED  UINT64_C(0x3)     /* x87 and SSE: always on */
#define XFAM_ALLOWED UINT64_C(0x6dbe7) /* what a TD may enable (Intel TDX module ABI, XFAM) */

static const char *const register_name[] = {
	[ID_REG_MRTD] = "mrtd",       [ID_REG_RTMR0] = "rtmr0",
	[ID_REG_RTMR1] = "rtmr1",     [ID_REG_RTMR2] = "rtmr2",
	[ID_REG_RTMR3] = "rtmr3",     [ID_REG_MRCONFIGID] = "mrconfigid",
	[ID_REG_MROWNER] = "mrowner", [ID_REG_MROWNERCONFIG] = "mrownerconfig",
	[ID_REG_MRSEAM] = "mrseam",
};

_Static_assert(ARRAY_LEN(register_name) == ID_REG_COUNT, "one name per register");

const char *id_register_name(enum id_register reg)
{
	return register_name[reg];
}

void id_evidence_policy_strict(struct id_evidence_policy *policy)
{
	memset(policy, 0, sizeof(*policy));
	policy->status[ID_TCB_UP_TO_DATE].is_accepted = true;
	policy->td_attributes = ID_TD_HARMLESS;
}

static const uint8_t *register_value(const struct id_quote *q, enum id_register reg)
{
	switch (reg) {
	case ID_REG_MRTD:
		return q->mrtd;
	case ID_REG_MRCONFIGID:
		return q->mr_config_id;
	case ID_REG_MROWNER:
		return q->mr_owner;
	case ID_REG_MROWNERCONFIG:
		return q->mr_owner_config;
	case ID_REG_MRSEAM:
		return q->mr_seam;
	default:
		return q->rtmr[reg - ID_REG_RTMR0];
	}
}

/* --- status --- */

static bool advisory_is_listed(const struct id_evidence_policy *p, const char *advisory)
{
	for (unsigned i = 0; i < p->n_advisories; i++)
		if (strcmp(p->advisory[i], advisory) == 0)
			return true;
	return p->any_advisory;
}

static void status_judge(const struct id_evidence_policy *p, int64_t now, struct id_verdict *v)
{
	enum id_tcb_status s = v->tcb_status;
	const char *name = id_tcb_status_name(s);

	if (s == ID_TCB_NOT_SUPPORTED || s == ID_TCB_REVOKED || !p->status[s].is_accepted) {
		id_verdict_add(v, ID_TCB_STATUS, "TCB status %s is not accepted", name);
	} else if (p->status[s].has_grace && (!v->tcb_date || now - v->tcb_date > p->status[s].grace_s)) {
		id_verdict_add(v, ID_TCB_STATUS, "TCB status %s: the grace period ended %lld s ago", name,
			       (long long)(now - v->tcb_date - p->status[s].grace_s));
	}
	for (unsigned i = 0; s != ID_TCB_UP_TO_DATE && p->status[s].is_accepted && i < v->n_advisories; i++)
		if (!advisory_is_listed(p, v->advisory[i]))
			id_verdict_add(v, ID_TCB_ADVISORY, "%s applies and is not listed", v->advisory[i]);
}

static void rollback_judge(const struct id_evidence_policy *p, struct id_verdict *v)
{
	if (v->evaluation < p->min_evaluation)
		id_verdict_add(v, ID_COLLATERAL_ROLLBACK, "TCB evaluation data number %u, needed %u", v->evaluation,
			       p->min_evaluation);
	if (p->min_tcb_date && v->tcb_date < p->min_tcb_date)
		id_verdict_add(v, ID_COLLATERAL_ROLLBACK, "the TCB level's date is older than the policy allows");
}

/* --- the TD --- */

static bool service_td_is_listed(const struct id_evidence_policy *p, const uint8_t mr[ID_MR_LEN])
{
	for (unsigned i = 0; i < p->n_service_td; i++)
		if (memcmp(p->service_td[i], mr, ID_MR_LEN) == 0)
			return true;
	return false;
}

static void td_judge(const struct id_evidence_policy *p, const struct id_quote *q, struct id_verdict *v)
{
	static const uint8_t none[ID_MR_LEN];
	const unsigned long long bits = q->td_attributes;
	bool has_service_td = memcmp(q->mr_service_td, none, sizeof(none)) != 0;
	bool is_listed = has_service_td && service_td_is_listed(p, q->mr_service_td);
	uint64_t allowed = p->td_attributes | ID_TD_SEPT_VE_DISABLE | ID_TD_MIGRATABLE | ID_TD_DEBUG_BIT;

	if (bits & ID_TD_DEBUG_BIT)
		id_verdict_add(v, ID_TD_DEBUG, "TD attributes 0x%016llx: the host may debug this TD", bits);
	if (!(bits & ID_TD_SEPT_VE_DISABLE))
		id_verdict_add(v, ID_SEPT_VE_DISABLE_CLEAR,
			       "TD attributes 0x%016llx: SEPT_VE_DISABLE is clear, the host may inject #VE", bits);
	if (bits & ~allowed)
		id_verdict_add(v, ID_QUOTE_ATTRIBUTES, "TD attributes 0x%016llx: bits 0x%llx are not allowed", bits,
			       bits & ~(unsigned long long)allowed);
	if ((q->xfam & XFAM_NEEDED) != XFAM_NEEDED || q->xfam & ~XFAM_ALLOWED)
		id_verdict_add(v, ID_QUOTE_ATTRIBUTES, "XFAM 0x%llx is not that of a TD", (unsigned long long)q->xfam);
	if (has_service_td && !is_listed)
		id_verdict_add(v, ID_SERVICE_TD, "a service TD is bound (MR_SERVICETD is not zero) and not listed");
	if (bits & ID_TD_MIGRATABLE && !is_listed)
		id_verdict_add(v, ID_SERVICE_TD, "the TD may migrate, by no service TD that is listed");
}

static void pins_judge(const struct id_evidence_policy *p, const struct id_quote *q, struct id_verdict *v)
{
	for (enum id_register reg = 0; reg < ID_REG_COUNT; reg++) {
		const uint8_t *found = register_value(q, reg);
		bool is_good = p->pin[reg].n == 0;

		for (unsigned i = 0; i < p->pin[reg].n && !is_good; i++)
			is_good = memcmp(p->pin[reg].value[i], found, ID_MR_LEN) == 0;
		if (!is_good)
			id_verdict_add(v, ID_MEASUREMENT, "%s is none of the %u pinned values", register_name[reg],
				       p->pin[reg].n);
	}
}

/* `pck` is NULL when the platform is simulated. */
static void hardware_judge(const struct id_evidence_policy *p, const struct id_pck *pck, struct id_verdict *v)
{
	for (unsigned i = 0; pck && i < p->n_hardware; i++)
		if (memcmp(p->hardware[i], pck->ppid, sizeof(pck->ppid)) == 0 ||
		    (pck->has_instance && memcmp(p->hardware[i], pck->instance, sizeof(pck->instance)) == 0))
			return;
	if (p->has_hardware)
		id_verdict_add(v, ID_HARDWARE,
			       pck ? "neither its PPID nor its instance id is listed" : "a simulated platform is none");
}

void id_evidence_policy_judge(const struct id_evidence_policy *policy, const struct id_quote *q,
			      const struct id_pck *pck, int64_t now, struct id_verdict *v)
{
	if (v->tcb_status != ID_TCB_NONE) {
		status_judge(policy, now, v);
		rollback_judge(policy, v);
	}
	td_judge(policy, q, v);
	pins_judge(policy, q, v);
	hardware_judge(policy, pck, v);
}

/* --- SEV-SNP --- */

static bool is_among(const void *list, size_t n, size_t size, const void *value)
{
	const uint8_t *p = list;

	for (size_t i = 0; i < n; i++, p += size)
		if (memcmp(p, value, size) == 0)
			return true;
	return false;
}

static bool has_pins(const struct id_evidence_policy *p)
{
	for (enum id_register reg = 0; reg < ID_REG_COUNT; reg++)
		if (p->pin[reg].n)
			return true;
	return false;
}

void id_evidence_policy_judge_snp(const struct id_evidence_policy *p, const struct id_snp_report *r,
				  struct id_verdict *v)
{
	if (!p->snp.is_allowed)
		id_verdict_add(v, ID_SNP_TCB, "the policy has no section snp: nothing says which TCB is new enough");
	if ((p->snp.n_measurements || has_pins(p)) &&
	    !is_among(p->snp.measurement, p->snp.n_measurements, ID_MR_LEN, r->measurement))
		id_verdict_add(v, ID_MEASUREMENT, "the launch measurement is none of the %u pinned values",
			       p->snp.n_measurements);
	if (p->snp.n_host_data && !is_among(p->snp.host_data, p->snp.n_host_data, ID_SNP_HOST_DATA_LEN, r->host_data))
		id_verdict_add(v, ID_MEASUREMENT, "HOST_DATA is none of the %u pinned values", p->snp.n_host_data);
	if ((p->snp.n_chips || p->has_hardware) &&
	    !is_among(p->snp.chip, p->snp.n_chips, ID_SNP_CHIP_ID_LEN, r->chip_id))
		id_verdict_add(v, ID_HARDWARE, "the chip id is not listed");
}
