// SPDX-License-Identifier: Apache-2.0
/*
 * Pre-auth keys: what stands in for somebody who approves a newcomer. Only hashes are here. A commit may be decided
 * twice (store.h), so a key's use is bound to the instance that used it, and the same key made again is the same key.
 */
#include "base/text.h"
#include "store_internal.h"

#define WHERE  "pre-auth key"
#define ID_MIN 8 /* digits of a hash that name a key */

#define COLUMNS "hash, origin, reusable, ephemeral, revoked, created, expires, instance, used_by, used, uses, number"

static void key_read(stmt *st, struct vs_key *key)
{
	*key = (struct vs_key){ .is_reusable = (uint32_t)sqlite3_column_int(st, 2),
				.is_ephemeral = (uint32_t)sqlite3_column_int(st, 3),
				.is_revoked = (uint32_t)sqlite3_column_int(st, 4),
				.created = sqlite3_column_int64(st, 5),
				.expires = sqlite3_column_int64(st, 6),
				.used = sqlite3_column_int64(st, 9),
				.uses = sqlite3_column_int64(st, 10) };
	column_bytes(st, 0, key->hash, sizeof(key->hash));
	column_copy(st, 1, key->origin, sizeof(key->origin));
	key->has_instance = column_bytes(st, 7, key->instance, sizeof(key->instance));
	key->has_used_by = column_bytes(st, 8, key->used_by, sizeof(key->used_by));
}

/* 0 with *number 0: there is none. */
static int key_of(const struct vs_store *s, const uint8_t hash[VS_KEY_HASH], struct vs_key *key, int64_t *number,
		  struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT " COLUMNS " FROM authkey WHERE hash = ?");
	int got;

	*number = 0;
	if (!st)
		return store_failed(s, e);
	bind_blob(st, 1, hash, VS_KEY_HASH);
	got = sqlite3_step(st);
	if (got == SQLITE_ROW) {
		key_read(st, key);
		*number = sqlite3_column_int64(st, 11);
	}
	return got == SQLITE_ROW || got == SQLITE_DONE ? 0 : store_failed(s, e);
}

/* --- use --- */

static int refused(const struct vs_who *who, const char *why, struct err *e)
{
	return err_reason(e, ID_AUTH_KEY, WHERE, "%s shows one that %s", who->node, why);
}

static int judge(const struct vs_key *key, const struct vs_who *who, int64_t now, struct err *e)
{
	if (key->is_revoked)
		return refused(who, "was revoked", e);
	if (key->expires < now)
		return refused(who, "is over", e);
	if (key->has_instance && memcmp(key->instance, who->instance_id, BY_INSTANCE_ID_LEN) != 0)
		return refused(who, "is bound to another instance", e);
	if (!key->is_reusable && key->has_used_by && memcmp(key->used_by, who->instance_id, BY_INSTANCE_ID_LEN) != 0)
		return refused(who, "another instance has used", e);
	return 0;
}

int key_use(const struct vs_store *s, const struct vs_who *who, int64_t now, uint32_t *is_ephemeral, struct err *e)
{
	auto_stmt *st = prepare(s, "UPDATE authkey SET used_by = ?, used = ?, uses = uses + 1 WHERE number = ?");
	struct vs_key key;
	int64_t number;
	int ret = key_of(s, who->key, &key, &number, e);

	if (ret)
		return ret;
	ret = number ? judge(&key, who, now, e) : refused(who, "is none of this network's", e);
	if (ret)
		return ret;
	if (!st)
		return store_failed(s, e);
	*is_ephemeral = key.is_ephemeral;
	bind_blob(st, 1, who->instance_id, BY_INSTANCE_ID_LEN);
	bind_int(st, 2, now);
	bind_int(st, 3, number);
	return done(s, st, e);
}

/* --- making and taking back --- */

/* Who asks again and again has one key, not one for each time. */
static int replace(const struct vs_store *s, const struct vs_key *key, struct err *e)
{
	auto_stmt *st = prepare(s, "DELETE FROM authkey WHERE origin = ? AND instance = ? AND hash <> ?");

	if (!st)
		return store_failed(s, e);
	bind_text(st, 1, key->origin);
	bind_blob(st, 2, key->instance, sizeof(key->instance));
	bind_blob(st, 3, key->hash, sizeof(key->hash));
	return done(s, st, e);
}

static int room(const struct vs_store *s, const struct vs_key *key, bool is_apps, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT count(*), sum(origin = ?) FROM authkey");

	if (!st)
		return store_failed(s, e);
	bind_text(st, 1, key->origin);
	if (sqlite3_step(st) != SQLITE_ROW)
		return store_failed(s, e);
	if (sqlite3_column_int64(st, 0) >= VS_KEYS_MAX)
		return err_at(e, -ENOSPC, WHERE, "there are %d already", VS_KEYS_MAX);
	if (is_apps && sqlite3_column_int64(st, 1) >= VS_KEYS_MAX_APP)
		return err_at(e, -ENOSPC, WHERE, "app %s has %d already", key->origin, VS_KEYS_MAX_APP);
	return 0;
}

static int key_put(const struct vs_store *s, const struct vs_key *key, int64_t now, struct err *e)
{
	auto_stmt *st = prepare(s, "INSERT INTO authkey VALUES ((SELECT coalesce(max(number), 0) + 1 FROM authkey), "
				   "?, ?, ?, ?, 0, ?, ?, ?, NULL, 0, 0)");

	if (!st)
		return store_failed(s, e);
	bind_blob(st, 1, key->hash, sizeof(key->hash));
	bind_text(st, 2, key->origin);
	bind_int(st, 3, key->is_reusable);
	bind_int(st, 4, key->is_ephemeral);
	bind_int(st, 5, now);
	bind_int(st, 6, key->expires);
	if (key->has_instance)
		bind_blob(st, 7, key->instance, sizeof(key->instance));
	return done(s, st, e);
}

int vs_key_add(struct vs_store *s, const struct vs_key *key, bool replaces, int64_t now, struct err *e)
{
	struct vs_key there;
	int64_t number;
	int ret = key_of(s, key->hash, &there, &number, e);

	if (ret || number)
		return ret;
	if (replaces)
		ret = replace(s, key, e);
	if (!ret)
		ret = room(s, key, replaces, e);
	return ret ? ret : key_put(s, key, now, e);
}

int vs_key_revoke(struct vs_store *s, const char *id, uint8_t hash[VS_KEY_HASH], struct err *e)
{
	auto_stmt *find = prepare(s, "SELECT hash FROM authkey WHERE lower(hex(hash)) GLOB ? || '*' LIMIT 2");
	auto_stmt *st = prepare(s, "UPDATE authkey SET revoked = 1 WHERE hash = ?");

	if (!find || !st)
		return store_failed(s, e);
	bind_text(find, 1, id);
	if (strlen(id) < ID_MIN || strspn(id, "0123456789abcdef") != strlen(id) || sqlite3_step(find) != SQLITE_ROW)
		return err_at(e, -ENOENT, id, "there is no such key: its id, or the first %d digits of it and more",
			      ID_MIN);
	column_bytes(find, 0, hash, VS_KEY_HASH);
	if (sqlite3_step(find) == SQLITE_ROW)
		return err_at(e, -EEXIST, id, "several keys begin so");
	bind_blob(st, 1, hash, VS_KEY_HASH);
	return done(s, st, e);
}

int vs_key_each(struct vs_store *s, vs_key_fn fn, void *arg, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT " COLUMNS " FROM authkey ORDER BY created, number");
	int got = st ? SQLITE_ROW : SQLITE_ERROR;

	while (st && (got = sqlite3_step(st)) == SQLITE_ROW) {
		struct vs_key key;

		key_read(st, &key);
		fn(&key, arg);
	}
	return got == SQLITE_DONE ? 0 : store_failed(s, e);
}
