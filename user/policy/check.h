/* SPDX-License-Identifier: Apache-2.0 */
/* YAML -> model, for check*.c alone. Every check goes on after a failure: a person sees all problems at once. */
#pragma once

#include "model.h"

#define CHECK_ENTRIES_MAX (1u << 24) /* apps in groups and sides, ranges in rules: what names expand to */
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
/* NULL when `name` can name a rule, an app, a group or a set of ports. */
const char *check_name_fault(const char *name);
/* The same for an app or a group: those that stand for one in rules. */
const char *check_peer_name_fault(const char *name);
void check_key_error(struct check *c, const struct yaml_node *map, size_t i, const char *what, const char *fault);

/* check.c: all sections of the tree of all files */
void check_root(struct check *c, const struct yaml_node *root);

/* check_peers.c */
void check_apps(struct check *c, const struct yaml_node *apps);
void check_groups(struct check *c, const struct yaml_node *groups);
/* The value of `from` or `to` in a rule. */
void check_side(struct check *c, const struct yaml_node *rule, const char *key, struct pol_side *side);

/* check_ports.c */
void check_port_sets(struct check *c, const struct yaml_node *sets);
void check_port_list(struct check *c, const struct yaml_node *list, struct pol_rule *rule);

/* check_lists.c: warnings about the lists of an accepted policy */
void check_lists(struct check *c, const struct yaml_node *root);
