// SPDX-License-Identifier: Apache-2.0
/* Counters and events. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lib/world.h"
#include "base/addr.h"

#define PER_SEC 100 /* events of one reason, on one CPU */

struct seen {
	struct by_event last;
	unsigned n;
};

static struct seen seen;

static void on_event(const struct by_event *ev, void *arg)
{
	struct seen *s = arg;

	s->last = *ev;
	s->n++;
}

static int fresh(void **state)
{
	struct world *w = world_open(0);
	struct err e = ERR_INIT;

	world_cast(w);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(dp_events_open(w->dp, on_event, &seen, NULL, &e), 0);
	*state = w;
	return 0;
}

/* Reads events; there must have been `n`. */
static const struct by_event *events(struct world *w, unsigned n)
{
	seen.n = 0;
	assert_int_equal(dp_events_read(w->dp), n);
	assert_int_equal(seen.n, n);
	return &seen.last;
}

static void assert_addr(const struct by_addr *a, const char *want)
{
	char text[ADDR_TEXT];

	assert_string_equal(addr_print(a, text), want);
}

static void a_drop_is_told_in_full(void **state)
{
	struct world *w = *state;
	uint32_t db = world_join(w, DB, CLASS_DB);
	struct img *img = img_new();
	const struct by_event *ev;
	struct timespec now;

	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW);
	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);
	world_commit(w, img);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40000, 22, F_SYN), .payload = 5), POLICY_DENY);
	clock_gettime(CLOCK_BOOTTIME, &now);
	ev = events(w, 1);
	assert_int_equal(ev->version, BY_EVENT_VERSION);
	assert_int_equal(ev->type, BY_EVENT_DROP);
	assert_int_equal(ev->reason, BY_DROP_POLICY_DENY);
	assert_int_equal(ev->dir, BY_DIR_IN);
	assert_int_equal(ev->gen, 1);
	assert_addr(&ev->src, DB4);
	assert_addr(&ev->dst, WEB4);
	assert_int_equal(ev->src_port_be, __builtin_bswap16(40000));
	assert_int_equal(ev->dst_port_be, __builtin_bswap16(22));
	assert_int_equal(ev->l4_proto, P_TCP);
	assert_int_equal(ev->peer, db);
	assert_int_equal(ev->rule, 2);
	assert_int_equal(ev->ip_bytes, 45);
	assert_true(now.tv_sec - (long)(ev->ts_ns / 1000000000) <= 1);
}

static void a_new_flow_is_told_once(void **state)
{
	struct world *w = *state;
	const struct by_event *ev;

	world_allow(w, BY_DIR_OUT, BY_PORT_TCP + 443, BY_PORT_TCP + 443);
	assert_verdict(send_out(w, TCP(WEB6, DB6, 40000, 443, F_SYN)), NONE);
	assert_verdict(send_in(w, TCP(DB6, WEB6, 443, 40000, F_SYN | F_ACK)), NONE);
	assert_verdict(send_out(w, TCP(WEB6, DB6, 40000, 443, F_ACK)), NONE);
	ev = events(w, 1);
	assert_int_equal(ev->type, BY_EVENT_FLOW);
	assert_int_equal(ev->reason, BY_DROP_NONE);
	assert_int_equal(ev->dir, BY_DIR_OUT);
	assert_addr(&ev->src, WEB6);
	assert_addr(&ev->dst, DB6);
	assert_int_equal(ev->dst_port_be, __builtin_bswap16(443));
	assert_int_equal(ev->rule, 1);
}

static void icmp_events_have_a_type_and_no_ports(void **state)
{
	struct world *w = *state;
	const struct by_event *ev;

	world_commit(w, img_new());
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 8, 4711)), POLICY_DENY);
	ev = events(w, 1);
	assert_int_equal(ev->icmp_type, 8);
	assert_int_equal(ev->src_port_be, 0);
	assert_int_equal(ev->dst_port_be, 0);
}

static void an_unknown_peer_is_told_with_its_address(void **state)
{
	struct world *w = *state;
	const struct by_event *ev;

	world_commit(w, img_new());
	assert_verdict(send_in(w, TCP(NOBODY4, WEB4, 1, 2, F_SYN)), NO_IDENTITY);
	ev = events(w, 1);
	assert_int_equal(ev->peer, BY_IDENT_NONE);
	assert_addr(&ev->src, NOBODY4);
	assert_int_equal(ev->rule, 0);
}

static void flood(struct world *w, unsigned n)
{
	struct pkt p = { TCP(DB4, WEB4, 1, 2, F_SYN) };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .repeat = (int)n);
	struct frame f;

	frame_build(&f, &p);
	opts.data_in = f.data;
	opts.data_size_in = (uint32_t)f.len;
	assert_int_equal(bpf_prog_test_run_opts(w->prog[BY_DIR_IN], &opts), 0);
}

static void a_flood_is_counted_whole_and_told_in_part(void **state)
{
	struct world *w = *state;
	struct dp_status st;
	struct err e = ERR_INIT;
	const struct by_event *ev;
	int n;

	world_commit(w, img_new());
	flood(w, 5000);
	n = dp_events_read(w->dp);
	/* one CPU's second, or two when one ended meanwhile, and a test may change CPUs */
	assert_in_range(n, PER_SEC, 4 * PER_SEC);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.stat[BY_DIR_IN][BY_DROP_POLICY_DENY].packets, 5000);
	assert_int_equal(st.stat[BY_DIR_IN][BY_DROP_POLICY_DENY].bytes, 5000 * 40);
	assert_int_equal(st.events_lost, 5000 - n);
	/* another reason has a bucket of its own */
	assert_verdict(send_in(w, TCP(NOBODY4, WEB4, 1, 2, F_SYN)), NO_IDENTITY);
	ev = events(w, 1);
	assert_int_equal(ev->suppressed, 0);
}

/* Opens the bucket of a reason again, as a second would. */
static void refill(struct world *w, uint32_t reason)
{
	size_t n = (size_t)libbpf_num_possible_cpus();
	struct by_limit *per_cpu = calloc(n, sizeof(*per_cpu));
	int fd = world_map(w, "by_limit");

	assert_non_null(per_cpu);
	assert_int_equal(bpf_map_lookup_elem(fd, &reason, per_cpu), 0);
	for (size_t cpu = 0; cpu < n; cpu++)
		per_cpu[cpu].sent = 0;
	assert_int_equal(bpf_map_update_elem(fd, &reason, per_cpu, BPF_ANY), 0);
	free(per_cpu);
	close(fd);
}

static void a_full_ring_loses_nothing_silently(void **state)
{
	struct world *w = *state;
	struct dp_status st;
	struct err e = ERR_INIT;
	int n;

	world_commit(w, img_new());
	for (int i = 0; i < 200; i++) {
		refill(w, BY_DROP_POLICY_DENY);
		flood(w, PER_SEC);
	}
	n = dp_events_read(w->dp);
	assert_in_range(n, 1000, 19000);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.stat[BY_DIR_IN][BY_DROP_POLICY_DENY].packets, 20000);
	assert_int_equal(st.events_lost, 20000 - n);
}

static void every_reason_has_a_name_and_a_text(void **state)
{
	(void)state;
	for (unsigned r = 0; r < BY_DROP_COUNT; r++) {
		assert_string_not_equal(dp_drop_name(r), "UNKNOWN");
		assert_true(strlen(dp_drop_text(r)) > 3);
	}
	assert_string_equal(dp_drop_name(BY_DROP_COUNT), "UNKNOWN");
	assert_non_null(dp_drop_text(99));
}

#define t(name) cmocka_unit_test_setup_teardown(name, fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_drop_is_told_in_full),
		t(a_new_flow_is_told_once),
		t(icmp_events_have_a_type_and_no_ports),
		t(an_unknown_peer_is_told_with_its_address),
		t(a_flood_is_counted_whole_and_told_in_part),
		t(a_full_ring_loses_nothing_silently),
		cmocka_unit_test(every_reason_has_a_name_and_a_text),
	};

	return cmocka_run_group_tests_name("bpf/report", tests, NULL, NULL);
}
