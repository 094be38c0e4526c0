/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Located diagnostics: all problems of all files at once, file by file, in the order of the text. Printed as
 * `policy/web.yaml:14:7: rules[2].allow[0]: port 70000 is above 65535`.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

struct diag {
	char *file;         /* as the caller named it */
	unsigned line, col; /* from 1 */
	char *path;         /* "rules[2].allow[0]", may be empty */
	char *msg;          /* what was found, what was needed */
	int is_warning;
	unsigned rank; /* of the file among those that were named */
};

struct diags {
	struct diag *item; /* owned */
	size_t n, n_errors;
	char **file; /* owned: names in the order in which they came up */
	size_t n_files;
};

#define DIAGS_MAX 100 /* after that one last item says that there are more */

void diags_fini(struct diags *d);
/* Problems of this file come before those of files that are named later. A problem names its file, too. */
unsigned diags_file(struct diags *d, const char *file);
void diags_add(struct diags *d, const char *file, unsigned line, unsigned col, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
void diags_warn(struct diags *d, const char *file, unsigned line, unsigned col, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
void diags_print(const struct diags *d, FILE *to);
/* The first error as an err, for callers that can show only one. Returns -EINVAL, or 0 when there is none. */
int diags_first(const struct diags *d, struct err *e);
