// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front.h"

static bool row_grow(struct members *all)
{
	size_t cap = all->cap ? 2 * all->cap : 64;
	struct member **grown;

	if (all->n < all->cap)
		return true;
	grown = realloc(all->row, cap * sizeof(struct member *));
	if (!grown)
		return false;
	all->row = grown;
	all->cap = cap;
	return true;
}

struct member *member_get(struct members *all, const uint8_t instance_id[BY_INSTANCE_ID_LEN])
{
	struct member *m;

	all->by_instance.key_len = BY_INSTANCE_ID_LEN;
	m = hash_of(hash_find(&all->by_instance, instance_id), struct member, item);
	if (m || !row_grow(all))
		return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	memcpy(m->instance_id, instance_id, sizeof(m->instance_id));
	if (hash_add(&all->by_instance, &m->item, m->instance_id) < 0) {
		free(m);
		return NULL;
	}
	m->pos = all->n;
	all->row[all->n++] = m;
	return m;
}

void shared_drop(struct shared *record)
{
	if (record && --record->refs == 0)
		free(record);
}

int member_record(struct member *m, const uint8_t *bytes, size_t len)
{
	struct shared *record = malloc(sizeof(*record) + len);

	if (!record)
		return -ENOMEM;
	record->refs = 1;
	record->len = len;
	memcpy(record->bytes, bytes, len);
	shared_drop(m->record);
	m->record = record;
	return 0;
}

static void on_written(const void *data, size_t len, void *record)
{
	(void)data, (void)len;
	shared_drop(record);
}

void shared_send(struct evbuffer *out, struct shared *record, uint64_t serial)
{
	vpc_send_serial(out, VPC_CHANGE, serial, NULL, record->len);
	record->refs++;
	if (evbuffer_add_reference(out, record->bytes, record->len, on_written, record) < 0) {
		record->refs--;
		evbuffer_add(out, record->bytes, record->len);
	}
}

void members_fini(struct members *all)
{
	for (size_t i = 0; i < all->n; i++) {
		shared_drop(all->row[i]->record);
		free(all->row[i]);
	}
	free(all->row);
	hash_fini(&all->by_instance);
}
