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

static void shared_drop(struct shared *frame)
{
	if (frame && --frame->refs == 0)
		free(frame);
}

int member_record(struct member *m, const uint8_t *bytes, size_t len)
{
	struct shared *frame = malloc(sizeof(*frame) + VPC_HEAD + 8 + len);

	if (!frame)
		return -ENOMEM;
	frame->refs = 1;
	frame->len = VPC_HEAD + 8 + len;
	vpc_head_put(frame->bytes, VPC_CHANGE, 8 + len);
	vpc_serial_put(frame->bytes + VPC_HEAD, m->serial);
	memcpy(frame->bytes + VPC_HEAD + 8, bytes, len);
	shared_drop(m->record);
	m->record = frame;
	return 0;
}

void members_list(struct members *all, struct member *m)
{
	if (m->is_listed)
		TAILQ_REMOVE(&all->changes, m, change);
	TAILQ_INSERT_TAIL(&all->changes, m, change);
	m->is_listed = true;
}

void members_drop(struct members *all, struct member *m)
{
	struct member *last = all->row[--all->n];

	if (m->is_listed)
		TAILQ_REMOVE(&all->changes, m, change);
	all->row[m->pos] = last;
	last->pos = m->pos;
	hash_del(&all->by_instance, &m->item);
	shared_drop(m->record);
	free(m);
}

static void on_sent(const void *data, size_t len, void *frame)
{
	(void)data, (void)len;
	shared_drop(frame);
}

void shared_send(struct evbuffer *out, struct shared *frame)
{
	frame->refs++;
	if (evbuffer_add_reference(out, frame->bytes, frame->len, on_sent, frame) < 0) {
		frame->refs--;
		evbuffer_add(out, frame->bytes, frame->len);
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
