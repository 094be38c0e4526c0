// SPDX-License-Identifier: Apache-2.0
/* Parts of certificates that are made here. */
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "x509.h"

#define SERIAL_LEN 16

DEFINE_CLEANUP(object, ASN1_OBJECT, ASN1_OBJECT_free)
DEFINE_CLEANUP(octets, ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)
DEFINE_CLEANUP(extension, X509_EXTENSION, X509_EXTENSION_free)

static bool serial_set(X509 *x509)
{
	uint8_t bytes[SERIAL_LEN];
	BIGNUM *n;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, of constant length */
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x509));
	BN_free(n);
	return ok;
}

X509 *id_x509_new(EVP_PKEY *key, int64_t not_before, int64_t not_after)
{
	auto_call(cleanup_x509) X509 *x509 = X509_new();

	if (!x509 || X509_set_version(x509, X509_VERSION_3) != 1 || !serial_set(x509) ||
	    !ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)not_before) ||
	    !ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)not_after) || X509_set_pubkey(x509, key) != 1)
		return NULL;
	return take_ptr(x509);
}

bool id_x509_name(X509_NAME *name, const char *field, const char *text)
{
	return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const uint8_t *)text, -1, -1, 0) == 1;
}

bool id_x509_ext(X509 *x509, X509 *issuer, int nid, const char *value)
{
	auto_call(cleanup_extension) X509_EXTENSION *ext = NULL;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	return ext && X509_add_ext(x509, ext, -1) == 1;
}

bool id_x509_add_ext(X509 *x509, enum id_ext n, const void *data, size_t len)
{
	char oid[32];
	auto_call(cleanup_object) ASN1_OBJECT *object = NULL;
	auto_call(cleanup_octets) ASN1_OCTET_STRING *inner = ASN1_OCTET_STRING_new();
	auto_call(cleanup_octets) ASN1_OCTET_STRING *outer = ASN1_OCTET_STRING_new();
	auto_call(cleanup_extension) X509_EXTENSION *extension = NULL;
	unsigned char *der = NULL;
	int der_len;

	snprintf(oid, sizeof(oid), "1.3.6.1.4.1.62397.1.%d", (int)n);
	object = OBJ_txt2obj(oid, 1);
	if (!object || !inner || !outer || ASN1_OCTET_STRING_set(inner, data, (int)len) != 1)
		return false;
	der_len = i2d_ASN1_OCTET_STRING(inner, &der);
	if (der_len < 0)
		return false;
	ASN1_STRING_set0(outer, der, der_len);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, 0, outer);
	return extension && X509_add_ext(x509, extension, -1) == 1;
}
