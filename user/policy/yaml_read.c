// SPDX-License-Identifier: Apache-2.0
/* The readers of yaml.h: what a node must be, and what is said when it is not. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "near.h"
#include "yaml.h"

static const char *const kind_name[] = {
	[YAML_SCALAR] = "a single value", [YAML_LIST] = "a list", [YAML_MAP] = "a map"
};

static bool is_null(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && !node->is_quoted && !node->text[0];
}

/* Most differ in their first byte. */
static bool is_same(const char *a, const char *b)
{
	return a[0] == b[0] && strcmp(a, b) == 0;
}

static const char *found(const struct yaml_node *node)
{
	return is_null(node) ? "nothing" : kind_name[node->kind];
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++)
		if (is_same(map->child[i]->key, key))
			return map->child[i];
	return NULL;
}

/* What is wrong with a node, at itself or at its key. */
static void tell(const struct yaml_node *at, unsigned line, unsigned col, struct diags *d, const char *fmt, va_list ap)
{
	char msg[1024], path[YAML_PATH_MAX + 1];

	vsnprintf(msg, sizeof(msg), fmt, ap);
	diags_add(d, at->source->name, line, col, yaml_path(at, path), "%s", msg);
}

void yaml_error(const struct yaml_doc *doc, const struct yaml_node *at, struct diags *d, const char *fmt, ...)
{
	va_list ap;

	if (!at)
		at = yaml_root(doc);
	va_start(ap, fmt);
	tell(at, at->line, at->col, d, fmt, ap);
	va_end(ap);
}

void yaml_key_error(const struct yaml_node *at, struct diags *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(at, at->key_line, at->key_col, d, fmt, ap);
	va_end(ap);
}

void yaml_warn(const struct yaml_node *at, struct diags *d, const char *fmt, ...)
{
	char msg[1024], path[YAML_PATH_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	diags_warn(d, at->source->name, at->line, at->col, yaml_path(at, path), "%s", msg);
}

bool yaml_known_keys(const struct yaml_doc *doc, const struct yaml_node *map, const char *const *known, struct diags *d)
{
	bool all = true;

	if (map->kind != YAML_MAP) {
		yaml_error(doc, map, d, "found %s, needed a map", found(map));
		return false;
	}
	for (size_t i = 0; i < map->n; i++) {
		const char *key = map->child[i]->key, *const *k = known, *nearest;

		while (*k && !is_same(*k, key))
			k++;
		if (*k)
			continue;
		nearest = near_of(key, known);
		yaml_key_error(map->child[i], d, "unknown key '%s'%s%s%s", key, nearest ? "; did you mean '" : "",
			       nearest ? nearest : "", nearest ? "'?" : "");
		all = false;
	}
	return all;
}

const struct yaml_node *yaml_need(const struct yaml_doc *doc, const struct yaml_node *map, const char *key,
				  enum yaml_kind kind, struct diags *d)
{
	const struct yaml_node *node = yaml_get(map, key);

	if (map->kind != YAML_MAP) {
		yaml_error(doc, map, d, "found %s, needed a map", found(map));
		return NULL;
	}
	if (!node) {
		yaml_error(doc, map, d, "the key '%s' is missing", key);
		return NULL;
	}
	if (node->kind != kind || is_null(node)) {
		yaml_error(doc, node, d, "found %s, needed %s", found(node), kind_name[kind]);
		return NULL;
	}
	return node;
}

const char *yaml_str(const struct yaml_doc *doc, const struct yaml_node *node, struct diags *d)
{
	if (node->kind == YAML_SCALAR && !is_null(node))
		return node->text;
	yaml_error(doc, node, d, "found %s, needed a text", found(node));
	return NULL;
}

/* Decimal, without a sign or a leading zero (which some read as octal). */
static bool parse_uint(const char *text, uint64_t *v)
{
	uint64_t sum = 0;
	bool is_huge = false;

	if (!text[0] || (text[0] == '0' && text[1]))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		is_huge |= __builtin_mul_overflow(sum, 10u, &sum);
		is_huge |= __builtin_add_overflow(sum, (uint64_t)(*text - '0'), &sum);
	}
	*v = is_huge ? UINT64_MAX : sum;
	return true;
}

bool yaml_uint(const struct yaml_doc *doc, const struct yaml_node *node, uint64_t max, uint64_t *v, struct diags *d)
{
	uint64_t got;

	if (node->kind != YAML_SCALAR || is_null(node)) {
		yaml_error(doc, node, d, "found %s, needed a number from 0 to %" PRIu64, found(node), max);
		return false;
	}
	if (node->is_quoted || !parse_uint(node->text, &got)) {
		yaml_error(doc, node, d, "found '%s'%s, needed a number from 0 to %" PRIu64, node->text,
			   node->is_quoted ? " in quotes" : "", max);
		return false;
	}
	if (got > max) {
		yaml_error(doc, node, d, "%s is above %" PRIu64, node->text, max);
		return false;
	}
	*v = got;
	return true;
}

bool yaml_bool(const struct yaml_doc *doc, const struct yaml_node *node, bool *v, struct diags *d)
{
	bool is_true;

	if (node->kind != YAML_SCALAR || is_null(node)) {
		yaml_error(doc, node, d, "found %s, needed true or false", found(node));
		return false;
	}
	is_true = strcmp(node->text, "true") == 0;
	if (node->is_quoted || (!is_true && strcmp(node->text, "false") != 0)) {
		yaml_error(doc, node, d, "found '%s'%s, needed true or false", node->text,
			   node->is_quoted ? " in quotes" : "");
		return false;
	}
	*v = is_true;
	return true;
}
