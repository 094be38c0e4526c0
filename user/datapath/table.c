// SPDX-License-Identifier: Apache-2.0
/* Identities in memory: by instance, by number, and in a row for those who list them. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct entry *table_find(const struct table *t, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	return hash_of(hash_find(&t->by_instance, instance_id), struct entry, by_instance);
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
	struct entry *en;

	if (!row_grow(t))
		return NULL;
	en = calloc(1, sizeof(*en));
	if (!en)
		return NULL;
	en->id = *id;
	t->by_instance.key_len = BY_INSTANCE_ID_LEN;
	if (hash_add(&t->by_instance, &en->by_instance, en->id.instance_id) < 0) {
		free(en);
		return NULL;
	}
	en->number = number;
	en->pos = t->n;
	t->all[t->n++] = en;
	t->by_number[number] = en;
	return en;
}

const struct entry *table_find_addr(const struct table *t, const struct by_addr *a)
{
	const struct entry_addr *found = hash_of(hash_find(&t->by_addr, a), struct entry_addr, by_addr);

	return found ? found->en : NULL;
}

void table_addrs_drop(struct table *t, struct entry *en)
{
	for (uint32_t i = 0; i < ARRAY_LEN(en->addr); i++)
		if (en->addr[i].en)
			hash_del(&t->by_addr, &en->addr[i].by_addr);
	memset(en->addr, 0, sizeof(en->addr));
}

int table_addrs_take(struct table *t, struct entry *en)
{
	t->by_addr.key_len = sizeof(struct by_addr);
	for (uint32_t i = 0; i < en->id.n_addrs; i++) {
		int ret = hash_add(&t->by_addr, &en->addr[i].by_addr, &en->id.addrs[i]);

		if (ret < 0)
			return ret;
		en->addr[i].en = en;
	}
	return 0;
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
	table_addrs_drop(t, en);
	hash_del(&t->by_instance, &en->by_instance);
	t->by_number[en->number] = NULL;
	t->all[en->pos] = t->all[--t->n];
	t->all[en->pos]->pos = en->pos;
	free(en);
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->all[i]);
	hash_fini(&t->by_instance);
	hash_fini(&t->by_addr);
	free(t->all);
}
