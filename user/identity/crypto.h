/* SPDX-License-Identifier: Apache-2.0 */
/* The few primitives that evidence needs: P-256 keys and signatures, SHA-2 of two parts. Over OpenSSL 3's EVP. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define ID_P256_RAW_LEN 64 /* X || Y, or r || s */
#define ID_ECDSA_MAX    72 /* longest DER ECDSA-Sig-Value of P-256 */
#define ID_SPKI_LEN     91 /* DER SubjectPublicKeyInfo: named curve, uncompressed point */

DEFINE_CLEANUP(pkey, EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP(x509, X509, X509_free)
DEFINE_CLEANUP(bio, BIO, BIO_free_all)

/* dst = H(a || b). `b` may be empty. */
bool id_hash(const EVP_MD *md, uint8_t *dst, const void *a, size_t a_len, const void *b, size_t b_len);

EVP_PKEY *id_p256_new(void);                                   /* a fresh key */
EVP_PKEY *id_p256_from_raw(const uint8_t xy[ID_P256_RAW_LEN]); /* NULL: not a point of the curve */
EVP_PKEY *id_p256_from_pem(const char *pem);                   /* a private key, never asks for a passphrase */
bool id_p256_to_raw(const EVP_PKEY *key, uint8_t xy[ID_P256_RAW_LEN]);
bool id_p256_spki(const EVP_PKEY *key, uint8_t spki[ID_SPKI_LEN]); /* false: not P-256 */

/* SHA-256 with ECDSA. DER signatures must be exact DER; r and s of the raw form are big-endian. */
bool id_ecdsa_verify(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, const void *msg, size_t len);
bool id_ecdsa_verify_raw(EVP_PKEY *key, const uint8_t sig[ID_P256_RAW_LEN], const void *msg, size_t len);
bool id_ecdsa_sign(EVP_PKEY *key, uint8_t sig[ID_ECDSA_MAX], size_t *sig_len, const void *msg, size_t len);
/* Of s and n - s both verify; only the lower one is taken where bytes must not have a valid twin. */
bool id_ecdsa_is_low(const uint8_t *sig, size_t sig_len);
bool id_ecdsa_sign_low(EVP_PKEY *key, uint8_t sig[ID_ECDSA_MAX], size_t *sig_len, const void *msg, size_t len);
bool id_ecdsa_sign_raw(EVP_PKEY *key, uint8_t sig[ID_P256_RAW_LEN], const void *msg, size_t len);
