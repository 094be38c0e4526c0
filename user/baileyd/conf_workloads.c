// SPDX-License-Identifier: Apache-2.0
#include "conf_workloads.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "policy/yaml.h"

#define VLAN_MAX 4094

struct parse {
	const struct yaml_doc *doc;
	struct diags *d;
	struct conf_workloads *list;
};

static const char *text_of(struct parse *p, const struct yaml_node *map, const char *key)
{
	const struct yaml_node *node = yaml_need(p->doc, map, key, YAML_SCALAR, p->d);

	return node ? yaml_str(p->doc, node, p->d) : NULL;
}

static bool is_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n && n < WORKLOAD_NAME_LEN && !s[n];
}

/* What the kernel takes (dev_valid_name), without what a shell or a path would misread. */
static bool is_interface(const char *s)
{
	if (!*s || strlen(s) >= IF_NAMESIZE || *s == '.' || *s == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-_.@", *s))
			return false;
	return true;
}

static bool is_mac(uint8_t mac[6], const char *s)
{
	for (int i = 0; i < 6; i++, s += 3) {
		char pair[3] = { s[0], s[0] ? s[1] : '\0' };

		if (!hex_parse(&mac[i], 1, pair) || s[2] != (i < 5 ? ':' : '\0'))
			return false;
	}
	return !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

static void read_mac(struct parse *p, const struct yaml_node *map, struct conf_workload *w)
{
	const struct yaml_node *node = yaml_get(map, "mac");
	const char *s = node ? yaml_str(p->doc, node, p->d) : NULL;

	if (s && !is_mac(w->mac, s))
		yaml_error(p->doc, node, p->d, "needs the address of one machine like 02:00:00:00:00:01, found '%s'",
			   s);
}

static void read_vlan(struct parse *p, const struct yaml_node *map, struct conf_workload *w)
{
	const struct yaml_node *list = yaml_get(map, "vlan");

	list = list ? yaml_need(p->doc, map, "vlan", YAML_LIST, p->d) : NULL;
	if (list && (!list->n || list->n > 2)) {
		yaml_error(p->doc, list, p->d, "has %zu tags, needs 1 or 2, the outer one first", list->n);
		return;
	}
	for (size_t i = 0; list && i < list->n; i++) {
		uint64_t v = 0;

		if (yaml_uint(p->doc, list->child[i], VLAN_MAX, &v, p->d) && !v)
			yaml_error(p->doc, list->child[i], p->d, "needs 1 to %d, found 0", VLAN_MAX);
		w->vlan[i] = (uint16_t)v;
	}
}

static void read_names(struct parse *p, const struct yaml_node *map, struct conf_workload *w)
{
	const char *name = text_of(p, map, "name"), *interface = text_of(p, map, "interface"),
		   *instance = text_of(p, map, "instance");

	if (name && !is_name(name))
		yaml_error(p->doc, yaml_get(map, "name"), p->d, "needs 1 to %d of a-z, 0-9 and '-', found '%s'",
			   WORKLOAD_NAME_LEN - 1, name);
	else if (name)
		snprintf(w->name, sizeof(w->name), "%s", name);
	if (interface && !is_interface(interface))
		yaml_error(p->doc, yaml_get(map, "interface"), p->d,
			   "needs the name of a network interface, found '%s'", interface);
	else if (interface)
		snprintf(w->interface, sizeof(w->interface), "%s", interface);
	if (instance && !hex_parse(w->instance_id, sizeof(w->instance_id), instance))
		yaml_error(p->doc, yaml_get(map, "instance"), p->d,
			   "needs the instance-id of its record, %d hex digits, found '%s'", 2 * BY_INSTANCE_ID_LEN,
			   instance);
}

/* Nothing leads to two machines, and no machine is in two places. */
static void check_apart(struct parse *p, const struct yaml_node *at, const struct conf_workload *w)
{
	for (uint32_t i = 0; i < p->list->n; i++) {
		const struct conf_workload *o = &p->list->item[i];

		if (strcmp(o->name, w->name) == 0)
			yaml_error(p->doc, at, p->d, "the name '%s' is used twice", w->name);
		if (strcmp(o->interface, w->interface) == 0)
			yaml_error(p->doc, at, p->d, "interface '%s' leads to '%s' already", w->interface, o->name);
		if (memcmp(o->instance_id, w->instance_id, sizeof(w->instance_id)) == 0)
			yaml_error(p->doc, at, p->d, "the instance of '%s' is behind '%s' already", o->name,
				   o->interface);
	}
}

static void read_one(struct parse *p, const struct yaml_node *map)
{
	static const char *const known[] = { "name", "interface", "instance", "mac", "vlan", NULL };
	struct conf_workload w = { 0 };
	size_t before = p->d->n_errors;

	if (map->kind != YAML_MAP) {
		yaml_error(p->doc, map, p->d, "needs a map with name, interface and instance");
		return;
	}
	yaml_known_keys(p->doc, map, known, p->d);
	read_names(p, map, &w);
	read_mac(p, map, &w);
	read_vlan(p, map, &w);
	if (p->d->n_errors > before)
		return;
	check_apart(p, map, &w);
	p->list->item[p->list->n++] = w;
}

void conf_workloads_read(const struct yaml_doc *doc, struct conf_workloads *list, struct diags *d)
{
	const struct yaml_node *root = yaml_root(doc), *node = yaml_get(root, "workloads");
	struct parse p = { .doc = doc, .d = d, .list = list };

	list->n = 0;
	node = node ? yaml_need(doc, root, "workloads", YAML_LIST, d) : NULL;
	if (node && node->n > CONF_MAX_WORKLOADS) {
		yaml_error(doc, node, d, "has %zu entries, at most %d are possible", node->n, CONF_MAX_WORKLOADS);
		return;
	}
	for (size_t i = 0; node && i < node->n; i++)
		read_one(&p, node->child[i]);
}

int conf_workloads_parse(const char *file, const char *text, size_t len, struct conf_workloads *list, struct diags *d)
{
	static const char *const known[] = { "workloads", NULL };
	size_t before = d->n_errors;
	struct yaml_doc *doc;

	if (yaml_parse(file, text, len, &doc, d) < 0)
		return -EINVAL;
	if (yaml_root(doc)->kind != YAML_MAP)
		yaml_error(doc, yaml_root(doc), d, "needs a map with workloads");
	else if (yaml_known_keys(doc, yaml_root(doc), known, d))
		conf_workloads_read(doc, list, d);
	yaml_free(doc);
	return d->n_errors > before ? -EINVAL : 0;
}
