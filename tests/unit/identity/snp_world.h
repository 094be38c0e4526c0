/* SPDX-License-Identifier: Apache-2.0 */
/* A platform like AMD's: own roots, intermediates and VEKs, and reports that they sign, made wrongly on demand. */
#pragma once

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "identity/snp.h"
#include "world.h"

#define SNP_CSP "CN=test.example"

struct der {
	uint8_t *p;
	size_t len;
};

static struct {
	EVP_PKEY *ark_key, *ask_key, *vlek_ca_key, *vek_key;
	X509 *ark[ID_SNP_PRODUCTS];
	struct in roots[ID_SNP_PRODUCTS];
	struct der ark_der[ID_SNP_PRODUCTS];
} snp;

/* What to do differently. Zero: a good VCEK of Milan. */
struct snp_forge {
	enum id_snp_product product;
	enum id_snp_signer signer;
	const char *product_text; /* of the VEK's extension */
	const char *skip, *twice; /* TCB extension without, or with twice: "3.1" */
	const char *off;          /* TCB extension one higher than the report's */
	const void *hwid;         /* another extension value */
	size_t hwid_len;
	bool no_hwid, no_csp, with_csp, is_ca;
	const char *ask_cn, *vek_cn;              /* other names */
	bool ask_no_ca, ask_foreign, vek_foreign; /* signed by another key */
	bool pkcs1;                               /* VEK signed with PKCS#1 padding */
	int64_t vek_from, vek_to;                 /* 0: around NOW */
	void (*report)(uint8_t *report);          /* before it is signed */
	void (*signed_report)(uint8_t *report);
};

static inline struct der snp_der(X509 *x509)
{
	struct der der = { 0 };
	unsigned char *made = NULL;
	int len = i2d_X509(x509, &made);

	assert_true(len > 0);
	der.p = malloc((size_t)len);
	memcpy(der.p, made, (size_t)len);
	der.len = (size_t)len;
	OPENSSL_free(made);
	return der;
}

static inline void snp_sign(X509 *x509, EVP_PKEY *key, bool pkcs1)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;

	assert_int_equal(EVP_DigestSignInit(ctx, &pctx, EVP_sha384(), NULL, key), 1);
	if (!pkcs1)
		assert_true(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
			    EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 48) == 1);
	assert_true(X509_sign_ctx(x509, ctx) > 0);
	EVP_MD_CTX_free(ctx);
}

static inline X509 *snp_cert(const char *cn, const char *issuer_cn, EVP_PKEY *key, int64_t from, int64_t to, bool is_ca)
{
	X509 *x509 = X509_new();

	X509_set_version(x509, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), is_ca ? (long)strlen(cn) : 0);
	ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)from);
	ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)to);
	X509_set_pubkey(x509, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC, (const uint8_t *)cn, -1, -1, 0);
	X509_NAME_add_entry_by_txt(X509_get_issuer_name(x509), "CN", MBSTRING_ASC, (const uint8_t *)issuer_cn, -1, -1,
				   0);
	if (is_ca) {
		X509_EXTENSION *basic = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
		X509_EXTENSION *usage = X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "critical,keyCertSign,cRLSign");

		assert_true(X509_add_ext(x509, basic, -1) == 1 && X509_add_ext(x509, usage, -1) == 1);
		X509_EXTENSION_free(basic);
		X509_EXTENSION_free(usage);
	}
	return x509;
}

static inline void snp_ext(X509 *x509, const char *number, const void *value, size_t len)
{
	char oid[64];
	ASN1_OBJECT *object;
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;

	snprintf(oid, sizeof(oid), "1.3.6.1.4.1.3704.1.%s", number);
	object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING_set(octets, value, (int)len);
	ext = X509_EXTENSION_create_by_OBJ(NULL, object, 0, octets);
	assert_int_equal(X509_add_ext(x509, ext, -1), 1);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(octets);
	ASN1_OBJECT_free(object);
}

static inline void snp_ext_text(X509 *x509, const char *number, const char *text)
{
	uint8_t der[130] = { 0x16, (uint8_t)strlen(text) };

	memcpy(der + 2, text, strlen(text));
	snp_ext(x509, number, der, 2 + strlen(text));
}

static inline void snp_ext_svn(const struct snp_forge *f, X509 *x509, const char *number, uint8_t svn)
{
	uint8_t one[] = { 2, 1, svn }, two[] = { 2, 2, 0, svn };
	int times = f->skip && strcmp(f->skip, number) == 0 ? 0 : f->twice && strcmp(f->twice, number) == 0 ? 2 : 1;

	if (f->off && strcmp(f->off, number) == 0)
		one[2] = two[3] = (uint8_t)(svn + 1);
	while (times--)
		snp_ext(x509, number, one[2] < 0x80 ? one : two, one[2] < 0x80 ? sizeof(one) : sizeof(two));
}

/* A report that asks for nothing unusual: reported TCB 3.1.7.200 (fmc 2 on Turin). */
static inline void snp_report(const struct snp_forge *f, uint8_t b[ID_SNP_REPORT_LEN])
{
	static const uint8_t milan[8] = { 3, 1, 0, 0, 0, 0, 7, 200 }, turin[8] = { 2, 3, 1, 7, 0, 0, 0, 200 };
	static const size_t tcbs[] = { 0x38, 0x180, 0x1e0, 0x1f0 };
	static const uint8_t family[] = { 0x19, 0x19, 0x1a }, model[] = { 1, 0x11, 2 };

	memset(b, 0, ID_SNP_REPORT_LEN);
	b[0] = 3;
	b[0x0a] = 3; /* policy: SMT and bit 17 */
	b[0x34] = 1;
	b[0x48] = f->signer == ID_SNP_VLEK ? 4 : 0;
	memset(b + 0x50, 0xd0, 64);
	memset(b + 0x90, 0x3e, 48);
	memset(b + 0xc0, 0x4c, 32);
	for (size_t i = 0; i < ARRAY_LEN(tcbs); i++)
		memcpy(b + tcbs[i], f->product == ID_SNP_TURIN ? turin : milan, 8);
	b[0x188] = family[f->product];
	b[0x189] = model[f->product];
	if (f->signer == ID_SNP_VCEK)
		memset(b + 0x1a0, 0xc1, f->product == ID_SNP_TURIN ? 8 : 64);
	if (f->report)
		f->report(b);
}

static inline void snp_report_sign(uint8_t b[ID_SNP_REPORT_LEN])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[128];
	const uint8_t *p = der;
	size_t len = sizeof(der);
	ECDSA_SIG *sig;

	assert_true(EVP_DigestSignInit(ctx, NULL, EVP_sha384(), NULL, snp.vek_key) == 1 &&
		    EVP_DigestSign(ctx, der, &len, b, ID_SNP_SIGNED_LEN) == 1);
	EVP_MD_CTX_free(ctx);
	sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
	assert_true(BN_bn2lebinpad(ECDSA_SIG_get0_r(sig), b + 0x2a0, 72) == 72 &&
		    BN_bn2lebinpad(ECDSA_SIG_get0_s(sig), b + 0x2a0 + 72, 72) == 72);
	ECDSA_SIG_free(sig);
}

static inline X509 *snp_vek(const struct snp_forge *f, const char *issuer_cn)
{
	static const uint8_t hwid[64] = { [0 ... 63] = 0xc1 };
	bool is_vlek = f->signer == ID_SNP_VLEK, is_turin = f->product == ID_SNP_TURIN;
	const char *cn = f->vek_cn ? f->vek_cn : is_vlek ? "SEV-VLEK" : "SEV-VCEK";
	X509 *x509 = snp_cert(cn, issuer_cn, snp.vek_key, f->vek_from ? f->vek_from : NOW - DAY,
			      f->vek_to ? f->vek_to : NOW + 365 * DAY, f->is_ca);

	snp_ext_text(x509, "2", f->product_text ? f->product_text : id_snp_product_name(f->product));
	snp_ext_svn(f, x509, "3.1", 3);
	snp_ext_svn(f, x509, "3.2", 1);
	snp_ext_svn(f, x509, "3.3", 7);
	snp_ext_svn(f, x509, "3.4", 0);
	snp_ext_svn(f, x509, "3.8", 200);
	if (is_turin)
		snp_ext_svn(f, x509, "3.9", 2);
	if (!is_vlek && !f->no_hwid)
		snp_ext(x509, "4", f->hwid ? f->hwid : hwid, f->hwid ? f->hwid_len : is_turin ? 8 : 64);
	if ((is_vlek && !f->no_csp) || f->with_csp)
		snp_ext_text(x509, "5", SNP_CSP);
	snp_sign(x509, f->vek_foreign ? snp.ark_key : is_vlek ? snp.vlek_ca_key : snp.ask_key, f->pkcs1);
	return x509;
}

/* Everything that a verifier gets. */
struct snp_case {
	uint8_t report[ID_SNP_REPORT_LEN];
	struct der vek, intermediate;
	struct id_snp_certs certs;
	struct id_snp_trust trust;
};

static inline void snp_case_new(const struct snp_forge *f, struct snp_case *c)
{
	bool is_vlek = f->signer == ID_SNP_VLEK;
	char ark_cn[32], ask_cn[32];
	X509 *ask, *vek;

	*c = (struct snp_case){ .trust = { .now = NOW, .roots = snp.roots } };
	snprintf(ark_cn, sizeof(ark_cn), "ARK-%s", id_snp_product_name(f->product));
	snprintf(ask_cn, sizeof(ask_cn), "SEV-%s%s", is_vlek ? "VLEK-" : "", id_snp_product_name(f->product));
	ask = snp_cert(f->ask_cn ? f->ask_cn : ask_cn, ark_cn, is_vlek ? snp.vlek_ca_key : snp.ask_key, NOW - DAY,
		       NOW + 3650 * DAY, !f->ask_no_ca);
	snp_sign(ask, f->ask_foreign ? snp.ask_key : snp.ark_key, false);
	vek = snp_vek(f, f->ask_cn ? f->ask_cn : ask_cn);
	c->intermediate = snp_der(ask);
	c->vek = snp_der(vek);
	X509_free(ask);
	X509_free(vek);
	c->certs.vek = in_of(c->vek.p, c->vek.len);
	c->certs.intermediate = in_of(c->intermediate.p, c->intermediate.len);
	snp_report(f, c->report);
	snp_report_sign(c->report);
	if (f->signed_report)
		f->signed_report(c->report);
}

static inline void snp_case_free(struct snp_case *c)
{
	free(c->vek.p);
	free(c->intermediate.p);
}

static inline int snp_world_new(void **state)
{
	(void)state;
	snp.ark_key = EVP_RSA_gen(2048);
	snp.ask_key = EVP_RSA_gen(2048);
	snp.vlek_ca_key = EVP_RSA_gen(2048);
	snp.vek_key = EVP_EC_gen("P-384");
	for (int i = 0; i < ID_SNP_PRODUCTS; i++) {
		char cn[32];

		snprintf(cn, sizeof(cn), "ARK-%s", id_snp_product_name((enum id_snp_product)i));
		snp.ark[i] = snp_cert(cn, cn, snp.ark_key, NOW - 100 * DAY, NOW + 3650 * DAY, true);
		snp_sign(snp.ark[i], snp.ark_key, false);
		snp.ark_der[i] = snp_der(snp.ark[i]);
		snp.roots[i] = in_of(snp.ark_der[i].p, snp.ark_der[i].len);
	}
	return 0;
}

static inline int snp_world_free(void **state)
{
	(void)state;
	EVP_PKEY_free(snp.ark_key);
	EVP_PKEY_free(snp.ask_key);
	EVP_PKEY_free(snp.vlek_ca_key);
	EVP_PKEY_free(snp.vek_key);
	for (int i = 0; i < ID_SNP_PRODUCTS; i++) {
		X509_free(snp.ark[i]);
		free(snp.ark_der[i].p);
	}
	return 0;
}

/* "NONE", or the reasons with a comma between them */
static inline const char *judge(struct snp_case *c)
{
	static char text[200];
	struct id_snp_result result;
	struct err e = ERR_INIT;
	int ret = id_snp_verify(c->report, sizeof(c->report), &c->certs, &c->trust, &result, &e);

	text[0] = '\0';
	for (unsigned i = 0; i < result.n_reasons; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "," : "",
			 id_reason_name(result.reasons[i]));
	assert_int_equal(ret, result.n_reasons ? -EBADMSG : 0);
	assert_int_equal(e.reason, result.n_reasons ? result.reasons[0] : 0);
	return result.n_reasons ? text : "NONE";
}

static inline void is_judged(const struct snp_forge *f, const char *reasons)
{
	struct snp_case c;

	snp_case_new(f, &c);
	assert_string_equal(judge(&c), reasons);
	snp_case_free(&c);
}
