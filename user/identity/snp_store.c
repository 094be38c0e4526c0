// SPDX-License-Identifier: Apache-2.0
/*
 * AMD's certificates and CRLs that an operator has at hand: PEM, DER, or the kernel's table, told apart by their form
 * alone. Nothing of them is believed: verification holds each that is picked against its place and the pinned root.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/cleanup.h"
#include "crypto.h"
#include "snp.h"
#include "x509.h"

#define WHERE     "SEV-SNP certificates"
#define CERTS_MAX 8

struct id_snp_item {
	uint8_t *der;
	size_t len;
	struct id_snp_vek vek; /* of a VEK */
	X509 *ca;
	X509_CRL *crl;
};

DEFINE_CLEANUP(x509_crl, X509_CRL, X509_CRL_free)

static void item_fini(struct id_snp_item *item)
{
	id_snp_vek_fini(&item->vek);
	X509_free(item->ca);
	X509_CRL_free(item->crl);
	free(item->der);
}

void id_snp_store_fini(struct id_snp_store *s)
{
	while (s->n)
		item_fini(&s->at[--s->n]);
	free(s->at);
	s->at = NULL;
}

static bool is_there(const struct id_snp_store *s, const uint8_t *der, size_t len)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->at[i].len == len && memcmp(s->at[i].der, der, len) == 0)
			return true;
	return false;
}

/* A new entry with a copy of `der`; *item is NULL when the very same is there already. */
static int item_new(struct id_snp_store *s, const uint8_t *der, size_t len, struct id_snp_item **item, struct err *e)
{
	struct id_snp_item *grown;

	*item = NULL;
	if (is_there(s, der, len))
		return 0;
	if (s->n == ID_SNP_STORE_MAX)
		return err_at(e, -ENOSPC, WHERE, "more than %d", ID_SNP_STORE_MAX);
	grown = realloc(s->at, (s->n + 1) * sizeof(*grown));
	if (!grown)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	s->at = grown;
	grown += s->n;
	*grown = (struct id_snp_item){ .der = malloc(len), .len = len };
	if (!grown->der)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	memcpy(grown->der, der, len);
	s->n++;
	*item = grown;
	return 0;
}

/* A VEK or a CA; AMD's roots are pinned, so one that comes along is passed over. */
static int cert_add(struct id_snp_store *s, const uint8_t *der, size_t len, struct err *e)
{
	auto_call(cleanup_x509) X509 *x509 = id_x509_from_der(der, len);
	struct id_snp_item *item;
	int ret;

	if (!x509)
		return err_reason(e, ID_SNP_CHAIN, WHERE, "%zu bytes that are no certificate", len);
	if (X509_NAME_cmp(X509_get_subject_name(x509), X509_get_issuer_name(x509)) == 0)
		return 0;
	ret = item_new(s, der, len, &item, e);
	if (!ret && item && id_snp_vek_parse(in_of(item->der, len), &item->vek, NULL) < 0)
		item->ca = take_ptr(x509);
	return ret;
}

/* Of one issuer the newest CRL stays. */
static int crl_add(struct id_snp_store *s, X509_CRL *taken, struct err *e)
{
	auto_call(cleanup_x509_crl) X509_CRL *crl = taken;
	struct id_snp_item *item = NULL;
	uint8_t *der = NULL;
	int len = crl ? i2d_X509_CRL(crl, &der) : -1, ret;

	if (len <= 0)
		return err_reason(e, ID_SNP_CHAIN, WHERE, "neither certificates nor a CRL that can be read");
	ret = item_new(s, der, (size_t)len, &item, e);
	OPENSSL_free(der);
	if (item)
		item->crl = take_ptr(crl);
	return ret;
}

/* OpenSSL's own callback would ask on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
	(void)buf, (void)size, (void)rwflag, (void)u;
	return -1;
}

static int pem_add(struct id_snp_store *s, const char *pem, size_t len, struct err *e)
{
	auto_call(cleanup_bio) BIO *bio = BIO_new_mem_buf(pem, (int)len);
	X509 *cert[CERTS_MAX];
	int n = id_x509_from_pem(pem, len, cert, CERTS_MAX), ret = 0;

	for (int i = 0; i < n; i++) {
		uint8_t *der = NULL;
		int der_len = i2d_X509(cert[i], &der);

		if (!ret)
			ret = cert_add(s, der, der_len > 0 ? (size_t)der_len : 0, e);
		OPENSSL_free(der);
		X509_free(cert[i]);
	}
	return n > 0 ? ret : crl_add(s, bio ? PEM_read_bio_X509_CRL(bio, NULL, no_passphrase, NULL) : NULL, e);
}

static int table_add(struct id_snp_store *s, const uint8_t *bytes, size_t len, struct err *e)
{
	struct id_snp_certs table;
	int ret = id_snp_table_parse(bytes, len, &table, e);

	if (!ret && !table.vek.p && !table.intermediate.p)
		ret = err_reason(e, ID_SNP_CHAIN, WHERE, "the table has no certificate");
	if (!ret && table.vek.p)
		ret = cert_add(s, table.vek.p, table.vek.left, e);
	if (!ret && table.intermediate.p)
		ret = cert_add(s, table.intermediate.p, table.intermediate.left, e);
	return ret;
}

int id_snp_store_add(struct id_snp_store *s, const uint8_t *bytes, size_t len, struct err *e)
{
	auto_call(cleanup_x509) X509 *x509 = NULL;
	const uint8_t *p = bytes;

	if (memmem(bytes, len, "-----BEGIN ", 11))
		return pem_add(s, (const char *)bytes, len, e);
	if (!len || bytes[0] != 0x30) /* no DER SEQUENCE */
		return table_add(s, bytes, len, e);
	x509 = id_x509_from_der(bytes, len);
	return x509 ? cert_add(s, bytes, len, e) : crl_add(s, d2i_X509_CRL(NULL, &p, (long)len), e);
}

/* --- for a report --- */

/* Of this chip or provider and TCB; of several the one that ends last. */
static const struct id_snp_item *vek_pick(const struct id_snp_store *s, const struct id_snp_report *r)
{
	const struct id_snp_item *best = NULL;

	for (size_t i = 0; i < s->n; i++)
		if (s->at[i].vek.x509 && id_snp_vek_fits(&s->at[i].vek, r) &&
		    (!best ||
		     ASN1_TIME_compare(X509_get0_notAfter(s->at[i].vek.x509), X509_get0_notAfter(best->vek.x509)) > 0))
			best = &s->at[i];
	return best;
}

static const struct id_snp_item *ca_pick(const struct id_snp_store *s, const X509_NAME *subject)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->at[i].ca && X509_NAME_cmp(X509_get_subject_name(s->at[i].ca), subject) == 0)
			return &s->at[i];
	return NULL;
}

/* Of one issuer the newest. */
static const struct id_snp_item *crl_pick(const struct id_snp_store *s, const X509_NAME *issuer)
{
	const struct id_snp_item *best = NULL;

	for (size_t i = 0; i < s->n; i++)
		if (s->at[i].crl && X509_NAME_cmp(X509_CRL_get_issuer(s->at[i].crl), issuer) == 0 &&
		    (!best || ASN1_TIME_compare(X509_CRL_get0_lastUpdate(s->at[i].crl),
						X509_CRL_get0_lastUpdate(best->crl)) > 0))
			best = &s->at[i];
	return best;
}

int id_snp_store_pick(const struct id_snp_store *s, const struct id_snp_report *r, struct id_snp_certs *certs,
		      struct err *e)
{
	const struct id_snp_item *vek = vek_pick(s, r), *ca = NULL;

	if (vek)
		ca = ca_pick(s, X509_get_issuer_name(vek->vek.x509));
	if (!ca)
		return err_reason(e, ID_COLLATERAL_MISSING, "SNP report", "no %s certificate is at hand",
				  vek ? "intermediate" : "VEK");
	*certs = (struct id_snp_certs){ .vek = in_of(vek->der, vek->len), .intermediate = in_of(ca->der, ca->len) };
	return 0;
}

void id_snp_store_crl(const struct id_snp_store *s, struct id_snp_certs *certs)
{
	auto_call(cleanup_x509) X509 *ca = id_x509_from_der(certs->intermediate.p, certs->intermediate.left);
	const struct id_snp_item *crl = ca ? crl_pick(s, X509_get_issuer_name(ca)) : NULL;

	if (crl)
		certs->crl = in_of(crl->der, crl->len);
}
