// SPDX-License-Identifier: Apache-2.0
/* Tests: who asks whom, and what is expected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"

const char *const pol_keys_test[] = { "from", "to", "on", "from-claims", "to-claims", "port", "http", "expect", NULL };

/* Puts the claims of a test, if any, in the place of what a name implies. */
static bool read_claims(struct check *c, const struct yaml_node *claims, struct pol_subject *subject)
{
	return !claims || pol_subject_set_map(c->doc, claims, subject, c->d);
}

static void read_group(struct check *c, const struct yaml_node *node, const struct yaml_node *claims,
		       const struct pol_group *group, struct pol_end *end)
{
	struct pol_subject s;

	end->point = check_entries(c, node, group->n, sizeof(*end->point));
	end->atom = check_entries(c, node, group->n, sizeof(*end->atom));
	for (size_t i = 0; end->point && end->atom && i < group->n; i++) {
		pol_subject_of_atom(c->model, group->atom[i], &s);
		if (!read_claims(c, claims, &s))
			return;
		end->atom[i] = group->atom[i];
		end->point[end->n++] = pol_kind_of(c->model, &s);
	}
}

static void read_node(struct check *c, const struct yaml_node *node, const struct yaml_node *claims,
		      struct pol_end *end)
{
	const struct pol_group *group = pol_group_by_name(c->model, node->text);
	struct pol_subject s = { 0 };
	struct err e = ERR_INIT;

	if (group) {
		read_group(c, node, claims, group, end);
		return;
	}
	if (pol_subject_named(c->model, node->text, NULL, &s, &e) < 0) {
		wrong(c, node, "%s", e.msg);
		return;
	}
	end->point = check_entries(c, node, 1, sizeof(*end->point));
	if (end->point && read_claims(c, claims, &s))
		end->point[end->n++] = pol_kind_of(c->model, &s);
}

/* A named network: all of it; or one address. */
static void read_net(struct check *c, const struct yaml_node *node, struct pol_end *end)
{
	const struct pol_name *name = pol_name_find(c->model, node->text);
	struct pol_prefix prefix = { 0 };
	struct err e = ERR_INIT;
	size_t n = 1;

	if (name && name->what == POL_NAME_NETWORK)
		n = check_points(c, node, BY_ALLOW, NULL);
	else if (name || !pol_prefix_is_text(node->text))
		err_at(&e, -1, NULL, "found '%.60s', the other side of " POL_HOST " is an address or a network",
		       node->text);
	else if (pol_prefix_parse(node->text, &prefix, &e) && prefix.bits != 128)
		err_at(&e, -1, NULL,
		       "'%.60s' is a network; needed one address of it, or its name in networks:", node->text);
	if (e.code) {
		wrong(c, node, "%s", e.msg);
		return;
	}
	end->point = check_entries(c, node, n, sizeof(*end->point));
	if (!end->point)
		return;
	end->n = n;
	if (name)
		end->n = check_points(c, node, BY_ALLOW, end->point);
	else
		end->point[0] = pol_point_of_cell(c->model, pol_cell_of(&c->model->cells, &prefix));
}

/* The side that says `host` is the node that `on` names, else one of an app that the policy does not name. */
static void read_host(struct check *c, const struct yaml_node *test, const struct yaml_node *claims,
		      struct pol_end *end)
{
	const struct yaml_node *on = yaml_get(test, "on");
	const char *text = on ? yaml_str(c->doc, on, c->d) : NULL;
	struct pol_subject s;

	if (text) {
		read_node(c, on, claims, end);
	} else if (!on) {
		pol_subject_of_newcomer(c->model, &s);
		end->point = check_entries(c, test, 1, sizeof(*end->point));
		if (end->point && read_claims(c, claims, &s))
			end->point[end->n++] = pol_kind_of(c->model, &s);
	}
}

static bool is_host(const struct yaml_node *node)
{
	return node && strcmp(node->text, POL_HOST) == 0;
}

static char *name_of(struct check *c, const struct yaml_node *node, const struct yaml_node *on)
{
	char text[160];

	if (!is_host(node) || !on || on->kind != YAML_SCALAR)
		return check_copy(c, node->text);
	snprintf(text, sizeof(text), POL_HOST " on %.100s", on->text);
	return check_copy(c, text);
}

static void read_ends(struct check *c, const struct yaml_node *node, struct pol_test *test)
{
	const struct yaml_node *side[] = { yaml_need(c->doc, node, "from", YAML_SCALAR, c->d),
					   yaml_need(c->doc, node, "to", YAML_SCALAR, c->d) };
	const struct yaml_node *claims[] = { yaml_get(node, "from-claims"), yaml_get(node, "to-claims") };
	const struct yaml_node *on = yaml_get(node, "on");
	struct pol_end *end[] = { &test->from, &test->to };

	if (on && !is_host(side[0]) && !is_host(side[1]))
		wrong(c, on, "'on' is for tests about '" POL_HOST "'");
	if (is_host(side[0]) && is_host(side[1])) {
		wrong(c, side[1], "'" POL_HOST "' is on both sides; the other one is an address or a network");
		return;
	}
	for (int i = 0; i < 2; i++) {
		if (!side[i])
			continue;
		end[i]->name = name_of(c, side[i], on);
		if (is_host(side[!i]) && claims[i])
			wrong(c, claims[i], "an address proves no claims");
		else if (is_host(side[!i]))
			read_net(c, side[i], end[i]);
		else if (is_host(side[i]))
			read_host(c, node, claims[i], end[i]);
		else
			read_node(c, side[i], claims[i], end[i]);
	}
}

/* Each pair is asked by itself, so groups of groups could make one line of text run for hours. */
static void bound_pairs(struct check *c, const struct yaml_node *node, const struct pol_test *test)
{
	size_t n = test->from.n * test->to.n;

	if (n > POL_TEST_PAIRS_MAX)
		wrong(c, node, "stands for %zu pairs of apps, the limit is %u", n, POL_TEST_PAIRS_MAX);
}

static void read_request(struct check *c, const struct yaml_node *test, const struct yaml_node *node,
			 struct pol_test *t)
{
	const char *text = yaml_str(c->doc, node, c->d);
	struct pol_request request;
	struct err e = ERR_INIT;

	if (!text)
		return;
	if (!pol_is_tcp(t->selector) || is_host(yaml_get(test, "from")) || is_host(yaml_get(test, "to")))
		wrong(c, node, "HTTP is between nodes, on a port of tcp");
	else if (pol_request_parse(text, &request, &e) < 0)
		wrong(c, node, "%s", e.msg);
	t->http = check_copy(c, text);
}

static void read_test(struct check *c, const struct yaml_node *node, struct pol_test *test)
{
	const struct yaml_node *port, *http, *expect;
	struct err e = ERR_INIT;

	yaml_known_keys(c->doc, node, pol_keys_test, c->d);
	if (node->kind != YAML_MAP)
		return;
	test->file = node->source->number;
	test->line = node->line;
	test->col = node->col;
	read_ends(c, node, test);
	bound_pairs(c, node, test);
	port = yaml_need(c->doc, node, "port", YAML_SCALAR, c->d);
	if (port && pol_port_set_by_name(c->model, port->text))
		wrong(c, port, "'%s' is a name for ports; needed one port, such as tcp/443", port->text);
	else if (port && !pol_selector_parse(port->text, &test->selector, &e))
		wrong(c, port, "%s", e.msg);
	http = yaml_get(node, "http");
	if (http)
		read_request(c, node, http, test);
	expect = yaml_need(c->doc, node, "expect", YAML_SCALAR, c->d);
	if (!expect)
		return;
	test->expect = strcmp(expect->text, "allow") == 0 ? BY_ALLOW : BY_DENY;
	if (test->expect == BY_DENY && strcmp(expect->text, "deny") != 0)
		wrong(c, expect, "found '%s', needed allow or deny", expect->text);
}

void check_tests(struct check *c, const struct yaml_node *tests)
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
