// SPDX-License-Identifier: Apache-2.0
/* YAML -> model. Every check goes on after a failure, so that a person sees all problems of a file at once. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"
#include "near.h"

const char *const pol_keys_top[] = { "version", "include", "apps", "groups", "ports", "rules", "tests", NULL };
const char *const pol_keys_app[] = { "app-id", NULL };
const char *const pol_keys_rule[] = { "name", "from", "to", "allow", "deny", NULL };
const char *const pol_keys_test[] = { "from", "to", "port", "expect", NULL };

void *check_room(struct check *c, size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		wrong(c, NULL, "out of memory");
	return p;
}

char *check_copy(struct check *c, const char *text)
{
	char *p = strdup(text);

	if (!p)
		wrong(c, NULL, "out of memory");
	return p;
}

void *check_entries(struct check *c, const struct yaml_node *at, size_t n, size_t size)
{
	c->n_entries += n;
	if (c->n_entries <= CHECK_ENTRIES_MAX)
		return check_room(c, n, size);
	wrong(c, at, "the policy's names expand to more than %u apps and ports", CHECK_ENTRIES_MAX);
	return NULL;
}

const char *check_name_fault(const char *name)
{
	if (!name[0])
		return "is empty";
	if (strlen(name) > POL_NAME_MAX)
		return "is longer than 47 characters";
	if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		return "has other characters than a-z, 0-9 and -";
	return name[0] == '-' ? "starts with -" : NULL;
}

void check_key_error(struct check *c, const struct yaml_node *map, size_t i, const char *what, const char *fault)
{
	diags_add(c->d, map->child[i]->source->name, map->key_line[i], map->key_col[i], map->child[i]->path,
		  "%s '%s' %s", what, map->key[i], fault);
}

/* --- rules ------------------------------------------------------------------------------------------------- */

static void read_action(struct check *c, const struct yaml_node *node, struct pol_rule *rule)
{
	const struct yaml_node *allow = yaml_get(node, "allow"), *deny = yaml_get(node, "deny");

	if (allow && deny)
		wrong(c, deny, "a rule has 'allow' or 'deny', not both; write two rules");
	else if (!allow && !deny)
		wrong(c, node, "the key 'allow' or 'deny' is missing");
	rule->action = allow ? BY_ALLOW : BY_DENY;
	if (allow)
		check_port_list(c, allow, rule);
	else if (deny)
		check_port_list(c, deny, rule);
}

static void read_rule_name(struct check *c, const struct yaml_node *node, size_t i, struct pol_rule *rule)
{
	const struct yaml_node *at = yaml_get(node, "name");
	const char *name = at ? yaml_str(c->doc, at, c->d) : NULL, *fault;
	char made[32];

	if (name && (fault = check_name_fault(name)))
		wrong(c, at, "rule name '%.80s' %s", name, fault);
	snprintf(made, sizeof(made), "rule-%zu", i + 1);
	rule->name = check_copy(c, name ? name : made);
}

static void read_rule(struct check *c, const struct yaml_node *node, size_t i, struct pol_rule *rule)
{
	rule->file = node->source->number;
	rule->line = node->line;
	rule->col = node->col;
	yaml_known_keys(c->doc, node, pol_keys_rule, c->d);
	read_rule_name(c, node, i, rule);
	if (node->kind != YAML_MAP)
		return;
	check_side(c, node, "from", &rule->from);
	check_side(c, node, "to", &rule->to);
	read_action(c, node, rule);
}

static int order_rule_name(const void *a, const void *b, void *arg)
{
	const struct pol_model *model = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = strcmp(model->rule[i].name, model->rule[j].name);

	return order ? order : (i > j) - (i < j);
}

static void refuse_duplicate_names(struct check *c, const struct yaml_node *rules)
{
	struct pol_model *model = c->model;
	auto_free uint32_t *order = check_room(c, model->n_rules, sizeof(*order));

	if (!order)
		return;
	for (uint32_t i = 0; i < model->n_rules; i++)
		order[i] = i;
	qsort_r(order, model->n_rules, sizeof(*order), order_rule_name, model);
	for (size_t i = 1; i < model->n_rules; i++) {
		const struct pol_rule *first = &model->rule[order[i - 1]], *again = &model->rule[order[i]];
		const struct yaml_node *node = rules->child[order[i]], *name = yaml_get(node, "name");
		char where[POL_PLACE_MAX];

		if (strcmp(first->name, again->name) == 0)
			wrong(c, name ? name : node, "the rule %s is named '%s' already",
			      pol_place(model, again->file, first->file, first->line, where), first->name);
	}
}

static void read_rules(struct check *c, const struct yaml_node *rules)
{
	struct pol_model *model = c->model;

	if (rules->kind != YAML_LIST || !rules->n) {
		wrong(c, rules,
		      "needed a list of at least one rule; { from: " POL_ANY ", to: " POL_ANY
		      ", deny: [any] } denies everything");
		return;
	}
	model->rule = check_room(c, rules->n, sizeof(*model->rule));
	for (size_t i = 0; model->rule && i < rules->n; i++) {
		read_rule(c, rules->child[i], i, &model->rule[i]);
		model->n_rules++;
		if (!model->rule[i].name)
			return;
	}
	if (model->rule)
		refuse_duplicate_names(c, rules);
}

/* --- tests ------------------------------------------------------------------------------------------------- */

/* Unlike a packet, a test may name a group: the nearest may be one. */
static void unknown_end(struct check *c, const struct yaml_node *node, const struct err *e)
{
	const struct pol_model *model = c->model;
	struct near near = NEAR_INIT(node->text);

	for (size_t i = 0; i < model->n_apps && c->d->n < DIAGS_MAX; i++)
		near_offer(&near, model->app[i].name);
	for (size_t i = 0; i < model->n_groups && c->d->n < DIAGS_MAX; i++)
		near_offer(&near, model->group[i].name);
	if (near.best)
		wrong(c, node, "unknown app '%s'; did you mean '%s'?", node->text, near.best);
	else
		wrong(c, node, "%s", e->msg);
}

static void read_endpoint(struct check *c, const struct yaml_node *test, const char *key, struct pol_end *end)
{
	const struct yaml_node *node = yaml_need(c->doc, test, key, YAML_SCALAR, c->d);
	const struct pol_group *group = node ? pol_group_by_name(c->model, node->text) : NULL;
	struct err e = ERR_INIT;

	if (!node)
		return;
	end->name = check_copy(c, node->text);
	end->is_group = group != NULL;
	end->n = group ? group->n : 1;
	end->app = check_entries(c, node, end->n, sizeof(*end->app));
	if (!end->app)
		end->n = 0;
	else if (group && group->n)
		memcpy(end->app, group->app, group->n * sizeof(*end->app));
	else if (!group && pol_endpoint_find(c->model, node->text, end->app, &e) < 0)
		unknown_end(c, node, &e);
}

/* Each pair of apps is asked by itself, so groups of groups could make one line of text run for hours. */
static void bound_pairs(struct check *c, const struct yaml_node *node, const struct pol_test *test)
{
	size_t n = test->from.n * test->to.n;

	if (n > POL_TEST_PAIRS_MAX)
		wrong(c, node, "stands for %zu pairs of apps, the limit is %u", n, POL_TEST_PAIRS_MAX);
}

static void read_test(struct check *c, const struct yaml_node *node, struct pol_test *test)
{
	const struct yaml_node *port, *expect;
	struct err e = ERR_INIT;

	yaml_known_keys(c->doc, node, pol_keys_test, c->d);
	if (node->kind != YAML_MAP)
		return;
	test->file = node->source->number;
	test->line = node->line;
	test->col = node->col;
	read_endpoint(c, node, "from", &test->from);
	read_endpoint(c, node, "to", &test->to);
	bound_pairs(c, node, test);
	port = yaml_need(c->doc, node, "port", YAML_SCALAR, c->d);
	if (port && pol_port_set_by_name(c->model, port->text))
		wrong(c, port, "'%s' is a name for ports; needed one port, such as tcp/443", port->text);
	else if (port && !pol_selector_parse(port->text, &test->selector, &e))
		wrong(c, port, "%s", e.msg);
	expect = yaml_need(c->doc, node, "expect", YAML_SCALAR, c->d);
	if (!expect)
		return;
	test->expect = strcmp(expect->text, "allow") == 0 ? BY_ALLOW : BY_DENY;
	if (test->expect == BY_DENY && strcmp(expect->text, "deny") != 0)
		wrong(c, expect, "found '%s', needed allow or deny", expect->text);
}

static void read_tests(struct check *c, const struct yaml_node *tests)
{
	struct pol_model *model = c->model;

	if (tests->kind != YAML_LIST || !tests->n) {
		wrong(c, tests, "needed a list of at least one test");
		return;
	}
	model->test = check_room(c, tests->n, sizeof(*model->test));
	for (size_t i = 0; model->test && i < tests->n; i++)
		read_test(c, tests->child[i], &model->test[model->n_tests++]);
}

/* --- the file ---------------------------------------------------------------------------------------------- */

void check_root(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *part;

	if ((part = yaml_get(root, "apps")))
		check_apps(c, part);
	if ((part = yaml_get(root, "groups")))
		check_groups(c, part);
	if ((part = yaml_get(root, "ports")))
		check_port_sets(c, part);
	if ((part = yaml_get(root, "rules")))
		read_rules(c, part);
	else
		wrong(c, root, "the key 'rules' is missing");
	if ((part = yaml_get(root, "tests")))
		read_tests(c, part);
}
