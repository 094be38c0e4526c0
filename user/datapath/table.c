// SPDX-License-Identifier: Apache-2.0
/* Identities in memory: by instance, by number, and in a row for those who list them. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static size_t bucket_of(const uint8_t id[BY_INSTANCE_ID_LEN])
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < BY_INSTANCE_ID_LEN; i++)
		h = (h ^ id[i]) * 16777619u;
	return h % TABLE_BUCKETS;
}

struct entry *table_find(const struct table *t, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct entry *en = t->bucket[bucket_of(instance_id)];

	while (en && memcmp(en->id.instance_id, instance_id, BY_INSTANCE_ID_LEN) != 0)
		en = en->next;
	return en;
}

static bool row_grow(struct table *t)
{
	size_t cap = t->cap ? 2 * t->cap : 64;
	struct entry **all;

	if (t->n < t->cap)
		return true;
	all = realloc(t->all, cap * sizeof(struct entry *));
	if (!all)
		return false;
	t->all = all;
	t->cap = cap;
	return true;
}

struct entry *table_add(struct table *t, const struct dp_identity *id, uint32_t number)
{
	size_t b = bucket_of(id->instance_id);
	struct entry *en;

	if (!row_grow(t))
		return NULL;
	en = calloc(1, sizeof(*en));
	if (!en)
		return NULL;
	en->id = *id;
	en->number = number;
	en->pos = t->n;
	en->next = t->bucket[b];
	t->bucket[b] = en;
	t->all[t->n++] = en;
	t->by_number[number] = en;
	return en;
}

/* The next one after the last given out, so that a number that left is not soon taken for another node. */
uint32_t table_free_number(struct table *t, uint32_t capacity)
{
	for (uint32_t tried = 0; tried < capacity; tried++) {
		t->last_number = (t->last_number + 1) % capacity;
		if (t->last_number > BY_IDENT_LOCAL && !t->by_number[t->last_number])
			return t->last_number;
	}
	return BY_IDENT_NONE;
}

void table_del(struct table *t, struct entry *en)
{
	struct entry **at = &t->bucket[bucket_of(en->id.instance_id)];

	while (*at != en)
		at = &(*at)->next;
	*at = en->next;
	t->by_number[en->number] = NULL;
	t->all[en->pos] = t->all[--t->n];
	t->all[en->pos]->pos = en->pos;
	free(en);
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->all[i]);
	free(t->all);
}
