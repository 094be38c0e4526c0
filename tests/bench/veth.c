// SPDX-License-Identifier: Apache-2.0
/*
 * The same frames into one veth, judged by us and by others. XDP_TX of BPF_F_TEST_XDP_LIVE_FRAMES sends them out of
 * `va`; `vb` receives them on the same CPU. Every contender holds 10 to 100,000 rules or addresses, recognises the
 * frame by source address and UDP port, counts it and drops it. Nanoseconds a frame hold the generator's share (row
 * verdict.vs_tc_drop), the same for all. Rounds are interleaved; the best of each is reported. Prints one JSON object a
 * line for run.sh.
 */
#include <arpa/inet.h>
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
#include <unistd.h>

#include "../lib/bench.h"
#include "../lib/world.h"
#include "datapath/internal.h"

#define ROUNDS      4
#define FRAMES      200000
#define PORTS       1000 /* rules of one address; the frame's port is the last one */
#define LAST_PORT   2000
#define LIVE_FRAMES (1u << 1)

static int gen_prog;
static unsigned va, vb;
static struct world *world;
static struct frame frame;
static uint32_t n_rules;

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
	bench_gro_on("vb");
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
	const struct sched_param first = { .sched_priority = 1 }, usual = { 0 };
	double begin, end;

	sched_setscheduler(0, SCHED_FIFO, &first); /* before whatever else runs on the machine */
	begin = bench_now_s();
	must(bpf_prog_test_run_opts(gen_prog, &opts), "live frames");
	end = bench_now_s();
	sched_setscheduler(0, SCHED_OTHER, &usual);
	return (end - begin) * 1e9 / n;
}

/* --- contenders: on() puts it on vb, seen() says how many frames it counted, off() takes it away --- */

static uint32_t ports(void)
{
	return n_rules < PORTS ? n_rules : PORTS;
}

static uint32_t port_of(uint32_t rule)
{
	return LAST_PORT + 1 - ports() + rule % ports();
}

/* The last rule is the one that fits. */
static const char *addr_of(uint32_t rule)
{
	static char text[16];
	uint32_t other = rule / ports();

	snprintf(text, sizeof(text), rule + ports() < n_rules ? "100.65.%u.%u" : DB4, other >> 8, other & 255);
	return text;
}

/* Peer classes stand for addresses. */
static int ours_on(void)
{
	struct dp_identity db = world_node(DB, 0);
	struct img *img = img_new();
	struct err e = ERR_INIT;
	int ret;

	world = world_open(14);
	world_cast(world);
	for (uint32_t i = 0; i < n_rules; i++)
		img_rule(img, BY_DIR_IN, BY_PORT_UDP + port_of(i), BY_PORT_UDP + port_of(i), i / ports() + 1, BY_DENY);
	img_member(img, db.instance_id, (n_rules - 1) / ports() + 1);
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
	for (uint32_t i = 0; i < n_rules; i++)
		fprintf(f, "%s%s . %u", i ? ", " : "", addr_of(i), port_of(i));
	fprintf(f, " }\n}\nchain c { type filter hook ingress device \"vb\" priority 0;\n"
		   "ip saddr . udp dport @s counter drop\n}\n");
}

static void chain_rules(FILE *f)
{
	fprintf(f, "chain c { type filter hook ingress device \"vb\" priority 0;\n");
	for (uint32_t i = 0; i < n_rules; i++)
		fprintf(f, "ip saddr %s udp dport %u counter drop\n", addr_of(i), port_of(i));
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
		"nft list chain netdev b c | sed -n 's/.*counter packets \\([0-9]*\\).*/\\1/p' | sort -n | tail -1");
}

static void nft_off(void)
{
	sh("nft delete table netdev b");
}

/* Its command takes one address a run, so the others go into its pinned map as it wrote the first. */
static int filter_on(void)
{
	int fd, ret = sh("xdp-filter load -m native -p allow -f ipv4 vb >/dev/null 2>&1 && "
			 "xdp-filter ip -m src " DB4 " >/dev/null 2>&1");
	char value[1024];
	uint32_t key;

	if (ret < 0)
		return -1;
	inet_pton(AF_INET, DB4, &key);
	fd = bpf_obj_get("/sys/fs/bpf/xdp-filter/filter_ipv4");
	ret = fd < 0 ? -1 : bpf_map_lookup_elem(fd, &key, value);
	for (uint32_t i = 1; i < n_rules && !ret; i++) {
		key = htonl(0x64410000u + i);
		ret = bpf_map_update_elem(fd, &key, value, BPF_ANY);
	}
	if (fd >= 0)
		close(fd);
	return ret;
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
	uint32_t most; /* rules that it can hold, or that are worth the wait */
	bool is_linear;
	double best_ns;
	uint64_t missed;
	bool is_out;
};

static const struct contender contenders[] = {
	{ NULL, "Bailey", NULL, ours_on, ours_seen, ours_off, 100000, false, 0, 0, false },
	{ "nft_set", "nftables set", "netdev ingress, a set of elements addr . port, both count and drop", nft_set_on,
	  nft_seen, nft_off, 100000, false, 0, 0, false },
	{ "nft_chain", "nftables chain", "netdev ingress, as many rules, the last one matches", nft_chain_on, nft_seen,
	  nft_off, 10000, true, 0, 0, false },
	{ "xdp_filter", "xdp-filter",
	  "native XDP, as many addresses, drops before an skb exists; no identity, no flows", filter_on, filter_seen,
	  filter_off, 10000, false, 0, 0, false },
	{ "tc_drop", "tc drop", "an empty program that drops: generator, veth and hook", drop_on, drop_seen, drop_off,
	  100000, false, 0, 0, false },
};
#define N_CONTENDERS (sizeof(contenders) / sizeof(contenders[0]))

static unsigned frames_for(const struct contender *c)
{
	return c->is_linear && n_rules > 100 ? 20000000 / n_rules : FRAMES;
}

static void measure(struct contender *c)
{
	unsigned frames = frames_for(c);
	uint64_t before, seen;
	double ns;

	if (n_rules > c->most || c->is_out)
		return;
	if (c->on() < 0) {
		c->is_out = true;
		c->off();
		return;
	}
	gen_run(frames / 10);
	before = c->seen();
	ns = gen_run(frames);
	usleep(20000); /* the receiver's last batch */
	seen = c->seen() - before;
	c->off();
	if (seen + frames / 100 < frames)
		c->missed += frames - seen;
	if (c->best_ns == 0 || ns < c->best_ns)
		c->best_ns = ns;
}

static void print(const struct contender *c, const struct contender *ours, const char *scale)
{
	char name[64];

	snprintf(name, sizeof(name), "verdict.vs_%s_%s", c->name, scale);
	if (c->is_out)
		printf("{\"name\":\"%s\",\"skipped\":\"%s can not be set up on this kernel\"}\n", name, c->label);
	else if (c->missed)
		printf("{\"name\":\"%s\",\"skipped\":\"%s counted %llu frames too few\"}\n", name, c->label,
		       (unsigned long long)c->missed);
	else if (c->best_ns > 0)
		bench_row(name, ours->best_ns, c->best_ns, c->label, "ns/frame", c->note);
}

static int compare(const struct bench_scale *scale)
{
	struct contender c[N_CONTENDERS];

	memcpy(c, contenders, sizeof(c));
	n_rules = scale->n;
	for (int round = 0; round < (n_rules < 100000 ? ROUNDS : 2); round++) /* loading takes seconds */
		for (size_t i = 0; i < N_CONTENDERS; i++)
			measure(&c[i]);
	if (c[0].is_out || c[0].missed) {
		fprintf(stderr, "bench: our own program could not be measured with %s rules\n", scale->name);
		return 1;
	}
	for (size_t i = 0; i < N_CONTENDERS; i++) {
		if (i)
			print(&c[i], &c[0], scale->name);
		if (!c[i].is_out && !c[i].missed)
			bench_point("frames", c[i].label, scale->n, c[i].best_ns);
	}
	return 0;
}

int main(void)
{
	int ret = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	set_up();
	for (size_t i = 0; i < BENCH_SCALES && !ret; i++)
		ret = compare(&bench_scale[i]);
	return ret;
}
