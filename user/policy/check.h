/* SPDX-License-Identifier: Apache-2.0 */
/* YAML -> model, for check*.c alone. Every check goes on after a failure: a person sees all problems at once. */
#pragma once

#include "model.h"

#define CHECK_ENTRIES_MAX (1u << 24) /* points in sides, atoms in groups, ranges in rules: what names expand to */
#define CHECK_NESTING_MAX 32u        /* groups within groups */

struct check {
	const struct yaml_doc *doc;
	struct diags *d;
	struct pol_model *model;
	size_t n_entries;
	uint64_t work; /* of warnings, against POL_WARN_WORK */
};

#define wrong(c, at, ...) yaml_error((c)->doc, at, (c)->d, __VA_ARGS__)

/* calloc that reports; n is 0 only where an empty list was refused, and then nothing is read from it */
void *check_room(struct check *c, size_t n, size_t size);
/* The same for what names expand to; refuses at `at` what is too much of it. */
void *check_entries(struct check *c, const struct yaml_node *at, size_t n, size_t size);
char *check_copy(struct check *c, const char *text);
/* NULL when `name` can name a rule, a peer or a set of ports. */
const char *check_name_fault(const char *name);

/* check.c: all sections of the tree of all files */
void check_root(struct check *c, const struct yaml_node *root);

/* check_names.c: what is named, before anything is asked what it is: a list may name what stands below it */
bool check_names(struct check *c, const struct yaml_node *root);
extern const char *const check_reserved[]; /* words that are no names; the last two can be, of apps */

/* check_claims.c: what the names of apps, instances and claims mean; then kinds. false: no use to go on. */
bool check_nodes(struct check *c, const struct yaml_node *root);

/* check_nets.c: networks, and prefixes that rules spell out; then cells */
bool check_nets(struct check *c, const struct yaml_node *root);

/* check_peers.c */
enum check_who {
	CHECK_NOBODY, /* an error, which is told */
	CHECK_NODES,
	CHECK_NETS, /* networks, addresses, world */
	CHECK_HOST,
};

void check_groups(struct check *c, const struct yaml_node *groups);
/* The value of `from`, `to` or `on` in a rule of that action. */
enum check_who check_side(struct check *c, const struct yaml_node *node, enum by_action action, struct pol_side *side);
/* The points of one entry of a list, sorted; returns how many. `point` NULL: only that. */
size_t check_points(const struct check *c, const struct yaml_node *item, enum by_action action, uint32_t *point);

/* check_rules.c */
void check_rules(struct check *c, const struct yaml_node *rules);

/* check_http.c; the rest of the rule is read */
void check_http(struct check *c, const struct yaml_node *rule, struct pol_rule *r);
void check_http_list(struct check *c, const struct yaml_node *rule, const struct pol_rule *r); /* warnings */

/* check_tests.c */
void check_tests(struct check *c, const struct yaml_node *tests);

/* check_ports.c */
void check_port_sets(struct check *c, const struct yaml_node *sets);
void check_port_list(struct check *c, const struct yaml_node *list, struct pol_rule *rule);

/* check_lists.c: warnings about the lists of an accepted policy */
void check_lists(struct check *c, const struct yaml_node *root);
