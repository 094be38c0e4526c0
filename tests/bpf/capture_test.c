// SPDX-License-Identifier: Apache-2.0
/* The bytes of dropped packets. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../lib/world.h"

static struct by_capture last;
static unsigned n_records;

static void on_record(const struct by_capture *rec, void *arg)
{
	(void)arg;
	last = *rec;
	n_records++;
}

static int fresh(void **state)
{
	n_records = 0;
	return world_fresh(state);
}

static void capture(struct world *w, uint32_t snaplen)
{
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(dp_capture_open(w->dp, snaplen, on_record, NULL, &fd, &e), 0);
	assert_true(fd >= 0);
}

static unsigned records(struct world *w)
{
	n_records = 0;
	assert_true(dp_capture_read(w->dp) >= 0);
	return n_records;
}

static uint64_t lost(struct world *w)
{
	struct err e = ERR_INIT;
	uint64_t n;

	assert_int_equal(dp_capture_lost(w->dp, &n, &e), 0);
	return n;
}

static void a_dropped_packet_is_kept_as_it_was(void **state)
{
	struct world *w = *state;
	struct pkt p = { TCP(DB4, WEB4, 40000, 22, F_SYN), .payload = 30 };
	struct img *img = img_new();
	struct timespec now;
	struct frame f;

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);
	world_commit(w, img);
	capture(w, BY_SNAPLEN_MAX);
	frame_build(&f, &p);
	memset(f.data + 40, 0x5a, 30);
	assert_verdict(world_send_frame(w, BY_DIR_IN, &f), POLICY_DENY);
	clock_gettime(CLOCK_BOOTTIME, &now);
	assert_int_equal(records(w), 1);
	assert_int_equal(last.n, 70);
	assert_int_equal(last.packet_bytes, 70);
	assert_memory_equal(last.data, f.data, 70);
	assert_int_equal(last.reason, BY_DROP_POLICY_DENY);
	assert_int_equal(last.dir, BY_DIR_IN);
	assert_int_equal(last.rule, 1);
	assert_int_equal(last.peer, world_join(w, DB, CLASS_DB));
	assert_int_equal(last.gen, 1);
	assert_int_equal(last.l3_offset, 0);
	assert_true(now.tv_sec - (long)(last.ts_ns / 1000000000) <= 1);
}

static void a_long_one_is_cut(void **state)
{
	struct world *w = *state;

	world_commit(w, img_new());
	capture(w, 64);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 1, 2), .payload = 1000), POLICY_DENY);
	assert_int_equal(records(w), 1);
	assert_int_equal(last.n, 64);
	assert_int_equal(last.packet_bytes, 1028);
	dp_capture_close(w->dp);
	capture(w, BY_SNAPLEN_MAX);
	assert_verdict(send_out(w, UDP(WEB4, DB4, 1, 2), .payload = 1000), POLICY_DENY);
	assert_int_equal(records(w), 1);
	assert_int_equal(last.n, BY_SNAPLEN_MAX);
}

/* Also what no parser could read. */
static void a_packet_that_can_not_be_read_is_kept(void **state)
{
	struct world *w = *state;

	world_commit(w, img_new());
	capture(w, BY_SNAPLEN_MAX);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1, 2), .ihl = 3), IP_HEADER);
	assert_int_equal(records(w), 1);
	assert_int_equal(last.reason, BY_DROP_IP_HEADER);
	assert_int_equal(last.n, 28);
}

static void what_passes_is_nobodys_business(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80);
	capture(w, 64);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1, 80, F_SYN)), NONE);
	assert_int_equal(records(w), 0);
}

static void nothing_is_kept_before_and_after(void **state)
{
	struct world *w = *state;

	world_commit(w, img_new());
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1, 2)), POLICY_DENY);
	capture(w, 64);
	assert_int_equal(records(w), 0);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1, 2)), POLICY_DENY);
	dp_capture_close(w->dp);
	assert_int_equal(dp_capture_read(w->dp), -EBADF);
	assert_verdict(send_in(w, UDP(DB4, WEB4, 1, 2)), POLICY_DENY);
	capture(w, 64);
	assert_int_equal(records(w), 0); /* nor what the last one did not read */
	assert_int_equal(lost(w), 0);
}

/* A daemon that died while somebody captured does not leave it running. */
static void a_restart_turns_it_off(void **state)
{
	struct world *w = *state;
	uint32_t zero = 0;
	struct by_switch on;
	int fd;

	capture(w, 64);
	world_reopen(w);
	fd = world_map(w, "by_switch");
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &on), 0);
	assert_int_equal(on.snaplen, 0);
	on.snaplen = 64;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &on, BPF_ANY), 0);
	world_reopen(w);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &on), 0);
	assert_int_equal(on.snaplen, 0);
}

static void a_flood_is_bounded_and_the_rest_counted(void **state)
{
	struct world *w = *state;
	struct pkt p = { UDP(DB4, WEB4, 1, 2) };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .repeat = 20000);
	struct frame f;
	unsigned n;

	world_commit(w, img_new());
	capture(w, BY_SNAPLEN_MAX);
	frame_build(&f, &p);
	opts.data_in = f.data;
	opts.data_size_in = (uint32_t)f.len;
	assert_int_equal(bpf_prog_test_run_opts(w->prog[BY_DIR_IN], &opts), 0);
	n = records(w);
	assert_true(n > 0 && n < 5000);
	assert_int_equal(n + lost(w), 20000);
}

static void senseless_captures_are_refused(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;

	assert_int_equal(dp_capture_open(w->dp, 0, on_record, NULL, NULL, &e), -EINVAL);
	assert_int_equal(dp_capture_open(w->dp, BY_SNAPLEN_MAX + 1, on_record, NULL, NULL, &e), -EINVAL);
	capture(w, 64);
	assert_int_equal(dp_capture_open(w->dp, 64, on_record, NULL, NULL, &e), -EBUSY);
}

#define t(name) cmocka_unit_test_setup_teardown(name, fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_dropped_packet_is_kept_as_it_was),      t(a_long_one_is_cut),
		t(a_packet_that_can_not_be_read_is_kept),   t(what_passes_is_nobodys_business),
		t(nothing_is_kept_before_and_after),        t(a_restart_turns_it_off),
		t(a_flood_is_bounded_and_the_rest_counted), t(senseless_captures_are_refused),
	};

	return cmocka_run_group_tests_name("bpf/capture", tests, NULL, NULL);
}
