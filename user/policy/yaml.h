/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML as a located tree, the only user of libyaml. Bounded (YAML_*_MAX below, depth 32, 64 KiB a text); anchors,
 * aliases, tags, duplicate keys, non-scalar keys, NUL characters and a second document are refused: policy has no
 * use for them. The configuration file of baileyd is read through it too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diag.h"

#define YAML_TEXT_MAX  (1u << 20) /* bytes that yaml_parse() takes */
#define YAML_NODES_MAX 1000000u
#define YAML_DEPTH_MAX 32u
#define YAML_VALUE_MAX 65536u /* bytes of one scalar */
#define YAML_KEY_MAX   128u   /* bytes of one key */
#define YAML_PATH_MAX  256u   /* bytes of a path as it is shown */

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

/* The file that a node is in. */
struct yaml_source {
	char *name;      /* as diagnostics carry it */
	unsigned number; /* yaml_number() */
};

struct yaml_node {
	enum yaml_kind kind;
	unsigned line, col; /* from 1 */
	unsigned key_line, key_col;
	unsigned pos; /* among the parent's children */
	const struct yaml_source *source;
	const struct yaml_node *parent; /* NULL: the root */
	char *key;                      /* in a map: what this is the value of; NULL otherwise */
	char *text;                     /* scalar: its text; NULL otherwise */
	struct yaml_node **child;       /* list: items; map: values */
	size_t n;
	bool is_quoted; /* scalar: written in quotes, so never a number or a boolean */
};

struct yaml_doc; /* owns every node */

/* 0 and *doc, or -EINVAL with the reasons in `d`. `file` is the name that diagnostics carry. An empty text is refused.
 */
int yaml_parse(const char *file, const char *text, size_t len, struct yaml_doc **doc, struct diags *d);
/* The same with another limit on the text. */
int yaml_parse_max(const char *file, const char *text, size_t len, size_t max_len, struct yaml_doc **doc,
		   struct diags *d);
void yaml_doc_free(struct yaml_doc *doc); /* accepts NULL */
/* Inline, because libyaml exports a yaml_free() of its own and would call ours in its place. */
static inline void yaml_free(struct yaml_doc *doc)
{
	yaml_doc_free(doc);
}
const struct yaml_node *yaml_root(const struct yaml_doc *doc);
const char *yaml_file(const struct yaml_doc *doc);
/* "rules[2].allow[0]" in its own file, "" at the root; a longer one than YAML_PATH_MAX without its beginning. */
const char *yaml_path(const struct yaml_node *node, char buf[YAML_PATH_MAX + 1]);
void yaml_number(struct yaml_doc *doc, unsigned number); /* its place among others */
/*
 * One tree of several whose roots are maps: under each key maps are united, lists appended in order. The same name
 * twice is an error with both places. `apart` are keys that are not joined. The nodes stay those of `docs`, which must
 * outlive *joined.
 */
int yaml_join(struct yaml_doc *const *docs, size_t n, const char *const *apart, struct yaml_doc **joined,
	      struct diags *d);

/* Readers. Each reports a located error in `d` and returns NULL or false when the node is not what is asked for. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* NULL when absent; no error */
void yaml_error(const struct yaml_doc *doc, const struct yaml_node *at, struct diags *d, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void yaml_key_error(const struct yaml_node *at, struct diags *d, const char *fmt, ...) /* at its key */
	__attribute__((format(printf, 3, 4)));
void yaml_warn(const struct yaml_node *at, struct diags *d, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The map has no key beside those of the NULL-terminated list `known`; says the nearest known key otherwise. */
bool yaml_known_keys(const struct yaml_doc *doc, const struct yaml_node *map, const char *const *known,
		     struct diags *d);
const struct yaml_node *yaml_need(const struct yaml_doc *doc, const struct yaml_node *map, const char *key,
				  enum yaml_kind kind, struct diags *d); /* required key of that kind */
const char *yaml_str(const struct yaml_doc *doc, const struct yaml_node *node, struct diags *d);
bool yaml_uint(const struct yaml_doc *doc, const struct yaml_node *node, uint64_t max, uint64_t *v, struct diags *d);
bool yaml_bool(const struct yaml_doc *doc, const struct yaml_node *node, bool *v, struct diags *d);
