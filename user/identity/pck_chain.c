// SPDX-License-Identifier: Apache-2.0
/*
 * Checks of a chain, in this order: three certificates in PEM; the root is byte by byte one that is pinned; Intel's
 * names; the intermediate is a CA and the leaf is none; each is issued and signed by the next; the SGX extension.
 */
#include "pck_chain.h"

#include <errno.h>
#include <string.h>

#include "der.h"

#define WHERE "PCK chain"

void id_root_fini(struct id_root *root)
{
	EVP_PKEY_free(root->key);
	root->key = NULL;
}

int id_root_load(const uint8_t *der, size_t len, struct id_root *root, struct err *e)
{
	const char *why = "is too long";

	if (len <= sizeof(root->der)) {
		memcpy(root->der, der, len);
		why = id_pki_cert_parse(in_of(root->der, len), &root->cert);
	}
	if (why)
		return err_reason(e, ID_QUOTE_CHAIN, "trusted root", "%s", why);
	root->key = id_p256_from_raw(root->cert.key_raw);
	if (!root->key)
		return err_reason(e, ID_QUOTE_CHAIN, "trusted root", "key is not a point of P-256");
	return 0;
}

void id_pck_chain_fini(struct id_pck_chain *chain)
{
	EVP_PKEY_free(chain->leaf_key);
	EVP_PKEY_free(chain->ca_key);
	chain->leaf_key = chain->ca_key = NULL;
}

static int parse(const char *pem, size_t len, struct id_pck_chain *c, struct err *e)
{
	static const char *const name[] = { "leaf", "intermediate", "root" };
	struct id_pki_cert *const cert[] = { &c->leaf, &c->ca, &c->root };
	struct in der[ID_PCK_CHAIN_LEN];

	if (id_pki_pem(pem, len, c->der, sizeof(c->der), der, ID_PCK_CHAIN_LEN) != ID_PCK_CHAIN_LEN)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "must be %d certificates in PEM and nothing else",
				  ID_PCK_CHAIN_LEN);
	for (size_t i = 0; i < ID_PCK_CHAIN_LEN; i++) {
		const char *why = id_pki_cert_parse(der[i], cert[i]);

		if (why)
			return err_reason(e, ID_QUOTE_CHAIN, WHERE, "%s %s", name[i], why);
	}
	return 0;
}

static int names_check(const struct id_pck_chain *c, struct err *e)
{
	if (!id_pki_cn_is(&c->leaf, "Intel SGX PCK Certificate") ||
	    (!id_pki_cn_is(&c->ca, "Intel SGX PCK Platform CA") && !id_pki_cn_is(&c->ca, ID_PROCESSOR_CA)) ||
	    !id_pki_cn_is(&c->root, "Intel SGX Root CA"))
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "names are not those of a PCK certificate and its CAs");
	return 0;
}

static int issue_check(struct id_pck_chain *c, const struct id_root *root, struct err *e)
{
	const char *why;

	if (!c->ca.is_ca || c->leaf.is_ca || !(c->leaf.usage & ID_PKI_DIGITAL_SIGNATURE))
		return err_reason(e, ID_QUOTE_CHAIN, WHERE,
				  "intermediate is no CA, or the leaf is one or may not sign");
	why = id_pki_cert_issued(&c->ca, &root->cert, root->key);
	if (why)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "intermediate %s", why);
	c->ca_key = id_p256_from_raw(c->ca.key_raw);
	c->leaf_key = id_p256_from_raw(c->leaf.key_raw);
	if (!c->ca_key || !c->leaf_key)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "a key is not a point of P-256");
	why = id_pki_cert_issued(&c->leaf, &c->ca, c->ca_key);
	return why ? err_reason(e, ID_QUOTE_CHAIN, WHERE, "leaf %s", why) : 0;
}

static void dates(struct id_pck_chain *c)
{
	const struct id_pki_cert *const cert[] = { &c->leaf, &c->ca, &c->root };

	c->not_before = INT64_MIN;
	c->not_after = INT64_MAX;
	for (size_t i = 0; i < ID_PCK_CHAIN_LEN; i++) {
		if (cert[i]->not_before > c->not_before)
			c->not_before = cert[i]->not_before;
		if (cert[i]->not_after < c->not_after)
			c->not_after = cert[i]->not_after;
	}
}

static int extension_read(struct id_pck_chain *c, struct err *e)
{
	const char *why = c->leaf.sgx.p ? id_pck_parse(c->leaf.sgx, &c->pck) : "is missing";

	return why ? err_reason(e, ID_PCK_EXTENSION, WHERE, "SGX extension %s", why) : 0;
}

int id_pck_chain_load(const char *pem, size_t len, const struct id_root *roots, size_t n_roots, bool is_intel,
		      struct id_pck_chain *chain, struct err *e)
{
	const struct id_root *root = NULL;
	int ret;

	chain->leaf_key = chain->ca_key = NULL;
	memset(&chain->pck, 0, sizeof(chain->pck));
	ret = parse(pem, len, chain, e);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < n_roots && !root; i++)
		root = id_der_equal(&roots[i].cert.der, &chain->root.der) ? &roots[i] : NULL;
	if (!root)
		return err_reason(e, ID_QUOTE_CHAIN, WHERE, "root is none of the %zu trusted ones", n_roots);
	ret = is_intel ? names_check(chain, e) : 0;
	if (!ret)
		ret = issue_check(chain, root, e);
	if (!ret && is_intel)
		ret = extension_read(chain, e);
	if (ret < 0)
		id_pck_chain_fini(chain);
	else
		dates(chain);
	return ret;
}
