// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <openssl/rand.h>

#include "base/text.h"
#include "store_internal.h"

#define WHERE      STORE
#define BUSY_MS    5000
#define RESERVE_S  60 /* a name and a number are kept this long for a node that was granted them and says nothing */
#define PREFIX_MIN 8  /* digits of an instance-id that name it */

#define failed store_failed
#define run    store_run

/* --- what the file looks like: one step for each version, never changed once it was released --- */

static const char *const migration[] = {
	"CREATE TABLE meta (network BLOB NOT NULL, serial INTEGER NOT NULL);"
	"CREATE TABLE node ("
	" instance BLOB PRIMARY KEY NOT NULL CHECK (length(instance) = 20),"
	" app BLOB NOT NULL, name TEXT UNIQUE, origin TEXT NOT NULL, simulated INTEGER NOT NULL,"
	" number INTEGER NOT NULL UNIQUE, state INTEGER NOT NULL,"
	" serial INTEGER NOT NULL, lifted INTEGER NOT NULL, joined INTEGER NOT NULL, not_after INTEGER NOT NULL,"
	" epoch INTEGER NOT NULL DEFAULT 0, wg_key BLOB UNIQUE, digest BLOB, record BLOB) WITHOUT ROWID;"
	"CREATE INDEX node_serial ON node (serial);"
	"CREATE INDEX node_end ON node (not_after);",
	/* ephemeral: 1, or NULL */
	"ALTER TABLE node ADD COLUMN ephemeral INTEGER;"
	"CREATE TABLE authkey ("
	" number INTEGER PRIMARY KEY NOT NULL, hash BLOB NOT NULL UNIQUE, origin TEXT NOT NULL,"
	" reusable INTEGER NOT NULL, ephemeral INTEGER NOT NULL, revoked INTEGER NOT NULL,"
	" created INTEGER NOT NULL, expires INTEGER NOT NULL, instance BLOB,"
	" used_by BLOB, used INTEGER NOT NULL, uses INTEGER NOT NULL);"
	"CREATE TABLE api_node ("
	" number INTEGER PRIMARY KEY NOT NULL, uuid TEXT NOT NULL UNIQUE, app BLOB NOT NULL, instance BLOB,"
	" type TEXT, ip TEXT, hostname TEXT, updated INTEGER NOT NULL, expires INTEGER NOT NULL);",
};

static int version_of(const struct vs_store *s)
{
	auto_stmt *st = prepare(s, "PRAGMA user_version");

	return st && sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : -1;
}

static int network_make(struct vs_store *s, struct err *e)
{
	auto_stmt *st = prepare(s, "INSERT INTO meta (network, serial) VALUES (?, 0)");

	if (RAND_bytes(s->network, sizeof(s->network)) != 1)
		return err_at(e, -EIO, WHERE, "no randomness for a network's id");
	if (st)
		bind_blob(st, 1, s->network, sizeof(s->network));
	return done(s, st, e);
}

int store_migrate(struct vs_store *s, const char *path, struct err *e)
{
	int at = version_of(s), ret = at < 0 ? failed(s, e) : 0;
	char sql[64];

	if (at > (int)ARRAY_LEN(migration))
		return err_at(e, -EPROTO, path, "is of version %d, this program knows %zu", at, ARRAY_LEN(migration));
	for (; !ret && at < (int)ARRAY_LEN(migration); at++) {
		snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", at + 1);
		ret = run(s, "BEGIN IMMEDIATE", e);
		if (!ret)
			ret = run(s, migration[at], e);
		if (!ret && !at)
			ret = network_make(s, e);
		if (!ret)
			ret = run(s, sql, e);
		if (!ret)
			ret = run(s, "COMMIT", e);
	}
	return ret;
}

static int meta_read(struct vs_store *s, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT network, serial FROM meta");

	if (!st || sqlite3_step(st) != SQLITE_ROW || !column_bytes(st, 0, s->network, sizeof(s->network)))
		return err_at(e, -EBADMSG, WHERE, "has no network's id");
	s->serial = (uint64_t)sqlite3_column_int64(st, 1);
	return 0;
}

/* SQLite's words, and the system's: whose file or folder it is, say, must be for its user. */
static int open_failed(const struct vs_store *s, const char *path, struct err *e)
{
	int sys = s->db ? sqlite3_system_errno(s->db) : 0;

	return err_at(e, -EIO, path, "%s%s%s", s->db ? sqlite3_errmsg(s->db) : "out of memory", sys ? ": " : "",
		      sys ? strerror(sys) : "");
}

int vs_store_open(const char *path, struct vs_store **store, struct err *e)
{
	struct vs_store *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return err_at(e, -ENOMEM, path, "out of memory");
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
		ret = open_failed(s, path, e);
	else
		ret = 0;
	if (!ret) {
		sqlite3_busy_timeout(s->db, BUSY_MS);
		/* FULL: what was acknowledged survives the machine, not only the process */
		ret = run(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", e);
	}
	if (!ret)
		ret = store_migrate(s, path, e);
	if (!ret)
		ret = meta_read(s, e);
	if (ret < 0) {
		vs_store_close(s);
		return err_wrap(e, "%.150s", path);
	}
	*store = s;
	return 0;
}

void vs_store_close(struct vs_store *s)
{
	if (!s)
		return;
	shared_free(s->shared);
	sqlite3_close(s->db);
	free(s);
}

const uint8_t *vs_store_network(const struct vs_store *s)
{
	return s->network;
}

uint64_t vs_store_serial(const struct vs_store *s)
{
	return s->serial;
}

/* --- changes --- */

int vs_store_begin(struct vs_store *s, struct err *e)
{
	if (!vs_store_is_loaded(s))
		return err_at(e, -EHOSTUNREACH, "store", "waits for etcd");
	s->serial_before = s->serial;
	return run(s, "BEGIN IMMEDIATE", e);
}

int vs_store_commit(struct vs_store *s, struct err *e)
{
	auto_stmt *st = prepare(s, "UPDATE meta SET serial = ?");
	int ret;

	if (st)
		bind_int(st, 1, (int64_t)s->serial);
	ret = done(s, st, e);
	if (!ret && s->shared)
		return shared_commit(s, e);
	return ret ? ret : run(s, "COMMIT", e);
}

/* Microseconds: above every serial of the past, also those after the backup that a store was put back from. */
static uint64_t next_serial(struct vs_store *s, int64_t now)
{
	uint64_t clock = (uint64_t)now * 1000000;

	s->serial = s->serial < clock ? clock : s->serial + 1;
	return s->serial;
}

void vs_store_resume(struct vs_store *s, int64_t now)
{
	next_serial(s, now);
}

#define COLUMNS                                                                                                        \
	"instance, app, name, origin, simulated, number, state, serial, lifted, joined, not_after, epoch, wg_key, "    \
	"digest, record, ephemeral"

static void row_read(stmt *st, struct vs_row *row)
{
	const char *name = (const char *)sqlite3_column_text(st, 2), *from = (const char *)sqlite3_column_text(st, 3);

	*row = (struct vs_row){ .who = { .is_simulated = (uint32_t)sqlite3_column_int(st, 4) },
				.number = (uint32_t)sqlite3_column_int64(st, 5),
				.state = (enum vs_state)sqlite3_column_int(st, 6),
				.serial = (uint64_t)sqlite3_column_int64(st, 7),
				.lifted = (uint64_t)sqlite3_column_int64(st, 8),
				.joined = sqlite3_column_int64(st, 9),
				.record = { .not_after = sqlite3_column_int64(st, 10),
					    .epoch = (uint64_t)sqlite3_column_int64(st, 11) },
				.is_ephemeral = (uint32_t)sqlite3_column_int(st, 15) };
	column_bytes(st, 0, row->who.instance_id, BY_INSTANCE_ID_LEN);
	column_bytes(st, 1, row->who.app_id, BY_APP_ID_LEN);
	snprintf(row->who.node, sizeof(row->who.node), "%s", name ? name : "");
	snprintf(row->who.from, sizeof(row->who.from), "%s", from ? from : "");
	memcpy(row->record.instance_id, row->who.instance_id, BY_INSTANCE_ID_LEN);
	row->has_record = column_bytes(st, 12, row->record.wg_key, sizeof(row->record.wg_key)) &&
			  column_bytes(st, 13, row->record.digest, sizeof(row->record.digest));
}

/* 0, -ENOENT without words, or an error. */
static int row_of(const struct vs_store *s, const uint8_t *instance_id, struct vs_row *row, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT " COLUMNS " FROM node WHERE instance = ?");
	int got;

	if (!st)
		return failed(s, e);
	bind_blob(st, 1, instance_id, BY_INSTANCE_ID_LEN);
	got = sqlite3_step(st);
	if (got == SQLITE_DONE)
		return -ENOENT;
	if (got != SQLITE_ROW)
		return failed(s, e);
	row_read(st, row);
	return 0;
}

/* A name is its node's until the lease ends; then whoever asks has it. */
static int name_free(const struct vs_store *s, const struct vs_who *who, int64_t now, struct err *e)
{
	auto_stmt *st =
		prepare(s, "SELECT lower(hex(instance)) FROM node WHERE name = ? AND instance <> ? AND not_after >= ? "
			   "AND state <> ?");
	auto_stmt *take = prepare(s, "UPDATE node SET name = NULL WHERE name = ? AND instance <> ?");
	int got;

	if (!st || !take)
		return failed(s, e);
	sqlite3_bind_text(st, 1, who->node, -1, SQLITE_STATIC);
	bind_blob(st, 2, who->instance_id, BY_INSTANCE_ID_LEN);
	bind_int(st, 3, now);
	bind_int(st, 4, VS_REVOKED);
	got = sqlite3_step(st);
	if (got == SQLITE_ROW)
		return err_reason(e, ID_RECORD_NAME, WHERE, "the name %s belongs to instance %.40s", who->node,
				  (const char *)sqlite3_column_text(st, 0));
	sqlite3_bind_text(take, 1, who->node, -1, SQLITE_STATIC);
	bind_blob(take, 2, who->instance_id, BY_INSTANCE_ID_LEN);
	return got == SQLITE_DONE ? done(s, take, e) : failed(s, e);
}

/* The number of the one that ended first goes to another. Nobody believes its old records: they have ended. */
static int number_reuse(const struct vs_store *s, int64_t now, uint32_t *number, struct err *e)
{
	auto_stmt *st =
		prepare(s, "SELECT number FROM node WHERE not_after < ? AND state = ? ORDER BY not_after LIMIT 1");
	auto_stmt *del = prepare(s, "DELETE FROM node WHERE number = ?");
	int got;

	if (!st || !del)
		return failed(s, e);
	bind_int(st, 1, now);
	bind_int(st, 2, VS_MEMBER);
	got = sqlite3_step(st);
	if (got == SQLITE_DONE)
		return err_at(e, -ENOSPC, WHERE, "no address is free");
	if (got != SQLITE_ROW)
		return failed(s, e);
	*number = (uint32_t)sqlite3_column_int64(st, 0);
	bind_int(del, 1, *number);
	return done(s, del, e);
}

static int number_new(const struct vs_store *s, const struct vs_limits *limits, int64_t now, uint32_t *number,
		      struct err *e)
{
	int64_t last = ask_int(s, "SELECT coalesce(max(number), 0) FROM node");

	if (last < 0)
		return failed(s, e);
	if (last >= limits->numbers || ask_int(s, "SELECT count(*) FROM node") >= limits->max_nodes)
		return number_reuse(s, now, number, e);
	*number = (uint32_t)last + 1;
	return 0;
}

static int row_add(const struct vs_store *s, const struct vs_who *who, const struct vs_row *row, int64_t now,
		   struct err *e)
{
	auto_stmt *st = prepare(s, "INSERT INTO node (instance, app, name, origin, simulated, number, state, serial, "
				   "lifted, joined, not_after, ephemeral) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?)");

	if (!st)
		return failed(s, e);
	bind_blob(st, 1, who->instance_id, BY_INSTANCE_ID_LEN);
	bind_blob(st, 2, who->app_id, BY_APP_ID_LEN);
	sqlite3_bind_text(st, 3, who->node, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 4, who->from, -1, SQLITE_STATIC);
	bind_int(st, 5, who->is_simulated);
	bind_int(st, 6, row->number);
	bind_int(st, 7, row->state);
	bind_int(st, 8, now);
	bind_int(st, 9, now + RESERVE_S);
	if (row->is_ephemeral)
		bind_int(st, 10, 1);
	return done(s, st, e);
}

static int row_touch(const struct vs_store *s, const struct vs_who *who, const struct vs_row *row, int64_t now,
		     struct err *e)
{
	auto_stmt *st = prepare(s, "UPDATE node SET name = ?, app = ?, origin = ?, simulated = ?, "
				   "not_after = max(not_after, ?), state = ?, ephemeral = ? WHERE instance = ?");

	if (!st)
		return failed(s, e);
	sqlite3_bind_text(st, 1, who->node, -1, SQLITE_STATIC);
	bind_blob(st, 2, who->app_id, BY_APP_ID_LEN);
	sqlite3_bind_text(st, 3, who->from, -1, SQLITE_STATIC);
	bind_int(st, 4, who->is_simulated);
	bind_int(st, 5, now + RESERVE_S);
	bind_int(st, 6, row->state);
	if (row->is_ephemeral)
		bind_int(st, 7, 1);
	bind_blob(st, 8, who->instance_id, BY_INSTANCE_ID_LEN);
	return done(s, st, e);
}

static int revoked(const struct vs_row *row, struct err *e)
{
	return row->state == VS_REVOKED ? err_reason(e, ID_RECORD_REVOKED, WHERE, "%s was revoked", row->who.node) : 0;
}

/* Who is a member already needs no key, and one that it shows all the same is not looked at: it may have ended. */
static int admit(const struct vs_store *s, const struct vs_who *who, bool approve, int64_t now, struct vs_row *row,
		 struct err *e)
{
	bool is_member = row->number && row->state == VS_MEMBER;
	int ret = who->has_key && !is_member ? key_use(s, who, now, &row->is_ephemeral, e) : 0;

	if (!ret && !is_member)
		row->state = approve && !who->has_key ? VS_PENDING : VS_MEMBER;
	return ret;
}

int vs_store_grant(struct vs_store *s, const struct vs_who *who, const struct vs_limits *limits, int64_t now,
		   uint32_t *number, struct err *e)
{
	struct vs_row row = { 0 };
	int ret = row_of(s, who->instance_id, &row, e);
	bool is_new = ret == -ENOENT;

	if (ret && !is_new)
		return ret;
	ret = is_new ? 0 : revoked(&row, e);
	if (!ret)
		ret = name_free(s, who, now, e);
	if (!ret)
		ret = admit(s, who, is_new ? limits->approve : true, now, &row, e);
	if (!ret && is_new)
		ret = number_new(s, limits, now, &row.number, e);
	if (!ret)
		ret = is_new ? row_add(s, who, &row, now, e) : row_touch(s, who, &row, now, e);
	if (!ret && row.state == VS_PENDING)
		ret = err_reason(e, ID_NOT_APPROVED, WHERE, "%s waits for somebody to approve it", who->node);
	if (!ret)
		*number = row.number;
	return ret;
}

static int key_free(const struct vs_store *s, const struct vs_record *r, int64_t now, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT name FROM node WHERE wg_key = ? AND instance <> ? AND not_after >= ?");
	auto_stmt *take = prepare(s, "UPDATE node SET wg_key = NULL, record = NULL WHERE wg_key = ? AND instance <> ?");
	int got;

	if (!st || !take)
		return failed(s, e);
	bind_blob(st, 1, r->wg_key, sizeof(r->wg_key));
	bind_blob(st, 2, r->instance_id, BY_INSTANCE_ID_LEN);
	bind_int(st, 3, now);
	got = sqlite3_step(st);
	if (got == SQLITE_ROW)
		return err_reason(e, ID_RECORD_KEY, WHERE, "WireGuard key belongs to node %s",
				  (const char *)sqlite3_column_text(st, 0));
	bind_blob(take, 1, r->wg_key, sizeof(r->wg_key));
	bind_blob(take, 2, r->instance_id, BY_INSTANCE_ID_LEN);
	return got == SQLITE_DONE ? done(s, take, e) : failed(s, e);
}

static int record_put(struct vs_store *s, const struct vs_record *r, const void *bytes, size_t len, int64_t now,
		      struct err *e)
{
	auto_stmt *st =
		prepare(s, "UPDATE node SET serial = ?, not_after = ?, epoch = ?, wg_key = ?, digest = ?, record = ? "
			   "WHERE instance = ?");

	if (!st)
		return failed(s, e);
	bind_int(st, 1, (int64_t)next_serial(s, now));
	bind_int(st, 2, r->not_after);
	bind_int(st, 3, (int64_t)r->epoch);
	bind_blob(st, 4, r->wg_key, sizeof(r->wg_key));
	bind_blob(st, 5, r->digest, sizeof(r->digest));
	bind_blob(st, 6, bytes, len);
	bind_blob(st, 7, r->instance_id, BY_INSTANCE_ID_LEN);
	return done(s, st, e);
}

int vs_store_publish(struct vs_store *s, const struct vs_record *r, const void *bytes, size_t len, int64_t now,
		     uint64_t *serial, struct err *e)
{
	struct vs_row row;
	bool is_same;
	int ret = row_of(s, r->instance_id, &row, e);

	if (ret)
		return ret == -ENOENT ? err_at(e, ret, WHERE, "a record of an instance that was granted nothing") : ret;
	is_same = row.has_record && memcmp(row.record.digest, r->digest, sizeof(r->digest)) == 0;
	ret = revoked(&row, e);
	if (!ret && !is_same && r->epoch <= row.record.epoch)
		ret = err_reason(e, ID_RECORD_EPOCH, WHERE, "epoch %llu, %llu was already seen",
				 (unsigned long long)r->epoch, (unsigned long long)row.record.epoch);
	if (!ret && !is_same)
		ret = key_free(s, r, now, e);
	if (!ret && !is_same)
		ret = record_put(s, r, bytes, len, now, e);
	if (!ret)
		*serial = is_same ? row.serial : s->serial;
	return ret;
}

int vs_store_set(struct vs_store *s, const uint8_t instance_id[BY_INSTANCE_ID_LEN], enum vs_state state, int64_t now,
		 uint64_t *serial, struct err *e)
{
	auto_stmt *st = prepare(s, "UPDATE node SET state = ?, serial = ?, lifted = ? WHERE instance = ?");
	struct vs_row row;
	int ret = row_of(s, instance_id, &row, e);

	if (ret)
		return ret == -ENOENT ? err_at(e, ret, WHERE, "there is no such node") : ret;
	if (!st)
		return failed(s, e);
	bind_int(st, 1, state);
	bind_int(st, 2, (int64_t)next_serial(s, now));
	bind_int(st, 3, (int64_t)(row.state == VS_REVOKED && state == VS_MEMBER ? s->serial : row.lifted));
	bind_blob(st, 4, instance_id, BY_INSTANCE_ID_LEN);
	*serial = s->serial;
	return done(s, st, e);
}

/* --- what ends --- */

#define ENDED_NODE "ephemeral = 1 AND not_after < ?1 AND state <> 2"
#define ENDED_KEY  "expires < ?1 - 604800" /* people still see for a week who used it */

bool vs_store_has_ended(struct vs_store *s, int64_t now)
{
	auto_stmt *st = prepare(s, "SELECT EXISTS (SELECT 1 FROM node WHERE " ENDED_NODE ") OR "
				   "EXISTS (SELECT 1 FROM authkey WHERE " ENDED_KEY ") OR "
				   "EXISTS (SELECT 1 FROM api_node WHERE NOT " API_LIVES(?1) ")");

	if (st)
		bind_int(st, 1, now);
	return st && sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0);
}

int vs_store_end(struct vs_store *s, int64_t now, struct err *e)
{
	static const char *const sql[] = { "DELETE FROM api_node WHERE NOT " API_LIVES(?1),
					   "DELETE FROM node WHERE " ENDED_NODE,
					   "DELETE FROM authkey WHERE " ENDED_KEY };
	int ret = 0;

	_Static_assert(VS_REVOKED == 2, "as ENDED_NODE has it");
	for (size_t i = 0; i < ARRAY_LEN(sql) && !ret; i++) {
		auto_stmt *st = prepare(s, sql[i]);

		if (st)
			bind_int(st, 1, now);
		ret = done(s, st, e);
	}
	return ret;
}

/* --- questions --- */

/* A name is text, a part of an instance-id the start of its hex. */
int vs_store_find(struct vs_store *s, const char *text, uint8_t instance_id[BY_INSTANCE_ID_LEN], struct err *e)
{
	auto_stmt *st =
		prepare(s, "SELECT instance, name = ?1 FROM node WHERE name = ?1 OR (?2 AND lower(hex(instance)) "
			   "GLOB ?1 || '*') ORDER BY name = ?1 DESC LIMIT 2");
	bool is_hex = strlen(text) >= PREFIX_MIN && strspn(text, "0123456789abcdef") == strlen(text);
	bool is_name;

	if (!st)
		return failed(s, e);
	sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
	bind_int(st, 2, is_hex);
	if (sqlite3_step(st) != SQLITE_ROW)
		return err_at(e, -ENOENT, text, "there is no such node");
	is_name = sqlite3_column_int(st, 1);
	column_bytes(st, 0, instance_id, BY_INSTANCE_ID_LEN);
	if (!is_name && sqlite3_step(st) == SQLITE_ROW)
		return err_at(e, -EEXIST, text, "several instances begin so");
	return 0;
}

int store_each(struct vs_store *s, const char *where, vs_row_fn fn, void *arg, struct err *e)
{
	char sql[320];
	int got;

	snprintf(sql, sizeof(sql), "SELECT " COLUMNS " FROM node %s ORDER BY serial", where);
	auto_stmt *st = prepare(s, sql);

	got = st ? SQLITE_ROW : SQLITE_ERROR;
	while (st && (got = sqlite3_step(st)) == SQLITE_ROW) {
		struct vs_row row;

		row_read(st, &row);
		fn(&row, sqlite3_column_blob(st, 14), (size_t)sqlite3_column_bytes(st, 14), arg);
	}
	return got == SQLITE_DONE ? 0 : failed(s, e);
}

int vs_store_each(struct vs_store *s, vs_row_fn fn, void *arg, struct err *e)
{
	return store_each(s, "", fn, arg, e);
}

/* --- backup --- */

static int copy(sqlite3 *from, sqlite3 *to)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	int got = b ? sqlite3_backup_step(b, -1) : SQLITE_ERROR;

	if (b)
		sqlite3_backup_finish(b);
	return got == SQLITE_DONE ? 0 : -EIO;
}

int vs_store_backup(const char *path, const char *out, struct err *e)
{
	auto_fd int fd = open(out, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600); /* nobody else's from the start */
	sqlite3 *from = NULL, *to = NULL;
	int ret = -EIO;

	if (fd < 0)
		return err_at(e, -errno, out, "%s", strerror(errno));
	if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_busy_timeout(from, BUSY_MS) == SQLITE_OK &&
	    sqlite3_open_v2(out, &to, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
		ret = copy(from, to);
	if (ret < 0)
		err_at(e, ret, path, "can not be copied: %s", sqlite3_errmsg(to ? to : from));
	sqlite3_close(from);
	if (sqlite3_close(to) != SQLITE_OK && !ret)
		ret = err_at(e, -EIO, out, "can not be written");
	if (ret < 0)
		unlink(out);
	return ret;
}
