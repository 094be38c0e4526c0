// SPDX-License-Identifier: Apache-2.0
/*
 * The control plane's memory: whose name, number and key; what survives; what is older than it. Every case on a file
 * and on a real etcd.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/vpcstore.h"

#define NOW 1790000000

static struct vs_who who_of(uint8_t n, const char *name)
{
	struct vs_who who = { .from = "192.0.2.1:1" };

	memset(who.instance_id, n, sizeof(who.instance_id));
	memset(who.app_id, 0xaa, sizeof(who.app_id));
	snprintf(who.node, sizeof(who.node), "%s", name);
	return who;
}

static struct vs_record record_of(uint8_t n, uint64_t epoch)
{
	struct vs_record r = { .epoch = epoch, .not_after = NOW + 3600 };

	memset(r.instance_id, n, sizeof(r.instance_id));
	memset(r.wg_key, n, sizeof(r.wg_key));
	memset(r.digest, n, sizeof(r.digest));
	memcpy(r.digest, &epoch, sizeof(epoch));
	return r;
}

/* Name of the refusal; "" when there is none, "-" for one without a name. */
static const char *grant(const struct vs_who *who, int64_t now, uint32_t *number)
{
	struct err e;
	int ret;

	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_store_grant(store, who, &limits, now, number, &e);
	} while (!store_commit());
	return !ret ? "" : e.reason ? id_reason_name(e.reason) : "-";
}

static const char *publish(const struct vs_record *r, uint64_t *serial)
{
	struct err e;
	int ret;

	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_store_publish(store, r, "bytes", 5, NOW, serial, &e);
	} while (!store_commit());
	return !ret ? "" : e.reason ? id_reason_name(e.reason) : "-";
}

static int set(uint8_t n, enum vs_state state, uint64_t *serial)
{
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	struct err e = ERR_INIT;
	int ret;

	memset(instance_id, n, sizeof(instance_id));
	do {
		store_begin();
		ret = vs_store_set(store, instance_id, state, NOW, serial, &e);
	} while (!store_commit());
	return ret;
}

static void numbers_are_their_nodes(void **state)
{
	struct vs_who a = who_of(1, "a"), b = who_of(2, "b");
	uint32_t number = 0;

	(void)state;
	assert_string_equal(grant(&a, NOW, &number), "");
	assert_int_equal(number, 1);
	assert_string_equal(grant(&b, NOW, &number), "");
	assert_int_equal(number, 2);
	store_reopen();
	assert_string_equal(grant(&a, NOW + 1000000, &number), "");
	assert_int_equal(number, 1);
}

static void a_living_nodes_name_is_taken_by_nobody(void **state)
{
	struct vs_who a = who_of(1, "web"), thief = who_of(2, "web");
	struct vs_record r = record_of(1, 5);
	uint32_t number;
	uint64_t serial;

	(void)state;
	grant(&a, NOW, &number);
	assert_string_equal(publish(&r, &serial), "");
	assert_string_equal(grant(&thief, NOW + 3600, &number), "RECORD_NAME");
	assert_string_equal(grant(&thief, NOW + 3601, &number), "");        /* its lease has ended */
	assert_string_equal(grant(&a, NOW + 3601, &number), "RECORD_NAME"); /* and the name has another owner */
}

static void a_name_is_kept_for_who_was_granted_it(void **state)
{
	struct vs_who a = who_of(1, "web"), other = who_of(2, "web");
	uint32_t number;

	(void)state;
	grant(&a, NOW, &number);
	assert_string_equal(grant(&other, NOW + 30, &number), "RECORD_NAME");
	assert_string_equal(grant(&other, NOW + 300, &number), "");
}

static void epochs_grow(void **state)
{
	struct vs_who a = who_of(1, "a");
	struct vs_record five = record_of(1, 5), four = record_of(1, 4), six = record_of(1, 6), other = record_of(1, 5);
	uint64_t first = 0, again = 0, next = 0;
	uint32_t number;

	(void)state;
	grant(&a, NOW, &number);
	assert_string_equal(publish(&five, &first), "");
	assert_string_equal(publish(&five, &again), "");
	assert_true(again == first);
	assert_string_equal(publish(&four, &next), "RECORD_EPOCH");
	other.digest[31] ^= 1;
	assert_string_equal(publish(&other, &next), "RECORD_EPOCH");
	store_reopen();
	assert_string_equal(publish(&four, &next), "RECORD_EPOCH");
	assert_string_equal(publish(&six, &next), "");
	assert_true(next > first);
}

static void a_key_is_one_nodes(void **state)
{
	struct vs_who a = who_of(1, "a"), b = who_of(2, "b");
	struct vs_record r = record_of(1, 5), thief = record_of(2, 5);
	uint32_t number;
	uint64_t serial;

	(void)state;
	grant(&a, NOW, &number);
	grant(&b, NOW, &number);
	publish(&r, &serial);
	memcpy(thief.wg_key, r.wg_key, sizeof(thief.wg_key));
	assert_string_equal(publish(&thief, &serial), "RECORD_KEY");
}

static void nothing_is_published_without_a_grant(void **state)
{
	struct vs_record r = record_of(1, 5);
	uint64_t serial;

	(void)state;
	assert_string_equal(publish(&r, &serial), "-");
}

static void who_is_revoked_gets_nothing(void **state)
{
	struct vs_who a = who_of(1, "a");
	struct vs_record r = record_of(1, 5), newer = record_of(1, 6);
	uint64_t published, revoked, lifted;
	uint32_t number;

	(void)state;
	grant(&a, NOW, &number);
	publish(&r, &published);
	assert_int_equal(set(1, VS_REVOKED, &revoked), 0);
	assert_true(revoked > published);
	store_reopen();
	assert_string_equal(grant(&a, NOW, &number), "RECORD_REVOKED");
	assert_string_equal(publish(&newer, &published), "RECORD_REVOKED");
	assert_int_equal(set(1, VS_MEMBER, &lifted), 0);
	assert_true(lifted > revoked);
	assert_string_equal(grant(&a, NOW, &number), "");
	assert_int_equal(set(9, VS_REVOKED, &lifted), -ENOENT);
}

static void a_newcomer_waits_where_somebody_approves(void **state)
{
	struct vs_who a = who_of(1, "a");
	uint32_t number;
	uint64_t serial;

	(void)state;
	limits.approve = true;
	assert_string_equal(grant(&a, NOW, &number), "NOT_APPROVED");
	assert_string_equal(grant(&a, NOW, &number), "NOT_APPROVED");
	assert_int_equal(set(1, VS_MEMBER, &serial), 0);
	assert_string_equal(grant(&a, NOW, &number), "");
}

static void numbers_of_the_dead_are_used_again(void **state)
{
	struct vs_who a = who_of(1, "a"), b = who_of(2, "b"), c = who_of(3, "c");
	struct vs_record r = record_of(2, 1);
	uint32_t number;
	uint64_t serial;

	(void)state;
	limits.numbers = 2;
	grant(&a, NOW, &number);
	grant(&b, NOW, &number);
	publish(&r, &serial);
	assert_string_equal(grant(&c, NOW, &number), "-"); /* a's lease is young */
	assert_string_equal(grant(&c, NOW + 100, &number), "");
	assert_int_equal(number, 1); /* a never said anything */
	set(2, VS_REVOKED, &serial);
	assert_string_equal(grant(&a, NOW + 130, &number), "-"); /* who is revoked is not forgotten */
}

static void serials_are_never_used_twice(void **state)
{
	struct vs_who a = who_of(1, "a");
	struct vs_record r = record_of(1, 1);
	uint64_t first, serial;
	uint32_t number;

	(void)state;
	grant(&a, NOW, &number);
	publish(&r, &first);
	assert_true(first >= (uint64_t)NOW * 1000000);
	store_reopen();
	assert_true(vs_store_serial(store) == first);
	r.epoch = 2;
	r.digest[31] ^= 1;
	publish(&r, &serial);
	assert_true(serial > first);
}

static void nodes_are_found_by_name_and_by_number(void **state)
{
	struct vs_who a = who_of(0x11, "a"), b = who_of(0x12, "b");
	uint8_t found[BY_INSTANCE_ID_LEN];
	struct err e = ERR_INIT;
	uint32_t number;

	(void)state;
	grant(&a, NOW, &number);
	b.instance_id[0] = b.instance_id[1] = b.instance_id[2] = b.instance_id[3] = 0x11;
	grant(&b, NOW, &number);
	assert_int_equal(vs_store_find(store, "b", found, &e), 0);
	assert_memory_equal(found, b.instance_id, sizeof(found));
	assert_int_equal(vs_store_find(store, "1111111111", found, &e), 0);
	assert_memory_equal(found, a.instance_id, sizeof(found));
	assert_int_equal(vs_store_find(store, "11111111", found, &e), -EEXIST);
	e = ERR_INIT;
	assert_int_equal(vs_store_find(store, "1111", found, &e), -ENOENT);
	e = ERR_INIT;
	assert_int_equal(vs_store_find(store, "********", found, &e), -ENOENT);
}

static void count(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	(void)record;
	assert_true(!row->has_record || len == 5);
	++*(unsigned *)arg;
}

/* Put back from a copy it is no older state to nodes that have heard of what came later. */
static void a_copy_goes_on_above_what_came_after_it(void **state)
{
	struct vs_who a = who_of(1, "a");
	struct vs_record first = record_of(1, 1), second = record_of(1, 2);
	char copy[160], log[160];
	struct err e = ERR_INIT;
	uint64_t serial;
	uint32_t number;

	(void)state;
	snprintf(copy, sizeof(copy), "%s.copy", store_path);
	snprintf(log, sizeof(log), "%s-wal", store_path);
	grant(&a, NOW, &number);
	assert_string_equal(publish(&first, &serial), "");
	assert_int_equal(vs_store_backup(store_path, copy, &e), 0);
	assert_string_equal(publish(&second, &serial), "");
	vs_store_close(store);
	store = NULL;
	assert_true(access(log, F_OK) < 0); /* whoever stops it has one file */
	assert_int_equal(rename(copy, store_path), 0);
	store_reopen();
	assert_true(vs_store_serial(store) < serial);
	store_begin();
	vs_store_resume(store, NOW + 1);
	assert_true(store_commit());
	assert_true(vs_store_serial(store) > serial);
	serial = vs_store_serial(store);
	store_reopen();
	assert_true(vs_store_serial(store) == serial);
	assert_string_equal(publish(&second, &serial), "");
}

/* kill -9 behind a commit: what was committed is there. */
static void what_was_committed_survives(void **state)
{
	struct vs_who a = who_of(1, "a");
	struct err e = ERR_INIT;
	unsigned n = 0;
	pid_t pid;
	int status;

	(void)state;
	vs_store_close(store);
	store = NULL;
	pid = fork();
	if (!pid) {
		struct vs_who b = who_of(2, "b");
		uint32_t number;

		store_reopen();
		vs_store_begin(store, &e);
		vs_store_grant(store, &a, &limits, NOW, &number, &e);
		vs_store_commit(store, &e);
		vs_store_begin(store, &e);
		vs_store_grant(store, &b, &limits, NOW, &number, &e);
		kill(getpid(), SIGKILL);
	}
	assert_true(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	store_reopen();
	assert_int_equal(vs_store_each(store, count, &n, &e), 0);
	assert_int_equal(n, 1);
}

static void a_store_of_a_later_version_is_left_alone(void **state)
{
	struct vs_store *other = NULL;
	struct err e = ERR_INIT;
	sqlite3 *db;

	(void)state;
	vs_store_close(store);
	store = NULL;
	assert_int_equal(sqlite3_open(store_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(vs_store_open(store_path, &other, &e), -EPROTO);
	assert_non_null(strstr(e.msg, "is of version 99"));
	assert_null(other);
}

static void sql(sqlite3 *db, const char *text)
{
	char *why = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", text, why);
}

/* One of version 1, before there were keys and entries: its nodes stay what they are, and all of now works. */
static void a_store_of_an_earlier_version_is_taken_over(void **state)
{
	struct vs_who a = who_of(1, "a"), b = who_of(2, "b");
	struct vs_record r = record_of(1, 5);
	uint8_t network[VPC_NETWORK];
	uint64_t serial;
	uint32_t number;
	sqlite3 *db;

	(void)state;
	assert_string_equal(grant(&b, NOW, &number), "");
	assert_string_equal(grant(&a, NOW, &number), "");
	assert_string_equal(publish(&r, &serial), "");
	memcpy(network, vs_store_network(store), sizeof(network));
	vs_store_close(store);
	store = NULL;
	assert_int_equal(sqlite3_open(store_path, &db), SQLITE_OK);
	sql(db, "DROP TABLE authkey; DROP TABLE api_node; ALTER TABLE node DROP COLUMN ephemeral; "
		"PRAGMA user_version = 1");
	sqlite3_close(db);
	store_reopen();
	assert_memory_equal(vs_store_network(store), network, sizeof(network));
	assert_true(vs_store_serial(store) == serial);
	assert_string_equal(grant(&a, NOW, &number), "");
	assert_int_equal(number, 2);
	r = record_of(1, 4);
	assert_string_equal(publish(&r, &serial), "RECORD_EPOCH");
	assert_int_equal(vs_api_count(store), 0);
	a.has_key = true;
	memset(a.instance_id, 3, sizeof(a.instance_id));
	snprintf(a.node, sizeof(a.node), "c");
	assert_string_equal(grant(&a, NOW, &number), "AUTH_KEY"); /* asked of a table that version 1 did not have */
}

static void what_is_no_database_is_refused(void **state)
{
	struct vs_store *other = NULL;
	struct err e = ERR_INIT;
	char bad[160];
	FILE *f;

	(void)state;
	snprintf(bad, sizeof(bad), "%s.bad", store_path);
	f = fopen(bad, "w");
	assert_true(f && fputs("this is no database, and long enough to be looked at as one", f) >= 0);
	fclose(f);
	assert_true(vs_store_open(bad, &other, &e) < 0);
	assert_null(other);
}

#define BOTH(start)                                                                                                    \
	T(start, numbers_are_their_nodes), T(start, a_living_nodes_name_is_taken_by_nobody),                           \
		T(start, a_name_is_kept_for_who_was_granted_it), T(start, epochs_grow), T(start, a_key_is_one_nodes),  \
		T(start, nothing_is_published_without_a_grant), T(start, who_is_revoked_gets_nothing),                 \
		T(start, a_newcomer_waits_where_somebody_approves), T(start, numbers_of_the_dead_are_used_again),      \
		T(start, serials_are_never_used_twice), T(start, nodes_are_found_by_name_and_by_number),               \
		T(start, what_was_committed_survives)

static void a_file_that_can_not_be_opened_is_told_with_its_reason(void **state)
{
	struct vs_store *other = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(vs_store_open("/no/such/folder/vpc.db", &other, &e) < 0);
	assert_null(other);
	assert_non_null(strstr(e.msg, strerror(ENOENT)));
}

int main(void)
{
#define T(start, f) cmocka_unit_test_setup_teardown(f, start, store_stop)
	const struct CMUnitTest on_file[] = {
		BOTH(store_start),
		cmocka_unit_test(a_file_that_can_not_be_opened_is_told_with_its_reason),
		T(store_start, a_store_of_a_later_version_is_left_alone),
		T(store_start, a_store_of_an_earlier_version_is_taken_over),
		T(store_start, what_is_no_database_is_refused),
		T(store_start, a_copy_goes_on_above_what_came_after_it),
	};
	const struct CMUnitTest on_etcd[] = { BOTH(store_start_on_etcd) };

	return store_run("vpcd/store", on_file, on_etcd);
}
