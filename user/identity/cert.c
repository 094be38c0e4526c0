// SPDX-License-Identifier: Apache-2.0
/*
 * What a leaf certificate proves, in this order: form and key (x509.c), validity, extensions (evidence.c), own
 * signature, quote (quote_tdx.c) or report (snp.c), its binding to the key, event log (eventlog.c), claims of the
 * issuer against it.
 */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "claims.h"
#include "collateral.h"
#include "evidence.h"

#define WHERE "certificate"

static int validity_check(const struct id_cert *cert, int64_t now, struct err *e)
{
	if (now < cert->not_before)
		return err_reason(e, ID_CERT_VALIDITY, WHERE, "is not valid for another %lld s",
				  (long long)(cert->not_before - now));
	if (now > cert->not_after)
		return err_reason(e, ID_CERT_VALIDITY, WHERE, "expired %lld s ago", (long long)(now - cert->not_after));
	return 0;
}

/*
 * Who signed the leaf says nothing, unless it is the leaf itself: dstack's leaves come from CAs that nobody here
 * trusts. The quote is bound to the key and to nothing else of the certificate, so names, dates and the issuer's
 * extensions are the word of whoever holds the key: TLS and records take a certificate only from its key's holder.
 */
static int signature_check(const struct id_cert *cert, struct err *e)
{
	if (cert->is_self_issued && !cert->is_self_signed)
		return err_reason(e, ID_CERT_SIGNATURE, WHERE, "is not signed by its own key");
	return 0;
}

/* The evidence is for what was asked: a key, or a session. */
static int binding_check(const struct id_evidence *ev, const uint8_t bound[ID_REPORT_DATA_LEN],
			 const uint8_t report_data[ID_REPORT_DATA_LEN], struct err *e)
{
	if (memcmp(bound, report_data, ID_REPORT_DATA_LEN) != 0)
		return err_reason(e, ID_QUOTE_BINDING, WHERE,
				  "report_data of the quote is not that of this key or session");
	if (!ev->is_legacy && memcmp(ev->att.report_data.p, report_data, ID_REPORT_DATA_LEN) != 0)
		return err_reason(e, ID_QUOTE_BINDING, WHERE,
				  "the attestation tells another report_data than its quote");
	return 0;
}

/* Claims of the issuer, as far as there are any, must not contradict the quote. Its device_id and os_image_hash may. */
static int claims_check(const struct id_cert *cert, const char *usage, const struct id_claims *claims, struct err *e)
{
	struct id_issuer_claims issuer;
	const struct id_app_info *info = &issuer.app_info;
	int ret = id_issuer_claims_read(cert, &issuer, e);

	if (ret < 0)
		return ret;
	if (issuer.has_app_id && memcmp(issuer.app_id, claims->app_id, BY_APP_ID_LEN) != 0)
		return err_reason(e, ID_CERT_CLAIM, WHERE, "app-id extension (.1.3) is not the app-id of the quote");
	if (issuer.usage[0] && strcmp(issuer.usage, usage) != 0)
		return err_reason(e, ID_CERT_CLAIM, WHERE, "usage extension (.1.4) is not %s", usage);
	if (issuer.has_app_info && (memcmp(info->app_id, claims->app_id, BY_APP_ID_LEN) != 0 ||
				    memcmp(info->compose_hash, claims->compose_hash, ID_HASH_LEN) != 0 ||
				    info->has_instance_id != claims->has_instance_id ||
				    memcmp(info->instance_id, claims->instance_id, BY_INSTANCE_ID_LEN) != 0 ||
				    memcmp(info->mr_system, claims->mr_system, ID_HASH_LEN) != 0 ||
				    memcmp(info->mr_aggregated, claims->mr_aggregated, ID_HASH_LEN) != 0))
		return err_reason(e, ID_CERT_CLAIM, WHERE, "app_info extension (.1.9) is not what the quote proves");
	return 0;
}

/* The quote by itself. The certificate is good no longer than the collateral that judged it. */
static int quote_check(const struct id_quote *quote, const struct id_trust *trust, struct id_claims *made,
		       struct err *e)
{
	struct id_verdict verdict;
	struct id_pck pck;
	int ret;

	id_quote_judge(quote, trust, &verdict, &pck);
	ret = id_verdict_err(&verdict, "quote", e);
	if (ret < 0)
		return ret;
	made->tee = verdict.tee;
	made->tcb_status = verdict.tcb_status;
	made->evidence_until = verdict.good_until;
	made->has_device_id = verdict.tee == ID_TEE_TDX;
	if (made->has_device_id && !id_hash(EVP_sha256(), made->device_id, pck.ppid, sizeof(pck.ppid), NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	return 0;
}

static int tdx_check(const struct id_evidence *ev, const uint8_t bound[ID_REPORT_DATA_LEN],
		     const struct id_trust *trust, struct id_claims *claims, struct err *e)
{
	struct id_quote quote;
	struct id_log log;
	int ret = id_quote_parse(ev->att.evidence.p, ev->att.evidence.left, &quote, e);

	if (!ret)
		ret = quote_check(&quote, trust, claims, e);
	if (!ret)
		ret = binding_check(ev, bound, quote.report_data, e);
	if (!ret)
		ret = id_evidence_replay(ev, quote.rtmr, &log, e);
	if (ret < 0)
		return ret;
	claims->is_simulated = claims->tee == ID_TEE_SIM;
	id_claims_from_log(&log, claims);
	return id_claims_from_quote(&quote, &log, claims) ? 0 : err_at(e, -ENOMEM, WHERE, "out of memory");
}

/* Those that came along, else those at hand. */
static int snp_certs(const struct id_evidence *ev, const struct id_snp_store *store, struct id_snp_certs *certs,
		     struct err *e)
{
	static const struct id_snp_store none;
	struct id_snp_report r;
	int ret;

	if (!store)
		store = &none;
	if (ev->att.n_certs) {
		ret = id_evidence_snp_certs(&ev->att, certs, e);
	} else {
		ret = id_snp_parse(ev->att.evidence.p, ev->att.evidence.left, &r, e);
		if (!ret)
			ret = id_snp_store_pick(store, &r, certs, e);
	}
	if (!ret && !certs->crl.p)
		id_snp_store_crl(store, certs);
	return ret;
}

/* There are no registers: runtime events prove nothing, and the identity is that of the document in HOST_DATA. */
static int snp_check(const struct id_evidence *ev, const uint8_t bound[ID_REPORT_DATA_LEN],
		     const struct id_trust *trust, struct id_claims *claims, struct err *e)
{
	const struct id_snp_trust snp = { .now = trust->now, .roots = trust->snp_roots };
	const struct in *report = &ev->att.evidence;
	struct id_snp_result result;
	struct id_verdict verdict;
	struct id_snp_certs certs;
	struct id_snp_report r;
	struct id_log log;
	int ret;

	/* said first, and nothing of the report is read: the operator has not asked for any */
	if (!trust->policy || !trust->policy->snp.is_allowed)
		return err_reason(
			e, ID_SNP_TCB, WHERE,
			"SEV-SNP: the evidence policy has no section snp: nothing says which TCB is new enough");
	ret = snp_certs(ev, id_collaterals_snp(trust->collaterals), &certs, e);
	if (ret < 0)
		return ret;
	id_snp_judge(report->p, report->left, &certs, &snp, trust->policy, &result, &verdict);
	ret = id_verdict_err(&verdict, WHERE, e);
	if (!ret)
		ret = id_snp_parse(report->p, report->left, &r, e);
	if (!ret)
		ret = binding_check(ev, bound, r.report_data, e);
	if (!ret)
		ret = id_mr_config_read(ev->att.mr_config, r.host_data, &log, e);
	if (ret < 0)
		return ret;
	*claims = result.claims;
	claims->evidence_until = result.not_after;
	id_claims_from_log(&log, claims);
	return 0;
}

static int evidence_prove(const struct id_evidence *ev, const uint8_t bound[ID_REPORT_DATA_LEN],
			  const struct id_trust *trust, struct id_claims *claims, struct err *e)
{
	return ev->att.kind == ID_ATTESTATION_SNP ? snp_check(ev, bound, trust, claims, e)
						  : tdx_check(ev, bound, trust, claims, e);
}

int id_attestation_prove(const uint8_t *bytes, size_t len, const uint8_t report_data[ID_REPORT_DATA_LEN],
			 const struct id_trust *trust, struct id_claims *claims, struct err *e)
{
	auto_call(id_evidence_fini) struct id_evidence ev = { 0 };
	struct id_claims made = { 0 };
	int ret;

	ERR_set_mark();
	ret = id_attestation_read(bytes, len, &ev.att, e);
	if (!ret)
		ret = evidence_prove(&ev, report_data, trust, &made, e);
	ERR_pop_to_mark();
	if (!ret)
		*claims = made;
	return ret;
}

/* Everything behind the extensions: quote, binding, log. */
static int evidence_check(const struct id_cert *cert, const struct id_trust *trust, struct id_claims *claims,
			  struct err *e)
{
	auto_call(id_evidence_fini) struct id_evidence ev = { 0 };
	uint8_t bound[ID_REPORT_DATA_LEN];
	struct id_claims made = { 0 };
	int ret = id_evidence_read(cert, &ev, e);

	if (!ret && !id_cert_report_data(cert->spki, bound))
		ret = err_at(e, -ENOMEM, WHERE, "out of memory");
	if (!ret)
		ret = signature_check(cert, e);
	if (!ret)
		ret = evidence_prove(&ev, bound, trust, &made, e);
	if (!ret)
		ret = claims_check(cert, trust->usage ? trust->usage : ID_USAGE_LEAF, &made, e);
	if (ret < 0)
		return ret;
	if (!id_hash(EVP_sha256(), made.spki_sha256, cert->spki, ID_SPKI_LEN, NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	made.not_before = cert->not_before;
	made.not_after = cert->not_after;
	if (made.evidence_until && made.evidence_until < made.not_after)
		made.not_after = made.evidence_until;
	*claims = made;
	return 0;
}

int id_cert_check(const struct id_cert *cert, const struct id_trust *trust, struct id_claims *claims, struct err *e)
{
	int ret = validity_check(cert, trust->now, e);

	return ret < 0 ? ret : evidence_check(cert, trust, claims, e);
}

int id_cert_verify(const uint8_t *der, size_t len, const struct id_trust *trust, struct id_claims *claims,
		   struct err *e)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	int ret;

	ERR_set_mark(); /* callers that speak TLS read OpenSSL's error queue */
	ret = id_cert_parse(der, len, &cert, e);
	if (!ret)
		ret = id_cert_check(&cert, trust, claims, e);
	ERR_pop_to_mark();
	return ret;
}

int id_cert_verify_pem(const char *pem, size_t len, const struct id_trust *trust, struct id_claims *claims,
		       struct err *e)
{
	X509 *chain[8] = { 0 };
	uint8_t *der = NULL;
	int n = id_x509_from_pem(pem, len, chain, ARRAY_LEN(chain)), size = n > 0 ? i2d_X509(chain[0], &der) : -1;
	int ret;

	if (size > 0)
		ret = id_cert_verify(der, (size_t)size, trust, claims, e);
	else
		ret = err_reason(e, ID_CERT_MALFORMED, "certificate", "PEM text holds no certificate that can be read");
	OPENSSL_free(der);
	for (int i = 0; i < n; i++)
		X509_free(chain[i]);
	return ret;
}
