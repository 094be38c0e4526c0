// SPDX-License-Identifier: Apache-2.0
/* How long a node waits before it dials its control plane again. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "vpc/join.h"

static void one_server_is_asked_less_and_less_often(void **state)
{
	static const unsigned wanted[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
		assert_int_equal(vpc_join_pause_s(i + 1, 1), wanted[i]);
}

static void the_next_server_is_asked_at_once(void **state)
{
	static const unsigned wanted[] = { 0, 0, 1, 0, 0, 2, 0, 0, 4 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
		assert_int_equal(vpc_join_pause_s(i + 1, 3), wanted[i]);
}

/* Never longer, never none: a node whose control plane was away for years is back within a minute, and no flood. */
static void it_goes_on_for_ever(void **state)
{
	(void)state;
	for (unsigned failures = 7; failures; failures = failures < UINT_MAX / 3 ? 3 * failures : 0)
		assert_int_equal(vpc_join_pause_s(failures, 1), 60);
	assert_int_equal(vpc_join_pause_s(UINT_MAX, 1), 60);
	assert_int_equal(vpc_join_pause_s(UINT_MAX + 1u, 1), 60); /* the count has gone round */
	assert_int_equal(vpc_join_pause_s(UINT_MAX / 8 * 8, 8), 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_server_is_asked_less_and_less_often),
		cmocka_unit_test(the_next_server_is_asked_at_once),
		cmocka_unit_test(it_goes_on_for_ever),
	};

	return cmocka_run_group_tests_name("vpc/join", tests, NULL, NULL);
}
