// SPDX-License-Identifier: Apache-2.0
/*
 * The same frames into one veth, judged by us and by others. XDP_TX of BPF_F_TEST_XDP_LIVE_FRAMES sends them out of
 * `va`; `vb` receives them on the same CPU. Every contender holds 1000 rules, recognises the frame by source address
 * and UDP port, counts it and drops it. Nanoseconds a frame hold the generator's share (row veth.generator), the same
 * for all. Rounds are interleaved; the best of each is reported. Prints one JSON object a line for run.sh.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../lib/world.h"
#include "datapath/internal.h"

#define ROUNDS      6
#define FRAMES      200000
#define RULES       1000
#define LIVE_FRAMES (1u << 1)

static int gen_prog;
static unsigned va, vb;
static struct world *world;
static struct frame frame;

static int sh(const char *cmd)
{
	return system(cmd) == 0 ? 0 : -1;
}

static void must(int ret, const char *what)
{
	if (ret < 0) {
		fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

/* Without GRO, or an XDP program, a veth has no NAPI to take redirected frames and loses them. */
static void gro_on(const char *device)
{
	struct ethtool_value on = { .cmd = ETHTOOL_SGRO, .data = 1 };
	struct ifreq ifr = { .ifr_data = (char *)&on };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", device);
	must(fd, "socket");
	must(ioctl(fd, SIOCETHTOOL, &ifr), "GRO");
	close(fd);
}

static void set_up(void)
{
	const struct bpf_insn tx[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_TX },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const struct pkt p = { UDP(DB4, WEB4, 4000, 2000), .payload = 18, .ether = 0x0800 };
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	must(unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
	must(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), "bpffs");
	must(sh("ip link add va type veth peer name vb && ip link set va up && ip link set vb up"), "veth pair");
	gro_on("vb");
	va = if_nametoindex("va");
	vb = if_nametoindex("vb");
	gen_prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "gen", "GPL", tx, 2, NULL);
	must(gen_prog, "generator");
	frame_build(&frame, &p);
	memset(frame.data, 0xff, 6); /* to everybody, so that no MAC address is needed */
}

static double gen_run(unsigned n)
{
	struct xdp_md ctx = { .data_end = (uint32_t)frame.len, .ingress_ifindex = va };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data, .data_size_in = (uint32_t)frame.len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = (int)n, .flags = LIVE_FRAMES, .batch_size = 64);
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	must(bpf_prog_test_run_opts(gen_prog, &opts), "live frames");
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / n;
}

/* --- contenders: on() puts it on vb, seen() says how many frames it counted, off() takes it away --- */

static int ours_on(void)
{
	struct dp_identity db = world_node(DB, 0);
	struct img *img = img_new();
	struct err e = ERR_INIT;
	int ret;

	world = world_open(14);
	world_cast(world);
	for (uint32_t i = 0; i < RULES; i++)
		img_rule(img, BY_DIR_IN, BY_PORT_UDP + 1001 + i, BY_PORT_UDP + 1001 + i, CLASS_DB, BY_DENY);
	img_member(img, db.instance_id, CLASS_DB);
	ret = dp_policy_commit(world->dp, img_done(img), &e);
	if (!ret)
		ret = dp_attach(world->dp, vb, &e);
	img_free(img);
	return ret;
}

static uint64_t ours_seen(void)
{
	struct dp_status st;
	struct err e = ERR_INIT;

	must(dp_status_get(world->dp, &st, &e), "counters");
	return st.stat[BY_DIR_IN][BY_DROP_POLICY_DENY].packets;
}

static void ours_off(void)
{
	world_close(world);
}

static int nft_load(void (*rules)(FILE *f))
{
	FILE *f = popen("nft -f - 2>/dev/null", "w");

	if (!f)
		return -1;
	fprintf(f, "table netdev b {\n");
	rules(f);
	fprintf(f, "}\n");
	return pclose(f) == 0 ? 0 : -1;
}

static void set_rules(FILE *f)
{
	fprintf(f, "set s { type ipv4_addr . inet_service; elements = { ");
	for (int i = 0; i < RULES; i++)
		fprintf(f, "%s100.64.0.3 . %d", i ? ", " : "", 1001 + i);
	fprintf(f, " }\n}\nchain c { type filter hook ingress device \"vb\" priority 0;\n"
		   "ip saddr . udp dport @s counter drop\n}\n");
}

static void chain_rules(FILE *f)
{
	fprintf(f, "chain c { type filter hook ingress device \"vb\" priority 0;\n");
	for (int i = 0; i < RULES; i++)
		fprintf(f, "ip saddr 100.64.0.3 udp dport %d counter drop\n", 1001 + i);
	fprintf(f, "}\n");
}

static int nft_set_on(void)
{
	return nft_load(set_rules);
}

static int nft_chain_on(void)
{
	return nft_load(chain_rules);
}

static uint64_t number_from(const char *cmd)
{
	FILE *f = popen(cmd, "r");
	unsigned long long n = 0;

	if (f && fscanf(f, "%llu", &n) != 1)
		n = 0;
	if (f)
		pclose(f);
	return n;
}

static uint64_t nft_seen(void)
{
	return number_from(
		"nft list table netdev b | sed -n 's/.*counter packets \\([0-9]*\\).*/\\1/p' | sort -n | tail -1");
}

static void nft_off(void)
{
	sh("nft delete table netdev b");
}

static int filter_on(void)
{
	if (sh("xdp-filter load -m native -p allow -f ipv4 vb >/dev/null 2>&1") < 0)
		return -1;
	for (int i = 1; i < 100; i++) {
		char cmd[96];

		snprintf(cmd, sizeof(cmd), "xdp-filter ip -m src 100.64.0.%d >/dev/null 2>&1", i);
		if (sh(cmd) < 0)
			return -1;
	}
	return 0;
}

static uint64_t filter_seen(void)
{
	return number_from("xdp-filter status | sed -n 's/^ *XDP_DROP *\\([0-9]*\\) pkts.*/\\1/p'");
}

static void filter_off(void)
{
	sh("xdp-filter unload vb >/dev/null 2>&1");
}

/* A tc program that drops at once: the generator, the veth and the hook. */
static int drop_on(void)
{
	const struct bpf_insn drop[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 2 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)vb, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
	int ret;

	opts.prog_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "drop", "GPL", drop, 2, NULL);
	if (opts.prog_fd < 0)
		return -1;
	bpf_tc_hook_create(&hook);
	ret = bpf_tc_attach(&hook, &opts);
	close(opts.prog_fd);
	return ret;
}

static uint64_t drop_seen(void)
{
	return number_from("sed -n 's/^ *vb: *[0-9]* *\\([0-9]*\\).*/\\1/p' /proc/net/dev");
}

static void drop_off(void)
{
	sh("tc qdisc del dev vb clsact");
}

struct contender {
	const char *name, *label, *note;
	int (*on)(void);
	uint64_t (*seen)(void);
	void (*off)(void);
	double best_ns;
	uint64_t missed;
	bool is_out;
};

static struct contender contender[] = {
	{ NULL, "Bailey", NULL, ours_on, ours_seen, ours_off, 0, 0, false },
	{ "verdict.vs_nft_set_1k", "nftables set", "netdev ingress, 1000 elements addr . port, both count and drop",
	  nft_set_on, nft_seen, nft_off, 0, 0, false },
	{ "verdict.vs_nft_chain_1k", "nftables chain", "netdev ingress, 1000 rules, the last one matches", nft_chain_on,
	  nft_seen, nft_off, 0, 0, false },
	{ "verdict.vs_xdp_filter", "xdp-filter",
	  "native XDP, drops by address before an skb exists; no identity, no flows", filter_on, filter_seen,
	  filter_off, 0, 0, false },
	{ "verdict.vs_tc_drop", "tc drop", "an empty program that drops: generator, veth and hook", drop_on, drop_seen,
	  drop_off, 0, 0, false },
};

static void measure(struct contender *c)
{
	uint64_t before, seen;
	double ns;

	if (c->is_out || c->on() < 0) {
		c->is_out = true;
		c->off();
		return;
	}
	gen_run(FRAMES / 10);
	before = c->seen();
	ns = gen_run(FRAMES);
	usleep(20000); /* the receiver's last batch */
	seen = c->seen() - before;
	c->off();
	if (seen + FRAMES / 100 < FRAMES)
		c->missed += FRAMES - seen;
	if (c->best_ns == 0 || ns < c->best_ns)
		c->best_ns = ns;
}

static void print(const struct contender *c)
{
	if (c->is_out)
		printf("{\"name\":\"%s\",\"skipped\":\"%s can not be set up on this kernel\"}\n", c->name, c->label);
	else if (c->missed)
		printf("{\"name\":\"%s\",\"skipped\":\"%s counted %llu frames too few\"}\n", c->name, c->label,
		       (unsigned long long)c->missed);
	else
		printf("{\"name\":\"%s\",\"ours\":%.0f,\"peer\":%.0f,\"peer_name\":\"%s\",\"ratio\":%.3f,"
		       "\"unit\":\"ns/frame\",\"note\":\"%s\"}\n",
		       c->name, contender[0].best_ns, c->best_ns, c->label, contender[0].best_ns / c->best_ns, c->note);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	set_up();
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < sizeof(contender) / sizeof(contender[0]); i++)
			measure(&contender[i]);
	if (contender[0].is_out || contender[0].missed) {
		fprintf(stderr, "bench: our own program could not be measured\n");
		return 1;
	}
	for (size_t i = 1; i < sizeof(contender) / sizeof(contender[0]); i++)
		print(&contender[i]);
	return 0;
}
