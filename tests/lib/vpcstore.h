/* SPDX-License-Identifier: Apache-2.0 */
/* A control plane's store for tests that run on a file and on a real etcd: nodes 1, 2, .. of instance 0101.., 0202.. */
#pragma once

#include "vpcd/store.h"
#include "etcd.h"

extern struct vs_store *store;
extern struct vs_limits limits, usual_limits; /* of this test, which begins with the usual ones */
extern char store_path[128];                  /* the file; what is beside it goes with it */

/* Set-up and tear-down of a test. */
int store_start(void **state);
int store_start_on_etcd(void **state);
int store_stop(void **state);
#define store_run(name, on_file, on_etcd)                                                                              \
	(cmocka_run_group_tests_name(name " on SQLite", on_file, NULL, NULL) + etcd_run(name " on etcd", on_etcd))

void store_reopen(void);
struct vs_store *store_another(void); /* of the same network */
void store_begin(void);
bool store_commit(void); /* false: all of it is to be asked again */

/* The name of the refusal, "" where there is none. key 0: it shows none. */
const char *store_join(uint8_t n, uint8_t key, int64_t now);
void store_publish(uint8_t n, int64_t not_after);
void store_set(uint8_t n, enum vs_state to);
void store_end(int64_t now); /* what is over */
