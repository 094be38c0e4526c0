// SPDX-License-Identifier: Apache-2.0
#include "k256.h"

#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <string.h>

#define CURVE        "secp256k1"
#define KECCAK_LANES 25
#define KECCAK_BYTES 200 /* of the state */
#define SIGN_TRIES   8

DEFINE_CLEANUP(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(sig, ECDSA_SIG, ECDSA_SIG_free)
DEFINE_CLEANUP(bn_ctx, BN_CTX, BN_CTX_free)
DEFINE_CLEANUP(bn, BIGNUM, BN_free)
DEFINE_CLEANUP(group, EC_GROUP, EC_GROUP_free)
DEFINE_CLEANUP(point, EC_POINT, EC_POINT_free)

/* --- Keccak-f[1600], FIPS 202 section 3 --- */

static uint64_t rotate(uint64_t v, unsigned n)
{
	return n ? v << n | v >> (64 - n) : v;
}

static void theta(uint64_t a[KECCAK_LANES])
{
	uint64_t c[5];

	for (unsigned x = 0; x < 5; x++)
		c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
	for (unsigned i = 0; i < KECCAK_LANES; i++)
		a[i] ^= c[(i + 4) % 5] ^ rotate(c[(i + 1) % 5], 1);
}

/* One walk over all lanes but the first: each moves to its next place, turned by a triangular number. */
static void rho_pi(uint64_t a[KECCAK_LANES])
{
	uint64_t moving = a[1], kept;
	unsigned x = 1, y = 0, turn = 0;

	for (unsigned t = 1; t < KECCAK_LANES; t++) {
		unsigned next = (2 * x + 3 * y) % 5;

		turn += t;
		x = y;
		y = next;
		kept = a[5 * y + x];
		a[5 * y + x] = rotate(moving, turn % 64);
		moving = kept;
	}
}

static void chi(uint64_t a[KECCAK_LANES])
{
	uint64_t row[5];

	for (unsigned y = 0; y < KECCAK_LANES; y += 5) {
		memcpy(row, a + y, sizeof(row));
		for (unsigned x = 0; x < 5; x++)
			a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
	}
}

/* The round constants' bits come from a shift register, algorithm 5. */
static uint64_t iota(uint8_t *lfsr)
{
	uint64_t constant = 0;

	for (unsigned j = 0; j < 7; j++) {
		if (*lfsr & 1)
			constant |= 1ull << ((1u << j) - 1);
		*lfsr = (uint8_t)(*lfsr << 1 ^ (*lfsr & 0x80 ? 0x71 : 0));
	}
	return constant;
}

static void permute(uint64_t a[KECCAK_LANES])
{
	uint8_t lfsr = 1;

	for (unsigned round = 0; round < 24; round++) {
		theta(a);
		rho_pi(a);
		chi(a);
		a[0] ^= iota(&lfsr);
	}
}

static void absorb(uint64_t a[KECCAK_LANES], const uint8_t *block, size_t rate)
{
	for (unsigned i = 0; i < rate; i++)
		a[i / 8] ^= (uint64_t)block[i] << 8 * (i % 8);
	permute(a);
}

void id_keccak(uint8_t *out, size_t out_len, const void *data, size_t len)
{
	size_t rate = KECCAK_BYTES - 2 * out_len; /* absorbed at once */
	uint64_t a[KECCAK_LANES] = { 0 };
	uint8_t last[KECCAK_BYTES] = { 0 };
	const uint8_t *p = data;

	for (; len >= rate; p += rate, len -= rate)
		absorb(a, p, rate);
	if (len)
		memcpy(last, p, len);
	last[len] ^= 0x01; /* SHA-3 has 0x06 here */
	last[rate - 1] ^= 0x80;
	absorb(a, last, rate);
	for (unsigned i = 0; i < out_len; i++)
		out[i] = (uint8_t)(a[i / 8] >> 8 * (i % 8));
}

void id_keccak256(uint8_t out[ID_KECCAK_LEN], const void *data, size_t len)
{
	id_keccak(out, ID_KECCAK_LEN, data, len);
}

/* --- secp256k1 --- */

static EC_GROUP *curve(void)
{
	return EC_GROUP_new_by_curve_name(NID_secp256k1);
}

static bool compress(const EC_GROUP *group, const EC_POINT *q, uint8_t point[ID_K256_POINT_LEN])
{
	return EC_POINT_point2oct(group, q, POINT_CONVERSION_COMPRESSED, point, ID_K256_POINT_LEN, NULL) ==
	       ID_K256_POINT_LEN;
}

bool id_k256_public(const uint8_t scalar[ID_SCALAR_LEN], uint8_t point[ID_K256_POINT_LEN])
{
	auto_call(cleanup_group) EC_GROUP *group = curve();
	auto_call(cleanup_point) EC_POINT *q = group ? EC_POINT_new(group) : NULL;
	BIGNUM *secret = BN_bin2bn(scalar, ID_SCALAR_LEN, NULL);
	bool ok = q && secret && !BN_is_zero(secret) && BN_cmp(secret, EC_GROUP_get0_order(group)) < 0 &&
		  EC_POINT_mul(group, q, secret, NULL, NULL, NULL) == 1 && compress(group, q, point);

	BN_clear_free(secret);
	return ok;
}

/* Q = (s R - z G) / r, where R is the point whose x is r and whose y is odd as the recovery id says. */
bool id_k256_recover(const uint8_t sig[ID_K256_SIG_LEN], const uint8_t digest[32], uint8_t point[ID_K256_POINT_LEN])
{
	auto_call(cleanup_bn_ctx) BN_CTX *ctx = BN_CTX_new();
	auto_call(cleanup_group) EC_GROUP *group = curve();
	auto_call(cleanup_bn) BIGNUM *r = BN_bin2bn(sig, 32, NULL), *s = BN_bin2bn(sig + 32, 32, NULL);
	auto_call(cleanup_bn) BIGNUM *z = BN_bin2bn(digest, 32, NULL), *inverse = NULL;
	auto_call(cleanup_point) EC_POINT *at_r = group ? EC_POINT_new(group) : NULL;
	auto_call(cleanup_point) EC_POINT *q = group ? EC_POINT_new(group) : NULL;
	const BIGNUM *n = group ? EC_GROUP_get0_order(group) : NULL;

	if (!ctx || !r || !s || !z || !at_r || !q || sig[64] > 1 || BN_is_zero(r) || BN_is_zero(s) ||
	    BN_cmp(r, n) >= 0 || BN_cmp(s, n) >= 0 ||
	    EC_POINT_set_compressed_coordinates(group, at_r, r, sig[64], ctx) != 1)
		return false;
	inverse = BN_mod_inverse(NULL, r, n, ctx);
	return inverse && BN_mod_mul(s, s, inverse, n, ctx) == 1 && BN_mod_mul(z, z, inverse, n, ctx) == 1 &&
	       (BN_is_zero(z) || BN_sub(z, n, z) == 1) && EC_POINT_mul(group, q, z, at_r, s, ctx) == 1 &&
	       !EC_POINT_is_at_infinity(group, q) && compress(group, q, point);
}

/* r and s of the DER form, s brought into the lower half. */
static bool split(const uint8_t *der, size_t len, uint8_t sig[ID_K256_SIG_LEN])
{
	auto_call(cleanup_sig) ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &der, (long)len);
	auto_call(cleanup_group) EC_GROUP *group = curve();
	auto_call(cleanup_bn) BIGNUM *s = parsed ? BN_dup(ECDSA_SIG_get0_s(parsed)) : NULL, *half = NULL;

	if (!s || !group)
		return false;
	half = BN_dup(EC_GROUP_get0_order(group));
	if (!half || BN_rshift1(half, half) != 1 ||
	    (BN_cmp(s, half) > 0 && BN_sub(s, EC_GROUP_get0_order(group), s) != 1))
		return false;
	return BN_bn2binpad(ECDSA_SIG_get0_r(parsed), sig, 32) == 32 && BN_bn2binpad(s, sig + 32, 32) == 32;
}

static bool sign_once(EVP_PKEY *key, const uint8_t own[ID_K256_POINT_LEN], const uint8_t digest[32],
		      uint8_t sig[ID_K256_SIG_LEN])
{
	auto_call(cleanup_pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	uint8_t der[80], who[ID_K256_POINT_LEN];
	size_t len = sizeof(der);

	if (!ctx || EVP_PKEY_sign_init(ctx) != 1 || EVP_PKEY_sign(ctx, der, &len, digest, 32) != 1 ||
	    !split(der, len, sig))
		return false;
	for (sig[64] = 0; sig[64] < 2; sig[64]++)
		if (id_k256_recover(sig, digest, who) && memcmp(who, own, sizeof(who)) == 0)
			return true;
	return false;
}

/* A signature whose r was reduced can not be told by one bit: one in 2^128, and then another one is made. */
bool id_k256_sign(const uint8_t scalar[ID_SCALAR_LEN], const uint8_t digest[32], uint8_t sig[ID_K256_SIG_LEN])
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_key_from_scalar(CURVE, scalar);
	uint8_t own[ID_K256_POINT_LEN];

	if (!key || !id_k256_public(scalar, own))
		return false;
	for (int i = 0; i < SIGN_TRIES; i++)
		if (sign_once(key, own, digest, sig))
			return true;
	return false;
}
