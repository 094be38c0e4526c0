// SPDX-License-Identifier: Apache-2.0
#include "fmt.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fmt_text.h"
#include "model.h"
#include "style.h"
#include "yaml_doc.h"

/* --- order of keys ----------------------------------------------------------------------------------------- */

/* The maps whose keys have an order: below a key, and in what lies one level deeper. */
struct shape {
	const char *key; /* of the parent's map; NULL: each of its entries */
	const char *const *order;
	const struct shape *below;
};

static const struct shape in_app[] = { { "require", pol_keys_claim, NULL }, { 0 } };
static const struct shape each_http = { NULL, pol_keys_http, NULL };
static const struct shape in_rule[] = { { "rate", pol_keys_rate, NULL }, { "http", NULL, &each_http }, { 0 } };
static const struct shape in_test[] = { { "from-claims", pol_keys_claim, NULL },
					{ "to-claims", pol_keys_claim, NULL },
					{ 0 } };
static const struct shape each_app = { NULL, pol_keys_app, in_app };
static const struct shape each_instance = { NULL, pol_keys_instance, NULL };
static const struct shape each_claim = { NULL, pol_keys_claim, NULL };
static const struct shape each_rule = { NULL, pol_keys_rule, in_rule };
static const struct shape each_test = { NULL, pol_keys_test, in_test };
static const struct shape in_root[] = { { "apps", NULL, &each_app },     { "instances", NULL, &each_instance },
					{ "claims", NULL, &each_claim }, { "rules", NULL, &each_rule },
					{ "tests", NULL, &each_test },   { 0 } };

static size_t rank_of(const char *const *order, const char *key)
{
	size_t i = 0;

	while (order[i] && strcmp(order[i], key) != 0)
		i++;
	return i;
}

/* Stable; few keys. */
static void sort_keys(struct style_entry *map, const char *const *order)
{
	struct style_entry *sorted = NULL, *next;

	for (struct style_entry *e = map->child; e; e = next) {
		struct style_entry **at = &sorted;

		next = e->next;
		while (*at && rank_of(order, (*at)->key) <= rank_of(order, e->key))
			at = &(*at)->next;
		e->next = *at;
		*at = e;
	}
	map->child = sorted;
}

static const struct shape *shape_of(const struct shape *below, const struct style_entry *e)
{
	if (below && !below->key && below->order)
		return below;
	while (below && below->key && (!e->key || strcmp(below->key, e->key) != 0))
		below++;
	return below && below->key ? below : NULL;
}

static void sort_all(struct style_entry *e, const char *const *order, const struct shape *below)
{
	if (e->kind == YAML_MAP && order)
		sort_keys(e, order);
	for (struct style_entry *c = e->kind == YAML_SCALAR ? NULL : e->child; c; c = c->next) {
		const struct shape *shape = shape_of(below, c);

		sort_all(c, shape ? shape->order : NULL, shape ? shape->below : NULL);
	}
}

/* --- comments ---------------------------------------------------------------------------------------------- */

static bool has_notes(const struct style_entry *e)
{
	bool has = e->kind != YAML_SCALAR && e->tail.first;

	for (const struct style_entry *c = e->kind == YAML_SCALAR ? NULL : e->child; c && !has; c = c->next)
		has = c->above.first || c->behind || has_notes(c);
	return has;
}

static void move_notes(struct style_notes *from, struct style_notes *to)
{
	for (struct style_note *n = from->first, *next; n; n = next) {
		next = n->next;
		style_notes_add(to, n);
	}
	*from = (struct style_notes){ 0 };
}

/* A map in a list begins on the line of its dash: what would come between is said above. */
static int hoist(struct yaml_doc *doc, struct style_entry *e)
{
	struct style_entry *c = e->kind == YAML_SCALAR ? NULL : e->child;

	for (; c; c = c->next)
		if (hoist(doc, c) < 0)
			return -ENOMEM;
	if (e->key || e->kind != YAML_MAP || !e->child || e->is_inline)
		return 0;
	if (e->behind) {
		struct style_note *n = yaml_take(doc, sizeof(*n));

		if (!n)
			return -ENOMEM;
		*n = (struct style_note){ .text = e->behind };
		style_notes_add(&e->above, n);
		e->behind = NULL;
	}
	move_notes(&e->child->above, &e->above);
	return 0;
}

/* --- lines ------------------------------------------------------------------------------------------------- */

struct writer {
	FILE *to;
	bool is_first; /* nothing stands above: no empty line is needed */
};

static size_t inline_width(const struct style_entry *e, size_t limit)
{
	size_t n = e->key ? fmt_text_width(e->key, e->is_key_quoted) + 2 : 0;

	if (e->kind == YAML_SCALAR)
		return n + fmt_text_width(e->text, e->is_quoted);
	n += e->kind == YAML_MAP ? 4 : 2;
	for (const struct style_entry *c = e->child; c && n <= limit; c = c->next)
		n += inline_width(c, limit) + (c->next ? 2 : 0);
	return n;
}

/* What has only block collections in it is no longer inline itself. */
static void choose_style(struct style_entry *e, unsigned indent)
{
	unsigned own = indent + (e->key ? 0 : 2);

	if (e->kind == YAML_SCALAR)
		return;
	if (!e->child && !e->tail.first)
		e->is_inline = true;
	else if (e->is_inline)
		e->is_inline = !has_notes(e) && own + inline_width(e, POL_FORMAT_WIDTH) <= POL_FORMAT_WIDTH;
	for (struct style_entry *c = e->child; c && !e->is_inline; c = c->next)
		choose_style(c, indent + 2);
}

static void write_inline(struct writer *w, const struct style_entry *e)
{
	if (e->kind == YAML_SCALAR) {
		fmt_text_write(e->text, e->is_quoted, w->to);
		return;
	}
	fputs(e->kind == YAML_MAP ? (e->child ? "{ " : "{") : "[", w->to);
	for (const struct style_entry *c = e->child; c; c = c->next) {
		if (c->key) {
			fmt_text_write(c->key, c->is_key_quoted, w->to);
			fputs(": ", w->to);
		}
		write_inline(w, c);
		fputs(c->next ? ", " : "", w->to);
	}
	fputs(e->kind == YAML_MAP ? (e->child ? " }" : "}") : "]", w->to);
}

static void write_notes(struct writer *w, const struct style_notes *notes, unsigned indent)
{
	for (const struct style_note *n = notes->first; n; n = n->next) {
		fprintf(w->to, "%s%*s%s\n", n->is_after_blank && !w->is_first ? "\n" : "", (int)indent, "", n->text);
		w->is_first = false;
	}
}

static void write_block(struct writer *w, const struct style_entry *e, unsigned indent, bool is_begun);

static void write_behind(struct writer *w, const struct style_entry *e)
{
	fprintf(w->to, "%s%s\n", e->behind ? " " : "", e->behind ? e->behind : "");
}

/* is_begun: the dash before it is on the line already */
static void write_entry(struct writer *w, const struct style_entry *e, unsigned indent, bool is_begun)
{
	if (!is_begun) {
		write_notes(w, &e->above, indent);
		fprintf(w->to, "%s%*s", e->is_after_blank && !w->is_first ? "\n" : "", (int)indent, "");
	}
	w->is_first = false;
	if (e->key) {
		fmt_text_write(e->key, e->is_key_quoted, w->to);
		fputc(':', w->to);
	} else {
		fputc('-', w->to);
	}
	if (e->kind == YAML_SCALAR || e->is_inline) {
		if (e->kind != YAML_SCALAR || e->text[0] || e->is_quoted)
			fputc(' ', w->to);
		write_inline(w, e);
		write_behind(w, e);
		return;
	}
	if (!e->key && e->kind == YAML_MAP) {
		fputc(' ', w->to);
		write_block(w, e, indent + 2, true);
		return;
	}
	write_behind(w, e);
	w->is_first = true;
	write_block(w, e, indent + 2, false);
}

static void write_block(struct writer *w, const struct style_entry *e, unsigned indent, bool is_begun)
{
	for (const struct style_entry *c = e->child; c; c = c->next)
		write_entry(w, c, indent, is_begun && c == e->child);
	write_notes(w, &e->tail, indent);
}

static int write_root(struct style_entry *root, char **out)
{
	size_t size;
	struct writer w = { .to = open_memstream(out, &size), .is_first = true };

	if (!w.to)
		return -ENOMEM;
	write_notes(&w, &root->above, 0);
	fputs(root->is_after_blank && !w.is_first ? "\n" : "", w.to);
	w.is_first = true;
	if (root->kind == YAML_SCALAR || root->is_inline) {
		write_inline(&w, root);
		write_behind(&w, root);
	} else {
		write_block(&w, root, 0, false);
	}
	return fclose(w.to) == 0 ? 0 : -ENOMEM;
}

/* --- what was written means what was read ------------------------------------------------------------------ */

static bool is_same_tree(const struct yaml_node *a, const struct yaml_node *b)
{
	if (a->kind != b->kind || a->n != b->n)
		return false;
	if (a->kind == YAML_SCALAR) /* a text of several lines is nothing but a text, with quotes or without */
		return strcmp(a->text, b->text) == 0 &&
		       (a->is_quoted == b->is_quoted || strchr(a->text, '\n') || !fmt_text_needs_quotes(a->text));
	for (size_t i = 0; i < a->n; i++) {
		const struct yaml_node *other = a->kind == YAML_LIST ? b->child[i] : yaml_get(b, a->child[i]->key);

		if (!other || !is_same_tree(a->child[i], other))
			return false;
	}
	return true;
}

struct texts {
	const char **item;
	size_t n;
};

static void list_text(struct texts *t, const char *text)
{
	if (t->item && text)
		t->item[t->n] = text;
	t->n += text != NULL;
}

static void list_notes(struct texts *t, const struct style_entry *e)
{
	for (const struct style_note *n = e->above.first; n; n = n->next)
		list_text(t, n->text);
	list_text(t, e->behind);
	if (e->kind == YAML_SCALAR)
		return;
	for (const struct style_note *n = e->tail.first; n; n = n->next)
		list_text(t, n->text);
	for (const struct style_entry *c = e->child; c; c = c->next)
		list_notes(t, c);
}

static int order_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool list_all(const struct style_entry *root, struct texts *t)
{
	list_notes(t, root);
	t->item = calloc(t->n + 1, sizeof(*t->item));
	t->n = 0;
	if (!t->item)
		return false;
	list_notes(t, root);
	qsort(t->item, t->n, sizeof(*t->item), order_text);
	return true;
}

/* Keys may have changed places, and their comments with them. */
static bool has_same_notes(const struct style_entry *a, const struct style_entry *b)
{
	struct texts one = { 0 }, two = { 0 };
	bool is_same = list_all(a, &one) && list_all(b, &two) && one.n == two.n;

	for (size_t i = 0; is_same && i < one.n; i++)
		is_same = strcmp(one.item[i], two.item[i]) == 0;
	free(one.item);
	free(two.item);
	return is_same;
}

DEFINE_CLEANUP(doc, struct yaml_doc, yaml_free)

static int prove(const char *file, const struct yaml_doc *doc, const struct style_entry *root, const char *out,
		 struct diags *d)
{
	auto_call(cleanup_doc) struct yaml_doc *again = NULL;
	auto_call(diags_fini) struct diags quiet = { 0 };
	struct style_entry *read = NULL;
	bool is_same = yaml_parse_max(file, out, strlen(out), 2 * (size_t)POL_TEXT_MAX, &again, &quiet) == 0 &&
		       is_same_tree(yaml_root(doc), yaml_root(again)) &&
		       style_read(again, out, strlen(out), &read, &quiet) == 0 && has_same_notes(root, read);

	if (is_same)
		return 0;
	diags_add(d, file, 0, 0, "", "can not be written again without a change; it stays as it is");
	return -EINVAL;
}

int pol_format(const char *file, const char *text, size_t len, char **out, struct diags *d)
{
	auto_call(cleanup_doc) struct yaml_doc *doc = NULL;
	auto_free char *made = NULL;
	struct style_entry *root;

	if (yaml_parse_max(file, text, len, POL_TEXT_MAX, &doc, d) < 0 || style_read(doc, text, len, &root, d) < 0)
		return -EINVAL;
	sort_all(root, pol_keys_top, in_root);
	choose_style(root, 0);
	if (hoist(doc, root) < 0 || write_root(root, &made) < 0) {
		diags_add(d, file, 0, 0, "", "out of memory");
		return -EINVAL;
	}
	if (prove(file, doc, root, made, d) < 0)
		return -EINVAL;
	*out = take_ptr(made);
	return 0;
}
