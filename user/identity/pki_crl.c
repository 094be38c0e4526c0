// SPDX-License-Identifier: Apache-2.0
/* RFC 5280, section 5: complete CRLs of one issuer. Indirect, partial and delta CRLs carry critical extensions. */
#include "der.h"
#include "pki_parts.h"

static const struct in oid_aki = ID_PKI_OID(0x55, 0x1d, 0x23);

/* Extensions of a CRL or of an entry: none may be critical. */
static bool read_exts(struct in exts, struct in *aki)
{
	struct in oid, value;
	bool is_critical;

	while (exts.left) {
		if (!id_pki_ext(&exts, &oid, &is_critical, &value) || is_critical)
			return false;
		if (aki && id_der_equal(&oid, &oid_aki) && !id_pki_aki(value, aki))
			return false;
	}
	return true;
}

static bool read_entry(struct in *entries)
{
	struct in entry, serial, exts;
	int64_t when;

	if (!id_der_get(entries, DER_SEQ, &entry) || !id_der_get(&entry, DER_INTEGER, &serial) || !serial.left ||
	    !id_der_time(&entry, &when))
		return false;
	return !entry.left || (id_der_only(entry, DER_SEQ, &exts) && read_exts(exts, NULL));
}

static bool read_entries(struct in entries)
{
	for (size_t n = 0; entries.left; n++)
		if (n == ID_PKI_SERIALS_MAX || !read_entry(&entries))
			return false;
	return true;
}

static const char *read_tbs(struct in tbs, struct id_pki_crl *crl)
{
	struct in issuer, wrapped, exts;
	uint64_t version;
	uint8_t tag;

	if (!id_der_uint(&tbs, DER_INTEGER, 1, &version) || version != 1 || !id_pki_algorithm(&tbs))
		return "is not a CRL of version 2";
	if (!id_der_next(&tbs, &tag, &issuer, &crl->issuer) || tag != DER_SEQ)
		return "issuer is malformed";
	if (!id_der_time(&tbs, &crl->this_update) || !id_der_time(&tbs, &crl->next_update))
		return "has no dates, or malformed ones";
	if (id_der_is(&tbs, DER_SEQ) && (!id_der_get(&tbs, DER_SEQ, &crl->revoked) || !read_entries(crl->revoked)))
		return "list of serial numbers is malformed";
	if (!id_der_only(tbs, DER_CONTEXT_0, &wrapped) || !id_der_only(wrapped, DER_SEQ, &exts) ||
	    !read_exts(exts, &crl->aki))
		return "extensions are missing, malformed or critical";
	return NULL;
}

const char *id_pki_crl_parse(struct in der, struct id_pki_crl *crl)
{
	struct id_pki_crl made = { 0 };
	struct in tbs;
	const char *why = id_pki_signed(der, &made.tbs, &tbs, &made.sig);

	if (!why)
		why = read_tbs(tbs, &made);
	if (!why)
		*crl = made;
	return why;
}

const char *id_pki_crl_issued(const struct id_pki_crl *crl, const struct id_pki_cert *issuer, EVP_PKEY *key)
{
	if (!id_der_equal(&crl->issuer, &issuer->subject))
		return "is of another issuer";
	if (!(issuer->usage & ID_PKI_CRL_SIGN))
		return "issuer may not sign CRLs";
	if (crl->aki.p && issuer->ski.p && !id_der_equal(&crl->aki, &issuer->ski))
		return "was signed by another key of its issuer";
	if (!id_ecdsa_verify(key, crl->sig.p, crl->sig.left, crl->tbs.p, crl->tbs.left))
		return "signature is wrong";
	return NULL;
}

bool id_pki_is_revoked(const struct id_pki_crl *crl, const struct id_pki_cert *cert)
{
	struct in entries = crl->revoked, entry, serial;

	while (id_der_get(&entries, DER_SEQ, &entry))
		if (id_der_get(&entry, DER_INTEGER, &serial) && id_der_equal(&serial, &cert->serial))
			return true;
	return false;
}
