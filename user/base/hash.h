/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of things that hold their own link (struct hash_item) and their own key: nothing is allocated for an
 * item. All keys of a table have one length. Buckets are SipHash-2-4 under a key of this process, so whoever chooses
 * keys can not choose who shares a bucket.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hash_item {
	struct hash_item *next;
	const void *key; /* in the thing itself; does not change while it is in the table */
	uint64_t code;
};

/* Zero, but for key_len, is an empty table. */
struct hash {
	size_t key_len;
	struct hash_item **bucket;
	size_t n_buckets, n; /* the first is 0 or a power of two */
};

struct hash_item *hash_find(const struct hash *h, const void *key);    /* the last one added under this key, or NULL */
int hash_add(struct hash *h, struct hash_item *item, const void *key); /* 0, or -ENOMEM */
void hash_del(struct hash *h, struct hash_item *item);                 /* which is in it */
void hash_fini(struct hash *h);                                        /* the items are the caller's */

uint64_t hash_siphash(const uint64_t key[2], const void *data, size_t len); /* SipHash-2-4 */

/* The thing that `item` lies in; NULL for NULL. */
#define hash_of(item, type, member)                                                                                    \
	({                                                                                                             \
		struct hash_item *item_ = (item);                                                                      \
		item_ ? (type *)(void *)((char *)item_ - offsetof(type, member)) : NULL;                               \
	})
