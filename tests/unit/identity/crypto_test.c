// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "world.h"

static void hashes_two_parts_as_one(void **state)
{
	uint8_t one[32], two[32];
	char hex[65];

	(void)state;
	assert_true(id_hash(EVP_sha256(), one, "abc", 3, NULL, 0));
	assert_true(id_hash(EVP_sha256(), two, "a", 1, "bc", 2));
	assert_memory_equal(one, two, sizeof(one));
	hex_print(hex, one, sizeof(one));
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 */
}

static void raw_signature_holds_for_its_key_and_message(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new(), *other = id_p256_new(), *public = NULL;
	uint8_t sig[ID_P256_RAW_LEN], xy[ID_P256_RAW_LEN], zero[ID_P256_RAW_LEN] = { 0 };

	(void)state;
	assert_true(id_ecdsa_sign_raw(key, sig, "message", 7));
	assert_true(id_p256_to_raw(key, xy));
	public = id_p256_from_raw(xy);
	assert_non_null(public);
	assert_true(id_ecdsa_verify_raw(public, sig, "message", 7));
	assert_false(id_ecdsa_verify_raw(public, sig, "massage", 7));
	assert_false(id_ecdsa_verify_raw(other, sig, "message", 7));
	assert_false(id_ecdsa_verify_raw(public, zero, "message", 7));
	memset(sig, 0xff, sizeof(sig)); /* r and s above the order */
	assert_false(id_ecdsa_verify_raw(public, sig, "message", 7));
}

static void der_signature_takes_no_other_encoding(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	uint8_t sig[ID_ECDSA_MAX + 1] = { 0 };
	size_t len;

	(void)state;
	assert_true(id_ecdsa_sign(key, sig, &len, "m", 1));
	assert_true(id_ecdsa_verify(key, sig, len, "m", 1));
	assert_false(id_ecdsa_verify(key, sig, len + 1, "m", 1)); /* a trailing byte */
	assert_false(id_ecdsa_verify(key, sig, len - 1, "m", 1));
	assert_false(id_ecdsa_verify(key, sig, 0, "m", 1));
}

static void points_off_the_curve_are_no_keys(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *key = id_p256_new();
	uint8_t xy[ID_P256_RAW_LEN] = { 0 };

	(void)state;
	assert_null(id_p256_from_raw(xy));
	assert_true(id_p256_to_raw(key, xy));
	xy[63] ^= 1;
	assert_null(id_p256_from_raw(xy));
	memset(xy, 0xff, sizeof(xy));
	assert_null(id_p256_from_raw(xy));
}

static void only_p256_keys_are_read(void **state)
{
	auto_call(cleanup_pkey) EVP_PKEY *p384 = EVP_EC_gen("P-384"), *p256 = id_p256_new(), *back = NULL;
	auto_free char *wrong = id_key_to_pem(p384), *right = id_key_to_pem(p256);
	uint8_t spki[ID_SPKI_LEN];

	(void)state;
	assert_false(id_p256_spki(p384, spki));
	assert_null(id_p256_from_pem(wrong));
	assert_null(id_p256_from_pem("no key"));
	back = id_p256_from_pem(right);
	assert_non_null(back);
	assert_int_equal(EVP_PKEY_eq(back, p256), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_two_parts_as_one),
		cmocka_unit_test(raw_signature_holds_for_its_key_and_message),
		cmocka_unit_test(der_signature_takes_no_other_encoding),
		cmocka_unit_test(points_off_the_curve_are_no_keys),
		cmocka_unit_test(only_p256_keys_are_read),
	};

	return cmocka_run_group_tests_name("identity/crypto", tests, world_new, world_free);
}
