// SPDX-License-Identifier: Apache-2.0
/* Rates of rules. Rates are so low that no token comes back while a test runs: only the burst passes. */
#include <bpf/bpf.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lib/world.h"
#include "base/addr.h"

#define t(name) cmocka_unit_test_setup_teardown(name, world_fresh_small, world_gone) /* quick: rates are a second */

/* One rule for TCP and UDP port 80 from DB and EVE, who are of one class. */
static void rated(struct world *w, uint32_t flags, uint32_t rate, uint32_t burst)
{
	struct img *img = img_new();
	struct dp_identity eve = world_node(EVE, 0);
	uint32_t rule = img_rule(img, BY_DIR_IN, BY_PORT_TCP, BY_PORT_ICMP - 1, CLASS_DB, BY_ALLOW);

	img_flags(img, rule, flags, rate, burst);
	img_member(img, eve.instance_id, CLASS_DB);
	world_commit(w, img);
}

/* Moves every bucket's clock: as if `ns` had gone by. An update moves an entry, so the keys are read before the first.
 */
static void time_passes(struct world *w, int64_t ns)
{
	int fd = world_map(w, "by_rate");
	struct by_rate_key key[64];
	struct by_rate v;
	size_t n = 0;

	while (n < sizeof(key) / sizeof(key[0]) && bpf_map_get_next_key(fd, n ? &key[n - 1] : NULL, &key[n]) == 0)
		n++;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &key[i], &v), 0);
		v.full_ns = (int64_t)v.full_ns > ns ? (uint64_t)((int64_t)v.full_ns - ns) : 0; /* not before the boot */
		assert_int_equal(bpf_map_update_elem(fd, &key[i], &v, BPF_EXIST), 0);
	}
	close(fd);
}

static unsigned buckets(struct world *w)
{
	int fd = world_map(w, "by_rate");
	struct by_rate_key key, *at = NULL;
	unsigned n = 0;

	for (; bpf_map_get_next_key(fd, at, &key) == 0; n++)
		at = &key;
	close(fd);
	return n;
}

#define SYN(from, sport) send_in(w, TCP(from, WEB4, sport, 80, F_SYN))
#define ACK(from, sport) send_in(w, TCP(from, WEB4, sport, 80, F_ACK))
#define REPLY(sport)     send_out(w, TCP(WEB4, DB4, 80, sport, F_ACK))

static void new_flows_over_the_rate_are_dropped(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_FLOWS, 1, 3);
	for (uint16_t i = 0; i < 3; i++)
		assert_verdict(SYN(DB4, 1000 + i), NONE);
	assert_verdict(SYN(DB4, 2000), RATE_LIMIT);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 2000, 80)), RATE_LIMIT);
	assert_verdict(ACK(DB4, 2000), NO_FLOW); /* what was dropped opened nothing */
}

static void a_rate_for_flows_leaves_their_packets_alone(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_FLOWS, 1, 1);
	assert_verdict(SYN(DB4, 1000), NONE);
	for (int i = 0; i < 10; i++)
		assert_verdict(ACK(DB4, 1000), NONE);
	assert_verdict(SYN(DB4, 1000), NONE); /* sent again, no new flow */
	assert_verdict(SYN(DB4, 1001), RATE_LIMIT);
}

static void tokens_come_back_one_at_a_time(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_FLOWS, 1, 2);
	assert_verdict(SYN(DB4, 1000), NONE);
	assert_verdict(SYN(DB4, 1001), NONE);
	assert_verdict(SYN(DB4, 1002), RATE_LIMIT);
	time_passes(w, 1000000000);
	assert_verdict(SYN(DB4, 1002), NONE);
	assert_verdict(SYN(DB4, 1003), RATE_LIMIT);
	time_passes(w, 3600000000000); /* never more than the burst */
	assert_verdict(SYN(DB4, 1003), NONE);
	assert_verdict(SYN(DB4, 1004), NONE);
	assert_verdict(SYN(DB4, 1005), RATE_LIMIT);
}

static void packets_of_tracked_flows_count_too(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_PACKETS, 1, 4);
	assert_verdict(SYN(DB4, 1000), NONE);
	for (int i = 0; i < 3; i++)
		assert_verdict(ACK(DB4, 1000), NONE);
	assert_verdict(ACK(DB4, 1000), RATE_LIMIT);
	assert_verdict(SYN(DB4, 1001), RATE_LIMIT);
	assert_verdict(REPLY(1000), NONE); /* the rule is for what comes in */
	time_passes(w, 1000000000);
	assert_verdict(ACK(DB4, 1000), NONE); /* the flow outlived it */
}

static void later_fragments_are_packets(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_PACKETS, 1, 2);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1000, 80), .payload = 8, .frag = 0x2000, .ip_id = 7), NONE);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 0, 0), .payload = 8, .is_later = true, .frag = 0x2002, .ip_id = 7),
		       NONE);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 0, 0), .payload = 8, .is_later = true, .frag = 0x2003, .ip_id = 7),
		       RATE_LIMIT);
}

static void errors_about_a_flow_are_its_packets(void **state)
{
	struct world *w = *state;
	struct frame quoted;

	rated(w, BY_RULE_RATE_PACKETS, 1, 2);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1000, 80)), NONE);
	frame_build(&quoted, &(struct pkt){ UDP(WEB4, DB4, 80, 1000) });
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 3, 0), .code = 3, .quoted = &quoted), NONE);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 3, 0), .code = 3, .quoted = &quoted), RATE_LIMIT);
}

static void peers_share_a_rate(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_FLOWS, 1, 2);
	assert_verdict(SYN(DB4, 1000), NONE);
	assert_verdict(SYN(EVE4, 1000), NONE);
	assert_verdict(SYN(DB4, 1001), RATE_LIMIT);
	assert_verdict(SYN(EVE4, 1001), RATE_LIMIT);
}

static void or_each_has_its_own_whatever_its_address(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_FLOWS | BY_RULE_RATE_PEER, 1, 2);
	assert_verdict(SYN(DB4, 1000), NONE);
	assert_verdict(send_in(w, TCP(DB6, WEB6, 1000, 80, F_SYN)), NONE);
	assert_verdict(SYN(DB4, 1001), RATE_LIMIT);
	assert_verdict(send_in(w, TCP(DB6, WEB6, 1001, 80, F_SYN)), RATE_LIMIT);
	assert_verdict(SYN(EVE4, 1000), NONE);
	assert_verdict(SYN(EVE4, 1001), NONE);
	assert_verdict(SYN(EVE4, 1002), RATE_LIMIT);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void a_high_rate_is_kept(void **state)
{
	struct world *w = *state;
	struct pkt p = { UDP(DB4, WEB4, 1000, 80) };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .repeat = 100000);
	struct dp_status st;
	struct err e = ERR_INIT;
	uint64_t passed, passed_most, began;
	struct frame f;

	frame_build(&f, &p);
	opts.data_in = f.data;
	opts.data_size_in = (uint32_t)f.len;
	rated(w, BY_RULE_RATE_PACKETS, 100000, 10);
	began = now_us();
	assert_int_equal(bpf_prog_test_run_opts(w->prog[BY_DIR_IN], &opts), 0);
	passed_most = (now_us() - began) / 10 + 11; /* a token each 10 us, and the burst */
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	passed = st.stat[BY_DIR_IN][BY_DROP_NONE].packets;
	assert_int_equal(passed + st.stat[BY_DIR_IN][BY_DROP_RATE_LIMIT].packets, 100000);
	/* More than the burst, for the run takes milliseconds; how much more is for a machine that does not pause to
	 * say. */
	assert_true(passed > 10);
	assert_true(passed <= passed_most);
}

static void a_commit_starts_with_full_buckets_and_leaves_none_behind(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_FLOWS | BY_RULE_RATE_PEER, 1, 1);
	assert_verdict(SYN(DB4, 1000), NONE);
	assert_verdict(SYN(DB4, 1001), RATE_LIMIT);
	rated(w, BY_RULE_RATE_FLOWS | BY_RULE_RATE_PEER, 1, 1);
	assert_verdict(SYN(DB4, 1001), NONE);
	assert_verdict(SYN(DB4, 1002), RATE_LIMIT);
	assert_int_equal(buckets(w), 2);
	rated(w, BY_RULE_RATE_FLOWS | BY_RULE_RATE_PEER, 1, 1);
	assert_int_equal(buckets(w), 1);
	rated(w, 0, 0, 0);
	assert_int_equal(buckets(w), 0);
}

static void a_change_of_identities_gives_no_token_back(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_PACKETS | BY_RULE_RATE_PEER, 1, 2);
	assert_verdict(SYN(DB4, 1000), NONE);
	world_join(w, 7, 0);
	world_join(w, 7, CLASS_DB); /* a new generation: the flow is judged again */
	assert_verdict(ACK(DB4, 1000), NONE);
	assert_verdict(ACK(DB4, 1000), RATE_LIMIT);
	world_join(w, 7, 0);
	assert_verdict(ACK(DB4, 1000), RATE_LIMIT);
	time_passes(w, 1000000000);
	assert_verdict(ACK(DB4, 1000), NONE); /* and the flow is there still */
}

/* The image compiler gives each such rule a rate; one without could not be kept to, so it drops. */
static void a_rate_of_nothing_passes_nothing(void **state)
{
	struct world *w = *state;

	rated(w, BY_RULE_RATE_FLOWS, 0, 0);
	assert_verdict(SYN(DB4, 1000), INTERNAL);
}

/* More pairs of rule and peer than there is room for. */
static void a_full_table_never_means_no_limit(void **state)
{
	struct world *w = *state;
	unsigned passed = 0, n = 0;

	rated(w, BY_RULE_RATE_FLOWS | BY_RULE_RATE_PEER, 1, 1);
	for (uint16_t round = 0; round < 4; round++) {
		for (int peer = 10; peer < 60; peer++) {
			char from[32];

			if (!round)
				world_join(w, peer, CLASS_DB);
			snprintf(from, sizeof(from), "100.64.0.%d", peer);
			n = SYN(from, 1000 + round) == BY_DROP_NONE;
			assert_true(round == 0 || n == 0);
			passed += n;
		}
		time_passes(w, -3600000000000); /* however slow this machine is */
	}
	assert_int_equal(passed, 32); /* the others have no bucket, and what they send is over the rate */
	assert_verdict(SYN("100.64.0.59", 5000), RATE_LIMIT);
}

static void a_peer_that_leaves_makes_room(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	rated(w, BY_RULE_RATE_FLOWS | BY_RULE_RATE_PEER, 1, 1);
	for (int peer = 10; peer < 200; peer++) {
		struct dp_identity id = world_node(peer, 0);
		char from[32];

		world_join(w, peer, CLASS_DB);
		snprintf(from, sizeof(from), "100.64.0.%d", peer);
		assert_verdict(SYN(from, 1000), NONE);
		assert_verdict(SYN(from, 1001), RATE_LIMIT);
		if (peer == 100)
			world_reopen(w); /* a restart knows the rules with rates as well */
		assert_int_equal(dp_identity_remove(w->dp, id.instance_id, &e), 0);
	}
}

static int fresh_small(void **state)
{
	struct world *w = world_open_with(&(struct dp_options){ .sizes = { .rates = 32 } });

	world_cast(w);
	*state = w;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(new_flows_over_the_rate_are_dropped),
		t(a_rate_for_flows_leaves_their_packets_alone),
		t(tokens_come_back_one_at_a_time),
		t(packets_of_tracked_flows_count_too),
		t(later_fragments_are_packets),
		t(errors_about_a_flow_are_its_packets),
		t(peers_share_a_rate),
		t(or_each_has_its_own_whatever_its_address),
		t(a_high_rate_is_kept),
		t(a_commit_starts_with_full_buckets_and_leaves_none_behind),
		t(a_change_of_identities_gives_no_token_back),
		t(a_rate_of_nothing_passes_nothing),
		cmocka_unit_test_setup_teardown(a_peer_that_leaves_makes_room, fresh_small, world_gone),
		cmocka_unit_test_setup_teardown(a_full_table_never_means_no_limit, fresh_small, world_gone),
	};

	return cmocka_run_group_tests_name("bpf/rate", tests, NULL, NULL);
}
