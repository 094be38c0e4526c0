// SPDX-License-Identifier: Apache-2.0
/* What user space is told of flows and peers, and how much of either an instance holds. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../lib/world.h"
#include "base/addr.h"

static struct dp_flow flow[8];
static unsigned n_flows;

static int on_flow(const struct dp_flow *f, void *arg)
{
	int *stop_at = arg;

	if (n_flows < 8)
		flow[n_flows] = *f;
	n_flows++;
	return stop_at && (int)n_flows == *stop_at ? 7 : 0;
}

static unsigned flows(struct world *w)
{
	struct err e = ERR_INIT;

	n_flows = 0;
	assert_int_equal(dp_flows(w->dp, on_flow, NULL, &e), 0);
	return n_flows;
}

static void flow_age(struct world *w, uint64_t ns)
{
	struct ct_map m = world_flows(w);
	struct by_ct_key key;
	struct by_ct ct;

	assert_true(ct_map_only(m, &key, &ct));
	ct.last_ns -= ns;
	ct.opened_ns -= 2 * ns;
	assert_int_equal(ct_map_put(m, &key, &ct), 0);
	ct_map_close(m);
}

static void a_flow_is_shown_with_peer_age_and_state(void **state)
{
	struct world *w = *state;
	uint32_t db = world_join(w, DB, CLASS_DB);

	world_allow(w, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	assert_int_equal(flows(w), 0);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1000, 53)), NONE);
	assert_int_equal(flows(w), 1);
	assert_int_equal(flow[0].peer, db);
	assert_int_equal(flow[0].key.local_port_be, htons(53));
	assert_int_equal(flow[0].key.peer_port_be, htons(1000));
	assert_int_equal(flow[0].ct.state, BY_CT_NEW);
	assert_int_equal(flow[0].ct.rule, 1);
	assert_true(flow[0].age_ms < 10000 && flow[0].idle_ms < 10000);
	assert_true(flow[0].is_judged && !flow[0].is_over);
	flow_age(w, 2000000000);
	assert_int_equal(flows(w), 1);
	assert_true(flow[0].idle_ms >= 2000 && flow[0].idle_ms < 12000);
	assert_true(flow[0].age_ms >= 4000 && flow[0].age_ms < 14000);
	flow_age(w, 29000000000);
	assert_int_equal(flows(w), 1);
	assert_true(flow[0].is_over);
}

static void a_flow_of_an_older_generation_is_marked(void **state)
{
	struct world *w = *state;
	struct dp_identity db = world_node(DB, 0);
	struct err e = ERR_INIT;

	world_allow(w, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1000, 53)), NONE);
	assert_int_equal(dp_identity_remove(w->dp, db.instance_id, &e), 0);
	assert_int_equal(flows(w), 1);
	assert_false(flow[0].is_judged);
	assert_int_equal(flow[0].peer, BY_IDENT_NONE);
}

static void a_walk_ends_when_told(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	int stop_at = 2;

	world_allow(w, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	for (uint16_t i = 0; i < 5; i++)
		assert_verdict(send_in(w, UDP(DB4, WEB4, 1000 + i, 53)), NONE);
	n_flows = 0;
	assert_int_equal(dp_flows(w->dp, on_flow, &stop_at, &e), 7);
	assert_int_equal(n_flows, 2);
	assert_int_equal(flows(w), 5);
}

static void both_ip_versions_are_walked(void **state)
{
	struct dp_identity db = world_node(DB, 0);
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	assert_verdict(send_in(w, UDP(DB6, WEB6, 1000, 53)), NONE);
	assert_int_equal(flows(w), 1);
	assert_memory_equal(&flow[0].key.peer, &db.addrs[1], sizeof(struct by_addr));
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1000, 53)), NONE);
	assert_int_equal(flows(w), 2);
	assert_memory_equal(&flow[0].key.peer, &db.addrs[0], sizeof(struct by_addr));
	assert_memory_equal(&flow[1].key.peer, &db.addrs[1], sizeof(struct by_addr));
}

static void a_place_in_no_map_is_refused(void **state)
{
	struct dp_place at = { .at_map = 2 };
	struct err e = ERR_INIT;
	struct world *w = *state;

	assert_int_equal(dp_flows_on(w->dp, &at, 16, on_flow, NULL, &e), -EINVAL);
	assert_string_equal(e.where, "flows");
}

struct found {
	uint32_t identity;
	struct by_pair pair;
	unsigned n;
};

static int on_pair(uint32_t identity, const struct by_pair *pair, void *arg)
{
	struct found *f = arg;

	f->n++;
	if (identity == f->identity)
		f->pair = *pair;
	return 0;
}

static struct found pairs(struct world *w, uint32_t identity)
{
	struct found f = { .identity = identity };
	struct err e = ERR_INIT;

	assert_int_equal(dp_pairs(w->dp, on_pair, &f, &e), 0);
	return f;
}

static void peers_are_counted_apart(void **state)
{
	struct world *w = *state;
	uint32_t db = world_join(w, DB, CLASS_DB), eve = world_join(w, EVE, 0);
	struct found f;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1000, 80, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(DB6, WEB6, 1000, 80, F_SYN)), NONE); /* all its addresses */
	assert_verdict(send_out(w, TCP(WEB4, DB4, 80, 1000, F_SYN | F_ACK), .payload = 60), NONE);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 80, 999, F_SYN)), POLICY_DENY);
	for (int i = 0; i < 3; i++)
		assert_verdict(send_in(w, TCP(EVE4, WEB4, 1000, 80, F_SYN)), POLICY_DENY);
	assert_verdict(send_in(w, TCP(NOBODY4, WEB4, 1000, 80, F_SYN)), NO_IDENTITY);
	f = pairs(w, db);
	assert_int_equal(f.n, 2);
	assert_int_equal(f.pair.n[BY_DIR_IN][BY_PASSED].packets, 2);
	assert_int_equal(f.pair.n[BY_DIR_IN][BY_PASSED].bytes, 40 + 60);
	assert_int_equal(f.pair.n[BY_DIR_OUT][BY_PASSED].bytes, 100);
	assert_int_equal(f.pair.n[BY_DIR_OUT][BY_DROPPED].packets, 1);
	assert_int_equal(f.pair.n[BY_DIR_IN][BY_DROPPED].packets, 0);
	f = pairs(w, eve);
	assert_int_equal(f.pair.n[BY_DIR_IN][BY_DROPPED].packets, 3);
	assert_int_equal(f.pair.n[BY_DIR_IN][BY_PASSED].packets, 0);
}

static void counters_go_with_the_identity(void **state)
{
	struct world *w = *state;
	uint32_t db = world_join(w, DB, CLASS_DB);
	struct dp_identity id = world_node(DB, 0);
	struct err e = ERR_INIT;
	struct found f;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1000, 80, F_SYN)), NONE);
	world_reopen(w); /* they survive a restart */
	f = pairs(w, db);
	assert_int_equal(f.pair.n[BY_DIR_IN][BY_PASSED].packets, 1);
	assert_int_equal(dp_identity_remove(w->dp, id.instance_id, &e), 0);
	assert_int_equal(pairs(w, db).n, 1); /* EVE */
}

/* A number that another node had starts at 0. */
static void a_number_given_out_again_is_counted_from_0(void **state)
{
	struct world *w = *state;
	uint32_t first = world_join(w, DB, CLASS_DB), now = 0;
	struct dp_identity id = world_node(DB, 0);
	struct err e = ERR_INIT;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1000, 80, F_SYN)), NONE);
	assert_int_equal(dp_identity_remove(w->dp, id.instance_id, &e), 0);
	for (uint32_t i = 0; i < dp_sizes_small.identities && now != first; i++) {
		if (now)
			assert_int_equal(dp_identity_remove(w->dp, id.instance_id, &e), 0);
		now = world_join(w, DB, CLASS_DB);
		assert_true(now < dp_sizes_small.identities);
	}
	assert_int_equal(now, first);
	assert_int_equal(pairs(w, now).pair.n[BY_DIR_IN][BY_PASSED].packets, 0);
}

static void pairs_can_be_left_out(void **state)
{
	struct world *w = *state;

	uint32_t db = world_join(w, DB, CLASS_DB);

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1000, 80, F_SYN)), NONE);
	assert_int_equal(pairs(w, db).pair.n[BY_DIR_IN][BY_PASSED].packets, 0);
}

static int fresh_without_pairs(void **state)
{
	struct world *w = world_open_with(&(struct dp_options){ .no_pairs = true });

	world_cast(w);
	*state = w;
	return 0;
}

/* --- a small instance --- */

static void a_small_instance_refuses_what_does_not_fit(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i <= dp_sizes_small.rules / BY_SLOTS; i++)
		img_rule(img, BY_DIR_IN, BY_PORT_TCP + i, BY_PORT_TCP + i, CLASS_DB, BY_ALLOW);
	assert_int_equal(dp_policy_commit(w->dp, img_done(img), &e), -E2BIG);
	assert_non_null(strstr(e.msg, "1025 rules, at most 1024 fit"));
	assert_int_equal(dp_gen(w->dp).gen, 0);
	img_free(img);
}

static void an_instance_keeps_its_sizes(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct dp *dp = NULL;

	assert_int_equal(dp_open(w->bpffs, "test", NULL, &dp, &e), -ESTALE);
	assert_null(dp);
	assert_non_null(strstr(e.msg, "with other sizes: max_entries is"));
}

static void senseless_sizes_are_refused(void **state)
{
	static const struct dp_sizes bad[] = {
		{ .flows = BY_MAX_FLOWS + 1 }, { .verdicts = BY_MAX_VERDICTS + 1 }, { .event_bytes = 100 },
		{ .event_bytes = 3 * 4096 },   { .capture_bytes = 4097 },
	};
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct dp *dp = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dp_options o = { .sizes = bad[i] };

		assert_int_equal(dp_open(w->bpffs, "senseless", &o, &dp, &e), -EINVAL);
		assert_memory_equal(e.where, "by_", 3);
	}
	assert_int_equal(dp_destroy(w->bpffs, "senseless", 0, &e), 0);
}

/* New flows of one peer, more than the table holds. */
static void flood(struct world *w, const char *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct pkt p = { UDP(from, WEB4, (uint16_t)(1 + i % 65535), 53), .payload = 1 };
		LIBBPF_OPTS(bpf_test_run_opts, opts, .repeat = 1);
		struct frame f;

		frame_build(&f, &p);
		opts.data_in = f.data;
		opts.data_size_in = (uint32_t)f.len;
		assert_int_equal(bpf_prog_test_run_opts(w->prog[BY_DIR_IN], &opts), 0);
		assert_int_equal((int)opts.retval, -1);
	}
}

static void a_full_table_lets_nothing_forbidden_pass(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();

	img_rule(img, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, BY_PORT_TCP + 443, BY_PORT_TCP + 443, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 40000, 443, F_SYN)), NONE);
	flood(w, DB4, 3 * dp_sizes_small.flows);
	assert_true(flows(w) <= dp_sizes_small.flows);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1, 54)), POLICY_DENY);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1, 22, F_SYN)), POLICY_DENY);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1, 22, F_ACK)), NO_FLOW);
	assert_verdict(send_in(w, UDP(EVE4, WEB4, 1, 53)), POLICY_DENY);
	/* The flow that nobody answered was pushed out: it ends closed, not open, and can be opened again. */
	assert_verdict(send_in(w, TCP(DB4, WEB4, 443, 40000, F_SYN | F_ACK)), NO_FLOW);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 40000, 443, F_ACK)), NO_FLOW);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 40000, 443, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 443, 40000, F_SYN | F_ACK)), NONE);
}

/* The kernel's LRU spares what was looked up since it last went round. */
static void a_flow_in_use_outlives_a_flood(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();

	img_rule(img, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_OUT, BY_PORT_TCP + 443, BY_PORT_TCP + 443, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 40000, 443, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 443, 40000, F_SYN | F_ACK)), NONE);
	for (int i = 0; i < 12; i++) {
		flood(w, DB4, dp_sizes_small.flows / 4);
		assert_verdict(send_in(w, TCP(DB4, WEB4, 443, 40000, F_ACK)), NONE);
	}
}

#define t(name)     cmocka_unit_test_setup_teardown(name, world_fresh, world_gone)
#define small(name) cmocka_unit_test_setup_teardown(name, world_fresh_small, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_flow_is_shown_with_peer_age_and_state),
		t(a_flow_of_an_older_generation_is_marked),
		t(a_walk_ends_when_told),
		t(both_ip_versions_are_walked),
		t(a_place_in_no_map_is_refused),
		t(peers_are_counted_apart),
		t(counters_go_with_the_identity),
		cmocka_unit_test_setup_teardown(pairs_can_be_left_out, fresh_without_pairs, world_gone),
		small(a_number_given_out_again_is_counted_from_0),
		small(a_small_instance_refuses_what_does_not_fit),
		small(an_instance_keeps_its_sizes),
		small(senseless_sizes_are_refused),
		small(a_full_table_lets_nothing_forbidden_pass),
		small(a_flow_in_use_outlives_a_flood),
	};

	return cmocka_run_group_tests_name("bpf/flows", tests, NULL, NULL);
}
