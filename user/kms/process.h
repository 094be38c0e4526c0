/* SPDX-License-Identifier: Apache-2.0 */
/* What the three processes share. */
#pragma once

#include <sys/types.h>

#include "kms.h"

/* Becomes conf->user in the given box; without root there is no other user to become. */
int kms_box(const struct kms_conf *conf, int (*box)(uid_t uid, gid_t gid, struct err *e), struct err *e);
/* Says so and returns the exit status. */
int kms_process_failed(const char *process, int code, const struct err *e);
