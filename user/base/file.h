/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files, bounded; writes are atomic (temporary file, fsync, rename). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/* Reads at most max bytes; a longer file is -EFBIG. *data is NUL-terminated beyond *len, the caller frees it. */
int file_read(const char *path, size_t max, char **data, size_t *len, struct err *e);
/* "-" reads standard input. */
int file_read_arg(const char *path, size_t max, char **data, size_t *len, struct err *e);
/* What is at a path: a file's text or the names in a folder. */
struct file_found {
	uint64_t id[2]; /* the same whatever path leads there */
	bool is_dir;
	char *text; /* owned, as is all below */
	size_t len;
	char **name; /* in a folder, without those that begin with a dot; in byte order */
	size_t n;
};

void file_found_fini(struct file_found *found);
/* For code that has no files of its own: this, or a test's own. */
typedef int (*file_get_fn)(void *arg, const char *path, size_t max, struct file_found *found, struct err *e);
#define FILE_NAMES_MAX 65536u
int file_get(void *unused, const char *path, size_t max, struct file_found *found, struct err *e);
int file_write(const char *path, const void *data, size_t len, mode_t mode, struct err *e);
/* mkdir -p; the last part gets `mode`, parents 0755. */
int dir_make(const char *path, mode_t mode, struct err *e);
