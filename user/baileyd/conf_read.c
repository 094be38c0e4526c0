// SPDX-License-Identifier: Apache-2.0
#include "conf_read.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const struct yaml_node *conf_section(struct conf_parse *p, const char *name, const char *const *known, bool required)
{
	const struct yaml_node *root = yaml_root(p->doc), *node = yaml_get(root, name);

	if (!node && !required)
		return NULL;
	node = yaml_need(p->doc, root, name, YAML_MAP, p->d);
	return node && yaml_known_keys(p->doc, node, known, p->d) ? node : NULL;
}

const char *conf_text(struct conf_parse *p, const struct yaml_node *map, const char *key, bool required)
{
	const struct yaml_node *node = yaml_get(map, key);

	if (!node && required)
		yaml_need(p->doc, map, key, YAML_SCALAR, p->d);
	return node ? yaml_str(p->doc, node, p->d) : NULL;
}

static bool is_name(const char *s, size_t max)
{
	size_t n = strlen(s);

	if (!n || n > max)
		return false;
	for (; *s; s++)
		if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '-')
			return false;
	return true;
}

void conf_name(struct conf_parse *p, const struct yaml_node *map, const char *key, char *dst, size_t size)
{
	const char *s = conf_text(p, map, key, true);

	if (!s)
		return;
	if (!is_name(s, size - 1))
		yaml_error(p->doc, yaml_get(map, key), p->d, "needs 1 to %zu of a-z, 0-9 and '-', found '%s'", size - 1,
			   s);
	else
		snprintf(dst, size, "%s", s);
}

/* Relative to the folder of the file. */
void conf_take_path(struct conf_parse *p, const struct yaml_node *at, const char *s, char dst[PATH_MAX])
{
	int n = *s == '/' ? snprintf(dst, PATH_MAX, "%s", s) : snprintf(dst, PATH_MAX, "%s/%s", p->dir, s);

	if (n >= PATH_MAX)
		yaml_error(p->doc, at, p->d, "path is longer than %d bytes", PATH_MAX - 1);
}

void conf_path(struct conf_parse *p, const struct yaml_node *map, const char *key, char dst[PATH_MAX],
	       const char *fallback)
{
	const char *s = conf_text(p, map, key, !fallback);

	if (!s)
		s = fallback;
	if (s && *s)
		conf_take_path(p, yaml_get(map, key), s, dst);
}

void conf_root_path(struct conf_parse *p, const struct yaml_node *map, const char *key, char dst[PATH_MAX],
		    const char *fallback)
{
	const char *s = conf_text(p, map, key, !fallback);

	if (s && (*s != '/' || strlen(s) >= PATH_MAX))
		yaml_error(p->doc, yaml_get(map, key), p->d, "needs a path from the root, found '%.100s'", s);
	else if (s || fallback)
		strcpy(dst, s ? s : fallback);
}

void conf_version(struct conf_parse *p)
{
	const struct yaml_node *root = yaml_root(p->doc);

	if (yaml_need(p->doc, root, "version", YAML_SCALAR, p->d) && conf_number(p, root, "version", 1, 1000, 1) != 1)
		yaml_error(p->doc, yaml_get(root, "version"), p->d, "is not 1, which this program reads");
}

uint64_t conf_number(struct conf_parse *p, const struct yaml_node *map, const char *key, uint64_t min, uint64_t max,
		     uint64_t fallback)
{
	const struct yaml_node *node = yaml_get(map, key);
	uint64_t v = fallback;

	if (node && yaml_uint(p->doc, node, max, &v, p->d) && v < min)
		yaml_error(p->doc, node, p->d, "%llu is below %llu", (unsigned long long)v, (unsigned long long)min);
	return v;
}

/* Walks a list of strings; `take` parses item i and says what was needed when it can not. */
uint32_t conf_list(struct conf_parse *p, const struct yaml_node *map, const char *key, bool required, uint32_t max,
		   const char *needed, bool (*take)(struct conf *conf, uint32_t i, const char *text))
{
	const struct yaml_node *list = yaml_get(map, key);
	uint32_t n = 0;

	if (!list && !required)
		return 0;
	list = yaml_need(p->doc, map, key, YAML_LIST, p->d);
	if (!list)
		return 0;
	if (list->n > max || (required && !list->n)) {
		yaml_error(p->doc, list, p->d, "has %zu entries, needs %d to %u", list->n, required, max);
		return 0;
	}
	for (size_t i = 0; i < list->n; i++) {
		const char *s = yaml_str(p->doc, list->child[i], p->d);

		if (s && take(p->conf, n, s))
			n++;
		else if (s)
			yaml_error(p->doc, list->child[i], p->d, "needs %s, found '%s'", needed, s);
	}
	return n;
}
