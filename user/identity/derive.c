// SPDX-License-Identifier: Apache-2.0
#include "derive.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/kdf.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/buf.h"

DEFINE_CLEANUP(kdf, EVP_KDF, EVP_KDF_free)
DEFINE_CLEANUP(kdf_ctx, EVP_KDF_CTX, EVP_KDF_CTX_free)
DEFINE_CLEANUP(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(params, OSSL_PARAM, OSSL_PARAM_free)
DEFINE_CLEANUP(builder, OSSL_PARAM_BLD, OSSL_PARAM_BLD_free)
DEFINE_CLEANUP(bn, BIGNUM, BN_clear_free)
DEFINE_CLEANUP(group, EC_GROUP, EC_GROUP_free)
DEFINE_CLEANUP(point, EC_POINT, EC_POINT_free)
DEFINE_CLEANUP(pkcs8, PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO_free)

#define POINT_LEN 65 /* uncompressed */

bool id_derive(const uint8_t secret[ID_SCALAR_LEN], const struct id_part *parts, size_t n, uint8_t out[ID_SCALAR_LEN])
{
	auto_call(cleanup_kdf) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	auto_call(cleanup_kdf_ctx) EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	auto_out struct out info = { 0 };
	OSSL_PARAM params[5];

	for (size_t i = 0; i < n; i++)
		out_bytes(&info, parts[i].p, parts[i].len);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (char *)"RATLS", 5);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (uint8_t *)secret, ID_SCALAR_LEN);
	params[3] =
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.len ? info.data : (uint8_t *)"", info.len);
	params[4] = OSSL_PARAM_construct_end();
	return ctx && out_ok(&info) && EVP_KDF_derive(ctx, out, ID_SCALAR_LEN, params) == 1;
}

static bool point_of(const char *curve, const BIGNUM *scalar, uint8_t point[POINT_LEN])
{
	auto_call(cleanup_group) EC_GROUP *group = EC_GROUP_new_by_curve_name(OBJ_txt2nid(curve));
	auto_call(cleanup_point) EC_POINT *q = group ? EC_POINT_new(group) : NULL;

	return q && !BN_is_zero(scalar) && BN_cmp(scalar, EC_GROUP_get0_order(group)) < 0 &&
	       EC_POINT_mul(group, q, scalar, NULL, NULL, NULL) == 1 &&
	       EC_POINT_point2oct(group, q, POINT_CONVERSION_UNCOMPRESSED, point, POINT_LEN, NULL) == POINT_LEN;
}

EVP_PKEY *id_key_from_scalar(const char *curve, const uint8_t scalar[ID_SCALAR_LEN])
{
	auto_call(cleanup_bn) BIGNUM *secret = BN_secure_new();
	auto_call(cleanup_builder) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	auto_call(cleanup_pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	auto_call(cleanup_params) OSSL_PARAM *params = NULL;
	uint8_t point[POINT_LEN];
	EVP_PKEY *key = NULL;

	if (!secret || !builder || !ctx || !BN_bin2bn(scalar, ID_SCALAR_LEN, secret) || !point_of(curve, secret, point))
		return NULL;
	if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) != 1 ||
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, secret) != 1 ||
	    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) != 1)
		return NULL;
	params = OSSL_PARAM_BLD_to_param(builder);
	if (!params || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
		return NULL;
	return key;
}

bool id_key_to_scalar(const EVP_PKEY *key, uint8_t scalar[ID_SCALAR_LEN])
{
	BIGNUM *raw = NULL;
	bool ok = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &raw) == 1 &&
		  BN_bn2binpad(raw, scalar, ID_SCALAR_LEN) == ID_SCALAR_LEN;

	BN_clear_free(raw);
	return ok;
}

bool id_derive_dh(const uint8_t secret[ID_SCALAR_LEN], const struct id_part *parts, size_t n,
		  uint8_t out[ID_SCALAR_LEN])
{
	auto_call(cleanup_pkey) EVP_PKEY *key = NULL;
	auto_call(cleanup_pkcs8) PKCS8_PRIV_KEY_INFO *info = NULL;
	uint8_t scalar[ID_SCALAR_LEN], *der = NULL;
	int len;
	bool ok;

	if (!id_derive(secret, parts, n, scalar))
		return false;
	key = id_key_from_scalar("prime256v1", scalar);
	OPENSSL_cleanse(scalar, sizeof(scalar));
	info = key ? EVP_PKEY2PKCS8(key) : NULL;
	len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
	ok = len > 0 && id_hash(EVP_sha256(), out, der, (size_t)len, NULL, 0);
	if (len > 0)
		OPENSSL_clear_free(der, (size_t)len);
	return ok;
}
