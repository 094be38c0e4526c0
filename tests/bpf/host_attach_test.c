// SPDX-License-Identifier: Apache-2.0
/* The host's programs on a device: a veth pair in a network namespace of the test's own, real frames both ways. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void put(const char *device, const struct pkt *p)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device), .sll_halen = 6 };
	auto_fd int fd = socket(AF_PACKET, SOCK_RAW, 0);
	struct frame f;

	host_frame(&f, p, 0);
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

static void every_mode_after_every_other(void **state)
{
	const char *const name[] = { [DP_HOST_AUTO] = "xdp-generic",
				     [DP_HOST_NATIVE] = "xdp-native",
				     [DP_HOST_GENERIC] = "xdp-generic",
				     [DP_HOST_TC] = tc_name() };

	(void)state;
	for (int from = DP_HOST_AUTO; from <= DP_HOST_TC; from++)
		for (int to = DP_HOST_AUTO; to <= DP_HOST_TC; to++) {
			reopen((enum dp_host_mode)from);
			attached_as(name[from]);
			attached_as(name[from]); /* again changes nothing */
			reopen((enum dp_host_mode)to);
			frames_are_judged(); /* the former daemon's programs decide until then */
			attached_as(name[to]);
		}
}

static void says_why_not_better(void **state)
{
	struct dp_host_status st;

	(void)state;
	reopen(DP_HOST_AUTO);
	attached_as("xdp-generic");
	dp_host_status(w->dp, &st);
	assert_non_null(strstr(st.not_better, "xdp-native: on a veth"));
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
	attached_as("xdp-generic");
}

static void destroy_leaves_nothing(void **state)
{
	static const enum dp_host_mode modes[] = { DP_HOST_NATIVE, DP_HOST_GENERIC, DP_HOST_TC };
	struct err e = ERR_INIT;
	uint64_t before;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
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

static void three_capabilities_are_enough(void **state)
{
	static const enum dp_host_mode modes[] = { DP_HOST_NATIVE, DP_HOST_GENERIC, DP_HOST_TC };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			capng_clear(CAPNG_SELECT_BOTH);
			capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_BPF,
				      CAP_NET_ADMIN, CAP_PERFMON, -1);
			_exit(capng_apply(CAPNG_SELECT_BOTH) ? 99 : lowly(modes[i]));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_mode_after_every_other, fresh, gone),
		cmocka_unit_test_setup_teardown(says_why_not_better, fresh, gone),
		cmocka_unit_test_setup_teardown(anothers_program_stays, fresh, gone),
		cmocka_unit_test_setup_teardown(destroy_leaves_nothing, fresh, gone),
		cmocka_unit_test_setup_teardown(no_such_device, fresh, gone),
		cmocka_unit_test_setup_teardown(three_capabilities_are_enough, fresh, gone),
	};

	return cmocka_run_group_tests_name("host attach", tests, NULL, NULL);
}
