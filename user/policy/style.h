/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML text with what its meaning does not need: comments, blank lines, and whether a collection was written in
 * brackets. For fmt*.c; the text must be one that yaml_parse() takes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "yaml.h"

/* One comment. */
struct style_note {
	const char *text;    /* from # on */
	bool is_after_blank; /* an empty line is above it */
	unsigned col;
	struct style_note *next;
};

struct style_notes {
	struct style_note *first, **end;
};

/* An item of a list, or a key of a map with its value. */
struct style_entry {
	const char *key; /* NULL in a list */
	bool is_key_quoted, is_after_blank;
	struct style_notes above;
	const char *behind; /* the comment on its line, or NULL */

	enum yaml_kind kind;
	bool is_inline;   /* in brackets */
	bool is_quoted;   /* scalar */
	const char *text; /* scalar */
	struct style_entry *child, **end, *next;
	struct style_notes tail; /* of a collection: behind its last entry */
	unsigned col;            /* of a collection: where its entries begin */
};

/*
 * The root as an entry without a key, all of it in the memory of `doc`. -EINVAL with the reason in `d` for what could
 * not be written again: block scalars, directives, line breaks other than LF and CRLF.
 */
int style_read(struct yaml_doc *doc, const char *text, size_t len, struct style_entry **root, struct diags *d);

static inline void style_notes_add(struct style_notes *notes, struct style_note *note)
{
	if (!notes->end)
		notes->end = &notes->first;
	note->next = NULL;
	*notes->end = note;
	notes->end = &note->next;
}
