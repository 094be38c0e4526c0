// SPDX-License-Identifier: Apache-2.0
/* A hub's programs, and a spoke's. The local node is WEB; on the hub DB and EVE are spokes, to a spoke EVE is the hub.
 */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/world.h"
#include "base/addr.h"

#define REDIRECT 7  /* TC_ACT_REDIRECT */
#define PASS     -1 /* on to the next program */
#define DROP     2
#define DEVICE   1 /* any that there is */

static void allow_all(struct world *w)
{
	struct dp_identity eve = world_node(EVE, 0);
	struct img *img = img_new();

	img_rule(img, BY_DIR_IN, 0, BY_PORT_SPACE - 1, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, 0, BY_PORT_SPACE - 1, CLASS_DB, BY_ALLOW);
	img_member(img, eve.instance_id, CLASS_DB);
	world_commit(w, img);
}

static struct world *open_as(enum by_topology topology)
{
	struct world *w = world_open_with(&(struct dp_options){ .topology = topology, .sizes = dp_sizes_small });
	struct dp_identity eve = world_node(EVE, CLASS_DB);
	struct err e = ERR_INIT;

	world_join(w, WEB, 0);
	world_join(w, DB, CLASS_DB);
	eve.flags = topology == BY_TOPOLOGY_SPOKE ? BY_IDENT_HUB : 0;
	assert_int_equal(dp_identity_set(w->dp, &eve, NULL, &e), 0);
	allow_all(w);
	return w;
}

static int hub(void **state)
{
	*state = open_as(BY_TOPOLOGY_HUB);
	return 0;
}

static int spoke(void **state)
{
	*state = open_as(BY_TOPOLOGY_SPOKE);
	return 0;
}

static int mesh(void **state)
{
	*state = open_as(BY_TOPOLOGY_MESH);
	return 0;
}

/* What the program says of a packet that came in by interface `from`, 0: that this machine made. */
static int run(struct world *w, enum by_dir dir, uint32_t from, const struct pkt *p)
{
	struct __sk_buff skb = { .ifindex = DEVICE, .ingress_ifindex = from };
	struct frame f;

	frame_build(&f, p);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data, .data_size_in = (uint32_t)f.len, .ctx_in = &skb,
		    .ctx_size_in = sizeof(skb), .repeat = 1);
	assert_int_equal(bpf_prog_test_run_opts(w->prog[dir], &opts), 0);
	return (int)opts.retval;
}

#define run_in(w, from, ...)  run(w, BY_DIR_IN, from, &(struct pkt){ __VA_ARGS__ })
#define run_out(w, from, ...) run(w, BY_DIR_OUT, from, &(struct pkt){ __VA_ARGS__ })

static uint64_t count_of(struct world *w, enum by_dir dir, enum by_drop reason)
{
	struct dp_status s;
	struct err e = ERR_INIT;

	assert_int_equal(dp_status_get(w->dp, &s, &e), 0);
	return s.stat[dir][reason].packets;
}

static void a_hub_passes_on_between_two_nodes(void **state)
{
	struct world *w = *state;
	const struct {
		const char *src, *dst;
	} way[] = { { DB4, EVE4 }, { EVE4, DB4 }, { DB6, EVE6 }, { EVE6, DB6 } };

	for (size_t i = 0; i < 4; i++) {
		const char *src = way[i].src, *dst = way[i].dst;

		assert_int_equal(run_in(w, DEVICE, TCP(src, dst, 40000, 5432, F_SYN)), REDIRECT);
		assert_int_equal(run_out(w, DEVICE, TCP(src, dst, 40000, 5432, F_SYN)), PASS);
		/* whatever of a flow it is: only the ends follow flows */
		assert_int_equal(run_in(w, DEVICE, TCP(src, dst, 40000, 5433, F_ACK)), REDIRECT);
		assert_int_equal(run_out(w, DEVICE, TCP(src, dst, 40000, 5433, F_ACK)), PASS);
		assert_int_equal(run_in(w, DEVICE, UDP(src, dst, 5, 6)), REDIRECT);
	}
	assert_int_equal(count_of(w, BY_DIR_IN, BY_DROP_NONE), 12);
	assert_int_equal(count_of(w, BY_DIR_OUT, BY_DROP_NONE), 8);
}

/* Each way twice, in and out: what the hub remembered of the first would make the second an overlap. */
static void fragments_pass_a_hub_in_any_order(void **state)
{
	struct world *w = *state;
	const struct pkt first = { UDP(DB4, EVE4, 5, 6), .payload = 64, .frag = 0x2000, .ip_id = 9 };
	const struct pkt later = { IP(DB4, EVE4, P_UDP), .payload = 64, .is_later = true, .frag = 9, .ip_id = 9 };

	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		assert_int_equal(run(w, (enum by_dir)dir, DEVICE, &later), dir == BY_DIR_IN ? REDIRECT : PASS);
		assert_int_equal(run(w, (enum by_dir)dir, DEVICE, &first), dir == BY_DIR_IN ? REDIRECT : PASS);
	}
}

static void and_only_between_nodes(void **state)
{
	struct world *w = *state;

	assert_int_equal(run_in(w, DEVICE, UDP(DB4, NOBODY4, 5, 6)), DROP);
	assert_int_equal(count_of(w, BY_DIR_IN, BY_DROP_NOT_LOCAL), 1);
	assert_int_equal(run_in(w, DEVICE, UDP(NOBODY4, EVE4, 5, 6)), DROP);
	assert_int_equal(count_of(w, BY_DIR_IN, BY_DROP_NO_IDENTITY), 1);
	assert_int_equal(run_in(w, DEVICE, UDP(DB4, DB4, 5, 6)), DROP); /* to itself */
	assert_int_equal(count_of(w, BY_DIR_IN, BY_DROP_NOT_LOCAL), 2);
	assert_int_equal(run_in(w, DEVICE, UDP(WEB4, EVE4, 5, 6)), DROP); /* as if it came from the hub */
	assert_int_equal(count_of(w, BY_DIR_IN, BY_DROP_NO_IDENTITY), 2);
}

static void a_revoked_spoke_is_cut_at_the_hub(void **state)
{
	struct world *w = *state;
	struct dp_identity db = world_node(DB, 0);
	struct err e = ERR_INIT;

	assert_int_equal(run_in(w, DEVICE, UDP(DB4, EVE4, 5, 6)), REDIRECT);
	assert_int_equal(dp_identity_remove(w->dp, db.instance_id, &e), 0);
	assert_int_equal(run_in(w, DEVICE, UDP(DB4, EVE4, 5, 6)), DROP);
	assert_int_equal(run_out(w, DEVICE, UDP(DB4, EVE4, 5, 6)), DROP); /* that was on its way through */
	assert_int_equal(run_in(w, DEVICE, UDP(EVE4, DB4, 5, 6)), DROP);
}

/* Another interface, or none: this machine made it, or forwards it from elsewhere. */
static void nothing_of_the_hub_itself_takes_a_spokes_address(void **state)
{
	struct world *w = *state;

	assert_int_equal(run_out(w, 0, UDP(DB4, EVE4, 5, 6)), DROP);
	assert_int_equal(run_out(w, DEVICE + 1, UDP(DB4, EVE4, 5, 6)), DROP);
	assert_int_equal(run_out(w, 0, TCP(DB6, EVE6, 5, 6, F_SYN)), DROP);
	assert_int_equal(count_of(w, BY_DIR_OUT, BY_DROP_SPOOFED), 3);
}

static void a_hub_opens_nothing(void **state)
{
	struct world *w = *state;

	assert_verdict(send_out(w, TCP(WEB4, DB4, 40000, 80, F_SYN)), HUB_ORIGIN);
	assert_verdict(send_out(w, UDP(WEB6, DB6, 40000, 80)), HUB_ORIGIN);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 8, 1)), HUB_ORIGIN);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 5, 0), .payload = 28), HUB_ORIGIN); /* a redirect about a transit */
	assert_verdict(send_out(w, IP(WEB4, DB4, P_GRE), .payload = 8), HUB_ORIGIN);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 40000, 80, F_ACK)), NO_FLOW);
}

static void but_answers_what_a_spoke_opened(void **state)
{
	struct world *w = *state;

	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 80, F_SYN)), NONE);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 80, 40000, F_SYN | F_ACK)), NONE);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 8, 1)), NONE);
	assert_verdict(send_out(w, ICMP(WEB4, DB4, 0, 1)), NONE);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 80, 40000, F_SYN)), HUB_ORIGIN); /* no way to call back */
}

static void a_flow_of_before_ends_when_a_node_becomes_a_hub(void **state)
{
	struct world *w = *state;

	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 80)), NONE);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 80, 40000)), NONE);
	w->options.topology = BY_TOPOLOGY_HUB;
	world_reopen(w);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 80, 40000)), HUB_ORIGIN);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 40000, 80)), HUB_ORIGIN);
}

/* Its policy allows EVE everything: a hub that does not hold itself back is held back here. */
static void a_spoke_takes_nothing_from_the_hub_itself(void **state)
{
	struct world *w = *state;

	assert_verdict(send_in(w, TCP(EVE4, WEB4, 40000, 80, F_SYN)), HUB_ORIGIN);
	assert_verdict(send_in(w, UDP(EVE6, WEB6, 40000, 80)), HUB_ORIGIN);
	assert_verdict(send_in(w, ICMP(EVE4, WEB4, 8, 1)), HUB_ORIGIN);
	assert_verdict(send_in(w, ICMP(EVE4, WEB4, 5, 0), .payload = 28), HUB_ORIGIN);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 80, F_SYN)), NONE);
	assert_verdict(send_in(w, UDP(WEB4, WEB4, 1, 2)), NO_IDENTITY); /* the spoke's own address */
	assert_verdict(send_in(w, UDP(NOBODY4, WEB4, 1, 2)), NO_IDENTITY);
	assert_int_equal(run_in(*state, DEVICE, UDP(DB4, EVE4, 5, 6)), DROP); /* and forwards nothing */
	assert_int_equal(run_out(*state, DEVICE, UDP(DB4, EVE4, 5, 6)), DROP);
}

static void but_talks_to_it(void **state)
{
	struct world *w = *state;

	assert_verdict(send_out(w, TCP(WEB4, EVE4, 40000, 80, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(EVE4, WEB4, 80, 40000, F_SYN | F_ACK)), NONE);
	assert_verdict(send_in(w, TCP(EVE4, WEB4, 80, 40000, F_SYN)), HUB_ORIGIN);
}

static void a_mesh_passes_on_nothing(void **state)
{
	struct world *w = *state;

	assert_int_equal(run_in(w, DEVICE, UDP(DB4, EVE4, 5, 6)), DROP);
	assert_int_equal(count_of(w, BY_DIR_IN, BY_DROP_NOT_LOCAL), 1);
	assert_int_equal(run_out(w, DEVICE, UDP(DB4, EVE4, 5, 6)), DROP);
	assert_int_equal(count_of(w, BY_DIR_OUT, BY_DROP_SPOOFED), 1);
}

static void a_question_knows_it(void **state)
{
	struct world *w = *state;
	struct dp_question q = { .dir = BY_DIR_OUT, .selector = BY_PORT_TCP + 80 };
	struct dp_answer a;
	struct err e = ERR_INIT;

	assert_true(addr_parse(&q.local, WEB4) && addr_parse(&q.peer, DB4));
	assert_int_equal(dp_ask(w->dp, &q, &a, &e), 0);
	assert_verdict(a.reason, HUB_ORIGIN);
	q.dir = BY_DIR_IN;
	assert_int_equal(dp_ask(w->dp, &q, &a, &e), 0);
	assert_verdict(a.reason, NONE);
}

#define on(test, set_up) cmocka_unit_test_setup_teardown(test, set_up, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on(a_hub_passes_on_between_two_nodes, hub),
		on(fragments_pass_a_hub_in_any_order, hub),
		on(and_only_between_nodes, hub),
		on(a_revoked_spoke_is_cut_at_the_hub, hub),
		on(nothing_of_the_hub_itself_takes_a_spokes_address, hub),
		on(a_hub_opens_nothing, hub),
		on(but_answers_what_a_spoke_opened, hub),
		on(a_question_knows_it, hub),
		on(a_flow_of_before_ends_when_a_node_becomes_a_hub, mesh),
		on(a_mesh_passes_on_nothing, mesh),
		on(a_spoke_takes_nothing_from_the_hub_itself, spoke),
		on(but_talks_to_it, spoke),
	};

	return cmocka_run_group_tests_name("hub", tests, NULL, NULL);
}
