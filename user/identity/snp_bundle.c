// SPDX-License-Identifier: Apache-2.0
/* Certificates and CRLs from outside: PEM, DER, or the kernel's table, put in their places by their form alone. */
#include <errno.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/cleanup.h"
#include "crypto.h"
#include "snp.h"
#include "x509.h"

#define CERTS_MAX 8

DEFINE_CLEANUP(x509_crl, X509_CRL, X509_CRL_free)

void id_snp_bundle_fini(struct id_snp_bundle *b)
{
	while (b->n)
		free(b->bytes[--b->n]);
}

static int keep(struct id_snp_bundle *b, const uint8_t *bytes, int len, struct in *to, const char *what,
		const char *where, struct err *e)
{
	uint8_t *copy;

	if (to->p)
		return err_reason(e, ID_SNP_CHAIN, where, "a second %s", what);
	copy = len > 0 && b->n < ARRAY_LEN(b->bytes) ? malloc((size_t)len) : NULL;
	if (!copy)
		return err_at(e, -ENOMEM, where, "out of memory");
	memcpy(copy, bytes, (size_t)len);
	b->bytes[b->n++] = copy;
	*to = in_of(copy, (size_t)len);
	return 0;
}

/* Which of the three it is, by its form alone: verification holds each against its place. */
static int cert_put(X509 *x509, struct id_snp_bundle *b, const char *where, struct err *e)
{
	auto_call(id_snp_vek_fini) struct id_snp_vek vek = { 0 };
	bool is_root = X509_NAME_cmp(X509_get_subject_name(x509), X509_get_issuer_name(x509)) == 0;
	uint8_t *der = NULL;
	int len = i2d_X509(x509, &der), ret;

	if (len > 0 && id_snp_vek_parse(in_of(der, (size_t)len), &vek, NULL) == 0)
		ret = keep(b, der, len, &b->certs.vek, "VEK", where, e);
	else
		ret = keep(b, der, len, is_root ? &b->certs.root : &b->certs.intermediate,
			   is_root ? "root certificate" : "intermediate certificate", where, e);
	OPENSSL_free(der);
	return ret;
}

/* OpenSSL's own callback would ask on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
	(void)buf, (void)size, (void)rwflag, (void)u;
	return -1;
}

static int pem_put(const char *pem, size_t len, struct id_snp_bundle *b, const char *where, struct err *e)
{
	auto_call(cleanup_bio) BIO *bio = BIO_new_mem_buf(pem, (int)len);
	auto_call(cleanup_x509_crl) X509_CRL *crl = NULL;
	X509 *cert[CERTS_MAX];
	int n = id_x509_from_pem(pem, len, cert, CERTS_MAX), ret = 0, der_len;
	uint8_t *der = NULL;

	for (int i = 0; i < n; i++) {
		if (!ret)
			ret = cert_put(cert[i], b, where, e);
		X509_free(cert[i]);
	}
	if (n > 0)
		return ret;
	crl = bio ? PEM_read_bio_X509_CRL(bio, NULL, no_passphrase, NULL) : NULL;
	der_len = crl ? i2d_X509_CRL(crl, &der) : -1;
	ret = der_len > 0 ? keep(b, der, der_len, &b->certs.crl, "CRL", where, e)
			  : err_reason(e, ID_SNP_CHAIN, where, "is PEM without certificates or a CRL that can be read");
	OPENSSL_free(der);
	return ret;
}

static int table_put(const uint8_t *bytes, size_t len, struct id_snp_bundle *b, const char *where, struct err *e)
{
	struct id_snp_certs table;
	int ret = id_snp_table_parse(bytes, len, &table, e);

	if (!ret && table.vek.p)
		ret = keep(b, table.vek.p, (int)table.vek.left, &b->certs.vek, "VEK", where, e);
	if (!ret && table.intermediate.p)
		ret = keep(b, table.intermediate.p, (int)table.intermediate.left, &b->certs.intermediate,
			   "intermediate certificate", where, e);
	if (!ret && table.root.p)
		ret = keep(b, table.root.p, (int)table.root.left, &b->certs.root, "root certificate", where, e);
	return ret;
}

int id_snp_bundle_add(struct id_snp_bundle *b, const uint8_t *bytes, size_t len, const char *where, struct err *e)
{
	auto_call(cleanup_x509) X509 *x509 = NULL;

	if (memmem(bytes, len, "-----BEGIN ", 11))
		return pem_put((const char *)bytes, len, b, where, e);
	if (!len || bytes[0] != 0x30) /* no DER SEQUENCE */
		return table_put(bytes, len, b, where, e);
	x509 = id_x509_from_der(bytes, len);
	return x509 ? cert_put(x509, b, where, e) : keep(b, bytes, (int)len, &b->certs.crl, "CRL", where, e);
}
