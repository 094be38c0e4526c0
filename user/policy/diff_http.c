// SPDX-License-Identifier: Apache-2.0
/*
 * Rules with `http:` that one policy has and the other has not. Where the rules are the same and no change tells of the
 * ports either, both judge every request alike. The other way round it need not be so: a rule that is told may be one
 * for which others have the last word.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "diff.h"
#include "model.h"

static bool same_side(const struct pol_diff *diff, const struct pol_side *old, const struct pol_side *new)
{
	for (size_t p = 0; p < diff->n_kinds; p++)
		if (pol_side_has(old, diff->point[p].own[0]) != pol_side_has(new, diff->point[p].own[1]))
			return false;
	return true;
}

static bool same_ports(const struct pol_rule *a, const struct pol_rule *b)
{
	bool is_same = a->n_ports == b->n_ports;

	for (size_t i = 0; is_same && i < a->n_ports; i++)
		is_same = a->port[i].first == b->port[i].first && a->port[i].last == b->port[i].last;
	return is_same;
}

static bool same_rule(const struct pol_diff *diff, const struct pol_rule *old, const struct pol_rule *new)
{
	return old->n_http && new->n_http && old->action == new->action &&
	       !((old->flags ^ new->flags) & BY_RULE_AUDIT) && same_ports(old, new) && pol_http_within(old, new) &&
	       pol_http_within(new, old) && same_side(diff, &old->from, &new->from) &&
	       same_side(diff, &old->to, &new->to);
}

static bool has_rule(const struct pol_diff *diff, const struct pol_model *const model[2], int m, size_t i)
{
	const struct pol_rule *rule = &model[m]->rule[i];

	for (size_t j = 0; j < model[!m]->n_rules; j++) {
		const struct pol_rule *other = &model[!m]->rule[j];

		if (m ? same_rule(diff, other, rule) : same_rule(diff, rule, other))
			return true;
	}
	return false;
}

static void take(const struct pol_model *model, const struct pol_rule *rule, bool is_new, struct pol_diff_rule *to)
{
	*to = (struct pol_diff_rule){ .is_new = is_new,
				      .action = rule->action,
				      .rule = { rule->name, model->file[rule->file].shown, rule->line } };
	pol_http_print(rule, to->http, sizeof(to->http));
}

int pol_diff_rules(const struct pol_model *const model[2], struct pol_diff *diff)
{
	size_t n = 1;

	for (int m = 0; m < 2; m++)
		for (size_t i = 0; i < model[m]->n_rules; i++)
			n += model[m]->rule[i].n_http > 0;
	diff->rule = calloc(n, sizeof(*diff->rule));
	if (!diff->rule)
		return -ENOMEM;
	for (int m = 0; m < 2; m++)
		for (size_t i = 0; i < model[m]->n_rules; i++)
			if (model[m]->rule[i].n_http && !has_rule(diff, model, m, i))
				take(model[m], &model[m]->rule[i], m, &diff->rule[diff->n_rules++]);
	return 0;
}
