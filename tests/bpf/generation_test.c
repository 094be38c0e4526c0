// SPDX-License-Identifier: Apache-2.0
/* Policies come and go in one step, and survive the daemon. */
#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "../lib/world.h"
#include "datapath/internal.h"

#define TCP_PORT(n)   (BY_PORT_TCP + (n))
#define SYN_IN(port)  send_in(w, TCP(DB4, WEB4, 40000, port, F_SYN))
#define ACK_OUT(port) send_out(w, TCP(WEB4, DB4, port, 40000, F_ACK))

static struct img *policy_for(uint32_t port)
{
	struct dp_identity db = world_node(DB, 0);
	struct img *img = img_new();

	img_rule(img, BY_DIR_IN, TCP_PORT(port), TCP_PORT(port), CLASS_DB, BY_ALLOW);
	img_member(img, db.instance_id, CLASS_DB);
	return img;
}

static void stage(struct world *w, uint32_t port)
{
	struct img *img = policy_for(port);
	struct err e = ERR_INIT;

	assert_int_equal(dp_policy_stage(w->dp, img_done(img), &e), 0);
	img_free(img);
}

static void commit(struct world *w, uint32_t port)
{
	struct err e = ERR_INIT;

	stage(w, port);
	assert_int_equal(dp_policy_flip(w->dp, &e), 0);
}

static struct by_gen live(struct world *w)
{
	struct dp_status st;
	struct err e = ERR_INIT;

	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	return st.gen;
}

static size_t entries_of(struct world *w, const char *map, size_t key_size)
{
	int fd = world_map(w, map);
	char key[64];
	size_t n = 0;

	for (int ret = bpf_map_get_next_key(fd, NULL, key); !ret; ret = bpf_map_get_next_key(fd, key, key))
		n++;
	close(fd);
	assert_true(key_size <= sizeof(key));
	return n;
}

static void a_staged_policy_decides_nothing(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	stage(w, 80);
	assert_verdict(SYN_IN(80), NO_POLICY);
	assert_int_equal(dp_policy_flip(w->dp, &e), 0);
	assert_verdict(SYN_IN(80), NONE);
	stage(w, 22);
	assert_verdict(SYN_IN(22), POLICY_DENY);
	assert_verdict(SYN_IN(80), NONE);
	assert_int_equal(live(w).gen, 1);
	assert_int_equal(dp_policy_flip(w->dp, &e), 0);
	assert_verdict(SYN_IN(22), NONE);
	assert_verdict(SYN_IN(80), POLICY_DENY);
	assert_int_equal(live(w).gen, 2);
}

static void nothing_staged_nothing_flipped(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	assert_int_equal(dp_policy_flip(w->dp, &e), -EINVAL);
	commit(w, 80);
	e = ERR_INIT;
	assert_int_equal(dp_policy_flip(w->dp, &e), -EINVAL);
	assert_verdict(SYN_IN(80), NONE);
}

static void the_third_policy_finds_nothing_of_the_first(void **state)
{
	struct world *w = *state;
	struct by_gen g;

	commit(w, 80);
	assert_verdict(SYN_IN(80), NONE);
	g = live(w);
	commit(w, 22);
	assert_verdict(SYN_IN(22), NONE);
	commit(w, 443);
	assert_int_equal(live(w).slot, g.slot);
	assert_verdict(SYN_IN(80), POLICY_DENY);
	assert_int_equal(entries_of(w, "by_rule_stat", sizeof(struct by_rule_key)), 1); /* 22's, in the other slot */
	assert_verdict(SYN_IN(443), NONE);
	assert_int_equal(entries_of(w, "by_verdict", sizeof(struct by_verdict_key)), 2);
	assert_int_equal(entries_of(w, "by_rule", sizeof(struct by_rule_key)), 2);
	assert_int_equal(entries_of(w, "by_rule_stat", sizeof(struct by_rule_key)), 2);
}

static void rule_counters_start_again_with_their_policy(void **state)
{
	struct world *w = *state;
	struct by_counter hits;
	struct by_rule rule;

	commit(w, 80);
	assert_verdict(SYN_IN(80), NONE);
	assert_int_equal(dp_rule_get(w->dp, live(w).slot, 1, &rule, &hits), 0);
	assert_string_equal(rule.where, "test.yaml:1");
	assert_int_equal(hits.packets, 1);
	commit(w, 80);
	assert_int_equal(dp_rule_get(w->dp, live(w).slot, 1, NULL, &hits), 0);
	assert_int_equal(hits.packets, 0);
	assert_int_equal(dp_rule_get(w->dp, live(w).slot, 2, NULL, &hits), -ENOENT);
}

static void members_get_their_class_and_others_none(void **state)
{
	struct world *w = *state;
	struct dp_identity eve = world_node(EVE, 0), out;
	struct img *img = img_new();
	struct err e = ERR_INIT;

	commit(w, 80);
	img_rule(img, BY_DIR_IN, TCP_PORT(80), TCP_PORT(80), 7, BY_ALLOW);
	img_member(img, eve.instance_id, 7);
	assert_int_equal(dp_policy_commit(w->dp, img_done(img), &e), 0);
	img_free(img);
	assert_verdict(send_in(w, TCP(EVE4, WEB4, 1, 80, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(EVE6, WEB6, 1, 80, F_SYN)), NONE);
	assert_verdict(SYN_IN(80), POLICY_DENY);
	for (size_t i = 0; dp_identity_get(w->dp, i, NULL, &out); i++)
		assert_int_equal(out.peer_class, out.instance_id[0] == EVE ? 7 : 0);
}

static void who_joins_between_stage_and_flip_has_no_class(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	commit(w, 80);
	stage(w, 80);
	world_join(w, 9, CLASS_DB);
	assert_verdict(send_in(w, TCP("100.64.0.9", WEB4, 1, 80, F_SYN)), NONE);
	assert_int_equal(dp_policy_flip(w->dp, &e), 0);
	assert_verdict(send_in(w, TCP("100.64.0.9", WEB4, 1, 80, F_SYN)), POLICY_DENY);
	assert_verdict(SYN_IN(80), NONE);
}

static void a_refused_image_leaves_the_live_policy(void **state)
{
	struct world *w = *state;
	struct img *img = policy_for(22);
	struct err e = ERR_INIT;
	struct pol_image *bad;

	commit(w, 80);
	bad = (struct pol_image *)img_done(img);
	bad->abi = BY_ABI_VERSION + 1;
	assert_int_equal(dp_policy_commit(w->dp, bad, &e), -EINVAL);
	bad->abi = BY_ABI_VERSION;
	bad->n_verdicts = BY_MAX_VERDICTS / 2 + 1;
	e = ERR_INIT;
	assert_int_equal(dp_policy_commit(w->dp, bad, &e), -E2BIG);
	bad->n_verdicts = 1;
	bad->n_rules = BY_MAX_RULES / 2 + 1;
	e = ERR_INIT;
	assert_int_equal(dp_policy_commit(w->dp, bad, &e), -E2BIG);
	img_free(img);
	assert_verdict(SYN_IN(80), NONE);
	assert_int_equal(live(w).gen, 1);
}

/* Each map that staging writes or purges, in turn, fails under it. */
static void a_stage_that_fails_half_way_leaves_the_live_policy(void **state)
{
	static const enum dp_map broken[] = { MAP_RULE, MAP_VERDICT, MAP_ADDR, MAP_RULE_STAT };
	struct world *w = *state;

	commit(w, 80);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct img *img = policy_for(22);
		struct err e = ERR_INIT;
		int fd = w->dp->map[broken[i]];

		w->dp->map[broken[i]] = -1;
		assert_int_equal(dp_policy_commit(w->dp, img_done(img), &e), -EBADF);
		w->dp->map[broken[i]] = fd;
		e = ERR_INIT;
		assert_int_equal(dp_policy_flip(w->dp, &e), -EINVAL);
		img_free(img);
		assert_verdict(SYN_IN(80), NONE);
		assert_verdict(SYN_IN(22), POLICY_DENY);
	}
	commit(w, 22);
	assert_verdict(SYN_IN(22), NONE);
	assert_verdict(SYN_IN(80), POLICY_DENY);
}

static void a_restart_changes_nothing(void **state)
{
	struct world *w = *state;
	struct dp_identity before[3], after;
	uint32_t number[3], n;
	struct dp_status st;
	struct err e = ERR_INIT;

	commit(w, 80);
	assert_verdict(SYN_IN(80), NONE);
	for (size_t i = 0; i < 3; i++)
		assert_true(dp_identity_get(w->dp, i, &number[i], &before[i]));
	world_reopen(w);
	assert_int_equal(dp_identity_count(w->dp), 3);
	for (size_t i = 0; dp_identity_get(w->dp, i, &n, &after); i++) {
		size_t j = 0;

		while (number[j] != n)
			assert_true(++j < 3);
		assert_memory_equal(after.app_id, before[j].app_id, sizeof(after.app_id));
		assert_memory_equal(after.instance_id, before[j].instance_id, sizeof(after.instance_id));
		assert_string_equal(after.node, before[j].node);
		assert_int_equal(after.n_addrs, 2);
		assert_int_equal(after.is_local, before[j].is_local);
		assert_int_equal(after.peer_class, before[j].peer_class);
		assert_int_equal(world_join(w, after.instance_id[0], after.peer_class), n);
	}
	assert_verdict(ACK_OUT(80), NONE); /* the flow */
	assert_verdict(SYN_IN(22), POLICY_DENY);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.gen.gen, 2); /* flows are judged again: the process may have died within a change */
	assert_int_equal(st.n_rules, 1);
	assert_int_equal(st.n_flows, 1);
	assert_int_equal(st.stat[BY_DIR_IN][BY_DROP_NONE].packets, 1);
}

static void a_crash_between_stage_and_flip_is_no_flip(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	commit(w, 80);
	stage(w, 22);
	world_reopen(w);
	assert_verdict(SYN_IN(80), NONE);
	assert_verdict(SYN_IN(22), POLICY_DENY);
	assert_int_equal(dp_policy_flip(w->dp, &e), -EINVAL);
	commit(w, 443);
	assert_verdict(SYN_IN(443), NONE);
	assert_verdict(SYN_IN(80), POLICY_DENY);
	assert_verdict(SYN_IN(22), POLICY_DENY);
}

static void an_address_of_nobody_is_removed_on_recovery(void **state)
{
	struct world *w = *state;
	struct dp_identity ghost = world_node(9, 0);
	struct by_addr_val v = { .identity = 4711, .peer_class = { CLASS_DB, CLASS_DB } };
	int fd = world_map(w, "by_addr");

	commit(w, 80);
	assert_int_equal(bpf_map_update_elem(fd, &ghost.addrs[0], &v, BPF_ANY), 0);
	close(fd);
	world_reopen(w);
	assert_verdict(send_in(w, TCP("100.64.0.9", WEB4, 1, 80, F_SYN)), NO_IDENTITY);
	assert_verdict(SYN_IN(80), NONE);
}

static void a_generation_never_becomes_zero(void **state)
{
	struct world *w = *state;
	struct by_gen g;
	uint32_t zero = 0;
	int fd = world_map(w, "by_gen");

	commit(w, 80);
	g = live(w);
	g.gen = UINT32_MAX;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &g, BPF_ANY), 0);
	close(fd);
	world_join(w, DB, 0);
	world_join(w, DB, CLASS_DB);
	assert_int_equal(live(w).gen, 2);
	assert_verdict(SYN_IN(80), NONE);
}

/* Port 80 is class 1 in one policy and 2 in the other, port 22 the other way round, and only 80's is allowed: a
 * program that read one slot's ports and the other's verdicts would let 22 in. */
static struct img *turned(bool other_way)
{
	struct dp_identity db = world_node(DB, 0);
	struct img *img = img_new();

	if (other_way)
		img_rule(img, BY_DIR_IN, TCP_PORT(22), TCP_PORT(22), CLASS_DB + 1, BY_ALLOW);
	img_rule(img, BY_DIR_IN, TCP_PORT(80), TCP_PORT(80), CLASS_DB, BY_ALLOW);
	if (!other_way)
		img_rule(img, BY_DIR_IN, TCP_PORT(22), TCP_PORT(22), CLASS_DB + 1, BY_ALLOW);
	img_member(img, db.instance_id, CLASS_DB);
	return img;
}

struct hammer {
	struct world *w;
	uint16_t port;
	bool stop;
	uint64_t runs;
};

static void *hammer_run(void *arg)
{
	struct hammer *h = arg;
	struct pkt p = { TCP(DB4, WEB4, 40000, h->port, F_SYN) };
	struct frame f;

	frame_build(&f, &p);
	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data, .data_size_in = (uint32_t)f.len, .repeat = 500);

		if (bpf_prog_test_run_opts(h->w->prog[BY_DIR_IN], &opts) < 0)
			break;
		h->runs += 500;
	}
	return NULL;
}

static void flips_are_seen_whole(void **state)
{
	struct world *w = *state;
	struct img *img[2] = { turned(false), turned(true) };
	struct hammer h = { .w = w, .port = 22 };
	struct err e = ERR_INIT;
	struct dp_status st;
	pthread_t thread;

	assert_int_equal(dp_policy_commit(w->dp, img_done(img[1]), &e), 0);
	assert_int_equal(pthread_create(&thread, NULL, hammer_run, &h), 0);
	for (int i = 0; i < 40; i++)
		assert_int_equal(dp_policy_commit(w->dp, img_done(img[i % 2]), &e), 0);
	__atomic_store_n(&h.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_true(h.runs > 0);
	assert_int_equal(st.stat[BY_DIR_IN][BY_DROP_POLICY_DENY].packets, h.runs);
	assert_int_equal(st.stat[BY_DIR_IN][BY_DROP_NONE].packets, 0);
	img_free(img[0]);
	img_free(img[1]);
}

#define t(name) cmocka_unit_test_setup_teardown(name, world_fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_staged_policy_decides_nothing),
		t(nothing_staged_nothing_flipped),
		t(the_third_policy_finds_nothing_of_the_first),
		t(rule_counters_start_again_with_their_policy),
		t(members_get_their_class_and_others_none),
		t(who_joins_between_stage_and_flip_has_no_class),
		t(a_refused_image_leaves_the_live_policy),
		t(a_stage_that_fails_half_way_leaves_the_live_policy),
		t(a_restart_changes_nothing),
		t(a_crash_between_stage_and_flip_is_no_flip),
		t(an_address_of_nobody_is_removed_on_recovery),
		t(a_generation_never_becomes_zero),
		t(flips_are_seen_whole),
	};

	return cmocka_run_group_tests_name("bpf/generation", tests, NULL, NULL);
}
