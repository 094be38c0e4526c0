/* SPDX-License-Identifier: Apache-2.0 */
/* A real etcd of one member, on loopback, for tests; ended with its data by etcd_stop(). */
#pragma once

#include <stdbool.h>

#include "vpcd/etcd.h"

bool etcd_is_installed(void);
/* Fails the program when it can not be started. conf: its endpoint, and a prefix that nobody has used. */
void etcd_start(struct etcd_conf *conf);
void etcd_stop(void);
void etcd_pause(bool pause); /* SIGSTOP, SIGCONT: it answers nothing, and its connections stay */
/* Another server was first, or a loaded machine's etcd was late: whoever asks a store asks again. */
bool etcd_is_late(int ret);
