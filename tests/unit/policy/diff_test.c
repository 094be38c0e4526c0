// SPDX-License-Identifier: Apache-2.0
/* A flow is in the difference of two policies if and only if explain answers otherwise, and then in one change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/diff.h"
#include "policy/model.h"
#include "world.h"

#define PAIRS   300
#define PACKETS 200

DEFINE_CLEANUP(model, struct pol_model, pol_free)

static unsigned n_more, n_less, n_same;

static struct pol_model *parsed(const char *text)
{
	struct pol_model *model = NULL;
	struct diags d = { 0 };

	if (pol_parse("w.yaml", text, strlen(text), &model, &d) < 0)
		fail_msg("%s: %s", d.item[0].msg, text);
	diags_fini(&d);
	return model;
}

static bool is_allowed(const struct pol_model *model, const struct pol_subject *from, const struct pol_subject *to,
		       uint32_t selector)
{
	struct pol_answer answer;

	pol_explain_nodes(model, from, to, selector, &answer);
	return answer.action == BY_ALLOW;
}

static unsigned changes_with(const struct pol_diff *diff, const uint32_t *from, const uint32_t *to, uint32_t selector)
{
	unsigned n = 0;

	for (size_t i = 0; i < diff->n_changes; i++) {
		struct pol_diff one = *diff;

		one.change = &diff->change[i];
		one.n_changes = 1;
		n += pol_diff_get(&one, from, to, selector) != NULL;
	}
	return n;
}

/* App-id APPS + 1 stands where one policy has another app-id for an app. */
static struct pol_subject roll_subject(void)
{
	struct node n = node_of(roll(ALL_NODES));

	n.app = roll(APPS + 2);
	return subject(n);
}

static void check_flow(const struct pol_model *old, const struct pol_model *new, const struct pol_diff *diff)
{
	struct pol_subject f = roll_subject(), t = roll_subject();
	uint32_t from[2] = { pol_kind_of(old, &f), pol_kind_of(new, &f) };
	uint32_t to[2] = { pol_kind_of(old, &t), pol_kind_of(new, &t) };
	uint32_t selector = roll_selector();
	bool before = is_allowed(old, &f, &t, selector), after = is_allowed(new, &f, &t, selector);
	const struct pol_change *change = pol_diff_get(diff, from, to, selector);

	assert_int_equal(change != NULL, before != after);
	assert_int_equal(changes_with(diff, from, to, selector), before != after);
	if (change)
		assert_int_equal(change->now == BY_ALLOW, after);
	n_more += after && !before;
	n_less += before && !after;
	n_same += before == after;
}

static void replace(char *text, const char *what, const char *with)
{
	assert_int_equal(strlen(what), strlen(with));
	for (char *at = text; (at = strstr(at, what)); at += strlen(what))
		memcpy(at, with, strlen(what));
}

/* Some apps get other names, which is no difference; at times one gets another app-id, which is. */
static void rename_apps(char *text)
{
	char old_id[2 * BY_APP_ID_LEN + 1], new_id[2 * BY_APP_ID_LEN + 1];
	struct pol_subject was = subject((struct node){ .app = 2 });
	struct pol_subject is = subject((struct node){ .app = APPS + 1 });

	hex_print(old_id, was.app_id, BY_APP_ID_LEN);
	hex_print(new_id, is.app_id, BY_APP_ID_LEN);
	if (roll(2))
		replace(text, "app4", "shop");
	if (roll(3) == 0)
		replace(text, old_id, new_id);
}

static void check_pair(void)
{
	struct world a = { 0 }, b = { 0 };
	auto_free char *old_text = write_world(&a), *new_text = roll(8) ? write_world(&b) : strdup(old_text);
	auto_call(cleanup_model) struct pol_model *old = parsed(old_text), *new = NULL;
	struct pol_diff diff = { 0 };
	struct err e = ERR_INIT;

	rename_apps(new_text);
	new = parsed(new_text);
	assert_int_equal(pol_diff_make(old, new, &diff, &e), 0);
	for (unsigned p = 0; p < PACKETS; p++)
		check_flow(old, new, &diff);
	pol_diff_fini(&diff);
	assert_int_equal(pol_diff_make(new, new, &diff, &e), 0);
	assert_int_equal(diff.n_changes, 0);
	pol_diff_fini(&diff);
}

static void diff_is_where_explain_differs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PAIRS; i++)
		check_pair();
	print_message("# %u newly allowed, %u newly denied, %u as before\n", n_more, n_less, n_same);
	assert_true(n_more > 1000 && n_less > 1000 && n_same > 1000);
}

static void another_name_is_no_difference(void **state)
{
	struct world w = { 0 };
	auto_free char *old_text = write_world(&w), *new_text = strdup(old_text);
	auto_call(cleanup_model) struct pol_model *old = parsed(old_text), *new = NULL;
	struct pol_diff diff = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	replace(new_text, "app1", "shop");
	new = parsed(new_text);
	assert_int_equal(pol_diff_make(old, new, &diff, &e), 0);
	assert_int_equal(diff.n_changes, 0);
	assert_string_equal(diff.app[1].label, "shop");
	pol_diff_fini(&diff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(diff_is_where_explain_differs),
		cmocka_unit_test(another_name_is_no_difference),
	};

	return cmocka_run_group_tests_name("policy/diff", tests, NULL, NULL);
}
