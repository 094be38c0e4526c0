/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that a program is split into, and whom they become. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

/* A user of that name who is not root. -EINVAL: there is none; `where` is the setting that names it. */
int user_find(const char *where, const char *name, uid_t *uid, gid_t *gid, struct err *e);

/* Children that end with their parent, and their parent with them. A pid of 0 is none. */

/* In the child, after fork: no signal is blocked, it is killed when its parent ends, and log lines carry this name. */
void child_begin(const char *name, pid_t parent);
/* What was answered is on disk, the rest was not answered: they are killed, and gone when this returns. */
void children_kill(pid_t *pids, size_t n);
/* Takes one that has ended, and says so. */
bool children_reap(pid_t *pids, const char *const *names, size_t n);
