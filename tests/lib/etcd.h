/* SPDX-License-Identifier: Apache-2.0 */
/* A real etcd of one member, on loopback, for tests; ended with its data by etcd_stop. */
#pragma once

#include <stdbool.h>

#include "vpcd/etcd.h"

/* Fails the program when it can not be started. conf: its endpoint, and a prefix that nobody has used. */
void etcd_start(struct etcd_conf *conf);
int etcd_stop(void **state); /* a group's tear-down */
void etcd_pause(bool pause); /* SIGSTOP, SIGCONT: it answers nothing, and its connections stay */
/* Another server was first, or a loaded machine's etcd was late: whoever asks a store asks again. */
bool etcd_is_late(int ret);

/* A group of tests on etcd; where it is not installed, one that says so is skipped in their place. */
#define etcd_run(name, tests)                                                                                          \
	(etcd_is_installed() ? cmocka_run_group_tests_name(name, tests, NULL, etcd_stop) : etcd_run_none(name))
bool etcd_is_installed(void);
int etcd_run_none(const char *name);
