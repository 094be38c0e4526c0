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

static bool takes(const json_t *schema, const char *type)
{
	const json_t *types = json_object_get(schema, "type"), *t;
	size_t i;

	json_array_foreach (types, i, t)
		if (strcmp(json_string_value(t), type) == 0)
			return true;
	return false;
}

/* Forty digits without a letter are a number to an editor's YAML, and the ids of policy/examples have such. */
static void an_id_may_look_like_a_number(void **state)
{
	json_t *root = json_load_file("policy/schema.json", JSON_REJECT_DUPLICATES, NULL);
	json_t *d = json_object_get(root, "definitions");
	const json_t *test = json_object_get(json_object_get(d, "test"), "properties");
	const json_t *hex[] = { json_object_get(d, "id"),
				json_array_get(json_object_get(json_object_get(d, "hashes"), "oneOf"), 0),
				json_array_get(json_object_get(json_object_get(d, "measurements"), "oneOf"), 0),
				json_object_get(test, "from"),
				json_object_get(test, "to"),
				json_object_get(test, "on") };

	(void)state;
	for (size_t i = 0; i < sizeof(hex) / sizeof(*hex); i++)
		if (!takes(hex[i], "string") || !takes(hex[i], "number"))
			fail_msg("%zu: not both", i);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schema_has_the_keys_of_the_parser),
		cmocka_unit_test(an_id_may_look_like_a_number),
	};

	return cmocka_run_group_tests_name("policy/schema", tests, NULL, NULL);
}
