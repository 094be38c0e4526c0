/* SPDX-License-Identifier: Apache-2.0 */
/* What a document is, for yaml*.c alone. */
#pragma once

#include "yaml.h"

/* Nodes live and die together, so the document hands out memory from chunks and frees those. */
struct chunk {
	struct chunk *next;
	size_t used, cap;
	max_align_t data[];
};

struct yaml_doc {
	struct yaml_source source;
	struct yaml_node *root;
	size_t n_nodes;
	struct chunk *chunks;
};

struct yaml_doc *yaml_doc_new(const char *file); /* NULL: out of memory */
void *yaml_take(struct yaml_doc *doc, size_t n);
/* Every key that is there twice is an error with both places. -ENOMEM, or 0. */
int yaml_refuse_duplicates(const struct yaml_node *map, struct diags *d);
