// SPDX-License-Identifier: Apache-2.0
#include "vpcstore.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define NOW 1790000000

struct vs_store *store;
struct vs_limits limits, usual_limits = { .numbers = 1000, .max_nodes = 1000 };
char store_path[128];
static char dir[64];
static struct etcd_conf etcd; /* n_endpoints 0: a file */
static const struct etcd_pems no_pems;

struct vs_store *store_another(void)
{
	struct vs_store *made = NULL;

	for (int i = 0, ret = -EAGAIN; i < 5 && etcd_is_late(ret); i++) {
		struct err e = ERR_INIT;

		vs_store_close(made);
		made = NULL;
		ret = etcd.n_endpoints ? vs_store_open_shared(&etcd, &no_pems, &made, &e)
				       : vs_store_open(store_path, &made, &e);
		if (!ret && etcd.n_endpoints)
			ret = vs_store_load(made, &e);
	}
	assert_non_null(made);
	return made;
}

void store_reopen(void)
{
	vs_store_close(store);
	store = store_another();
}

int store_start(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/by-vpcstore-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(store_path, sizeof(store_path), "%s/vpc.db", dir);
	limits = usual_limits;
	store = NULL;
	store_reopen();
	return 0;
}

int store_start_on_etcd(void **state)
{
	etcd_start(&etcd);
	return store_start(state);
}

int store_stop(void **state)
{
	char command[160];

	(void)state;
	etcd.n_endpoints = 0;
	vs_store_close(store);
	store = NULL;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

void store_begin(void)
{
	struct err e = ERR_INIT;

	assert_int_equal(vs_store_begin(store, &e), 0);
}

bool store_commit(void)
{
	struct err e = ERR_INIT;
	int ret = vs_store_commit(store, &e);

	if (etcd.n_endpoints && etcd_is_late(ret))
		return false;
	assert_int_equal(ret, 0);
	return true;
}

const char *store_join(uint8_t n, uint8_t key, int64_t now)
{
	struct vs_who who = { .from = "192.0.2.1:1", .has_key = key != 0 };
	uint32_t number = 0;
	struct err e;
	int ret;

	memset(who.instance_id, n, sizeof(who.instance_id));
	memset(who.app_id, 0xaa, sizeof(who.app_id));
	memset(who.key, key, sizeof(who.key));
	snprintf(who.node, sizeof(who.node), "node-%u", n);
	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_store_grant(store, &who, &limits, now, &number, &e);
	} while (!store_commit());
	assert_true(ret || number);
	return !ret ? "" : e.reason ? id_reason_name(e.reason) : "-";
}

void store_publish(uint8_t n, int64_t not_after)
{
	struct vs_record r = { .epoch = 5, .not_after = not_after };
	uint64_t serial;
	struct err e;
	int ret;

	memset(r.instance_id, n, sizeof(r.instance_id));
	memset(r.wg_key, n, sizeof(r.wg_key));
	memset(r.digest, n, sizeof(r.digest));
	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_store_publish(store, &r, "bytes", 5, NOW, &serial, &e);
	} while (!store_commit());
	assert_int_equal(ret, 0);
}

void store_set(uint8_t n, enum vs_state to)
{
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint64_t serial;
	struct err e;
	int ret;

	memset(instance_id, n, sizeof(instance_id));
	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_store_set(store, instance_id, to, NOW, &serial, &e);
	} while (!store_commit());
	assert_int_equal(ret, 0);
}

void store_end(int64_t now)
{
	struct err e;
	int ret;

	do {
		e = ERR_INIT;
		store_begin();
		ret = vs_store_end(store, now, &e);
	} while (!store_commit());
	assert_int_equal(ret, 0);
	assert_false(vs_store_has_ended(store, now));
}
