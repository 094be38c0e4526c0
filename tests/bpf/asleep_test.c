// SPDX-License-Identifier: Apache-2.0
/* Peers that WireGuard is not told of until a packet is for them. */
#include <string.h>

#include "../lib/world.h"

static struct world *w;

static int fresh(void **state)
{
	struct img *img = img_new();

	(void)state;
	w = world_open_with(&(struct dp_options){ .sizes = dp_sizes_small });
	world_cast(w);
	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, BY_PORT_UDP + 53, BY_PORT_UDP + 53, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	return 0;
}

static int gone(void **state)
{
	(void)state;
	world_close(w);
	return 0;
}

static int asleep(int n, bool is_asleep)
{
	struct dp_identity id = world_node(n, 0);

	return dp_asleep_set(w->dp, id.instance_id, is_asleep);
}

static void what_is_for_one_that_sleeps_is_dropped_until_it_wakes(void **state)
{
	(void)state;
	assert_int_equal(asleep(DB, true), 0);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 53)), PEER_ASLEEP);
	assert_verdict(send_out(w, UDP(WEB6, DB6, 40000, 53)), PEER_ASLEEP);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 53)),
		       PEER_ASLEEP); /* a flow is tracked now: no other answer */
	assert_int_equal(asleep(DB, false), 0);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 53)), NONE);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 53, 40000)), NONE);
}

/* A drop that somebody hears of costs work: policy is asked first. */
static void what_policy_denies_does_not_ask_for_it(void **state)
{
	(void)state;
	assert_int_equal(asleep(DB, true), 0);
	assert_int_equal(asleep(EVE, true), 0);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 54)), POLICY_DENY);
	assert_verdict(send_out(w, UDP(WEB4, EVE4, 40000, 53)), POLICY_DENY);
	assert_verdict(send_out(w, UDP(WEB4, NOBODY4, 40000, 53)), NO_IDENTITY);
}

static void what_comes_from_it_is_judged_as_ever(void **state)
{
	(void)state;
	assert_int_equal(asleep(DB, true), 0);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 80, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 81, F_SYN)), POLICY_DENY);
}

static void others_are_awake(void **state)
{
	(void)state;
	assert_int_equal(asleep(EVE, true), 0);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 53)), NONE);
	assert_int_equal(asleep(9, true), -2 /* ENOENT */);
}

static void its_packets_are_counted(void **state)
{
	struct dp_identity db = world_node(DB, 0);
	struct by_pair n;

	(void)state;
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 53)), NONE);
	assert_int_equal(asleep(DB, true), 0);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 53)), PEER_ASLEEP);
	assert_int_equal(dp_pair_get(w->dp, db.instance_id, &n), 0);
	assert_int_equal(n.n[BY_DIR_OUT][BY_PASSED].packets, 1);
	assert_int_equal(n.n[BY_DIR_OUT][BY_DROPPED].packets, 1);
}

#define test(f) cmocka_unit_test_setup_teardown(f, fresh, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_is_for_one_that_sleeps_is_dropped_until_it_wakes),
		test(what_policy_denies_does_not_ask_for_it),
		test(what_comes_from_it_is_judged_as_ever),
		test(others_are_awake),
		test(its_packets_are_counted),
	};

	return cmocka_run_group_tests_name("asleep", tests, NULL, NULL);
}
