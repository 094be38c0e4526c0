// SPDX-License-Identifier: Apache-2.0
/* The fixed part of `make check-equal`: what the programs decide is what the image and explain say. */
#include "../lib/equal.h"
#include "../lib/world.h"

static void programs_image_and_explain_agree(void **state)
{
	struct equal eq = { .seed = 0x9e3779b97f4a7c15u, .packets = 500 };

	(void)state;
	assert_true(equal_run(&eq, 80));
	assert_int_equal(eq.n_cases, 40000);
	/* all ends of the ladder are met */
	assert_true(eq.n_allowed > 1000 && eq.n_denied > 1000 && eq.n_default > 1000 && eq.n_audited > 1000);
}

static void host_programs_image_and_explain_agree(void **state)
{
	struct equal eq = { .seed = 0x2545f4914f6cdd1du, .packets = 500 };

	(void)state;
	assert_true(equal_host_run(&eq, 40));
	assert_int_equal(eq.n_cases, 20000);
	assert_true(eq.n_allowed > 500 && eq.n_denied > 500 && eq.n_default > 500 && eq.n_audited > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(programs_image_and_explain_agree),
					    cmocka_unit_test(host_programs_image_and_explain_agree) };

	return cmocka_run_group_tests_name("bpf/equal", tests, NULL, NULL);
}
