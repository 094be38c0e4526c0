// SPDX-License-Identifier: Apache-2.0
/* Not OpenSSL's path building: it refuses dstack's older CAs whole, and with all checks of usage off would take too
 * much. */
#include "issuer_chain.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/cleanup.h"

#define WHERE     "certificate chain"
#define ROOTS_MAX 16

struct certs {
	X509 *at[ROOTS_MAX];
	int n;
};

static void certs_fini(struct certs *c)
{
	while (c->n > 0)
		X509_free(c->at[--c->n]);
}

static int certs_read(const char *pem, size_t len, size_t max, const char *what, struct certs *c, struct err *e)
{
	c->n = id_x509_from_pem(pem, len, c->at, max);
	if (c->n > 0)
		return 0;
	return err_reason(e, ID_CERT_MALFORMED, WHERE, "%s: needs 1 to %zu certificates in PEM", what, max);
}

static int dates_check(const X509 *x509, int place, int64_t now, struct err *e)
{
	time_t at = (time_t)now;

	if (X509_cmp_time(X509_get0_notBefore(x509), &at) != -1 || X509_cmp_time(X509_get0_notAfter(x509), &at) != 1)
		return err_reason(e, ID_CERT_VALIDITY, WHERE, "certificate %d is not valid now", place);
	return 0;
}

/* Is certificate `place` a CA that may have `below` CAs under it? */
static int ca_check(X509 *x509, int place, int below, const struct id_issuer_trust *trust, struct id_issuer *issuer,
		    struct err *e)
{
	uint32_t flags = X509_get_extension_flags(x509);
	long path_len = X509_get_pathlen(x509);

	if (flags & (EXFLAG_INVALID | EXFLAG_CRITICAL) || X509_get_version(x509) != 2)
		return err_reason(e, ID_CERT_CHAIN, WHERE, "certificate %d has extensions that can not be honoured",
				  place);
	if (!(flags & EXFLAG_BCONS) || !(flags & EXFLAG_CA))
		return err_reason(e, ID_CERT_CHAIN, WHERE, "certificate %d is no CA", place);
	if (path_len >= 0 && path_len < below)
		return err_reason(e, ID_CERT_CHAIN, WHERE, "certificate %d allows %ld CAs below it, there are %d",
				  place, path_len, below);
	/* without keyUsage anything is allowed (RFC 5280, 4.2.1.3), but dstack always has it */
	if (flags & EXFLAG_KUSAGE && X509_get_key_usage(x509) & KU_KEY_CERT_SIGN)
		return 0;
	if (!trust->allow_ca_without_key_cert_sign)
		return err_reason(e, ID_CERT_CA_USAGE, WHERE, "certificate %d is a CA without keyCertSign", place);
	issuer->used_exception = true;
	return 0;
}

static int issued_check(X509 *x509, X509 *ca, int place, struct err *e)
{
	EVP_PKEY *key = X509_get0_pubkey(ca);

	if (X509_NAME_cmp(X509_get_issuer_name(x509), X509_get_subject_name(ca)) != 0)
		return err_reason(e, ID_CERT_CHAIN, WHERE, "certificate %d was issued by another name", place);
	if (!key || X509_verify(x509, key) != 1)
		return err_reason(e, ID_CERT_CHAIN, WHERE, "certificate %d is not signed by the next", place);
	return 0;
}

/* An App CA is one app's: what it signs says the same app. */
static int app_check(X509 *ca, const struct id_issuer_claims *leaf, int place, struct err *e)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	struct id_issuer_claims claims = { 0 };
	uint8_t *der = NULL;
	int len = i2d_X509(ca, &der), ret = -ENOMEM;

	if (len > 0)
		ret = id_cert_parse(der, (size_t)len, &cert, e);
	OPENSSL_free(der);
	if (!ret)
		ret = id_issuer_claims_read(&cert, &claims, e);
	if (ret < 0)
		return ret;
	if (claims.has_app_id && (!leaf->has_app_id || memcmp(claims.app_id, leaf->app_id, BY_APP_ID_LEN) != 0))
		return err_reason(e, ID_CERT_CLAIM, WHERE, "certificate %d is the CA of another app", place);
	return 0;
}

static X509 *root_of(const struct certs *roots, X509 *last)
{
	for (int i = 0; i < roots->n; i++)
		if (X509_cmp(roots->at[i], last) == 0)
			return roots->at[i];
	for (int i = 0; i < roots->n; i++)
		if (X509_NAME_cmp(X509_get_issuer_name(last), X509_get_subject_name(roots->at[i])) == 0 &&
		    X509_verify(last, X509_get0_pubkey(roots->at[i])) == 1)
			return roots->at[i];
	return NULL;
}

static int leaf_read(X509 *leaf, struct id_issuer *issuer, struct err *e)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	uint8_t *der = NULL;
	int len = i2d_X509(leaf, &der), ret = -ENOMEM;

	if (len > 0)
		ret = id_cert_parse(der, (size_t)len, &cert, e);
	OPENSSL_free(der);
	if (!ret && X509_get_extension_flags(leaf) & EXFLAG_CA)
		ret = err_reason(e, ID_CERT_CHAIN, WHERE, "begins with a CA");
	issuer->not_before = cert.not_before;
	issuer->not_after = cert.not_after;
	return ret < 0 ? ret : id_issuer_claims_read(&cert, &issuer->claims, e);
}

/* path: leaf, CAs, root */
static int path_check(X509 *const *path, int n, const struct id_issuer_trust *trust, struct id_issuer *made,
		      struct err *e)
{
	int ret = leaf_read(path[0], made, e);

	for (int i = 0; i < n && !ret; i++) {
		ret = dates_check(path[i], i + 1, trust->now, e);
		if (!ret)
			ret = issued_check(path[i], path[i + 1 < n ? i + 1 : i], i + 1, e); /* the root by itself */
		if (!ret && i)
			ret = ca_check(path[i], i + 1, i - 1, trust, made, e);
		if (!ret && i)
			ret = app_check(path[i], &made->claims, i + 1, e);
	}
	return ret;
}

static int chain_check(X509 *const *chain, int n, const struct certs *roots, const struct id_issuer_trust *trust,
		       struct id_issuer *made, struct err *e)
{
	X509 *path[ID_CHAIN_MAX + 1], *root = root_of(roots, chain[n - 1]);

	if (!root)
		return err_reason(e, ID_CERT_CHAIN, WHERE, "leads to none of the %d trusted CAs", roots->n);
	memcpy(path, chain, sizeof(path[0]) * (size_t)n);
	if (X509_cmp(root, path[n - 1]) != 0)
		path[n++] = root;
	if (n < 2)
		return err_reason(e, ID_CERT_CHAIN, WHERE, "is the trusted CA itself");
	return path_check(path, n, trust, made, e);
}

int id_issuer_verify_path(X509 *const *chain, int n, const struct id_issuer_trust *trust, struct id_issuer *issuer,
			  struct err *e)
{
	auto_call(certs_fini) struct certs roots = { 0 };
	struct id_issuer made = { 0 };
	int ret;

	if (n < 1 || n > ID_CHAIN_MAX)
		return err_reason(e, ID_CERT_MALFORMED, WHERE, "the chain: needs 1 to %d certificates, found %d",
				  ID_CHAIN_MAX, n);
	ERR_set_mark();
	ret = certs_read(trust->roots, trust->roots_len, ROOTS_MAX, "the trusted CAs", &roots, e);
	if (!ret)
		ret = chain_check(chain, n, &roots, trust, &made, e);
	ERR_pop_to_mark();
	if (!ret)
		*issuer = made;
	return ret;
}

int id_issuer_verify(const char *pem, size_t len, const struct id_issuer_trust *trust, struct id_issuer *issuer,
		     struct err *e)
{
	auto_call(certs_fini) struct certs chain = { 0 };
	int ret;

	ERR_set_mark();
	ret = certs_read(pem, len, ID_CHAIN_MAX, "the chain", &chain, e);
	ERR_pop_to_mark();
	return ret < 0 ? ret : id_issuer_verify_path(chain.at, chain.n, trust, issuer, e);
}
