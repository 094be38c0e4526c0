// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "world.h"

static struct ov_device want;

static int setup(void **state)
{
	(void)state;
	device_of(&want, 1, 3);
	want.mtu = 1420;
	assert_true(prefix_parse(&want.addrs[0], "100.64.0.9/24") && prefix_parse(&want.addrs[1], "fd64::9/64"));
	want.n_addrs = 2;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ov_device_fini(&want);
	return 0;
}

static void refused(const char *why)
{
	struct err e = ERR_INIT;

	assert_int_equal(ov_check(&want, &e), -EINVAL);
	if (!strstr(e.msg, why))
		assert_string_equal(e.msg, why);
}

static void accepts_a_mesh(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(ov_check(&want, &e), 0);
}

static void refuses_an_empty_private_key(void **state)
{
	(void)state;
	memset(want.private_key, 0, OV_KEY_LEN);
	refused("private key is empty");
}

static void refuses_itself_as_peer(void **state)
{
	(void)state;
	assert_int_equal(ov_key_public(want.private_key, want.peers[1].public_key), 0);
	refused("own key");
}

static void refuses_a_network_of_a_peer(void **state)
{
	(void)state;
	want.peers[0].allowed[0].bits = 24;
	refused("/24: a peer has single addresses");
	want.peers[0].is_way = true; /* 100.64.0.3/24 has host bits: the device would read as another network */
	refused("/24: a peer has single addresses");
	want.peers[0].allowed[0].addr.b[15] = 0;
	assert_int_equal(ov_check(&want, NULL), 0);
}

static void refuses_an_address_with_two_owners(void **state)
{
	(void)state;
	want.peers[0].allowed[0] = want.peers[2].allowed[0];
	refused("100.64.0.1/32 is given twice");
}

static void refuses_an_mtu_below_that_of_ipv6(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	want.mtu = 1279;
	refused("below 1280");
	want.n_addrs = 1;
	assert_int_equal(ov_check(&want, &e), 0);
}

static void refuses_too_many_addresses(void **state)
{
	(void)state;
	want.n_addrs = 9;
	refused("at most 8");
	want.n_addrs = 0;
	want.peers[0].n_allowed = OV_MAX_ALLOWED + 1;
	refused("at most 8");
}

/* The pair is from wireguard-tools' `wg pubkey`. */
static void keys_are_curve25519(void **state)
{
	static const char wanted[] = "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c";
	uint8_t key[OV_KEY_LEN], public_key[OV_KEY_LEN];
	char text[2 * OV_KEY_LEN + 1];

	(void)state;
	assert_true(hex_parse(key, OV_KEY_LEN, "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60"));
	assert_int_equal(ov_key_public(key, public_key), 0);
	hex_print(text, public_key, OV_KEY_LEN);
	assert_string_equal(text, wanted);
	key[0] |= 7; /* clamping is part of the function */
	key[31] |= 128;
	assert_int_equal(ov_key_public(key, public_key), 0);
	hex_print(text, public_key, OV_KEY_LEN);
	assert_string_equal(text, wanted);
}

static void generated_keys_are_clamped_and_differ(void **state)
{
	uint8_t key[OV_KEY_LEN], clamped[OV_KEY_LEN], other[OV_KEY_LEN];

	(void)state;
	assert_int_equal(ov_key_generate(key), 0);
	assert_int_equal(ov_key_generate(other), 0);
	assert_memory_not_equal(key, other, OV_KEY_LEN);
	memcpy(clamped, key, OV_KEY_LEN);
	ov_key_clamp(clamped);
	assert_memory_equal(clamped, key, OV_KEY_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(accepts_a_mesh, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_an_empty_private_key, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_itself_as_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_a_network_of_a_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_an_address_with_two_owners, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_an_mtu_below_that_of_ipv6, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_too_many_addresses, setup, teardown),
		cmocka_unit_test(keys_are_curve25519),
		cmocka_unit_test(generated_keys_are_clamped_and_differ),
	};

	return cmocka_run_group_tests_name("overlay/model", tests, NULL, NULL);
}
