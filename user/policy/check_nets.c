// SPDX-License-Identifier: Apache-2.0
/* Where: networks, and the prefixes that rules spell out. All are known before the first rule is read. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"

static void add_prefix(struct pol_cells *cells, const struct pol_prefix *prefix)
{
	cells->prefix[cells->n++] = *prefix;
}

struct placed {
	struct pol_prefix prefix;
	size_t place; /* in the list */
};

static int order_placed(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	int order = memcmp(&x->prefix, &y->prefix, sizeof(x->prefix));

	return order ? order : (x->place > y->place) - (x->place < y->place);
}

static size_t read_prefixes(struct check *c, const struct yaml_node *list, struct placed *found)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		const char *text = yaml_str(c->doc, list->child[i], c->d);
		struct err e = ERR_INIT;

		found[n] = (struct placed){ .place = i };
		if (text && pol_prefix_parse(text, &found[n].prefix, &e))
			n++;
		else if (text)
			wrong(c, list->child[i], "%s", e.msg);
	}
	return n;
}

static void read_network(struct check *c, const struct yaml_node *list, struct pol_network *network)
{
	auto_free struct placed *found = NULL;
	size_t n;

	if (list->kind != YAML_LIST || !list->n) {
		wrong(c, list, "needed a list of at least one network, such as [10.0.0.0/8, 2001:db8::/32]");
		return;
	}
	network->prefix = check_room(c, list->n, sizeof(*network->prefix));
	found = check_room(c, list->n, sizeof(*found));
	if (!network->prefix || !found)
		return;
	n = read_prefixes(c, list, found);
	qsort(found, n, sizeof(*found), order_placed);
	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = list->child[found[i].place];

		if (i && memcmp(&found[i - 1].prefix, &found[i].prefix, sizeof(found[i].prefix)) == 0) {
			wrong(c, item, "'%s' is in the list already", item->text);
			continue;
		}
		network->prefix[network->n++] = found[i].prefix;
		add_prefix(&c->model->cells, &found[i].prefix);
	}
}

/* The prefixes of one side; what is wrong with them is told when the rule is read. */
static void collect(struct check *c, const struct yaml_node *side)
{
	size_t n = !side ? 0 : side->kind == YAML_LIST ? side->n : 1;

	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = side->kind == YAML_LIST ? side->child[i] : side;
		struct pol_prefix prefix;

		if (item->kind == YAML_SCALAR && pol_prefix_is_text(item->text) &&
		    pol_prefix_parse(item->text, &prefix, NULL))
			add_prefix(&c->model->cells, &prefix);
	}
}

static size_t entries_of(const struct yaml_node *list)
{
	return !list ? 0 : list->kind == YAML_LIST ? list->n : 1;
}

bool check_nets(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *networks = yaml_get(root, "networks"), *rules = yaml_get(root, "rules");
	struct pol_model *model = c->model;
	size_t n_rules = rules && rules->kind == YAML_LIST ? rules->n : 0, room = 2;

	for (size_t i = 0; i < model->n_networks; i++)
		room += entries_of(networks->child[i]);
	for (size_t i = 0; i < n_rules; i++)
		room += entries_of(yaml_get(rules->child[i], "from")) + entries_of(yaml_get(rules->child[i], "to"));
	model->cells.prefix = check_room(c, room, sizeof(*model->cells.prefix));
	if (!model->cells.prefix)
		return false;
	for (size_t i = 0; i < model->n_networks; i++)
		read_network(c, networks->child[i], &model->network[i]);
	for (size_t i = 0; i < n_rules; i++) {
		collect(c, yaml_get(rules->child[i], "from"));
		collect(c, yaml_get(rules->child[i], "to"));
	}
	pol_cells_make(&model->cells);
	if (model->cells.n <= POL_CELLS_MAX)
		return true;
	wrong(c, networks ? networks : rules, "%zu networks, the limit is %u", model->cells.n, POL_CELLS_MAX);
	return false;
}
