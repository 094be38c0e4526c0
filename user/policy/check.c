// SPDX-License-Identifier: Apache-2.0
/* YAML -> model. Every check goes on after a failure, so that a person sees all problems of a file at once. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "model.h"
#include "near.h"

const char *const pol_keys_top[] = { "version", "apps", "rules", "tests", NULL };
const char *const pol_keys_app[] = { "app-id", NULL };
const char *const pol_keys_rule[] = { "name", "from", "to", "allow", "deny", NULL };
const char *const pol_keys_test[] = { "from", "to", "port", "expect", NULL };

/* Words that a rule may say one day in place of an app. */
static const char *const reserved[] = { POL_ANY, "host", "world", "gateway", "control-plane", NULL };

struct check {
	const struct yaml_doc *doc;
	struct diags *d;
	struct pol_model *model;
};

DEFINE_CLEANUP(doc, struct yaml_doc, yaml_free)
DEFINE_CLEANUP(model, struct pol_model, pol_free)

#define wrong(c, at, ...) yaml_error((c)->doc, at, (c)->d, __VA_ARGS__)

/* calloc that reports; n is 0 only where an empty list was refused, and then nothing is read from it */
static void *room_for(struct check *c, size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		wrong(c, NULL, "out of memory");
	return p;
}

static char *copy(struct check *c, const char *text)
{
	char *p = strdup(text);

	if (!p)
		wrong(c, NULL, "out of memory");
	return p;
}

static bool is_in(const char *word, const char *const *list)
{
	while (*list && strcmp(*list, word) != 0)
		list++;
	return *list != NULL;
}

/* NULL when `name` can name a rule or an app. */
static const char *name_fault(const char *name)
{
	if (!name[0])
		return "is empty";
	if (strlen(name) > POL_NAME_MAX)
		return "is longer than 47 characters";
	if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		return "has other characters than a-z, 0-9 and -";
	return name[0] == '-' ? "starts with -" : NULL;
}

/* --- apps -------------------------------------------------------------------------------------------------- */

static void check_app_name(struct check *c, const struct yaml_node *apps, size_t i)
{
	const char *name = apps->key[i], *fault = name_fault(name);
	uint8_t id[BY_APP_ID_LEN];

	if (!fault && is_in(name, reserved))
		fault = "is reserved";
	if (!fault && hex_parse(id, sizeof(id), name))
		fault = "looks like an app-id";
	if (fault)
		diags_add(c->d, yaml_file(c->doc), apps->key_line[i], apps->key_col[i], apps->child[i]->path,
			  "app name '%s' %s", name, fault);
}

static bool read_app(struct check *c, const struct yaml_node *node, struct pol_app *app)
{
	const struct yaml_node *id;

	if (!yaml_known_keys(c->doc, node, pol_keys_app, c->d) && node->kind != YAML_MAP)
		return false;
	id = yaml_need(c->doc, node, "app-id", YAML_SCALAR, c->d);
	if (!id)
		return false;
	if (!hex_parse(app->app_id, sizeof(app->app_id), id->text)) {
		wrong(c, id, "found '%.60s' (%zu characters), needed 40 hex digits", id->text, strlen(id->text));
		return false;
	}
	return true;
}

static void refuse_shared_ids(struct check *c, const struct yaml_node *apps)
{
	const struct pol_model *model = c->model;

	for (size_t i = 1; i < model->n_apps; i++) {
		const struct pol_app *first = &model->app[model->by_id[i - 1]];
		const struct pol_app *again = &model->app[model->by_id[i]];

		if (memcmp(first->app_id, again->app_id, BY_APP_ID_LEN) == 0)
			wrong(c, apps->child[model->by_id[i]],
			      "has the app-id of '%s' on line %u; one app has one name", first->name, first->line);
	}
}

static void read_apps(struct check *c, const struct yaml_node *apps)
{
	struct pol_model *model = c->model;
	bool all = true;

	if (apps->kind != YAML_MAP || !apps->n) {
		wrong(c, apps, "needed a map of at least one app, such as web: { app-id: ... }");
		return;
	}
	model->app = room_for(c, apps->n, sizeof(*model->app));
	model->by_name = room_for(c, apps->n, sizeof(*model->by_name));
	model->by_id = room_for(c, apps->n, sizeof(*model->by_id));
	if (!model->app || !model->by_name || !model->by_id)
		return;
	for (size_t i = 0; i < apps->n; i++) {
		struct pol_app *app = &model->app[model->n_apps];

		check_app_name(c, apps, i);
		app->line = apps->key_line[i];
		app->name = copy(c, apps->key[i]);
		if (!app->name)
			return;
		model->n_apps++;
		all &= read_app(c, apps->child[i], app);
	}
	pol_model_index(model);
	if (all) /* or those without an id would be said to share it */
		refuse_shared_ids(c, apps);
}

/* --- rules ------------------------------------------------------------------------------------------------- */

static void unknown_app(struct check *c, const struct yaml_node *node, const char *name)
{
	struct near near = NEAR_INIT(name);
	uint8_t app_id[BY_APP_ID_LEN];

	for (size_t i = 0; i < c->model->n_apps && c->d->n < DIAGS_MAX; i++)
		near_offer(&near, c->model->app[i].name);
	near_offer(&near, POL_ANY);
	if (is_in(name, reserved))
		wrong(c, node, "'%s' is reserved and means nothing yet", name);
	else if (near.best)
		wrong(c, node, "unknown app '%s'; did you mean '%s'?", name, near.best);
	else if (hex_parse(app_id, sizeof(app_id), name))
		wrong(c, node, "found an app-id, needed a name; give it one in apps:");
	else
		wrong(c, node, "unknown app '%s'; it is not among apps:", name);
}

static bool find_app(struct check *c, const struct yaml_node *node, uint32_t *app)
{
	const char *name = yaml_str(c->doc, node, c->d);

	if (!name)
		return false;
	if (pol_app_by_name(c->model, name, app))
		return true;
	unknown_app(c, node, name);
	return false;
}

static int order_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void read_app_list(struct check *c, const struct yaml_node *list, struct pol_side *side)
{
	auto_free uint64_t *found = room_for(c, list->n, sizeof(*found)); /* app << 32 | place in the list */
	size_t n = 0;
	uint32_t app;

	side->app = room_for(c, list->n, sizeof(*side->app));
	if (!found || !side->app)
		return;
	for (size_t i = 0; i < list->n; i++) {
		const struct yaml_node *item = list->child[i];

		if (item->kind == YAML_SCALAR && strcmp(item->text, POL_ANY) == 0)
			wrong(c, item, POL_ANY " covers every app; write it alone, not in a list");
		else if (find_app(c, item, &app))
			found[n++] = (uint64_t)app << 32 | i;
	}
	qsort(found, n, sizeof(*found), order_u64);
	for (size_t i = 0; i < n; i++) {
		app = (uint32_t)(found[i] >> 32);
		if (i && found[i - 1] >> 32 == app)
			wrong(c, list->child[(uint32_t)found[i]], "'%s' is in the list already",
			      c->model->app[app].name);
		else
			side->app[side->n++] = app;
	}
}

static void read_side(struct check *c, const struct yaml_node *rule, const char *key, struct pol_side *side)
{
	const struct yaml_node *node = yaml_get(rule, key);

	if (!node) {
		wrong(c, rule, "the key '%s' is missing", key);
	} else if (node->kind == YAML_LIST && node->n) {
		read_app_list(c, node, side);
	} else if (node->kind == YAML_LIST) {
		wrong(c, node, "an empty list; needed at least one app, or " POL_ANY);
	} else if (node->kind == YAML_SCALAR && strcmp(node->text, POL_ANY) == 0) {
		side->is_any = true;
	} else {
		side->app = room_for(c, 1, sizeof(*side->app));
		if (side->app && find_app(c, node, side->app))
			side->n = 1;
	}
}

static void read_ports(struct check *c, const struct yaml_node *list, struct pol_rule *rule)
{
	if (list->kind != YAML_LIST || !list->n) {
		wrong(c, list, "needed a list of at least one port, such as [tcp/443]");
		return;
	}
	rule->port = room_for(c, list->n, sizeof(*rule->port));
	for (size_t i = 0; rule->port && i < list->n; i++) {
		const char *text = yaml_str(c->doc, list->child[i], c->d);
		struct err e = ERR_INIT;

		if (text && pol_range_parse(text, &rule->port[rule->n_ports], &e))
			rule->n_ports++;
		else if (text)
			wrong(c, list->child[i], "%s", e.msg);
	}
	if (rule->n_ports)
		pol_range_merge(rule->port, &rule->n_ports);
}

static void read_action(struct check *c, const struct yaml_node *node, struct pol_rule *rule)
{
	const struct yaml_node *allow = yaml_get(node, "allow"), *deny = yaml_get(node, "deny");

	if (allow && deny)
		wrong(c, deny, "a rule has 'allow' or 'deny', not both; write two rules");
	else if (!allow && !deny)
		wrong(c, node, "the key 'allow' or 'deny' is missing");
	rule->action = allow ? BY_ALLOW : BY_DENY;
	if (allow)
		read_ports(c, allow, rule);
	else if (deny)
		read_ports(c, deny, rule);
}

static void read_rule_name(struct check *c, const struct yaml_node *node, size_t i, struct pol_rule *rule)
{
	const struct yaml_node *at = yaml_get(node, "name");
	const char *name = at ? yaml_str(c->doc, at, c->d) : NULL, *fault;
	char made[32];

	if (name && (fault = name_fault(name)))
		wrong(c, at, "rule name '%.80s' %s", name, fault);
	snprintf(made, sizeof(made), "rule-%zu", i + 1);
	rule->name = copy(c, name ? name : made);
}

static void read_rule(struct check *c, const struct yaml_node *node, size_t i, struct pol_rule *rule)
{
	rule->line = node->line;
	yaml_known_keys(c->doc, node, pol_keys_rule, c->d);
	read_rule_name(c, node, i, rule);
	if (node->kind != YAML_MAP)
		return;
	read_side(c, node, "from", &rule->from);
	read_side(c, node, "to", &rule->to);
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
	auto_free uint32_t *order = room_for(c, model->n_rules, sizeof(*order));

	if (!order)
		return;
	for (uint32_t i = 0; i < model->n_rules; i++)
		order[i] = i;
	qsort_r(order, model->n_rules, sizeof(*order), order_rule_name, model);
	for (size_t i = 1; i < model->n_rules; i++) {
		const struct pol_rule *first = &model->rule[order[i - 1]], *again = &model->rule[order[i]];
		const struct yaml_node *node = rules->child[order[i]], *name = yaml_get(node, "name");

		if (strcmp(first->name, again->name) == 0)
			wrong(c, name ? name : node, "the rule on line %u is named '%s' already", first->line,
			      first->name);
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
	model->rule = room_for(c, rules->n, sizeof(*model->rule));
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

static char *read_endpoint(struct check *c, const struct yaml_node *test, const char *key, uint32_t *app)
{
	const struct yaml_node *node = yaml_need(c->doc, test, key, YAML_SCALAR, c->d);
	struct err e = ERR_INIT;

	if (!node)
		return NULL;
	if (pol_endpoint_find(c->model, node->text, app, &e) < 0)
		wrong(c, node, "%s", e.msg);
	return copy(c, node->text);
}

static void read_test(struct check *c, const struct yaml_node *node, struct pol_test *test)
{
	const struct yaml_node *port, *expect;
	struct err e = ERR_INIT;

	yaml_known_keys(c->doc, node, pol_keys_test, c->d);
	if (node->kind != YAML_MAP)
		return;
	test->line = node->line;
	test->col = node->col;
	test->from_name = read_endpoint(c, node, "from", &test->from);
	test->to_name = read_endpoint(c, node, "to", &test->to);
	port = yaml_need(c->doc, node, "port", YAML_SCALAR, c->d);
	if (port && !pol_selector_parse(port->text, &test->selector, &e))
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
	model->test = room_for(c, tests->n, sizeof(*model->test));
	for (size_t i = 0; model->test && i < tests->n; i++)
		read_test(c, tests->child[i], &model->test[model->n_tests++]);
}

/* --- the file ---------------------------------------------------------------------------------------------- */

static void read_version(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *node = yaml_need(c->doc, root, "version", YAML_SCALAR, c->d);

	if (node && (node->is_quoted || strcmp(node->text, "1") != 0))
		wrong(c, node, "found '%.40s'%s, needed 1", node->text, node->is_quoted ? " in quotes" : "");
}

static void read_root(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *part;

	yaml_known_keys(c->doc, root, pol_keys_top, c->d);
	if (root->kind != YAML_MAP)
		return;
	read_version(c, root);
	if ((part = yaml_get(root, "apps")))
		read_apps(c, part);
	if ((part = yaml_get(root, "rules")))
		read_rules(c, part);
	else
		wrong(c, root, "the key 'rules' is missing");
	if ((part = yaml_get(root, "tests")))
		read_tests(c, part);
}

static struct pol_model *model_new(const char *file, const char *text, size_t len)
{
	auto_call(cleanup_model) struct pol_model *model = calloc(1, sizeof(*model));
	const char *slash;

	if (!model || !(model->file = strdup(file)) || pol_sha256(text, len, model->digest) < 0)
		return NULL;
	slash = strrchr(model->file, '/');
	model->base = slash ? slash + 1 : model->file;
	return take_ptr(model);
}

int pol_parse(const char *file, const char *text, size_t len, struct pol_model **model, struct diags *d)
{
	auto_call(cleanup_doc) struct yaml_doc *doc = NULL;
	auto_call(cleanup_model) struct pol_model *made = NULL;
	size_t n_before = d->n_errors;

	if (yaml_parse_max(file, text, len, POL_TEXT_MAX, &doc, d) < 0)
		return -EINVAL;
	made = model_new(file, text, len);
	if (!made) {
		diags_add(d, file, 0, 0, "", "out of memory");
		return -EINVAL;
	}
	read_root(&(struct check){ .doc = doc, .d = d, .model = made }, yaml_root(doc));
	if (d->n_errors > n_before)
		return -EINVAL;
	*model = take_ptr(made);
	return 0;
}
