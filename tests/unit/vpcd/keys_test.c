// SPDX-License-Identifier: Apache-2.0
/*
 * Pre-auth keys: who may use which, what ends. Every case on a file and on a real etcd.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/vpcstore.h"

#define NOW   1790000000
#define DAY   86400
#define LEASE 3600

static struct vs_key key_of(uint8_t n)
{
	struct vs_key key = { .expires = NOW + DAY, .origin = "people" };

	memset(key.hash, n, sizeof(key.hash));
	return key;
}

static int add_as(const struct vs_key *key, bool replaces)
{
	struct err e;
	int ret;

	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_key_add(store, key, replaces, NOW, &e);
	} while (!store_commit());
	return ret;
}

static void add(const struct vs_key *key)
{
	assert_int_equal(add_as(key, false), 0);
}

static int revoke_key(const char *id)
{
	uint8_t hash[VS_KEY_HASH];
	struct err e;
	int ret;

	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_key_revoke(store, id, hash, &e);
	} while (!store_commit());
	return ret;
}

static void count_node(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	(void)row, (void)record, (void)len;
	++*(unsigned *)arg;
}

static unsigned nodes(void)
{
	struct err e = ERR_INIT;
	unsigned n = 0;

	assert_int_equal(vs_store_each(store, count_node, &n, &e), 0);
	return n;
}

static void last_key(const struct vs_key *key, void *arg)
{
	*(struct vs_key *)arg = *key;
}

/* --- keys --- */

static void a_one_time_key_is_its_first_users(void **state)
{
	struct vs_key key = key_of(7), seen;
	struct err e = ERR_INIT;

	(void)state;
	add(&key);
	assert_string_equal(store_join(1, 7, NOW), "");
	assert_string_equal(store_join(2, 7, NOW), "AUTH_KEY");
	assert_int_equal(nodes(), 1); /* who was refused left nothing behind */
	assert_string_equal(store_join(1, 7, NOW), "");
	store_reopen();
	assert_string_equal(store_join(2, 7, NOW), "AUTH_KEY");
	assert_int_equal(vs_key_each(store, last_key, &seen, &e), 0);
	assert_int_equal(seen.uses, 1);
	assert_true(seen.has_used_by && seen.used_by[0] == 1);
}

static void a_reusable_key_is_for_many(void **state)
{
	struct vs_key key = key_of(7), seen;
	struct err e = ERR_INIT;

	(void)state;
	key.is_reusable = true;
	add(&key);
	assert_string_equal(store_join(1, 7, NOW), "");
	assert_string_equal(store_join(2, 7, NOW), "");
	assert_string_equal(store_join(3, 0, NOW), "NOT_APPROVED");
	assert_int_equal(vs_key_each(store, last_key, &seen, &e), 0);
	assert_int_equal(seen.uses, 2);
}

/* A wrong key is no better than none, and never as good. */
static void what_is_no_key_admits_nobody(void **state)
{
	(void)state;
	assert_string_equal(store_join(1, 9, NOW), "AUTH_KEY");
	limits.approve = false;
	assert_string_equal(store_join(1, 9, NOW), "AUTH_KEY");
	assert_string_equal(store_join(1, 0, NOW), "");
	assert_string_equal(store_join(1, 9, NOW), ""); /* a member needs none, so none is looked at */
}

static void a_key_ends(void **state)
{
	struct vs_key key = key_of(7);

	(void)state;
	key.is_reusable = true;
	add(&key);
	assert_string_equal(store_join(1, 7, NOW + DAY), "");
	assert_string_equal(store_join(2, 7, NOW + DAY + 1), "AUTH_KEY");
	assert_false(vs_store_has_ended(store, NOW + DAY + 1)); /* people see it for a week */
	assert_true(vs_store_has_ended(store, NOW + 9 * DAY));
	store_end(NOW + 9 * DAY);
	assert_string_equal(store_join(2, 7, NOW), "AUTH_KEY"); /* not even with a clock that was put back */
}

static void a_key_is_revoked(void **state)
{
	struct vs_key key = key_of(0x7a), other = key_of(0x7b);

	(void)state;
	key.is_reusable = true;
	add(&key);
	add(&other);
	assert_string_equal(store_join(1, 0x7a, NOW), "");
	assert_int_equal(revoke_key("7a7a7a7"), -ENOENT);
	assert_int_equal(revoke_key("7c7c7c7c"), -ENOENT);
	assert_int_equal(revoke_key("*7a7a7a7a"), -ENOENT);
	assert_int_equal(revoke_key("7a7a7a7a"), 0);
	assert_int_equal(revoke_key("7a7a7a7a"), 0);
	store_reopen();
	assert_string_equal(store_join(2, 0x7a, NOW), "AUTH_KEY");
	assert_string_equal(store_join(1, 0x7a, NOW), ""); /* who is a member stays one */
	assert_string_equal(store_join(2, 0x7b, NOW), "");
}

static void a_bound_key_is_one_instances(void **state)
{
	struct vs_key key = key_of(7);

	(void)state;
	key.is_reusable = true;
	key.has_instance = true;
	memset(key.instance, 2, sizeof(key.instance));
	add(&key);
	assert_string_equal(store_join(1, 7, NOW), "AUTH_KEY");
	assert_string_equal(store_join(2, 7, NOW), "");
	assert_string_equal(store_join(1, 7, NOW), "AUTH_KEY");
}

static void a_key_lets_one_in_that_waits(void **state)
{
	struct vs_key key = key_of(7);

	(void)state;
	add(&key);
	assert_string_equal(store_join(1, 0, NOW), "NOT_APPROVED");
	assert_string_equal(store_join(1, 8, NOW), "AUTH_KEY");
	assert_string_equal(store_join(1, 7, NOW), "");
	assert_string_equal(store_join(1, 0, NOW), "");
}

static void a_key_does_not_undo_a_revocation(void **state)
{
	struct vs_key key = key_of(7);

	(void)state;
	key.is_reusable = true;
	add(&key);
	assert_string_equal(store_join(1, 7, NOW), "");
	store_set(1, VS_REVOKED);
	assert_string_equal(store_join(1, 7, NOW), "RECORD_REVOKED");
}

static void an_ephemeral_node_is_forgotten(void **state)
{
	struct vs_key key = key_of(7), lasting = key_of(8);

	(void)state;
	key.is_ephemeral = true;
	add(&key);
	add(&lasting);
	assert_string_equal(store_join(1, 7, NOW), "");
	assert_string_equal(store_join(2, 8, NOW), "");
	store_publish(1, NOW + LEASE);
	store_publish(2, NOW + LEASE);
	assert_false(vs_store_has_ended(store, NOW + LEASE));
	assert_true(vs_store_has_ended(store, NOW + LEASE + 1));
	store_end(NOW + LEASE + 1);
	assert_int_equal(nodes(), 1);
	store_reopen();
	assert_int_equal(nodes(), 1);
	assert_string_equal(store_join(1, 0, NOW + LEASE + 1), "NOT_APPROVED"); /* it is a newcomer again */
	assert_string_equal(store_join(2, 0, NOW + LEASE + 1), "");
}

static void a_revoked_ephemeral_node_stays_revoked(void **state)
{
	struct vs_key key = key_of(7);

	(void)state;
	key.is_ephemeral = key.is_reusable = true;
	add(&key);
	assert_string_equal(store_join(1, 7, NOW), "");
	store_set(1, VS_REVOKED);
	store_end(NOW + DAY);
	assert_string_equal(store_join(1, 7, NOW), "RECORD_REVOKED");
}

static void an_app_has_one_key_for_an_instance(void **state)
{
	struct vs_key key = key_of(7), next = key_of(8), others = key_of(9);

	(void)state;
	key.has_instance = next.has_instance = others.has_instance = true;
	memset(key.instance, 1, sizeof(key.instance));
	memset(next.instance, 1, sizeof(next.instance));
	memset(others.instance, 1, sizeof(others.instance));
	strcpy(key.origin, "app");
	strcpy(next.origin, "app");
	strcpy(others.origin, "other-app");
	assert_int_equal(add_as(&key, true), 0);
	assert_int_equal(add_as(&key, true), 0);
	assert_int_equal(add_as(&next, true), 0);
	assert_int_equal(add_as(&others, true), 0); /* takes nothing of another app's away */
	assert_string_equal(store_join(1, 7, NOW), "AUTH_KEY");
	assert_string_equal(store_join(1, 8, NOW), "");
}

static void an_app_has_so_many_keys(void **state)
{
	struct vs_key key = key_of(0);
	struct err e = ERR_INIT;
	int ret = 0;

	(void)state;
	strcpy(key.origin, "app");
	key.has_instance = true;
	store_begin();
	for (unsigned i = 0; i < VS_KEYS_MAX_APP; i++) {
		memcpy(key.hash, &i, sizeof(i));
		memcpy(key.instance, &i, sizeof(i));
		assert_int_equal(vs_key_add(store, &key, true, NOW, &e), 0);
	}
	memset(key.hash, 0xff, sizeof(key.hash));
	memset(key.instance, 0xff, sizeof(key.instance));
	ret = vs_key_add(store, &key, true, NOW, &e);
	assert_int_equal(ret, -ENOSPC);
	strcpy(key.origin, "another");
	assert_int_equal(vs_key_add(store, &key, true, NOW, &e), 0);
	assert_true(store_commit());
}

/* --- several servers --- */

static void two_servers_know_the_same_keys(void **state)
{
	struct vs_store *first = store, *second = store_another();
	struct vs_key key = key_of(7);

	(void)state;
	add(&key);
	store = second;
	assert_string_equal(store_join(1, 7, NOW), "");
	store = first;
	assert_string_equal(store_join(2, 7, NOW), "AUTH_KEY"); /* used at the other one */
	assert_int_equal(revoke_key("07070707"), 0);
	store = second;
	assert_string_equal(store_join(3, 7, NOW), "AUTH_KEY");
	vs_store_close(second);
	store = first;
}

#define T(start, f) cmocka_unit_test_setup_teardown(f, start, store_stop)
#define BOTH(start)                                                                                                    \
	T(start, a_one_time_key_is_its_first_users), T(start, a_reusable_key_is_for_many),                             \
		T(start, what_is_no_key_admits_nobody), T(start, a_key_ends), T(start, a_key_is_revoked),              \
		T(start, a_bound_key_is_one_instances), T(start, a_key_lets_one_in_that_waits),                        \
		T(start, a_key_does_not_undo_a_revocation), T(start, an_ephemeral_node_is_forgotten),                  \
		T(start, a_revoked_ephemeral_node_stays_revoked), T(start, an_app_has_one_key_for_an_instance)

int main(void)
{
	const struct CMUnitTest on_file[] = { BOTH(store_start), T(store_start, an_app_has_so_many_keys) };
	const struct CMUnitTest on_etcd[] = { BOTH(store_start_on_etcd),
					      T(store_start_on_etcd, two_servers_know_the_same_keys) };

	usual_limits.approve = true;
	return store_run("vpcd/keys", on_file, on_etcd);
}
