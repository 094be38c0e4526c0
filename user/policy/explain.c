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
		a.file = model->file[rule->file].shown;
		a.line = rule->line;
	} else if ((rule = nearest(model, from_app, to_app, selector))) {
		a.nearest_rule = rule->name;
		a.nearest_file = model->file[rule->file].shown;
		a.nearest_line = rule->line;
		pol_ranges_print(rule->port, rule->n_ports, a.nearest_ports, sizeof(a.nearest_ports));
	}
	*answer = a;
	return 0;
}

/* "web", or "web (in frontends)" where a group is asked about. */
static void end_print(const struct pol_model *model, const struct pol_end *end, uint32_t app, char *buf, size_t size)
{
	if (end->is_group)
		snprintf(buf, size, "%s (in %s)", model->app[app].name, end->name);
	else
		snprintf(buf, size, "%s", end->name);
}

static void tell_failure(const struct pol_model *model, size_t i, uint32_t from, uint32_t to,
			 const struct pol_rule *rule, struct diags *d)
{
	const struct pol_test *test = &model->test[i];
	char why[192], where[POL_PLACE_MAX], port[32], path[32], from_name[128], to_name[128];
	size_t first = i;

	while (first && model->test[first - 1].file == test->file)
		first--;
	if (rule && rule->file == test->file)
		snprintf(why, sizeof(why), "rule %s, line %u", rule->name, rule->line);
	else if (rule)
		snprintf(why, sizeof(why), "rule %s, %s", rule->name,
			 pol_place(model, test->file, rule->file, rule->line, where));
	else
		snprintf(why, sizeof(why), "default deny");
	pol_selector_print(test->selector, port, sizeof(port));
	snprintf(path, sizeof(path), "tests[%zu]", i - first);
	end_print(model, &test->from, from, from_name, sizeof(from_name));
	end_print(model, &test->to, to, to_name, sizeof(to_name));
	diags_add(d, model->file[test->file].name, test->line, test->col, path, "%s to %s %s is %s (%s), expected %s",
		  from_name, to_name, port, rule && rule->action == BY_ALLOW ? "allowed" : "denied", why,
		  test->expect == BY_ALLOW ? "allow" : "deny");
}

/* A test of groups holds when it holds for every pair of their apps; the first that fails is told. */
static bool run_test(const struct pol_model *model, size_t i, struct diags *d)
{
	const struct pol_test *test = &model->test[i];

	for (size_t f = 0; f < test->from.n; f++) {
		for (size_t t = 0; t < test->to.n; t++) {
			uint32_t from = test->from.app[f], to = test->to.app[t];
			const struct pol_rule *rule = pol_decide(model, from, to, test->selector);

			if ((rule ? rule->action : BY_DENY) == test->expect)
				continue;
			tell_failure(model, i, from, to, rule, d);
			return false;
		}
	}
	return true;
}

size_t pol_run_tests(const struct pol_model *model, struct diags *d, size_t *n_tests)
{
	size_t failed = 0;

	for (size_t i = 0; i < model->n_tests; i++)
		failed += !run_test(model, i, d);
	*n_tests = model->n_tests;
	return failed;
}
