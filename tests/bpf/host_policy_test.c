// SPDX-License-Identifier: Apache-2.0
/* A policy's host rules in the host's programs: networks and openings, one policy after another. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/host.h"
#include "base/cleanup.h"
#include "policy/policy.h"

#define HEAD                                                                                                           \
	"version: 1\n"                                                                                                 \
	"apps: { web: { app-id: 0100000000000000000000000000000000000000 } }\n"                                        \
	"networks: { friends: [192.0.2.0/24, '2001:db8::/64'] }\n"                                                     \
	"rules:\n"

static struct host_world *w;

static int fresh(void **state)
{
	struct dp_host_options o = { 0 };

	(void)state;
	w = host_world_open(&o);
	return 0;
}

static int gone(void **state)
{
	(void)state;
	host_world_close(w);
	return 0;
}

static struct pol_image *compiled(const char *rules, const struct pol_opening *openings, size_t n)
{
	struct pol_subject self = { .app_id = { 1 } };
	struct pol_model *model = NULL;
	struct pol_image *img = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	char text[1024];

	snprintf(text, sizeof(text), HEAD "%s", rules);
	if (pol_parse("h.yaml", text, strlen(text), &model, &d) < 0)
		fail_msg("%u:%u %s", d.item[0].line, d.item[0].col, d.item[0].msg);
	if (pol_compile_host(model, &self, openings, n, &img, &e) < 0)
		fail_msg("%s", e.msg);
	pol_free(model);
	return img;
}

static void commit(const char *rules, const struct pol_opening *openings, size_t n)
{
	auto_free struct pol_image *img = compiled(rules, openings, n);
	struct err e = ERR_INIT;

	if (dp_policy_commit(w->dp, img, &e) < 0)
		fail_msg("%s: %s", e.where, e.msg);
}

static const char *came(const struct pkt *p)
{
	const char *xdp = dp_drop_name(host_send(w, HOOK_XDP, p));

	assert_string_equal(dp_drop_name(host_send(w, HOOK_TC, p)), xdp);
	return xdp;
}

#define in(...)  came(&(struct pkt){ __VA_ARGS__ })
#define out(...) dp_drop_name(host_send(w, HOOK_OUT, &(struct pkt){ __VA_ARGS__ }))

static void networks_have_classes(void **state)
{
	(void)state;
	assert_string_equal(in(UDP(FRIEND4, HOST4, 1, 53)), "NO_POLICY");
	commit("  - { from: friends, to: host, allow: [udp/53] }\n"
	       "  - { from: host, to: world, allow: [udp/123] }\n",
	       NULL, 0);
	assert_string_equal(in(UDP(FRIEND4, HOST4, 1, 53)), "NONE");
	assert_string_equal(in(UDP(FRIEND6, HOST6, 1, 53)), "NONE");
	assert_string_equal(in(UDP(FRIEND4, HOST4, 2, 54)), "POLICY_DENY");
	assert_string_equal(in(UDP(WORLD4, HOST4, 1, 53)), "POLICY_DENY");
	assert_string_equal(in(UDP(WORLD6, HOST6, 1, 53)), "POLICY_DENY");
	assert_string_equal(out(UDP(HOST4, WORLD4, 1, 123)), "NONE");
	assert_string_equal(out(UDP(HOST6, WORLD6, 1, 123)), "NONE");
	assert_string_equal(out(UDP(HOST4, WORLD4, 2, 124)), "POLICY_DENY");
}

/* Both slots are used again and again: a prefix of two policies ago has no class any more. */
static void older_networks_are_gone(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		commit("  - { from: 192.0.2.7, to: host, allow: [udp/53] }\n"
		       "  - { from: '2001:db8::7', to: host, deny: [udp/53] }\n"
		       "  - { from: world, to: host, allow: [udp/54] }\n",
		       NULL, 0);
		assert_string_equal(in(UDP(FRIEND4, HOST4, 1, 53)), "NONE");
		assert_string_equal(in(UDP("192.0.2.8", HOST4, 1, 53)), "POLICY_DENY");
		assert_string_equal(in(UDP(FRIEND6, HOST6, 1, 53)), "POLICY_DENY");
		commit("  - { from: world, to: host, allow: [udp/53] }\n"
		       "  - { from: 192.0.2.8, to: host, deny: [udp/53] }\n",
		       NULL, 0);
		assert_string_equal(in(UDP(FRIEND4, HOST4, 1, 53)), "NONE");
		assert_string_equal(in(UDP("192.0.2.8", HOST4, 1, 53)), "POLICY_DENY");
		assert_string_equal(in(UDP(FRIEND6, HOST6, 1, 53)), "NONE");
		assert_string_equal(in(UDP(WORLD6, HOST6, 1, 54)), "POLICY_DENY");
	}
}

static void openings_win_over_denials(void **state)
{
	struct pol_opening ssh = { .name = "failsafe",
				   .where = "bailey.yaml:3",
				   .dir = BY_DIR_IN,
				   .selectors = { BY_PORT_TCP + 22, BY_PORT_TCP + 22 } };

	(void)state;
	assert_true(prefix_parse(&ssh.net, "192.0.2.0/28"));
	commit("  - { from: world, to: host, deny: [any] }\n"
	       "  - { from: host, to: world, deny: [any] }\n",
	       &ssh, 1);
	assert_string_equal(in(TCP(FRIEND4, HOST4, 9, 22, F_SYN)), "NONE");
	assert_string_equal(out(TCP(HOST4, FRIEND4, 22, 9, F_SYN | F_ACK)), "NONE");
	assert_string_equal(in(TCP(FRIEND4, HOST4, 9, 23, F_SYN)), "POLICY_DENY");
	assert_string_equal(in(TCP("192.0.2.99", HOST4, 9, 22, F_SYN)), "POLICY_DENY");
	assert_string_equal(in(TCP(FRIEND6, HOST6, 9, 22, F_SYN)), "POLICY_DENY");
	assert_string_equal(out(TCP(HOST4, FRIEND4, 99, 22, F_SYN)), "POLICY_DENY");
}

/* What is compiled for the one never decides for the other. */
static void an_image_of_the_overlay_is_refused(void **state)
{
	struct pol_subject self = { .app_id = { 1 } };
	struct pol_model *model = NULL;
	auto_free struct pol_image *overlay = NULL, *host = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	struct dp *dp = NULL;
	static const char text[] = HEAD "  - { from: web, to: web, allow: [any] }\n";

	(void)state;
	assert_int_equal(pol_parse("h.yaml", text, strlen(text), &model, &d), 0);
	assert_int_equal(pol_compile(model, &self, NULL, 0, &overlay, &e), 0);
	pol_free(model);
	assert_int_equal(dp_policy_commit(w->dp, overlay, &e), -EINVAL);
	assert_string_equal(e.msg, "is for the overlay");
	assert_int_equal(dp_gen(w->dp).gen, 0);

	host = compiled("  - { from: world, to: host, allow: [any] }\n", NULL, 0);
	e = ERR_INIT;
	assert_int_equal(dp_open(w->bpffs, "other", NULL, &dp, &e), 0);
	assert_int_equal(dp_policy_commit(dp, host, &e), -EINVAL);
	assert_string_equal(e.msg, "is for the underlay");
	dp_close(dp);
	assert_int_equal(dp_destroy(w->bpffs, "other", 0, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(networks_have_classes, fresh, gone),
		cmocka_unit_test_setup_teardown(older_networks_are_gone, fresh, gone),
		cmocka_unit_test_setup_teardown(openings_win_over_denials, fresh, gone),
		cmocka_unit_test_setup_teardown(an_image_of_the_overlay_is_refused, fresh, gone),
	};

	return cmocka_run_group_tests_name("host policy", tests, NULL, NULL);
}
