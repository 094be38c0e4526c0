// SPDX-License-Identifier: Apache-2.0
#include "x509.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXTENSIONS_MAX 32
#define WHERE          "certificate"

/* DER of 1.3.6.1.4.1.62397.1, one byte N follows */
static const uint8_t arc[] = { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xe7, 0x3d, 0x01 };

X509 *id_x509_from_der(const uint8_t *der, size_t len)
{
	const uint8_t *p = der;
	auto_call(cleanup_x509) X509 *x509 = len <= ID_CERT_MAX ? d2i_X509(NULL, &p, (long)len) : NULL;
	unsigned char *again = NULL;
	bool is_same;

	if (!x509 || p != der + len)
		return NULL;
	/* d2i takes BER. The signature covers what lies inside the outer sequence; the wrapping must be the one DER. */
	is_same = i2d_X509(x509, &again) == (int)len && memcmp(again, der, len) == 0;
	OPENSSL_free(again);
	return is_same ? take_ptr(x509) : NULL;
}

/* 1: another certificate, 0: no more blocks, -1: a broken one. */
static int pem_next(BIO *bio, X509 **cert)
{
	char *name = NULL, *header = NULL;
	unsigned char *data = NULL;
	long len = 0;

	if (PEM_read_bio(bio, &name, &header, &data, &len) != 1)
		return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ? 0 : -1;
	/* "TRUSTED CERTIFICATE" carries trust settings and headers mean encryption: neither is taken */
	if (strcmp(name, PEM_STRING_X509) == 0 && !header[0])
		*cert = id_x509_from_der(data, (size_t)len);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(data);
	return *cert ? 1 : -1;
}

int id_x509_from_pem(const char *pem, size_t len, X509 **certs, size_t max)
{
	auto_call(cleanup_bio) BIO *bio = len <= INT32_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
	int ret = bio ? 1 : -ENOMEM;
	size_t n = 0;

	ERR_set_mark();
	while (ret > 0) {
		auto_call(cleanup_x509) X509 *cert = NULL;

		ret = pem_next(bio, &cert);
		if (ret > 0 && n == max)
			ret = -E2BIG;
		else if (ret > 0)
			certs[n++] = take_ptr(cert);
		else if (ret < 0)
			ret = -EBADMSG;
	}
	ERR_pop_to_mark();
	while (ret < 0 && n)
		X509_free(certs[--n]);
	return ret < 0 ? ret : (int)n;
}

static char *bio_text(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return len > 0 ? strndup(data, (size_t)len) : NULL;
}

char *id_x509_to_pem(X509 *x509)
{
	auto_call(cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());

	return bio && PEM_write_bio_X509(bio, x509) == 1 ? bio_text(bio) : NULL;
}

char *id_key_to_pem(const EVP_PKEY *key)
{
	auto_call(cleanup_bio) BIO *bio = BIO_new(BIO_s_secmem());

	return bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 ? bio_text(bio) : NULL;
}

void id_secret_free(char *text)
{
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

static bool time_unix(const ASN1_TIME *t, int64_t *unix_s)
{
	struct tm tm;

	if (ASN1_TIME_check(t) != 1 || ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*unix_s = timegm(&tm);
	return true;
}

/* The content of a DER OCTET STRING that fills `in`. */
static bool der_octets(struct in in, struct in *content)
{
	uint8_t tag, first, byte;
	size_t len = 0;

	if (!in_u8(&in, &tag) || tag != 0x04 || !in_u8(&in, &first))
		return false;
	if (first < 0x80) {
		len = first;
	} else {
		if (first == 0x80 || first > 0x83)
			return false;
		for (int n = first & 0x7f; n > 0; n--) {
			if (!in_u8(&in, &byte))
				return false;
			len = len << 8 | byte;
		}
		if (len < 0x80 || len >> (8 * ((first & 0x7f) - 1)) == 0) /* not the shortest form */
			return false;
	}
	if (len != in.left)
		return false;
	*content = in;
	return true;
}

static bool is_repeated(X509 *x509, int i)
{
	const ASN1_OBJECT *object = X509_EXTENSION_get_object(X509_get_ext(x509, i));

	return X509_get_ext_by_OBJ(x509, object, i) >= 0;
}

static int ext_read(X509_EXTENSION *extension, struct in ext[ID_EXT_COUNT], struct err *e)
{
	const ASN1_OBJECT *object = X509_EXTENSION_get_object(extension);
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
	size_t len = OBJ_length(object);
	unsigned n;

	if (len != sizeof(arc) + 1 || memcmp(OBJ_get0_data(object), arc, sizeof(arc)) != 0)
		return 0;
	n = OBJ_get0_data(object)[sizeof(arc)];
	if (n >= ID_EXT_COUNT)
		return 0;
	if (!der_octets(in_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value)), &ext[n]))
		return err_reason(e, ID_CERT_EXTENSION, WHERE, "RA-TLS extension .1.%u is not one DER OCTET STRING", n);
	return 0;
}

static int exts_read(X509 *x509, struct in ext[ID_EXT_COUNT], struct err *e)
{
	int count = X509_get_ext_count(x509);

	if (count > EXTENSIONS_MAX)
		return err_reason(e, ID_CERT_EXTENSION, WHERE, "has %d extensions, at most %d are read", count,
				  EXTENSIONS_MAX);
	for (int i = 0; i < count; i++) {
		if (is_repeated(x509, i)) /* RFC 5280, 4.2 */
			return err_reason(e, ID_CERT_EXTENSION, WHERE, "the same extension occurs twice");
		if (ext_read(X509_get_ext(x509, i), ext, e) < 0)
			return e ? e->code : -EBADMSG;
	}
	if (X509_get_version(x509) != X509_VERSION_3 || X509_get_extension_flags(x509) & EXFLAG_INVALID)
		return err_reason(e, ID_CERT_EXTENSION, WHERE,
				  "is not version 3, or a standard extension is malformed");
	if (X509_get_extension_flags(x509) & EXFLAG_CRITICAL)
		return err_reason(e, ID_CERT_EXTENSION, WHERE, "a critical extension is not understood");
	return 0;
}

void id_cert_fini(struct id_cert *cert)
{
	X509_free(cert->x509);
	EVP_PKEY_free(cert->key);
	*cert = (struct id_cert){ 0 };
}

/* The key, and its SubjectPublicKeyInfo byte by byte as the certificate has it. */
static bool key_read(X509 *x509, struct id_cert *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
	bool ok;

	cert->key = X509_get_pubkey(x509);
	ok = cert->key && id_p256_spki(cert->key, cert->spki) && len == ID_SPKI_LEN &&
	     memcmp(der, cert->spki, ID_SPKI_LEN) == 0;
	OPENSSL_free(der);
	return ok;
}

static int cert_fill(const uint8_t *der, size_t len, struct id_cert *cert, struct err *e)
{
	cert->x509 = id_x509_from_der(der, len);
	if (!cert->x509)
		return err_reason(e, ID_CERT_MALFORMED, WHERE, "is not one DER certificate of at most %d bytes",
				  ID_CERT_MAX);
	if (!time_unix(X509_get0_notBefore(cert->x509), &cert->not_before) ||
	    !time_unix(X509_get0_notAfter(cert->x509), &cert->not_after))
		return err_reason(e, ID_CERT_MALFORMED, WHERE, "validity can not be read");
	if (!key_read(cert->x509, cert))
		return err_reason(e, ID_CERT_KEY, WHERE, "key must be ECDSA P-256, named curve, uncompressed");
	cert->is_self_issued = X509_NAME_cmp(X509_get_subject_name(cert->x509), X509_get_issuer_name(cert->x509)) == 0;
	cert->is_self_signed = X509_verify(cert->x509, cert->key) == 1;
	return exts_read(cert->x509, cert->ext, e);
}

int id_cert_parse(const uint8_t *der, size_t len, struct id_cert *cert, struct err *e)
{
	auto_call(id_cert_fini) struct id_cert made = { 0 };
	int ret;

	ERR_set_mark();
	ret = cert_fill(der, len, &made, e);
	ERR_pop_to_mark();
	if (ret < 0)
		return ret;
	*cert = made;
	made = (struct id_cert){ 0 };
	return 0;
}

bool id_cert_report_data(const uint8_t spki[ID_SPKI_LEN], uint8_t report_data[ID_REPORT_DATA_LEN])
{
	static const char tag[] = "ratls-cert:";

	return id_hash(EVP_sha512(), report_data, tag, strlen(tag), spki, ID_SPKI_LEN);
}

/* A shorter hash with zeros behind it, or one of anything but the DER of the key, is another binding. */
bool id_cert_is_bound(const struct id_cert *cert, const uint8_t report_data[ID_REPORT_DATA_LEN])
{
	uint8_t bound[ID_REPORT_DATA_LEN];

	return id_cert_report_data(cert->spki, bound) && memcmp(bound, report_data, sizeof(bound)) == 0;
}
