// SPDX-License-Identifier: Apache-2.0
/*
 * The program alone as what it must know grows: rules, identities, flows. BPF_PROG_TEST_RUN repeats one packet, so
 * caches are warm; for peers and flows a small program in front gives each repetition another source address or port,
 * in random order, and calls ours. Its own share is the same in all of them and is left in. Nanoseconds a packet, best
 * of several interleaved rounds. Prints one JSON object a line for run.sh.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/bench.h"
#include "../lib/world.h"

#define ROUNDS    12
#define REPEAT    200000
#define CLASSES   1000
#define AT_SOURCE 12 /* offset in an IPv4 packet without options */
#define AT_PORT   20
#define PORT      1001

/* One thing to measure. */
struct side {
	struct world *world;
	int prog;
	struct frame frame;
	double best_ns;
};

static struct by_counter passed(const struct world *w)
{
	struct dp_status st;
	struct err e = ERR_INIT;

	bench_must(dp_status_get(w->dp, &st, &e), &e, "counters");
	return st.stat[BY_DIR_IN][BY_DROP_NONE];
}

static void run_once(struct side *s)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = s->frame.data, .data_size_in = (uint32_t)s->frame.len,
		    .repeat = REPEAT);
	uint64_t before = passed(s->world).packets;

	bench_must(bpf_prog_test_run_opts(s->prog, &opts) < 0 ? -errno : 0, NULL, "BPF_PROG_TEST_RUN");
	if (passed(s->world).packets - before != REPEAT)
		bench_must(-EIO, NULL, "not every packet passed");
	if (s->best_ns == 0 || opts.duration < s->best_ns)
		s->best_ns = opts.duration;
}

static void rounds(struct side *all, size_t n)
{
	for (int r = 0; r < ROUNDS; r++)
		for (size_t i = 0; i < n; i++)
			run_once(&all[i]);
}

/* Writes base + random % n into each packet at `off`, `size` bytes in network order, and goes on with `prog`. */
static int in_random_order(int prog, uint32_t off, int size, uint32_t base, uint32_t n)
{
	int zero = 0, table = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "bench_next", 4, 4, 1, NULL), fd;
	const struct bpf_insn insn[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_prandom_u32 },
		{ .code = BPF_ALU | BPF_MOD | BPF_K, .dst_reg = 0, .imm = (int)n },
		{ .code = BPF_ALU | BPF_ADD | BPF_K, .dst_reg = 0, .imm = (int)base },
		{ .code = BPF_ALU | BPF_END | BPF_TO_BE, .dst_reg = 0, .imm = 8 * size },
		{ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 0, .off = -8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 6 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = (int)off },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 3, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 3, .imm = -8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 4, .imm = size },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 5, .imm = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_store_bytes },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 6 },
		{ .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 2, .src_reg = BPF_PSEUDO_MAP_FD, .imm = table },
		{ 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_tail_call },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 2 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	bench_must(table, NULL, "program table");
	fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bench_random", "GPL", insn, sizeof(insn) / sizeof(insn[0]), NULL);
	bench_must(fd, NULL, "the program in front");
	bench_must(bpf_map_update_elem(table, &zero, &prog, BPF_ANY) < 0 ? -errno : 0, NULL, "program table");
	return fd; /* holds the table */
}

static void commit(struct world *w, struct img *img)
{
	struct err e = ERR_INIT;

	bench_must(dp_policy_commit(w->dp, img_done(img), &e), &e, "commit");
	img_free(img);
}

/* `n` rules over a class, or over 1000 of them where there are enough; DB is in the one in the middle. */
static struct world *world_of_rules(uint32_t n)
{
	uint32_t classes = n < 10 * CLASSES ? 1 : CLASSES;
	struct dp_identity db = world_node(DB, 0);
	struct world *w = world_open(0);
	struct img *img = img_new();

	world_cast(w);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t port = i / classes, sel = port ? BY_PORT_TCP + 1000 + port : BY_PORT_ICMP + 13;

		img_rule(img, BY_DIR_IN, sel, sel, i % classes + 1, BY_ALLOW);
	}
	img_member(img, db.instance_id, classes / 2 + 1);
	commit(w, img);
	return w;
}

static void report(const char *what, const struct bench_scale *s, const struct side *side, const struct side *base,
		   const char *peer, const char *note)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_%s_vs_10", what, s->name);
	if (side != base)
		bench_row(name, side->best_ns, base->best_ns, peer, "ns/packet", note);
}

static void rules(void)
{
	const struct pkt judged = { ICMP(DB4, WEB4, 13, 0) }, flow = { TCP(DB4, WEB4, 40000, PORT, F_ACK) };
	struct side side[2 * BENCH_SCALES] = { 0 };

	for (size_t i = 0; i < BENCH_SCALES; i++) {
		struct side *j = &side[i], *f = &side[BENCH_SCALES + i];

		j->world = f->world = world_of_rules(bench_scale[i].n);
		j->prog = f->prog = j->world->prog[BY_DIR_IN];
		send_in(j->world, TCP(DB4, WEB4, 40000, PORT, F_SYN));
		frame_build(&j->frame, &judged);
		frame_build(&f->frame, &flow);
	}
	rounds(side, 2 * BENCH_SCALES);
	for (size_t i = 0; i < BENCH_SCALES; i++) {
		report("verdict.rules", &bench_scale[i], &side[i], &side[0], "Bailey, 10 rules",
		       "a packet judged by a rule, no flow");
		report("flow.rules", &bench_scale[i], &side[BENCH_SCALES + i], &side[BENCH_SCALES], "Bailey, 10 rules",
		       "a packet of a tracked flow");
		bench_point("program", "judged by a rule, of n rules", bench_scale[i].n, side[i].best_ns);
		bench_point("program", "of a tracked flow, n rules", bench_scale[i].n, side[BENCH_SCALES + i].best_ns);
		world_close(side[i].world);
	}
}

/* --- identities --- */

static struct world *world_of_identities(uint32_t n)
{
	struct world *w = world_open(0);
	struct img *img = img_new();
	struct err e = ERR_INIT;

	world_join(w, WEB, 0);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 13, BY_PORT_ICMP + 13, CLASS_DB, BY_ALLOW);
	commit(w, img);
	for (uint32_t i = 0; i < n; i++) {
		struct dp_identity id = network_identity(i, n);

		id.peer_class = CLASS_DB;
		bench_must(dp_identity_set(w->dp, &id, NULL, &e), &e, "identity");
	}
	return w;
}

static const struct bench_scale peers[] = {
	{ "10", 10 }, { "1k", 1000 }, { "10k", 10000 }, { "64k", 64000 }, { "100k", 100000 }
};
#define N_PEERS (sizeof(peers) / sizeof(peers[0]))

/* Of one peer that keeps sending, and of all of them in random order. */
static void identities(void)
{
	const struct pkt judged = { ICMP("100.64.0.10", WEB4, 13, 0) };
	struct side side[2 * N_PEERS] = { 0 };

	for (size_t i = 0; i < N_PEERS; i++) {
		struct side *hot = &side[i], *any = &side[N_PEERS + i];

		hot->world = any->world = world_of_identities(peers[i].n);
		hot->prog = hot->world->prog[BY_DIR_IN];
		any->prog = in_random_order(hot->prog, AT_SOURCE, 4, 0x6440000a, peers[i].n);
		frame_build(&hot->frame, &judged);
		any->frame = hot->frame;
	}
	rounds(side, 2 * N_PEERS);
	for (size_t i = 0; i < N_PEERS; i++) {
		report("verdict.identities", &peers[i], &side[i], &side[0], "Bailey, 10 identities",
		       "a packet judged by a rule, no flow; one peer of all");
		report("verdict.identities_random", &peers[i], &side[N_PEERS + i], &side[N_PEERS],
		       "Bailey, 10 identities in random order",
		       "the same of all peers in random order: what the processor's caches do not hold");
		bench_point("program", "judged by a rule, one of n peers", peers[i].n, side[i].best_ns);
		bench_point("program", "judged by a rule, n peers in random order", peers[i].n,
			    side[N_PEERS + i].best_ns);
		close(side[N_PEERS + i].prog);
		world_close(side[i].world);
	}
}

/* --- flows --- */

static void flows_open(struct world *w, uint32_t n)
{
	const struct pkt syn = { TCP(DB4, WEB4, 1, PORT, F_SYN) };
	struct frame f;
	uint64_t before = passed(w).packets;

	frame_build(&f, &syn);
	for (uint32_t port = 0; port < n; port++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data, .data_size_in = (uint32_t)f.len, .repeat = 1);

		f.data[AT_PORT] = (uint8_t)(port >> 8);
		f.data[AT_PORT + 1] = (uint8_t)port;
		bench_must(bpf_prog_test_run_opts(w->prog[BY_DIR_IN], &opts) < 0 ? -errno : 0, NULL, "SYN");
	}
	if (passed(w).packets - before != n)
		bench_must(-EIO, NULL, "not every flow was opened");
}

static void flows(void)
{
	static const struct bench_scale many[] = {
		{ "1", 1 }, { "10", 10 }, { "1k", 1000 }, { "10k", 10000 }, { "64k", 65536 }
	};
	const struct pkt data = { TCP(DB4, WEB4, 0, PORT, F_ACK), .payload = 40 };
	struct side side[sizeof(many) / sizeof(many[0])] = { 0 };
	size_t n = sizeof(many) / sizeof(many[0]);
	struct world *w = world_of_rules(1000);

	flows_open(w, 65536);
	for (size_t i = 0; i < n; i++) {
		side[i].world = w;
		side[i].prog = in_random_order(w->prog[BY_DIR_IN], AT_PORT, 2, 0, many[i].n);
		frame_build(&side[i].frame, &data);
	}
	rounds(side, n);
	for (size_t i = 0; i < n; i++) {
		char name[64];

		snprintf(name, sizeof(name), "verdict.flows_%s_vs_1", many[i].name);
		if (i)
			bench_row(name, side[i].best_ns, side[0].best_ns, "Bailey, one hot flow", "ns/packet",
				  "packets of that many tracked flows in random order");
		bench_point("program", "of n tracked flows in random order", many[i].n, side[i].best_ns);
		close(side[i].prog);
	}
	world_close(w);
}

int main(void)
{
	rules();
	identities();
	flows();
	return 0;
}
