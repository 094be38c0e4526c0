// SPDX-License-Identifier: Apache-2.0
/* Handshake initiations, made here as the whitepaper says (5.4.2), told apart by their sender. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "overlay/overlay.h"

/*
 * What wireguard-go sent from the key of `sender` to that of `own`, as tcpdump saw it. Keys of this test, used nowhere.
 */
static const char own_private[] = "809e3626c28620152a87c754b0b49c72f29fea78785abba93cf3bd5a69dae268",
		  own_public[] = "1d62451adf38bbdf0b1b806e9a6496c2e7d60e4f434f442029f562941f0ba325",
		  sender_public[] = "5f4df9e88484d555054131cce5b2074c6fe5cec1916a61fdcdc95576d3b70453";
static const char captured[] =
	"010000000058fa4a062e113b3fbb0e0da5d572526fdcc7f3b4ebdd397b719af4366d8b94912ef07c048b3ab46391c5c8"
	"1785f4d57c63b2ccf346b629d9648db21f0106faa6a469e4f9a6a1caf8bb74936afb50e545745c1c6fbf960139052b8b"
	"eb98b21d534a548b4c818704f6889b4f8d32a8f7a4e62a6d2a7587094580765f332c6c97000000000000000000000000"
	"00000000";

static uint8_t own[OV_KEY_LEN], own_pub[OV_KEY_LEN], sender[OV_KEY_LEN], msg[OV_INITIATION_LEN];

static int set_up(void **state)
{
	(void)state;
	assert_true(hex_parse(own, sizeof(own), own_private) && hex_parse(own_pub, sizeof(own_pub), own_public));
	assert_true(hex_parse(sender, sizeof(sender), sender_public) && hex_parse(msg, sizeof(msg), captured));
	return 0;
}

static void the_sender_of_a_real_one_is_told(void **state)
{
	uint8_t got[OV_KEY_LEN];

	(void)state;
	assert_int_equal(ov_initiation_sender(own, own_pub, msg, sizeof(msg), got), 0);
	assert_memory_equal(got, sender, sizeof(got));
}

/* The end is the timestamp, which is not opened, and mac2: both mac1 covers, or nobody here reads. */
static void one_that_was_changed_is_none(void **state)
{
	uint8_t got[OV_KEY_LEN];

	(void)state;
	for (size_t i = 0; i < 132; i++) {
		msg[i] ^= 0x40;
		assert_int_not_equal(ov_initiation_sender(own, own_pub, msg, sizeof(msg), got), 0);
		msg[i] ^= 0x40;
	}
	assert_int_not_equal(ov_initiation_sender(own, own_pub, msg, sizeof(msg) - 1, got), 0);
	assert_int_not_equal(ov_initiation_sender(own, own_pub, msg, 0, got), 0);
	assert_int_equal(ov_initiation_sender(own, own_pub, msg, sizeof(msg), got), 0);
}

static void one_for_another_key_is_none(void **state)
{
	uint8_t other[OV_KEY_LEN], other_pub[OV_KEY_LEN], got[OV_KEY_LEN];

	(void)state;
	assert_int_equal(ov_key_generate(other), 0);
	assert_int_equal(ov_key_public(other, other_pub), 0);
	assert_int_not_equal(ov_initiation_sender(other, other_pub, msg, sizeof(msg), got), 0);
	assert_int_not_equal(ov_initiation_sender(other, own_pub, msg, sizeof(msg), got), 0); /* mac1 alone fits */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_sender_of_a_real_one_is_told, set_up),
		cmocka_unit_test_setup(one_that_was_changed_is_none, set_up),
		cmocka_unit_test_setup(one_for_another_key_is_none, set_up),
	};

	return cmocka_run_group_tests_name("initiation", tests, NULL, NULL);
}
