// SPDX-License-Identifier: Apache-2.0
/*
 * Entries of the REST API: whose is what, what ends. Every case on a file and on a real etcd.
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
#define LEASE 3600

/* --- entries of the REST API --- */

static struct vs_caller caller(uint8_t app, uint8_t instance)
{
	struct vs_caller who = { .has_instance = instance != 0 };

	memset(who.app_id, app, sizeof(who.app_id));
	memset(who.instance_id, instance, sizeof(who.instance_id));
	return who;
}

/* "created", "updated", or why not */
static const char *update_at(const struct vs_caller *who, const char *uuid, const char *type, const char *hostname,
			     int64_t now)
{
	struct vs_api_node node = { 0 };
	bool is_new = false;
	struct err e;
	int ret;

	snprintf(node.uuid, sizeof(node.uuid), "%s", uuid);
	snprintf(node.type, sizeof(node.type), "%s", type);
	snprintf(node.hostname, sizeof(node.hostname), "%s", hostname);
	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_api_update(store, who, &node, now, LEASE, &is_new, &e);
	} while (!store_commit());
	return ret == -EPERM ? "another's" : ret == -ENOSPC ? "full" : ret ? "-" : is_new ? "created" : "updated";
}

static const char *update(const struct vs_caller *who, const char *uuid, const char *type, const char *hostname)
{
	return update_at(who, uuid, type, hostname, NOW);
}

static char listed[512];

static void node_list(const struct vs_api_node *node, void *arg)
{
	size_t n = strlen(listed);

	(void)arg;
	snprintf(listed + n, sizeof(listed) - n, "%s%s=%s/%s", n ? " " : "", node->uuid, node->type, node->hostname);
}

static const char *list_at(const char *type, int64_t now)
{
	struct err e = ERR_INIT;

	listed[0] = '\0';
	assert_int_equal(vs_api_each(store, type, now, node_list, NULL, &e), 0);
	return listed;
}

static const char *list(const char *type)
{
	return list_at(type, NOW);
}

static void an_entry_is_kept_and_changed(void **state)
{
	struct vs_caller a = caller(1, 1);

	(void)state;
	assert_string_equal(list(NULL), "");
	assert_string_equal(update(&a, "u-1", "", ""), "created");
	assert_string_equal(list(NULL), "u-1=/");
	assert_string_equal(update(&a, "u-1", "mongodb", "db-0"), "updated");
	assert_string_equal(update(&a, "u-1", "", ""), "updated"); /* what is not told stays */
	assert_string_equal(update(&a, "u-0", "app", "a"), "created");
	store_reopen();
	assert_string_equal(list(NULL), "u-0=app/a u-1=mongodb/db-0");
	assert_string_equal(list("mongodb"), "u-1=mongodb/db-0");
	assert_string_equal(list("Mongodb"), "");
	assert_string_equal(list("x' OR '1'='1"), "");
}

static void an_entry_is_its_makers(void **state)
{
	struct vs_caller a = caller(1, 1), twin = caller(1, 2), other = caller(2, 3), unproved = caller(1, 0);

	(void)state;
	assert_string_equal(update(&a, "u", "db", "a"), "created");
	assert_string_equal(update(&twin, "u", "db", "twin"), "another's");
	assert_string_equal(update(&other, "u", "db", "other"), "another's");
	assert_string_equal(update(&unproved, "u", "db", "unproved"), "another's");
	assert_string_equal(list(NULL), "u=db/a");
	assert_string_equal(update(&unproved, "v", "db", "v"), "created"); /* of which only the app is proved */
	assert_string_equal(update(&unproved, "v", "db", "w"), "updated");
	assert_string_equal(update(&other, "v", "db", "x"), "another's");
	/* what names an instance is that instance's from the start */
	assert_string_equal(update(&a, "0202020202020202020202020202020202020202", "db", "x"), "another's");
	assert_string_equal(update(&twin, "0202020202020202020202020202020202020202", "db", "x"), "created");
}

static void a_nodes_name_is_nobody_elses(void **state)
{
	struct vs_caller a = caller(0xaa, 1), b = caller(0xaa, 2), unproved = caller(0xaa, 0);

	(void)state;
	assert_string_equal(store_join(1, 0, NOW), "");
	store_publish(1, NOW + LEASE);
	assert_string_equal(update(&b, "b", "db", "node-1"), "another's");
	assert_string_equal(update(&b, "b", "db", "node-1.dstack.internal"), "another's");
	assert_string_equal(update(&unproved, "b", "db", "node-1"), "another's");
	assert_string_equal(update(&b, "b", "db", "node-1.example.com"), "created");
	assert_string_equal(update(&a, "a", "db", "node-1.dstack.internal"), "created");
	assert_string_equal(update_at(&b, "b", "db", "node-1", NOW + LEASE + 1), "created"); /* its lease has ended */
}

static void an_entry_ends(void **state)
{
	struct vs_caller a = caller(1, 1), b = caller(2, 2);

	(void)state;
	assert_string_equal(update(&a, "u", "db", "a"), "created");
	assert_string_equal(list_at(NULL, NOW + LEASE), "u=db/a");
	assert_string_equal(list_at(NULL, NOW + LEASE + 1), "");
	assert_string_equal(list_at("db", NOW + LEASE + 1), "");
	assert_string_equal(update_at(&b, "u", "app", "", NOW + LEASE + 1),
			    "created"); /* anew: nothing of the old one */
	assert_string_equal(list_at(NULL, NOW + LEASE + 1), "u=app/");
	assert_true(vs_store_has_ended(store, NOW + 3 * LEASE));
	store_end(NOW + 3 * LEASE);
	assert_int_equal(vs_api_count(store), 0);
}

/* A node's entry lives as long as the node's own lease, and goes when the node is revoked. */
static void an_entry_of_a_member_lives_with_it(void **state)
{
	struct vs_caller a = caller(0xaa, 1);
	struct err e = ERR_INIT;
	uint32_t number;

	(void)state;
	assert_string_equal(store_join(1, 0, NOW), "");
	store_publish(1, NOW + 9 * LEASE);
	assert_string_equal(update(&a, "u", "db", "a"), "created");
	store_end(NOW + 5 * LEASE);
	assert_string_equal(list_at(NULL, NOW + 5 * LEASE), "u=db/a");
	assert_string_equal(list_at(NULL, NOW + 10 * LEASE), "");
	assert_int_equal(vs_store_number(store, a.instance_id, NOW, &number, &e), 0);
	assert_int_equal(number, 1);
	assert_int_equal(vs_store_number(store, a.instance_id, NOW + 10 * LEASE, &number, &e), 0);
	assert_int_equal(number, 0);
	assert_int_equal(vs_caller_check(store, &a, &e), 0);
	store_set(1, VS_REVOKED);
	assert_string_equal(list(NULL), "");
	assert_int_equal(vs_caller_check(store, &a, &e), -EPERM);
	store_end(NOW);
	assert_int_equal(vs_api_count(store), 0);
}

static void of_etcd_the_newest_is_told(void **state)
{
	struct vs_caller a = caller(1, 1), b = caller(1, 2);

	(void)state;
	assert_string_equal(update_at(&a, "a", "etcd", "one", NOW), "created");
	assert_string_equal(update_at(&b, "b", "etcd", "two", NOW + 1), "created");
	assert_string_equal(list_at("etcd", NOW + 1), "b=etcd/two");
	assert_string_equal(list_at(NULL, NOW + 1), "b=etcd/two");
	assert_string_equal(update_at(&a, "a", "", "", NOW + 2), "updated");
	assert_string_equal(list_at("etcd", NOW + 2), "a=etcd/one");
}

static void an_app_has_so_many_entries(void **state)
{
	struct vs_caller a = caller(1, 0), b = caller(2, 0);
	struct err e = ERR_INIT;
	bool is_new;

	(void)state;
	store_begin();
	for (unsigned i = 0; i < VS_API_MAX_APP; i++) {
		struct vs_api_node node = { 0 };

		snprintf(node.uuid, sizeof(node.uuid), "u-%u", i);
		assert_int_equal(vs_api_update(store, &a, &node, NOW, LEASE, &is_new, &e), 0);
	}
	assert_true(store_commit());
	assert_string_equal(update(&a, "one-more", "", ""), "full");
	assert_string_equal(update(&a, "u-1", "", ""), "updated");
	assert_string_equal(update(&b, "one-more", "", ""), "created");
}

/* --- several servers --- */

static void two_servers_know_the_same_entries(void **state)
{
	struct vs_store *first = store, *second = store_another();
	struct vs_caller a = caller(1, 1), b = caller(1, 2);

	(void)state;
	assert_string_equal(update(&a, "u", "db", "a"), "created");
	store = second;
	assert_string_equal(update(&b, "u", "db", "b"), "another's"); /* made at the other one */
	assert_string_equal(list(NULL), "u=db/a");
	assert_string_equal(update(&a, "u", "", "c"), "updated");
	store = first;
	assert_string_equal(update(&b, "v", "db", "b"), "created");
	assert_string_equal(list(NULL), "u=db/c v=db/b");
	vs_store_close(second);
}

#define T(start, f) cmocka_unit_test_setup_teardown(f, start, store_stop)
#define BOTH(start)                                                                                                    \
	T(start, an_entry_is_kept_and_changed), T(start, an_entry_is_its_makers),                                      \
		T(start, a_nodes_name_is_nobody_elses), T(start, an_entry_ends),                                       \
		T(start, an_entry_of_a_member_lives_with_it), T(start, of_etcd_the_newest_is_told)

int main(void)
{
	const struct CMUnitTest on_file[] = { BOTH(store_start), T(store_start, an_app_has_so_many_entries) };
	const struct CMUnitTest on_etcd[] = { BOTH(store_start_on_etcd),
					      T(store_start_on_etcd, two_servers_know_the_same_entries) };

	return store_run("vpcd/entries", on_file, on_etcd);
}
