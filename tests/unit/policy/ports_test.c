// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/model.h"

static void every_selector_has_one_name(void **state)
{
	char text[32];
	uint32_t back;

	(void)state;
	for (uint32_t s = 0; s < BY_PORT_SPACE; s++) {
		uint32_t proto = s >= BY_PORT_OTHER ? s - BY_PORT_OTHER : 0;
		bool is_nameless =
			s == BY_PORT_TCP || s == BY_PORT_UDP || proto == 1 || proto == 6 || proto == 17 || proto == 58;

		pol_selector_print(s, text, sizeof(text));
		assert_int_equal(pol_selector_parse(text, &back, NULL), !is_nameless);
		if (!is_nameless)
			assert_int_equal(back, s);
	}
}

static void selectors_lie_where_the_abi_says(void **state)
{
	static const struct {
		const char *text;
		uint32_t selector;
	} c[] = {
		{ "tcp/5432", BY_PORT_TCP + 5432 }, { "udp/53", BY_PORT_UDP + 53 },
		{ "icmp/8", BY_PORT_ICMP + 8 },     { "icmpv6/128", BY_PORT_ICMPV6 + 128 },
		{ "proto/47", BY_PORT_OTHER + 47 }, { "tcp/65535", BY_PORT_TCP + 65535 },
		{ "proto/255", BY_PORT_SPACE - 1 }, { "tcp/7-7", BY_PORT_TCP + 7 },
	};
	uint32_t selector;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		assert_true(pol_selector_parse(c[i].text, &selector, NULL));
		assert_int_equal(selector, c[i].selector);
	}
	selector = 7;
	assert_false(pol_selector_parse("tcp", &selector, NULL));
	assert_false(pol_selector_parse("tcp/1-2", &selector, NULL));
	assert_int_equal(selector, 7);
}

static void ranges_join_and_print(void **state)
{
	struct pol_range r[] = { { 90, 100 }, { 10, 20 }, { 15, 17 }, { 21, 30 }, { 100, 110 }, { 32, 32 } };
	struct pol_range any = { 0, BY_PORT_SPACE - 1 };
	size_t n = ARRAY_LEN(r);
	char text[128], small[24];

	(void)state;
	pol_range_merge(r, &n);
	assert_int_equal(n, 3);
	pol_ranges_print(r, n, text, sizeof(text));
	assert_string_equal(text, "tcp/10-30, tcp/32, tcp/90-110");
	pol_ranges_print(r, n, small, sizeof(small));
	assert_string_equal(small, "tcp/10-30, tcp/32, ...");
	pol_ranges_print(r, n, small, 10);
	assert_string_equal(small, "...");
	pol_ranges_print(&any, 1, text, sizeof(text));
	assert_string_equal(text, "any");
	pol_ranges_print(&(struct pol_range){ 65535, BY_PORT_ICMP + 1 }, 1, text, sizeof(text));
	assert_string_equal(text, "tcp/65535, udp, icmp/0-1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_selector_has_one_name),
		cmocka_unit_test(selectors_lie_where_the_abi_says),
		cmocka_unit_test(ranges_join_and_print),
	};

	return cmocka_run_group_tests_name("policy/ports", tests, NULL, NULL);
}
