/* SPDX-License-Identifier: Apache-2.0 */
/* The userspace WireGuard's text protocol over its UNIX socket (wireguard.com/xplatform). */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "model.h"

#define OV_UAPI_DIR "/var/run/wireguard"
#define OV_UAPI_MAX (16 * 1024 * 1024) /* of an answer */

const char *ov_uapi_path(char buf[static 64], const char *name);
/* -ENOENT: no socket; -ECONNREFUSED: a socket that a dead process left. */
int ov_uapi_connect(const char *name, int *fd);
/* 1: the process behind the socket is in another network namespace; 0: it is in ours, or we may not know. */
int ov_uapi_is_foreign(int fd);

int ov_uapi_get(const char *name, struct ov_device *dev, struct err *e);
int ov_uapi_set(const char *name, const struct ov_device *want, const struct ov_diff *diff, struct err *e);

/* Pure halves. A text is lines `key=value`, the last pair errno, then an empty line. */
int ov_uapi_parse(const char *text, size_t len, const char *where, struct ov_device *dev, struct err *e);
void ov_uapi_print_set(struct out *out, const struct ov_device *want, const struct ov_diff *diff);
