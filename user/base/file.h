/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files, bounded; writes are atomic (temporary file, fsync, rename). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "err.h"

/* Reads at most max bytes; a longer file is -EFBIG. *data is NUL-terminated beyond *len, the caller frees it. */
int file_read(const char *path, size_t max, char **data, size_t *len, struct err *e);
/* "-" reads standard input. */
int file_read_arg(const char *path, size_t max, char **data, size_t *len, struct err *e);
int file_write(const char *path, const void *data, size_t len, mode_t mode, struct err *e);
/* mkdir -p; the last part gets `mode`, parents 0755. */
int dir_make(const char *path, mode_t mode, struct err *e);
