/* SPDX-License-Identifier: Apache-2.0 */
/* The certificates of a platform: leaf, intermediate, root. Intel's, or a simulation's, which has no SGX extension. */
#pragma once

#include "identity/pck.h"
#include "identity/pki.h"

#define ID_PCK_CHAIN_LEN 3
#define ID_PROCESSOR_CA  "Intel SGX PCK Processor CA"

/* A root that is believed. */
struct id_root {
	uint8_t der[ID_PKI_CERT_MAX];
	struct id_pki_cert cert; /* into der */
	EVP_PKEY *key;           /* owned */
};

extern const uint8_t id_intel_root[]; /* "Intel SGX Root CA", serial 22650CD6..., valid 2018-05-21 to 2049-12-31 */
extern const size_t id_intel_root_len;

int id_root_load(const uint8_t *der, size_t len, struct id_root *root, struct err *e);
void id_root_fini(struct id_root *root);

/* What a verified chain says. Its dates are not yet held against any clock, nor its certificates against CRLs. */
struct id_pck_chain {
	uint8_t der[ID_PCK_CHAIN_LEN * ID_PKI_CERT_MAX];
	struct id_pki_cert leaf, ca, root; /* into der */
	EVP_PKEY *leaf_key, *ca_key;       /* owned */
	int64_t not_before, not_after;     /* of all three */
	struct id_pck pck;                 /* Intel's only */
};

/* QUOTE_CHAIN, or PCK_EXTENSION. On refusal nothing is owned. `chain` does not move afterwards. */
int id_pck_chain_load(const char *pem, size_t len, const struct id_root *roots, size_t n_roots, bool is_intel,
		      struct id_pck_chain *chain, struct err *e);
void id_pck_chain_fini(struct id_pck_chain *chain);
