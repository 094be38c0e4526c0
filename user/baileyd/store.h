/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policies that decide and decided, texts and all, in one file of the state directory. It is replaced as a whole,
 * so that whatever dies when, the file is the one before or the one after.
 */
#pragma once

#include "base/err.h"
#include "policy/sources.h"

#define STORE_FILE "policy.json"

/* One policy; shared, freed with its last user. */
struct stored {
	unsigned users;
	bool is_applied; /* handed over by a person; else read from the configured files */
	int64_t at;      /* unix seconds: when it was taken */
	uint8_t digest[32];
	struct pol_sources sources;
};

struct store {
	struct stored *current, *previous; /* NULL: none */
	/* of the configured files when a person last chose, zeros where they were not good: files that changed since
	 * are a newer choice */
	uint8_t configured[32];
	int64_t trial_until; /* unix seconds; 0: none. A policy decides that waits to be confirmed; it is not here. */
	uint8_t trial_digest[32];
};

struct stored *stored_new(struct pol_sources *sources, bool is_applied, int64_t at); /* takes sources over; or NULL */
struct stored *stored_use(struct stored *s);                                         /* accepts NULL */
void stored_drop(struct stored *s);                                                  /* accepts NULL */

struct store store_copy(const struct store *s);
void store_fini(struct store *s);
/* -ENOENT: there is none. Another error: it can not be used, `e` says why. */
int store_read(const char *path, struct store *s, struct err *e);
int store_write(const char *path, const struct store *s, struct err *e); /* mode 0600 */
