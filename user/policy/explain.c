// SPDX-License-Identifier: Apache-2.0
/*
 * The ladder, and the same ladder in words:
 *   1 deny rule: an enforcing one that covers the packet, the first in the file -> deny
 *   2 allow rule: an enforcing one that covers it, the first in the file -> allow
 *     (the first deny rule in audit mode that covers it too would drop it)
 *   3 allow rule in audit mode, the first in the file -> allow (without it the packet would be dropped)
 *   4 default deny
 * A rule with `http:` covers the requests that it names. Without a request the question is of whatever may be said on
 * the port: no such rule allows that, and each of them that denies does.
 *
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

struct pol_decision pol_decide(const struct pol_model *model, uint32_t from, uint32_t to, uint32_t selector,
			       const struct pol_request *request)
{
	const struct pol_rule *first[2][2] = { 0 }; /* by action, and whether it is in audit mode */
	const struct pol_rule *allow;

	for (size_t i = 0; i < model->n_rules; i++) {
		const struct pol_rule *rule = &model->rule[i];
		const struct pol_rule **at = &first[rule->action][!!(rule->flags & BY_RULE_AUDIT)];

		if (!*at && pol_rule_covers(rule, selector) && is_between(rule, from, to) &&
		    pol_http_covers(rule, request))
			*at = rule;
	}
	if (first[BY_DENY][0])
		return (struct pol_decision){ BY_DENY, first[BY_DENY][0], NULL };
	if (first[BY_ALLOW][0])
		return (struct pol_decision){ BY_ALLOW, first[BY_ALLOW][0], first[BY_DENY][1] };
	allow = first[BY_ALLOW][1];
	return (struct pol_decision){ allow ? BY_ALLOW : BY_DENY, allow, allow };
}

static const char *rung_of(const struct pol_rule *rule)
{
	if (!rule)
		return "default deny";
	if (rule->action == BY_DENY)
		return "deny rule";
	return rule->flags & BY_RULE_AUDIT ? "allow rule in audit mode" : "allow rule";
}

static void add_nearest(const struct pol_model *model, const struct pol_asked who[2], uint32_t selector,
			const struct pol_request *request, struct pol_answer *a)
{
	struct pol_nearest near = pol_nearest(model, who, selector, request);

	if (!near.rule)
		return;
	a->nearest_rule = near.rule->name;
	a->nearest_file = model->file[near.rule->file].shown;
	a->nearest_line = near.rule->line;
	pol_ranges_print(near.rule->port, near.rule->n_ports, a->nearest_ports, sizeof(a->nearest_ports));
	pol_http_print(near.rule, a->nearest_http, sizeof(a->nearest_http));
	for (int side = 0; side < 2; side++) {
		a->unmet[side] = near.unmet[side];
		a->node[side] = who[side].node;
	}
}

static void explain_points(const struct pol_model *model, const struct pol_asked who[2], uint32_t selector,
			   const struct pol_request *request, struct pol_answer *answer)
{
	struct pol_decision d = pol_decide(model, who[0].point, who[1].point, selector, request);
	struct pol_answer a = { .action = d.action, .rung = rung_of(d.rule) };

	if (d.rule) {
		a.rule = d.rule->name;
		a.file = model->file[d.rule->file].shown;
		a.line = d.rule->line;
		a.flags = d.rule->flags;
		a.rate = d.rule->rate;
		a.burst = d.rule->burst;
	}
	if (d.audit)
		a.audit = (struct pol_named){ d.audit->name, model->file[d.audit->file].shown, d.audit->line };
	if (!d.rule)
		add_nearest(model, who, selector, request, &a);
	*answer = a;
}

void pol_explain_nodes(const struct pol_model *model, const struct pol_subject *from, const struct pol_subject *to,
		       uint32_t selector, struct pol_answer *answer)
{
	struct pol_asked who[2] = { { pol_kind_of(model, from), *from }, { pol_kind_of(model, to), *to } };

	explain_points(model, who, selector, NULL, answer);
}

static int address_of(const struct pol_model *model, const char *name, uint32_t *point, struct err *e)
{
	struct pol_prefix prefix;

	if (!pol_prefix_is_text(name))
		return err_at(e, -EINVAL, NULL,
			      "found '%.60s', the other side of " POL_HOST " is one address such as 203.0.113.7", name);
	if (!pol_prefix_parse(name, &prefix, e))
		return -EINVAL;
	if (prefix.bits != 128)
		return err_at(e, -EINVAL, NULL, "'%s' is a network; needed one address of it", name);
	*point = pol_point_of_cell(model, pol_cell_of(&model->cells, &prefix));
	return 0;
}

/* name NULL: a newcomer */
static int node_of(const struct pol_model *model, const char *name, const char *claims, struct pol_asked *who,
		   struct err *e)
{
	struct pol_subject *s = &who->node;
	int ret = 0;

	pol_subject_of_newcomer(model, s);
	if (name)
		ret = pol_subject_named(model, name, claims, s, e);
	else if (claims && !pol_subject_parse(s, claims, e))
		ret = -EINVAL;
	if (!ret)
		who->point = pol_kind_of(model, s);
	return ret;
}

int pol_ask(const struct pol_model *model, const struct pol_question *q, struct pol_answer *answer, struct err *e)
{
	bool is_out = strcmp(q->from, POL_HOST) == 0, is_in = strcmp(q->to, POL_HOST) == 0;
	struct pol_request request;
	struct pol_asked who[2] = { 0 };
	int ret;

	if (is_in && is_out)
		return err_at(e, -EINVAL, NULL, POL_HOST " is on both sides; the other one is an address");
	if (!is_in && !is_out && q->on)
		return err_at(e, -EINVAL, NULL, "'on' is for questions about " POL_HOST);
	if ((is_in && q->from_claims) || (is_out && q->to_claims))
		return err_at(e, -EINVAL, NULL, "an address proves no claims");
	if (q->http && (!pol_is_tcp(q->selector) || is_in || is_out))
		return err_at(e, -EINVAL, NULL, "HTTP is asked about between nodes, on a port of tcp");
	if (q->http && pol_request_parse(q->http, &request, e) < 0)
		return -EINVAL;
	ret = is_in ? address_of(model, q->from, &who[0].point, e)
		    : node_of(model, is_out ? q->on : q->from, q->from_claims, &who[0], e);
	if (!ret)
		ret = is_out ? address_of(model, q->to, &who[1].point, e)
			     : node_of(model, is_in ? q->on : q->to, q->to_claims, &who[1], e);
	if (!ret)
		explain_points(model, who, q->selector, q->http ? &request : NULL, answer);
	return ret;
}

/* --- tests ------------------------------------------------------------------------------------------------- */

/* "web", or "web (in frontends)" where a group is asked about. */
static void end_print(const struct pol_model *model, const struct pol_end *end, size_t i, char *buf, size_t size)
{
	char prefix[64];

	if (end->atom)
		snprintf(buf, size, "%s (in %s)", pol_atom_name(model, end->atom[i]), end->name);
	else if (end->n > 1) {
		pol_prefix_print(&model->cells.prefix[end->point[i] - model->kinds.n], prefix, sizeof(prefix));
		snprintf(buf, size, "%s (in %s)", prefix, end->name);
	} else
		snprintf(buf, size, "%s", end->name);
}

static void tell_failure(const struct pol_model *model, size_t i, size_t from, size_t to,
			 const struct pol_decision *decision, struct diags *d)
{
	const struct pol_test *test = &model->test[i];
	const struct pol_rule *rule = decision->rule;
	char why[192], where[POL_PLACE_MAX], port[32], path[32], from_name[192], to_name[192];
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
	diags_add(d, model->file[test->file].name, test->line, test->col, path,
		  "%s to %s %s%s%.200s is %s (%s), expected %s", from_name, to_name, port, test->http ? " " : "",
		  test->http ? test->http : "", decision->action == BY_ALLOW ? "allowed" : "denied", why,
		  test->expect == BY_ALLOW ? "allow" : "deny");
}

/* A test of groups holds when it holds for every pair of their nodes; the first that fails is told. */
static bool run_test(const struct pol_model *model, size_t i, struct diags *d)
{
	const struct pol_test *test = &model->test[i];
	struct pol_request request = { 0 }, *asked = test->http ? &request : NULL;

	if (asked && pol_request_parse(test->http, &request, NULL) < 0)
		return false; /* a checked model has none */
	for (size_t f = 0; f < test->from.n; f++) {
		for (size_t t = 0; t < test->to.n; t++) {
			struct pol_decision decision =
				pol_decide(model, test->from.point[f], test->to.point[t], test->selector, asked);

			if (decision.action == test->expect)
				continue;
			tell_failure(model, i, f, t, &decision, d);
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
