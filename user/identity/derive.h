/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys from keys, as dstack derives them, so that an application gets the same key from either system. HKDF-SHA256
 * with salt "RATLS"; the info is the parts of the path one after the other, without a separator.
 */
#pragma once

#include "identity/crypto.h"

#define ID_SCALAR_LEN 32

struct id_part {
	const void *p;
	size_t len;
};

bool id_derive(const uint8_t secret[ID_SCALAR_LEN], const struct id_part *parts, size_t n, uint8_t out[ID_SCALAR_LEN]);
/* A private key whose scalar (big-endian) is given; `curve`: "prime256v1" or "secp256k1". NULL: 0 or not below the
 * order. */
EVP_PKEY *id_key_from_scalar(const char *curve, const uint8_t scalar[ID_SCALAR_LEN]);
bool id_key_to_scalar(const EVP_PKEY *key, uint8_t scalar[ID_SCALAR_LEN]);
/* SHA-256 of the PKCS#8 form of the P-256 key with the derived scalar: disk and environment keys. */
bool id_derive_dh(const uint8_t secret[ID_SCALAR_LEN], const struct id_part *parts, size_t n,
		  uint8_t out[ID_SCALAR_LEN]);

#define id_part_text(text) ((struct id_part){ (text), strlen(text) })
