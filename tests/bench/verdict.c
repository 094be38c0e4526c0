// SPDX-License-Identifier: Apache-2.0
/*
 * The program alone, by BPF_PROG_TEST_RUN: nanoseconds a packet, best of several interleaved rounds (what disturbs a
 * run only ever adds). One packet is repeated, so caches are warm. Prints one JSON object a line for run.sh.
 */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/world.h"

#define ROUNDS 12
#define REPEAT 300000

struct side {
	int prog;
	struct frame frame;
	unsigned best_ns;
};

static void run_once(struct side *s)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = s->frame.data, .data_size_in = (uint32_t)s->frame.len,
		    .repeat = REPEAT);

	if (bpf_prog_test_run_opts(s->prog, &opts) < 0) {
		perror("BPF_PROG_TEST_RUN");
		exit(1);
	}
	if (!s->best_ns || opts.duration < s->best_ns)
		s->best_ns = opts.duration;
}

static void compare(const char *name, struct side ours, struct side peer, const char *peer_name, const char *note)
{
	for (int i = 0; i < ROUNDS; i++) {
		run_once(&ours);
		run_once(&peer);
	}
	printf("{\"name\":\"%s\",\"ours\":%u,\"peer\":%u,\"peer_name\":\"%s\",\"ratio\":%.3f,\"unit\":\"ns/packet\","
	       "\"note\":\"%s\"}\n",
	       name, ours.best_ns, peer.best_ns, peer_name, (double)ours.best_ns / peer.best_ns, note);
}

/* Ten rules, one of them for a packet that is judged by itself. */
static struct world *world_of_rules(void)
{
	struct world *w = world_open(0);
	struct img *img = img_new();

	world_cast(w);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 13, BY_PORT_ICMP + 13, CLASS_DB, BY_ALLOW);
	for (uint32_t port = 1001; port < 1010; port++)
		img_rule(img, BY_DIR_IN, BY_PORT_TCP + port, BY_PORT_TCP + port, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	return w;
}

static struct side side_of(struct world *w, const struct pkt *p)
{
	struct side s = { .prog = w->prog[BY_DIR_IN] };

	frame_build(&s.frame, p);
	return s;
}

/* A program that lets everything pass: what the hook itself costs. */
static struct side empty_side(const struct pkt *p)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct side s = { .prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", pass, 2, NULL) };

	if (s.prog < 0) {
		perror("empty program");
		exit(1);
	}
	frame_build(&s.frame, p);
	return s;
}

int main(void)
{
	const struct pkt judged = { ICMP(DB4, WEB4, 13, 0) }, flow = { TCP(DB4, WEB4, 40000, 1001, F_ACK) };
	struct world *few;

	setvbuf(stdout, NULL, _IOLBF, 0);
	few = world_of_rules();
	send_in(few, TCP(DB4, WEB4, 40000, 1001, F_SYN));
	compare("verdict.vs_empty", side_of(few, &judged), empty_side(&judged), "empty tc program",
		"a packet judged by a rule, no flow");
	compare("flow.vs_empty", side_of(few, &flow), empty_side(&flow), "empty tc program",
		"a packet of a tracked flow");
	world_close(few);
	return 0;
}
