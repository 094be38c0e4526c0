/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates with dstack's RA-TLS extensions, read and written. Arc 1.3.6.1.4.1.62397.1.N, non-critical; each
 * value is an OCTET STRING inside the extension's OCTET STRING.
 */
#pragma once

#include <openssl/x509.h>

#include "base/buf.h"
#include "identity/crypto.h"
#include "identity/identity.h"

enum id_ext {
	ID_EXT_QUOTE = 1,       /* raw TDX quote */
	ID_EXT_EVENTLOG = 2,    /* JSON array of events */
	ID_EXT_APP_ID = 3,      /* 20 bytes; the issuer's claim */
	ID_EXT_USAGE = 4,       /* "app:custom" on leaves, "app:ca", "kms:rpc"; the issuer's claim */
	ID_EXT_ATTESTATION = 8, /* successor of 1 and 2: attestation.h */
	ID_EXT_APP_INFO = 9,    /* the issuer's claim: attestation.h */
	ID_EXT_COUNT,
};

#define ID_USAGE_LEAF "app:custom"

/* A parsed certificate. Nothing in it is proved, except is_self_signed. */
struct id_cert {
	X509 *x509;
	EVP_PKEY *key; /* P-256 */
	uint8_t spki[ID_SPKI_LEN];
	int64_t not_before, not_after;
	bool is_self_issued;         /* subject and issuer are the same name */
	bool is_self_signed;         /* its own key signed it */
	struct in ext[ID_EXT_COUNT]; /* payloads inside x509; p is NULL where there is none */
};

/* One certificate, exactly DER, nothing after it. NULL: anything else. */
X509 *id_x509_from_der(const uint8_t *der, size_t len);
/* The "CERTIFICATE" blocks of a PEM text. The number of them, -E2BIG above max, -EBADMSG when one is broken. */
int id_x509_from_pem(const char *pem, size_t len, X509 **certs, size_t max);
char *id_x509_to_pem(X509 *x509);
char *id_key_to_pem(const EVP_PKEY *key);
void id_secret_free(char *text); /* a key in PEM, or another secret: wiped first; accepts NULL */

/* Form, key type, duplicate extensions. On failure *cert is untouched. */
int id_cert_parse(const uint8_t *der, size_t len, struct id_cert *cert, struct err *e);
void id_cert_fini(struct id_cert *cert);
/* id_cert_verify() of a parsed one. */
int id_cert_check(const struct id_cert *cert, const struct id_trust *trust, struct id_claims *claims, struct err *e);
/* SHA-512("ratls-cert:" || SPKI), what the quote's report_data must be. */
bool id_cert_report_data(const uint8_t spki[ID_SPKI_LEN], uint8_t report_data[ID_REPORT_DATA_LEN]);

/* Whether these are all 64 bytes of it. */
bool id_cert_is_bound(const struct id_cert *cert, const uint8_t report_data[ID_REPORT_DATA_LEN]);

/* --- what is made; the caller says the rest, and signs --- */

/* Version 3, a random serial, the key and the time. NULL: one of them can not be. */
X509 *id_x509_new(EVP_PKEY *key, int64_t not_before, int64_t not_after);
bool id_x509_name(X509_NAME *name, const char *field, const char *text); /* false: it does not fit in the field */
/* As x509v3_config(5) writes it. issuer: whose key identifier it may name; NULL where it names none. */
bool id_x509_ext(X509 *x509, X509 *issuer, int nid, const char *value);
bool id_x509_add_ext(X509 *x509, enum id_ext n, const void *data, size_t len);
