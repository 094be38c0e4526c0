// SPDX-License-Identifier: Apache-2.0
/*
 * Rows as values in etcd. A key is TABLE/NUMBER, so that a number has one owner whatever two servers do; the value is a
 * JSON object of the columns, bytes in base64. Which rows a transaction changed is noted by triggers (node has no
 * rowid, so SQLite's update hook does not see it).
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/text.h"
#include "store_internal.h"

#define ROW_OVERHEAD 1024 /* bytes of a row apart from its record */

DEFINE_CLEANUP(json, json_t, json_decref)

/* i: an integer from min to max; t, b: min to max characters or bytes. */
struct column {
	const char *name;
	char type;
	bool may_be_null;
	int64_t min, max;
};

static const struct column node_columns[] = {
	{ "instance", 'b', false, BY_INSTANCE_ID_LEN, BY_INSTANCE_ID_LEN },
	{ "app", 'b', false, BY_APP_ID_LEN, BY_APP_ID_LEN },
	{ "name", 't', true, 1, BY_NODE_NAME_LEN - 1 },
	{ "origin", 't', false, 0, ENDPOINT_TEXT - 1 },
	{ "simulated", 'i', false, 0, 1 },
	{ "number", 'i', false, 1, INT32_MAX },
	{ "state", 'i', false, 0, VS_STATES - 1 },
	{ "serial", 'i', false, 0, INT64_MAX },
	{ "lifted", 'i', false, 0, INT64_MAX },
	{ "joined", 'i', false, 0, INT64_MAX },
	{ "not_after", 'i', false, 0, INT64_MAX },
	{ "epoch", 'i', false, INT64_MIN, INT64_MAX },
	{ "wg_key", 'b', true, ID_WG_KEY_LEN, ID_WG_KEY_LEN },
	{ "digest", 'b', true, VPC_DIGEST, VPC_DIGEST },
	{ "record", 'b', true, 1, ID_RECORD_MAX },
	{ "ephemeral", 'i', true, 0, 1 },
};

static const struct column authkey_columns[] = {
	{ "number", 'i', false, 1, INT32_MAX },
	{ "hash", 'b', false, VS_KEY_HASH, VS_KEY_HASH },
	{ "origin", 't', false, 0, VS_ORIGIN - 1 },
	{ "reusable", 'i', false, 0, 1 },
	{ "ephemeral", 'i', false, 0, 1 },
	{ "revoked", 'i', false, 0, 1 },
	{ "created", 'i', false, 0, INT64_MAX },
	{ "expires", 'i', false, 0, INT64_MAX },
	{ "instance", 'b', true, BY_INSTANCE_ID_LEN, BY_INSTANCE_ID_LEN },
	{ "used_by", 'b', true, BY_INSTANCE_ID_LEN, BY_INSTANCE_ID_LEN },
	{ "used", 'i', false, 0, INT64_MAX },
	{ "uses", 'i', false, 0, INT64_MAX },
};

static const struct column api_node_columns[] = {
	{ "number", 'i', false, 1, INT32_MAX },
	{ "uuid", 't', false, 1, VS_API_UUID - 1 },
	{ "app", 'b', false, BY_APP_ID_LEN, BY_APP_ID_LEN },
	{ "instance", 'b', true, BY_INSTANCE_ID_LEN, BY_INSTANCE_ID_LEN },
	{ "type", 't', true, 1, VS_API_TYPE - 1 },
	{ "ip", 't', true, 1, VS_API_IP - 1 },
	{ "hostname", 't', true, 1, VS_API_HOST - 1 },
	{ "updated", 'i', false, 0, INT64_MAX },
	{ "expires", 'i', false, 0, INT64_MAX },
};

/* Every table that is shared. Its key is a column of positive integers. */
static const struct table {
	const char *name, *key;
	const struct column *column;
	size_t n;
} tables[] = {
	{ "node", "number", node_columns, ARRAY_LEN(node_columns) },
	{ "authkey", "number", authkey_columns, ARRAY_LEN(authkey_columns) },
	{ "api_node", "number", api_node_columns, ARRAY_LEN(api_node_columns) },
};

/* --- what changed --- */

static int trigger(const struct vs_store *s, size_t t, const char *event, const char *which, struct err *e)
{
	char sql[400];

	snprintf(sql, sizeof(sql),
		 "CREATE TEMP TRIGGER %s_%s_%s AFTER %s ON main.%s BEGIN "
		 "INSERT OR IGNORE INTO changed VALUES (%zu, %s.%s); END",
		 tables[t].name, event, which, event, tables[t].name, t, which, tables[t].key);
	return store_run(s, sql, e);
}

int rows_note(struct vs_store *s, struct err *e)
{
	int ret = store_run(s,
			    "CREATE TEMP TABLE changed (tab INTEGER NOT NULL, key INTEGER NOT NULL, "
			    "PRIMARY KEY (tab, key)) WITHOUT ROWID",
			    e);

	for (size_t t = 0; t < ARRAY_LEN(tables) && !ret; t++) {
		ret = trigger(s, t, "INSERT", "new", e);
		if (!ret)
			ret = trigger(s, t, "UPDATE", "new", e);
		if (!ret)
			ret = trigger(s, t, "UPDATE", "old", e);
		if (!ret)
			ret = trigger(s, t, "DELETE", "old", e);
	}
	return ret;
}

int rows_forget(const struct vs_store *s, struct err *e)
{
	return store_run(s, "DELETE FROM temp.changed", e);
}

int rows_clear(const struct vs_store *s, struct err *e)
{
	char sql[64];
	int ret = 0;

	for (size_t t = 0; t < ARRAY_LEN(tables) && !ret; t++) {
		snprintf(sql, sizeof(sql), "DELETE FROM %s", tables[t].name);
		ret = store_run(s, sql, e);
	}
	return ret;
}

int rows_size(const struct vs_store *s, size_t *n, size_t *bytes, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT count(*), coalesce(sum(length(record)), 0) FROM temp.changed "
				   "LEFT JOIN node ON tab = 0 AND number = key");

	if (!st || sqlite3_step(st) != SQLITE_ROW)
		return store_failed(s, e);
	*n = (size_t)sqlite3_column_int64(st, 0);
	*bytes = *n * ROW_OVERHEAD + BASE64_LEN((size_t)sqlite3_column_int64(st, 1));
	return 0;
}

/* --- out --- */

static json_t *column_json(stmt *st, int at)
{
	size_t len = (size_t)sqlite3_column_bytes(st, at);
	auto_free char *text = NULL;

	if (sqlite3_column_type(st, at) == SQLITE_INTEGER)
		return json_integer(sqlite3_column_int64(st, at));
	if (sqlite3_column_type(st, at) == SQLITE_TEXT)
		return json_string((const char *)sqlite3_column_text(st, at));
	if (sqlite3_column_type(st, at) == SQLITE_NULL)
		return json_null();
	text = malloc(BASE64_LEN(len));
	if (!text)
		return NULL;
	base64_print(text, sqlite3_column_blob(st, at), len);
	return json_string(text);
}

/* malloc'ed; NULL without an error: there is no such row. */
static char *row_text(const struct vs_store *s, const struct table *t, int64_t key, struct err *e)
{
	auto_call(cleanup_json) json_t *o = json_object();
	char sql[128], *text;
	int got;

	snprintf(sql, sizeof(sql), "SELECT * FROM %s WHERE %s = ?", t->name, t->key);
	auto_stmt *st = prepare(s, sql);

	if (st)
		sqlite3_bind_int64(st, 1, key);
	got = st ? sqlite3_step(st) : SQLITE_ERROR;
	if (got != SQLITE_ROW) {
		if (got != SQLITE_DONE)
			store_failed(s, e);
		return NULL;
	}
	for (int i = 0; i < sqlite3_column_count(st); i++)
		json_object_set_new(o, sqlite3_column_name(st, i), column_json(st, i));
	text = json_dumps(o, JSON_COMPACT);
	if (!text)
		err_at(e, -ENOMEM, STORE, "out of memory");
	return text;
}

int rows_changed(const struct vs_store *s, row_text_fn fn, void *arg, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT tab, key FROM temp.changed");
	int got = st ? SQLITE_ROW : SQLITE_ERROR;

	while (st && (got = sqlite3_step(st)) == SQLITE_ROW) {
		const struct table *t = &tables[sqlite3_column_int64(st, 0)];
		struct err why = ERR_INIT;
		auto_free char *text = row_text(s, t, sqlite3_column_int64(st, 1), &why);
		char key[KEY_LEN];

		snprintf(key, sizeof(key), "%s/%010lld", t->name, (long long)sqlite3_column_int64(st, 1));
		if (!text && why.code) {
			*e = why;
			return why.code;
		}
		if (fn(key, text, arg) < 0)
			return err_at(e, -ENOMEM, key, "out of memory");
	}
	return got == SQLITE_DONE ? 0 : store_failed(s, e);
}

/* --- in --- */

static const struct table *key_read(const char *key, int64_t *number, struct err *e)
{
	const char *slash = strchr(key, '/');

	for (size_t t = 0; t < ARRAY_LEN(tables) && slash; t++)
		if (strlen(tables[t].name) == (size_t)(slash - key) &&
		    strncmp(tables[t].name, key, (size_t)(slash - key)) == 0 && strlen(slash + 1) == 10 &&
		    strspn(slash + 1, "0123456789") == 10) {
			*number = strtoll(slash + 1, NULL, 10);
			return &tables[t];
		}
	err_at(e, -EBADMSG, key, "is no key of this version");
	return NULL;
}

int row_drop(const struct vs_store *s, const char *key, struct err *e)
{
	int64_t number;
	const struct table *t = key_read(key, &number, e);
	char sql[128];

	if (!t)
		return e->code;
	snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE %s = ?", t->name, t->key);
	auto_stmt *st = prepare(s, sql);

	if (st)
		sqlite3_bind_int64(st, 1, number);
	return done(s, st, e);
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static bool bytes_bind(stmt *st, int at, const struct column *c, const json_t *v)
{
	size_t text_len = json_string_length(v), cap = text_len / 4 * 3, len;
	auto_free uint8_t *bytes = cap <= (size_t)c->max + 2 ? malloc(cap + 1) : NULL;

	return bytes && json_is_string(v) && base64_parse(bytes, cap, &len, json_string_value(v), text_len) &&
	       (int64_t)len >= c->min && (int64_t)len <= c->max &&
	       sqlite3_bind_blob(st, at, bytes, (int)len, SQLITE_TRANSIENT) == SQLITE_OK;
}

static bool column_bind(stmt *st, int at, const struct column *c, const json_t *v)
{
	if (!v || json_is_null(v))
		return c->may_be_null; /* unbound is NULL */
	if (c->type == 'b')
		return bytes_bind(st, at, c, v);
	if (c->type == 'i')
		return json_is_integer(v) && json_integer_value(v) >= c->min && json_integer_value(v) <= c->max &&
		       sqlite3_bind_int64(st, at, json_integer_value(v)) == SQLITE_OK;
	return json_is_string(v) && (int64_t)json_string_length(v) >= c->min &&
	       (int64_t)json_string_length(v) <= c->max && is_printable(json_string_value(v)) &&
	       sqlite3_bind_text(st, at, json_string_value(v), -1, SQLITE_TRANSIENT) == SQLITE_OK;
}

static stmt *insert_of(const struct vs_store *s, const struct table *t)
{
	char sql[1024];
	int n = snprintf(sql, sizeof(sql), "INSERT INTO %s (", t->name);

	for (size_t i = 0; i < t->n; i++)
		n += snprintf(sql + n, sizeof(sql) - (size_t)n, "%s%s", i ? ", " : "", t->column[i].name);
	n += snprintf(sql + n, sizeof(sql) - (size_t)n, ") VALUES (?");
	for (size_t i = 1; i < t->n; i++)
		n += snprintf(sql + n, sizeof(sql) - (size_t)n, ", ?");
	snprintf(sql + n, sizeof(sql) - (size_t)n, ")");
	return prepare(s, sql);
}

int row_put(const struct vs_store *s, const char *key, const char *text, size_t len, struct err *e)
{
	auto_call(cleanup_json) json_t *o = json_loadb(text, len, 0, NULL);
	int64_t number;
	const struct table *t = key_read(key, &number, e);
	auto_stmt *st = t ? insert_of(s, t) : NULL;

	if (!t)
		return e->code;
	if (!st)
		return store_failed(s, e);
	if (!json_is_object(o))
		return err_at(e, -EBADMSG, key, "is no JSON object");
	if (json_integer_value(json_object_get(o, t->key)) != number)
		return err_at(e, -EBADMSG, key, "holds the %s of another key", t->key);
	for (size_t i = 0; i < t->n; i++)
		if (!column_bind(st, (int)i + 1, &t->column[i], json_object_get(o, t->column[i].name)))
			return err_at(e, -EBADMSG, key, "'%s' is missing or out of bounds", t->column[i].name);
	if (sqlite3_step(st) != SQLITE_DONE)
		return err_at(e, -EBADMSG, key, "does not go with the others: %s", sqlite3_errmsg(s->db));
	return 0;
}
