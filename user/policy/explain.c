// SPDX-License-Identifier: Apache-2.0
/*
 * The ladder, and the same ladder in words:
 *   1 a deny rule that covers the packet, the first in the file     -> deny
 *   2 an allow rule that covers it, the first in the file           -> allow
 *   3 default deny
 * It reads the model, never the image, so that tests can hold one against the other.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

static bool is_between(const struct pol_rule *rule, uint32_t from, uint32_t to)
{
	return pol_side_has(&rule->from, from) && pol_side_has(&rule->to, to);
}

const struct pol_rule *pol_decide(const struct pol_model *model, uint32_t from, uint32_t to, uint32_t selector)
{
	const struct pol_rule *allow = NULL;

	for (size_t i = 0; i < model->n_rules; i++) {
		const struct pol_rule *rule = &model->rule[i];

		if (!pol_rule_covers(rule, selector) || !is_between(rule, from, to))
			continue;
		if (rule->action == BY_DENY)
			return rule;
		if (!allow)
			allow = rule;
	}
	return allow;
}

/* How far a rule's ports are from a selector. */
static uint32_t gap(const struct pol_rule *rule, uint32_t selector)
{
	uint32_t least = UINT32_MAX;

	for (size_t i = 0; i < rule->n_ports; i++) {
		uint32_t d = selector < rule->port[i].first  ? rule->port[i].first - selector
			     : selector > rule->port[i].last ? selector - rule->port[i].last
							     : 0;

		if (d < least)
			least = d;
	}
	return least;
}

/* The allow rule of the same two apps whose ports are nearest. The protocols lie apart in the space, so the own comes
 * first. */
static const struct pol_rule *nearest(const struct pol_model *model, uint32_t from, uint32_t to, uint32_t selector)
{
	const struct pol_rule *best = NULL;

	for (size_t i = 0; i < model->n_rules; i++) {
		const struct pol_rule *rule = &model->rule[i];

		if (rule->action != BY_ALLOW || !is_between(rule, from, to))
			continue;
		if (!best || gap(rule, selector) < gap(best, selector))
			best = rule;
	}
	return best;
}

int pol_explain(const struct pol_model *model, const char *from, const char *to, uint32_t selector,
		struct pol_answer *answer, struct err *e)
{
	struct pol_answer a = { .action = BY_DENY, .rung = "default deny" };
	const struct pol_rule *rule;
	uint32_t from_app, to_app;

	if (pol_endpoint_find(model, from, &from_app, e) < 0 || pol_endpoint_find(model, to, &to_app, e) < 0)
		return -ENOENT;
	rule = pol_decide(model, from_app, to_app, selector);
	if (rule) {
		a.action = rule->action;
		a.rung = "rule";
		a.rule = rule->name;
		a.file = model->base;
		a.line = rule->line;
	} else if ((rule = nearest(model, from_app, to_app, selector))) {
		a.nearest_rule = rule->name;
		a.nearest_file = model->base;
		a.nearest_line = rule->line;
		pol_ranges_print(rule->port, rule->n_ports, a.nearest_ports, sizeof(a.nearest_ports));
	}
	*answer = a;
	return 0;
}

static bool run_test(const struct pol_model *model, size_t i, struct diags *d)
{
	const struct pol_test *test = &model->test[i];
	const struct pol_rule *rule = pol_decide(model, test->from, test->to, test->selector);
	enum by_action action = rule ? rule->action : BY_DENY;
	char why[128], port[32], path[32];

	if (action == test->expect)
		return true;
	if (rule)
		snprintf(why, sizeof(why), "rule %s, line %u", rule->name, rule->line);
	else
		snprintf(why, sizeof(why), "default deny");
	pol_selector_print(test->selector, port, sizeof(port));
	snprintf(path, sizeof(path), "tests[%zu]", i);
	diags_add(d, model->file, test->line, test->col, path, "%s to %s %s is %s (%s), expected %s", test->from_name,
		  test->to_name, port, action == BY_ALLOW ? "allowed" : "denied", why,
		  test->expect == BY_ALLOW ? "allow" : "deny");
	return false;
}

size_t pol_run_tests(const struct pol_model *model, struct diags *d, size_t *n_tests)
{
	size_t failed = 0;

	for (size_t i = 0; i < model->n_tests; i++)
		failed += !run_test(model, i, d);
	*n_tests = model->n_tests;
	return failed;
}
