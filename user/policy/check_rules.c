// SPDX-License-Identifier: Apache-2.0
/* Rules: between nodes, and of hosts with networks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"

const char *const pol_keys_rule[] = {
	"name", "from", "to", "on", "allow", "deny", "http", "mode", "log", "rate", NULL
};
const char *const pol_keys_rate[] = { "flows", "packets", "burst", "per", NULL };

static void read_action(struct check *c, const struct yaml_node *node, struct pol_rule *rule)
{
	const struct yaml_node *allow = yaml_get(node, "allow"), *deny = yaml_get(node, "deny");

	if (allow && deny)
		wrong(c, deny, "a rule has 'allow' or 'deny', not both; write two rules");
	else if (!allow && !deny)
		wrong(c, node, "the key 'allow' or 'deny' is missing");
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

	if (!name)
		snprintf(made, sizeof(made), "rule-%zu", i + 1);
	else if ((fault = check_name_fault(name)))
		wrong(c, at, "rule name '%.80s' %s", name, fault);
	rule->name = check_copy(c, name ? name : made);
}

/* --- sides ------------------------------------------------------------------------------------------------- */

static const struct yaml_node *need_side(struct check *c, const struct yaml_node *rule, const char *key)
{
	const struct yaml_node *node = yaml_get(rule, key);

	if (!node)
		wrong(c, rule, "the key '%s' is missing", key);
	return node;
}

static const char *shown(const struct yaml_node *side)
{
	size_t i = 0;

	while (side->kind == YAML_LIST && i + 1 < side->n && side->child[i]->kind != YAML_SCALAR)
		i++;
	return side->kind == YAML_LIST ? side->child[i]->text : side->text;
}

static void refuse_sides(struct check *c, const struct yaml_node *from, enum check_who who_from,
			 const struct yaml_node *to, enum check_who who_to)
{
	const struct yaml_node *net = who_from == CHECK_NETS ? from : to, *other = who_from == CHECK_NETS ? to : from;

	if (who_from == CHECK_HOST && who_to == CHECK_HOST)
		wrong(c, to,
		      "'" POL_HOST "' is on both sides; the other one is " POL_WORLD ", a network or an address");
	else if (who_from == CHECK_NETS && who_to == CHECK_NETS)
		wrong(c, to, "'%s' and '%s' are both networks; one side must be '" POL_HOST "'", shown(from),
		      shown(to));
	else if (who_from == CHECK_NETS || who_to == CHECK_NETS)
		wrong(c, net, "'%s' has no identity; it can only be the other side of '" POL_HOST "', not of '%s'",
		      shown(net), shown(other));
	else
		wrong(c, who_from == CHECK_HOST ? to : from,
		      "'%s' is nodes of the overlay; the other side of '" POL_HOST "' is " POL_WORLD
		      ", a network or an address (on: says which nodes have the rule)",
		      shown(who_from == CHECK_HOST ? to : from));
}

/* Which nodes have a host rule: the side that says `host`. */
static void read_on(struct check *c, const struct yaml_node *on, struct pol_rule *rule, struct pol_side *side)
{
	*side = (struct pol_side){ .is_any = true, .end = c->model->kinds.n };
	if (!on)
		return;
	*side = (struct pol_side){ 0 };
	switch (check_side(c, on, rule->action, side)) {
	case CHECK_NETS:
	case CHECK_HOST:
		wrong(c, on, "'%s' is no node; needed an app, an instance, a claim, a group or " POL_ANY, shown(on));
		break;
	default:
		break;
	}
}

static void read_sides(struct check *c, const struct yaml_node *node, struct pol_rule *rule)
{
	const struct yaml_node *from = need_side(c, node, "from"), *to = need_side(c, node, "to");
	const struct yaml_node *on = yaml_get(node, "on");
	enum check_who who_from = from ? check_side(c, from, rule->action, &rule->from) : CHECK_NOBODY;
	enum check_who who_to = to ? check_side(c, to, rule->action, &rule->to) : CHECK_NOBODY;

	if (who_from == CHECK_NOBODY || who_to == CHECK_NOBODY)
		return;
	rule->is_host = (who_from == CHECK_HOST) ^ (who_to == CHECK_HOST);
	if (who_from == CHECK_NODES && who_to == CHECK_NODES) {
		if (on)
			wrong(c, on,
			      "'on' says which nodes have a rule about '" POL_HOST
			      "'; this one has nodes on both sides");
	} else if (!rule->is_host || who_from == CHECK_NODES || who_to == CHECK_NODES) {
		refuse_sides(c, from, who_from, to, who_to);
	} else {
		read_on(c, on, rule, who_from == CHECK_HOST ? &rule->from : &rule->to);
	}
}

/* --- how --------------------------------------------------------------------------------------------------- */

static void read_count(struct check *c, const struct yaml_node *node, uint32_t *count)
{
	uint64_t v;

	if (!node || !yaml_uint(c->doc, node, UINT32_MAX, &v, c->d))
		return;
	if (!v)
		wrong(c, node, "found 0, needed at least 1");
	*count = (uint32_t)v;
}

/* An address is no peer: nobody vouches for it, and there is no end of them to keep buckets for. */
static void read_per(struct check *c, const struct yaml_node *node, struct pol_rule *rule)
{
	const char *per = node ? yaml_str(c->doc, node, c->d) : rule->is_host ? "rule" : "peer";

	if (per && strcmp(per, "peer") == 0 && rule->is_host)
		wrong(c, node, "an address is no peer; a rule about '" POL_HOST "' keeps its rate for all together");
	else if (per && strcmp(per, "peer") == 0)
		rule->flags |= BY_RULE_RATE_PEER;
	else if (per && strcmp(per, "rule") != 0)
		wrong(c, node, "found '%.40s', needed peer or rule", per);
}

static void read_rate(struct check *c, const struct yaml_node *node, struct pol_rule *rule)
{
	const struct yaml_node *flows = yaml_get(node, "flows"), *packets = yaml_get(node, "packets");
	const struct yaml_node *burst = yaml_get(node, "burst");

	yaml_known_keys(c->doc, node, pol_keys_rate, c->d);
	if (node->kind != YAML_MAP)
		return;
	if (!flows == !packets)
		wrong(c, node, "needed one of 'flows' (new ones a second) and 'packets' (a second)");
	if (rule->action == BY_DENY)
		wrong(c, node, "a deny rule lets nothing pass, so there is no rate to keep; put it on an allow rule");
	else if (rule->flags & BY_RULE_AUDIT)
		wrong(c, node, "a rule in audit mode drops nothing, so it keeps no rate");
	rule->flags |= flows ? BY_RULE_RATE_FLOWS : BY_RULE_RATE_PACKETS;
	read_per(c, yaml_get(node, "per"), rule);
	read_count(c, flows ? flows : packets, &rule->rate);
	rule->burst = rule->rate;
	read_count(c, burst, &rule->burst);
}

static void read_how(struct check *c, const struct yaml_node *node, struct pol_rule *rule)
{
	const struct yaml_node *at_mode = yaml_get(node, "mode"), *log = yaml_get(node, "log");
	const struct yaml_node *rate = yaml_get(node, "rate");
	const char *mode = at_mode ? yaml_str(c->doc, at_mode, c->d) : NULL;
	bool is_logged = false;

	if (mode && strcmp(mode, "audit") == 0)
		rule->flags |= BY_RULE_AUDIT;
	else if (mode && strcmp(mode, "enforce") != 0)
		wrong(c, at_mode, "found '%.40s', needed enforce or audit", mode);
	if (log && yaml_bool(c->doc, log, &is_logged, c->d) && is_logged)
		rule->flags |= BY_RULE_LOG;
	if (rate)
		read_rate(c, rate, rule);
}

/* --- all --------------------------------------------------------------------------------------------------- */

static void read_rule(struct check *c, const struct yaml_node *node, size_t i, struct pol_rule *rule)
{
	rule->file = node->source->number;
	rule->line = node->line;
	rule->col = node->col;
	yaml_known_keys(c->doc, node, pol_keys_rule, c->d);
	read_rule_name(c, node, i, rule);
	if (node->kind != YAML_MAP)
		return;
	rule->action = yaml_get(node, "allow") ? BY_ALLOW : BY_DENY;
	read_sides(c, node, rule);
	read_action(c, node, rule);
	read_how(c, node, rule);
	check_http(c, node, rule);
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

void check_rules(struct check *c, const struct yaml_node *rules)
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
