// SPDX-License-Identifier: Apache-2.0
/*
 * One bundle. Order: form of the bundle; TCB signing chain (two certificates, the root is the pinned one); root CRL,
 * signed by the root and without the signer; signatures over the exact bytes of TCB Info and QE identity; only then
 * their contents; form of the PCK CRL.
 */
#include "collateral.h"

#include <errno.h>
#include <string.h>

#include "der.h"

#define WHERE     "collateral"
#define CRL_MAX   (128 * 1024)
#define CHAIN_LEN 2

/* Members of a bundle. The issuer chain of the PCK CRL is not used: a quote brings its own intermediate. */
enum member { TCB_CHAIN, TCB, TCB_SIGNATURE, QE_CHAIN, QE, QE_SIGNATURE, ROOT_CRL, PCK_CRL, MEMBER_COUNT };

static const char *const member_name[] = {
	[TCB_CHAIN] = "tcb_info_issuer_chain",
	[TCB] = "tcb_info",
	[TCB_SIGNATURE] = "tcb_info_signature",
	[QE_CHAIN] = "qe_identity_issuer_chain",
	[QE] = "qe_identity",
	[QE_SIGNATURE] = "qe_identity_signature",
	[ROOT_CRL] = "root_ca_crl",
	[PCK_CRL] = "pck_crl",
};

struct bundle {
	struct id_js js;
	int at[MEMBER_COUNT];
};

/* Who signed the JSON. */
struct signer {
	uint8_t der[CHAIN_LEN * ID_PKI_CERT_MAX];
	struct id_pki_cert cert;
	EVP_PKEY *key; /* owned */
};

static void bundle_fini(struct bundle *b)
{
	id_js_fini(&b->js);
}

static void signer_fini(struct signer *s)
{
	EVP_PKEY_free(s->key);
}

void id_collateral_free(struct id_collateral *c)
{
	if (!c)
		return;
	id_tcb_info_fini(&c->tcb);
	id_qe_identity_fini(&c->qe);
	free(c->tcb_text);
	free(c->qe_text);
	free(c->crl_der);
	free(c);
}

DEFINE_CLEANUP(collateral, struct id_collateral, id_collateral_free)

static int bundle_read(const char *text, size_t len, struct bundle *b, struct err *e)
{
	if (len > ID_BUNDLE_MAX)
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE, "is longer than %d bytes", ID_BUNDLE_MAX);
	if (!id_js_scan(text, len, &b->js))
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE, "is not strict JSON at byte %zu", b->js.error_at);
	for (int m = 0; m < MEMBER_COUNT; m++) {
		b->at[m] = id_js_get(&b->js, 0, member_name[m]);
		if (id_js_is(&b->js, b->at[m], ID_JS_STRING))
			continue;
		if (m == ROOT_CRL || m == PCK_CRL)
			return err_reason(e, ID_CRL_INVALID, WHERE, "has no %s", member_name[m]);
		return err_reason(e, ID_COLLATERAL_MALFORMED, WHERE, "has no text \"%s\"", member_name[m]);
	}
	return 0;
}

/* --- TCB signing chain --- */

static int signer_check(struct signer *s, const struct in der[CHAIN_LEN], const struct id_root *root, struct err *e)
{
	const char *why = id_pki_cert_parse(der[0], &s->cert);

	if (!why && !id_der_equal(&der[1], &root->cert.der))
		why = "does not end at the pinned root";
	if (!why && !id_pki_cn_is(&s->cert, "Intel SGX TCB Signing"))
		why = "is not named Intel SGX TCB Signing";
	if (!why && (s->cert.is_ca || !(s->cert.usage & ID_PKI_DIGITAL_SIGNATURE)))
		why = "is a CA, or may not sign";
	if (!why)
		why = id_pki_cert_issued(&s->cert, &root->cert, root->key);
	if (why)
		return err_reason(e, ID_COLLATERAL_CHAIN, WHERE, "TCB signing certificate %s", why);
	s->key = id_p256_from_raw(s->cert.key_raw);
	if (!s->key)
		return err_reason(e, ID_COLLATERAL_CHAIN, WHERE,
				  "key of the TCB signing certificate is no point of P-256");
	return 0;
}

static int signer_load(const struct bundle *b, enum member chain, const struct id_root *root, struct signer *s,
		       struct err *e)
{
	struct in der[CHAIN_LEN];
	size_t len = 0;
	auto_free char *pem = id_js_string(&b->js, b->at[chain], &len);

	if (!pem)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	if (id_pki_pem(pem, len, s->der, sizeof(s->der), der, CHAIN_LEN) != CHAIN_LEN)
		return err_reason(e, ID_COLLATERAL_CHAIN, WHERE, "%s must be %d certificates in PEM and nothing else",
				  member_name[chain], CHAIN_LEN);
	return signer_check(s, der, root, e);
}

static bool same_member(const struct bundle *b, enum member x, enum member y)
{
	const struct id_js_node *m = &b->js.node[b->at[x]], *n = &b->js.node[b->at[y]];

	return m->end - m->start == n->end - n->start &&
	       memcmp(b->js.text + m->start, b->js.text + n->start, m->end - m->start) == 0;
}

/* --- CRLs --- */

static size_t crl_len(const struct bundle *b, enum member member)
{
	const struct id_js_node *node = &b->js.node[b->at[member]];

	return (node->end - node->start - 2) / 2;
}

static int crl_read(const struct bundle *b, enum member member, uint8_t *der, size_t *len, struct id_pki_crl *crl,
		    struct err *e)
{
	size_t n = crl_len(b, member);
	const char *why;

	if (n > CRL_MAX || !id_js_hex(&b->js, b->at[member], der, n))
		return err_reason(e, ID_CRL_INVALID, WHERE, "%s is not hex of at most %d bytes", member_name[member],
				  CRL_MAX);
	why = id_pki_crl_parse(in_of(der, n), crl);
	if (why)
		return err_reason(e, ID_CRL_INVALID, WHERE, "%s %s", member_name[member], why);
	*len = n;
	return 0;
}

static int crls_load(const struct bundle *b, const struct id_root *root, struct id_collateral *c, struct err *e)
{
	size_t len = 0, unused;
	const char *why;
	int ret;

	c->crl_der = malloc(crl_len(b, ROOT_CRL) + crl_len(b, PCK_CRL) + 1);
	if (!c->crl_der)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	ret = crl_read(b, ROOT_CRL, c->crl_der, &len, &c->root_crl, e);
	if (!ret)
		ret = crl_read(b, PCK_CRL, c->crl_der + len, &unused, &c->pck_crl, e);
	if (ret < 0)
		return ret;
	why = id_pki_crl_issued(&c->root_crl, &root->cert, root->key);
	return why ? err_reason(e, ID_CRL_INVALID, WHERE, "root CRL %s", why) : 0;
}

/* --- signed JSON --- */

static int signature_check(const struct bundle *b, enum member text, enum member signature, EVP_PKEY *key, char **owned,
			   size_t *len, struct err *e)
{
	uint8_t raw[ID_P256_RAW_LEN];

	*owned = id_js_string(&b->js, b->at[text], len);
	if (!*owned)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	if (!id_js_hex(&b->js, b->at[signature], raw, sizeof(raw)) || !id_ecdsa_verify_raw(key, raw, *owned, *len))
		return err_reason(e, ID_COLLATERAL_SIGNATURE, WHERE, "%s is not signed by its TCB signing certificate",
				  member_name[text]);
	return 0;
}

static int signed_load(const struct bundle *b, const struct signer *tcb, const struct signer *qe,
		       struct id_collateral *c, struct err *e)
{
	size_t tcb_len = 0, qe_len = 0;
	int ret = signature_check(b, TCB, TCB_SIGNATURE, tcb->key, &c->tcb_text, &tcb_len, e);

	if (!ret)
		ret = signature_check(b, QE, QE_SIGNATURE, qe->key, &c->qe_text, &qe_len, e);
	if (!ret)
		ret = id_tcb_info_parse(c->tcb_text, tcb_len, &c->tcb, e);
	return ret ? ret : id_qe_identity_parse(c->qe_text, qe_len, &c->qe, e);
}

static void signer_dates(const struct signer *s, struct id_collateral *c)
{
	if (s->cert.not_before > c->signer_not_before)
		c->signer_not_before = s->cert.not_before;
	if (s->cert.not_after < c->signer_not_after)
		c->signer_not_after = s->cert.not_after;
}

static int signers_load(const struct bundle *b, const struct id_root *root, struct id_collateral *c, struct err *e)
{
	auto_call(signer_fini) struct signer first = { 0 };
	auto_call(signer_fini) struct signer second = { 0 };
	bool is_one = same_member(b, TCB_CHAIN, QE_CHAIN);
	const struct signer *qe = is_one ? &first : &second;
	int ret = signer_load(b, TCB_CHAIN, root, &first, e);

	if (!ret && !is_one)
		ret = signer_load(b, QE_CHAIN, root, &second, e);
	if (!ret)
		ret = crls_load(b, root, c, e);
	if (ret < 0)
		return ret;
	if (id_pki_is_revoked(&c->root_crl, &first.cert) || id_pki_is_revoked(&c->root_crl, &qe->cert))
		return err_reason(e, ID_CERT_REVOKED, WHERE, "the root CRL revokes the TCB signing certificate");
	c->signer_not_before = root->cert.not_before;
	c->signer_not_after = root->cert.not_after;
	signer_dates(&first, c);
	signer_dates(qe, c);
	return signed_load(b, &first, qe, c, e);
}

int id_collateral_load(const char *text, size_t len, const struct id_root *root, struct id_collateral **made,
		       struct err *e)
{
	auto_call(cleanup_collateral) struct id_collateral *c = calloc(1, sizeof(*c));
	auto_call(id_root_fini) struct id_root intel = { 0 };
	auto_call(bundle_fini) struct bundle b = { 0 };
	int ret = c ? bundle_read(text, len, &b, e) : err_at(e, -ENOMEM, WHERE, "out of memory");

	if (!ret && !root)
		ret = id_root_load(id_intel_root, id_intel_root_len, &intel, e);
	if (!ret)
		ret = signers_load(&b, root ? root : &intel, c, e);
	if (!ret)
		*made = take_ptr(c);
	return ret;
}

bool id_signed_body(const char *body, size_t len, const char *member, struct in *signed_bytes, uint8_t signature[64])
{
	auto_call(id_js_fini) struct id_js js = { 0 };
	int v;

	if (!id_js_scan(body, len, &js))
		return false;
	v = id_js_get(&js, 0, member);
	if (!id_js_is(&js, v, ID_JS_OBJECT) || !id_js_hex(&js, id_js_get(&js, 0, "signature"), signature, 64))
		return false;
	*signed_bytes = in_of(body + js.node[v].start, js.node[v].end - js.node[v].start);
	return true;
}

bool id_collateral_is_processor_ca(const struct id_collateral *c)
{
	const struct in *issuer = &c->pck_crl.issuer;

	return memmem(issuer->p, issuer->left, ID_PROCESSOR_CA, strlen(ID_PROCESSOR_CA)) != NULL;
}

int64_t id_collateral_until(const struct id_collateral *c)
{
	const int64_t end[] = { c->tcb.next_update, c->qe.next_update, c->root_crl.next_update, c->pck_crl.next_update,
				c->signer_not_after };
	int64_t first = end[0];

	for (size_t i = 1; i < ARRAY_LEN(end); i++)
		first = end[i] < first ? end[i] : first;
	return first;
}
