// SPDX-License-Identifier: Apache-2.0
/* Rungs 1, 10 and 11 of the ladder: what rules say, in both directions and families. */
#include "../lib/world.h"

#define SYN_IN(port)  send_in(w, TCP(DB4, WEB4, 40000, port, F_SYN))
#define SYN_OUT(port) send_out(w, TCP(WEB4, DB4, 40000, port, F_SYN))

static void without_a_policy_everything_is_dropped(void **state)
{
	struct world *w = *state;

	assert_verdict(SYN_IN(5432), NO_POLICY);
	assert_verdict(SYN_OUT(5432), NO_POLICY);
}

static void an_empty_policy_denies(void **state)
{
	struct world *w = *state;

	world_commit(w, img_new());
	assert_verdict(SYN_IN(5432), POLICY_DENY);
	assert_verdict(SYN_OUT(5432), POLICY_DENY);
}

static void allows_the_named_port_alone(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 5432, BY_PORT_TCP + 5433);
	assert_verdict(SYN_IN(5431), POLICY_DENY);
	assert_verdict(SYN_IN(5432), NONE);
	assert_verdict(SYN_IN(5433), NONE);
	assert_verdict(SYN_IN(5434), POLICY_DENY);
}

static void a_rule_has_one_direction(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_OUT, BY_PORT_TCP + 443, BY_PORT_TCP + 443);
	assert_verdict(SYN_OUT(443), NONE);
	assert_verdict(SYN_IN(443), POLICY_DENY);
}

static void outbound_selector_is_the_peers_port(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_OUT, BY_PORT_TCP + 443, BY_PORT_TCP + 443);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 443, 444, F_SYN)), POLICY_DENY);
}

static void another_protocol_is_another_selector(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1000, 53)), NONE);
	assert_verdict(SYN_IN(53), POLICY_DENY);
	assert_verdict(send_in(w, IP(DB4, WEB4, P_GRE)), POLICY_DENY);
}

static void a_protocol_without_ports_goes_by_number(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_OTHER + P_GRE, BY_PORT_OTHER + P_GRE);
	assert_verdict(send_in(w, IP(DB4, WEB4, P_GRE)), NONE);
	assert_verdict(send_out(w, IP(WEB4, DB4, P_GRE)), NONE); /* the answer */
	assert_verdict(send_in(w, IP(DB4, WEB4, 132)), POLICY_DENY);
}

static void ipv6_is_judged_as_ipv4(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 5432, BY_PORT_TCP + 5432);
	assert_verdict(send_in(w, TCP(DB6, WEB6, 40000, 5432, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(DB6, WEB6, 40000, 5433, F_SYN)), POLICY_DENY);
	assert_verdict(send_in(w, TCP(EVE6, WEB6, 40000, 5432, F_SYN)), POLICY_DENY);
}

static void another_peer_is_denied(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 5432, BY_PORT_TCP + 5432);
	assert_verdict(send_in(w, TCP(EVE4, WEB4, 40000, 5432, F_SYN)), POLICY_DENY);
}

static void icmp_goes_by_type(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();

	img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 8, BY_PORT_ICMP + 8, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMPV6 + 2, BY_PORT_ICMPV6 + 2, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 8, 7)), NONE);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 13, 0)), POLICY_DENY);
	assert_verdict(send_in(w, ICMPV6(DB6, WEB6, 2, 0)), NONE);
	assert_verdict(send_in(w, ICMPV6(DB6, WEB6, 128, 0)), POLICY_DENY);
}

static void a_deny_rule_is_a_decision_and_counts(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	struct by_counter hits;
	struct dp_status st;
	struct err e = ERR_INIT;
	uint32_t allow, deny;

	allow = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW);
	deny = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);
	world_commit(w, img);
	assert_verdict(SYN_IN(22), POLICY_DENY);
	assert_verdict(SYN_IN(22), POLICY_DENY);
	assert_verdict(SYN_IN(80), NONE);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(dp_rule_get(w->dp, st.gen.slot, deny, NULL, &hits), 0);
	assert_int_equal(hits.packets, 2);
	assert_int_equal(hits.bytes, 80);
	assert_int_equal(dp_rule_get(w->dp, st.gen.slot, allow, NULL, &hits), 0);
	assert_int_equal(hits.packets, 1);
}

#define t(name) cmocka_unit_test_setup_teardown(name, world_fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(without_a_policy_everything_is_dropped),
		t(an_empty_policy_denies),
		t(allows_the_named_port_alone),
		t(a_rule_has_one_direction),
		t(outbound_selector_is_the_peers_port),
		t(another_protocol_is_another_selector),
		t(a_protocol_without_ports_goes_by_number),
		t(ipv6_is_judged_as_ipv4),
		t(another_peer_is_denied),
		t(icmp_goes_by_type),
		t(a_deny_rule_is_a_decision_and_counts),
	};

	return cmocka_run_group_tests_name("bpf/policy", tests, NULL, NULL);
}
