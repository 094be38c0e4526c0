// SPDX-License-Identifier: Apache-2.0
/*
 * Reads style.h's tree from libyaml's events. libyaml drops comments, but its marks tell where every scalar is: what
 * lies between two events is blanks, brackets and dashes, and whatever begins with # there is a comment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "style.h"
#include "yaml_doc.h"

struct reader {
	struct yaml_doc *doc;
	struct diags *d;
	const char *text; /* LF alone */
	size_t len;
	size_t at, at_chars; /* up to where it was read; libyaml counts characters */
	struct style_notes pending;
	bool is_after_blank;      /* an empty line came since the last comment or event */
	struct style_entry *last; /* whose line it is */
	struct style_entry *open[YAML_DEPTH_MAX + 1];
	struct style_entry *key; /* read, and waiting for its value */
	size_t depth;
	bool is_full; /* out of memory */
};

static int refuse(struct reader *r, yaml_mark_t mark, const char *what)
{
	diags_add(r->d, r->doc->source.name, (unsigned)mark.line + 1, (unsigned)mark.column + 1, "", "%s", what);
	return -EINVAL;
}

/* --- between events ---------------------------------------------------------------------------------------- */

static void note(struct reader *r, size_t line, size_t from, size_t to)
{
	struct style_note *n = yaml_take(r->doc, sizeof(*n));
	char *text = yaml_take(r->doc, to - from + 1);
	bool is_alone = true;

	if (!n || !text) {
		r->is_full = true;
		return;
	}
	while (to > from && strchr(" \t", r->text[to - 1]))
		to--;
	memcpy(text, r->text + from, to - from);
	text[to - from] = '\0';
	*n = (struct style_note){ .text = text,
				  .is_after_blank = r->is_after_blank,
				  .col = (unsigned)(from - line) + 1 };
	r->is_after_blank = false;
	for (size_t i = line; i < from; i++)
		is_alone &= strchr(" \t", r->text[i]) != NULL;
	/* Behind a dash it is about what follows. */
	for (size_t i = from; i > line && i > r->at && !is_alone; i--)
		is_alone = r->text[i - 1] == '-';
	if (is_alone || !r->last)
		style_notes_add(&r->pending, n);
	else if (r->last->behind)
		style_notes_add(&r->last->above, n);
	else
		r->last->behind = text;
}

static size_t line_of(const struct reader *r, size_t at)
{
	while (at && r->text[at - 1] != '\n')
		at--;
	return at;
}

/* What lies before the offset `end`. */
static void read_gap(struct reader *r, size_t end)
{
	size_t line = line_of(r, r->at), i = r->at;
	bool is_blank = false; /* nothing but blanks since a line break */

	for (; i < end; i++) {
		char c = r->text[i];

		if (c == '\n') {
			r->is_after_blank |= is_blank;
			is_blank = true;
			line = i + 1;
		} else if (c == '#') {
			size_t stop = i + strcspn(r->text + i, "\n");

			note(r, line, i, stop);
			i = stop - 1;
			is_blank = false;
		} else if (c != ' ' && c != '\t') {
			is_blank = false;
		}
	}
	r->at = end > r->at ? end : r->at;
}

/* The offset of a mark, none of which comes before an earlier one. */
static size_t offset_of(struct reader *r, const yaml_mark_t *mark, size_t *at_chars)
{
	size_t at = r->at;

	for (*at_chars = r->at_chars; *at_chars < mark->index && at < r->len; ++*at_chars) {
		at++;
		while (at < r->len && ((unsigned char)r->text[at] & 0xc0) == 0x80)
			at++;
	}
	return at;
}

static void go_to(struct reader *r, const yaml_mark_t *mark)
{
	size_t at_chars, end = offset_of(r, mark, &at_chars);

	read_gap(r, end);
	r->at_chars = at_chars;
}

static void skip_to(struct reader *r, const yaml_mark_t *mark)
{
	size_t at_chars, end = offset_of(r, mark, &at_chars);

	r->at = end;
	r->at_chars = at_chars;
}

/* --- events ------------------------------------------------------------------------------------------------ */

static char *take_text(struct reader *r, const yaml_event_t *ev)
{
	char *text = yaml_take(r->doc, ev->data.scalar.length + 1);

	if (text) {
		memcpy(text, ev->data.scalar.value, ev->data.scalar.length);
		text[ev->data.scalar.length] = '\0';
	}
	return text;
}

static struct style_entry *add_entry(struct reader *r)
{
	struct style_entry *e = yaml_take(r->doc, sizeof(*e)), *up = r->depth ? r->open[r->depth - 1] : NULL;

	if (!e)
		return NULL;
	*e = (struct style_entry){ .above = r->pending, .is_after_blank = r->is_after_blank };
	if (!e->above.first)
		e->above.end = NULL;
	r->pending = (struct style_notes){ 0 };
	r->is_after_blank = false;
	if (up) {
		if (!up->end)
			up->end = &up->child;
		*up->end = e;
		up->end = &e->next;
	}
	r->last = e;
	return e;
}

static bool wants_key(const struct reader *r)
{
	return r->depth && r->open[r->depth - 1]->kind == YAML_MAP && !r->key;
}

/* What a value is put into: the key's entry, or a new one of a list. */
static struct style_entry *value_entry(struct reader *r)
{
	struct style_entry *e = r->key;

	if (!e)
		return add_entry(r);
	r->key = NULL;
	r->last = e;
	return e;
}

static int on_scalar(struct reader *r, const yaml_event_t *ev)
{
	bool is_quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	bool is_key = wants_key(r);
	char *text = take_text(r, ev);
	struct style_entry *e;

	if (ev->data.scalar.style == YAML_LITERAL_SCALAR_STYLE || ev->data.scalar.style == YAML_FOLDED_SCALAR_STYLE)
		return refuse(r, ev->start_mark, "a block of text can not be kept; write it in quotes");
	e = is_key ? add_entry(r) : value_entry(r);
	if (!e || !text)
		return -ENOMEM;
	if (is_key) {
		r->key = e;
		e->key = text;
		e->is_key_quoted = is_quoted;
		return 0;
	}
	while (r->pending.first) { /* between a key and its value */
		struct style_note *n = r->pending.first;

		r->pending.first = n->next;
		style_notes_add(&e->above, n);
	}
	r->pending.end = NULL;
	e->kind = YAML_SCALAR;
	e->text = text;
	e->is_quoted = is_quoted;
	return 0;
}

static int on_open(struct reader *r, const yaml_event_t *ev, enum yaml_kind kind, bool is_inline)
{
	struct style_entry *e = value_entry(r);

	if (!e || r->depth > YAML_DEPTH_MAX)
		return -ENOMEM;
	e->kind = kind;
	e->is_inline = is_inline;
	e->col = (unsigned)ev->start_mark.column + 1;
	r->open[r->depth++] = e;
	return 0;
}

/* A list that is not indented below its key: a comment as far left is about what follows the list. */
static bool is_indentless(const struct reader *r, const struct style_entry *e)
{
	return e->kind == YAML_LIST && r->depth && r->open[r->depth - 1]->col == e->col;
}

/* Comments that stand as far right as the entries of what ends belong to it. */
static void on_close(struct reader *r)
{
	struct style_entry *e = r->open[--r->depth];
	unsigned col = e->col + is_indentless(r, e);

	while (r->pending.first && (e->is_inline || r->pending.first->col >= col || !r->depth)) {
		struct style_note *n = r->pending.first;

		r->pending.first = n->next;
		style_notes_add(&e->tail, n);
	}
	if (!r->pending.first)
		r->pending.end = NULL;
	if (e->is_inline)
		r->last = e;
}

static int on_event(struct reader *r, const yaml_event_t *ev)
{
	int ret = 0;

	if (ev->type != YAML_STREAM_START_EVENT)
		go_to(r, &ev->start_mark);
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (ev->data.document_start.version_directive ||
		    ev->data.document_start.tag_directives.start != ev->data.document_start.tag_directives.end)
			return refuse(r, ev->start_mark, "a line that begins with % can not be kept");
		break;
	case YAML_SCALAR_EVENT:
		ret = on_scalar(r, ev);
		break;
	case YAML_SEQUENCE_START_EVENT:
		ret = on_open(r, ev, YAML_LIST, ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE);
		break;
	case YAML_MAPPING_START_EVENT:
		ret = on_open(r, ev, YAML_MAP, ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		on_close(r);
		break;
	default:
		break;
	}
	if (ev->type == YAML_SCALAR_EVENT)
		skip_to(r, &ev->end_mark);
	return ret;
}

static int read_events(struct reader *r, yaml_parser_t *parser, struct style_entry **root)
{
	bool is_end = false;
	yaml_event_t ev;
	int ret = 0;

	while (!ret && !is_end) {
		if (!yaml_parser_parse(parser, &ev))
			return refuse(r, parser->problem_mark, "not YAML");
		is_end = ev.type == YAML_STREAM_END_EVENT;
		ret = on_event(r, &ev);
		if (!ret && !*root && r->last)
			*root = r->last;
		yaml_event_delete(&ev);
	}
	return r->is_full ? -ENOMEM : ret;
}

/* --- the text ---------------------------------------------------------------------------------------------- */

/* CRLF becomes LF. */
static char *plain_text(struct reader *r, const char *text, size_t len)
{
	char *copy = yaml_take(r->doc, len + 1);

	for (size_t i = 0; copy && i < len; i++)
		if (text[i] != '\r' || i + 1 == len || text[i + 1] != '\n')
			copy[r->len++] = text[i];
	if (copy)
		copy[r->len] = '\0';
	return copy;
}

/* YAML knows more of them, and the marks count them as lines. */
static bool has_odd_breaks(const char *text)
{
	return strchr(text, '\r') || strstr(text, "\xc2\x85") || strstr(text, "\xe2\x80\xa8") ||
	       strstr(text, "\xe2\x80\xa9");
}

int style_read(struct yaml_doc *doc, const char *text, size_t len, struct style_entry **root, struct diags *d)
{
	struct reader r = { .doc = doc, .d = d };
	yaml_parser_t parser;
	int ret;

	*root = NULL;
	r.text = plain_text(&r, text, len);
	if (!r.text || !yaml_parser_initialize(&parser))
		return refuse(&r, (yaml_mark_t){ 0 }, "out of memory");
	if (has_odd_breaks(r.text)) {
		yaml_parser_delete(&parser);
		return refuse(&r, (yaml_mark_t){ 0 }, "has line breaks other than LF and CRLF");
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)r.text, r.len);
	ret = read_events(&r, &parser, root);
	yaml_parser_delete(&parser);
	if (ret == -ENOMEM)
		return refuse(&r, (yaml_mark_t){ 0 }, "out of memory");
	if (!ret && (!*root || r.depth || r.pending.first))
		return refuse(&r, (yaml_mark_t){ 0 }, "can not be written again");
	return ret;
}
