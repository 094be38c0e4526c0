// SPDX-License-Identifier: Apache-2.0
/* YAML -> model. Every check goes on after a failure, so that a person sees all problems of a file at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"

const char *const pol_keys_top[] = { "version", "include", "apps",  "instances", "claims", "networks",
				     "groups",  "ports",   "rules", "tests",     NULL };

void *check_room(struct check *c, size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		wrong(c, NULL, "out of memory");
	return p;
}

char *check_copy(struct check *c, const char *text)
{
	char *p = strdup(text);

	if (!p)
		wrong(c, NULL, "out of memory");
	return p;
}

void *check_entries(struct check *c, const struct yaml_node *at, size_t n, size_t size)
{
	c->n_entries += n;
	if (c->n_entries <= CHECK_ENTRIES_MAX)
		return check_room(c, n, size);
	wrong(c, at, "the policy's names expand to more than %u apps and ports", CHECK_ENTRIES_MAX);
	return NULL;
}

const char *check_name_fault(const char *name)
{
	if (!name[0])
		return "is empty";
	if (strlen(name) > POL_NAME_MAX)
		return "is longer than 47 characters";
	if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		return "has other characters than a-z, 0-9 and -";
	return name[0] == '-' ? "starts with -" : NULL;
}

/* --- the file ---------------------------------------------------------------------------------------------- */

void check_root(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *part;

	if (!check_names(c, root) || !check_nodes(c, root) || !check_nets(c, root))
		return;
	if (c->model->n_groups)
		check_groups(c, yaml_get(root, "groups"));
	if ((part = yaml_get(root, "ports")))
		check_port_sets(c, part);
	if ((part = yaml_get(root, "rules")))
		check_rules(c, part);
	else
		wrong(c, root, "the key 'rules' is missing");
	if ((part = yaml_get(root, "tests")))
		check_tests(c, part);
}
