// SPDX-License-Identifier: Apache-2.0
/* Curve25519 keys, by OpenSSL. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "model.h"

DEFINE_CLEANUP(pkey, EVP_PKEY, EVP_PKEY_free)

int ov_key_generate(uint8_t private_key[OV_KEY_LEN])
{
	uint8_t key[OV_KEY_LEN];

	if (RAND_priv_bytes(key, sizeof(key)) != 1)
		return -EIO;
	ov_key_clamp(key);
	memcpy(private_key, key, sizeof(key));
	OPENSSL_cleanse(key, sizeof(key));
	return 0;
}

int ov_key_public(const uint8_t private_key[OV_KEY_LEN], uint8_t public_key[OV_KEY_LEN])
{
	auto_call(cleanup_pkey) EVP_PKEY *pkey = NULL;
	uint8_t key[OV_KEY_LEN];
	size_t len = sizeof(key);

	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, OV_KEY_LEN);
	if (!pkey || EVP_PKEY_get_raw_public_key(pkey, key, &len) != 1 || len != sizeof(key))
		return -EIO;
	memcpy(public_key, key, sizeof(key));
	return 0;
}

int ov_key_write(const char *path, const uint8_t private_key[OV_KEY_LEN], struct err *e)
{
	char text[BASE64_LEN(OV_KEY_LEN) + 1];
	int ret;

	base64_print(text, private_key, OV_KEY_LEN);
	strcat(text, "\n");
	ret = file_write(path, text, strlen(text), 0600, e);
	explicit_bzero(text, sizeof(text));
	return ret;
}
