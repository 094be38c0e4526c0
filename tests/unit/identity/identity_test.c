// SPDX-License-Identifier: Apache-2.0
#include "world.h"

static void reasons_have_names_and_texts(void **state)
{
	(void)state;
	assert_string_equal(id_reason_name(ID_NONE), "NONE");
	assert_string_equal(id_reason_name(ID_QUOTE_SIGNATURE), "QUOTE_SIGNATURE");
	assert_string_equal(id_reason_name(ID_PEER_MISMATCH), "PEER_MISMATCH");
	assert_string_equal(id_reason_text(ID_QUOTE_SIGNATURE), "quote signature is wrong");
	for (int i = 0; i < ID_REASON_COUNT; i++)
		assert_true(id_reason_name(i)[0] && id_reason_text(i)[0]);
}

static void foreign_numbers_are_named_too(void **state)
{
	(void)state;
	assert_string_equal(id_reason_name(-1), "UNKNOWN");
	assert_string_equal(id_reason_name(ID_REASON_COUNT), "UNKNOWN");
	assert_string_equal(id_reason_text(1 << 20), "unknown reason");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reasons_have_names_and_texts),
		cmocka_unit_test(foreign_numbers_are_named_too),
	};

	return cmocka_run_group_tests_name("identity/identity", tests, NULL, NULL);
}
