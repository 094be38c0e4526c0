// SPDX-License-Identifier: Apache-2.0
/* SEV-SNP reports: whether they are believed, and what they say. */
#include "base/cleanup.h"
#include "identity/collateral.h"
#include "quote.h"

static json_t *tcb_report(const struct id_snp_tcb *t, enum id_snp_product product)
{
	json_t *o = json_pack("{s:i, s:i, s:i, s:i}", "boot_loader", t->boot_loader, "tee", t->tee, "snp", t->snp,
			      "microcode", t->microcode);

	if (product == ID_SNP_TURIN)
		json_object_set_new(o, "fmc", json_integer(t->fmc));
	return o;
}

json_t *quote_snp_body(const struct id_snp_report *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "tee", json_string("SEV-SNP"));
	json_object_set_new(o, "report_version", json_integer(r->version));
	json_object_set_new(o, "guest_svn", json_integer(r->guest_svn));
	json_object_set_new(o, "guest_policy", quote_number(r->policy));
	json_object_set_new(o, "platform_info", quote_number(r->platform));
	json_object_set_new(o, "vmpl", json_integer(r->vmpl));
	json_object_set_new(o, "signer", json_string(r->signer == ID_SNP_VCEK ? "VCEK" : "VLEK"));
	json_object_set_new(o, "measurement", json_hex(r->measurement, ID_MR_LEN));
	json_object_set_new(o, "host_data", json_hex(r->host_data, ID_SNP_HOST_DATA_LEN));
	json_object_set_new(o, "id_key_digest", json_hex(r->id_key_digest, ID_MR_LEN));
	json_object_set_new(o, "author_key_digest", json_hex(r->author_key_digest, ID_MR_LEN));
	json_object_set_new(o, "chip_id", json_hex(r->chip_id, ID_SNP_CHIP_ID_LEN));
	json_object_set_new(o, "report_data", json_hex(r->report_data, ID_REPORT_DATA_LEN));
	return o;
}

static json_t *claims_report(const struct id_snp_report *r, const struct id_snp_result *result, int64_t now)
{
	json_t *o = quote_snp_body(r);

	json_object_set_new(o, "product", json_string(id_snp_product_name(result->product)));
	json_object_set_new(o, "reported_tcb", tcb_report(&result->reported, result->product));
	json_object_set_new(o, "committed_tcb", tcb_report(&result->committed, result->product));
	json_object_set_new(o, "current_tcb", tcb_report(&result->current, result->product));
	json_object_set_new(o, "launch_tcb", tcb_report(&result->launch, result->product));
	if (result->csp_id[0])
		json_object_set_new(o, "csp_id", json_string(result->csp_id));
	json_object_set_new(o, "crl_checked", json_boolean(result->has_crl));
	ev_until("collateral", result->not_after, now, o);
	return o;
}

int quote_snp_verify(const uint8_t *bytes, size_t len, const struct verify_files *files, const struct id_trust *trust,
		     bool is_json)
{
	const struct id_snp_store *store = id_collaterals_snp(trust->collaterals);
	const struct id_snp_trust snp = { .now = trust->now };
	struct id_snp_certs certs;
	struct id_snp_result result;
	struct id_snp_report r;
	struct id_verdict verdict;
	struct err e = ERR_INIT;

	/* the report first: what can not be read needs no certificates to be refused */
	if (id_snp_parse(bytes, len, &r, &e) < 0 || verify_collateral_read(files, trust->collaterals, &e) < 0 ||
	    id_snp_store_pick(store, &r, &certs, &e) < 0)
		return quote_refused_print(&e, is_json);
	id_snp_store_crl(store, &certs);
	id_snp_judge(bytes, len, &certs, &snp, trust->policy, &result, &verdict);
	/* nothing of a report that is not proved */
	return quote_verdict_print(
		&verdict, verdict.tee == ID_TEE_SNP ? claims_report(&r, &result, trust->now) : json_object(), is_json);
}

int quote_snp_show(const uint8_t *bytes, size_t len, bool is_json)
{
	struct id_snp_report r;
	struct err e = ERR_INIT;
	json_t *o;

	if (id_snp_parse(bytes, len, &r, &e) < 0)
		return ev_fail(&e);
	o = quote_snp_body(&r);
	json_object_set_new(o, "current_tcb", json_hex(r.current_tcb, 8));
	json_object_set_new(o, "reported_tcb", json_hex(r.reported_tcb, 8));
	json_object_set_new(o, "committed_tcb", json_hex(r.committed_tcb, 8));
	json_object_set_new(o, "launch_tcb", json_hex(r.launch_tcb, 8));
	json_object_set_new(o, "verdict", json_string("not verified: bailey quote verify does that"));
	ev_print(o, is_json);
	return EV_OK;
}
