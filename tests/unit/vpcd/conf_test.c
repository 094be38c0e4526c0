// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "vpcd/vpcd.h"

#define GOOD                                                                                                           \
	"version: 1\n"                                                                                                 \
	"listen: 192.0.2.1:7947\n"                                                                                     \
	"identity: { certificate: /c.pem, key: /c.key }\n"                                                             \
	"evidence: { policy: /e.yaml }\n"                                                                              \
	"admit: /a.yaml\n"

static struct vs_conf conf;

static int parse(const char *text, struct diags *d)
{
	*d = (struct diags){ 0 };
	return vs_conf_parse("vpc.yaml", text, strlen(text), &conf, d);
}

static void address_is(uint32_t pool, uint32_t number, const char *want)
{
	struct by_addr a = vs_conf_address(&conf, pool, number);
	char text[ADDR_TEXT];

	assert_string_equal(addr_print(&a, text), want);
}

static void defaults(void **state)
{
	struct diags d;

	(void)state;
	assert_int_equal(parse(GOOD, &d), 0);
	assert_string_equal(conf.state, "/var/lib/bailey-vpc");
	assert_string_equal(conf.run, "/run/bailey-vpc");
	assert_string_equal(conf.user, "nobody");
	assert_false(conf.approve || conf.has_public_pool);
	assert_int_equal(conf.n_pools, 2);
	assert_int_equal(vs_conf_numbers(&conf), (1 << 22) - 2);
	address_is(0, 1, "100.64.0.1");
	address_is(0, (1 << 22) - 2, "100.127.255.254");
	address_is(1, 0x12345, "fdba:11e7::1:2345");
	diags_fini(&d);
}

static void pools_are_as_told(void **state)
{
	struct diags d;

	(void)state;
	assert_int_equal(parse(GOOD "dstack_pool: true\n", &d), 0);
	assert_true(conf.has_public_pool);
	address_is(0, 1, "100.128.0.1");
	assert_int_equal(parse(GOOD "pools: ['fd00:1::/120', 10.1.2.0/29]\n", &d), 0);
	assert_int_equal(vs_conf_numbers(&conf), 6); /* the smaller one */
	address_is(0, 6, "fd00:1::6");
	address_is(1, 6, "10.1.2.6");
	diags_fini(&d);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ GOOD "pools: [100.64.0.1/10]\n", "needs a prefix like" },
		{ GOOD "pools: [10.0.0.0/30]\n", "with room for 6 nodes" },
		{ GOOD "pools: []\n", "has 0 entries, needs 1 to 4" },
		{ GOOD "dstack_pool: true\npools: [10.0.0.0/8]\n", "stands in place of pools" },
		{ GOOD "max_nodes: 0\n", "0 is below 1" },
		{ GOOD "state: here\n", "needs a path from the root" },
		{ GOOD "pool: x\n", "pool" },
		{ "version: 2\n" GOOD, "there already" },
		{ "version: 1\nlisten: here\nidentity: { agent: /a }\nevidence: { policy: /e }\nadmit: /a\n",
		  "needs ADDRESS:PORT" },
		{ "version: 1\nlisten: 192.0.2.1:1\nidentity: { agent: /a, key: /k }\nevidence: { policy: /e }\n"
		  "admit: /a\n",
		  "in place of certificate and key" },
		{ "version: 1\nlisten: 192.0.2.1:1\nidentity: { agent: /a }\nevidence: { policy: /e }\n", "admit" },
		{ "[]\n", "needs a map" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct diags d;
		bool is_said = false;

		assert_int_equal(parse(bad[i].text, &d), -EINVAL);
		for (size_t j = 0; j < d.n; j++)
			is_said =
				is_said || strstr(d.item[j].msg, bad[i].error) || strstr(d.item[j].path, bad[i].error);
		if (!is_said)
			print_message("# case %zu: %s\n", i, d.item[0].msg);
		assert_true(is_said);
		diags_fini(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(pools_are_as_told),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests_name("vpcd/conf", tests, NULL, NULL);
}
