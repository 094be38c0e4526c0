// SPDX-License-Identifier: Apache-2.0
/* What: lists of ports, and names for them. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"
#include "near.h"

/* A word that is neither a port nor a name: the nearest of either. */
static void unknown_port(struct check *c, const struct yaml_node *item, const struct err *e)
{
	const struct pol_model *model = c->model;
	struct near near = NEAR_INIT(item->text);

	if (!strchr(item->text, '/')) {
		for (size_t i = 0; pol_port_words[i]; i++)
			near_offer(&near, pol_port_words[i]);
		for (size_t i = 0; i < model->n_port_sets && c->d->n < DIAGS_MAX; i++)
			near_offer(&near, model->port_set[i].name);
	}
	if (near.best && pol_port_set_by_name(model, near.best))
		wrong(c, item, "found '%s', did you mean '%s'?", item->text, near.best);
	else
		wrong(c, item, "%s", e->msg);
}

/* Whether the item is good. *set is its set, or NULL where *range has it. */
static bool read_item(struct check *c, const struct yaml_node *item, const struct pol_port_set **set,
		      struct pol_range *range)
{
	const char *text = yaml_str(c->doc, item, c->d);
	struct err e = ERR_INIT;

	*set = text ? pol_port_set_by_name(c->model, text) : NULL;
	if (!text || *set)
		return text != NULL;
	if (pol_range_parse(text, range, &e))
		return true;
	unknown_port(c, item, &e);
	return false;
}

static size_t room_of(const struct check *c, const struct yaml_node *list)
{
	size_t room = 0;

	for (size_t i = 0; i < list->n; i++) {
		const struct yaml_node *item = list->child[i];
		const struct pol_port_set *set =
			item->kind == YAML_SCALAR ? pol_port_set_by_name(c->model, item->text) : NULL;

		room += set ? set->n : 1;
	}
	return room;
}

static void read_ports(struct check *c, const struct yaml_node *list, struct pol_range **port, size_t *n)
{
	const struct pol_port_set *set;
	struct pol_range range;

	if (list->kind != YAML_LIST || !list->n) {
		wrong(c, list, "needed a list of at least one port, such as [tcp/443]");
		return;
	}
	*port = check_entries(c, list, room_of(c, list), sizeof(**port));
	for (size_t i = 0; *port && i < list->n; i++) {
		if (!read_item(c, list->child[i], &set, &range))
			continue;
		if (set && set->n)
			memcpy(&(*port)[*n], set->port, set->n * sizeof(range));
		else if (!set)
			(*port)[*n] = range;
		*n += set ? set->n : 1;
	}
	if (*n)
		pol_range_merge(*port, n);
}

void check_port_list(struct check *c, const struct yaml_node *list, struct pol_rule *rule)
{
	read_ports(c, list, &rule->port, &rule->n_ports);
}

/* --- names ------------------------------------------------------------------------------------------------- */

static const char *set_name_fault(const char *name)
{
	const char *fault = check_name_fault(name);

	for (size_t i = 0; !fault && pol_port_words[i]; i++)
		if (strcmp(name, pol_port_words[i]) == 0)
			fault = "is the word for a protocol";
	if (!fault && !name[strspn(name, "0123456789-")])
		fault = "looks like a number";
	return fault;
}

static int order_set_name(const void *a, const void *b)
{
	return strcmp(((const struct pol_port_set *)a)->name, ((const struct pol_port_set *)b)->name);
}

/* The sets become names only when all are read: no set can name another. */
static void read_sets(struct check *c, const struct yaml_node *sets, struct pol_port_set *set, size_t *n)
{
	for (size_t i = 0; i < sets->n; i++) {
		const char *fault = set_name_fault(sets->child[i]->key);

		if (fault)
			yaml_key_error(sets->child[i], c->d, "name of ports '%s' %s", sets->child[i]->key, fault);
		set[i].name = check_copy(c, sets->child[i]->key);
		if (!set[i].name)
			return;
		++*n;
		read_ports(c, sets->child[i], &set[i].port, &set[i].n);
	}
}

void check_port_sets(struct check *c, const struct yaml_node *sets)
{
	struct pol_model *model = c->model;
	size_t n = 0;

	if (sets->kind != YAML_MAP || !sets->n) {
		wrong(c, sets, "needed a map of at least one list of ports, such as web: [tcp/80, tcp/443]");
		return;
	}
	model->port_set = check_room(c, sets->n, sizeof(*model->port_set));
	if (!model->port_set)
		return;
	read_sets(c, sets, model->port_set, &n);
	qsort(model->port_set, n, sizeof(*model->port_set), order_set_name);
	model->n_port_sets = n;
}
