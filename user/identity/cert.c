// SPDX-License-Identifier: Apache-2.0
/*
 * What a leaf certificate proves, in this order: form and key (x509.c), validity, own signature, extensions, quote
 * (quote_tdx.c), binding of the quote to the key, event log (eventlog.c), claims of the issuer against the quote.
 */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "eventlog.h"
#include "quote_tdx.h"
#include "x509.h"

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

static int exts_check(const struct id_cert *cert, struct err *e)
{
	if (!cert->ext[ID_EXT_QUOTE].p && cert->ext[ID_EXT_ATTESTATION].p)
		return err_reason(e, ID_QUOTE_UNSUPPORTED, WHERE,
				  "attestation extension (.1.8) can not be read yet, a quote (.1.1) is needed");
	if (!cert->ext[ID_EXT_QUOTE].p || !cert->ext[ID_EXT_EVENTLOG].p)
		return err_reason(e, ID_CERT_EXTENSION, WHERE, "carries no %s",
				  cert->ext[ID_EXT_QUOTE].p ? "event log (.1.2)" : "quote (.1.1)");
	return 0;
}

/*
 * dstack's leaves come from CAs that need not be trusted: the quote decides, and the signature of an unknown issuer
 * says nothing. Simulated leaves are always made self-signed, so there the whole certificate must be what its key
 * signed.
 */
static int signature_check(const struct id_cert *cert, bool is_simulated, struct err *e)
{
	if ((cert->is_self_issued || is_simulated) && !cert->is_self_signed)
		return err_reason(e, ID_CERT_SIGNATURE, WHERE, "is not signed by its own key");
	return 0;
}

static int binding_check(const struct id_cert *cert, const struct id_quote *quote, struct err *e)
{
	uint8_t bound[ID_REPORT_DATA_LEN];

	if (!id_cert_report_data(cert->spki, bound) || memcmp(bound, quote->report_data, sizeof(bound)) != 0)
		return err_reason(e, ID_QUOTE_BINDING, WHERE,
				  "report_data of the quote is not SHA-512(\"ratls-cert:\" || public key)");
	return 0;
}

/* Claims of the issuer, as far as there are any, must not contradict the quote. */
static int claims_check(const struct id_cert *cert, const struct id_log *log, struct err *e)
{
	const struct in *app_id = &cert->ext[ID_EXT_APP_ID], *usage = &cert->ext[ID_EXT_USAGE];

	if (app_id->p && (app_id->left != BY_APP_ID_LEN || memcmp(app_id->p, log->app_id, BY_APP_ID_LEN) != 0))
		return err_reason(e, ID_CERT_CLAIM, WHERE,
				  "app-id extension (.1.3) is not the app-id of the event log");
	if (usage->p && (usage->left != strlen(ID_USAGE_LEAF) || memcmp(usage->p, ID_USAGE_LEAF, usage->left) != 0))
		return err_reason(e, ID_CERT_CLAIM, WHERE, "usage extension (.1.4) is not " ID_USAGE_LEAF);
	return 0;
}

static void claims_fill(const struct id_cert *cert, const struct id_quote *quote, const struct id_log *log,
			struct id_claims *claims)
{
	memcpy(claims->app_id, log->app_id, sizeof(claims->app_id));
	memcpy(claims->instance_id, log->instance_id, sizeof(claims->instance_id));
	claims->has_instance_id = log->has_instance_id;
	memcpy(claims->compose_hash, log->compose_hash, sizeof(claims->compose_hash));
	memcpy(claims->os_image_hash, log->os_image_hash, sizeof(claims->os_image_hash));
	claims->has_os_image_hash = log->has_os_image_hash;
	memcpy(claims->key_provider, log->key_provider, sizeof(claims->key_provider));
	memcpy(claims->mrtd, quote->mrtd, sizeof(claims->mrtd));
	memcpy(claims->rtmr, quote->rtmr, sizeof(claims->rtmr));
	claims->td_attributes = quote->td_attributes;
	claims->not_before = cert->not_before;
	claims->not_after = cert->not_after;
	if (claims->evidence_until && claims->evidence_until < claims->not_after)
		claims->not_after = claims->evidence_until;
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
	made->evidence_until = verdict.collateral_until;
	made->has_device_id = verdict.tee == ID_TEE_TDX;
	if (made->has_device_id && !id_hash(EVP_sha256(), made->device_id, pck.ppid, sizeof(pck.ppid), NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	return 0;
}

/* Everything behind the extensions: quote, binding, log. */
static int evidence_check(const struct id_cert *cert, const struct id_trust *trust, struct id_claims *claims,
			  struct err *e)
{
	struct id_claims made = { 0 };
	struct id_quote quote;
	struct id_log log;
	int ret = id_quote_parse(cert->ext[ID_EXT_QUOTE].p, cert->ext[ID_EXT_QUOTE].left, &quote, e);

	if (!ret)
		ret = signature_check(cert, id_quote_is_simulated(&quote), e);
	if (!ret)
		ret = quote_check(&quote, trust, &made, e);
	if (!ret)
		ret = binding_check(cert, &quote, e);
	if (!ret)
		ret = id_eventlog_read((const char *)cert->ext[ID_EXT_EVENTLOG].p, cert->ext[ID_EXT_EVENTLOG].left,
				       quote.rtmr, &log, e);
	if (!ret)
		ret = claims_check(cert, &log, e);
	if (ret < 0)
		return ret;
	if (!id_hash(EVP_sha256(), made.spki_sha256, cert->spki, ID_SPKI_LEN, NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	claims_fill(cert, &quote, &log, &made);
	made.is_simulated = made.tee == ID_TEE_SIM;
	*claims = made;
	return 0;
}

int id_cert_check(const struct id_cert *cert, const struct id_trust *trust, struct id_claims *claims, struct err *e)
{
	int ret = validity_check(cert, trust->now, e);

	if (!ret)
		ret = exts_check(cert, e);
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
