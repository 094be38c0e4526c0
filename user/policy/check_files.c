// SPDX-License-Identifier: Apache-2.0
/* The files of a policy: what each says of itself, and all of them as one tree. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"

DEFINE_CLEANUP(doc, struct yaml_doc, yaml_free)
DEFINE_CLEANUP(model, struct pol_model, pol_free)

static void read_version(struct check *c, const struct yaml_node *root)
{
	const struct yaml_node *node = yaml_need(c->doc, root, "version", YAML_SCALAR, c->d);

	if (node && (node->is_quoted || strcmp(node->text, "1") != 0))
		wrong(c, node, "found '%.40s'%s, needed 1", node->text, node->is_quoted ? " in quotes" : "");
}

/* What was included must have been read: a file that is left out could be the one that denies. */
static void read_includes(struct check *c, const struct pol_sources *s, const struct yaml_node *list)
{
	char path[POL_PATH_MAX];
	const char *fault;

	if (list->kind != YAML_LIST || !list->n)
		wrong(c, list, "needed a list of at least one file or folder, such as [common.yaml, teams/]");
	for (size_t i = 0; list->kind == YAML_LIST && i < list->n; i++) {
		const char *item = yaml_str(c->doc, list->child[i], c->d);

		if (!item)
			continue;
		fault = pol_include_path(list->source->name, item, path);
		if (fault)
			wrong(c, list->child[i], "'%.80s' %s", item, fault);
		else if (!pol_sources_has(s, path))
			wrong(c, list->child[i], "'%.80s' is not among the files that were read", item);
	}
}

/* What each file says of itself. */
static void read_head(struct check *c, const struct pol_sources *s, struct yaml_doc *doc)
{
	const struct yaml_node *root = yaml_root(doc), *includes = yaml_get(root, "include");

	yaml_known_keys(doc, root, pol_keys_top, c->d);
	if (root->kind != YAML_MAP)
		return;
	c->doc = doc;
	read_version(c, root);
	if (includes)
		read_includes(c, s, includes);
}

static int read_texts(const struct pol_sources *s, struct diags *d)
{
	int ret = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct pol_text *text = &s->text[i];

		diags_file(d, text->name);
		if (!text->doc && yaml_parse_max(text->name, text->text, text->len, POL_TEXT_MAX, &text->doc, d) < 0)
			ret = -EINVAL;
		if (text->doc)
			yaml_number(text->doc, (unsigned)i);
	}
	return ret;
}

/* The tree of all files. One file's is its own; *joined owns that of several. */
static int join(struct check *c, const struct pol_sources *s, struct yaml_doc **joined)
{
	static const char *const apart[] = { "version", "include", NULL };
	auto_free struct yaml_doc **docs = check_room(c, s->n, sizeof(*docs));

	for (size_t i = 0; docs && i < s->n; i++)
		docs[i] = s->text[i].doc;
	if (!docs || (s->n > 1 && yaml_join(docs, s->n, apart, joined, c->d) < 0))
		return -EINVAL;
	c->doc = s->n > 1 ? *joined : docs[0];
	return 0;
}

static int read_all(struct check *c, const struct pol_sources *s, bool with_warnings)
{
	auto_call(cleanup_doc) struct yaml_doc *joined = NULL;
	size_t n_before = c->d->n_errors;

	for (size_t i = 0; i < s->n; i++)
		read_head(c, s, s->text[i].doc);
	if (s->n > 1 && c->d->n_errors > n_before)
		return -EINVAL;
	if (yaml_root(c->doc)->kind == YAML_MAP && !join(c, s, &joined))
		check_root(c, yaml_root(c->doc));
	if (c->d->n_errors > n_before)
		return -EINVAL;
	if (with_warnings) {
		check_lists(c, yaml_root(c->doc));
		pol_warn_rules(c->model, c->d);
	}
	return 0;
}

static struct pol_model *model_new(const struct pol_sources *s)
{
	auto_call(cleanup_model) struct pol_model *model = calloc(1, sizeof(*model));

	if (!model || pol_model_name_files(model, s->text, s->n) < 0 || pol_sources_digest(s, model->digest) < 0)
		return NULL;
	return take_ptr(model);
}

int pol_sources_parse(struct pol_sources *s, bool with_warnings, struct pol_model **model, struct diags *d)
{
	auto_call(cleanup_model) struct pol_model *made = NULL;
	struct check c = { .d = d };

	if (read_texts(s, d) < 0)
		return -EINVAL;
	c.doc = s->text[0].doc;
	c.model = made = model_new(s);
	if (!made) {
		diags_add(d, s->text[0].name, 0, 0, "", "out of memory");
		return -EINVAL;
	}
	if (read_all(&c, s, with_warnings) < 0)
		return -EINVAL;
	*model = take_ptr(made);
	return 0;
}

static int parse_one(const char *file, const char *text, size_t len, bool with_warnings, struct pol_model **model,
		     struct diags *d)
{
	struct pol_text one = { .name = (char *)file, .text = (char *)text, .len = len };
	struct pol_sources s = { .text = &one, .n = 1 };
	int ret = pol_sources_parse(&s, with_warnings, model, d);

	yaml_free(one.doc);
	return ret;
}

int pol_parse(const char *file, const char *text, size_t len, struct pol_model **model, struct diags *d)
{
	return parse_one(file, text, len, false, model, d);
}

int pol_parse_warn(const char *file, const char *text, size_t len, struct pol_model **model, struct diags *d)
{
	return parse_one(file, text, len, true, model, d);
}
