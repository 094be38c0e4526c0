// SPDX-License-Identifier: Apache-2.0
/*
 * Judges a quote. What proves the body ends the work when it fails; what comes after is all collected:
 *    1. QE vendor: simulated ones only where that is allowed          QUOTE_SIMULATED, QUOTE_UNSUPPORTED
 *    2. PCK chain to the pinned root, its SGX extension (pck_chain.c) QUOTE_CHAIN, PCK_EXTENSION
 *    3. collateral at hand; CRLs (collateral_set.c)                   COLLATERAL_MISSING, CRL_INVALID, CERT_REVOKED
 *    4. QE report: signed by the PCK, bound to the attestation key    QUOTE_QE
 *    5. quote: signed by the attestation key                          QUOTE_SIGNATURE
 * From here on the body is proved to be that of a TD on the platform, and the rest says how good that is:
 *    6. dates, both ends, against one clock                           COLLATERAL_JSON_OUT_OF_WINDOW, CRL_OUT_OF_WINDOW,
 *                                                                     COLLATERAL_CHAIN, QUOTE_CHAIN
 *    7. collateral is for this platform                               FMSPC_MISMATCH, PCE_ID_MISMATCH
 *    8. quoting enclave                                               QE_IDENTITY
 *    9. TDX module, TCB levels, convergence (tcb.c)                   MODULE_MISMATCH, TCB_STATUS
 *   10. policy (evidence_policy.c)                                    TCB_STATUS, TD_DEBUG, SERVICE_TD, MEASUREMENT,
 * ...
 *   11. bytes after the signature data                                NONZERO_TRAILING_BYTES
 * A simulated quote has no collateral: 3 and 6 to 9 do not apply, except the dates of its chain.
 */
#include "quote_tdx.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "collateral.h"

#define WHERE         "quote"
#define SIM_ROOTS_MAX 16

/* Offsets in an SGX report of the quoting enclave. */
enum {
	QE_MISCSELECT = 16,
	QE_ATTRIBUTES = 48,
	QE_MR_SIGNER = 128,
	QE_PRODUCT = 256,
	QE_SVN = 258,
	QE_REPORT_DATA = 320,
};

#define SGX_DEBUG 0x02

struct judge {
	const struct id_quote *q;
	const struct id_trust *trust;
	const struct id_evidence_policy *policy;
	struct id_verdict *v;
	const struct id_pck_chain *chain;
	const struct id_collateral *col; /* NULL: simulated */
};

static uint16_t u16le(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

/* --- 4, 5: signatures --- */

static bool signatures_check(struct judge *j)
{
	const struct id_quote *q = j->q;
	uint8_t bound[ID_REPORT_DATA_LEN] = { 0 };
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;

	if (!id_ecdsa_verify_raw(j->chain->leaf_key, q->qe_report_signature, q->qe_report, ID_QE_REPORT_LEN)) {
		id_verdict_add(j->v, ID_QUOTE_QE, "QE report is not signed by the PCK");
		return false;
	}
	/* 32 bytes of hash; Intel's verifier leaves the other 32 alone, here they must be zero */
	if (!id_hash(EVP_sha256(), bound, q->att_key, ID_P256_RAW_LEN, q->auth, q->auth_len) ||
	    memcmp(bound, q->qe_report + QE_REPORT_DATA, sizeof(bound)) != 0) {
		id_verdict_add(j->v, ID_QUOTE_QE, "QE report is bound to another attestation key");
		return false;
	}
	key = id_p256_from_raw(q->att_key);
	if (!key || !id_ecdsa_verify_raw(key, q->signature, q->signed_bytes, q->signed_len)) {
		id_verdict_add(j->v, ID_QUOTE_SIGNATURE,
			       key ? "is not signed by its attestation key"
				   : "attestation key is not a point of P-256");
		return false;
	}
	return true;
}

/* --- 6: dates --- */

static void window(struct judge *j, enum id_reason reason, const char *what, int64_t from, int64_t to)
{
	int64_t now = j->trust->now;

	if (now < from)
		id_verdict_add(j->v, reason, "%s begins %lld s after the time of the check", what,
			       (long long)(from - now));
	else if (now > to)
		id_verdict_add(j->v, reason, "%s ended %lld s before the time of the check", what,
			       (long long)(now - to));
}

static void dates_check(struct judge *j)
{
	const struct id_collateral *c = j->col;
	int64_t more = j->policy->collateral_grace_s;

	if (c) {
		window(j, ID_COLLATERAL_JSON_OUT_OF_WINDOW, "TCB Info", c->tcb.issued, c->tcb.next_update + more);
		window(j, ID_COLLATERAL_JSON_OUT_OF_WINDOW, "QE identity", c->qe.issued, c->qe.next_update + more);
		window(j, ID_CRL_OUT_OF_WINDOW, "root CRL", c->root_crl.this_update, c->root_crl.next_update + more);
		window(j, ID_CRL_OUT_OF_WINDOW, "PCK CRL", c->pck_crl.this_update, c->pck_crl.next_update + more);
		window(j, ID_COLLATERAL_CHAIN, "TCB signing certificate", c->signer_not_before, c->signer_not_after);
	}
	window(j, ID_QUOTE_CHAIN, "PCK chain", j->chain->not_before, j->chain->not_after);
}

/* --- 8: quoting enclave --- */

static bool masked_equal(const uint8_t *found, const uint8_t *mask, const uint8_t *wanted, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((found[i] & mask[i]) != wanted[i])
			return false;
	return true;
}

static void qe_check(struct judge *j)
{
	const struct id_qe_identity *qe = &j->col->qe;
	const uint8_t *r = j->q->qe_report;

	if (!masked_equal(r + QE_MISCSELECT, qe->miscselect_mask, qe->miscselect, sizeof(qe->miscselect)) ||
	    !masked_equal(r + QE_ATTRIBUTES, qe->attributes_mask, qe->attributes, sizeof(qe->attributes)))
		id_verdict_add(j->v, ID_QE_IDENTITY, "MISCSELECT or ATTRIBUTES of the quoting enclave differ");
	if (r[QE_ATTRIBUTES] & SGX_DEBUG)
		id_verdict_add(j->v, ID_QE_IDENTITY, "the quoting enclave runs in debug mode");
	if (memcmp(r + QE_MR_SIGNER, qe->mr_signer, sizeof(qe->mr_signer)) != 0)
		id_verdict_add(j->v, ID_QE_IDENTITY, "the quoting enclave is signed by another vendor");
	if (u16le(r + QE_PRODUCT) != qe->product)
		id_verdict_add(j->v, ID_QE_IDENTITY, "the quoting enclave is product %u, needed %u",
			       u16le(r + QE_PRODUCT), qe->product);
}

/* --- 9: TCB --- */

static void level_count(struct judge *j, const struct id_js *js, const struct id_tcb_level *l)
{
	const char *text;
	size_t len;

	if (!j->v->tcb_date || l->date < j->v->tcb_date)
		j->v->tcb_date = l->date;
	for (int i = id_js_first(js, l->advisories); i >= 0; i = id_js_next(js, l->advisories, i))
		if (id_js_text(js, i, &text, &len) && !id_verdict_advise(j->v, text, len))
			id_verdict_add(j->v, ID_TCB_ADVISORY, "more advisories than can be kept");
}

/* The module's level: NULL when there is none, also when the module is unknown. Major 0 has no levels to look up. */
static const struct id_tcb_level *module_level(struct judge *j, const uint8_t svn[16])
{
	const struct id_tdx_module *m = id_tcb_module(&j->col->tcb, svn[1]);

	if (!m) {
		id_verdict_add(j->v, ID_MODULE_MISMATCH, "TDX module of major version %u is not in the TCB Info",
			       svn[1]);
		return NULL;
	}
	return id_tcb_svn_level(&m->levels, svn[0]);
}

/* Platform, module and QE for one TEE_TCB_SVN, converged. */
static enum id_tcb_status evaluate(struct judge *j, const uint8_t svn[16])
{
	const struct id_tcb_info *info = &j->col->tcb;
	const struct id_tcb_level *platform = id_tcb_platform_level(&info->levels, &j->chain->pck, svn);
	const struct id_tcb_level *qe = id_tcb_svn_level(&j->col->qe.levels, u16le(j->q->qe_report + QE_SVN));
	const struct id_tcb_level *module = svn[1] ? module_level(j, svn) : NULL;
	enum id_tcb_status status;

	if (!platform || !qe || (svn[1] && !module))
		return ID_TCB_NOT_SUPPORTED;
	level_count(j, &info->js, platform);
	level_count(j, &j->col->qe.js, qe);
	status = id_tcb_converge(platform->status, qe->status);
	if (module) {
		level_count(j, &info->js, module);
		status = id_tcb_converge(status, module->status);
	}
	return status;
}

/* The module at the launch of the TD must be what Intel signed, under the mask and, as only zero is known, in full. */
static void module_check(struct judge *j)
{
	const struct id_tdx_module *m = id_tcb_module(&j->col->tcb, j->q->tee_tcb_svn[1]);
	uint8_t attributes[8];

	if (!m)
		return; /* evaluate() says so */
	for (int i = 0; i < 8; i++)
		attributes[i] = (uint8_t)(j->q->seam_attributes >> (8 * i));
	if (memcmp(m->mr_signer, j->q->mr_signer_seam, ID_MR_LEN) != 0 ||
	    !masked_equal(attributes, m->mask, m->attributes, sizeof(attributes)))
		id_verdict_add(j->v, ID_MODULE_MISMATCH, "signer or attributes of the TDX module differ");
}

static void tcb_check(struct judge *j)
{
	const struct id_quote *q = j->q;
	struct id_verdict *v = j->v;
	enum id_tcb_status status;

	v->evaluation = j->col->tcb.evaluation < j->col->qe.evaluation ? j->col->tcb.evaluation : j->col->qe.evaluation;
	module_check(j);
	status = evaluate(j, q->tee_tcb_svn);
	if (q->body != ID_TD_REPORT_10)
		status = id_tcb_relaunch(status, evaluate(j, q->tee_tcb_svn2));
	if (status == ID_TCB_NOT_SUPPORTED) { /* half a match says nothing */
		v->n_advisories = 0;
		v->tcb_date = 0;
	}
	v->tcb_status = status;
}

static bool is_for_platform(struct judge *j)
{
	const struct id_tcb_info *info = &j->col->tcb;
	const struct id_pck *pck = &j->chain->pck;

	if (memcmp(info->fmspc, pck->fmspc, sizeof(pck->fmspc)) != 0)
		id_verdict_add(
			j->v, ID_FMSPC_MISMATCH,
			"TCB Info is for FMSPC %02x%02x%02x%02x%02x%02x, the platform is %02x%02x%02x%02x%02x%02x",
			info->fmspc[0], info->fmspc[1], info->fmspc[2], info->fmspc[3], info->fmspc[4], info->fmspc[5],
			pck->fmspc[0], pck->fmspc[1], pck->fmspc[2], pck->fmspc[3], pck->fmspc[4], pck->fmspc[5]);
	else if (memcmp(info->pce_id, pck->pce_id, sizeof(pck->pce_id)) != 0)
		id_verdict_add(j->v, ID_PCE_ID_MISMATCH, "TCB Info is for PCE %02x%02x, the platform has %02x%02x",
			       info->pce_id[0], info->pce_id[1], pck->pce_id[0], pck->pce_id[1]);
	else
		return true;
	return false;
}

/* --- the whole --- */

/* Nothing that was good at the time of the check is believed beyond its end. */
static int64_t good_until(const struct judge *j)
{
	const struct id_collateral *c = j->col;
	enum id_tcb_status status = j->v->tcb_status;
	int64_t end[] = { j->v->collateral_until + j->policy->collateral_grace_s, c->signer_not_after,
			  j->chain->not_after,
			  j->policy->status[status].has_grace ? j->v->tcb_date + j->policy->status[status].grace_s
							      : INT64_MAX };
	int64_t first = end[0];

	for (size_t i = 1; i < ARRAY_LEN(end); i++)
		first = end[i] < first ? end[i] : first;
	return first;
}

static void body_judge(struct judge *j)
{
	struct id_verdict *v = j->v;

	v->tee = j->col ? ID_TEE_TDX : ID_TEE_SIM;
	dates_check(j);
	if (j->col) {
		bool is_ours = is_for_platform(j);

		v->collateral_until = id_collateral_until(j->col);
		qe_check(j);
		if (is_ours)
			tcb_check(j);
	}
	if (j->q->seam_attributes || !bytes_are_zero(j->q->mr_signer_seam, ID_MR_LEN))
		id_verdict_add(v, ID_MODULE_MISMATCH, "TDX module is not a production module of Intel");
	id_evidence_policy_judge(j->policy, j->q, j->col ? &j->chain->pck : NULL, j->trust->now, v);
	if (j->q->has_trailing)
		id_verdict_add(v, ID_NONZERO_TRAILING_BYTES, "bytes other than zero follow the signature data");
	if (j->col)
		v->good_until = good_until(j);
	v->is_accepted = v->n_findings == 0 && (!j->col || v->tcb_status != ID_TCB_NONE);
}

static void add_err(struct id_verdict *v, const struct err *e)
{
	id_verdict_add(v, e->reason ? (enum id_reason)e->reason : ID_QUOTE_UNSUPPORTED, "%s: %s", e->where, e->msg);
}

static void judge_intel(struct judge *j, struct id_pck *pck)
{
	const struct id_platform *platform = NULL;
	struct err e = ERR_INIT;

	if (!j->trust->collaterals) {
		id_verdict_add(j->v, ID_COLLATERAL_MISSING,
			       "no collateral is configured, so no real quote is accepted");
		return;
	}
	if (id_collaterals_platform(j->trust->collaterals, j->q->pck_pem, j->q->pck_pem_len, j->trust->now, &platform,
				    &e) < 0) {
		add_err(j->v, &e);
		return;
	}
	j->chain = &platform->chain;
	j->col = platform->collateral;
	if (!signatures_check(j))
		return;
	if (pck)
		*pck = j->chain->pck;
	body_judge(j);
}

/* --- simulated --- */

struct sim_roots {
	struct id_root at[SIM_ROOTS_MAX];
	size_t n;
	uint8_t der[SIM_ROOTS_MAX * ID_PKI_CERT_MAX];
};

static void sim_roots_free(struct sim_roots *r)
{
	for (size_t i = 0; i < r->n; i++)
		id_root_fini(&r->at[i]);
	free(r);
}

DEFINE_CLEANUP(sim_roots, struct sim_roots, sim_roots_free)

static int sim_roots_load(const struct id_trust *trust, struct sim_roots *r, struct err *e)
{
	struct in der[SIM_ROOTS_MAX];
	int n = id_pki_pem(trust->simulated_roots, trust->simulated_roots_len, r->der, sizeof(r->der), der,
			   SIM_ROOTS_MAX);

	r->n = 0;
	if (n < 1)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "the trusted roots are not 1 to %d certificates in PEM",
				  SIM_ROOTS_MAX);
	for (; r->n < (size_t)n; r->n++) {
		int ret = id_root_load(der[r->n].p, der[r->n].left, &r->at[r->n], e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static void judge_simulated(struct judge *j)
{
	auto_call(cleanup_sim_roots) struct sim_roots *roots = NULL;
	auto_call(id_pck_chain_fini) struct id_pck_chain chain = { 0 };
	struct err e = ERR_INIT;

	if (!j->trust->allow_simulated && !j->policy->allow_simulated) {
		id_verdict_add(j->v, ID_QUOTE_SIMULATED, "is SIMULATED and allow_simulated is not set");
		return;
	}
	if (!j->trust->simulated_roots) {
		id_verdict_add(j->v, ID_QUOTE_CHAIN, "is SIMULATED and no simulation root is trusted");
		return;
	}
	roots = malloc(sizeof(*roots));
	if (!roots) {
		id_verdict_add(j->v, ID_QUOTE_UNSUPPORTED, "out of memory");
		return;
	}
	if (sim_roots_load(j->trust, roots, &e) < 0 ||
	    id_pck_chain_load(j->q->pck_pem, j->q->pck_pem_len, roots->at, roots->n, false, &chain, &e) < 0) {
		add_err(j->v, &e);
		return;
	}
	j->chain = &chain;
	if (signatures_check(j))
		body_judge(j);
	j->chain = NULL; /* it ends here */
}

void id_quote_judge(const struct id_quote *quote, const struct id_trust *trust, struct id_verdict *verdict,
		    struct id_pck *pck)
{
	struct id_evidence_policy strict;
	struct judge j = { .q = quote, .trust = trust, .v = verdict, .policy = trust->policy };

	*verdict = (struct id_verdict){ 0 };
	if (!j.policy) {
		id_evidence_policy_strict(&strict);
		j.policy = &strict;
	}
	ERR_set_mark(); /* callers that speak TLS read OpenSSL's error queue */
	if (id_quote_is_simulated(quote))
		judge_simulated(&j);
	else if (memcmp(quote->qe_vendor, id_qe_vendor_intel, ID_QE_VENDOR_LEN) == 0)
		judge_intel(&j, pck);
	else
		id_verdict_add(verdict, ID_QUOTE_UNSUPPORTED, "QE vendor is not known");
	ERR_pop_to_mark();
}
