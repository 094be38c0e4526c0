// SPDX-License-Identifier: Apache-2.0
#include "yaml_doc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "near.h"

#define CHUNK_BYTES 65536u

DEFINE_CLEANUP(doc, struct yaml_doc, yaml_free)

/* A collection that is not closed yet. */
struct level {
	struct yaml_node *node;
	char *key; /* map: read, and waiting for its value */
	unsigned key_line, key_col;
};

struct build {
	struct yaml_doc *doc;
	struct diags *d;
	size_t len_bytes;
	struct level level[YAML_DEPTH_MAX];
	size_t depth;
	size_t n_documents;
};

void *yaml_take(struct yaml_doc *doc, size_t n)
{
	size_t need = (n + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	struct chunk *c = doc->chunks;

	if (!c || c->cap - c->used < need) {
		size_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;

		c = malloc(sizeof(*c) + cap);
		if (!c)
			return NULL;
		*c = (struct chunk){ .next = doc->chunks, .cap = cap };
		doc->chunks = c;
	}
	c->used += need;
	return (char *)c->data + c->used - need;
}

static char *take_text(struct yaml_doc *doc, const char *text, size_t len)
{
	char *copy = yaml_take(doc, len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void yaml_doc_free(struct yaml_doc *doc)
{
	if (!doc)
		return;
	for (struct chunk *c = doc->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(doc->source.name);
	free(doc);
}

struct yaml_doc *yaml_doc_new(const char *file)
{
	struct yaml_doc *doc = calloc(1, sizeof(*doc));

	if (doc && !(doc->source.name = strdup(file))) {
		free(doc);
		return NULL;
	}
	return doc;
}

const struct yaml_node *yaml_root(const struct yaml_doc *doc)
{
	return doc->root;
}

const char *yaml_file(const struct yaml_doc *doc)
{
	return doc->source.name;
}

const char *yaml_path(const struct yaml_node *node, char buf[YAML_PATH_MAX + 1])
{
	char *at = buf + YAML_PATH_MAX;

	for (*at = '\0'; node->parent; node = node->parent) {
		char part[YAML_KEY_MAX + 2];
		int n = node->key ? snprintf(part, sizeof(part), "%s%s", node->parent->parent ? "." : "", node->key)
				  : snprintf(part, sizeof(part), "[%u]", node->pos);

		if (at - buf < n)
			break;
		at -= n;
		memcpy(at, part, (size_t)n);
	}
	return at;
}

void yaml_number(struct yaml_doc *doc, unsigned number)
{
	doc->source.number = number;
}

static int refuse(struct build *b, yaml_mark_t mark, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int refuse(struct build *b, yaml_mark_t mark, const char *fmt, ...)
{
	char msg[512], path[YAML_PATH_MAX + 1] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	diags_add(b->d, b->doc->source.name, (unsigned)mark.line + 1, (unsigned)mark.column + 1,
		  b->depth ? yaml_path(b->level[b->depth - 1].node, path) : "", "%s", msg);
	return -EINVAL;
}

/* --- building the tree ------------------------------------------------------------------------------------- */

/* Room for one more child: the array doubles, the chunks keep the old ones until the end. */
static int grow(struct build *b, struct yaml_node *node)
{
	size_t n = node->n;
	struct yaml_node **child;

	if (n && (n < 4 || (n & (n - 1))))
		return 0;
	child = yaml_take(b->doc, (n ? 2 * n : 4) * sizeof(*child));
	if (!child)
		return -ENOMEM;
	if (n)
		memcpy(child, node->child, n * sizeof(*child));
	node->child = child;
	return 0;
}

static int hang(struct build *b, yaml_mark_t mark, struct yaml_node *node)
{
	struct level *up;

	if (!b->depth) {
		b->doc->root = node;
		return 0;
	}
	up = &b->level[b->depth - 1];
	if (grow(b, up->node) < 0)
		return refuse(b, mark, "out of memory");
	node->parent = up->node;
	node->pos = (unsigned)up->node->n;
	node->key = take_ptr(up->key);
	node->key_line = up->key_line;
	node->key_col = up->key_col;
	up->node->child[up->node->n++] = node;
	return 0;
}

static int add_node(struct build *b, yaml_mark_t mark, enum yaml_kind kind, struct yaml_node **made)
{
	struct yaml_node *node;
	int ret;

	if (++b->doc->n_nodes > YAML_NODES_MAX)
		return refuse(b, mark, "more than %u values in one file", YAML_NODES_MAX);
	node = yaml_take(b->doc, sizeof(*node));
	if (!node)
		return refuse(b, mark, "out of memory");
	*node = (struct yaml_node){
		.kind = kind,
		.source = &b->doc->source,
		.line = (unsigned)mark.line + 1,
		.col = (unsigned)mark.column + 1,
	};
	ret = hang(b, mark, node);
	if (!ret)
		*made = node;
	return ret;
}

static bool wants_key(const struct build *b)
{
	return b->depth && b->level[b->depth - 1].node->kind == YAML_MAP && !b->level[b->depth - 1].key;
}

static int on_key(struct build *b, const yaml_event_t *ev)
{
	struct level *up = &b->level[b->depth - 1];

	if (ev->data.scalar.length > YAML_KEY_MAX)
		return refuse(b, ev->start_mark, "a key of %zu bytes; the limit is %u", ev->data.scalar.length,
			      YAML_KEY_MAX);
	up->key = take_text(b->doc, (const char *)ev->data.scalar.value, ev->data.scalar.length);
	up->key_line = (unsigned)ev->start_mark.line + 1;
	up->key_col = (unsigned)ev->start_mark.column + 1;
	return up->key ? 0 : refuse(b, ev->start_mark, "out of memory");
}

static int on_scalar(struct build *b, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	struct yaml_node *node;
	int ret;

	if (memchr(text, '\0', len))
		return refuse(b, ev->start_mark, "holds a NUL character");
	if (wants_key(b))
		return on_key(b, ev);
	if (len > YAML_VALUE_MAX)
		return refuse(b, ev->start_mark, "a text of %zu bytes; the limit is %u", len, YAML_VALUE_MAX);
	ret = add_node(b, ev->start_mark, YAML_SCALAR, &node);
	if (ret)
		return ret;
	node->is_quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	node->text = take_text(b->doc, text, len);
	return node->text ? 0 : refuse(b, ev->start_mark, "out of memory");
}

static int on_open(struct build *b, const yaml_event_t *ev, enum yaml_kind kind)
{
	struct yaml_node *node;
	int ret;

	if (wants_key(b))
		return refuse(b, ev->start_mark, "a key must be a text, not a %s", kind == YAML_MAP ? "map" : "list");
	if (b->depth == YAML_DEPTH_MAX)
		return refuse(b, ev->start_mark, "more than %u levels deep", YAML_DEPTH_MAX);
	ret = add_node(b, ev->start_mark, kind, &node);
	if (!ret)
		b->level[b->depth++] = (struct level){ .node = node };
	return ret;
}

static int by_key(const void *a, const void *b, void *arg)
{
	const struct yaml_node *map = arg;
	size_t i = *(const size_t *)a, j = *(const size_t *)b;
	int order = strcmp(map->child[i]->key, map->child[j]->key);

	return order ? order : (i > j) - (i < j);
}

static void tell_duplicate(const struct yaml_node *first, const struct yaml_node *again, struct diags *d)
{
	if (first->source == again->source)
		yaml_key_error(again, d, "key '%s' is there already, on line %u", again->key, first->key_line);
	else
		yaml_key_error(again, d, "'%s' is in %s:%u:%u already", again->key, first->source->name,
			       first->key_line, first->key_col);
}

/* Sorted rather than compared pairwise: a map may have as many keys as a megabyte holds. */
int yaml_refuse_duplicates(const struct yaml_node *map, struct diags *d)
{
	auto_free size_t *order = map->n > 1 ? calloc(map->n, sizeof(*order)) : NULL;

	if (map->n < 2)
		return 0;
	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < map->n; i++)
		order[i] = i;
	qsort_r(order, map->n, sizeof(*order), by_key, (void *)map);
	for (size_t i = 1; i < map->n; i++)
		if (strcmp(map->child[order[i - 1]]->key, map->child[order[i]]->key) == 0)
			tell_duplicate(map->child[order[i - 1]], map->child[order[i]], d);
	return 0;
}

static int on_close(struct build *b, const yaml_event_t *ev)
{
	struct yaml_node *node = b->level[b->depth - 1].node;

	if (node->kind == YAML_MAP && yaml_refuse_duplicates(node, b->d) < 0)
		return refuse(b, ev->start_mark, "out of memory");
	b->depth--;
	return 0;
}

static int on_document(struct build *b, const yaml_event_t *ev)
{
	if (b->n_documents++)
		return refuse(b, ev->start_mark, "a second document; one file holds one");
	return 0;
}

static const char *ornament(const yaml_event_t *ev)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (ev->type == YAML_SCALAR_EVENT) {
		anchor = ev->data.scalar.anchor;
		tag = ev->data.scalar.tag;
	} else if (ev->type == YAML_SEQUENCE_START_EVENT) {
		anchor = ev->data.sequence_start.anchor;
		tag = ev->data.sequence_start.tag;
	} else if (ev->type == YAML_MAPPING_START_EVENT) {
		anchor = ev->data.mapping_start.anchor;
		tag = ev->data.mapping_start.tag;
	}
	return anchor ? "anchors (&name)" : tag ? "tags (!name)" : NULL;
}

static int on_event(struct build *b, const yaml_event_t *ev)
{
	const char *extra = ornament(ev);

	if (extra)
		return refuse(b, ev->start_mark, "%s are not part of this language", extra);
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		return on_document(b, ev);
	case YAML_ALIAS_EVENT:
		return refuse(b, ev->start_mark, "aliases (*name) are not part of this language");
	case YAML_SCALAR_EVENT:
		return on_scalar(b, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, ev, YAML_LIST);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, ev, YAML_MAP);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_close(b, ev);
	default:
		return 0;
	}
}

/* libyaml knows only the byte offset of what is not text. */
static yaml_mark_t mark_at(const char *text, size_t offset)
{
	yaml_mark_t mark = { 0 };

	for (size_t i = 0; i < offset; i++) {
		if (text[i] == '\n')
			mark = (yaml_mark_t){ .line = mark.line + 1 };
		else if (((unsigned char)text[i] & 0xc0) != 0x80)
			mark.column++;
	}
	return mark;
}

static int parser_error(struct build *b, const yaml_parser_t *parser, const char *text)
{
	yaml_mark_t mark = parser->problem_mark;
	const char *problem = parser->problem ? parser->problem : "out of memory";

	if (parser->error == YAML_READER_ERROR) {
		size_t at = parser->problem_offset < b->len_bytes ? parser->problem_offset : b->len_bytes;

		return refuse(b, mark_at(text, at), "not readable text: %s", problem);
	}
	if (parser->context)
		return refuse(b, mark, "not YAML: %s (%s that starts on line %zu)", problem, parser->context,
			      parser->context_mark.line + 1);
	return refuse(b, mark, "not YAML: %s", problem);
}

static int read_events(struct build *b, yaml_parser_t *parser, const char *text)
{
	yaml_event_t ev;
	bool is_end = false;
	int ret = 0;

	while (!ret && !is_end) {
		if (!yaml_parser_parse(parser, &ev))
			return parser_error(b, parser, text);
		is_end = ev.type == YAML_STREAM_END_EVENT;
		ret = on_event(b, &ev);
		yaml_event_delete(&ev);
	}
	return ret;
}

static int build(struct build *b, const char *text)
{
	const struct yaml_node *root;
	yaml_parser_t parser;
	int ret;

	if (!yaml_parser_initialize(&parser))
		return refuse(b, (yaml_mark_t){ 0 }, "out of memory");
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING); /* or a byte order mark would choose UTF-16 */
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, b->len_bytes);
	ret = read_events(b, &parser, text);
	yaml_parser_delete(&parser);
	root = b->doc->root;
	if (!ret && (!root || (root->kind == YAML_SCALAR && !root->is_quoted && !root->text[0])))
		return refuse(b, (yaml_mark_t){ 0 }, "is empty");
	return ret;
}

int yaml_parse_max(const char *file, const char *text, size_t len, size_t max_len, struct yaml_doc **doc,
		   struct diags *d)
{
	auto_call(cleanup_doc) struct yaml_doc *made = yaml_doc_new(file);
	size_t n_before = d->n_errors;
	struct build b = { .doc = made, .d = d, .len_bytes = len };

	if (!made) {
		diags_add(d, file, 0, 0, "", "out of memory");
		return -EINVAL;
	}
	if (len > max_len) {
		diags_add(d, file, 0, 0, "", "is %zu bytes long; the limit is %zu", len, max_len);
		return -EINVAL;
	}
	if (build(&b, text) < 0 || d->n_errors > n_before)
		return -EINVAL;
	*doc = take_ptr(made);
	return 0;
}

int yaml_parse(const char *file, const char *text, size_t len, struct yaml_doc **doc, struct diags *d)
{
	return yaml_parse_max(file, text, len, YAML_TEXT_MAX, doc, d);
}
