// SPDX-License-Identifier: Apache-2.0
#include "hash.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_BUCKETS 64

static uint64_t secret[2];

/* Once for all tables. Without randomness they still work, only their buckets can be foreseen. */
static void secret_make(void)
{
	static bool is_made;

	if (!is_made && getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
		memset(secret, 0, sizeof(secret));
	is_made = true;
}

static uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v);
	mix(v);
	v[0] ^= word;
}

uint64_t hash_siphash(const uint64_t key[2], const void *data, size_t len)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
			  key[1] ^ 0x7465646279746573u };
	const uint8_t *at = data;
	uint64_t word;

	for (size_t left = len; left >= 8; left -= 8, at += 8) {
		memcpy(&word, at, 8);
		absorb(v, le64toh(word));
	}
	word = 0;
	memcpy(&word, at, len % 8);
	absorb(v, le64toh(word) | (uint64_t)len << 56);
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct hash_item **bucket_of(const struct hash *h, uint64_t code)
{
	return &h->bucket[code & (h->n_buckets - 1)];
}

struct hash_item *hash_find(const struct hash *h, const void *key)
{
	uint64_t code = hash_siphash(secret, key, h->key_len);
	struct hash_item *item = h->n_buckets ? *bucket_of(h, code) : NULL;

	while (item && (item->code != code || memcmp(item->key, key, h->key_len) != 0))
		item = item->next;
	return item;
}

static void put(struct hash *h, struct hash_item *item)
{
	struct hash_item **at = bucket_of(h, item->code);

	item->next = *at;
	*at = item;
}

/* As many buckets as items at most: a chain is short, and growing is paid for by what was added. */
static bool grow(struct hash *h)
{
	size_t had = h->n_buckets;
	struct hash_item **old = h->bucket;
	size_t n = had ? 2 * had : FIRST_BUCKETS;
	struct hash_item **bucket = calloc(n, sizeof(struct hash_item *));

	if (!bucket)
		return false;
	h->bucket = bucket;
	h->n_buckets = n;
	for (size_t i = 0; i < had; i++) {
		struct hash_item *next, *rest = NULL;

		for (; old[i]; old[i] = next) { /* turned round twice: equal keys keep their order */
			next = old[i]->next;
			old[i]->next = rest;
			rest = old[i];
		}
		for (; rest; rest = next) {
			next = rest->next;
			put(h, rest);
		}
	}
	free(old);
	return true;
}

int hash_add(struct hash *h, struct hash_item *item, const void *key)
{
	secret_make();
	if (h->n == h->n_buckets && !grow(h) && !h->n_buckets)
		return -ENOMEM;
	item->key = key;
	item->code = hash_siphash(secret, key, h->key_len);
	put(h, item);
	h->n++;
	return 0;
}

void hash_del(struct hash *h, struct hash_item *item)
{
	struct hash_item **at = bucket_of(h, item->code);

	while (*at != item)
		at = &(*at)->next;
	*at = item->next;
	h->n--;
}

void hash_fini(struct hash *h)
{
	free(h->bucket);
	*h = (struct hash){ .key_len = h->key_len };
}
