// SPDX-License-Identifier: Apache-2.0
/* Rules that only say what they would drop, and rules whose events must be seen. */
#include <bpf/bpf.h>
#include <string.h>

#include "../lib/world.h"

#define PER_SEC 100 /* events of one budget, on one CPU */

static struct by_event seen[1024];
static unsigned n_seen;

static void on_event(const struct by_event *ev, void *arg)
{
	(void)arg;
	if (n_seen < 1024)
		seen[n_seen++] = *ev;
}

static int fresh(void **state)
{
	struct world *w =
		world_open_with(&(struct dp_options){ .sizes = dp_sizes_small }); /* quick: rates are a second */
	struct err e = ERR_INIT;

	world_cast(w);
	n_seen = 0;
	assert_int_equal(dp_events_open(w->dp, on_event, NULL, NULL, &e), 0);
	*state = w;
	return 0;
}

static unsigned events(struct world *w)
{
	n_seen = 0;
	dp_events_read(w->dp);
	return n_seen;
}

static uint64_t hits(struct world *w, uint32_t rule)
{
	struct by_counter n;

	assert_int_equal(dp_rule_get(w->dp, dp_gen(w->dp).slot, rule, NULL, &n), 0);
	return n.packets;
}

/* Port 80 is allowed and audited, port 22 is denied. Returns the audit rule. */
static uint32_t audited(struct world *w, uint32_t flags)
{
	struct img *img = img_new();
	uint32_t rule = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW), audit;

	if (flags)
		img_flags(img, rule, flags, 1, 1);
	audit = img_audit(img, rule);
	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 13, BY_PORT_ICMP + 13, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	return audit;
}

#define SYN(port) send_in(w, TCP(DB4, WEB4, 40000, port, F_SYN))
#define ACK(port) send_in(w, TCP(DB4, WEB4, 40000, port, F_ACK))

static void an_audit_rule_drops_nothing_and_says_what_it_would(void **state)
{
	struct world *w = *state;
	uint32_t audit = audited(w, 0);

	assert_verdict(SYN(80), NONE);
	assert_verdict(ACK(80), NONE);
	assert_int_equal(events(w), 1);
	assert_int_equal(seen[0].type, BY_EVENT_AUDIT);
	assert_int_equal(seen[0].reason, BY_DROP_NONE);
	assert_int_equal(seen[0].rule, audit);
	assert_int_equal(seen[0].flags, BY_RULE_AUDIT);
	assert_int_equal(hits(w, audit), 1);
	assert_int_equal(hits(w, 1), 1); /* the rule that lets it pass counts as ever */
}

static void what_is_dropped_anyway_is_not_audited(void **state)
{
	struct world *w = *state;
	uint32_t audit = audited(w, BY_RULE_RATE_FLOWS);

	assert_verdict(SYN(80), NONE);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 40001, 80, F_SYN)), RATE_LIMIT);
	assert_verdict(SYN(22), POLICY_DENY);
	assert_int_equal(hits(w, audit), 1);
	assert_int_equal(events(w), 3);
	assert_int_equal(seen[1].type, BY_EVENT_DROP);
	assert_int_equal(seen[2].type, BY_EVENT_DROP);
}

/* An audit rule that comes with a reload is asked about the flows that are there. */
static void a_flow_that_was_there_is_audited_once(void **state)
{
	struct world *w = *state;
	uint32_t audit;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80);
	assert_verdict(SYN(80), NONE);
	audit = audited(w, 0);
	events(w);
	for (int i = 0; i < 5; i++)
		assert_verdict(ACK(80), NONE);
	assert_int_equal(hits(w, audit), 1);
	assert_int_equal(events(w), 1);
	assert_int_equal(seen[0].type, BY_EVENT_AUDIT);
}

static void a_rule_with_log_marks_its_events(void **state)
{
	struct world *w = *state;
	uint32_t audit = audited(w, BY_RULE_LOG);

	assert_verdict(SYN(80), NONE);
	assert_int_equal(events(w), 2);
	assert_int_equal(seen[0].type, BY_EVENT_AUDIT);
	assert_int_equal(seen[0].rule, audit);
	assert_int_equal(seen[1].type, BY_EVENT_FLOW); /* log says: each flow */
	assert_int_equal(seen[1].rule, 1);
	assert_int_equal(seen[1].flags, BY_RULE_LOG);
}

static void messages_without_a_flow_are_told_when_their_rule_logs(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	uint32_t rule = img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 13, BY_PORT_ICMP + 13, CLASS_DB, BY_ALLOW);

	img_flags(img, rule, BY_RULE_LOG, 0, 0);
	img_rule(img, BY_DIR_IN, BY_PORT_ICMP + 15, BY_PORT_ICMP + 15, CLASS_DB, BY_ALLOW);
	world_commit(w, img);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 13, 0)), NONE);
	assert_verdict(send_in(w, ICMP(DB4, WEB4, 15, 0)), NONE);
	assert_int_equal(events(w), 1);
	assert_int_equal(seen[0].icmp_type, 13);
	assert_int_equal(seen[0].flags, BY_RULE_LOG);
}

static void flood(struct world *w, uint16_t port, int n)
{
	struct pkt p = { TCP(DB4, WEB4, 1, port, F_SYN) };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .repeat = n);
	struct frame f;

	frame_build(&f, &p);
	opts.data_in = f.data;
	opts.data_size_in = (uint32_t)f.len;
	assert_int_equal(bpf_prog_test_run_opts(w->prog[BY_DIR_IN], &opts), 0);
}

static void a_logged_drop_is_seen_in_a_flood_of_others(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	uint32_t rule = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);
	unsigned n, logged = 0;

	img_flags(img, rule, BY_RULE_LOG, 0, 0);
	world_commit(w, img);
	flood(w, 23, 5000);
	assert_verdict(SYN(22), POLICY_DENY);
	n = events(w);
	assert_true(n >= PER_SEC + 1);
	for (unsigned i = 0; i < n; i++)
		logged += seen[i].flags == BY_RULE_LOG && seen[i].rule == rule && seen[i].suppressed == 0;
	assert_int_equal(logged, 1);
}

static void logged_and_audited_events_are_bounded_too(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	struct dp_status st;
	struct err e = ERR_INIT;
	uint32_t rule = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);

	img_flags(img, rule, BY_RULE_LOG, 0, 0);
	world_commit(w, img);
	flood(w, 22, 5000);
	assert_true(events(w) < 1000);
	assert_int_equal(dp_status_get(w->dp, &st, &e), 0);
	assert_int_equal(st.events_lost, 5000 - n_seen);
}

#define t(name) cmocka_unit_test_setup_teardown(name, fresh, world_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(an_audit_rule_drops_nothing_and_says_what_it_would),
		t(what_is_dropped_anyway_is_not_audited),
		t(a_flow_that_was_there_is_audited_once),
		t(a_rule_with_log_marks_its_events),
		t(messages_without_a_flow_are_told_when_their_rule_logs),
		t(a_logged_drop_is_seen_in_a_flood_of_others),
		t(logged_and_audited_events_are_bounded_too),
	};

	return cmocka_run_group_tests_name("bpf/audit", tests, NULL, NULL);
}
