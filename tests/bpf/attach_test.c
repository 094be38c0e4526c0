// SPDX-License-Identifier: Apache-2.0
/* Loading, pins and devices: a TUN device in a network namespace of the test's own. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/world.h"
#include "bailey/conf.h"
#include "base/cleanup.h"
#include "datapath/internal.h"
#include "skel/tc.skel.h"

#define DEVICE      "bytest0"
#define TC_DROP     2
#define TC_REDIRECT 7

static int own_netns(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET);
}

static int fresh(void **state)
{
	struct world *w = world_open(0);

	world_cast(w);
	world_allow(w, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	*state = w;
	return 0;
}

/* The device lives as long as the fd. */
static int tun_open_as(const char *name, unsigned *ifindex)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	auto_fd int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0 && system("modprobe tun 2>/dev/null") == 0)
		fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		skip();
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	ifr.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
	*ifindex = if_nametoindex(name);
	return fd;
}

static int tun_open(unsigned *ifindex)
{
	return tun_open_as(DEVICE, ifindex);
}

static uint64_t counted(struct world *w, enum by_drop reason)
{
	struct dp_status st;
	struct err e = ERR_INIT;

	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	return st.stat[BY_DIR_IN][reason].packets;
}

static void packet_in(int tun, uint16_t port)
{
	struct pkt p = { UDP(DB4, WEB4, 999, 0) };
	struct frame f;

	p.dport = port;
	frame_build(&f, &p);
	assert_int_equal(write(tun, f.data, f.len), f.len);
}

static void real_packets_are_judged(struct world *w, int tun)
{
	uint64_t passed = counted(w, BY_DROP_NONE), denied = counted(w, BY_DROP_POLICY_DENY);

	packet_in(tun, 53);
	packet_in(tun, 54);
	assert_int_equal(counted(w, BY_DROP_NONE), passed + 1);
	assert_int_equal(counted(w, BY_DROP_POLICY_DENY), denied + 1);
}

static void attaches_and_stays_after_close(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	unsigned ifindex;
	auto_fd int tun = tun_open(&ifindex);

	assert_string_equal(dp_attach_mode(w->dp), "none");
	assert_int_equal(dp_attach(w->dp, ifindex, &e), 0);
	assert_string_not_equal(dp_attach_mode(w->dp), "none");
	real_packets_are_judged(w, tun);
	world_reopen(w);
	real_packets_are_judged(w, tun);
	assert_int_equal(dp_attach(w->dp, ifindex, &e), 0);
	assert_int_equal(dp_attach(w->dp, ifindex, &e), 0);
	real_packets_are_judged(w, tun); /* counted once: it is attached once */
}

/* The map that has them is named, until its name goes; nothing else does. */
static void flows_are_given_up(struct world *w, const char *other)
{
	struct err e = ERR_INIT;
	char path[160], v2_path[160];

	snprintf(path, sizeof(path), "%s/by_ct4", other);
	snprintf(v2_path, sizeof(v2_path), "%s/by_ct", other); /* as it was called until v2 */
	assert_int_equal(rename(path, v2_path), 0);
	assert_int_equal(dp_flows_check(w->bpffs, "test", &e), -EBUSY);
	assert_string_equal(e.where, v2_path);
	assert_int_equal(rename(v2_path, path), 0);
	e = ERR_INIT;
	assert_int_equal(dp_flows_check(w->bpffs, "test", &e), -EBUSY);
	assert_string_equal(e.where, path);
	assert_non_null(strstr(e.msg, "--forget-flows"));
	e = ERR_INIT;
	assert_int_equal(dp_flows_forget(w->bpffs, "test", &e), 0);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/by_ct6", other);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/by_gen", other);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(dp_flows_check(w->bpffs, "test", &e), 0);
}

/* As if this build had another layout: what is pinned is of a version that it does not read. */
static void another_version_is_superseded(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	char own[128], other[128];
	unsigned ifindex;
	auto_fd int tun = tun_open(&ifindex);

	snprintf(own, sizeof(own), "%s/bailey/test/v%d", w->bpffs, BY_ABI_VERSION);
	snprintf(other, sizeof(other), "%s/bailey/test/v%d", w->bpffs, BY_ABI_VERSION - 1);
	assert_int_equal(dp_attach(w->dp, ifindex, &e), 0);
	dp_close(w->dp);
	assert_int_equal(dp_flows_check(w->bpffs, "test", &e), 0);
	assert_int_equal(rename(own, other), 0);
	flows_are_given_up(w, other);
	assert_int_equal(dp_open(w->bpffs, "test", &w->options, &w->dp, &e), 0);
	assert_int_equal(access(other, F_OK), 0); /* it judges until the device is ours */
	packet_in(tun, 53);
	assert_int_equal(counted(w, BY_DROP_NONE) + counted(w, BY_DROP_NO_POLICY), 0);
	assert_int_equal(dp_attach(w->dp, ifindex, &e), 0);
	assert_int_equal(access(other, F_OK), -1);
	packet_in(tun, 53);
	assert_int_equal(counted(w, BY_DROP_NO_POLICY), 1);
	world_cast(w);
	world_allow(w, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	real_packets_are_judged(w, tun); /* the other would drop what it was never told of */
}

static void a_vanished_device_is_replaced(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	unsigned ifindex, next;
	int tun = tun_open(&ifindex);

	assert_int_equal(dp_attach(w->dp, ifindex, &e), 0);
	close(tun);
	tun = tun_open(&next);
	assert_int_not_equal(ifindex, next);
	assert_int_equal(dp_attach(w->dp, next, &e), 0);
	real_packets_are_judged(w, tun);
	close(tun);
}

/* What the program says to a datagram from this node to DB. */
static int answer_to(int prog)
{
	struct pkt p = { UDP(WEB4, DB4, 999, 53) };
	struct frame f;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data);

	frame_build(&f, &p);
	opts.data_size_in = f.len;
	assert_int_equal(bpf_prog_test_run_opts(prog, &opts), 0);
	return (int)opts.retval;
}

static uint64_t dropped_unjudged(struct world *w)
{
	struct dp_status st;
	struct err e = ERR_INIT;

	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	return st.stat[BY_DIR_OUT][BY_DROP_UNJUDGED].packets;
}

/* A key rotation's: judged by the first device's program, whichever way a packet comes or goes. */
static void a_second_device_carries(void **state)
{
	struct world *w = *state;
	struct dp_identity db = world_node(DB, CLASS_DB);
	struct err e = ERR_INIT;
	unsigned first, second;
	uint64_t before;
	auto_fd int tun = tun_open(&first), other = tun_open_as("bytest1", &second);

	assert_int_equal(dp_attach(w->dp, first, &e), 0);
	assert_int_equal(dp_second_attach(w->dp, second, &e), 0);
	real_packets_are_judged(w, tun);
	real_packets_are_judged(w, other);

	world_allow(w, BY_DIR_OUT, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	assert_int_equal(dp_via_get(w->dp, db.instance_id) == dp_via_second(second), 0);
	assert_int_not_equal(answer_to(w->prog[BY_DIR_OUT]), TC_REDIRECT);
	assert_int_equal(dp_via_set(w->dp, db.instance_id, dp_via_second(second), &e), 0);
	assert_int_equal(answer_to(w->prog[BY_DIR_OUT]), TC_REDIRECT);
	world_reopen(w); /* who goes where outlives the process */
	assert_true(dp_via_get(w->dp, db.instance_id) == dp_via_second(second));

	before = dropped_unjudged(w); /* the kernel itself sends by a device that is up: multicast of IPv6 */
	assert_int_equal(answer_to(bpf_program__fd(w->dp->skel->progs.by_second_out)), TC_DROP);
	assert_true(dropped_unjudged(w) > before);
	assert_int_equal(dp_second_remove(w->dp, &e), 0);
	assert_int_equal(dp_second_remove(w->dp, &e), 0);
}

static void no_such_device_is_an_error(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	assert_true(dp_attach(w->dp, 0, &e) < 0);
	e = ERR_INIT;
	assert_int_equal(dp_attach(w->dp, 9999, &e), -ENODEV);
	assert_string_equal(dp_attach_mode(w->dp), "none");
}

static void clsact_does_what_tcx_does(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	unsigned ifindex;
	auto_fd int tun = tun_open(&ifindex);

	assert_int_equal(attach_clsact(w->dp, ifindex), 0);
	real_packets_are_judged(w, tun);
	world_reopen(w);
	assert_int_equal(attach_clsact(w->dp, ifindex), 0);
	real_packets_are_judged(w, tun);
	dp_close(w->dp);
	assert_int_equal(dp_destroy(w->bpffs, "test", ifindex, &e), 0);
	assert_int_equal(dp_open(w->bpffs, "test", NULL, &w->dp, &e), 0);
	packet_in(tun, 53);
	assert_int_equal(counted(w, BY_DROP_NO_POLICY), 0); /* nothing is attached any more */
}

static bool has_filter(uint32_t handle, unsigned ifindex, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = 1);

	return bpf_tc_query(&hook, &opts) == 0;
}

/* A filter has no pin: it is found on its device by the program that is pinned. */
static void clsact_is_found_without_its_device(void **state)
{
	struct world *w = *state;
	struct world *other = world_open(0);
	struct err e = ERR_INIT;
	uint32_t handle = clsact_handle(w->dp->dir), of_other = clsact_handle(other->dp->dir);
	unsigned ifindex, theirs;
	auto_fd int tun = tun_open(&ifindex);

	assert_int_equal(system("ip link add bycls0 type veth peer name bycls1"), 0);
	theirs = if_nametoindex("bycls0");
	assert_int_equal(attach_clsact(other->dp, theirs), 0);
	assert_int_equal(attach_clsact(w->dp, ifindex), 0);
	dp_close(w->dp);
	assert_int_equal(dp_destroy(w->bpffs, "test", 0, &e), 0);
	assert_false(has_filter(handle, ifindex, BPF_TC_INGRESS) || has_filter(handle, ifindex, BPF_TC_EGRESS));
	assert_true(has_filter(of_other, theirs, BPF_TC_INGRESS) && has_filter(of_other, theirs, BPF_TC_EGRESS));
	assert_int_equal(dp_open(w->bpffs, "test", NULL, &w->dp, &e), 0);
	assert_int_equal(system("ip link del bycls0"), 0);
	world_close(other);
}

/* What either drops the other need not see. */
static void both_judge(struct world *a, struct world *b, int tun)
{
	uint64_t passed[] = { counted(a, BY_DROP_NONE), counted(b, BY_DROP_NONE) };
	uint64_t denied = counted(a, BY_DROP_POLICY_DENY) + counted(b, BY_DROP_POLICY_DENY);

	packet_in(tun, 53);
	packet_in(tun, 54);
	assert_int_equal(counted(a, BY_DROP_NONE), passed[0] + 1);
	assert_int_equal(counted(b, BY_DROP_NONE), passed[1] + 1);
	assert_int_equal(counted(a, BY_DROP_POLICY_DENY) + counted(b, BY_DROP_POLICY_DENY), denied + 1);
}

/* None takes another's place, and the end of one is none of the other's. */
static void clsact_holds_two_instances(void **state)
{
	struct world *w = *state, *other = world_open(0);
	struct err e = ERR_INIT;
	unsigned ifindex;
	auto_fd int tun = tun_open(&ifindex);

	world_cast(other);
	world_allow(other, BY_DIR_IN, BY_PORT_UDP + 53, BY_PORT_UDP + 53);
	assert_int_equal(attach_clsact(w->dp, ifindex), 0);
	assert_int_equal(attach_clsact(other->dp, ifindex), 0);
	both_judge(w, other, tun);
	assert_int_equal(attach_clsact(w->dp, ifindex), 0);
	both_judge(w, other, tun);
	dp_close(other->dp);
	assert_int_equal(dp_destroy(other->bpffs, "test", ifindex, &e), 0);
	assert_int_equal(dp_open(other->bpffs, "test", NULL, &other->dp, &e), 0);
	real_packets_are_judged(w, tun);
	world_close(other);
}

/* Whatever is below an instance and of whichever version has one place, and instances have their own. */
static void handles_are_of_instances(void **state)
{
	uint32_t handle = clsact_handle("/sys/fs/bpf/bailey/a/v2");

	(void)state;
	assert_int_equal(clsact_handle("/sys/fs/bpf/bailey/a/v1/host"), handle);
	assert_int_equal(clsact_handle("/sys/fs/bpf/bailey/a/v12/w-v1"), handle);
	assert_int_not_equal(clsact_handle("/sys/fs/bpf/bailey/b/v2"), handle);
	assert_int_not_equal(clsact_handle("/sys/fs/other/bailey/a/v2"), handle);
	assert_int_not_equal(clsact_handle("/sys/fs/bpf/bailey/v1/v2"), clsact_handle("/sys/fs/bpf/bailey/v2/v2"));
	assert_int_equal(clsact_handle("/v3/bailey/v1/v2/host"), clsact_handle("/v3/bailey/v1/v1"));
}

static void destroy_detaches_at_once(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	unsigned ifindex;
	auto_fd int tun = tun_open(&ifindex);
	uint64_t passed;

	assert_int_equal(dp_attach(w->dp, ifindex, &e), 0);
	real_packets_are_judged(w, tun);
	passed = counted(w, BY_DROP_NONE);
	assert_int_equal(dp_destroy(w->bpffs, "test", ifindex, &e), 0);
	packet_in(tun, 53);
	assert_int_equal(counted(w, BY_DROP_NONE), passed);
	assert_false(world_has_pin(w, "by_gen"));
	assert_int_equal(dp_destroy(w->bpffs, "test", ifindex, &e), 0); /* nothing there is fine */
}

static void everything_is_pinned_by_name(void **state)
{
	static const char *const names[] = { "by_gen",     "by_addr",      "by_ident",   "by_port",  "by_verdict",
					     "by_rule",    "by_rule_stat", "by_ct4",     "by_ct6",   "by_stat",
					     "by_limit",   "by_events",    "by_rate",    "by_pair",  "by_switch",
					     "by_capture", "by_ask_in",    "by_ask_out", "by_tc_in", "by_tc_out",
					     "by_via" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_true(world_has_pin(*state, names[i]));
}

/* bpftool prints field names from these. */
static void maps_carry_their_types(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < MAP_NET; i++) {
		struct bpf_map_info info = { 0 };
		__u32 len = sizeof(info);
		auto_fd int fd = world_map(w, dp_map_name[i]);

		assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
		assert_true(i == MAP_EVENTS || i == MAP_CAPTURE || (info.btf_key_type_id && info.btf_value_type_id));
	}
}

static void a_map_of_another_shape_is_refused_by_name(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct dp *dp = NULL;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/bailey/test/v%d/by_verdict", w->bpffs, BY_ABI_VERSION);
	assert_int_equal(unlink(path), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "by_verdict", 8, 24, 10, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
	assert_int_equal(dp_open(w->bpffs, "test", NULL, &dp, &e), -ESTALE);
	assert_non_null(strstr(e.where, "by_verdict"));
	assert_non_null(strstr(e.msg, "value size is 24, needed: 12"));
	assert_null(dp);
}

static void bad_arguments_are_refused(void **state)
{
	static const char *const bad[] = { "", "..", "a/b", "a.b", "UPPER", "123456789012345678901234567890123" };
	struct world *w = *state;
	struct dp *dp = NULL;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		e = ERR_INIT;
		assert_int_equal(dp_open(w->bpffs, bad[i], NULL, &dp, &e), -EINVAL);
		e = ERR_INIT;
		assert_int_equal(dp_destroy(w->bpffs, bad[i], 0, &e), -EINVAL);
	}
	e = ERR_INIT;
	assert_int_equal(dp_open(w->bpffs, "x", &(struct dp_options){ .l3_offset = 13 }, &dp, &e), -EINVAL);
	e = ERR_INIT;
	assert_int_equal(dp_open("/tmp", "x", NULL, &dp, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "mount -t bpf"));
	e = ERR_INIT;
	assert_int_equal(dp_open("/no/such/place", "x", NULL, &dp, &e), -ENOENT);
	assert_null(dp);
}

static void two_instances_do_not_meet(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct dp *other = NULL;
	struct dp_status st;

	assert_int_equal(dp_open(w->bpffs, "other", NULL, &other, &e), 0);
	assert_int_equal(dp_status_get(other, &st, &e), 0);
	assert_int_equal(st.gen.gen, 0);
	assert_int_equal(st.n_identities, 0);
	dp_close(other);
	assert_int_equal(dp_destroy(w->bpffs, "other", 0, &e), 0);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 999, 53)), NONE);
}

/* Everything a daemon does, by a process whose only privileges are these. Exit status: the step that failed. */
static int all_steps(struct world *w, unsigned ifindex)
{
	struct dp_identity web = world_node(WEB, 0), db = world_node(DB, CLASS_DB);
	struct img *img = img_new();
	struct err e = ERR_INIT;
	struct dp_status st;
	struct dp *dp;
	int step = 1;

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW);
	img_member(img, db.instance_id, CLASS_DB);
	if (dp_open(w->bpffs, "lowly", NULL, &dp, &e) == 0 && ++step && dp_attach(dp, ifindex, &e) == 0 && ++step &&
	    dp_identity_set(dp, &web, NULL, &e) == 0 && ++step && dp_identity_set(dp, &db, NULL, &e) == 0 && ++step &&
	    dp_policy_commit(dp, img_done(img), &e) == 0 && ++step && dp_status_get(dp, &st, &e) == 0 && ++step &&
	    dp_identity_remove(dp, db.instance_id, &e) == 0 && ++step) {
		dp_close(dp);
		step = dp_destroy(w->bpffs, "lowly", ifindex, &e) == 0 ? 0 : step;
	}
	img_free(img);
	if (step)
		fprintf(stderr, "step %d: %s: %s\n", step, e.where, e.msg);
	return step;
}

static void three_capabilities_are_enough(void **state)
{
	struct world *w = *state;
	unsigned ifindex;
	auto_fd int tun = tun_open(&ifindex);
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		capng_clear(CAPNG_SELECT_BOTH);
		capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_BPF, CAP_NET_ADMIN,
			      CAP_PERFMON, -1);
		_exit(capng_apply(CAPNG_SELECT_BOTH) ? 99 : all_steps(w, ifindex));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void no_capability_is_said_so(void **state)
{
	struct world *w = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = ERR_INIT;
		struct dp *dp;
		int ret;

		capng_clear(CAPNG_SELECT_BOTH);
		if (capng_apply(CAPNG_SELECT_BOTH))
			_exit(99);
		ret = dp_open(w->bpffs, "lowly", NULL, &dp, &e);
		_exit(ret == -EPERM && strstr(e.msg, "CAP_BPF") ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define t(name) cmocka_unit_test_setup_teardown(name, fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_second_device_carries),
		t(attaches_and_stays_after_close),
		t(a_vanished_device_is_replaced),
		t(another_version_is_superseded),
		t(no_such_device_is_an_error),
		t(clsact_does_what_tcx_does),
		t(clsact_is_found_without_its_device),
		t(clsact_holds_two_instances),
		t(handles_are_of_instances),
		t(destroy_detaches_at_once),
		t(everything_is_pinned_by_name),
		t(maps_carry_their_types),
		t(a_map_of_another_shape_is_refused_by_name),
		t(bad_arguments_are_refused),
		t(two_instances_do_not_meet),
		t(three_capabilities_are_enough),
		t(no_capability_is_said_so),
	};

	return cmocka_run_group_tests_name("bpf/attach", tests, own_netns, NULL);
}
