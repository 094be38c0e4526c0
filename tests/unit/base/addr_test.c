// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/addr.h"

static void parses_both_families(void **state)
{
	char text[ADDR_TEXT];
	struct by_addr a;

	(void)state;
	assert_true(addr_parse(&a, "100.64.0.2"));
	assert_true(addr_is_v4(&a));
	assert_string_equal(addr_print(&a, text), "100.64.0.2");
	assert_true(addr_parse(&a, "fd00:0:0::2"));
	assert_false(addr_is_v4(&a));
	assert_string_equal(addr_print(&a, text), "fd00::2");
}

static void refuses_and_leaves_the_output(void **state)
{
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "256.0.0.1", " 1.2.3.4", "1.2.3.4 ", "fd00::g" };
	struct by_addr a = { .b = { 7 } };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(addr_parse(&a, bad[i]));
	assert_int_equal(a.b[0], 7);
}

static void prefix_needs_a_length_of_its_family(void **state)
{
	static const char *const bad[] = { "10.0.0.1",    "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/024",
					   "10.0.0.1/-1", "fd00::/129",  "fd00::/1 " };
	struct ip_prefix p;
	char text[PREFIX_TEXT];

	(void)state;
	assert_true(prefix_parse(&p, "100.64.0.0/10"));
	assert_string_equal(prefix_print(&p, text), "100.64.0.0/10");
	assert_true(prefix_parse(&p, "fd00::/128"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(prefix_parse(&p, bad[i]));
}

static void prefix_holds_its_addresses_only(void **state)
{
	static const struct {
		const char *prefix, *addr;
		bool in;
	} c[] = {
		{ "100.64.0.0/10", "100.127.255.255", true },
		{ "100.64.0.0/10", "100.128.0.0", false },
		{ "10.1.2.3/32", "10.1.2.3", true },
		{ "10.1.2.3/32", "10.1.2.2", false },
		{ "0.0.0.0/0", "1.2.3.4", true },
		{ "0.0.0.0/0", "::1", false },
		{ "::/0", "fd00::1", true },
		{ "::/0", "1.2.3.4", false },
		{ "fd00:1::/33", "fd00:1:7fff::", true },
		{ "fd00:1::/33", "fd00:1:8000::", false },
	};
	struct ip_prefix p;
	struct by_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		assert_true(prefix_parse(&p, c[i].prefix) && addr_parse(&a, c[i].addr));
		assert_int_equal(addr_in_prefix(&a, &p), c[i].in);
	}
}

static void endpoint_goes_to_sockaddr_and_back(void **state)
{
	static const char *const good[] = { "10.0.0.1:51820", "[fd00::1]:65535" };
	static const char *const bad[] = { "10.0.0.1",     "10.0.0.1:0", "10.0.0.1:65536", "fd00::1:1", "[fd00::1]",
					   "[10.0.0.1]:1", ":1",         "[]:1",           "]:1",       "[:1" };
	struct sockaddr_storage ss;
	struct ip_endpoint e, back;
	char text[ENDPOINT_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(endpoint_parse(&e, good[i]));
		assert_true(endpoint_to_sockaddr(&e, &ss) > 0);
		assert_true(endpoint_from_sockaddr(&back, (struct sockaddr *)&ss));
		assert_string_equal(endpoint_print(&back, text), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(endpoint_parse(&e, bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_both_families),
		cmocka_unit_test(refuses_and_leaves_the_output),
		cmocka_unit_test(prefix_needs_a_length_of_its_family),
		cmocka_unit_test(prefix_holds_its_addresses_only),
		cmocka_unit_test(endpoint_goes_to_sockaddr_and_back),
	};

	return cmocka_run_group_tests_name("base/addr", tests, NULL, NULL);
}
