// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* Messages that are built are parsed back: the parser is the one that reads the kernel's. */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdio.h>

#include "overlay/wg_netlink.h"
#include "world.h"

static char buf[OV_NL_BUF] __attribute__((aligned(4)));

static size_t count_peers(const struct nlmsghdr *nlh, uint32_t flag)
{
	const struct nlattr *attr, *peer, *value;
	size_t n = 0;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) if (mnl_attr_get_type(attr) == WGDEVICE_A_PEERS)
		mnl_attr_for_each_nested(peer, attr)
			mnl_attr_for_each_nested(value, peer) if (mnl_attr_get_type(value) == WGPEER_A_FLAGS) n +=
		mnl_attr_get_u32(value) == flag;
	return n;
}

static void one_peer_survives_the_way(void **state)
{
	struct ov_device have = { 0 }, want, got = { 0 };
	struct ov_diff diff;
	struct nlmsghdr *nlh;
	size_t at = 0;

	(void)state;
	device_of(&want, 7, 7);
	want.peers[0].endpoint = endpoint_of("[fd00::7]:4000");
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	nlh = ov_wgnl_build(buf, sizeof(buf), 99, "by0", &want, &diff, &at);
	assert_int_equal(at, 1);
	assert_int_equal(nlh->nlmsg_type, 99);
	assert_int_equal(ov_wgnl_parse(nlh, &got), 0);
	assert_memory_equal(got.private_key, want.private_key, OV_KEY_LEN);
	assert_int_equal(got.listen_port, 51820);
	assert_int_equal(got.n_peers, 1);
	assert_memory_equal(&got.peers[0], &want.peers[0], sizeof(want.peers[0]));
	ov_device_fini(&got);
	ov_device_fini(&want);
	ov_diff_fini(&diff);
}

static void removals_come_first_and_carry_the_key_alone(void **state)
{
	struct ov_device have, want;
	struct ov_diff diff;
	struct nlmsghdr *nlh;
	size_t at = 0;

	(void)state;
	device_of(&have, 1, 3);
	device_of(&want, 3, 4);
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	nlh = ov_wgnl_build(buf, sizeof(buf), 99, "by0", &want, &diff, &at);
	assert_int_equal(at, 3);
	assert_int_equal(count_peers(nlh, WGPEER_F_REMOVE_ME), 2);
	assert_int_equal(count_peers(nlh, WGPEER_F_REPLACE_ALLOWEDIPS), 1);
	ov_device_fini(&have);
	ov_device_fini(&want);
	ov_diff_fini(&diff);
}

static void an_unchanged_list_of_addresses_is_not_sent(void **state)
{
	struct ov_device have, want, got = { 0 };
	struct ov_diff diff;
	size_t at = 0;

	(void)state;
	device_of(&have, 1, 1);
	device_of(&want, 1, 1);
	want.peers[0].keepalive_s = 0;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(ov_wgnl_parse(ov_wgnl_build(buf, sizeof(buf), 99, "by0", &want, &diff, &at), &got), 0);
	assert_int_equal(got.peers[0].n_allowed, 0);
	assert_false(got.peers[0].has_endpoint);
	assert_true(got.peers[0].has_keepalive);
	assert_int_equal(got.listen_port, 0);
	ov_device_fini(&have);
	ov_device_fini(&want);
	ov_device_fini(&got);
	ov_diff_fini(&diff);
}

/* 600 peers in messages of 4096 bytes: every peer once, in order, none cut. */
static void a_long_list_goes_in_many_messages(void **state)
{
	struct ov_device have = { 0 }, want = { 0 }, got = { 0 };
	unsigned messages = 0;
	struct ov_diff diff;
	size_t at = 0;

	(void)state;
	device_of(&want, 1, 0);
	for (unsigned i = 0; i < 600; i++) {
		struct ov_peer *p = ov_device_grow(&want);

		*p = peer_of(1);
		while (p->n_allowed < OV_MAX_ALLOWED)
			ov_peer_allow(p, &p->allowed[1]);
		p->public_key[0] = (uint8_t)(i >> 8);
		p->public_key[1] = (uint8_t)i;
	}
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	do {
		struct nlmsghdr *nlh = ov_wgnl_build(buf, 4096, 99, "by0", &want, &diff, &at);

		assert_true(nlh->nlmsg_len <= 4096);
		assert_int_equal(ov_wgnl_parse(nlh, &got), 0);
		assert_int_equal(got.n_peers, at);
		messages++;
	} while (at < 600);
	assert_true(messages > 50);
	for (unsigned i = 0; i < 600; i++)
		assert_memory_equal(&got.peers[i], &want.peers[i], sizeof(want.peers[i]));
	ov_device_fini(&want);
	ov_device_fini(&got);
	ov_diff_fini(&diff);
}

static void only_the_first_message_sets_the_device(void **state)
{
	struct ov_device have = { 0 }, want, got = { 0 };
	struct ov_diff diff;
	size_t at = 1;

	(void)state;
	device_of(&want, 1, 2);
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(ov_wgnl_parse(ov_wgnl_build(buf, sizeof(buf), 99, "by0", &want, &diff, &at), &got), 0);
	assert_int_equal(got.listen_port, 0);
	assert_int_equal(got.n_peers, 1);
	ov_device_fini(&want);
	ov_device_fini(&got);
	ov_diff_fini(&diff);
}

/* The kernel goes on with a peer in the next message by its key and the addresses that did not fit. */
static void a_peer_continues_in_the_next_message(void **state)
{
	struct ov_device want, have = { 0 }, got = { 0 };
	struct ov_diff diff;
	size_t at = 0;

	(void)state;
	device_of(&want, 1, 1);
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(ov_wgnl_parse(ov_wgnl_build(buf, sizeof(buf), 99, "by0", &want, &diff, &at), &got), 0);
	at = 0;
	diff.set[0].has_endpoint = diff.set[0].has_keepalive = false;
	assert_int_equal(ov_wgnl_parse(ov_wgnl_build(buf, sizeof(buf), 99, "by0", &want, &diff, &at), &got), 0);
	assert_int_equal(got.n_peers, 1);
	assert_int_equal(got.peers[0].n_allowed, 4);
	assert_true(got.peers[0].has_endpoint);
	ov_device_fini(&want);
	ov_device_fini(&got);
	ov_diff_fini(&diff);
}

/* A message with one peer of key 1 and one more attribute in it. */
static int parse_with(uint16_t type, const void *value, size_t len, struct ov_peer *peer)
{
	struct ov_device got = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nlattr *peers, *entry;
	uint8_t key[OV_KEY_LEN] = { 1 };
	int rc;

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct genlmsghdr));
	peers = mnl_attr_nest_start(nlh, WGDEVICE_A_PEERS);
	entry = mnl_attr_nest_start(nlh, 0);
	mnl_attr_put(nlh, type, len, value); /* the key may come last */
	mnl_attr_put(nlh, WGPEER_A_PUBLIC_KEY, sizeof(key), key);
	mnl_attr_nest_end(nlh, entry);
	mnl_attr_nest_end(nlh, peers);
	rc = ov_wgnl_parse(nlh, &got);
	if (!rc)
		*peer = got.peers[0];
	ov_device_fini(&got);
	return rc;
}

static void reads_what_only_a_device_says(void **state)
{
	const int64_t time[2] = { 1700000000, 5 };
	uint8_t psk[OV_KEY_LEN] = { 0 };
	const uint64_t bytes = 1ULL << 40;
	struct ov_peer p;

	(void)state;
	assert_int_equal(parse_with(WGPEER_A_LAST_HANDSHAKE_TIME, time, sizeof(time), &p), 0);
	assert_int_equal(p.last_handshake_s, 1700000000);
	assert_int_equal(parse_with(WGPEER_A_RX_BYTES, &bytes, sizeof(bytes), &p), 0);
	assert_true(p.rx_bytes == bytes && !p.tx_bytes);
	assert_int_equal(parse_with(WGPEER_A_PRESHARED_KEY, psk, sizeof(psk), &p), 0);
	assert_false(p.has_preshared_key);
	psk[31] = 1;
	assert_int_equal(parse_with(WGPEER_A_PRESHARED_KEY, psk, sizeof(psk), &p), 0);
	assert_true(p.has_preshared_key);
}

static void refuses_wrong_lengths(void **state)
{
	static const uint16_t types[] = {
		WGPEER_A_PRESHARED_KEY,       WGPEER_A_ENDPOINT, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
		WGPEER_A_LAST_HANDSHAKE_TIME, WGPEER_A_RX_BYTES, WGPEER_A_TX_BYTES
	};
	const uint8_t bytes[64] = { 0 };
	struct ov_peer p;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_int_equal(parse_with(types[i], bytes, 3, &p), -EPROTO);
	assert_int_equal(parse_with(WGPEER_A_MAX + 1, bytes, 3, &p), 0); /* a newer kernel's */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_peer_survives_the_way),
		cmocka_unit_test(removals_come_first_and_carry_the_key_alone),
		cmocka_unit_test(an_unchanged_list_of_addresses_is_not_sent),
		cmocka_unit_test(a_long_list_goes_in_many_messages),
		cmocka_unit_test(only_the_first_message_sets_the_device),
		cmocka_unit_test(a_peer_continues_in_the_next_message),
		cmocka_unit_test(reads_what_only_a_device_says),
		cmocka_unit_test(refuses_wrong_lengths),
	};

	return cmocka_run_group_tests_name("overlay/wg_netlink", tests, NULL, NULL);
}
