// SPDX-License-Identifier: Apache-2.0
/* Several servers on one real etcd: one order, nothing twice, what one does the other hears; and an etcd that lies or
 * is silent. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../lib/etcd.h"
#include "vpcd/store.h"

#define NOW   1790000000
#define STORM 60

static struct etcd_conf conf;
static const struct etcd_pems no_pems;
static struct vs_store *a, *b;
static const struct vs_limits limits = { .numbers = 1000, .max_nodes = 1000 };

struct heard {
	unsigned rows, ends;
	struct vs_row last;
};

static struct heard heard;

static void on_row(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	struct heard *h = arg;

	(void)record, (void)len;
	h->rows++;
	h->last = *row;
}

static void on_end(void *arg)
{
	((struct heard *)arg)->ends++;
}

static struct vs_store *server(void)
{
	struct vs_store *store = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(vs_store_open_shared(&conf, &no_pems, &store, &e), 0);
	for (int i = 0; i < 5 && etcd_is_late(vs_store_load(store, &e)); i++)
		e = ERR_INIT;
	if (!vs_store_is_loaded(store))
		fail_msg("%s: %s", e.where, e.msg);
	return store;
}

static int start(void **state)
{
	static const struct vs_watcher watcher = { .row = on_row, .caught_up = on_end, .arg = &heard };

	(void)state;
	etcd_start(&conf);
	a = server();
	b = server();
	heard = (struct heard){ 0 };
	vs_store_watch(b, &watcher);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	vs_store_close(a);
	vs_store_close(b);
	a = b = NULL;
	return 0;
}

static struct vs_who who_of(unsigned n, const char *name)
{
	struct vs_who who = { .from = "192.0.2.1:1" };

	memcpy(who.instance_id, &n, sizeof(n));
	memset(who.app_id, 0xaa, sizeof(who.app_id));
	snprintf(who.node, sizeof(who.node), "%s", name);
	return who;
}

static struct vs_record record_of(unsigned n, uint64_t epoch, uint8_t key)
{
	struct vs_record r = { .epoch = epoch, .not_after = NOW + 3600 };

	memcpy(r.instance_id, &n, sizeof(n));
	memset(r.wg_key, key, sizeof(r.wg_key));
	memcpy(r.digest, &epoch, sizeof(epoch));
	return r;
}

/* What a server does: again, while others are first. The name of a refusal, "" or "-". */
static const char *ask(struct vs_store *s, const struct vs_who *who, const struct vs_record *r, int64_t now,
		       uint32_t *number, unsigned *again)
{
	struct err e = ERR_INIT, refused;
	uint64_t serial;
	int ret, got;

	do {
		refused = ERR_INIT;
		assert_int_equal(vs_store_begin(s, &e), 0);
		got = who ? vs_store_grant(s, who, &limits, now, number, &refused)
			  : vs_store_publish(s, r, "bytes", 5, now, &serial, &refused);
		ret = vs_store_commit(s, &e);
		if (again)
			*again += ret == -EAGAIN;
	} while (etcd_is_late(ret));
	if (ret < 0)
		fail_msg("%s: %s", e.where, e.msg);
	return !got ? "" : refused.reason ? id_reason_name(refused.reason) : "-";
}

static void set(struct vs_store *s, unsigned n, enum vs_state state)
{
	uint8_t instance_id[BY_INSTANCE_ID_LEN] = { 0 };
	struct err e = ERR_INIT;
	uint64_t serial;
	int ret;

	memcpy(instance_id, &n, sizeof(n));
	do {
		assert_int_equal(vs_store_begin(s, &e), 0);
		assert_int_equal(vs_store_set(s, instance_id, state, NOW, &serial, &e), 0);
		ret = vs_store_commit(s, &e);
	} while (etcd_is_late(ret));
	assert_int_equal(ret, 0);
}

static void hear(unsigned rows)
{
	struct err e = ERR_INIT;

	for (int i = 0; i < 400 && heard.rows < rows; i++)
		if (vs_store_pump(b, 50, &e) < 0)
			fail_msg("%s: %s", e.where, e.msg);
	assert_true(heard.rows >= rows);
}

static void a_number_is_given_once(void **state)
{
	struct vs_who one = who_of(1, "a"), two = who_of(2, "b");
	unsigned again = 0;
	uint32_t number;

	(void)state;
	assert_string_equal(ask(a, &one, NULL, NOW, &number, &again), "");
	assert_int_equal(number, 1);
	assert_string_equal(ask(b, &two, NULL, NOW, &number, &again), "");
	assert_int_equal(number, 2);
	assert_true(again >= 1); /* its first try was on what it knew */
}

static void a_name_and_a_key_are_one_nodes(void **state)
{
	struct vs_who one = who_of(1, "web"), two = who_of(2, "web"), other = who_of(2, "db");
	struct vs_record r = record_of(1, 5, 7), thief = record_of(2, 5, 7), older = record_of(1, 4, 7);
	uint32_t number;

	(void)state;
	ask(a, &one, NULL, NOW, &number, NULL);
	assert_string_equal(ask(b, &two, NULL, NOW, &number, NULL), "RECORD_NAME");
	ask(b, &other, NULL, NOW, &number, NULL);
	assert_string_equal(ask(a, NULL, &r, NOW, NULL, NULL), "");
	assert_string_equal(ask(b, NULL, &thief, NOW, NULL, NULL), "RECORD_KEY");
	assert_string_equal(ask(b, NULL, &older, NOW, NULL, NULL), "RECORD_EPOCH");
}

static void who_is_revoked_at_one_is_so_at_the_other(void **state)
{
	struct vs_who one = who_of(1, "a");
	uint32_t number;

	(void)state;
	ask(a, &one, NULL, NOW, &number, NULL);
	set(a, 1, VS_REVOKED);
	assert_string_equal(ask(b, &one, NULL, NOW, &number, NULL), "RECORD_REVOKED");
	set(b, 1, VS_MEMBER);
	assert_string_equal(ask(a, &one, NULL, NOW, &number, NULL), "");
}

static void beat(struct vs_store *s, struct vs_server *self)
{
	struct err e = ERR_INIT;
	int ret;

	do
		ret = vs_store_beat(s, self, &e);
	while (etcd_is_late(ret));
	assert_int_equal(ret, 0);
}

static void what_one_changes_the_other_hears(void **state)
{
	struct vs_who one = who_of(1, "a");
	struct vs_record r = record_of(1, 5, 7);
	uint32_t number;

	(void)state;
	hear(0);
	ask(a, &one, NULL, NOW, &number, NULL);
	ask(a, NULL, &r, NOW, NULL, NULL);
	hear(2);
	assert_true(heard.ends >= 1 && heard.last.has_record);
	assert_true(vs_store_serial(b) == vs_store_serial(a) && heard.last.serial == vs_store_serial(a));
	assert_true(vs_store_fd(b) >= 0); /* it need not be asked: its loop is told */
	set(a, 1, VS_REVOKED);
	hear(3);
	assert_int_equal(heard.last.state, VS_REVOKED);
	assert_memory_equal(vs_store_network(a), vs_store_network(b), VPC_NETWORK);
}

/* The first thing that a server does: what it tells is later than all that was told before etcd was put back. */
static void a_serial_goes_on_alone(void **state)
{
	struct vs_who one = who_of(1, "a");
	struct err e = ERR_INIT;
	uint32_t number;
	uint64_t before;
	int ret;

	(void)state;
	ask(a, &one, NULL, NOW, &number, NULL);
	hear(1);
	before = vs_store_serial(a);
	do {
		assert_int_equal(vs_store_begin(a, &e), 0);
		vs_store_resume(a, NOW + 60);
		ret = vs_store_commit(a, &e);
	} while (etcd_is_late(ret));
	assert_int_equal(ret, 0);
	assert_true(vs_store_serial(a) > before);
	ask(b, &one, NULL, NOW, &number, NULL);
	assert_int_equal(number, 1);
	assert_true(vs_store_serial(b) == vs_store_serial(a));
}

/* One row in place of another under one key, and a name that goes over in the same commit. */
static void a_number_that_goes_to_another_goes_everywhere(void **state)
{
	static const struct vs_limits narrow = { .numbers = 1, .max_nodes = 1 };
	struct vs_who one = who_of(1, "web"), two = who_of(2, "web");
	uint8_t found[BY_INSTANCE_ID_LEN];
	struct err e = ERR_INIT;
	uint32_t number;
	int ret;

	(void)state;
	ask(a, &one, NULL, NOW, &number, NULL);
	hear(1);
	do {
		assert_int_equal(vs_store_begin(a, &e), 0);
		assert_int_equal(vs_store_grant(a, &two, &narrow, NOW + 100, &number, &e), 0);
		ret = vs_store_commit(a, &e);
	} while (etcd_is_late(ret));
	assert_int_equal(ret, 0);
	hear(2);
	assert_int_equal(vs_store_find(b, "web", found, &e), 0);
	assert_memory_equal(found, two.instance_id, sizeof(found));
	set(b, 2, VS_REVOKED); /* and no other is there to be found */
	heard.rows = 0;
	assert_int_equal(vs_store_each(b, on_row, &heard, &e), 0);
	assert_int_equal(heard.rows, 1);
}

static void note_number(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	uint8_t *seen = arg;

	(void)record, (void)len;
	assert_true(row->number >= 1 && row->number <= STORM && !seen[row->number]);
	seen[row->number] = 1;
}

static void two_that_grant_at_once_agree(void **state)
{
	struct vs_store *third;
	struct err e = ERR_INIT;
	uint8_t seen[STORM + 1] = { 0 };
	uint32_t number;
	char name[16];

	(void)state;
	for (unsigned i = 1; i <= STORM; i++) {
		struct vs_who who = who_of(i, (snprintf(name, sizeof(name), "n%u", i), name));

		assert_string_equal(ask(i % 3 ? a : b, &who, NULL, NOW, &number, NULL), "");
		assert_int_equal(number, i);
	}
	third = server();
	assert_int_equal(vs_store_each(third, note_number, seen, &e), 0);
	assert_int_equal(memchr(seen + 1, 0, STORM) != NULL, 0);
	vs_store_close(third);
}

/* Etcd takes 128 operations at once; what is beyond is undone and comes with the next commit. */
static void a_commit_is_as_big_as_etcd_takes(void **state)
{
	struct err e = ERR_INIT;
	uint32_t number;
	unsigned n;
	char name[16];

	(void)state;
	assert_int_equal(vs_store_begin(a, &e), 0);
	for (n = 1; n < 1000; n++) {
		struct vs_who who = who_of(n, (snprintf(name, sizeof(name), "n%u", n), name));

		assert_int_equal(vs_store_mark(a, &e), 0);
		assert_int_equal(vs_store_grant(a, &who, &limits, NOW, &number, &e), 0);
		if (!vs_store_fits(a))
			break;
	}
	assert_int_equal(n, ETCD_OPS);
	assert_int_equal(vs_store_commit(a, &e), 0);
	hear(n - 1);
	assert_int_equal(heard.rows, n - 1);
}

static void a_copy_that_is_behind_what_etcd_remembers_is_made_anew(void **state)
{
	struct vs_who one = who_of(1, "a"), two = who_of(2, "b");
	char command[700];
	uint32_t number;

	(void)state;
	ask(a, &one, NULL, NOW, &number, NULL); /* b has not begun to listen */
	ask(a, &two, NULL, NOW, &number, NULL);
	set(a, 1, VS_REVOKED);
	snprintf(command, sizeof(command),
		 "rev=$(curl -s -d '{}' %s/v3/kv/txn | sed 's/.*\"revision\":\"\\([0-9]*\\)\".*/\\1/') && "
		 "curl -sf -o /dev/null -d \"{\\\"revision\\\":$rev}\" %s/v3/kv/compaction",
		 conf.endpoint[0], conf.endpoint[0]);
	assert_int_equal(system(command), 0);
	hear(2);
	assert_true(heard.ends >= 1);
	assert_string_equal(ask(b, &one, NULL, NOW, &number, NULL), "RECORD_REVOKED");
	heard.rows = 0;
	set(a, 1, VS_MEMBER);
	hear(1); /* and goes on listening */
}

/* --- what is in etcd is not believed as it stands --- */

static void write_keys(const char *key, const char *text, bool with_meta)
{
	char whole[ETCD_PREFIX + 64], meta[ETCD_PREFIX + 64], meta_text[160];
	struct etcd_answer answer;
	struct etcd *etcd;
	struct err e = ERR_INIT;
	json_t *puts = json_array();

	snprintf(whole, sizeof(whole), "%s/data/%s", conf.prefix, key);
	snprintf(meta, sizeof(meta), "%s/data/meta", conf.prefix);
	snprintf(meta_text, sizeof(meta_text), "{\"v\":1,\"network\":\"");
	for (int i = 0; i < VPC_NETWORK; i++)
		snprintf(meta_text + strlen(meta_text), 3, "%02x", vs_store_network(a)[i]);
	snprintf(meta_text + strlen(meta_text), 40, "\",\"serial\":%llu}", (unsigned long long)NOW * 2000000);
	json_array_append_new(puts, etcd_put(whole, text, strlen(text), 0));
	if (with_meta)
		json_array_append_new(puts, etcd_put(meta, meta_text, strlen(meta_text), 0));
	assert_int_equal(etcd_new(&conf, &no_pems, &etcd, &e), 0);
	assert_int_equal(etcd_txn(etcd, NULL, puts, NULL, &answer, &e), 0);
	etcd_answer_fini(&answer);
	etcd_free(etcd);
}

static void refused(const char *key, const char *text, bool with_meta, const char *why)
{
	struct err e = ERR_INIT;
	int ret = 0;

	write_keys(key, text, with_meta);
	for (int i = 0; i < 400 && !ret; i++)
		ret = vs_store_pump(b, 50, &e);
	assert_int_equal(ret, -EBADMSG);
	if (!strstr(e.where, key) || !strstr(e.msg, why))
		fail_msg("'%s: %s' does not name %s and '%s'", e.where, e.msg, key, why);
	vs_store_close(b);
	b = NULL;
	stop(NULL);
	start(NULL);
}

#define ROW(instance, name, number, state, key)                                                                        \
	"{\"instance\":\"" instance "\",\"app\":\"qqqqqqqqqqqqqqqqqqqqqqqqqqo=\",\"name\":" name ",\"origin\":\"x\","  \
	"\"simulated\":0,\"number\":" number ",\"state\":" state ",\"serial\":1,\"lifted\":0,\"joined\":1,"            \
	"\"not_after\":1,\"epoch\":1,\"wg_key\":" key ",\"digest\":null,\"record\":null}"
#define ID_1 "AQAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ID_2 "AgAAAAAAAAAAAAAAAAAAAAAAAAA="

static void rows_that_are_none_are_refused_by_their_key(void **state)
{
	static const struct {
		const char *key, *text, *why;
	} bad[] = {
		{ "node/0000000001", "[]", "is no JSON object" },
		{ "node/0000000001", "{", "is no JSON object" },
		{ "node/0000000001", "{}", "of another key" },
		{ "node/0000000001", ROW(ID_1, "\"a\"", "2", "1", "null"), "number of another key" },
		{ "node/0000000001", ROW("AQ==", "\"a\"", "1", "1", "null"), "'instance'" },
		{ "node/0000000001", ROW("!", "\"a\"", "1", "1", "null"), "'instance'" },
		{ "node/0000000001", ROW(ID_1, "7", "1", "1", "null"), "'name'" },
		{ "node/0000000001", ROW(ID_1, "\"a\\u001b[2J\"", "1", "1", "null"), "'name'" },
		{ "node/0000000001", ROW(ID_1, "\"a234567890123456789012345678901234567890\"", "1", "1", "null"),
		  "'name'" },
		{ "node/0000000001", ROW(ID_1, "\"a\"", "1", "3", "null"), "'state'" },
		{ "node/0000000001", ROW(ID_1, "\"a\"", "1", "-1", "null"), "'state'" },
		{ "node/0000000001", ROW(ID_1, "\"a\"", "1", "1", "\"AQ==\""), "'wg_key'" },
		{ "node/0000000000", ROW(ID_1, "\"a\"", "0", "1", "null"), "'number'" },
		{ "node/1", ROW(ID_1, "\"a\"", "1", "1", "null"), "is no key of this version" },
		{ "other/0000000001", "{}", "is no key of this version" },
		{ "meta", "{\"v\":99}", "is of version 99" },
		{ "meta", "{\"v\":1}", "has no network or serial" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(bad[i].key, bad[i].text, strcmp(bad[i].key, "meta") != 0, bad[i].why);
}

static void a_change_by_no_control_plane_is_refused(void **state)
{
	(void)state;
	refused("node/0000000001", ROW(ID_1, "\"a\"", "1", "1", "null"), false, "is no control plane");
}

static void two_owners_of_a_name_are_refused(void **state)
{
	struct vs_who one = who_of(1, "a");
	uint32_t number;

	(void)state;
	ask(a, &one, NULL, NOW, &number, NULL);
	refused("node/0000000002", ROW(ID_2, "\"a\"", "2", "1", "null"), true, "does not go with the others");
}

static void a_newer_version_is_not_opened(void **state)
{
	struct vs_store *third = NULL;
	struct err e = ERR_INIT;

	(void)state;
	write_keys("meta", "{\"v\":3}", false);
	assert_int_equal(vs_store_open_shared(&conf, &no_pems, &third, &e), 0);
	assert_int_equal(vs_store_load(third, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "is of version 3"));
	assert_int_equal(vs_store_begin(third, &e), -EHOSTUNREACH);
	vs_store_close(third);
}

/* --- an etcd that is silent --- */

static void a_commit_without_an_answer_is_no_commit_and_may_be_asked_again(void **state)
{
	struct vs_who one = who_of(1, "a"), two = who_of(2, "b");
	struct vs_server self = { .id = "0123456789abcdef", .listen = "192.0.2.1:7947" };
	struct err e = ERR_INIT;
	int64_t fresh;
	uint32_t number;
	int ret;

	(void)state;
	ask(a, &one, NULL, NOW, &number, NULL);
	beat(a, &self);
	fresh = vs_store_fresh_until(a);
	etcd_pause(true);
	assert_int_equal(vs_store_begin(a, &e), 0);
	assert_int_equal(vs_store_grant(a, &two, &limits, NOW, &number, &e), 0);
	ret = vs_store_commit(a, &e);
	assert_true(ret < 0 && ret != -EAGAIN);
	assert_true(vs_store_beat(a, &self, &e) < 0);
	assert_true(vs_store_fresh_until(a) == fresh); /* so it ends */
	etcd_pause(false);
	/* whether etcd has it by now or not: one number, the same */
	e = ERR_INIT;
	assert_string_equal(ask(a, &two, NULL, NOW, &number, NULL), "");
	assert_int_equal(number, 2);
	beat(a, &self);
	assert_true(vs_store_fresh_until(a) > fresh);
}

static void servers_see_each_other(void **state)
{
	struct vs_server one = { .id = "1111111111111111", .listen = "192.0.2.1:7947", .sessions = 3, .since = NOW };
	struct vs_server two = { .id = "2222222222222222", .listen = "192.0.2.2:7947" };
	const struct vs_server *all;
	size_t n;

	(void)state;
	beat(a, &one);
	beat(b, &two);
	all = vs_store_servers(b, &n);
	assert_int_equal(n, 2);
	assert_string_equal(all[0].id, one.id);
	assert_string_equal(all[0].listen, one.listen);
	assert_true(all[0].sessions == 3 && all[0].since == NOW);
}

static void nobody_there_is_said(void **state)
{
	struct etcd_conf none = { .n_endpoints = 1, .endpoint = { "http://127.0.0.1:1" }, .prefix = "/x" };
	struct vs_store *third = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(vs_store_open_shared(&none, &no_pems, &third, &e), 0);
	assert_true(vs_store_load(third, &e) < 0);
	assert_non_null(strstr(e.where, "http://127.0.0.1:1/v3/kv/txn"));
	assert_int_equal(vs_store_begin(third, &e), -EHOSTUNREACH);
	vs_store_close(third);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)
	const struct CMUnitTest tests[] = {
		T(a_number_is_given_once),
		T(a_name_and_a_key_are_one_nodes),
		T(who_is_revoked_at_one_is_so_at_the_other),
		T(what_one_changes_the_other_hears),
		T(a_serial_goes_on_alone),
		T(a_number_that_goes_to_another_goes_everywhere),
		T(two_that_grant_at_once_agree),
		T(a_commit_is_as_big_as_etcd_takes),
		T(a_copy_that_is_behind_what_etcd_remembers_is_made_anew),
		T(rows_that_are_none_are_refused_by_their_key),
		T(a_change_by_no_control_plane_is_refused),
		T(two_owners_of_a_name_are_refused),
		T(a_newer_version_is_not_opened),
		T(a_commit_without_an_answer_is_no_commit_and_may_be_asked_again),
		T(servers_see_each_other),
		T(nobody_there_is_said),
	};

	return etcd_run("vpcd/store_etcd", tests);
}
