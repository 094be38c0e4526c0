// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "identity/k256.h"

static void hex_is(const void *got, size_t len, const char *want)
{
	char text[256];

	hex_print(text, got, len);
	assert_string_equal(text, want);
}

/* dstack's own vector for its P-256 children. */
static void children_are_those_of_dstack(void **state)
{
	const struct id_part path[] = { id_part_text("context one"), id_part_text("context two") };
	uint8_t parent[32], out[32];

	(void)state;
	assert_true(hex_parse(parent, 32, "f57527cea4ab7ffb49af99b158cdc0e3ec06398f528349ea236b7d2afe19cec1"));
	assert_true(id_derive(parent, path, 2, out));
	hex_is(out, 32, "b60ac47b8fcfbdf96031b9e94f0b60cfe9de05eccb5a1dca41a26f757833c0e7");
	assert_true(id_derive_dh(parent, path, 2, out));
	hex_is(out, 32, "663afd58820be8ad645f9c035e93199d114ab16f738db62393bc1d7d623e8813");
}

static void parts_are_joined_without_a_separator(void **state)
{
	const struct id_part two[] = { id_part_text("ab"), id_part_text("c") }, one[] = { id_part_text("abc") };
	uint8_t parent[32] = { 1 }, a[32], b[32], c[32];

	(void)state;
	assert_true(id_derive(parent, two, 2, a) && id_derive(parent, one, 1, b) && id_derive(parent, one, 0, c));
	assert_memory_equal(a, b, 32);
	assert_memory_not_equal(a, c, 32);
}

static void scalars_outside_the_order_are_no_keys(void **state)
{
	uint8_t zero[32] = { 0 }, order[32], back[32];
	EVP_PKEY *key;

	(void)state;
	assert_true(hex_parse(order, 32, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"));
	assert_null(id_key_from_scalar("prime256v1", zero));
	assert_null(id_key_from_scalar("prime256v1", order));
	order[31]--;
	key = id_key_from_scalar("prime256v1", order);
	assert_non_null(key);
	assert_true(id_key_to_scalar(key, back));
	assert_memory_equal(back, order, 32);
	EVP_PKEY_free(key);
}

static void keccak_is_the_one_before_sha3(void **state)
{
	uint8_t long_text[300], out[64];

	(void)state;
	id_keccak256(out, "", 0);
	hex_is(out, 32, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
	id_keccak256(out, "abc", 3);
	hex_is(out, 32, "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
	id_keccak(out, 48, "", 0);
	hex_is(out, 48,
	       "2c23146a63a29acf99e73b88f8c24eaa7dc60aa771780ccc006afbfa8fe2479b2dd2b21362337441ac12b515911957ff");
	id_keccak(out, 64, "", 0);
	hex_is(out, 64,
	       "0eab42de4c3ceb9235fc91acffe746b29c29a8c366b7c60e4e67c466f36a4304c00fa9caf9d87976ba469bcbe06713b435f091e"
	       "f"
	       "2769fb160cdab33d3670680e");
	/* lengths about the rate differ from each other */
	memset(long_text, 'a', sizeof(long_text));
	for (size_t len = 130; len < 280; len++) {
		uint8_t next[32];

		id_keccak256(out, long_text, len);
		id_keccak256(next, long_text, len + 1);
		assert_memory_not_equal(out, next, 32);
	}
}

static void public_key_of_one_is_the_generator(void **state)
{
	uint8_t one[32] = { [31] = 1 }, point[ID_K256_POINT_LEN];

	(void)state;
	assert_true(id_k256_public(one, point));
	hex_is(point, sizeof(point), "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
}

static void signatures_recover_to_their_key(void **state)
{
	static const uint8_t half[32] = { 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					  0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4,
					  0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0 };
	uint8_t secret[32] = { 7, 7, 7 }, own[ID_K256_POINT_LEN], who[ID_K256_POINT_LEN];
	unsigned ids = 0;

	(void)state;
	assert_true(id_k256_public(secret, own));
	for (unsigned i = 0; i < 40; i++) {
		uint8_t digest[32], sig[ID_K256_SIG_LEN];

		id_keccak256(digest, &i, sizeof(i));
		assert_true(id_k256_sign(secret, digest, sig));
		assert_true(memcmp(sig + 32, half, 32) <= 0);
		assert_true(id_k256_recover(sig, digest, who));
		assert_memory_equal(who, own, sizeof(own));
		ids |= 1u << sig[64];
		/* another text, another half of the curve: another key or none */
		digest[i % 32] ^= 1;
		assert_false(id_k256_recover(sig, digest, who) && memcmp(who, own, sizeof(own)) == 0);
		digest[i % 32] ^= 1;
		sig[64] ^= 1;
		assert_false(id_k256_recover(sig, digest, who) && memcmp(who, own, sizeof(own)) == 0);
	}
	assert_int_equal(ids, 3);
}

static void signatures_out_of_range_recover_nothing(void **state)
{
	uint8_t digest[32] = { 1 }, sig[ID_K256_SIG_LEN] = { 0 }, who[ID_K256_POINT_LEN];

	(void)state;
	assert_false(id_k256_recover(sig, digest, who));
	memset(sig, 0xff, 64);
	assert_false(id_k256_recover(sig, digest, who));
	memset(sig, 1, 64);
	sig[64] = 2;
	assert_false(id_k256_recover(sig, digest, who));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(children_are_those_of_dstack),
		cmocka_unit_test(parts_are_joined_without_a_separator),
		cmocka_unit_test(scalars_outside_the_order_are_no_keys),
		cmocka_unit_test(keccak_is_the_one_before_sha3),
		cmocka_unit_test(public_key_of_one_is_the_generator),
		cmocka_unit_test(signatures_recover_to_their_key),
		cmocka_unit_test(signatures_out_of_range_recover_nothing),
	};

	return cmocka_run_group_tests_name("identity/derive", tests, NULL, NULL);
}
