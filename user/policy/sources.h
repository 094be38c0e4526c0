/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy of several files. They are read before anything is judged: what a person names, folders, and what the files
 * include. Reading is the caller's (file_get, or a test's memory), so that this room stays without files.
 */
#pragma once

#include "base/file.h"
#include "policy.h"

#define POL_FILES_MAX   1024u /* files of one policy; POL_TEXT_MAX bounds all together */
#define POL_INCLUDE_MAX 16u   /* files that include each other, one within the other */
#define POL_PATH_MAX    1024u

struct yaml_doc;

struct pol_text {
	char *name, *text; /* owned; as diagnostics carry it */
	size_t len;
	struct yaml_doc *doc; /* owned; NULL: not parsed yet */
};

/* In the order in which they were named, each before what it includes. */
struct pol_sources {
	struct pol_text *text;
	size_t n, bytes;
};

void pol_sources_fini(struct pol_sources *s);
/* Copies both. -E2BIG or -ENOMEM, said in `e`. */
int pol_sources_add(struct pol_sources *s, const char *name, const char *text, size_t len, struct err *e);
/*
 * Reads `paths`: files, folders (their *.yaml in byte order), "-" where `get` knows it. 0; -EINVAL with the reasons in
 * `d`; another error, in `e`, for a path that can not be read at all.
 */
int pol_sources_load(struct pol_sources *s, const char *const *paths, size_t n, file_get_fn get, void *arg,
		     struct diags *d, struct err *e);
/* As pol_parse() and pol_parse_warn(). What a file includes must be there. */
int pol_sources_parse(struct pol_sources *s, bool with_warnings, struct pol_model **model, struct diags *d);

/* What `item` means in the file `from`; NULL, or why it can not be included. */
const char *pol_include_path(const char *from, const char *item, char path[POL_PATH_MAX]);
/* The file `path`, or files in the folder `path`. */
bool pol_sources_has(const struct pol_sources *s, const char *path);
/* One file: the SHA-256 of its text. Several: of the lines that sha256sum prints about them. */
int pol_sources_digest(const struct pol_sources *s, uint8_t digest[32]);
/* Frees what parsing left; the texts stay. */
void pol_sources_settle(struct pol_sources *s);
