// SPDX-License-Identifier: Apache-2.0
/*
 * Who sends a WireGuard handshake initiation: of that message just as much as tells (whitepaper, 5.4.2). It proves
 * nothing yet, since anybody may send an old message again; WireGuard itself judges it once it knows the peer.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/cleanup.h"
#include "overlay.h"

#define HASH_LEN 32
#define MAC_LEN  16
#define TAG_LEN  16

/* Offsets in the message. */
#define AT_EPHEMERAL 8
#define AT_STATIC    40
#define AT_MAC1      116

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";
static const char label_mac1[] = "mac1----";

DEFINE_CLEANUP(pkey, EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(cipher_ctx, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)
DEFINE_CLEANUP(mac, EVP_MAC, EVP_MAC_free)
DEFINE_CLEANUP(mac_ctx, EVP_MAC_CTX, EVP_MAC_CTX_free)

/* out = HASH(a || b); a is at most as long as a hash or a label */
static bool hash2(uint8_t out[HASH_LEN], const void *a, size_t a_len, const void *b, size_t b_len)
{
	uint8_t both[2 * HASH_LEN + sizeof(identifier)];

	memcpy(both, a, a_len);
	memcpy(both + a_len, b, b_len);
	return EVP_Digest(both, a_len + b_len, out, NULL, EVP_blake2s256(), NULL) == 1;
}

static bool hmac(uint8_t out[HASH_LEN], const uint8_t key[HASH_LEN], const uint8_t *data, size_t len)
{
	return HMAC(EVP_blake2s256(), key, HASH_LEN, data, len, out, NULL) != NULL;
}

/* KDF_2; the first output may be the chaining key that goes in, the second may be left out */
static bool kdf(uint8_t first[HASH_LEN], uint8_t *second, const uint8_t chain[HASH_LEN], const uint8_t *in)
{
	uint8_t secret[HASH_LEN], round[HASH_LEN + 1] = { [HASH_LEN] = 2 };
	static const uint8_t one[] = { 1 };
	bool ok = hmac(secret, chain, in, HASH_LEN) && hmac(round, secret, one, sizeof(one));

	memcpy(first, round, HASH_LEN);
	if (ok && second)
		ok = hmac(second, secret, round, sizeof(round));
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(round, sizeof(round));
	return ok;
}

static bool is_meant_for(const uint8_t public_key[OV_KEY_LEN], const uint8_t *msg)
{
	auto_call(cleanup_mac) EVP_MAC *mac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
	auto_call(cleanup_mac_ctx) EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	uint8_t key[HASH_LEN], want[MAC_LEN];
	size_t size = MAC_LEN, len = 0;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end() };

	return ctx && hash2(key, label_mac1, strlen(label_mac1), public_key, OV_KEY_LEN) &&
	       EVP_MAC_init(ctx, key, sizeof(key), params) == 1 && EVP_MAC_update(ctx, msg, AT_MAC1) == 1 &&
	       EVP_MAC_final(ctx, want, &len, sizeof(want)) == 1 && len == MAC_LEN &&
	       CRYPTO_memcmp(want, msg + AT_MAC1, MAC_LEN) == 0;
}

/* -1 for a point that gives no secret, too */
static bool agree(uint8_t shared[OV_KEY_LEN], const uint8_t private_key[OV_KEY_LEN], const uint8_t *point)
{
	auto_call(cleanup_pkey) EVP_PKEY *own =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, OV_KEY_LEN);
	auto_call(cleanup_pkey) EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, point, OV_KEY_LEN);
	auto_call(cleanup_pkey_ctx) EVP_PKEY_CTX *ctx = own ? EVP_PKEY_CTX_new(own, NULL) : NULL;
	size_t len = OV_KEY_LEN;

	return ctx && other && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
	       EVP_PKEY_derive(ctx, shared, &len) == 1 && len == OV_KEY_LEN;
}

static bool open_static(uint8_t sender[OV_KEY_LEN], const uint8_t key[HASH_LEN], const uint8_t hash[HASH_LEN],
			const uint8_t *sealed)
{
	auto_call(cleanup_cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	static const uint8_t nonce[12];
	uint8_t tag[TAG_LEN], plain[OV_KEY_LEN];
	int len;

	memcpy(tag, sealed + OV_KEY_LEN, sizeof(tag));
	if (!ctx || EVP_DecryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce) != 1 ||
	    EVP_DecryptUpdate(ctx, NULL, &len, hash, HASH_LEN) != 1 ||
	    EVP_DecryptUpdate(ctx, plain, &len, sealed, OV_KEY_LEN) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) != 1 ||
	    EVP_DecryptFinal_ex(ctx, plain, &len) != 1)
		return false;
	memcpy(sender, plain, sizeof(plain));
	return true;
}

int ov_initiation_sender(const uint8_t private_key[OV_KEY_LEN], const uint8_t public_key[OV_KEY_LEN],
			 const uint8_t *msg, size_t len, uint8_t sender[OV_KEY_LEN])
{
	static const uint8_t type[] = { 1, 0, 0, 0 };
	uint8_t chain[HASH_LEN], hash[HASH_LEN], shared[OV_KEY_LEN], key[HASH_LEN];
	const uint8_t *ephemeral = msg + AT_EPHEMERAL;
	bool ok;

	if (len != OV_INITIATION_LEN || memcmp(msg, type, sizeof(type)) != 0 || !is_meant_for(public_key, msg))
		return -EBADMSG;
	ok = hash2(chain, construction, strlen(construction), "", 0) &&
	     hash2(hash, chain, HASH_LEN, identifier, strlen(identifier)) &&
	     hash2(hash, hash, HASH_LEN, public_key, OV_KEY_LEN) &&
	     hash2(hash, hash, HASH_LEN, ephemeral, OV_KEY_LEN) && kdf(chain, NULL, chain, ephemeral) &&
	     agree(shared, private_key, ephemeral) && kdf(chain, key, chain, shared) &&
	     open_static(sender, key, hash, msg + AT_STATIC);
	OPENSSL_cleanse(shared, sizeof(shared));
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(chain, sizeof(chain));
	return ok ? 0 : -EBADMSG;
}
