// SPDX-License-Identifier: Apache-2.0
/* RFC 5280, section 4.1, the part of it that Intel's PCK profile uses. */
#include <string.h>

#include "der.h"
#include "pki_parts.h"

#define EXTENSIONS_MAX 16

/* AlgorithmIdentifier of ecdsa-with-SHA256, no parameters */
static const uint8_t ecdsa_sha256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };
/* SubjectPublicKeyInfo of P-256 up to the point's X */
static const uint8_t spki_head[] = { 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
				     0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };

static const struct in oid_cn = ID_PKI_OID(0x55, 0x04, 0x03);

enum ext { EXT_BASIC, EXT_USAGE, EXT_SKI, EXT_AKI, EXT_SGX, EXT_CRL_POINTS, EXT_OTHER };

static const struct in oid_ext[] = {
	[EXT_BASIC] = ID_PKI_OID(0x55, 0x1d, 0x13),
	[EXT_USAGE] = ID_PKI_OID(0x55, 0x1d, 0x0f),
	[EXT_SKI] = ID_PKI_OID(0x55, 0x1d, 0x0e),
	[EXT_AKI] = ID_PKI_OID(0x55, 0x1d, 0x23),
	[EXT_SGX] = ID_PKI_OID(0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01), /* 1.2.840.113741.1.13.1 */
	[EXT_CRL_POINTS] = ID_PKI_OID(0x55, 0x1d, 0x1f),
};

const char *id_pki_signed(struct in der, struct in *tbs, struct in *tbs_content, struct in *sig)
{
	struct in seq, algorithm, bits;
	uint8_t tag, unused;

	if (!id_der_only(der, DER_SEQ, &seq) || !id_der_next(&seq, &tag, tbs_content, tbs) || tag != DER_SEQ ||
	    !id_der_get(&seq, DER_SEQ, &algorithm) || !id_der_get(&seq, DER_BITS, &bits) || seq.left)
		return "is not DER of a signed structure";
	if (algorithm.left != sizeof(ecdsa_sha256) || memcmp(algorithm.p, ecdsa_sha256, algorithm.left) != 0)
		return "is not signed by ECDSA with SHA-256";
	if (!in_u8(&bits, &unused) || unused)
		return "signature is not whole bytes";
	*sig = bits;
	return NULL;
}

bool id_pki_algorithm(struct in *tbs)
{
	struct in algorithm;

	return id_der_get(tbs, DER_SEQ, &algorithm) && algorithm.left == sizeof(ecdsa_sha256) &&
	       memcmp(algorithm.p, ecdsa_sha256, algorithm.left) == 0;
}

/* One common name, as text. Other parts of the name are compared as bytes where names meet. */
static bool read_cn(struct in name, struct in *cn)
{
	struct in set, pair, oid, text;
	uint8_t tag;

	*cn = (struct in){ 0 };
	while (name.left) {
		if (!id_der_get(&name, DER_SET, &set) || !id_der_get(&set, DER_SEQ, &pair) || set.left ||
		    !id_der_get(&pair, DER_OID, &oid) || !id_der_next(&pair, &tag, &text, NULL) || pair.left)
			return false;
		if (!id_der_equal(&oid, &oid_cn))
			continue;
		if (cn->p || (tag != DER_UTF8 && tag != DER_PRINTABLE))
			return false;
		*cn = text;
	}
	return cn->p != NULL;
}

static bool read_basic(struct in value, struct id_pki_cert *c)
{
	struct in seq;

	if (!id_der_only(value, DER_SEQ, &seq))
		return false;
	if (id_der_is(&seq, DER_BOOLEAN) && (!id_der_bool(&seq, &c->is_ca) || !c->is_ca))
		return false; /* DER leaves the default FALSE out */
	c->has_path_len = id_der_is(&seq, DER_INTEGER);
	if (c->has_path_len && (!c->is_ca || !id_der_uint(&seq, DER_INTEGER, 16, &c->path_len)))
		return false;
	return !seq.left;
}

static bool read_usage(struct in value, struct id_pki_cert *c)
{
	struct in bits;
	uint8_t unused;

	return id_der_only(value, DER_BITS, &bits) && in_u8(&bits, &unused) && unused < 8 && bits.left >= 1 &&
	       bits.left <= 2 && in_u8(&bits, &c->usage) && c->usage;
}

bool id_pki_aki(struct in value, struct in *aki)
{
	struct in seq;

	return id_der_only(value, DER_SEQ, &seq) && id_der_only(seq, 0x80, aki);
}

static bool ext_value(enum ext ext, struct in value, struct id_pki_cert *c)
{
	switch (ext) {
	case EXT_BASIC:
		return read_basic(value, c);
	case EXT_USAGE:
		return read_usage(value, c);
	case EXT_SKI:
		return id_der_only(value, DER_OCTETS, &c->ski);
	case EXT_AKI:
		return id_pki_aki(value, &c->aki);
	case EXT_SGX:
		c->sgx = value;
		return true;
	default:
		return true;
	}
}

bool id_pki_ext(struct in *exts, struct in *oid, bool *is_critical, struct in *value)
{
	struct in ext;

	*is_critical = false;
	if (!id_der_get(exts, DER_SEQ, &ext) || !id_der_get(&ext, DER_OID, oid))
		return false;
	if (id_der_is(&ext, DER_BOOLEAN) && (!id_der_bool(&ext, is_critical) || !*is_critical))
		return false; /* DER leaves the default FALSE out */
	return id_der_only(ext, DER_OCTETS, value);
}

static const char *read_exts(struct in exts, struct id_pki_cert *c)
{
	struct in oid[EXTENSIONS_MAX], value;
	bool is_critical;

	for (size_t n = 0; exts.left; n++) {
		enum ext ext = EXT_BASIC;

		if (n == EXTENSIONS_MAX || !id_pki_ext(&exts, &oid[n], &is_critical, &value))
			return "extensions are malformed or too many";
		for (size_t i = 0; i < n; i++)
			if (id_der_equal(&oid[i], &oid[n]))
				return "has the same extension twice";
		while (ext < EXT_OTHER && !id_der_equal(&oid_ext[ext], &oid[n]))
			ext++;
		if (ext == EXT_OTHER && is_critical)
			return "has a critical extension that is not known";
		if (!ext_value(ext, value, c))
			return "has a malformed extension";
	}
	return NULL;
}

static const char *read_key(struct in spki, struct id_pki_cert *c)
{
	if (spki.left != sizeof(spki_head) + ID_P256_RAW_LEN || memcmp(spki.p, spki_head, sizeof(spki_head)) != 0)
		return "key is not P-256, uncompressed";
	c->key_raw = spki.p + sizeof(spki_head);
	return NULL;
}

/* RFC 5280: positive, at most 20 bytes; a byte of zero may stand before them. */
static bool read_serial(struct in *tbs, struct in *serial)
{
	return id_der_get(tbs, DER_INTEGER, serial) && serial->left && serial->left <= 21 && !(serial->p[0] & 0x80) &&
	       (serial->left == 1 || serial->p[0] || serial->p[1] & 0x80);
}

static const char *read_tbs(struct in tbs, struct id_pki_cert *c)
{
	struct in version, issuer, validity, subject, spki, wrapped, exts, unused;
	const char *why;
	uint64_t v;
	uint8_t tag;

	if (!id_der_get(&tbs, DER_CONTEXT_0, &version) || !id_der_uint(&version, DER_INTEGER, 2, &v) || v != 2 ||
	    version.left)
		return "is not an X.509 certificate of version 3";
	if (!read_serial(&tbs, &c->serial) || !id_pki_algorithm(&tbs))
		return "serial number or algorithm is malformed";
	if (!id_der_next(&tbs, &tag, &issuer, &c->issuer) || tag != DER_SEQ || !id_der_get(&tbs, DER_SEQ, &validity) ||
	    !id_der_time(&validity, &c->not_before) || !id_der_time(&validity, &c->not_after) || validity.left ||
	    !id_der_next(&tbs, &tag, &subject, &c->subject) || tag != DER_SEQ)
		return "names or validity are malformed";
	if (!read_cn(subject, &c->cn) || !read_cn(issuer, &unused))
		return "a name without exactly one common name";
	if (!id_der_get(&tbs, DER_SEQ, &spki))
		return "has no public key";
	why = read_key(spki, c);
	if (why)
		return why;
	if (!id_der_only(tbs, DER_CONTEXT_3, &wrapped) || !id_der_only(wrapped, DER_SEQ, &exts))
		return "extensions are missing or malformed";
	return read_exts(exts, c);
}

const char *id_pki_cert_parse(struct in der, struct id_pki_cert *cert)
{
	struct id_pki_cert made = { .der = der };
	struct in tbs;
	const char *why = der.left <= ID_PKI_CERT_MAX ? id_pki_signed(der, &made.tbs, &tbs, &made.sig) : "is too long";

	if (!why)
		why = read_tbs(tbs, &made);
	if (!why)
		*cert = made;
	return why;
}

const char *id_pki_cert_issued(const struct id_pki_cert *cert, const struct id_pki_cert *issuer, EVP_PKEY *key)
{
	if (!id_der_equal(&cert->issuer, &issuer->subject))
		return "names another issuer";
	if (!issuer->is_ca || !(issuer->usage & ID_PKI_CERT_SIGN))
		return "issuer may not issue certificates";
	if (issuer->has_path_len && cert->is_ca && issuer->path_len == 0)
		return "path length of the issuer is exceeded";
	if (cert->aki.p && issuer->ski.p && !id_der_equal(&cert->aki, &issuer->ski))
		return "was issued by another key of its issuer";
	if (!id_ecdsa_verify(key, cert->sig.p, cert->sig.left, cert->tbs.p, cert->tbs.left))
		return "signature is wrong";
	return NULL;
}

bool id_pki_cn_is(const struct id_pki_cert *cert, const char *name)
{
	return cert->cn.left == strlen(name) && memcmp(cert->cn.p, name, cert->cn.left) == 0;
}
