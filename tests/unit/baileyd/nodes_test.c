// SPDX-License-Identifier: Apache-2.0
/* The parent's nodes, with the test at the other end of the edge's channel. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/channel.h"
#include "baileyd/parent.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"

#define STORED 600

struct edge {
	struct parent *p;
	struct ipc *ipc;
	unsigned n_records, n_marks;
	struct id_seen seen[8];
	size_t n_seen;
	uint64_t mark;
	char last[MSG_ORIGIN_LEN];
};

static void edge_takes(struct ipc_msg *msg, void *arg)
{
	struct edge *edge = arg;

	if (msg->type == MSG_EDGE_RECORD) {
		const struct msg_stored *m = ipc_as(msg, sizeof(*m));

		edge->n_records++;
		snprintf(edge->last, sizeof(edge->last), "%s", m->origin);
	} else if (msg->type == MSG_EDGE_REMEMBER) {
		edge->n_seen = msg->len / sizeof(edge->seen[0]);
		assert_true(edge->n_seen <= 8 && msg->len == edge->n_seen * sizeof(edge->seen[0]));
		memcpy(edge->seen, msg->data, msg->len);
	} else if (msg->type == MSG_EDGE_MARK) {
		edge->n_marks++;
		edge->mark = ((const struct msg_token *)ipc_as(msg, sizeof(struct msg_token)))->token;
	}
}

static int set_up(void **state)
{
	struct edge *edge = calloc(1, sizeof(*edge));
	struct parent *p = edge->p = calloc(1, sizeof(*p));

	snprintf(p->conf.state, sizeof(p->conf.state), "/tmp/bailey-nodes-XXXXXX");
	assert_non_null(mkdtemp(p->conf.state));
	p->base = event_base_new();
	channel_open(p->base, &p->edge.ipc, &edge->ipc, edge_takes, edge);
	*state = edge;
	return 0;
}

static int tear_down(void **state)
{
	struct edge *edge = *state;
	char cmd[PATH_MAX + 16];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", edge->p->conf.state);
	assert_int_equal(system(cmd), 0);
	nodes_fini(edge->p);
	ipc_free(edge->ipc);
	ipc_free(edge->p->edge.ipc);
	event_base_free(edge->p->base);
	free(edge->p);
	free(edge);
	return 0;
}

static void records_make(struct parent *p, unsigned n)
{
	char path[PATH_MAX + 64];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "%s/records", p->conf.state);
	assert_int_equal(mkdir(path, 0700), 0);
	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/records/%04u.record", p->conf.state, i);
		assert_int_equal(file_write(path, "x", 1, 0600, &e), 0);
	}
}

static void spin(struct edge *edge)
{
	for (int i = 0; i < 100; i++)
		event_base_loop(edge->p->base, EVLOOP_NONBLOCK);
}

static void stored_records_go_a_few_at_a_time(void **state)
{
	struct edge *edge = *state;
	unsigned before = 0;
	bool is_done = false;

	records_make(edge->p, STORED);
	nodes_send_stored(edge->p);
	for (unsigned turn = 1; !is_done; turn++) {
		spin(edge);
		assert_int_equal(edge->n_marks, turn);
		assert_true(edge->n_records > before && edge->n_records - before <= 256);
		before = edge->n_records;
		assert_false(nodes_stored_done(edge->p, edge->mark - 1)); /* of an earlier list */
		is_done = nodes_stored_done(edge->p, edge->mark);
	}
	assert_int_equal(edge->n_records, STORED);
	assert_non_null(strstr(edge->last, "0599.record"));
}

/* Their nodes may have ended while no daemon ran, or after they were withdrawn. */
static void what_ended_long_ago_is_not_kept(void **state)
{
	struct edge *edge = *state;
	struct timespec old[2] = { { .tv_sec = time(NULL) - ID_RECORD_LIFE_MAX_S - 60 } };
	char path[PATH_MAX + 64];

	old[1] = old[0];
	records_make(edge->p, 3);
	snprintf(path, sizeof(path), "%s/records/0001.record", edge->p->conf.state);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	nodes_send_stored(edge->p);
	spin(edge);
	assert_int_equal(edge->n_records, 2);
	assert_int_equal(access(path, F_OK), -1);
	assert_non_null(strstr(edge->last, "0002.record"));
}

static void a_second_list_takes_the_place_of_the_first(void **state)
{
	struct edge *edge = *state;
	uint64_t first;

	records_make(edge->p, 300);
	nodes_send_stored(edge->p);
	spin(edge);
	first = edge->mark;
	nodes_send_stored(edge->p);
	spin(edge);
	assert_false(nodes_stored_done(edge->p, first));
	assert_false(nodes_stored_done(edge->p, edge->mark)); /* 44 are left */
	spin(edge);
	assert_true(nodes_stored_done(edge->p, edge->mark));
	assert_int_equal(edge->n_records, 256 + 300);
}

static struct msg_node node_of(uint8_t n, int64_t end)
{
	struct msg_node m = { .node.record = { .n_addrs = 1, .epoch = 1, .not_after = end },
			      .node.claims = { .not_after = end + 100000 } };

	memset(m.node.record.instance_id, n, sizeof(m.node.record.instance_id));
	snprintf(m.node.record.node, sizeof(m.node.record.node), "node-%u", n);
	m.node.record.addrs[0].b[15] = n;
	return m;
}

static void nodes_are_found_by_instance_and_address_until_they_end(void **state)
{
	struct parent *p = ((struct edge *)*state)->p;
	int64_t now = time(NULL);

	records_make(p, 0);
	for (uint8_t n = 1; n <= 200; n++) {
		struct msg_node m = node_of(n, now + 1000 + n);

		assert_int_equal(node_upsert(p, &m, (const uint8_t *)"r", 1), 0);
	}
	for (uint8_t n = 1; n <= 200; n++) {
		struct msg_node m = node_of(n, 0);

		assert_non_null(node_find(p, m.node.record.instance_id));
		assert_string_equal(node_who(p, &m.node.record.addrs[0]).node, m.node.record.node);
	}
	nodes_expire(p, now + 1101); /* 1 to 100 */
	assert_int_equal(p->n_nodes, 100);
	for (uint8_t n = 1; n <= 200; n++) {
		struct msg_node m = node_of(n, 0);

		assert_int_equal(node_find(p, m.node.record.instance_id) != NULL, n > 100);
		assert_int_equal(node_who(p, &m.node.record.addrs[0]).node != NULL, n > 100);
	}
	nodes_expire(p, now + 5000);
	assert_int_equal(p->n_nodes, 0);
}

static void a_renewed_record_lives_and_its_old_address_has_no_name(void **state)
{
	struct parent *p = ((struct edge *)*state)->p;
	struct msg_node m = node_of(7, time(NULL) + 10), other = node_of(8, time(NULL) + 5000);
	struct by_addr old = m.node.record.addrs[0];

	records_make(p, 0);
	assert_int_equal(node_upsert(p, &m, (const uint8_t *)"r", 1), 0);
	assert_int_equal(node_upsert(p, &other, (const uint8_t *)"r", 1), 0);
	m.node.record.not_after += 2000;
	m.node.digest[0]++;
	m.node.record.addrs[0].b[15] = 77;
	assert_int_equal(node_upsert(p, &m, (const uint8_t *)"r", 1), 0);
	nodes_expire(p, time(NULL) + 1000);
	assert_int_equal(p->n_nodes, 2);
	assert_null(node_who(p, &old).node);
	assert_string_equal(node_who(p, &m.node.record.addrs[0]).node, "node-7");
	nodes_expire(p, time(NULL) + 3000);
	assert_int_equal(p->n_nodes, 1);
}

/* --- what outlives a record --- */

static void seen_at(const struct parent *p, uint8_t n, char record[PATH_MAX], char path[PATH_MAX])
{
	int at = snprintf(record, PATH_MAX, "%s/records/", p->conf.state);

	for (unsigned i = 0; i < BY_INSTANCE_ID_LEN; i++)
		at += snprintf(record + at, PATH_MAX - (size_t)at, "%02x", n);
	snprintf(record + at, PATH_MAX - (size_t)at, ".record");
	seen_path(record, path);
}

static void known(struct parent *p, uint8_t n, uint64_t epoch, int64_t end)
{
	struct msg_node m = node_of(n, end);

	m.node.record.epoch = epoch;
	memset(m.node.digest, (int)epoch, sizeof(m.node.digest));
	assert_int_equal(node_upsert(p, &m, (const uint8_t *)"r", 1), 0);
}

/* What an edge that starts is told. */
static size_t told(struct edge *edge)
{
	struct err e = ERR_INIT;

	edge->n_seen = 0;
	assert_int_equal(seen_send(edge->p, &e), 0);
	spin(edge);
	return edge->n_seen;
}

static void an_epoch_outlives_its_record(void **state)
{
	struct edge *edge = *state;
	struct parent *p = edge->p;
	char record[PATH_MAX], path[PATH_MAX];
	int64_t end = time(NULL) + 100;
	uint64_t since;

	records_make(p, 0);
	seen_at(p, 1, record, path);
	known(p, 1, 7, end);
	assert_int_equal(told(edge), 1);
	known(p, 1, 8, end);
	since = p->nodes[0]->since;
	nodes_expire(p, end + 1);
	assert_int_equal(p->n_nodes, 0);
	assert_int_equal(access(record, F_OK), -1);
	assert_int_equal(told(edge), 1);
	assert_int_equal(edge->seen[0].epoch, 8);
	assert_int_equal(edge->seen[0].until, end + ID_RECORD_LIFE_MAX_S);
	assert_int_equal(edge->seen[0].digest[31], 8);
	assert_int_equal(edge->seen[0].instance_id[19], 1);
	known(p, 1, 9, end); /* it is a newcomer then: who came meanwhile has its name */
	assert_true(p->nodes[0]->since > since);
	node_revoke(p, p->nodes[0]);
	assert_int_equal(told(edge), 1);
	assert_int_equal(edge->seen[0].epoch, 9);
}

static void it_is_forgotten_when_nothing_older_can_be_valid(void **state)
{
	struct edge *edge = *state;
	struct parent *p = edge->p;
	struct timespec old[2] = { { .tv_sec = time(NULL) - 2 * ID_RECORD_LIFE_MAX_S - 60 } };
	char record[PATH_MAX], path[PATH_MAX];

	old[1] = old[0];
	records_make(p, 0);
	known(p, 1, 7, time(NULL) - ID_RECORD_LIFE_MAX_S + 100);
	known(p, 2, 7, time(NULL) - ID_RECORD_LIFE_MAX_S - 100);
	assert_int_equal(told(edge), 1);
	assert_int_equal(edge->seen[0].instance_id[0], 1);
	seen_at(p, 2, record, path);
	assert_int_equal(access(path, F_OK), -1);
	seen_at(p, 1, record, path);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	seen_tick(p, time(NULL) + 100); /* looks once a day */
	assert_int_equal(access(path, F_OK), 0);
	seen_tick(p, time(NULL) + 86401);
	assert_int_equal(access(path, F_OK), -1);
}

static void a_memory_that_can_not_be_read_lets_nobody_in(void **state)
{
	static const char *const broken[] = {
		"",
		"garbage\n",
		"quote 1 2",
		"quote 1 2 7\n",
		"nothing 1 2\n",
		"off 0 5 7 1999999999 0707070707070707070707070707070707070707070707070707070707070707",
		"off 0 5 7 1999999999 070707\n",
		"off 0 5 0 1999999999 0707070707070707070707070707070707070707070707070707070707070707\n",
		"off 0 5 7 1999999999 0707070707070707070707070707070707070707070707070707070707070707\nmore\n",
	};
	struct edge *edge = *state;
	char record[PATH_MAX], path[PATH_MAX];
	struct err e = ERR_INIT;

	records_make(edge->p, 0);
	seen_at(edge->p, 3, record, path);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		assert_int_equal(file_write(path, broken[i], strlen(broken[i]), 0600, &e), 0);
		assert_int_equal(told(edge), 1);
		assert_true(edge->seen[0].epoch == ID_EPOCH_LOST);
		assert_int_equal(edge->seen[0].instance_id[0], 3);
		assert_true(edge->seen[0].until >= time(NULL) + 2 * ID_RECORD_LIFE_MAX_S - 60);
	}
	assert_int_equal(file_write(path, "quote 1 2\n", 10, 0600, &e), 0); /* an earlier daemon's */
	assert_int_equal(told(edge), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0); /* what is no file can not be read either */
	assert_int_equal(told(edge), 1);
	assert_true(edge->seen[0].epoch == ID_EPOCH_LOST);
}

static void without_its_directory_nothing_is_known(void **state)
{
	struct edge *edge = *state;
	struct err e = ERR_INIT;

	assert_int_equal(seen_send(edge->p, &e), -ENOENT);
	assert_non_null(strstr(e.where, "/records"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stored_records_go_a_few_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_ended_long_ago_is_not_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_second_list_takes_the_place_of_the_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nodes_are_found_by_instance_and_address_until_they_end, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_renewed_record_lives_and_its_old_address_has_no_name, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_epoch_outlives_its_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_forgotten_when_nothing_older_can_be_valid, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_memory_that_can_not_be_read_lets_nobody_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_its_directory_nothing_is_known, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("baileyd/nodes", tests, NULL, NULL);
}
