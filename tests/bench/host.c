// SPDX-License-Identifier: Apache-2.0
/*
 * The host's XDP program alone, by BPF_PROG_TEST_RUN, against xdp-filter with all its features on the same packet:
 * nanoseconds a packet, best of several interleaved rounds. Prints one JSON object a line for run.sh.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/bench.h"
#include "../lib/host.h"

#define ROUNDS 12
#define REPEAT 300000
#define PEER   "xdp-filter, all features"

static const char *const peer_file[] = {
	"/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o",
	"/usr/lib/aarch64-linux-gnu/bpf/xdpfilt_alw_all.o",
	"/usr/lib/bpf/xdpfilt_alw_all.o",
};

struct side {
	int prog;
	unsigned best_ns;
};

static void run_once(struct side *s, const struct frame *f)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len, .repeat = REPEAT);

	if (bpf_prog_test_run_opts(s->prog, &opts) < 0 || opts.retval != XDP_PASS) {
		fprintf(stderr, "BPF_PROG_TEST_RUN: verdict %u\n", opts.retval);
		exit(1);
	}
	if (!s->best_ns || opts.duration < s->best_ns)
		s->best_ns = opts.duration;
}

/* Ours and the peer's, for a curve. */
static struct best {
	unsigned ours, peer;
} compare(const char *name, int ours, int peer, const char *peer_name, const struct pkt *p, const char *note)
{
	struct side a = { .prog = ours }, b = { .prog = peer };
	struct frame f;

	host_frame(&f, p, 0);
	for (int i = 0; i < ROUNDS; i++) {
		run_once(&a, &f);
		run_once(&b, &f);
	}
	printf("{\"name\":\"%s\",\"ours\":%u,\"peer\":%u,\"peer_name\":\"%s\",\"ratio\":%.3f,\"unit\":\"ns/packet\","
	       "\"note\":\"%s\"}\n",
	       name, a.best_ns, b.best_ns, peer_name, (double)a.best_ns / b.best_ns, note);
	return (struct best){ a.best_ns, b.best_ns };
}

/* Its program lets pass what no list of its names: it looks the packet up in all of them. n addresses: not the
 * packet's. */
static struct bpf_object *xdp_filter(const char *bpffs, uint32_t n)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = bpffs);
	static const char value[1024] = { 1 }; /* of every CPU */
	struct bpf_object *obj = NULL;
	struct bpf_map *map;

	libbpf_set_print(NULL);
	for (size_t i = 0; i < sizeof(peer_file) / sizeof(peer_file[0]) && !obj; i++)
		obj = bpf_object__open_file(peer_file[i], &opts);
	if (!obj)
		return NULL;
	bpf_object__for_each_map(map, obj) bpf_map__set_pin_path(map, NULL);
	bpf_program__set_type(bpf_object__next_program(obj, NULL), BPF_PROG_TYPE_XDP);
	if (bpf_object__load(obj) < 0) {
		bpf_object__close(obj);
		return NULL;
	}
	map = bpf_object__find_map_by_name(obj, "filter_ipv4");
	for (uint32_t i = 0; i < n; i++) {
		uint32_t addr_be = htonl(0x0a000000 + i);

		bench_must(bpf_map_update_elem(bpf_map__fd(map), &addr_be, value, BPF_ANY), NULL, "xdp-filter's map");
	}
	return obj;
}

static int program_of(const struct bpf_object *obj)
{
	return bpf_program__fd(bpf_object__next_program(obj, NULL));
}

/* A program that lets everything pass: what the hook itself costs. */
static int empty(void)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", pass, 2, NULL);
}

static struct host_world *world(uint32_t n)
{
	struct dp_host_options o = { .wg_port = WG_PORT };
	struct host_world *w = host_world_open(&o);
	struct img *img = img_new();

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_FRIEND, BY_ALLOW);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 13, BY_PORT_ICMP + 13, CLASS_FRIEND, BY_ALLOW);
	host_world_commit_among(w, img, n);
	return w;
}

static const struct pkt syn = { TCP(FRIEND4, HOST4, 40000, 22, F_SYN) };
static const struct pkt flow4 = { TCP(FRIEND4, HOST4, 40000, 22, F_ACK), .payload = 40 };
static const struct pkt judged = { ICMP(FRIEND4, HOST4, 13, 0), .payload = 40 };

/* The same where the host has as many rules, and prefixes, as xdp-filter has addresses. */
static void among(const struct bench_scale *s)
{
	struct host_world *w = world(s->n);
	struct bpf_object *filter = xdp_filter(w->bpffs, s->n);
	char name[64];
	struct best ns;

	if (!filter) {
		fprintf(stderr, "bench: xdp-filter does not hold %u addresses\n", s->n);
		exit(1);
	}
	host_send(w, HOOK_XDP, &syn);
	snprintf(name, sizeof(name), "verdict.full_%s_vs_xdp_filter", s->name);
	ns = compare(name, w->prog[HOOK_XDP], program_of(filter), PEER, &flow4,
		     "a packet of a tracked flow, among as many rules and prefixes as xdp-filter has addresses");
	bench_point("host", "Bailey, of a tracked flow", s->n, ns.ours);
	bench_point("host", PEER, s->n, ns.peer);
	snprintf(name, sizeof(name), "verdict.judged_%s_vs_xdp_filter", s->name);
	ns = compare(name, w->prog[HOOK_XDP], program_of(filter), PEER, &judged, "the same, a packet of no flow");
	bench_point("host", "Bailey, judged by a rule", s->n, ns.ours);
	bpf_object__close(filter);
	host_world_close(w);
}

int main(void)
{
	const struct pkt syn6 = { TCP(FRIEND6, HOST6, 40000, 22, F_SYN) };
	const struct pkt flow6 = { TCP(FRIEND6, HOST6, 40000, 22, F_ACK), .payload = 40 };
	struct host_world *w = world(0);
	struct bpf_object *filter;
	int none = empty();

	setvbuf(stdout, NULL, _IOLBF, 0);
	host_send(w, HOOK_XDP, &syn);
	host_send(w, HOOK_XDP, &syn6);
	filter = xdp_filter(w->bpffs, 0);
	compare("host.flow_vs_empty", w->prog[HOOK_XDP], none, "empty XDP program", &flow4,
		"a packet of a tracked flow");
	compare("host.judged_vs_empty", w->prog[HOOK_XDP], none, "empty XDP program", &judged,
		"a packet judged by a rule, no flow");
	if (!filter) {
		puts("{\"name\":\"verdict.full_vs_xdp_filter\",\"skipped\":\"xdp-filter's programs are not installed "
		     "or do not load (apt install xdp-tools)\"}");
		host_world_close(w);
		return 0;
	}
	compare("verdict.full_vs_xdp_filter", w->prog[HOOK_XDP], program_of(filter), PEER, &flow4,
		"IPv4 TCP packet of a tracked flow: parse, flow, its verdict under the live policy, counter");
	compare("verdict.full6_vs_xdp_filter", w->prog[HOOK_XDP], program_of(filter), PEER, &flow6,
		"the same over IPv6");
	compare("verdict.judged_vs_xdp_filter", w->prog[HOOK_XDP], program_of(filter), PEER, &judged,
		"a packet of no flow: parse, longest prefix, port class, verdict, counters");
	bpf_object__close(filter);
	host_world_close(w);
	for (size_t i = 0; i < BENCH_HOST_SCALES; i++)
		among(&bench_scale[i]);
	return 0;
}
