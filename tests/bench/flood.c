// SPDX-License-Identifier: Apache-2.0
/*
 * A host under a flood of SYNs to an open port from sources that its policy
 * does not let in, and a friend's request and response (TCP_RR) through the
 * same device meanwhile. Two namespaces and a veth of one queue. Outside, on
 * CPU 0, are the friend and the flood (XDP_TX of live frames, which keeps the
 * processor busy, flood or not, and yields to the friend). The host is CPU 1: a
 * NAPI thread and RPS see to it that all that it receives is worked off there,
 * as behind a network card of one queue, and the server runs there. First the
 * flood is found that halves the rate of the host without Bailey; then four
 * times that, with Bailey and without, in turns. What is compared is the share
 * of the rate without a flood that is left. Bailey judges in native XDP, as in
 * a driver, and in generic XDP, which a veth gets by itself: there the kernel
 * has made a socket buffer of each frame before. A program that knows the
 * flood's prefix and nothing else shows what the frames cost that nobody
 * judges. Prints one JSON object a line for run.sh.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#include "../lib/bench.h"
#include "../lib/host.h"

#define NAME        "flood.tcp_rr_kept"
#define FLOOD_NET   "198.18.0.0"
#define PORT        5432
#define ROUNDS      9
#define RR_S        0.4
#define LIVE_FRAMES (1u << 1)
#define RATE_FIRST  25000.0
#define RATE_MOST   3200000.0
#define LATE_NS     100000 /* a frame later than this is not sent */
#define PATIENCE_S  2      /* an answer that takes longer is none */

/* What the generator does, and has done: the value of its map. */
static struct flood {
	volatile uint64_t each_ns; /* between two frames; 0: none is sent */
	volatile uint64_t next_ns; /* when the next one is due */
	volatile uint64_t sent;
} * flood_state;
static int flood_map;

static unsigned va;

/* Before whatever else runs on the machine; `rank` decides between ours. */
static void pin_to(pid_t pid, int number, int rank)
{
	const struct sched_param first = { .sched_priority = rank };
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(number, &cpu);
	bench_must(sched_setaffinity(pid, sizeof(cpu), &cpu) < 0 ? -errno : 0, NULL, "CPU");
	sched_setscheduler(pid, SCHED_FIFO, &first);
}

static void sh(const char *cmd)
{
	bench_must(system(cmd) == 0 ? 0 : -EIO, NULL, cmd);
}

/* A child that does not outlive this process. */
static pid_t start(void (*run)(void *arg), void *arg)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		run(arg);
	_exit(0);
}

/* --- the host's namespace --- */

static void serve(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
		;
	close(fd);
}

static void server_run(void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	(void)arg;
	pin_to(0, 1, 2);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	bench_must(bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 128) < 0 ? -errno : 0, NULL,
		   "server");
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		serve(peer);
	}
}

/* With n rules and prefixes besides, which nobody here has. */
static struct host_world *guard_up(enum dp_host_mode mode, uint32_t n)
{
	struct dp_host_options o = { .wg_port = WG_PORT, .mode = mode };
	struct host_world *w = host_world_open(&o);
	struct img *img = img_new();
	struct err e = ERR_INIT;

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + PORT, BY_PORT_TCP + PORT, CLASS_FRIEND, BY_ALLOW);
	host_world_commit_among(w, img, n);
	bench_must(dp_host_attach(w->dp, if_nametoindex("vb"), &e), &e, "attach");
	return w;
}

#define LOAD(size, dst, src, o)                                                                                        \
	{                                                                                                              \
		.code = BPF_LDX | BPF_MEM | (size), .dst_reg = (dst), .src_reg = (src), .off = (o)                     \
	}
#define STORE(size, dst, o, src)                                                                                       \
	{                                                                                                              \
		.code = BPF_STX | BPF_MEM | (size), .dst_reg = (dst), .src_reg = (src), .off = (o)                     \
	}
#define ALU(op, dst, src)                                                                                              \
	{                                                                                                              \
		.code = BPF_ALU64 | (op) | BPF_X, .dst_reg = (dst), .src_reg = (src)                                   \
	}
#define ALU_K(op, dst, k)                                                                                              \
	{                                                                                                              \
		.code = BPF_ALU64 | (op) | BPF_K, .dst_reg = (dst), .imm = (k)                                         \
	}
#define JUMP(op, a, b, to)                                                                                             \
	{                                                                                                              \
		.code = BPF_JMP | (op) | BPF_X, .dst_reg = (a), .src_reg = (b), .off = (to)                            \
	}
#define JUMP_K(op, a, k, to)                                                                                           \
	{                                                                                                              \
		.code = BPF_JMP | (op) | BPF_K, .dst_reg = (a), .imm = (k), .off = (to)                                \
	}
#define CALL(fn)                                                                                                       \
	{                                                                                                              \
		.code = BPF_JMP | BPF_CALL, .imm = (fn)                                                                \
	}
#define EXIT                                                                                                           \
	{                                                                                                              \
		.code = BPF_JMP | BPF_EXIT                                                                             \
	}

/* Drops what comes from the flood's prefix, looks at nothing else. */
static int bound_up(void)
{
	const struct bpf_insn insn[] = {
		LOAD(BPF_W, 2, 1, offsetof(struct xdp_md, data)),
		LOAD(BPF_W, 3, 1, offsetof(struct xdp_md, data_end)),
		ALU_K(BPF_MOV, 0, XDP_PASS),
		ALU(BPF_MOV, 4, 2),
		ALU_K(BPF_ADD, 4, 34),
		JUMP(BPF_JGT, 4, 3, 3),
		LOAD(BPF_H, 5, 2, 14 + 12),
		JUMP_K(BPF_JNE, 5, htons(198 << 8 | 18), 1),
		ALU_K(BPF_MOV, 0, XDP_DROP),
		EXIT,
	};
	auto_fd int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "bench_bound", "GPL", insn, ARRAY_LEN(insn), NULL);

	bench_must(fd, NULL, "bound");
	return bpf_xdp_attach((int)if_nametoindex("vb"), fd, XDP_FLAGS_DRV_MODE, NULL);
}

/* The threads that receive for vb; there may be new ones after a program came
 * or went. */
static void receivers_pin(void)
{
	FILE *f = popen("pgrep '^napi/vb-'", "r");
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		pin_to(pid, 1, 1);
	if (f)
		pclose(f);
}

/*
 * Reads 'i', one of 'n' (native), '0', '1' ... (native with the rules of that bench_scale), 'g' (generic) and 'b' (the
 * bound), and 'd' behind each; answers each with how many frames Bailey dropped meanwhile.
 */
static void host_run(void *arg)
{
	int *fd = arg;
	struct host_world *w = NULL;
	char word;

	bench_must(unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ? -errno : 0, NULL, "unshare");
	bench_must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0, NULL, "private mounts");
	bench_must(write(fd[0], "r", 1) == 1 ? 0 : -EIO, NULL, "host");
	while (read(fd[0], &word, 1) == 1) {
		struct dp_status st = { 0 };
		struct err e = ERR_INIT;
		uint64_t dropped;

		if (word == 'i') {
			sh("mount -t sysfs sysfs /sys && ip link set lo up && ip addr add "
			   "192.0.2.1/24 dev vb && "
			   "ip link set vb up && ip route add default via 192.0.2.7 && "
			   "echo 2 >/sys/class/net/vb/queues/rx-0/rps_cpus");
			bench_gro_on("vb");
			sh("echo 1 >/sys/class/net/vb/threaded");
			start(server_run, NULL);
		}
		if (word == 'n' || word == 'g')
			w = guard_up(word == 'n' ? DP_HOST_NATIVE : DP_HOST_GENERIC, 0);
		if (word >= '0' && word <= '9')
			w = guard_up(DP_HOST_NATIVE, bench_scale[word - '0'].n);
		if (word == 'b')
			bench_must(bound_up(), NULL, "bound");
		if (word == 'd' && w) {
			bench_must(dp_status_get(w->dp, &st, &e), &e, "counters");
			host_world_close(w);
			w = NULL;
		} else if (word == 'd') {
			bpf_xdp_detach((int)if_nametoindex("vb"), XDP_FLAGS_DRV_MODE, NULL);
		}
		receivers_pin();
		dropped = st.stat[BY_DIR_IN][BY_DROP_POLICY_DENY].packets;
		if (write(fd[0], &dropped, sizeof(dropped)) != sizeof(dropped))
			return;
	}
}

static uint64_t tell_host(int fd, char word)
{
	uint64_t answer;

	bench_must(write(fd, &word, 1) == 1 && read(fd, &answer, sizeof(answer)) == sizeof(answer) ? 0 : -EIO, NULL,
		   "host");
	return answer;
}

/* --- the flood --- */

static uint16_t sum(const uint8_t *at, size_t len, uint32_t start_at)
{
	uint32_t s = start_at;

	for (size_t i = 0; i + 1 < len; i += 2)
		s += (uint32_t)at[i] << 8 | at[i + 1];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

/* With the sums that a stack looks at; what the generator changes keeps them
 * right. */
static void syn_build(struct frame *f)
{
	const struct pkt syn = { TCP(FLOOD_NET, HOST4, 0, PORT, F_SYN) };
	uint8_t *ip = f->data + 14, *tcp = ip + 20;

	host_frame(f, &syn, 0);
	memcpy(f->data, (const uint8_t[]){ 2, 0, 0, 0, 0, 2 }, 6);
	put16(ip + 4, 0);
	put16(ip + 10, 0);
	put16(ip + 10, sum(ip, 20, 0));
	memset(tcp + 4, 0, 4);
	put16(tcp + 16, 0);
	put16(tcp + 16, sum(tcp, 20, sum(ip + 12, 8, IPPROTO_TCP + 20) ^ 0xffffu));
}

/*
 * A frame when one is due, and what was missed is not made up for. Each has
 * another source: address 198.18.x.y and port. What is added to one is taken
 * off other half-words of the same sum: IP identification, and the two halves
 * of the sequence number.
 */
static int generator(void)
{
	const struct bpf_insn insn[] = {
		ALU(BPF_MOV, 6, 1),
		{ .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 9, .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = flood_map },
		{ 0 },
		CALL(BPF_FUNC_ktime_get_ns),
		LOAD(BPF_DW, 1, 9, offsetof(struct flood, each_ns)),
		JUMP_K(BPF_JEQ, 1, 0, 28), /* drop */
		LOAD(BPF_DW, 2, 9, offsetof(struct flood, next_ns)),
		JUMP(BPF_JGT, 2, 0, 26), /* drop */
		ALU(BPF_ADD, 2, 1),
		ALU(BPF_MOV, 3, 0),
		ALU_K(BPF_SUB, 3, LATE_NS),
		JUMP(BPF_JGE, 2, 3, 1),
		ALU(BPF_MOV, 2, 0),
		STORE(BPF_DW, 9, offsetof(struct flood, next_ns), 2),
		LOAD(BPF_DW, 1, 9, offsetof(struct flood, sent)),
		ALU_K(BPF_ADD, 1, 1),
		STORE(BPF_DW, 9, offsetof(struct flood, sent), 1),
		LOAD(BPF_W, 7, 6, offsetof(struct xdp_md, data)),
		LOAD(BPF_W, 8, 6, offsetof(struct xdp_md, data_end)),
		ALU(BPF_MOV, 2, 7),
		ALU_K(BPF_ADD, 2, 54),
		JUMP(BPF_JGT, 2, 8, 12), /* drop */
		CALL(BPF_FUNC_get_prandom_u32),
		STORE(BPF_H, 7, 14 + 14, 0), /* source, low half */
		ALU(BPF_MOV, 1, 0),
		ALU_K(BPF_XOR, 1, -1),
		STORE(BPF_H, 7, 14 + 4, 1), /* identification */
		STORE(BPF_H, 7, 34 + 4, 1), /* sequence, high half */
		ALU_K(BPF_RSH, 0, 16),
		STORE(BPF_H, 7, 34 + 0, 0), /* port */
		ALU_K(BPF_XOR, 0, -1),
		STORE(BPF_H, 7, 34 + 6, 0), /* sequence, low half */
		ALU_K(BPF_MOV, 0, XDP_TX),
		EXIT,
		ALU_K(BPF_MOV, 0, XDP_DROP),
		EXIT,
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "bench_flood", "GPL", insn, sizeof(insn) / sizeof(insn[0]), NULL);

	bench_must(fd, NULL, "generator");
	return fd;
}

static void generator_map(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);

	flood_map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bench_flood", 4, sizeof(struct flood), 1, &opts);
	bench_must(flood_map, NULL, "generator's map");
	flood_state = mmap(NULL, sizeof(*flood_state), PROT_READ | PROT_WRITE, MAP_SHARED, flood_map, 0);
	bench_must(flood_state == MAP_FAILED ? -errno : 0, NULL, "generator's map");
}

/* Until it is killed: the end of a run of live frames takes the kernel tens of
 * milliseconds. */
static void flood_run(void *arg)
{
	struct xdp_md ctx = { .ingress_ifindex = va };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1 << 30,
		    .flags = LIVE_FRAMES, .batch_size = 32);
	struct frame f;
	int prog;

	(void)arg;
	pin_to(0, 0, 1);
	syn_build(&f);
	prog = generator();
	ctx.data_end = (uint32_t)f.len;
	opts.data_in = f.data;
	opts.data_size_in = (uint32_t)f.len;
	for (;;)
		bench_must(bpf_prog_test_run_opts(prog, &opts) < 0 ? -errno : 0, NULL, "live frames");
}

/* --- the friend --- */

/* Transactions a second; 0: not one. Connects before the flood, as a session
 * does that is there already. */
static double rr(double rate, double *achieved)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	uint64_t sent;
	double begin;
	unsigned n = 0, tries = 0;
	pid_t flood;
	char byte = 1;

	inet_pton(AF_INET, HOST4, &to.sin_addr);
	inet_pton(AF_INET, FRIEND4, &from.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	bind(fd, (struct sockaddr *)&from, sizeof(from));
	while (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		bench_must(errno == ECONNREFUSED && ++tries < 100 ? 0 : -errno, NULL, "connect");
		usleep(20000); /* the server is not there yet */
	}
	flood_state->each_ns = rate > 0 ? (uint64_t)(1e9 / rate) : 0;
	flood = start(flood_run, NULL);
	usleep(100000);
	sent = flood_state->sent;
	begin = bench_now_s();
	while (bench_now_s() - begin < RR_S && write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1)
		n++;
	begin = bench_now_s() - begin;
	if (achieved)
		*achieved = (double)(flood_state->sent - sent) / begin;
	kill(flood, SIGKILL);
	waitpid(flood, NULL, 0);
	close(fd);
	return n / begin;
}

/* What others do on this machine only ever lowers a rate, and would make a small flood look like a great one. */
static double best_rr(double rate, double *achieved)
{
	double most = 0, sent = 0, now;

	for (int i = 0; i < 3; i++) {
		now = rr(rate, &sent);
		most = now > most ? now : most;
		*achieved = sent > *achieved ? sent : *achieved;
	}
	return most;
}

/* The least flood, to a tenth, that leaves half of the rate without one; 0:
 * this machine makes none that does. */
static double halving(void)
{
	double idle, low = 0, high = RATE_FIRST, achieved = 0;

	idle = best_rr(0, &achieved);
	while (best_rr(high, &achieved) > idle / 2) {
		if (achieved < 0.8 * high || high >= RATE_MOST)
			return 0;
		low = high;
		high *= 2;
	}
	while (high - low > high / 10) {
		double middle = (low + high) / 2;

		if (best_rr(middle, &achieved) > idle / 2)
			low = middle;
		else
			high = middle;
	}
	return high;
}

static void set_up(int host_fd, pid_t host)
{
	char cmd[256], ready;

	bench_must(read(host_fd, &ready, 1) == 1 ? 0 : -EIO, NULL, "host");
	snprintf(cmd, sizeof(cmd),
		 "ip link add va numtxqueues 1 numrxqueues 1 type veth peer name vb "
		 "address 02:00:00:00:00:02 numtxqueues 1 numrxqueues 1 && ip link "
		 "set vb netns %d && ip addr add " FRIEND4 "/24 dev va && ip link set va up && ip link set lo up",
		 (int)host);
	sh(cmd);
	va = if_nametoindex("va");
	tell_host(host_fd, 'i');
	usleep(300000);
}

/* With and without the flood, in ROUNDS rounds. */
struct contender {
	char word; /* to the host; 0: nothing */
	double idle[ROUNDS], kept[ROUNDS];
	uint64_t dropped;
	double share, median; /* of what is left, of the best rounds and of the median ones */
};

static void round_of(struct contender *c, int i, int host_fd, double flood, double *achieved)
{
	if (c->word)
		tell_host(host_fd, c->word);
	c->idle[i] = rr(0, NULL);
	c->kept[i] = rr(flood, achieved);
	if (c->word)
		c->dropped += tell_host(host_fd, 'd');
}

static void evaluate(struct contender *c)
{
	c->median = bench_median(c->kept, ROUNDS) / bench_median(c->idle, ROUNDS); /* sorts: the best is the last */
	c->share = c->kept[ROUNDS - 1] / c->idle[ROUNDS - 1];
}

static void row(const char *name, const struct contender *c, const struct contender *bare, const char *how,
		double achieved)
{
	char note[512];

	if (!c->dropped)
		bench_must(-EIO, NULL, "Bailey dropped nothing of the flood");
	snprintf(note, sizeof(note),
		 "kept share of TCP_RR under %.0f SYNs a second, four times what halves it without Bailey; %s; best of "
		 "%d rounds each, medians %.2f and %.2f; idle %.0f/s with, %.0f/s without; more is better",
		 achieved, how, ROUNDS, c->median, bare->median, c->idle[ROUNDS - 1], bare->idle[ROUNDS - 1]);
	bench_row(name, c->share, bare->share > 0 ? bare->share : 1e-4, "the host without Bailey", "share", note);
}

static void row_among(const struct bench_scale *s, const struct contender *c, const struct contender *bare,
		      double achieved)
{
	char name[64], how[64];

	snprintf(name, sizeof(name), NAME "_%s", s->name);
	snprintf(how, sizeof(how), "native XDP, among %s rules and prefixes", s->name);
	row(name, c, bare, how, achieved);
	bench_point("flood", "Bailey, native XDP", s->n, c->share);
	bench_point("flood", "without", s->n, bare->share);
}

static void measure(int host_fd)
{
	enum { BARE, NATIVE, GENERIC, BOUND, AMONG, COUNT = AMONG + BENCH_HOST_SCALES };
	static struct contender c[COUNT] = {
		[NATIVE] = { .word = 'n' }, [GENERIC] = { .word = 'g' }, [BOUND] = { .word = 'b' }
	};
	double flood = halving(), achieved = 0;
	char how[96];

	if (flood <= 0) {
		puts("{\"name\":\"" NAME "\",\"skipped\":\"this machine makes no flood "
		     "that halves the unprotected host\"}");
		return;
	}
	for (int i = 0; i < BENCH_HOST_SCALES; i++)
		c[AMONG + i].word = (char)('0' + i);
	for (int i = 0; i < ROUNDS; i++)
		for (int who = 0; who < COUNT; who++)
			round_of(&c[who], i, host_fd, 4 * flood, &achieved);
	for (int who = 0; who < COUNT; who++)
		evaluate(&c[who]);
	snprintf(how, sizeof(how), "native XDP, where a program that only drops them keeps %.2f", c[BOUND].share);
	row(NAME, &c[NATIVE], &c[BARE], how, achieved);
	row(NAME "_generic", &c[GENERIC], &c[BARE], "generic XDP", achieved);
	for (int i = 0; i < BENCH_HOST_SCALES; i++)
		row_among(&bench_scale[i], &c[AMONG + i], &c[BARE], achieved);
}

int main(void)
{
	int fd[2];
	pid_t host;

	if (unshare(CLONE_NEWNET) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0)
		bench_must(-errno, NULL, "set-up");
	host = start(host_run, &fd[0]);
	close(fd[0]);
	set_up(fd[1], host);
	generator_map();
	pin_to(0, 0, 2);
	measure(fd[1]);
	kill(host, SIGKILL);
	waitpid(host, NULL, 0);
	return 0;
}
