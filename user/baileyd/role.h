/* SPDX-License-Identifier: Apache-2.0 */
/* The processes' main functions. A child finds its channel at IPC_CHILD_FD. Each returns the exit status. */
#pragma once

#include <sys/types.h>

#include "conf.h"

/* Reads all that a start would read; 0 or 1 with the reasons on standard error. */
int parent_check(const struct conf *conf);
int parent_run(const struct conf *conf);
int role_net(void);
int role_edge(uid_t uid, gid_t gid);
int role_fetch(uid_t uid, gid_t gid);
int role_status(uid_t uid, gid_t gid);
int role_dns(uid_t uid, gid_t gid);
