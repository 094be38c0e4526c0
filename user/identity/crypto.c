// SPDX-License-Identifier: Apache-2.0
#include "crypto.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <string.h>

DEFINE_CLEANUP(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free)
DEFINE_CLEANUP(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(ecdsa_sig, ECDSA_SIG, ECDSA_SIG_free)

/* RFC 5480: SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { 04 || X || Y } } */
static const uint8_t spki_head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
				     0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };

_Static_assert(sizeof(spki_head) + ID_P256_RAW_LEN == ID_SPKI_LEN, "SPKI of P-256");

bool id_hash(const EVP_MD *md, uint8_t *dst, const void *a, size_t a_len, const void *b, size_t b_len)
{
	auto_call(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	return ctx && EVP_DigestInit_ex(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, a, a_len) == 1 &&
	       EVP_DigestUpdate(ctx, b, b_len) == 1 && EVP_DigestFinal_ex(ctx, dst, NULL) == 1;
}

EVP_PKEY *id_p256_new(void)
{
	return EVP_EC_gen("P-256");
}

/* What OpenSSL 3 would look up anew for each signature and key, at a tenth of their price. Constants, made once. */
static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static EVP_PKEY *curve; /* any key of P-256, for its parameters */
static EVP_MD *sha256;

static void once_init(void)
{
	curve = EVP_EC_gen("P-256");
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static bool is_ready(void)
{
	return CRYPTO_THREAD_run_once(&once, once_init) == 1 && curve && sha256;
}

EVP_PKEY *id_p256_from_raw(const uint8_t xy[ID_P256_RAW_LEN])
{
	uint8_t point[1 + ID_P256_RAW_LEN] = { 0x04 };
	auto_call(cleanup_pkey) EVP_PKEY *key = EVP_PKEY_new();

	memcpy(point + 1, xy, ID_P256_RAW_LEN);
	/* refuses coordinates that are not below p and points off the curve; the cofactor is 1, so all others are good
	 */
	if (!key || !is_ready() || EVP_PKEY_copy_parameters(key, curve) != 1 ||
	    EVP_PKEY_set1_encoded_public_key(key, point, sizeof(point)) != 1)
		return NULL;
	return take_ptr(key);
}

/* OpenSSL's own callback would ask on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
	(void)buf, (void)size, (void)rwflag, (void)u;
	return -1;
}

EVP_PKEY *id_p256_from_pem(const char *pem)
{
	auto_call(cleanup_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;
	uint8_t spki[ID_SPKI_LEN];

	key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	return key && id_p256_spki(key, spki) ? take_ptr(key) : NULL;
}

bool id_p256_spki(const EVP_PKEY *key, uint8_t spki[ID_SPKI_LEN])
{
	char group[32];
	uint8_t point[1 + ID_P256_RAW_LEN];
	size_t len;

	/* not i2d_PUBKEY(): OpenSSL 3's encoders take longer than verifying a signature */
	if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
	    strcmp(group, SN_X9_62_prime256v1) != 0 ||
	    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) != 1 ||
	    len != sizeof(point) || point[0] != 0x04)
		return false;
	memcpy(spki, spki_head, sizeof(spki_head));
	memcpy(spki + sizeof(spki_head), point + 1, ID_P256_RAW_LEN);
	return true;
}

bool id_p256_to_raw(const EVP_PKEY *key, uint8_t xy[ID_P256_RAW_LEN])
{
	uint8_t spki[ID_SPKI_LEN];

	if (!id_p256_spki(key, spki))
		return false;
	memcpy(xy, spki + sizeof(spki_head), ID_P256_RAW_LEN);
	return true;
}

bool id_ecdsa_verify(EVP_PKEY *key, const uint8_t *sig, size_t sig_len, const void *msg, size_t len)
{
	auto_call(cleanup_pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	uint8_t digest[32];

	/* hashed here: EVP_DigestVerifyInit() compares the digest with a list of names each time */
	return ctx && is_ready() && id_hash(sha256, digest, msg, len, NULL, 0) && EVP_PKEY_verify_init(ctx) == 1 &&
	       EVP_PKEY_verify(ctx, sig, sig_len, digest, sizeof(digest)) == 1;
}

/* DER INTEGER of 32 big-endian bytes, at most 35 bytes long. */
static uint8_t *put_integer(uint8_t *p, const uint8_t n[32])
{
	size_t skip = 0;

	while (skip < 31 && !n[skip])
		skip++;
	*p++ = 0x02;
	*p++ = (uint8_t)(32 - skip + (n[skip] >> 7));
	if (n[skip] >> 7)
		*p++ = 0;
	memcpy(p, n + skip, 32 - skip);
	return p + 32 - skip;
}

bool id_ecdsa_verify_raw(EVP_PKEY *key, const uint8_t sig[ID_P256_RAW_LEN], const void *msg, size_t len)
{
	uint8_t der[ID_ECDSA_MAX], *end = put_integer(put_integer(der + 2, sig), sig + 32);

	der[0] = 0x30;
	der[1] = (uint8_t)(end - der - 2);
	return id_ecdsa_verify(key, der, (size_t)(end - der), msg, len);
}

bool id_ecdsa_sign(EVP_PKEY *key, uint8_t sig[ID_ECDSA_MAX], size_t *sig_len, const void *msg, size_t len)
{
	auto_call(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = ID_ECDSA_MAX;

	if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(ctx, sig, &n, msg, len) != 1)
		return false;
	*sig_len = n;
	return true;
}

/* Half the order of P-256, rounded down (SEC 2, 2.4.2). */
static const uint8_t half_order[] = { 0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff,
				      0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b,
				      0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8 };

bool id_ecdsa_is_low(const uint8_t *sig, size_t sig_len)
{
	const uint8_t *p = sig;
	auto_call(cleanup_ecdsa_sig) ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &p, (long)sig_len);
	uint8_t s[sizeof(half_order)];

	return parts && BN_bn2binpad(ECDSA_SIG_get0_s(parts), s, sizeof(s)) == (int)sizeof(s) &&
	       memcmp(s, half_order, sizeof(s)) <= 0;
}

/* Every second signature has a low s: signs again until one has. */
bool id_ecdsa_sign_low(EVP_PKEY *key, uint8_t sig[ID_ECDSA_MAX], size_t *sig_len, const void *msg, size_t len)
{
	for (int tries = 0; tries < 128; tries++) {
		if (!id_ecdsa_sign(key, sig, sig_len, msg, len))
			return false;
		if (id_ecdsa_is_low(sig, *sig_len))
			return true;
	}
	return false;
}

bool id_ecdsa_sign_raw(EVP_PKEY *key, uint8_t sig[ID_P256_RAW_LEN], const void *msg, size_t len)
{
	auto_call(cleanup_ecdsa_sig) ECDSA_SIG *parts = NULL;
	uint8_t der[ID_ECDSA_MAX];
	const uint8_t *p = der;
	size_t n;

	if (!id_ecdsa_sign(key, der, &n, msg, len))
		return false;
	parts = d2i_ECDSA_SIG(NULL, &p, (long)n);
	return parts && BN_bn2binpad(ECDSA_SIG_get0_r(parts), sig, 32) == 32 &&
	       BN_bn2binpad(ECDSA_SIG_get0_s(parts), sig + 32, 32) == 32;
}
