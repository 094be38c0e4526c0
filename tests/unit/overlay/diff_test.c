// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

#define NOW 1700000000

static struct ov_device have, want;
static struct ov_diff diff;

static int teardown(void **state)
{
	(void)state;
	ov_device_fini(&have);
	ov_device_fini(&want);
	ov_diff_fini(&diff);
	return 0;
}

static void equal_devices_differ_in_nothing(void **state)
{
	(void)state;
	device_of(&have, 1, 5);
	device_of(&want, 1, 5);
	/* the order of an address list means nothing */
	want.peers[2].allowed[0] = have.peers[2].allowed[1];
	want.peers[2].allowed[1] = have.peers[2].allowed[0];
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_set + diff.n_remove, 0);
	assert_false(diff.set_private_key || diff.set_listen_port);
}

static void merges_new_kept_and_gone(void **state)
{
	(void)state;
	device_of(&have, 1, 4);
	device_of(&want, 3, 6);
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_remove, 2);
	assert_int_equal(diff.remove[0][0], 1);
	assert_int_equal(diff.remove[1][0], 2);
	assert_int_equal(diff.n_set, 2);
	assert_int_equal(diff.set[0].public_key[0], 5);
	assert_int_equal(diff.set[1].public_key[0], 6);
	assert_true(diff.is_new[0] && diff.is_new[1] && diff.replace_allowed[0]);
	assert_true(diff.set[0].has_endpoint && diff.set[0].has_keepalive);
}

static void from_and_to_nothing(void **state)
{
	(void)state;
	device_of(&have, 1, 0);
	device_of(&want, 1, 2);
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_set, 2);
	ov_diff_fini(&diff);
	assert_int_equal(ov_diff(&want, &have, &diff), 0);
	assert_int_equal(diff.n_remove, 2);
	assert_int_equal(diff.n_set, 0);
}

static void sends_only_what_differs(void **state)
{
	(void)state;
	device_of(&have, 1, 4);
	device_of(&want, 1, 4);
	find_peer(&want, 1)->endpoint = endpoint_of("10.0.0.1:7");
	find_peer(&want, 2)->keepalive_s = 26;
	find_peer(&want, 3)->n_allowed = 1;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_set, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_false(diff.is_new[i]);
		assert_int_equal(diff.set[i].has_endpoint, i == 0);
		assert_int_equal(diff.set[i].has_keepalive, i == 1);
		assert_int_equal(diff.replace_allowed[i], i == 2);
	}
}

static void absent_is_not_zero(void **state)
{
	(void)state;
	device_of(&have, 1, 2);
	device_of(&want, 1, 2);
	find_peer(&want, 1)->has_keepalive = false; /* leaves 25 */
	find_peer(&want, 1)->keepalive_s = 0;
	find_peer(&want, 1)->has_endpoint = false;
	find_peer(&want, 2)->keepalive_s = 0; /* turns it off */
	want.listen_port = 0;                 /* leaves 51820 */
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_set, 1);
	assert_int_equal(diff.set[0].public_key[0], 2);
	assert_true(diff.set[0].has_keepalive);
	assert_int_equal(diff.set[0].keepalive_s, 0);
	assert_false(diff.set_listen_port);
}

static void a_device_that_never_said_its_keepalive_has_none(void **state)
{
	(void)state;
	device_of(&have, 1, 1);
	device_of(&want, 1, 1);
	have.peers[0].has_keepalive = false;
	have.peers[0].keepalive_s = 0;
	want.peers[0].keepalive_s = 0;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_set, 0);
}

static void an_address_moves_between_peers(void **state)
{
	struct ip_prefix moved;

	(void)state;
	device_of(&have, 1, 3);
	device_of(&want, 1, 3);
	moved = find_peer(&want, 1)->allowed[0];
	find_peer(&want, 1)->allowed[0] = find_peer(&want, 1)->allowed[1];
	find_peer(&want, 1)->n_allowed = 1;
	ov_peer_allow(find_peer(&want, 3), &moved);
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	/* both lists are sent whole: neither depends on the other having lost or won it before */
	assert_int_equal(diff.n_set, 2);
	assert_true(diff.replace_allowed[0] && diff.replace_allowed[1]);
	assert_int_equal(diff.set[0].n_allowed, 1);
	assert_int_equal(diff.set[1].n_allowed, 3);
}

static void more_addresses_than_fit_equal_nothing(void **state)
{
	struct ip_prefix extra;

	(void)state;
	device_of(&have, 1, 1);
	device_of(&want, 1, 1);
	for (int i = 0; i < OV_MAX_ALLOWED; i++) {
		assert_true(prefix_parse(&extra, "192.0.2.1/32"));
		extra.addr.b[15] = (uint8_t)i;
		ov_peer_allow(&have.peers[0], &extra);
		if (want.peers[0].n_allowed < OV_MAX_ALLOWED)
			ov_peer_allow(&want.peers[0], &extra);
	}
	assert_int_equal(have.peers[0].n_allowed, want.peers[0].n_allowed);
	assert_true(have.peers[0].has_more_allowed);
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_set, 1);
	assert_true(diff.replace_allowed[0]);
}

static void a_foreign_preshared_key_makes_the_peer_anew(void **state)
{
	(void)state;
	device_of(&have, 1, 1);
	device_of(&want, 1, 1);
	have.peers[0].has_preshared_key = true;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_int_equal(diff.n_remove, 1);
	assert_int_equal(diff.n_set, 1);
	assert_true(diff.is_new[0] && diff.set[0].has_endpoint && diff.replace_allowed[0]);
}

static void keys_compare_clamped(void **state)
{
	(void)state;
	device_of(&have, 1, 0);
	device_of(&want, 1, 0);
	want.private_key[0] |= 7;
	want.private_key[31] |= 128;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_false(diff.set_private_key);
	ov_diff_fini(&diff);
	want.private_key[1] ^= 1;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_true(diff.set_private_key);
	ov_diff_fini(&diff);
	/* a device without a key is not one with the clamped zero key */
	memset(have.private_key, 0, OV_KEY_LEN);
	memset(want.private_key, 0, OV_KEY_LEN);
	want.private_key[31] = 64;
	assert_int_equal(ov_diff(&have, &want, &diff), 0);
	assert_true(diff.set_private_key);
}

static void a_key_twice_is_refused(void **state)
{
	struct ov_diff untouched = { .n_set = 77 };

	(void)state;
	device_of(&have, 1, 2);
	device_of(&want, 1, 2);
	want.peers[0] = want.peers[1];
	assert_int_equal(ov_diff(&have, &want, &untouched), -EINVAL);
	assert_int_equal(ov_diff(&want, &have, &untouched), -EINVAL);
	assert_int_equal(untouched.n_set, 77);
}

/* What the roaming rule leaves to send, given what was asked at the last apply (NULL: this process is new). */
static bool sends_endpoint(const char *asked_at, const char *has, int64_t handshake_s, const char *wants)
{
	struct ov_asked asked = { .has_endpoint = true };
	const struct ov_asked_list list = { .v = &asked, .n = asked_at ? 1 : 0 };
	struct ov_peer *peers = NULL;
	struct ov_device shall;
	bool sends;

	teardown(NULL);
	device_of(&have, 1, 1);
	device_of(&want, 1, 1);
	memset(asked.public_key, 1, OV_KEY_LEN);
	if (asked_at)
		asked.endpoint = endpoint_of(asked_at);
	have.peers[0].has_endpoint = has;
	if (has)
		have.peers[0].endpoint = endpoint_of(has);
	have.peers[0].last_handshake_s = handshake_s;
	want.peers[0].endpoint = endpoint_of(wants);
	assert_int_equal(ov_want_peers(&have, &want, &list, NOW, &peers), 0);
	shall = want;
	shall.peers = peers;
	assert_int_equal(ov_diff(&have, &shall, &diff), 0);
	sends = diff.n_set && diff.set[0].has_endpoint;
	free(peers);
	return sends;
}

static void a_learned_endpoint_stays_until_the_wanted_one_changes(void **state)
{
	(void)state;
	assert_false(sends_endpoint("10.0.0.1:1", "10.9.9.9:9", NOW - 5, "10.0.0.1:1"));
	assert_false(sends_endpoint("10.0.0.1:1", "10.9.9.9:9", NOW - 9999, "10.0.0.1:1"));
	assert_true(sends_endpoint("10.0.0.1:1", "10.9.9.9:9", NOW - 5, "10.0.0.2:1"));
	assert_true(sends_endpoint("10.0.0.1:1", NULL, 0, "10.0.0.1:1"));
}

static void a_new_process_keeps_the_endpoint_of_a_live_session(void **state)
{
	(void)state;
	assert_false(sends_endpoint(NULL, "10.9.9.9:9", NOW - OV_SESSION_S + 1, "10.0.0.1:1"));
	assert_true(sends_endpoint(NULL, "10.9.9.9:9", NOW - OV_SESSION_S, "10.0.0.1:1"));
	assert_true(sends_endpoint(NULL, "10.9.9.9:9", 0, "10.0.0.1:1"));
	assert_false(sends_endpoint(NULL, "10.0.0.1:1", 0, "10.0.0.1:1"));
}

/* The wish of a new process waits while the session lives, is not forgotten, and comes through when it ends. */
static void a_wish_that_waits_is_not_taken_for_asked(void **state)
{
	struct ov_asked_list asked = { 0 };
	struct ov_peer *peers = NULL;

	(void)state;
	device_of(&have, 1, 2);
	device_of(&want, 1, 2);
	find_peer(&have, 1)->endpoint = endpoint_of("10.9.9.9:9");
	find_peer(&have, 1)->last_handshake_s = NOW - 5;
	assert_int_equal(ov_want_peers(&have, &want, &asked, NOW, &peers), 0);
	assert_int_equal(ov_asked_next(&want, peers, &asked), 0);
	assert_int_equal(asked.n, 1); /* peer 2 has what is wanted */
	assert_int_equal(asked.v[0].public_key[0], 2);
	free(peers);
	assert_int_equal(ov_want_peers(&have, &want, &asked, NOW + OV_SESSION_S, &peers), 0);
	assert_int_equal(peers[1].endpoint.port, 51820);
	assert_int_equal(ov_asked_next(&want, peers, &asked), 0);
	assert_int_equal(asked.n, 2);
	free(peers);
	free(asked.v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(equal_devices_differ_in_nothing, teardown),
		cmocka_unit_test_teardown(merges_new_kept_and_gone, teardown),
		cmocka_unit_test_teardown(from_and_to_nothing, teardown),
		cmocka_unit_test_teardown(sends_only_what_differs, teardown),
		cmocka_unit_test_teardown(absent_is_not_zero, teardown),
		cmocka_unit_test_teardown(a_device_that_never_said_its_keepalive_has_none, teardown),
		cmocka_unit_test_teardown(an_address_moves_between_peers, teardown),
		cmocka_unit_test_teardown(more_addresses_than_fit_equal_nothing, teardown),
		cmocka_unit_test_teardown(a_foreign_preshared_key_makes_the_peer_anew, teardown),
		cmocka_unit_test_teardown(keys_compare_clamped, teardown),
		cmocka_unit_test_teardown(a_key_twice_is_refused, teardown),
		cmocka_unit_test_teardown(a_learned_endpoint_stays_until_the_wanted_one_changes, teardown),
		cmocka_unit_test_teardown(a_new_process_keeps_the_endpoint_of_a_live_session, teardown),
		cmocka_unit_test_teardown(a_wish_that_waits_is_not_taken_for_asked, teardown),
	};

	return cmocka_run_group_tests_name("overlay/diff", tests, NULL, NULL);
}
