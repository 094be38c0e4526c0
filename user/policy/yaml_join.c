// SPDX-License-Identifier: Apache-2.0
/* Several documents as one tree. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "yaml_doc.h"

DEFINE_CLEANUP(doc, struct yaml_doc, yaml_free)

struct join {
	struct yaml_doc *doc; /* being made */
	struct yaml_doc *const *docs;
	size_t n_docs;
	struct diags *d;
};

static bool is_in(const char *word, const char *const *list)
{
	while (*list && strcmp(*list, word) != 0)
		list++;
	return *list != NULL;
}

static int no_memory(struct join *j)
{
	yaml_error(j->docs[0], NULL, j->d, "out of memory");
	return -EINVAL;
}

/* Whether `part` can be united with what another file has under this key. */
static bool fits(struct join *j, const struct yaml_node *first, const struct yaml_node *part)
{
	static const char *const kind[] = {
		[YAML_SCALAR] = "a single value", [YAML_LIST] = "a list", [YAML_MAP] = "a map"
	};

	if (part->kind == YAML_SCALAR && first->kind == YAML_SCALAR)
		yaml_error(NULL, part, j->d, "'%s' is in %s:%u:%u already", part->key, first->source->name, first->line,
			   first->col);
	else if (part->kind != first->kind)
		yaml_error(NULL, part, j->d, "found %s, needed %s as at %s:%u:%u", kind[part->kind], kind[first->kind],
			   first->source->name, first->line, first->col);
	return part->kind == first->kind && part->kind != YAML_SCALAR;
}

static void append(struct yaml_node *all, const struct yaml_node *part)
{
	for (size_t i = 0; i < part->n; i++)
		all->child[all->n++] = part->child[i];
}

/* What all files have under `key`, in a node of its own that has the place of the first. */
static int unite(struct join *j, const char *key, struct yaml_node **united)
{
	const struct yaml_node *first = NULL, *part;
	struct yaml_node *all = yaml_take(j->doc, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < j->n_docs; i++) {
		part = yaml_get(j->docs[i]->root, key);
		first = first ? first : part;
		n += part ? part->n : 0;
	}
	if (!all)
		return no_memory(j);
	*all = *first;
	all->n = 0;
	all->child = yaml_take(j->doc, n * sizeof(*all->child));
	if (!all->child)
		return no_memory(j);
	for (size_t i = 0; i < j->n_docs; i++) {
		part = yaml_get(j->docs[i]->root, key);
		if (part && (part == first ? part->kind != YAML_SCALAR : fits(j, first, part)))
			append(all, part);
	}
	*united = all;
	return all->kind == YAML_MAP && yaml_refuse_duplicates(all, j->d) < 0 ? no_memory(j) : 0;
}

static int add_sections(struct join *j, const struct yaml_node *part, const char *const *apart)
{
	struct yaml_node *root = j->doc->root;
	int ret = 0;

	for (size_t i = 0; i < part->n && !ret; i++) {
		const char *key = part->child[i]->key;

		if (is_in(key, apart) || yaml_get(root, key))
			continue;
		ret = unite(j, key, &root->child[root->n]);
		root->n += !ret;
	}
	return ret;
}

int yaml_join(struct yaml_doc *const *docs, size_t n, const char *const *apart, struct yaml_doc **joined,
	      struct diags *d)
{
	auto_call(cleanup_doc) struct yaml_doc *made = yaml_doc_new(yaml_file(docs[0]));
	struct join j = { .doc = made, .docs = docs, .n_docs = n, .d = d };
	size_t n_keys = 0, n_before = d->n_errors;
	int ret = 0;

	for (size_t i = 0; i < n; i++)
		n_keys += docs[i]->root->n;
	if (!made || !(made->root = yaml_take(made, sizeof(*made->root))))
		return no_memory(&j);
	*made->root = *docs[0]->root;
	made->root->n = 0;
	made->root->child = yaml_take(made, n_keys * sizeof(*made->root->child));
	if (!made->root->child)
		return no_memory(&j);
	for (size_t i = 0; i < n && !ret; i++)
		ret = add_sections(&j, docs[i]->root, apart);
	if (ret || d->n_errors > n_before)
		return -EINVAL;
	*joined = take_ptr(made);
	return 0;
}
