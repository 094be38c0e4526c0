// SPDX-License-Identifier: Apache-2.0
#include "appkeys.h"

#include <string.h>

#include "base/buf.h"

#define ISSUED_NOTE "dstack-kms-issued:"
#define ENV_NOTE    "dstack-env-encrypt-pubkey:"

static struct id_part app_part(const uint8_t app_id[BY_APP_ID_LEN])
{
	return (struct id_part){ app_id, BY_APP_ID_LEN };
}

bool id_app_ca_scalar(const uint8_t root[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
		      uint8_t scalar[ID_SCALAR_LEN])
{
	const struct id_part parts[] = { app_part(app_id), id_part_text("app-ca") };

	return id_derive(root, parts, ARRAY_LEN(parts), scalar);
}

bool id_app_disk_key(const uint8_t root[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN], const uint8_t *instance_id,
		     uint8_t key[ID_SCALAR_LEN])
{
	const struct id_part parts[] = { app_part(app_id),
					 { instance_id, instance_id ? BY_INSTANCE_ID_LEN : 0 },
					 id_part_text("app-disk-crypt-key") };

	return id_derive_dh(root, parts, ARRAY_LEN(parts), key);
}

bool id_app_env_key(const uint8_t root[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN], uint8_t key[ID_SCALAR_LEN],
		    uint8_t public[ID_X25519_LEN])
{
	const struct id_part parts[] = { app_part(app_id), id_part_text("env-encrypt-key") };
	auto_call(cleanup_pkey) EVP_PKEY *pkey = NULL;
	size_t len = ID_X25519_LEN;

	if (!id_derive_dh(root, parts, ARRAY_LEN(parts), key))
		return false;
	if (!public)
		return true;
	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, key, ID_SCALAR_LEN);
	return pkey && EVP_PKEY_get_raw_public_key(pkey, public, &len) == 1 && len == ID_X25519_LEN;
}

static bool note_sign(const uint8_t root_k256[ID_SCALAR_LEN], struct out *note, uint8_t signature[ID_K256_SIG_LEN])
{
	uint8_t digest[ID_KECCAK_LEN];

	if (!out_ok(note))
		return false;
	id_keccak256(digest, note->data, note->len);
	return id_k256_sign(root_k256, digest, signature);
}

bool id_app_k256_key(const uint8_t root_k256[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
		     uint8_t key[ID_SCALAR_LEN], uint8_t signature[ID_K256_SIG_LEN])
{
	const struct id_part parts[] = { app_part(app_id), id_part_text("app-key") };
	uint8_t public[ID_K256_POINT_LEN];
	auto_out struct out note = { 0 };

	if (!id_derive(root_k256, parts, ARRAY_LEN(parts), key) || !id_k256_public(key, public))
		return false;
	out_bytes(&note, ISSUED_NOTE, strlen(ISSUED_NOTE));
	out_bytes(&note, app_id, BY_APP_ID_LEN);
	out_bytes(&note, public, sizeof(public));
	return note_sign(root_k256, &note, signature);
}

bool id_app_env_signature(const uint8_t root_k256[ID_SCALAR_LEN], const uint8_t app_id[BY_APP_ID_LEN],
			  const uint8_t public[ID_X25519_LEN], const uint64_t *at, uint8_t signature[ID_K256_SIG_LEN])
{
	auto_out struct out note = { 0 };

	out_bytes(&note, ENV_NOTE, strlen(ENV_NOTE));
	out_bytes(&note, app_id, BY_APP_ID_LEN);
	if (at) {
		out_u32be(&note, (uint32_t)(*at >> 32));
		out_u32be(&note, (uint32_t)*at);
	}
	out_bytes(&note, public, ID_X25519_LEN);
	return note_sign(root_k256, &note, signature);
}
