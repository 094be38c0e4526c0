// SPDX-License-Identifier: Apache-2.0
/* Rung 8: ICMP errors about tracked flows, and what attackers may make of them. Both directions, both framings. */
#include <bpf/bpf.h>
#include <string.h>
#include <unistd.h>

#include "../lib/world.h"
#include "base/addr.h"

static struct world *worlds[2]; /* raw IP, Ethernet */

#define CLIENT 40000
#define SECOND 1000000000ull

/* DB may open 4000 (TCP, UDP), ping and protocol 47 here; EVE, a peer as well, the same as class 2. */
static void allow(struct world *w)
{
	static const uint32_t sel[] = { BY_PORT_TCP + 4000, BY_PORT_UDP + 4000, BY_PORT_ICMP + 8, BY_PORT_ICMPV6 + 128,
					BY_PORT_OTHER + P_GRE };
	struct dp_identity eve = world_node(EVE, 0);
	struct img *img = img_new();

	for (size_t i = 0; i < sizeof(sel) / sizeof(sel[0]); i++)
		for (uint32_t peer_class = CLASS_DB; peer_class <= 2; peer_class++)
			img_rule(img, BY_DIR_IN, sel[i], sel[i], peer_class, BY_ALLOW);
	img_member(img, eve.instance_id, 2);
	world_commit(w, img);
}

static int fresh(void **state)
{
	(void)state;
	world_open_both(worlds, allow);
	return 0;
}

static int gone(void **state)
{
	(void)state;
	world_close_both(worlds);
	return 0;
}

static bool is_v6(const struct pkt *p)
{
	return strchr(p->src, ':') != NULL;
}

static void send_both(enum by_dir dir, struct pkt p, const char *want)
{
	for (int framed = 0; framed < 2; framed++) {
		p.ether = framed ? is_v6(&p) ? 0x86dd : 0x0800 : 0;
		assert_string_equal(dp_drop_name(world_send(worlds[framed], dir, &p)), want);
	}
}

/* An ICMP error of `type` from `from` to `to` that quotes `f`. */
static void send_error(enum by_dir dir, const char *from, const char *to, uint8_t type, const struct frame *f,
		       const char *want)
{
	bool v6 = strchr(from, ':') != NULL;
	struct pkt p = { IP(from, to, v6 ? P_ICMPV6 : P_ICMP), .type = type, .code = 1, .quoted = f };

	send_both(dir, p, want);
}

static struct frame quote(const struct pkt *p, size_t len)
{
	struct frame f;

	frame_build(&f, p);
	if (len && len < f.len)
		f.len = len;
	return f;
}

#define quotation(len, ...) quote(&(struct pkt){ __VA_ARGS__ }, len)
#define opens(...)          send_both(BY_DIR_IN, (struct pkt){ __VA_ARGS__ }, "NONE")

/* What this node sent to DB on the flow that DB opened. */
#define ANSWER4 TCP(WEB4, DB4, 4000, CLIENT, F_ACK)
#define ANSWER6 TCP(WEB6, DB6, 4000, CLIENT, F_ACK)

static void the_peer_may_tell_of_what_we_sent(void **state)
{
	static const uint8_t v4[] = { 3, 11, 12 }, v6[] = { 1, 2, 3, 4 };
	struct frame q4 = quotation(28, ANSWER4), q6 = quotation(0, ANSWER6);

	(void)state;
	send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, "POLICY_DENY"); /* no flow yet */
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	opens(TCP(DB6, WEB6, CLIENT, 4000, F_SYN));
	for (size_t i = 0; i < sizeof(v4); i++)
		send_error(BY_DIR_IN, DB4, WEB4, v4[i], &q4, "NONE");
	for (size_t i = 0; i < sizeof(v6); i++)
		send_error(BY_DIR_IN, DB6, WEB6, v6[i], &q6, "NONE");
	send_error(BY_DIR_IN, DB4, WEB4, 5, &q4, "POLICY_DENY"); /* redirect */
	send_error(BY_DIR_IN, DB4, WEB4, 4, &q4, "POLICY_DENY"); /* source quench */
}

/* Packets and frames differ: on Ethernet nobody redirects a machine, whatever the rules. */
static void a_redirect_of_ipv6_is_no_error(void **state)
{
	struct frame q6 = quotation(0, ANSWER6);
	struct pkt p = { IP(DB6, WEB6, P_ICMPV6), .type = 137, .quoted = &q6 };

	(void)state;
	opens(TCP(DB6, WEB6, CLIENT, 4000, F_SYN));
	assert_verdict(world_send(worlds[0], BY_DIR_IN, &p), POLICY_DENY);
	p.ether = 0x86dd;
	assert_verdict(world_send(worlds[1], BY_DIR_IN, &p), ARP_SPOOF);
}

static void we_may_tell_of_what_the_peer_sent(void **state)
{
	struct frame q4 = quotation(28, UDP(DB4, WEB4, CLIENT, 4000), .payload = 60);
	struct frame q6 = quotation(0, UDP(DB6, WEB6, CLIENT, 4000));

	(void)state;
	send_error(BY_DIR_OUT, WEB4, DB4, 3, &q4, "POLICY_DENY");
	opens(UDP(DB4, WEB4, CLIENT, 4000));
	opens(UDP(DB6, WEB6, CLIENT, 4000));
	send_error(BY_DIR_OUT, WEB4, DB4, 3, &q4, "NONE");
	send_error(BY_DIR_OUT, WEB6, DB6, 1, &q6, "NONE");
	send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, "POLICY_DENY"); /* quotes what it sent itself */
	send_error(BY_DIR_OUT, WEB4, EVE4, 3, &q4, "POLICY_DENY");
}

static void pings_and_plain_protocols_have_errors_too(void **state)
{
	struct frame echo4 = quotation(0, ICMP(WEB4, DB4, 0, 7)), echo6 = quotation(0, ICMPV6(WEB6, DB6, 129, 7));
	struct frame other = quotation(0, ICMP(WEB4, DB4, 0, 8)), gre = quotation(0, IP(WEB4, DB4, P_GRE));
	struct frame crossed = quotation(0, ICMPV6(WEB4, DB4, 129, 7));

	(void)state;
	opens(ICMP(DB4, WEB4, 8, 7));
	opens(ICMPV6(DB6, WEB6, 128, 7));
	opens(IP(DB4, WEB4, P_GRE));
	send_error(BY_DIR_IN, DB4, WEB4, 3, &echo4, "NONE");
	send_error(BY_DIR_IN, DB6, WEB6, 3, &echo6, "NONE");
	send_error(BY_DIR_IN, DB4, WEB4, 3, &gre, "NONE");
	send_error(BY_DIR_IN, DB4, WEB4, 3, &other, "POLICY_DENY");
	send_error(BY_DIR_IN, DB4, WEB4, 3, &crossed, "POLICY_DENY"); /* of the other family */
}

static void another_peer_may_not(void **state)
{
	struct frame q4 = quotation(0, ANSWER4), q6 = quotation(0, ANSWER6);
	struct frame eves = quotation(0, TCP(WEB4, EVE4, 4000, CLIENT, F_ACK));

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	opens(TCP(DB6, WEB6, CLIENT, 4000, F_SYN));
	opens(TCP(EVE4, WEB4, CLIENT, 4000, F_SYN));
	send_error(BY_DIR_IN, EVE4, WEB4, 3, &q4, "POLICY_DENY");
	send_error(BY_DIR_IN, EVE6, WEB6, 2, &q6, "POLICY_DENY");
	send_error(BY_DIR_IN, NOBODY4, WEB4, 3, &q4, "NO_IDENTITY");
	send_error(BY_DIR_IN, EVE4, WEB4, 3, &eves, "NONE"); /* of its own flow it may */
	send_error(BY_DIR_IN, DB4, WEB4, 3, &eves, "POLICY_DENY");
	send_error(BY_DIR_IN, DB4, DB4, 3, &q4, "NOT_LOCAL");
}

static void join_more(struct world *w, int n, uint32_t peer_class, const char *more)
{
	struct dp_identity id = world_node(n, peer_class);
	struct err e = ERR_INIT;
	uint32_t number;

	assert_true(addr_parse(&id.addrs[id.n_addrs++], more));
	assert_int_equal(dp_identity_set(w->dp, &id, &number, &e), 0);
}

static void a_node_of_two_addresses_is_one_node(void **state)
{
	struct frame q4 = quotation(0, ANSWER4);

	(void)state;
	for (int framed = 0; framed < 2; framed++) {
		join_more(worlds[framed], WEB, 0, "100.64.0.12");
		join_more(worlds[framed], DB, CLASS_DB, "100.64.0.13");
	}
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	send_error(BY_DIR_IN, "100.64.0.13", WEB4, 3, &q4, "NONE");
	send_error(BY_DIR_IN, DB4, "100.64.0.12", 3, &q4, "POLICY_DENY"); /* that address sent nothing */
}

static void flows_that_do_not_exist_have_no_errors(void **state)
{
	struct frame q[] = { quotation(0, TCP(WEB4, DB4, 4000, CLIENT + 1, F_ACK)),
			     quotation(0, TCP(WEB4, DB4, 4001, CLIENT, F_ACK)),
			     quotation(0, TCP(WEB4, DB4, CLIENT, 4000, F_ACK)),
			     quotation(0, UDP(WEB4, DB4, 4000, CLIENT)),
			     quotation(0, TCP("100.64.0.5", DB4, 4000, CLIENT, F_ACK)),
			     quotation(0, TCP(WEB4, NOBODY4, 4000, CLIENT, F_ACK)) };

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++)
		send_error(BY_DIR_IN, DB4, WEB4, 3, &q[i], "POLICY_DENY");
}

static void an_error_about_an_error_is_about_nothing(void **state)
{
	struct frame inner4 = quotation(0, ANSWER4), inner6 = quotation(0, ANSWER6);
	struct frame q4 = quotation(0, IP(WEB4, DB4, P_ICMP), .type = 3, .quoted = &inner4);
	struct frame q6 = quotation(0, IP(WEB6, DB6, P_ICMPV6), .type = 1, .quoted = &inner6);

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	opens(TCP(DB6, WEB6, CLIENT, 4000, F_SYN));
	opens(ICMP(DB4, WEB4, 8, 0)); /* the identifier that a careless reader would see */
	send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, "POLICY_DENY");
	send_error(BY_DIR_IN, DB6, WEB6, 1, &q6, "POLICY_DENY");
}

static void a_cut_quotation_is_no_quotation(void **state)
{
	struct frame q4 = quotation(0, ANSWER4, .options = 12),
		     q6 = quotation(0, ANSWER6, .ext = { 0, 60 }, .n_ext = 2);
	size_t need4 = 32 + 8, need6 = 40 + 16 + 8;

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	opens(TCP(DB6, WEB6, CLIENT, 4000, F_SYN));
	while (q4.len--)
		send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, q4.len >= need4 ? "NONE" : "POLICY_DENY");
	while (q6.len--)
		send_error(BY_DIR_IN, DB6, WEB6, 2, &q6, q6.len >= need6 ? "NONE" : "POLICY_DENY");
}

static void a_mad_quotation_is_no_quotation(void **state)
{
	struct frame q[] = { quotation(0, ANSWER4, .version = 6),
			     quotation(0, ANSWER4, .ihl = 4),
			     quotation(0, ANSWER4, .ihl = 15),
			     quotation(0, ANSWER4, .len_change = -13), /* says less than eight bytes of TCP */
			     quotation(0, ANSWER4, .frag = 1),         /* a later fragment: these are no ports */
			     quotation(0, ANSWER6) };
	struct frame q6[] = { quotation(0, ANSWER6, .version = 4), quotation(0, ANSWER4),
			      quotation(0, ANSWER6, .ext = { 60, 60, 60, 60, 60, 60, 60 }, .n_ext = 7) };

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	opens(TCP(DB6, WEB6, CLIENT, 4000, F_SYN));
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++)
		send_error(BY_DIR_IN, DB4, WEB4, 3, &q[i], "POLICY_DENY");
	for (size_t i = 0; i < sizeof(q6) / sizeof(q6[0]); i++)
		send_error(BY_DIR_IN, DB6, WEB6, 2, &q6[i], "POLICY_DENY");
}

static void a_quoted_first_fragment_has_ports(void **state)
{
	struct frame q4 = quotation(28, ANSWER4, .frag = 0x2000);

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	send_error(BY_DIR_IN, DB4, WEB4, 11, &q4, "NONE");
}

/* The only tracked flow. */
static struct by_ct the_flow(struct world *w, struct by_ct_key *key)
{
	struct ct_map m = world_flows(w);
	struct by_ct ct;

	assert_true(ct_map_only(m, key, &ct));
	ct_map_close(m);
	return ct;
}

static void age(struct world *w, unsigned seconds)
{
	struct ct_map m = world_flows(w);
	struct by_ct_key key;
	struct by_ct ct = the_flow(w, &key);

	ct.last_ns -= seconds * SECOND;
	assert_int_equal(ct_map_put(m, &key, &ct), 0);
	ct_map_close(m);
}

static void an_error_leaves_the_flow_as_it_was(void **state)
{
	struct frame reset = quotation(0, TCP(WEB4, DB4, 4000, CLIENT, F_RST));
	struct by_ct before, after;
	struct by_ct_key key;

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	age(worlds[0], 100);
	age(worlds[1], 100);
	before = the_flow(worlds[0], &key);
	send_error(BY_DIR_IN, DB4, WEB4, 3, &reset, "NONE"); /* neither refreshed, answered nor closed */
	after = the_flow(worlds[0], &key);
	assert_memory_equal(&before, &after, sizeof(after));
	age(worlds[0], 21);
	age(worlds[1], 21);
	send_error(BY_DIR_IN, DB4, WEB4, 3, &reset, "POLICY_DENY"); /* it is over, an error does not keep it */
}

static void a_new_generation_must_judge_the_flow_first(void **state)
{
	struct frame q4 = quotation(0, ANSWER4);

	(void)state;
	opens(TCP(DB4, WEB4, CLIENT, 4000, F_SYN));
	send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, "NONE");
	allow(worlds[0]);
	allow(worlds[1]);
	send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, "POLICY_DENY");
	send_both(BY_DIR_OUT, (struct pkt){ ANSWER4 }, "NONE");
	send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, "NONE");
}

static void a_rule_for_the_type_still_stands(void **state)
{
	struct frame q4 = quotation(10, ANSWER4);

	(void)state;
	for (int framed = 0; framed < 2; framed++)
		world_allow(worlds[framed], BY_DIR_IN, BY_PORT_ICMP + 3, BY_PORT_ICMP + 3);
	send_error(BY_DIR_IN, DB4, WEB4, 3, &q4, "NONE");
	send_error(BY_DIR_IN, DB4, WEB4, 11, &q4, "POLICY_DENY");
}

#define t(name) cmocka_unit_test_setup_teardown(name, fresh, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(the_peer_may_tell_of_what_we_sent),
		t(a_redirect_of_ipv6_is_no_error),
		t(we_may_tell_of_what_the_peer_sent),
		t(pings_and_plain_protocols_have_errors_too),
		t(another_peer_may_not),
		t(a_node_of_two_addresses_is_one_node),
		t(flows_that_do_not_exist_have_no_errors),
		t(an_error_about_an_error_is_about_nothing),
		t(a_cut_quotation_is_no_quotation),
		t(a_mad_quotation_is_no_quotation),
		t(a_quoted_first_fragment_has_ports),
		t(an_error_leaves_the_flow_as_it_was),
		t(a_new_generation_must_judge_the_flow_first),
		t(a_rule_for_the_type_still_stands),
	};

	return cmocka_run_group_tests_name("bpf/related", tests, NULL, NULL);
}
