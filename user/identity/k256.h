/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secp256k1 as Ethereum and dstack's key chains use it: Keccak-256 (the padding before SHA-3), signatures of 65 bytes
 * from which the key can be recovered, compressed points. SEC 1 section 4.1.6.
 */
#pragma once

#include "identity/derive.h"

#define ID_KECCAK_LEN     32
#define ID_K256_SIG_LEN   65 /* r || s || recovery id (0 or 1); s is in the lower half of the order */
#define ID_K256_POINT_LEN 33

/* out_len: 32, 48 or 64 bytes. */
void id_keccak(uint8_t *out, size_t out_len, const void *data, size_t len);
void id_keccak256(uint8_t out[ID_KECCAK_LEN], const void *data, size_t len);
bool id_k256_public(const uint8_t scalar[ID_SCALAR_LEN], uint8_t point[ID_K256_POINT_LEN]);
bool id_k256_sign(const uint8_t scalar[ID_SCALAR_LEN], const uint8_t digest[32], uint8_t sig[ID_K256_SIG_LEN]);
/* The key that signed; false: there is none. */
bool id_k256_recover(const uint8_t sig[ID_K256_SIG_LEN], const uint8_t digest[32], uint8_t point[ID_K256_POINT_LEN]);
