// SPDX-License-Identifier: Apache-2.0
/* policy/schema.json tells editors the keys that the parser knows, neither more nor fewer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "policy/model.h"

static void same_keys(const json_t *map, const char *const *known)
{
	const json_t *properties = json_object_get(map, "properties");
	size_t n = 0;

	for (; known[n]; n++)
		if (!json_object_get(properties, known[n]))
			fail_msg("schema.json lacks '%s'", known[n]);
	assert_int_equal(json_object_size(properties), n);
	assert_true(json_is_false(json_object_get(map, "additionalProperties")));
}

static void schema_has_the_keys_of_the_parser(void **state)
{
	json_t *root = json_load_file("policy/schema.json", JSON_REJECT_DUPLICATES, NULL), *definitions;

	(void)state;
	assert_non_null(root);
	definitions = json_object_get(root, "definitions");
	same_keys(root, pol_keys_top);
	same_keys(json_object_get(definitions, "app"), pol_keys_app);
	same_keys(json_object_get(definitions, "rule"), pol_keys_rule);
	same_keys(json_object_get(definitions, "test"), pol_keys_test);
	same_keys(json_object_get(definitions, "instance"), pol_keys_instance);
	same_keys(json_object_get(definitions, "claim"), pol_keys_claim);
	same_keys(json_object_get(definitions, "proved"), pol_keys_claim);
	same_keys(json_object_get(definitions, "rate"), pol_keys_rate);
	same_keys(json_object_get(definitions, "http"), pol_keys_http);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(schema_has_the_keys_of_the_parser) };

	return cmocka_run_group_tests_name("policy/schema", tests, NULL, NULL);
}
