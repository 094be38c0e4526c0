// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

static void text_of_any_length_is_whole(void **state)
{
	auto_out struct out out = { 0 };
	char much[5000];

	(void)state;
	memset(much, 'x', sizeof(much) - 1);
	much[sizeof(much) - 1] = '\0';
	for (int i = 0; i < 100; i++) /* past every size that it grows to */
		out_print(&out, "%d%s\n", i % 10, i == 50 ? much : "");
	assert_true(out_ok(&out));
	assert_int_equal(out.len, 100 * 2 + strlen(much));
	assert_memory_equal(out.data, "0\n1\n2\n", 6);
	assert_memory_equal(out.data + 101, much, strlen(much));
	assert_memory_equal(out.data + out.len - 4, "8\n9\n", 4);
}

static void no_text_is_nothing(void **state)
{
	auto_out struct out out = { 0 };

	(void)state;
	out_print(&out, "%s", "");
	assert_true(out_ok(&out));
	assert_int_equal(out.len, 0);
	assert_null(out.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_any_length_is_whole),
		cmocka_unit_test(no_text_is_nothing),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
