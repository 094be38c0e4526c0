// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"

#define MANY 100000

struct thing {
	int before; /* so that the link is not at the start */
	uint8_t key[8];
	struct hash_item link;
};

static struct thing *find(const struct hash *h, uint64_t key)
{
	return hash_of(hash_find(h, &key), struct thing, link);
}

static void add(struct hash *h, struct thing *t, uint64_t key)
{
	memcpy(t->key, &key, sizeof(t->key));
	assert_int_equal(hash_add(h, &t->link, t->key), 0);
}

/* The example of the paper's appendix A: key 00..0f, message 00..0e. */
static void siphash_is_siphash(void **state)
{
	const uint64_t key[2] = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };
	uint8_t message[15];

	(void)state;
	for (uint8_t i = 0; i < sizeof(message); i++)
		message[i] = i;
	assert_int_equal(hash_siphash(key, message, sizeof(message)), 0xa129ca6149be45e5u);
}

static void an_empty_table_has_nothing(void **state)
{
	struct hash h = { .key_len = 8 };

	(void)state;
	assert_null(find(&h, 1));
	hash_fini(&h);
}

static void finds_each_of_many_and_no_other(void **state)
{
	struct thing *all = calloc(MANY, sizeof(*all));
	struct hash h = { .key_len = 8 };

	(void)state;
	for (uint64_t i = 0; i < MANY; i++)
		add(&h, &all[i], 3 * i);
	for (uint64_t i = 0; i < MANY; i++) {
		assert_ptr_equal(find(&h, 3 * i), &all[i]);
		assert_null(find(&h, 3 * i + 1));
	}
	for (uint64_t i = 0; i < MANY; i += 2)
		hash_del(&h, &all[i].link);
	for (uint64_t i = 0; i < MANY; i++)
		assert_ptr_equal(find(&h, 3 * i), i % 2 ? &all[i] : NULL);
	assert_int_equal(h.n, MANY / 2);
	hash_fini(&h);
	free(all);
}

static void chains_stay_short(void **state)
{
	struct thing *all = calloc(MANY, sizeof(*all));
	struct hash h = { .key_len = 8 };
	size_t longest = 0;

	(void)state;
	for (uint64_t i = 0; i < MANY; i++)
		add(&h, &all[i], i << 40); /* keys that a lesser hash would put together */
	for (size_t b = 0; b < h.n_buckets; b++) {
		size_t n = 0;

		for (struct hash_item *item = h.bucket[b]; item; item = item->next)
			n++;
		longest = n > longest ? n : longest;
	}
	assert_true(h.n_buckets >= MANY);
	assert_true(longest < 20); /* chance: below 1e-13 */
	hash_fini(&h);
	free(all);
}

/* Two under one key: the later one is found until it goes, also when the table grew in between. */
static void the_last_one_under_a_key_is_found(void **state)
{
	struct thing *all = calloc(1000, sizeof(*all)), first = { 0 }, second = { 0 };
	struct hash h = { .key_len = 8 };

	(void)state;
	add(&h, &first, 7);
	add(&h, &second, 7);
	for (uint64_t i = 0; i < 1000; i++)
		add(&h, &all[i], 1000 + i);
	assert_ptr_equal(find(&h, 7), &second);
	hash_del(&h, &second.link);
	assert_ptr_equal(find(&h, 7), &first);
	hash_del(&h, &first.link);
	assert_null(find(&h, 7));
	hash_fini(&h);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash_is_siphash),
		cmocka_unit_test(an_empty_table_has_nothing),
		cmocka_unit_test(finds_each_of_many_and_no_other),
		cmocka_unit_test(chains_stay_short),
		cmocka_unit_test(the_last_one_under_a_key_is_found),
	};

	return cmocka_run_group_tests_name("base/hash", tests, NULL, NULL);
}
