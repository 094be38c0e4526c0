/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who issued a certificate: leaf, CAs, one of the roots that are trusted (dstack's KMS: leaf, App CA, KMS CA). It says
 * what the issuer vouches for and nothing of what runs: that is the quote's part (cert.c).
 */
#pragma once

#include "evidence.h"

#define ID_CHAIN_MAX 6

struct id_issuer_trust {
	int64_t now;
	const char *roots; /* PEM */
	size_t roots_len;
	/* The CAs that dstack's KMS made before its certificates named keyCertSign have digitalSignature alone. */
	bool allow_ca_without_key_cert_sign;
};

struct id_issuer {
	struct id_issuer_claims claims;
	int64_t not_before, not_after; /* the leaf's */
	bool used_exception;           /* a CA without keyCertSign was let pass */
};

/*
 * chain: PEM, leaf first, each certificate issued by the next; the root may be left out. CERT_MALFORMED, CERT_CHAIN,
 * CERT_CA_USAGE, CERT_VALIDITY, CERT_CLAIM.
 */
int id_issuer_verify(const char *chain, size_t len, const struct id_issuer_trust *trust, struct id_issuer *issuer,
		     struct err *e);
/* The same of certificates that were read already. */
int id_issuer_verify_path(X509 *const *chain, int n, const struct id_issuer_trust *trust, struct id_issuer *issuer,
			  struct err *e);
