/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and CRLs of the one profile that Intel's attestation PKI has (X.509 v3, ECDSA P-256 with SHA-256, v2
 * CRLs), and of simulation roots, which copy it. Whatever is outside of it is refused. Pointers go into the DER.
 */
#pragma once

#include <openssl/evp.h>

#include "base/buf.h"
#include "identity/crypto.h"

#define ID_PKI_CERT_MAX    4096
#define ID_PKI_CHAIN_MAX   3
#define ID_PKI_SERIALS_MAX 65536 /* in one CRL */

#define ID_PKI_DIGITAL_SIGNATURE 0x80u /* bits of keyUsage, first byte */
#define ID_PKI_CERT_SIGN         0x04u
#define ID_PKI_CRL_SIGN          0x02u

struct id_pki_cert {
	struct in der, tbs, sig;
	struct in serial, issuer, subject, cn; /* cn: text of the one common name */
	int64_t not_before, not_after;
	const uint8_t *key_raw; /* X || Y */
	struct in ski, aki;     /* p is NULL where there is none */
	struct in sgx;          /* value of Intel's SGX extension */
	bool is_ca, has_path_len;
	uint64_t path_len;
	uint8_t usage; /* 0: no keyUsage */
};

struct id_pki_crl {
	struct in tbs, sig, issuer, aki;
	int64_t this_update, next_update;
	struct in revoked; /* entries, form already checked; empty when there are none */
};

/* NULL, or what is wrong. */
const char *id_pki_cert_parse(struct in der, struct id_pki_cert *cert);
const char *id_pki_crl_parse(struct in der, struct id_pki_crl *crl);

/* Certificates of a PEM text, one behind the other, a newline or one NUL at the end; at most `max`. Their DER goes into
 * `der`, `cap` bytes. The number of them; -1: anything else. */
int id_pki_pem(const char *pem, size_t len, uint8_t *der, size_t cap, struct in *cert, int max);

/* Did `issuer`, with `key` its public key, issue it? NULL, or why not. */
const char *id_pki_cert_issued(const struct id_pki_cert *cert, const struct id_pki_cert *issuer, EVP_PKEY *key);
const char *id_pki_crl_issued(const struct id_pki_crl *crl, const struct id_pki_cert *issuer, EVP_PKEY *key);
bool id_pki_is_revoked(const struct id_pki_crl *crl, const struct id_pki_cert *cert);
bool id_pki_cn_is(const struct id_pki_cert *cert, const char *name);
