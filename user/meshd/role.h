/* SPDX-License-Identifier: Apache-2.0 */
/* The processes' main functions; each returns the exit status. A child finds its channel at IPC_CHILD_FD. */
#pragma once

#include <sys/types.h>

#include "conf.h"

/* take_over: in the place of the process that runs this instance, if one does. */
int md_parent(const struct md_conf *conf, bool take_over);
/* Reads all that a start would read; 0 or 1 with the reasons on standard error. */
int md_parent_check(const struct md_conf *conf);
int md_role_key(uid_t uid, gid_t gid);
int md_role_worker(uid_t uid, gid_t gid, bool with_agent); /* with_agent: it may open Unix sockets */
