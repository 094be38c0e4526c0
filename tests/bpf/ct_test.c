// SPDX-License-Identifier: Apache-2.0
/* Rungs 6, 7 and 9: tracked flows. */
#include <bpf/bpf.h>
#include <string.h>
#include <unistd.h>

#include "../lib/world.h"

#define CLIENT  40000
#define IN(fl)  send_in(w, TCP(DB4, WEB4, CLIENT, 5432, fl))
#define OUT(fl) send_out(w, TCP(WEB4, DB4, 5432, CLIENT, fl))
#define SECOND  1000000000ull

static void allow_in(struct world *w, uint32_t selector)
{
	world_allow(w, BY_DIR_IN, selector, selector);
}

/* The only tracked flow; false when there is none. */
static bool the_flow(struct world *w, struct by_ct_key *key, struct by_ct *ct)
{
	struct ct_map m = world_flows(w);
	bool found = ct_map_only(m, key, ct);

	ct_map_close(m);
	return found;
}

static void age(struct world *w, unsigned seconds)
{
	struct ct_map m = world_flows(w);
	struct by_ct_key key;
	struct by_ct ct;

	assert_true(ct_map_only(m, &key, &ct));
	ct.last_ns -= seconds * SECOND; /* may wrap: a VM is not up for long */
	assert_int_equal(ct_map_put(m, &key, &ct), 0);
	ct_map_close(m);
}

static uint8_t state_of(struct world *w)
{
	struct by_ct_key key;
	struct by_ct ct;

	assert_true(the_flow(w, &key, &ct));
	return ct.state;
}

static void a_reply_passes_without_a_rule_of_its_own(void **state)
{
	struct world *w = *state;
	struct by_ct_key key;
	struct by_ct ct;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(OUT(F_SYN | F_ACK), NO_FLOW);
	assert_verdict(IN(F_SYN), NONE);
	assert_int_equal(state_of(w), BY_CT_NEW);
	assert_verdict(OUT(F_SYN | F_ACK), NONE);
	assert_int_equal(state_of(w), BY_CT_ESTABLISHED);
	assert_verdict(IN(F_ACK), NONE);
	assert_verdict(OUT(F_ACK | F_PSH), NONE);
	assert_true(the_flow(w, &key, &ct));
	assert_int_equal(ct.rule, 1);
	assert_int_equal(ct.dir, BY_DIR_IN);
}

static void a_stray_segment_opens_nothing(void **state)
{
	struct world *w = *state;
	struct by_ct_key key;
	struct by_ct ct;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_ACK), NO_FLOW);
	assert_verdict(IN(F_SYN | F_ACK), NO_FLOW);
	assert_verdict(IN(F_RST), NO_FLOW);
	assert_verdict(IN(F_FIN | F_ACK), NO_FLOW);
	assert_false(the_flow(w, &key, &ct));
}

static void the_reply_of_another_flow_does_not_pass(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 5432, CLIENT + 1, F_ACK)), NO_FLOW);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 5433, CLIENT, F_ACK)), NO_FLOW);
	assert_verdict(send_out(w, TCP(WEB6, DB6, 5432, CLIENT, F_ACK)), NO_FLOW);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 5432, CLIENT)), POLICY_DENY);
}

static void being_called_is_no_right_to_call_back(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	assert_verdict(OUT(F_SYN | F_ACK), NONE);
	assert_verdict(OUT(F_SYN), POLICY_DENY);
	assert_verdict(IN(F_ACK), NONE); /* the flow is none the worse */
}

static void both_sides_may_open_the_first_stays(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	struct by_ct_key key;
	struct by_ct ct;

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 5432, BY_PORT_TCP + 5432, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, BY_PORT_TCP + CLIENT, BY_PORT_TCP + CLIENT, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	assert_verdict(IN(F_SYN), NONE);
	assert_verdict(OUT(F_SYN), NONE);
	assert_true(the_flow(w, &key, &ct));
	assert_int_equal(ct.dir, BY_DIR_IN);
	assert_int_equal(ct.rule, 1);
}

static void udp_answers_pass_until_silence(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_UDP + 53);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 53, 999)), POLICY_DENY);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 999, 53)), NONE);
	age(w, 31);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 53, 999)), POLICY_DENY);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 999, 53)), NONE);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 53, 999)), NONE);
	age(w, 170);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 53, 999)), NONE);
	age(w, 181);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 53, 999)), POLICY_DENY);
}

static void echo_replies_answer_their_request(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_ICMP + 8);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 0, 7)), POLICY_DENY);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 8, 7)), NONE);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 0, 7)), NONE);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 0, 8)), POLICY_DENY);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 8, 7)), POLICY_DENY); /* no ping back */
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 0, 7)), POLICY_DENY);
	age(w, 31);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 0, 7)), POLICY_DENY);
}

static void echo_in_ipv6_likewise(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_OUT, BY_PORT_ICMPV6 + 128, BY_PORT_ICMPV6 + 128);
	assert_verdict(send_in(w, ICMPV6(DB6, WEB6, 129, 7)), POLICY_DENY);
	assert_verdict(send_out(w, ICMPV6(WEB6, DB6, 128, 7)), NONE);
	assert_verdict(send_in(w, ICMPV6(DB6, WEB6, 129, 7)), NONE);
	assert_verdict(send_in(w, ICMPV6(DB6, WEB6, 128, 7)), POLICY_DENY);
}

static void other_icmp_leaves_no_flow(void **state)
{
	struct world *w = *state;
	struct by_ct_key key;
	struct by_ct ct;

	allow_in(w, BY_PORT_ICMP + 3);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 3, 0)), NONE);
	assert_false(the_flow(w, &key, &ct));
}

static void an_unanswered_syn_is_forgotten(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	age(w, 119);
	assert_verdict(IN(F_SYN), NONE);
	age(w, 121);
	assert_verdict(OUT(F_SYN | F_ACK), NO_FLOW);
}

static void established_tcp_outlives_idleness(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	assert_verdict(OUT(F_SYN | F_ACK), NONE);
	age(w, 86400 * 7);
	assert_verdict(IN(F_ACK), NONE);
}

static void after_fin_a_flow_lingers_and_ends(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	assert_verdict(OUT(F_SYN | F_ACK), NONE);
	assert_verdict(IN(F_FIN | F_ACK), NONE);
	assert_int_equal(state_of(w), BY_CT_CLOSING);
	assert_verdict(OUT(F_ACK), NONE);
	assert_verdict(OUT(F_FIN | F_ACK), NONE);
	assert_verdict(IN(F_ACK), NONE);
	age(w, 61);
	assert_verdict(OUT(F_ACK), NO_FLOW);
}

static void a_reset_ends_it_and_the_ports_are_free_again(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	assert_verdict(OUT(F_RST | F_ACK), NONE);
	assert_int_equal(state_of(w), BY_CT_CLOSING);
	assert_verdict(IN(F_SYN), NONE);
	assert_int_equal(state_of(w), BY_CT_NEW);
}

static void a_removed_rule_ends_its_flows(void **state)
{
	struct world *w = *state;
	struct by_ct_key key;
	struct by_ct ct;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	assert_verdict(OUT(F_SYN | F_ACK), NONE);
	allow_in(w, BY_PORT_TCP + 80);
	assert_verdict(OUT(F_ACK), POLICY_DENY);
	assert_false(the_flow(w, &key, &ct));
	assert_verdict(IN(F_ACK), NO_FLOW);
}

static void a_kept_rule_keeps_its_flows_under_its_new_number(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	struct by_ct_key key;
	struct by_ct ct;

	allow_in(w, BY_PORT_TCP + 5432);
	assert_verdict(IN(F_SYN), NONE);
	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 5432, BY_PORT_TCP + 5432, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	assert_verdict(OUT(F_SYN | F_ACK), NONE); /* judged as it was opened: inbound, our port 5432 */
	assert_true(the_flow(w, &key, &ct));
	assert_int_equal(ct.rule, 2);
	assert_int_equal(ct.gen, 2);
	assert_int_equal(ct.state, BY_CT_ESTABLISHED);
}

static void a_ping_is_judged_again_as_a_request(void **state)
{
	struct world *w = *state;

	allow_in(w, BY_PORT_ICMP + 8);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 8, 7)), NONE);
	allow_in(w, BY_PORT_ICMP + 8);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 0, 7)), NONE);
	allow_in(w, BY_PORT_TCP + 8);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 0, 7)), POLICY_DENY);
}

static void the_time_is_written_once_a_second(void **state)
{
	struct world *w = *state;
	struct by_ct_key key;
	struct by_ct first, next;

	allow_in(w, BY_PORT_UDP + 53);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 999, 53)), NONE);
	assert_true(the_flow(w, &key, &first));
	assert_verdict(send_in(w, UDP(DB4, WEB4, 999, 53)), NONE);
	assert_true(the_flow(w, &key, &next));
	assert_true(first.last_ns == next.last_ns);
	age(w, 2);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 999, 53)), NONE);
	assert_true(the_flow(w, &key, &next));
	assert_true(next.last_ns >= first.last_ns); /* it had been two seconds less */
}

#define t(name) cmocka_unit_test_setup_teardown(name, world_fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_reply_passes_without_a_rule_of_its_own),
		t(a_stray_segment_opens_nothing),
		t(the_reply_of_another_flow_does_not_pass),
		t(being_called_is_no_right_to_call_back),
		t(both_sides_may_open_the_first_stays),
		t(udp_answers_pass_until_silence),
		t(echo_replies_answer_their_request),
		t(echo_in_ipv6_likewise),
		t(other_icmp_leaves_no_flow),
		t(an_unanswered_syn_is_forgotten),
		t(established_tcp_outlives_idleness),
		t(after_fin_a_flow_lingers_and_ends),
		t(a_reset_ends_it_and_the_ports_are_free_again),
		t(a_removed_rule_ends_its_flows),
		t(a_kept_rule_keeps_its_flows_under_its_new_number),
		t(a_ping_is_judged_again_as_a_request),
		t(the_time_is_written_once_a_second),
	};

	return cmocka_run_group_tests_name("bpf/ct", tests, NULL, NULL);
}
