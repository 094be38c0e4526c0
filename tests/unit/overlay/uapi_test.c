// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "overlay/wg_uapi.h"
#include "world.h"

#define ONES  "1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS  "2222222222222222222222222222222222222222222222222222222222222222"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static struct ov_device dev;
static struct err e;

static int parse(const char *text)
{
	e = ERR_INIT;
	ov_device_fini(&dev);
	return ov_uapi_parse(text, strlen(text), "by0.sock", &dev, &e);
}

static void reads_a_device(void **state)
{
	(void)state;
	assert_int_equal(parse("private_key=" TWOS "\nlisten_port=51820\nfwmark=7\n"
			       "public_key=" ONES "\npreshared_key=" ZEROS "\nprotocol_version=1\n"
			       "endpoint=[fd00::1]:4000\nlast_handshake_time_sec=1700000000\n"
			       "last_handshake_time_nsec=5\ntx_bytes=18446744073709551615\nrx_bytes=9\n"
			       "persistent_keepalive_interval=25\nallowed_ip=100.64.0.1/32\nallowed_ip=fd64::1/128\n"
			       "public_key=" TWOS "\nerrno=0\n\n"),
			 0);
	assert_int_equal(dev.listen_port, 51820);
	assert_int_equal(dev.private_key[31], 0x22);
	assert_int_equal(dev.n_peers, 2);
	assert_int_equal(dev.peers[0].n_allowed, 2);
	assert_true(dev.peers[0].has_endpoint && dev.peers[0].endpoint.port == 4000);
	assert_true(dev.peers[0].tx_bytes == UINT64_MAX && dev.peers[0].rx_bytes == 9);
	assert_int_equal(dev.peers[0].last_handshake_s, 1700000000);
	assert_int_equal(dev.peers[0].keepalive_s, 25);
	assert_false(dev.peers[0].has_preshared_key || dev.peers[1].has_endpoint || dev.peers[1].has_keepalive);
	ov_device_fini(&dev);
}

static void a_zone_is_left_out(void **state)
{
	(void)state;
	assert_int_equal(parse("public_key=" ONES "\nendpoint=[fe80::1%eth0]:1\nerrno=0\n\n"), 0);
	assert_true(dev.peers[0].has_endpoint);
	ov_device_fini(&dev);
}

static void a_foreign_preshared_key_is_seen(void **state)
{
	(void)state;
	assert_int_equal(parse("public_key=" ONES "\npreshared_key=" TWOS "\nerrno=0\n\n"), 0);
	assert_true(dev.peers[0].has_preshared_key);
	ov_device_fini(&dev);
}

static void a_refusal_is_its_errno(void **state)
{
	(void)state;
	assert_int_equal(parse("errno=98\n\n"), -EADDRINUSE);
	assert_int_equal(parse("errno=-98\n\n"), -EADDRINUSE); /* wireguard-go */
	assert_string_equal(e.where, "by0.sock");
}

static void refuses_with_the_place(void **state)
{
	static const struct {
		const char *text, *where;
	} bad[] = {
		{ "listen_port=65536\nerrno=0\n\n", "by0.sock:1" },
		{ "listen_port=\nerrno=0\n\n", "by0.sock:1" },
		{ "listen_port=-1\nerrno=0\n\n", "by0.sock:1" },
		{ "private_key=12\nerrno=0\n\n", "by0.sock:1" },
		{ "noise\nerrno=0\n\n", "by0.sock:1" },
		{ "rx_bytes=1\nerrno=0\n\n", "by0.sock:1" },
		{ "public_key=" ONES "\nrx_bytes=18446744073709551616\nerrno=0\n\n", "by0.sock:2" },
		{ "public_key=" ONES "\nendpoint=[fe80::1%eth0\nerrno=0\n\n", "by0.sock:2" },
		{ "public_key=" ONES "\nendpoint=nowhere\nerrno=0\n\n", "by0.sock:2" },
		{ "public_key=" ONES "\npreshared_key=1\nerrno=0\n\n", "by0.sock:2" },
		{ "public_key=" ONES "\nallowed_ip=1.2.3.4/33\nerrno=0\n\n", "by0.sock:2" },
		{ "public_key=" ONES "1\nerrno=0\n\n", "by0.sock:1" },
		{ "errno=0\n", "by0.sock" },
		{ "errno=0", "by0.sock:1" },
		{ "listen_port=1\n\n", "by0.sock" },
		{ "errno=0\n\nerrno=0\n\n", "by0.sock" },
		{ "\n", "by0.sock" },
		{ "", "by0.sock" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		dev.n_peers = 77;
		e = ERR_INIT;
		assert_int_equal(ov_uapi_parse(bad[i].text, strlen(bad[i].text), "by0.sock", &dev, &e), -EPROTO);
		assert_string_equal(e.where, bad[i].where);
		assert_int_equal(dev.n_peers, 77);
	}
	dev = (struct ov_device){ 0 };
}

static void a_refused_secret_is_not_repeated(void **state)
{
	char text[700];

	(void)state;
	assert_int_equal(parse("private_key=deadbeef\nerrno=0\n\n"), -EPROTO);
	assert_null(strstr(err_text(&e, text, sizeof(text)), "deadbeef"));
}

static void long_values_do_not_fit(void **state)
{
	char text[400];

	(void)state;
	snprintf(text, sizeof(text), "listen_port=%0300d\nerrno=0\n\n", 1);
	assert_int_equal(parse(text), -EPROTO);
	snprintf(text, sizeof(text), "of_a_newer_protocol=%0300d\nerrno=0\n\n", 1);
	assert_int_equal(parse(text), 0);
}

static void asks_for_the_difference_alone(void **state)
{
	static const char wanted[] =
		"set=1\nlisten_port=4000\npublic_key=01010101010101010101010101010101010101010101010101010101010101"
		"01\nremove=true\n"
		"public_key=0202020202020202020202020202020202020202020202020202020202020202\n"
		"persistent_keepalive_interval=0\n"
		"public_key=0303030303030303030303030303030303030303030303030303030303030303\n"
		"endpoint=10.0.0.3:51820\npersistent_keepalive_interval=25\nreplace_allowed_ips=true\n"
		"allowed_ip=100.64.0.3/32\nallowed_ip=fd64::3/128\n\n";
	struct ov_device have, want;
	struct out out = { 0 };
	struct ov_diff diff;

	(void)state;
	device_of(&have, 1, 2);
	device_of(&want, 2, 3);
	want.listen_port = 4000;
	find_peer(&want, 2)->keepalive_s = 0;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	ov_uapi_print_set(&out, &want, &diff);
	out_u8(&out, 0);
	assert_true(out_ok(&out));
	assert_string_equal((char *)out.data, wanted);
	out_fini(&out);
	ov_diff_fini(&diff);
	ov_device_fini(&have);
	ov_device_fini(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_device),
		cmocka_unit_test(a_zone_is_left_out),
		cmocka_unit_test(a_foreign_preshared_key_is_seen),
		cmocka_unit_test(a_refusal_is_its_errno),
		cmocka_unit_test(refuses_with_the_place),
		cmocka_unit_test(a_refused_secret_is_not_repeated),
		cmocka_unit_test(long_values_do_not_fit),
		cmocka_unit_test(asks_for_the_difference_alone),
	};

	return cmocka_run_group_tests_name("overlay/uapi", tests, NULL, NULL);
}
