// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/diag.h"
#include "policy/near.h"

static char *printed(const struct diags *d)
{
	char *said = NULL;
	size_t size;
	FILE *to = open_memstream(&said, &size);

	diags_print(d, to);
	fclose(to);
	return said;
}

static void prints_in_file_order(void **state)
{
	auto_free char *said = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(diags_first(&d, &e), 0);
	diags_add(&d, "p.yaml", 9, 2, "rules[1]", "last");
	diags_warn(&d, "p.yaml", 1, 1, "", "only %s", "a warning");
	diags_add(&d, "p.yaml", 9, 1, "", "before the last");
	assert_int_equal(d.n_errors, 2);
	said = printed(&d);
	assert_string_equal(said, "p.yaml:1:1: warning: only a warning\np.yaml:9:1: before the last\n"
				  "p.yaml:9:2: rules[1]: last\n");
	assert_int_equal(diags_first(&d, &e), -22);
	assert_string_equal(e.where, "p.yaml:9:1");
	assert_string_equal(e.msg, "before the last");
	diags_fini(&d);
}

static void many_end_in_one_line(void **state)
{
	auto_free char *said = NULL;
	struct diags d = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		diags_warn(&d, "p.yaml", 200 - i, 1, "", "w");
	for (unsigned i = 0; i < 50; i++)
		diags_add(&d, "p.yaml", 1, 1, "", "e");
	assert_int_equal(d.n, DIAGS_MAX + 1);
	assert_int_equal(d.n_errors, 50);
	said = printed(&d);
	assert_non_null(
		strstr(said, "p.yaml:200:1: warning: w\np.yaml: more problems than these 100; they are not shown\n"));
	assert_int_equal(diags_first(&d, NULL), -22);
	diags_fini(&d);
}

static void nearest_word(void **state)
{
	static const char *const keys[] = { "from", "to", "allow", "deny", "name", NULL };

	(void)state;
	assert_string_equal(near_of("form", keys), "from");
	assert_string_equal(near_of("alow", keys), "allow");
	assert_string_equal(near_of("t", keys), "to");
	assert_null(near_of("", keys));
	assert_null(near_of("zebra", keys));
	assert_null(near_of("a-very-long-word-that-is-near-to-none-of-them-and-longer-than-the-table", keys));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_in_file_order),
		cmocka_unit_test(many_end_in_one_line),
		cmocka_unit_test(nearest_word),
	};

	return cmocka_run_group_tests_name("policy/diag", tests, NULL, NULL);
}
