// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/env.h"

static void a_variable_is_its_whole_name(void **state)
{
	struct env_var var;

	(void)state;
	assert_true(env_split(&var, "PATH=/bin=2"));
	assert_true(env_is(&var, "PATH"));
	assert_false(env_is(&var, "PAT"));
	assert_false(env_is(&var, "PATHS"));
	assert_string_equal(var.value, "/bin=2");
}

static void without_name_or_value_it_is_none(void **state)
{
	static const char *const none[] = { "", "PATH", "PATH=", "=", "=/bin" };
	struct env_var var;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		assert_false(env_split(&var, none[i]));
}

static void only_a_family_s_unknown_is_a_mistake(void **state)
{
	static const char *const families[] = { "MESH_", "BAILEY_MESH_", NULL };
	struct err e = ERR_INIT;
	struct env_var var;

	(void)state;
	assert_true(env_split(&var, "HOME=/root"));
	assert_int_equal(env_unknown(&var, families, "a test", &e), 0);
	assert_true(env_split(&var, "BAILEY_MESH_PROT=1"));
	assert_int_equal(env_unknown(&var, families, "a test", &e), -EINVAL);
	assert_string_equal(e.where, "environment");
	assert_string_equal(e.msg, "BAILEY_MESH_PROT is no variable of a test");
}

static void ports_are_1_to_65535(void **state)
{
	static const char *const bad[] = { "", "0", "65536", "-1", "+1", " 1", "1 ", "0x10", "000001" };
	uint16_t port = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(env_port(bad[i], &port, NULL), -EINVAL);
	assert_int_equal(port, 7);
	assert_int_equal(env_port("65535", &port, NULL), 0);
	assert_int_equal(port, 65535);
}

static void flags_are_two_words(void **state)
{
	static const char *const bad[] = { "", "1", "yes", "True", "true " };
	bool is_on = true;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(env_flag(bad[i], &is_on, NULL), -EINVAL);
	assert_true(is_on);
	assert_int_equal(env_flag("false", &is_on, NULL), 0);
	assert_false(is_on);
	assert_int_equal(env_flag("true", &is_on, NULL), 0);
	assert_true(is_on);
}

static void paths_start_at_the_root_and_fit(void **state)
{
	struct err e = ERR_INIT;
	char path[5] = "old";

	(void)state;
	assert_int_equal(env_path("run", path, sizeof(path), &e), -EINVAL);
	assert_string_equal(e.msg, "needs a path from the root, found 'run'");
	assert_int_equal(env_path("/runs", path, sizeof(path), NULL), -EINVAL);
	assert_string_equal(path, "old");
	assert_int_equal(env_path("/run", path, sizeof(path), NULL), 0);
	assert_string_equal(path, "/run");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_variable_is_its_whole_name),
		cmocka_unit_test(without_name_or_value_it_is_none),
		cmocka_unit_test(only_a_family_s_unknown_is_a_mistake),
		cmocka_unit_test(ports_are_1_to_65535),
		cmocka_unit_test(flags_are_two_words),
		cmocka_unit_test(paths_start_at_the_root_and_fit),
	};

	return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
