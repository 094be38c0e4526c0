// SPDX-License-Identifier: Apache-2.0
/* Any bytes as YAML: a tree with places and within its bounds, or at least one located error. */
#include <stdlib.h>
#include <string.h>

#include "policy/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void walk(const struct yaml_node *node, unsigned depth)
{
	char path[YAML_PATH_MAX + 1];

	must(depth <= YAML_DEPTH_MAX && node->line && node->col && strlen(yaml_path(node, path)) <= YAML_PATH_MAX);
	must((node->kind == YAML_SCALAR) == (node->text != NULL));
	for (size_t i = 0; i < node->n; i++) {
		const struct yaml_node *child = node->child[i];

		must(child->parent == node && child->pos == i);
		must(node->kind == YAML_MAP ? child->key && child->key_line && child->key_col : !child->key);
		walk(child, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct diags d = { 0 };
	struct yaml_doc *doc = NULL;
	uint64_t v;
	bool b;

	if (yaml_parse("fuzz.yaml", (const char *)data, size, &doc, &d) == 0) {
		static const char *const known[] = { "version", NULL };
		const struct yaml_node *root = yaml_root(doc);

		must(d.n_errors == 0);
		walk(root, 0);
		yaml_known_keys(doc, root, known, &d);
		yaml_str(doc, root, &d);
		yaml_uint(doc, root, 65535, &v, &d);
		yaml_bool(doc, root, &b, &d);
	} else {
		must(!doc && d.n_errors && diags_first(&d, NULL) < 0);
	}
	yaml_free(doc);
	diags_fini(&d);
	return 0;
}
