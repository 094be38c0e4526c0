// SPDX-License-Identifier: Apache-2.0
#include "keys.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/appkeys.h"

#define SEED_FILE "agent.seed"

DEFINE_CLEANUP(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free)

/* --- the tree --- */

static int seed_make(const char *path, uint8_t seed[ID_SCALAR_LEN], struct err *e)
{
	if (RAND_bytes(seed, ID_SCALAR_LEN) != 1)
		return err_at(e, -EIO, path, "no random bytes");
	return file_write(path, seed, ID_SCALAR_LEN, 0600, e);
}

static int seed_load(const char *state, uint8_t seed[ID_SCALAR_LEN], struct err *e)
{
	auto_free char *data = NULL;
	char path[PATH_MAX];
	size_t len;

	if (snprintf(path, sizeof(path), "%s/" SEED_FILE, state) >= (int)sizeof(path))
		return err_at(e, -ENAMETOOLONG, state, "path is too long");
	if (dir_make(state, 0700, e) < 0)
		return e->code;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return seed_make(path, seed, e);
	if (file_read(path, ID_SCALAR_LEN, &data, &len, e) < 0)
		return e->code;
	if (len != ID_SCALAR_LEN)
		return err_at(e, -EBADMSG, path, "is %zu bytes long, a seed has %d", len, ID_SCALAR_LEN);
	memcpy(seed, data, ID_SCALAR_LEN);
	OPENSSL_cleanse(data, len);
	return 0;
}

static bool derive_text(const uint8_t secret[ID_SCALAR_LEN], const char *text, uint8_t out[ID_SCALAR_LEN])
{
	const struct id_part part = id_part_text(text);

	return id_derive(secret, &part, 1, out);
}

static int authorities_make(struct ag_keys *keys, const uint8_t seed[ID_SCALAR_LEN], int64_t now, struct err *e)
{
	uint8_t root[ID_SCALAR_LEN], app[ID_SCALAR_LEN];
	int ret = -EIO;

	if (derive_text(seed, "bailey-agent-root-p256", root) && id_app_ca_scalar(root, keys->app_id, app))
		ret = id_root_ca(root, "Bailey Agent CA", now, &keys->root, e);
	if (!ret)
		ret = id_app_ca(&keys->root, app, keys->app_id, now, &keys->app, e);
	OPENSSL_cleanse(root, sizeof(root));
	OPENSSL_cleanse(app, sizeof(app));
	return ret;
}

int ag_keys_load(const char *state, const uint8_t app_id[BY_APP_ID_LEN], int64_t now, struct ag_keys *keys,
		 struct err *e)
{
	auto_call(ag_keys_fini) struct ag_keys made = { 0 };
	uint8_t seed[ID_SCALAR_LEN];
	int ret = seed_load(state, seed, e);

	if (ret < 0)
		return ret;
	memcpy(made.app_id, app_id, BY_APP_ID_LEN);
	ret = derive_text(seed, "bailey-agent-instance", made.instance_seed) &&
			      derive_text(seed, "bailey-agent-root-k256", made.root_k256) &&
			      id_app_k256_key(made.root_k256, app_id, made.app_k256, made.app_signature)
		      ? authorities_make(&made, seed, now, e)
		      : -EIO;
	OPENSSL_cleanse(seed, sizeof(seed));
	if (ret < 0)
		return err_at(e, ret, state, "the keys can not be derived");
	*keys = made;
	made = (struct ag_keys){ 0 };
	return 0;
}

void ag_keys_fini(struct ag_keys *keys)
{
	id_authority_fini(&keys->root);
	id_authority_fini(&keys->app);
	OPENSSL_cleanse(keys, sizeof(*keys));
}

/* --- keys for applications --- */

bool ag_algorithm_parse(const char *name, enum ag_algorithm *algorithm)
{
	static const struct {
		const char *name;
		enum ag_algorithm algorithm;
	} known[] = { { "", AG_K256 },
		      { "secp256k1", AG_K256 },
		      { "k256", AG_K256 },
		      { "secp256k1_prehashed", AG_K256_PREHASHED },
		      { "ed25519", AG_ED25519 } };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(name, known[i].name) != 0)
			continue;
		*algorithm = known[i].algorithm;
		return true;
	}
	return false;
}

static EVP_PKEY *ed25519_of(const struct ag_key *key)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, ID_SCALAR_LEN);
}

static bool public_fill(struct ag_key *key)
{
	auto_call(cleanup_pkey) EVP_PKEY *ed = NULL;

	key->public_len = sizeof(key->public);
	if (key->algorithm != AG_ED25519)
		return id_k256_public(key->secret, key->public);
	ed = ed25519_of(key);
	return ed && EVP_PKEY_get_raw_public_key(ed, key->public, &key->public_len) == 1;
}

/* What a verifier of the chain recomputes. */
static bool chain_digest(const char *purpose, const struct ag_key *key, uint8_t digest[ID_KECCAK_LEN])
{
	auto_out struct out text = { 0 };
	char hex[2 * ID_K256_POINT_LEN + 1];

	hex_print(hex, key->public, key->public_len);
	out_print(&text, "%s:%s", purpose, hex);
	if (!out_ok(&text))
		return false;
	id_keccak256(digest, text.data, text.len);
	return true;
}

int ag_key_derive(const struct ag_keys *keys, const char *path, const char *purpose, enum ag_algorithm algorithm,
		  struct ag_key *key, struct err *e)
{
	uint8_t digest[ID_KECCAK_LEN];

	*key = (struct ag_key){ .algorithm = algorithm };
	if (!derive_text(keys->app_k256, path, key->secret) || !public_fill(key) ||
	    !chain_digest(purpose, key, digest) || !id_k256_sign(keys->app_k256, digest, key->signature))
		return err_at(e, -EIO, "key", "can not be derived");
	return 0;
}

/* --- signatures --- */

static int digest_of(enum ag_algorithm algorithm, const uint8_t *data, size_t len, uint8_t digest[32], struct err *e)
{
	if (algorithm == AG_K256_PREHASHED && len != 32)
		return err_at(e, -EINVAL, "data", "a prehashed message has 32 bytes, this one has %zu", len);
	if (algorithm == AG_K256_PREHASHED)
		memcpy(digest, data, 32);
	else if (!id_hash(EVP_sha256(), digest, data, len, NULL, 0))
		return err_at(e, -ENOMEM, "data", "out of memory");
	return 0;
}

static int ed25519_sign(const struct ag_key *key, const uint8_t *data, size_t len, uint8_t signature[AG_SIGNATURE_LEN],
			struct err *e)
{
	auto_call(cleanup_pkey) EVP_PKEY *pkey = ed25519_of(key);
	auto_call(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t size = AG_SIGNATURE_LEN;

	if (!pkey || !ctx || EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) != 1 ||
	    EVP_DigestSign(ctx, signature, &size, data, len) != 1 || size != AG_SIGNATURE_LEN)
		return err_at(e, -EIO, "key", "can not sign");
	return 0;
}

int ag_key_sign(const struct ag_key *key, const uint8_t *data, size_t len, uint8_t signature[AG_SIGNATURE_LEN],
		struct err *e)
{
	uint8_t digest[32], full[ID_K256_SIG_LEN];
	int ret;

	if (key->algorithm == AG_ED25519)
		return ed25519_sign(key, data, len, signature, e);
	ret = digest_of(key->algorithm, data, len, digest, e);
	if (ret < 0)
		return ret;
	if (!id_k256_sign(key->secret, digest, full))
		return err_at(e, -EIO, "key", "can not sign");
	memcpy(signature, full, AG_SIGNATURE_LEN);
	return 0;
}

static bool ed25519_verify(const uint8_t *public, size_t public_len, const uint8_t *data, size_t len,
			   const uint8_t *signature, size_t signature_len)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, public_len);
	auto_call(cleanup_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	return key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
	       EVP_DigestVerify(ctx, signature, signature_len, data, len) == 1;
}

/* One of the two keys that the signature recovers to. */
static bool k256_verify(const uint8_t *public, size_t public_len, const uint8_t digest[32], const uint8_t *signature,
			size_t signature_len)
{
	uint8_t full[ID_K256_SIG_LEN], who[ID_K256_POINT_LEN];

	if (public_len != ID_K256_POINT_LEN || signature_len != AG_SIGNATURE_LEN)
		return false;
	memcpy(full, signature, AG_SIGNATURE_LEN);
	for (full[64] = 0; full[64] < 2; full[64]++)
		if (id_k256_recover(full, digest, who) && memcmp(who, public, sizeof(who)) == 0)
			return true;
	return false;
}

int ag_verify(enum ag_algorithm algorithm, const uint8_t *public, size_t public_len, const uint8_t *data, size_t len,
	      const uint8_t *signature, size_t signature_len, bool *is_valid, struct err *e)
{
	uint8_t digest[32];
	int ret;

	if (algorithm == AG_ED25519) {
		*is_valid = ed25519_verify(public, public_len, data, len, signature, signature_len);
		return 0;
	}
	ret = digest_of(algorithm, data, len, digest, e);
	if (!ret)
		*is_valid = k256_verify(public, public_len, digest, signature, signature_len);
	return ret;
}
