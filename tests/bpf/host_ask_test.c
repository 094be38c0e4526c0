// SPDX-License-Identifier: Apache-2.0
/* Questions to the host's programs: the answer is the packet's, at XDP and at tc, and nothing is left of having asked.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../lib/host.h"
#include "../lib/trace.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "datapath/internal.h"

static struct host_world *w;

static void opened(const struct dp_host_options *o)
{
	w = host_world_open(o);
}

static int gone(void **state)
{
	(void)state;
	host_world_close(w);
	return 0;
}

static struct dp_answer ask(enum by_dir dir, const char *peer, uint32_t selector)
{
	struct dp_question q = { .dir = dir, .selector = selector };
	struct dp_answer a;
	struct err e = ERR_INIT;

	assert_true(addr_parse(&q.peer, peer));
	assert_true(addr_parse(&q.local, addr_is_v4(&q.peer) ? HOST4 : HOST6));
	if (dp_ask(w->dp, &q, &a, &e) < 0)
		fail_msg("%s: %s", e.where, e.msg);
	return a;
}

static void before_any_policy(void **state)
{
	(void)state;
	opened(&(struct dp_host_options){ 0 });
	assert_int_equal(ask(BY_DIR_IN, FRIEND4, BY_PORT_TCP + 22).reason, BY_DROP_NO_POLICY);
}

static void as_the_packet_would_be(void **state)
{
	struct img *img = img_new();
	uint32_t allow = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_FRIEND, BY_ALLOW), deny,
		 out;
	struct dp_answer a;

	(void)state;
	opened(&(struct dp_host_options){ 0 });
	deny = img_rule(img, BY_DIR_IN, BY_PORT_TCP + 22, BY_PORT_TCP + 22, CLASS_WORLD, BY_DENY);
	out = img_rule(img, BY_DIR_OUT, BY_PORT_UDP + 53, BY_PORT_UDP + 53, CLASS_WORLD, BY_ALLOW);
	host_world_commit(w, img);
	for (int i = 0; i < 2; i++) {
		a = ask(BY_DIR_IN, i ? FRIEND6 : FRIEND4, BY_PORT_TCP + 22);
		assert_int_equal(a.reason, BY_DROP_NONE);
		assert_int_equal(a.rule, allow);
		assert_int_equal(a.gen.gen, dp_gen(w->dp).gen);
		a = ask(BY_DIR_IN, i ? WORLD6 : WORLD4, BY_PORT_TCP + 22);
		assert_int_equal(a.reason, BY_DROP_POLICY_DENY);
		assert_int_equal(a.rule, deny);
		a = ask(BY_DIR_OUT, i ? WORLD6 : WORLD4, BY_PORT_UDP + 53);
		assert_int_equal(a.reason, BY_DROP_NONE);
		assert_int_equal(a.rule, out);
		a = ask(BY_DIR_OUT, i ? WORLD6 : WORLD4, BY_PORT_TCP + 53);
		assert_int_equal(a.reason, BY_DROP_POLICY_DENY);
		assert_int_equal(a.rule, 0);
	}
	assert_int_equal(ask(BY_DIR_IN, "127.0.0.9", BY_PORT_TCP + 22).reason, BY_DROP_MARTIAN);
}

/* The link's own and WireGuard's messages meet no rule: what is asked about is such a message. */
static void what_passes_by_itself(void **state)
{
	static const uint32_t type[] = { 130, 131, 132, 133, 135, 136, 141, 143, 151 };
	struct dp_answer a;

	(void)state;
	opened(&(struct dp_host_options){ .wg_port = WG_PORT, .handshakes = { .rate = 1, .burst = 1 } });
	host_world_policy(w);
	for (size_t i = 0; i < ARRAY_LEN(type); i++) {
		a = ask(BY_DIR_IN, WORLD6, BY_PORT_ICMPV6 + type[i]);
		assert_int_equal(a.reason, BY_DROP_NONE);
		assert_int_equal(a.rule, 0);
	}
	assert_int_equal(ask(BY_DIR_IN, WORLD6, BY_PORT_ICMPV6 + 128).reason, BY_DROP_POLICY_DENY);
	for (int i = 0; i < 9; i++)
		assert_int_equal(ask(BY_DIR_IN, WORLD4, BY_PORT_UDP + WG_PORT).reason, BY_DROP_NONE);
	/* a peer that rotates its key shakes hands at the next port */
	assert_int_equal(ask(BY_DIR_IN, WORLD4, BY_PORT_UDP + WG_PORT + 1).reason, BY_DROP_NONE);
	assert_int_equal(ask(BY_DIR_IN, WORLD4, BY_PORT_UDP + WG_PORT + 2).reason, BY_DROP_POLICY_DENY);
}

static uint64_t fingerprint(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < MAP_COUNT; i++) {
		auto_fd int fd = i == MAP_PORT || w->dp->map[i] < 0 ? -1 : host_world_map(w, dp_map_name[i]);

		if (fd >= 0)
			sum = sum * 31 + map_fingerprint(fd);
	}
	return sum;
}

static enum by_drop syn(enum host_hook hook, uint16_t port)
{
	return host_send(w, hook, &(struct pkt){ TCP(FRIEND4, HOST4, port, 22, F_SYN) });
}

static void without_a_trace(void **state)
{
	uint64_t before;

	(void)state;
	opened(&(struct dp_host_options){
		.wg_port = WG_PORT, .flows = { .rate = 1, .burst = 2 }, .handshakes = { .rate = 1, .burst = 1 } });
	host_world_policy(w);
	before = fingerprint();
	for (int i = 0; i < 20; i++) {
		assert_int_equal(ask(BY_DIR_IN, FRIEND4, BY_PORT_TCP + 22).reason, BY_DROP_NONE);
		assert_int_equal(ask(BY_DIR_IN, WORLD6, BY_PORT_TCP + 22).reason, BY_DROP_POLICY_DENY);
		assert_int_equal(ask(BY_DIR_IN, WORLD4, BY_PORT_UDP + WG_PORT).reason, BY_DROP_NONE);
	}
	assert_true(fingerprint() == before);
	assert_int_equal(syn(HOOK_XDP, 1), BY_DROP_NONE); /* both tokens are there still */
	assert_true(fingerprint() != before);
	assert_int_equal(syn(HOOK_TC, 2), BY_DROP_NONE);
	before = fingerprint();
	assert_int_equal(ask(BY_DIR_IN, FRIEND4, BY_PORT_TCP + 22).reason, BY_DROP_SOURCE_LIMIT);
	assert_true(fingerprint() == before);
	assert_int_equal(syn(HOOK_XDP, 3), BY_DROP_SOURCE_LIMIT);
}

#define t(name) cmocka_unit_test_teardown(name, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(before_any_policy),
		t(as_the_packet_would_be),
		t(what_passes_by_itself),
		t(without_a_trace),
	};

	return cmocka_run_group_tests_name("bpf/host_ask", tests, NULL, NULL);
}
