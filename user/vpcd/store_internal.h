/* SPDX-License-Identifier: Apache-2.0 */
/* What store.c (the decisions, in SQL), store_rows.c (rows as etcd's values) and store_etcd.c share; for them alone. */
#pragma once

#include <errno.h>
#include <openssl/rand.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "store.h"

#define STORE   "store"
#define KEY_LEN 256 /* of a key in etcd, NUL included */

struct vs_shared;

struct vs_store {
	sqlite3 *db;
	uint8_t network[VPC_NETWORK];
	uint64_t serial, serial_before; /* before: at begin */
	struct vs_shared *shared;       /* NULL: this file is all there is */
};

typedef sqlite3_stmt stmt;
DEFINE_CLEANUP(stmt, stmt, sqlite3_finalize)
#define auto_stmt auto_call(cleanup_stmt) stmt

static inline int store_failed(const struct vs_store *s, struct err *e)
{
	return err_at(e, -EIO, STORE, "%s", s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

static inline int store_run(const struct vs_store *s, const char *sql, struct err *e)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_failed(s, e);
}

static inline stmt *prepare(const struct vs_store *s, const char *sql)
{
	stmt *st = NULL;

	sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
	return st;
}

/* Runs one that answers nothing. */
static inline int done(const struct vs_store *s, stmt *st, struct err *e)
{
	return st && sqlite3_step(st) == SQLITE_DONE ? 0 : store_failed(s, e);
}

static inline void bind_blob(stmt *st, int at, const void *p, size_t len)
{
	sqlite3_bind_blob(st, at, p, (int)len, SQLITE_STATIC);
}

static inline void bind_int(stmt *st, int at, int64_t v)
{
	sqlite3_bind_int64(st, at, v);
}

static inline void bind_text(stmt *st, int at, const char *text)
{
	sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
}

static inline bool column_bytes(stmt *st, int at, void *dst, size_t len)
{
	if (sqlite3_column_bytes(st, at) != (int)len)
		return false;
	memcpy(dst, sqlite3_column_blob(st, at), len);
	return true;
}

static inline void column_copy(stmt *st, int at, char *dst, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(st, at);

	snprintf(dst, size, "%s", text ? text : "");
}

/* The answer to a question about one number; -1: failed. `sql` has no parameters. */
static inline int64_t ask_int(const struct vs_store *s, const char *sql)
{
	auto_stmt *st = prepare(s, sql);

	return st && sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
}

int store_migrate(struct vs_store *s, const char *path, struct err *e);
int store_each(struct vs_store *s, const char *where, vs_row_fn fn, void *arg, struct err *e);

/* --- store_keys.c --- */

/* Whether the key that `who` shows admits it: it is used then. AUTH_KEY. */
int key_use(const struct vs_store *s, const struct vs_who *who, int64_t now, uint32_t *is_ephemeral, struct err *e);

/* --- store_api.c --- */

/*
 * Whether a row of api_node lives at `now`, a number or parameter: as long as its own lease, or the record of the
 * instance that owns it; and not when that was revoked.
 */
#define API_LIVES(now)                                                                                                 \
	"((expires >= " #now " OR EXISTS (SELECT 1 FROM node n WHERE n.instance = api_node.instance AND n.state = 1 "  \
	"AND n.record IS NOT NULL AND n.not_after >= " #now ")) AND NOT EXISTS (SELECT 1 FROM node n WHERE "           \
	"n.instance = api_node.instance AND n.state = 2))"

/* --- store_rows.c: a row is the key TABLE/NUMBER, its value JSON; what changed is noted by triggers --- */

int rows_note(struct vs_store *s, struct err *e); /* from now on */
/* How many keys the changes so far are, and about how many bytes. */
int rows_size(const struct vs_store *s, size_t *n, size_t *bytes, struct err *e);
int rows_clear(const struct vs_store *s, struct err *e); /* all of all tables */
int rows_forget(const struct vs_store *s, struct err *e);
/* text NULL: there is none any more. <0 ends it. */
typedef int (*row_text_fn)(const char *key, const char *text, void *arg);
int rows_changed(const struct vs_store *s, row_text_fn fn, void *arg, struct err *e);
int row_drop(const struct vs_store *s, const char *key, struct err *e);
/* Only where its key, and whatever is unique, is free: see row_drop(). */
int row_put(const struct vs_store *s, const char *key, const char *text, size_t len, struct err *e);

/* --- store_etcd.c --- */

int shared_commit(struct vs_store *s, struct err *e);
void shared_free(struct vs_shared *shared); /* accepts NULL */
