/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed JSON: a strict scanner (RFC 8259, valid UTF-8) that keeps where each value stands, because a signature covers
 * the very bytes of one. Refused: members repeated at any depth, names with escapes, NUL, more than one value, nesting
 * beyond ID_JS_DEPTH. Values are indices into a flat array; 0 is the root, and -1, which every reader takes, is none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_JS_DEPTH       10
#define ID_JS_MEMBERS_MAX 128 /* of one object */

enum id_js_kind { ID_JS_OBJECT, ID_JS_ARRAY, ID_JS_STRING, ID_JS_NUMBER, ID_JS_WORD };

struct id_js_node {
	uint32_t start, end; /* of the text; strings with their quotes */
	uint32_t next;       /* index behind this value and all within it */
	uint32_t n;          /* members or items */
	enum id_js_kind kind;
};

struct id_js {
	const char *text;
	size_t len;
	struct id_js_node *node; /* owned */
	size_t n, cap;
	size_t error_at; /* where the text stops being JSON */
};

bool id_js_scan(const char *text, size_t len, struct id_js *js); /* false: see error_at; nothing to free */
void id_js_fini(struct id_js *js);

bool id_js_is(const struct id_js *js, int v, enum id_js_kind kind);
int id_js_get(const struct id_js *js, int object, const char *name); /* -1: not an object, or no such member */
int id_js_first(const struct id_js *js, int array);                  /* -1: not an array, or empty */
int id_js_next(const struct id_js *js, int array, int item);         /* -1: that was the last */
size_t id_js_count(const struct id_js *js, int array);               /* 0: not an array */

/* Readers of scalars; false when the value is another thing. Numbers: digits alone. Texts: without escapes. */
bool id_js_uint(const struct id_js *js, int v, uint64_t max, uint64_t *n);
bool id_js_text(const struct id_js *js, int v, const char **text, size_t *len);
bool id_js_text_is(const struct id_js *js, int v, const char *text);
bool id_js_hex(const struct id_js *js, int v, void *dst, size_t len); /* exactly len bytes, either case */
bool id_js_date(const struct id_js *js, int v, int64_t *unix_s);      /* YYYY-MM-DDTHH:MM:SSZ */
/* Any string with its escapes undone; malloc'ed and NUL-terminated. NULL: not a string, or out of memory. */
char *id_js_string(const struct id_js *js, int v, size_t *len);
