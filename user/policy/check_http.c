// SPDX-License-Identifier: Apache-2.0
/* The requests that a rule is about. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"

const char *const pol_keys_http[] = { "methods", "path", NULL };

static int order_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_methods(struct check *c, const struct yaml_node *list, struct pol_http *http)
{
	struct err e;

	if (list->kind != YAML_LIST || !list->n) {
		wrong(c, list, "needed a list of at least one method, such as [GET, HEAD]");
		return;
	}
	http->method = check_entries(c, list, list->n, sizeof(*http->method));
	for (size_t i = 0; http->method && i < list->n; i++) {
		const char *text = yaml_str(c->doc, list->child[i], c->d);

		e = (struct err)ERR_INIT;
		if (text && pol_method_check(text, &e) < 0)
			wrong(c, list->child[i], "%s", e.msg);
		else if (text && (http->method[http->n_methods] = check_copy(c, text)))
			http->n_methods++;
	}
	if (http->n_methods)
		qsort(http->method, http->n_methods, sizeof(*http->method), order_text);
	for (size_t i = 1; i < http->n_methods; i++)
		if (strcmp(http->method[i - 1], http->method[i]) == 0)
			wrong(c, list, "'%s' is in the list twice", http->method[i]);
}

static void read_entry(struct check *c, const struct yaml_node *node, struct pol_http *http)
{
	const struct yaml_node *methods = yaml_get(node, "methods"), *path = yaml_get(node, "path");
	const char *pattern = path ? yaml_str(c->doc, path, c->d) : NULL;
	struct err e = ERR_INIT;

	yaml_known_keys(c->doc, node, pol_keys_http, c->d);
	if (node->kind != YAML_MAP)
		return;
	if (!methods && !path)
		wrong(c, node, "needed 'methods', 'path' or both; { path: /** } is every request with a path");
	if (methods)
		read_methods(c, methods, http);
	if (pattern && pol_pattern_check(pattern, &e) < 0)
		wrong(c, path, "%s", e.msg);
	else if (pattern)
		http->path = check_copy(c, pattern);
}

/* One request from another is told by the mesh alone, which serves attested peers over TCP. */
static void check_place(struct check *c, const struct yaml_node *rule, const struct yaml_node *node,
			const struct pol_rule *r)
{
	const struct yaml_node *rate = yaml_get(rule, "rate"), *on = yaml_get(rule, "on");

	if (r->is_host || on)
		wrong(c, node, "the mesh serves attested nodes; a rule about '" POL_HOST "' has no 'http'");
	for (size_t i = 0; i < r->n_ports; i++) {
		if (pol_is_tcp(r->port[i].first) && pol_is_tcp(r->port[i].last))
			continue;
		wrong(c, node, "a rule with 'http' names ports of tcp alone");
		break;
	}
	if (rate)
		wrong(c, rate, "a rate is of flows or packets, and a rule with 'http' decides requests");
}

void check_http(struct check *c, const struct yaml_node *rule, struct pol_rule *r)
{
	const struct yaml_node *node = yaml_get(rule, "http");

	if (!node)
		return;
	if (node->kind != YAML_LIST || !node->n) {
		wrong(c, node, "needed a list of at least one entry, such as { methods: [GET], path: /v1/** }");
		return;
	}
	check_place(c, rule, node, r);
	r->flags |= BY_RULE_HTTP;
	r->http = check_entries(c, node, node->n, sizeof(*r->http));
	for (size_t i = 0; r->http && i < node->n; i++)
		read_entry(c, node->child[i], &r->http[r->n_http++]);
}

/* An entry that another one of the list says already. */
void check_http_list(struct check *c, const struct yaml_node *rule, const struct pol_rule *r)
{
	const struct yaml_node *list = yaml_get(rule, "http");

	c->work += (uint64_t)r->n_http * r->n_http;
	for (size_t i = 0; i < r->n_http && c->work <= POL_WARN_WORK; i++) {
		for (size_t j = 0; j < r->n_http; j++) {
			const struct yaml_node *at = list->child[i];

			if (i == j || !pol_http_is_within(&r->http[i], &r->http[j], r->action == BY_DENY) ||
			    (i < j && pol_http_is_within(&r->http[j], &r->http[i], r->action == BY_DENY)))
				continue;
			yaml_warn(at, c->d, "this entry adds nothing: the one at %u:%u covers it", list->child[j]->line,
				  list->child[j]->col);
			break;
		}
	}
}
