// SPDX-License-Identifier: Apache-2.0
/* Names for apps and ports: what they may expand to is bounded, whatever a small text asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/model.h"

DEFINE_CLEANUP(model, struct pol_model, pol_free)

/* n apps, a group `all` of them, and what `tail` has. */
static char *text_of(unsigned n, const char *tail)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fprintf(to, "version: 1\napps:\n");
	for (unsigned i = 0; i < n; i++)
		fprintf(to, "  app%u: { app-id: %040x }\n", i, i);
	fprintf(to, "groups:\n  all: [");
	for (unsigned i = 0; i < n; i++)
		fprintf(to, "%sapp%u", i ? ", " : "", n - 1 - i);
	fprintf(to, "]\n%s", tail);
	fclose(to);
	return text;
}

/* The first error, or NULL. */
static char *fault_of(const char *text, struct pol_model **model)
{
	struct diags d = { 0 };
	char *fault = NULL;

	if (pol_parse("n.yaml", text, strlen(text), model, &d) < 0)
		fault = strdup(d.item[0].msg);
	diags_fini(&d);
	return fault;
}

#define RULE "rules:\n  - { from: all, to: all, allow: [tcp/1] }\n"
#define TEST RULE "tests:\n  - { from: all, to: all, port: tcp/1, expect: allow }\n"

static void a_group_is_its_apps(void **state)
{
	auto_call(cleanup_model) struct pol_model *model = NULL;
	auto_free char *text = text_of(100, TEST), *fault = fault_of(text, &model);
	struct diags d = { 0 };
	size_t n_tests;

	(void)state;
	assert_null(fault);
	assert_int_equal(model->rule[0].from.n, 100);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(model->rule[0].from.point[i], i);
	assert_int_equal(pol_run_tests(model, &d, &n_tests), 0);
}

static void a_test_stands_for_so_many_pairs(void **state)
{
	auto_call(cleanup_model) struct pol_model *model = NULL;
	auto_free char *text = text_of(101, TEST), *fault = fault_of(text, &model);

	(void)state;
	assert_non_null(fault);
	assert_string_equal(fault, "stands for 10201 pairs of apps, the limit is 10000");
}

static void names_expand_so_far(void **state)
{
	auto_call(cleanup_model) struct pol_model *model = NULL;
	auto_free char *tail = NULL, *text = NULL, *fault = NULL;
	size_t size;
	FILE *to = open_memstream(&tail, &size);

	(void)state;
	for (unsigned g = 0; g < 1100; g++)
		fprintf(to, "  g%u: [all]\n", g);
	fprintf(to, RULE);
	fclose(to);
	text = text_of(16000, tail);
	fault = fault_of(text, &model);
	assert_non_null(fault);
	assert_string_equal(fault, "the policy's names expand to more than 16777216 apps and ports");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_is_its_apps),
		cmocka_unit_test(a_test_stands_for_so_many_pairs),
		cmocka_unit_test(names_expand_so_far),
	};

	return cmocka_run_group_tests_name("policy/names", tests, NULL, NULL);
}
