// SPDX-License-Identifier: Apache-2.0
/* The host's programs on a device: a veth pair in a network namespace of the test's own, real frames both ways. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "../lib/host.h"
#include "base/cleanup.h"

#define DEVICE "bynic0"
#define CABLE  "bynic1" /* the other end */

static struct host_world *w;
static unsigned ifindex;

static int fresh(void **state)
{
	struct dp_host_options o = { 0 };

	(void)state;
	if (unshare(CLONE_NEWNET) || system("ip link add " DEVICE " type veth peer name " CABLE
					    " && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && ip link set " DEVICE
					    " up && ip link set " CABLE " up"))
		return -1;
	ifindex = if_nametoindex(DEVICE);
	w = host_world_open(&o);
	host_world_policy(w);
	return 0;
}

static int gone(void **state)
{
	(void)state;
	host_world_close(w);
	return 0;
}

/* As a daemon that is started again with another mode. */
static void reopen(enum dp_host_mode mode)
{
	struct err e = ERR_INIT;

	w->options.mode = mode;
	dp_close(w->dp);
	assert_int_equal(dp_host_open(w->bpffs, "test", &w->options, &w->dp, &e), 0);
}

static uint64_t counted(enum by_dir dir, enum by_drop reason)
{
	struct dp_status st;
	struct err e = ERR_INIT;

	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	return st.stat[dir][reason].packets;
}

/* The stack wants the sum that the programs do not look at. */
static void sum_ip4(struct frame *f)
{
	uint8_t *ip = f->data + 14;
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
}

static void put(const char *device, const struct pkt *p)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device), .sll_halen = 6 };
	auto_fd int fd = socket(AF_PACKET, SOCK_RAW, 0);
	struct frame f;

	host_frame(&f, p, 0);
	sum_ip4(&f);
	assert_true(fd >= 0);
	if (sendto(fd, f.data, f.len, 0, (void *)&to, sizeof(to)) < 0)
		assert_int_equal(errno, ENOBUFS); /* dropped on its way out */
}

/* One that passes and one that does not, each way, each counted once. */
static void frames_are_judged(void)
{
	uint64_t before[BY_DIR_COUNT][2];

	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		before[dir][0] = counted(dir, BY_DROP_NONE);
		before[dir][1] = counted(dir, BY_DROP_POLICY_DENY);
	}
	put(CABLE, &(struct pkt){ UDP(FRIEND4, HOST4, 1, 22) });
	put(CABLE, &(struct pkt){ UDP(FRIEND4, HOST4, 1, 23) });
	put(DEVICE, &(struct pkt){ UDP(HOST4, FRIEND4, 1, 53) });
	put(DEVICE, &(struct pkt){ UDP(HOST4, FRIEND4, 1, 54) });
	for (int i = 0; i < 50 && counted(BY_DIR_IN, BY_DROP_POLICY_DENY) == before[BY_DIR_IN][1]; i++)
		usleep(10000);
	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		assert_int_equal(counted(dir, BY_DROP_NONE), before[dir][0] + 1);
		assert_int_equal(counted(dir, BY_DROP_POLICY_DENY), before[dir][1] + 1);
	}
}

static void attached_as(const char *want)
{
	struct dp_host_status st;
	struct err e = ERR_INIT;

	if (dp_host_attach(w->dp, ifindex, &e) < 0)
		fail_msg("%s: %s", e.where, e.msg);
	dp_host_status(w->dp, &st);
	assert_string_equal(st.attach, want);
	assert_string_equal(dp_attach_mode(w->dp), want);
	frames_are_judged();
}

/* What tc is called on this kernel. */
static const char *tc_name(void)
{
	struct dp_host_status st;
	struct err e = ERR_INIT;

	reopen(DP_HOST_TC);
	assert_int_equal(dp_host_attach(w->dp, ifindex, &e), 0);
	dp_host_status(w->dp, &st);
	assert_true(strcmp(st.attach, "tcx") == 0 || strcmp(st.attach, "clsact") == 0);
	return strcmp(st.attach, "tcx") == 0 ? "tcx" : "clsact";
}

/* What auto takes on a veth. */
static const char *best(void)
{
	return dp_dispatcher_is_possible() ? "dispatcher-generic" : "xdp-generic";
}

static void every_mode_after_every_other(void **state)
{
	const char *const name[] = { [DP_HOST_AUTO] = best(),
				     [DP_HOST_NATIVE] = "xdp-native",
				     [DP_HOST_GENERIC] = "xdp-generic",
				     [DP_HOST_TC] = tc_name(),
				     [DP_HOST_DISPATCHER] = "dispatcher-generic" };
	int last = dp_dispatcher_is_possible() ? DP_HOST_DISPATCHER : DP_HOST_TC;

	(void)state;
	for (int from = DP_HOST_AUTO; from <= last; from++)
		for (int to = DP_HOST_AUTO; to <= last; to++) {
			reopen((enum dp_host_mode)from);
			attached_as(name[from]);
			attached_as(name[from]); /* again changes nothing */
			reopen((enum dp_host_mode)to);
			frames_are_judged(); /* the former daemon's programs decide until then */
			attached_as(name[to]);
		}
}

/* As if this build had another layout: what is pinned is of a version that it does not read. */
static void another_version_is_superseded(void **state)
{
	static const enum dp_host_mode modes[] = { DP_HOST_AUTO, DP_HOST_NATIVE, DP_HOST_GENERIC, DP_HOST_TC };
	const char *const name[] = { best(), "xdp-native", "xdp-generic", tc_name() };
	char own[128], other[128];
	struct err e = ERR_INIT;
	uint64_t before;

	(void)state;
	snprintf(own, sizeof(own), "%s/bailey/test/v%d", w->bpffs, BY_ABI_VERSION);
	snprintf(other, sizeof(other), "%s/bailey/test/v%d", w->bpffs, BY_ABI_VERSION - 1);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		reopen(modes[i]);
		attached_as(name[i]);
		assert_int_equal(rename(own, other), 0);
		assert_int_equal(dp_flows_check(w->bpffs, "test", &e), -EBUSY); /* the host's, too */
		assert_non_null(strstr(e.where, "/host/by_ct"));
		e = ERR_INIT;
		assert_int_equal(dp_flows_forget(w->bpffs, "test", &e), 0);
		assert_int_equal(dp_flows_check(w->bpffs, "test", &e), 0);
		reopen(modes[i]);
		host_world_policy(w);
		before = counted(BY_DIR_IN, BY_DROP_POLICY_DENY);
		put(CABLE, &(struct pkt){ UDP(FRIEND4, HOST4, 1, 23) });
		assert_int_equal(counted(BY_DIR_IN, BY_DROP_POLICY_DENY), before);
		assert_int_equal(access(other, F_OK), 0); /* it judges until the device is ours */
		attached_as(name[i]);
		assert_int_equal(access(other, F_OK), -1);
	}
}

static void says_why_not_better(void **state)
{
	bool has_dispatcher = dp_dispatcher_is_possible();
	struct dp_host_status st;
	struct err e = ERR_INIT;

	(void)state;
	reopen(DP_HOST_AUTO);
	attached_as(best());
	dp_host_status(w->dp, &st);
	assert_true(has_dispatcher == !strstr(st.not_better, "the kernel has no freplace"));
	assert_true(has_dispatcher == !strstr(st.not_better, "xdp-native: on a veth"));
	reopen(DP_HOST_DISPATCHER);
	if (!has_dispatcher) {
		assert_int_equal(dp_host_attach(w->dp, ifindex, &e), -EOPNOTSUPP);
		assert_string_equal(e.msg, "dispatcher: the kernel has no freplace");
	}
	tc_name();
	dp_host_status(w->dp, &st);
	assert_string_not_equal(st.no_cookies, "");
}

/* A program that lets everything pass. */
static int other_prog(void)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 2 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "other", "GPL", pass, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

static uint32_t on_device(void)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id((int)ifindex, 0, &id), 0);
	return id;
}

static void anothers_program_stays(void **state)
{
	auto_fd int fd = other_prog();
	const char *tc = tc_name();
	struct dp_host_status st;
	struct err e = ERR_INIT;
	uint32_t theirs;
	char text[16];

	(void)state;
	assert_int_equal(bpf_xdp_attach((int)ifindex, fd, XDP_FLAGS_SKB_MODE, NULL), 0);
	theirs = on_device();
	snprintf(text, sizeof(text), "program %u ", theirs);
	for (int mode = DP_HOST_NATIVE; mode <= DP_HOST_GENERIC; mode++) {
		reopen((enum dp_host_mode)mode);
		e = ERR_INIT;
		assert_int_equal(dp_host_attach(w->dp, ifindex, &e), -EOPNOTSUPP);
		assert_non_null(strstr(e.msg, text));
	}
	reopen(DP_HOST_AUTO);
	attached_as(tc);
	dp_host_status(w->dp, &st);
	assert_non_null(strstr(st.not_better, text));
	assert_int_equal(on_device(), theirs);
	/* it goes: ours may take the place */
	assert_int_equal(bpf_xdp_detach((int)ifindex, XDP_FLAGS_SKB_MODE, NULL), 0);
	attached_as(best());
}

static void needs_dispatcher(void)
{
	if (dp_dispatcher_is_possible())
		return;
	print_message("skipped: the kernel has no freplace\n");
	skip();
}

/* libxdp's own program that lets everything pass, beside ours. */
static uint32_t put_beside(unsigned prio)
{
	DECLARE_LIBXDP_OPTS(xdp_program_opts, o, .find_filename = "xdp-dispatcher.o", .prog_name = "xdp_pass");
	struct xdp_program *p = xdp_program__create(&o);
	uint32_t id;

	assert_int_equal(libxdp_get_error(p), 0);
	assert_int_equal(xdp_program__set_run_prio(p, prio), 0);
	assert_int_equal(xdp_program__attach(p, (int)ifindex, XDP_MODE_SKB, 0), 0);
	id = xdp_program__id(p);
	xdp_program__close(p);
	return id;
}

/* The names in the dispatcher, in their order. */
static void in_dispatcher(const char *want)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex((int)ifindex);
	struct xdp_program *p = NULL;
	char names[256] = "";

	assert_int_equal(libxdp_get_error(mp), 0);
	assert_false(xdp_multiprog__is_legacy(mp));
	while ((p = xdp_multiprog__next_prog(p, mp))) {
		strcat(names, xdp_program__name(p));
		strcat(names, " ");
	}
	assert_string_equal(names, want);
	xdp_multiprog__close(mp);
}

static void lives_beside_others(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	needs_dispatcher();
	reopen(DP_HOST_DISPATCHER);
	put_beside(10); /* before ours is there */
	attached_as("dispatcher-generic");
	in_dispatcher("xdp_pass by_xdp_in ");
	put_beside(90);
	in_dispatcher("xdp_pass by_xdp_in xdp_pass ");
	frames_are_judged();
	reopen(DP_HOST_AUTO); /* an upgrade */
	attached_as("dispatcher-generic");
	in_dispatcher("xdp_pass by_xdp_in xdp_pass ");
	/* nobody else's is touched for a place alone, nor when ours goes */
	reopen(DP_HOST_GENERIC);
	assert_int_equal(dp_host_attach(w->dp, ifindex, &e), -EOPNOTSUPP);
	in_dispatcher("xdp_pass xdp_pass ");
	reopen(DP_HOST_AUTO);
	attached_as("dispatcher-generic");
	e = ERR_INIT;
	assert_int_equal(dp_host_destroy(w->bpffs, "test", 0, &e), 0); /* the device is not told */
	in_dispatcher("xdp_pass xdp_pass ");
}

/* Two instances on one device: each counts what comes to it, and the end of one is none of the other's. */
static void two_instances(void **state)
{
	struct dp_host_options o = { .mode = DP_HOST_DISPATCHER };
	struct host_world *first = w, *second = host_world_open(&o);
	struct err e = ERR_INIT;

	(void)state;
	if (!dp_dispatcher_is_possible())
		host_world_close(second);
	needs_dispatcher();
	host_world_policy(second);
	reopen(DP_HOST_DISPATCHER);
	attached_as("dispatcher-generic");
	assert_int_equal(dp_host_attach(second->dp, ifindex, &e), 0);
	in_dispatcher("by_xdp_in by_xdp_in ");
	put(CABLE, &(struct pkt){ UDP(FRIEND4, HOST4, 1, 22) }); /* both let it pass */
	for (w = first; w; w = w == first ? second : NULL) {
		for (int i = 0; i < 50 && counted(BY_DIR_IN, BY_DROP_NONE) < 1u + (w == first); i++)
			usleep(10000);
		assert_int_equal(counted(BY_DIR_IN, BY_DROP_NONE), 1u + (w == first));
	}
	w = first;
	host_world_close(second);
	in_dispatcher("by_xdp_in ");
	frames_are_judged();
}

/* Whoever keeps libxdp's lock keeps ours out and says so, but is not waited for without end. */
static void waits_for_nobody_for_ever(void **state)
{
	struct err e = ERR_INIT;
	auto_fd int fd = -1;

	(void)state;
	needs_dispatcher();
	reopen(DP_HOST_DISPATCHER);
	attached_as("dispatcher-generic"); /* what libxdp locks is there from now on */
	fd = open("/sys/fs/bpf/xdp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
	assert_int_equal(dp_host_attach(w->dp, ifindex, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.msg, "somebody else holds libxdp's lock"));
	assert_int_equal(flock(fd, LOCK_UN), 0);
	in_dispatcher("by_xdp_in "); /* what was there before */
	attached_as("dispatcher-generic");
}

/* A UDP socket of the host's at `port`, which counts what comes through. */
static int receiver(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (void *)&a, sizeof(a)), 0);
	return fd;
}

static unsigned received(int fd)
{
	char c[2048];
	unsigned n = 0;

	while (recv(fd, c, sizeof(c), 0) >= 0)
		n++;
	return n;
}

static pid_t sender_start(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	for (int i = 0; i < 200000; i++) {
		put(CABLE, &(struct pkt){ UDP(FRIEND4, HOST4, 1, 23) });
		if (i % 16 == 0)
			put(CABLE, &(struct pkt){ UDP(FRIEND4, HOST4, 1, 22) });
	}
	_exit(0);
}

/*
 * Each change makes the kernel patch itself, and QEMU without KVM does not survive that while another of its processors
 * runs that code (Oops: int3): there, traffic and changes share one.
 */
static void one_processor_if_emulated(void)
{
	cpu_set_t first;

	if (system("grep -q 'QEMU TCG' /proc/cpuinfo") != 0)
		return;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	assert_int_equal(sched_setaffinity(0, sizeof(first), &first), 0);
}

/* Upgrades and changes of the way under traffic: what is forbidden never gets through. */
static void no_moment_without(void **state)
{
	static const enum dp_host_mode modes[] = { DP_HOST_AUTO, DP_HOST_AUTO, DP_HOST_GENERIC, DP_HOST_TC };
	int allowed, denied, status;
	unsigned n_allowed = 0;
	struct err e = ERR_INIT;
	pid_t pid;

	(void)state;
	assert_int_equal(
		system("ip link set " DEVICE " address 02:00:00:00:00:01 && ip addr add " HOST4 "/24 dev " DEVICE), 0);
	allowed = receiver(22);
	denied = receiver(23);
	one_processor_if_emulated();
	reopen(DP_HOST_AUTO);
	assert_int_equal(dp_host_attach(w->dp, ifindex, &e), 0);
	pid = sender_start();
	for (int i = 0; i < 12; i++) {
		reopen(modes[i % 4]);
		assert_int_equal(dp_host_attach(w->dp, ifindex, &e), 0);
		n_allowed += received(allowed);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(n_allowed > 0);
	print_message("%u of the allowed came through, %lu of the denied were dropped\n", n_allowed,
		      (unsigned long)counted(BY_DIR_IN, BY_DROP_POLICY_DENY));
	assert_int_equal(received(denied), 0);
	close(allowed);
	close(denied);
}

static void destroy_leaves_nothing(void **state)
{
	static const enum dp_host_mode modes[] = { DP_HOST_NATIVE, DP_HOST_GENERIC, DP_HOST_TC, DP_HOST_AUTO };
	struct err e = ERR_INIT;
	uint64_t before;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		reopen(modes[i]);
		assert_int_equal(dp_host_attach(w->dp, ifindex, &e), 0);
		assert_int_equal(dp_host_destroy(w->bpffs, "test", ifindex, &e), 0);
		assert_int_equal(on_device(), 0);
		before = counted(BY_DIR_OUT, BY_DROP_POLICY_DENY);
		put(DEVICE, &(struct pkt){ UDP(HOST4, FRIEND4, 1, 54) });
		assert_int_equal(counted(BY_DIR_OUT, BY_DROP_POLICY_DENY), before);
	}
	assert_int_equal(dp_host_destroy(w->bpffs, "test", ifindex, &e), 0); /* nothing there is fine */
}

static void no_such_device(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(dp_host_attach(w->dp, 9999, &e), -ENODEV);
	assert_string_equal(dp_attach_mode(w->dp), "none");
}

static int lowly(enum dp_host_mode mode)
{
	struct dp_host_options o = { .mode = mode };
	struct err e = ERR_INIT;
	struct dp *dp;
	int step = 1;

	if (dp_host_open(w->bpffs, "lowly", &o, &dp, &e) == 0 && ++step && dp_host_attach(dp, ifindex, &e) == 0 &&
	    ++step && dp_host_attach(dp, ifindex, &e) == 0 && ++step) {
		dp_close(dp);
		step = dp_destroy(w->bpffs, "lowly", 0, &e) == 0 ? 0 : step;
	}
	if (step)
		fprintf(stderr, "step %d: %s: %s\n", step, e.where, e.msg);
	return step;
}

static int lowly_process(enum dp_host_mode mode, bool has_helper)
{
	int status, fds[2];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (has_helper && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0) {
			if (fork() == 0) {
				close(fds[0]);
				dp_dispatcher_serve(fds[1]);
				_exit(0);
			}
			close(fds[1]);
			dp_dispatcher_helper(fds[0]);
		}
		capng_clear(CAPNG_SELECT_BOTH);
		capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_BPF, CAP_NET_ADMIN,
			      CAP_PERFMON, -1);
		_exit(capng_apply(CAPNG_SELECT_BOTH) ? 99 : lowly(mode));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void three_capabilities_are_enough(void **state)
{
	static const enum dp_host_mode modes[] = { DP_HOST_NATIVE, DP_HOST_GENERIC, DP_HOST_TC, DP_HOST_AUTO };

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(lowly_process(modes[i], false), 0);
}

/* libxdp's want one more, which a helper has. */
static void dispatcher_by_helper(void **state)
{
	(void)state;
	needs_dispatcher();
	assert_int_equal(lowly_process(DP_HOST_DISPATCHER, true), 0);
	put_beside(10);
	assert_int_equal(lowly_process(DP_HOST_DISPATCHER, false), 2); /* refused at the attach */
	in_dispatcher("xdp_pass ");
	assert_int_equal(lowly_process(DP_HOST_DISPATCHER, true), 0);
	in_dispatcher("xdp_pass ");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_mode_after_every_other, fresh, gone),
		cmocka_unit_test_setup_teardown(another_version_is_superseded, fresh, gone),
		cmocka_unit_test_setup_teardown(says_why_not_better, fresh, gone),
		cmocka_unit_test_setup_teardown(anothers_program_stays, fresh, gone),
		cmocka_unit_test_setup_teardown(lives_beside_others, fresh, gone),
		cmocka_unit_test_setup_teardown(two_instances, fresh, gone),
		cmocka_unit_test_setup_teardown(waits_for_nobody_for_ever, fresh, gone),
		cmocka_unit_test_setup_teardown(no_moment_without, fresh, gone),
		cmocka_unit_test_setup_teardown(destroy_leaves_nothing, fresh, gone),
		cmocka_unit_test_setup_teardown(no_such_device, fresh, gone),
		cmocka_unit_test_setup_teardown(three_capabilities_are_enough, fresh, gone),
		cmocka_unit_test_setup_teardown(dispatcher_by_helper, fresh, gone),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("host attach", tests, NULL, NULL);
}
