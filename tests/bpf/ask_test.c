// SPDX-License-Identifier: Apache-2.0
/* Questions to the loaded program: the answer is the packet's, and nothing is left of having asked. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/trace.h"
#include "../lib/world.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "datapath/internal.h"

static int fresh_framed(void **state)
{
	struct world *w = world_open(14);

	world_cast(w);
	*state = w;
	return 0;
}

static struct dp_answer ask(struct world *w, enum by_dir dir, const char *peer, uint32_t selector)
{
	struct dp_question q = { .dir = dir, .selector = selector };
	struct dp_answer a;
	struct err e = ERR_INIT;

	assert_true(addr_parse(&q.peer, peer));
	assert_true(addr_parse(&q.local, addr_is_v4(&q.peer) ? WEB4 : WEB6));
	if (dp_ask(w->dp, &q, &a, &e) < 0)
		fail_msg("%s: %s", e.where, e.msg);
	return a;
}

#define TCP_IN(peer, port) ask(w, BY_DIR_IN, peer, BY_PORT_TCP + (port))

static void before_any_policy(void **state)
{
	struct world *w = *state;

	assert_verdict(TCP_IN(DB4, 80).reason, NO_POLICY);
}

static void answers_as_the_packet_would_be(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	uint32_t allow = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW), deny, audit;
	struct dp_answer a;

	audit = img_audit(img, allow);
	deny = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);
	img_flags(img, deny, BY_RULE_LOG, 0, 0);
	world_commit(w, img);
	a = TCP_IN(DB4, 80);
	assert_verdict(a.reason, NONE);
	assert_int_equal(a.rule, allow);
	assert_int_equal(a.audit, audit);
	assert_int_equal(a.peer, world_join(w, DB, CLASS_DB));
	assert_int_equal(a.gen.gen, dp_gen(w->dp).gen);
	assert_int_equal(a.gen.slot, dp_gen(w->dp).slot);
	a = TCP_IN(DB6, 22);
	assert_verdict(a.reason, POLICY_DENY);
	assert_int_equal(a.rule, deny);
	assert_int_equal(a.rule_flags, BY_RULE_LOG);
	a = TCP_IN(DB4, 23);
	assert_verdict(a.reason, POLICY_DENY);
	assert_int_equal(a.rule, 0);
	assert_verdict(TCP_IN(NOBODY4, 80).reason, NO_IDENTITY);
	assert_verdict(ask(w, BY_DIR_OUT, DB4, BY_PORT_TCP + 80).reason, POLICY_DENY);
}

static const uint32_t selectors[] = { BY_PORT_TCP,          BY_PORT_TCP + 65535, BY_PORT_UDP + 53,
				      BY_PORT_ICMP + 8,     BY_PORT_ICMP + 13,   BY_PORT_ICMPV6 + 128,
				      BY_PORT_ICMPV6 + 200, BY_PORT_OTHER + 47,  BY_PORT_OTHER + 132,
				      BY_PORT_OTHER + 255 };

/* Each selector by itself: a packet made for another one would be denied. */
static void every_kind_of_selector_is_asked_for(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(selectors); i++)
		for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
			uint32_t sel = selectors[i];
			bool is_v6 = sel >= BY_PORT_ICMPV6 && sel < BY_PORT_OTHER;

			world_allow(w, (enum by_dir)dir, sel, sel);
			assert_verdict(ask(w, (enum by_dir)dir, is_v6 ? DB6 : DB4, sel).reason, NONE);
			assert_verdict(ask(w, (enum by_dir) !dir, is_v6 ? DB6 : DB4, sel).reason, POLICY_DENY);
			if (sel < BY_PORT_ICMP || sel >= BY_PORT_OTHER)
				assert_verdict(ask(w, (enum by_dir)dir, DB6, sel).reason, NONE);
		}
}

static void what_no_packet_asks_is_refused(void **state)
{
	static const struct {
		const char *local, *peer;
		uint32_t selector;
	} bad[] = {
		{ WEB4, DB6, BY_PORT_TCP },        { WEB4, DB4, BY_PORT_ICMPV6 + 1 }, { WEB6, DB6, BY_PORT_ICMP + 8 },
		{ WEB4, DB4, BY_PORT_SPACE },      { WEB4, DB4, UINT32_MAX },         { WEB4, DB4, BY_PORT_OTHER + 6 },
		{ WEB6, DB6, BY_PORT_OTHER + 44 }, { WEB4, DB4, BY_PORT_OTHER + 58 },
	};
	struct world *w = *state;
	struct dp_question q;
	struct dp_answer a;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		q = (struct dp_question){ .dir = BY_DIR_IN, .selector = bad[i].selector };
		assert_true(addr_parse(&q.local, bad[i].local) && addr_parse(&q.peer, bad[i].peer));
		assert_int_equal(dp_ask(w->dp, &q, &a, &e), -EINVAL);
		assert_string_equal(e.where, "question");
	}
	q.dir = BY_DIR_COUNT;
	assert_int_equal(dp_ask(w->dp, &q, &a, &e), -EINVAL);
}

/* Of all maps that programs write, and of those they read. */
static uint64_t fingerprint(struct world *w)
{
	uint64_t sum = 0;

	for (int i = 0; i < MAP_NET; i++) {
		auto_fd int fd = i == MAP_PORT ? -1 : world_map(w, dp_map_name[i]);

		if (fd >= 0)
			sum = sum * 31 + map_fingerprint(fd);
	}
	return sum;
}

static void no_event(const struct by_event *ev, void *arg)
{
	(void)ev;
	++*(int *)arg;
}

static void no_record(const struct by_capture *rec, void *arg)
{
	(void)rec;
	++*(int *)arg;
}

static void asking_leaves_no_trace(void **state)
{
	struct world *w = *state;
	struct img *img = img_new();
	uint32_t rated = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80, CLASS_DB, BY_ALLOW);
	struct err e = ERR_INIT;
	uint64_t before;
	int told = 0;

	img_flags(img, rated, BY_RULE_RATE_FLOWS | BY_RULE_LOG, 1, 2);
	img_audit(img, rated);
	img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_DB, BY_DENY);
	world_commit(w, img);
	assert_int_equal(dp_events_open(w->dp, no_event, &told, NULL, &e), 0);
	assert_int_equal(dp_capture_open(w->dp, 64, no_record, &told, NULL, &e), 0);
	before = fingerprint(w);
	for (int i = 0; i < 50; i++) {
		assert_verdict(TCP_IN(DB4, 80).reason, NONE);
		assert_verdict(TCP_IN(DB4, 22).reason, POLICY_DENY);
		assert_verdict(TCP_IN(NOBODY6, 22).reason, NO_IDENTITY);
	}
	assert_true(fingerprint(w) == before);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 1, 80, F_SYN)), NONE); /* both tokens are there still */
	assert_true(fingerprint(w) != before);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 2, 80, F_SYN)), NONE);
	dp_events_read(w->dp);
	told = 0;
	before = fingerprint(w);
	for (int i = 0; i < 50; i++)
		assert_verdict(TCP_IN(DB4, 80).reason, RATE_LIMIT);
	assert_true(fingerprint(w) == before);
	dp_events_read(w->dp);
	dp_capture_read(w->dp);
	assert_int_equal(told, 0);
}

/* Not the answer of a flow that happens to be there. */
static void a_tracked_flow_is_no_answer(void **state)
{
	struct world *w = *state;

	world_allow(w, BY_DIR_IN, BY_PORT_TCP + 80, BY_PORT_TCP + 80);
	assert_verdict(send_in(w, TCP(DB4, WEB4, 49152, 80, F_SYN)), NONE);
	assert_verdict(send_out(w, TCP(WEB4, DB4, 80, 49152, F_SYN | F_ACK)), NONE);
	assert_verdict(ask(w, BY_DIR_OUT, DB4, BY_PORT_TCP + 49152).reason, POLICY_DENY);
}

#define t(name) cmocka_unit_test_setup_teardown(name, world_fresh_small, world_gone) /* quick: rates are a second */

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(before_any_policy),
		t(answers_as_the_packet_would_be),
		t(every_kind_of_selector_is_asked_for),
		cmocka_unit_test_setup_teardown(every_kind_of_selector_is_asked_for, fresh_framed, world_gone),
		t(what_no_packet_asks_is_refused),
		t(asking_leaves_no_trace),
		t(a_tracked_flow_is_no_answer),
	};

	return cmocka_run_group_tests_name("bpf/ask", tests, NULL, NULL);
}
