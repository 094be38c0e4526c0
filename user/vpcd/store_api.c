// SPDX-License-Identifier: Apache-2.0
/* What nodes say of themselves through dstack-vpc's REST API: each entry is its maker's, as long as it lives. */
#include "base/text.h"
#include "store_internal.h"

#define WHERE  "REST API"
#define SUFFIX ".dstack.internal"

/* --- who may --- */

int vs_caller_check(struct vs_store *s, const struct vs_caller *who, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT 1 FROM node WHERE instance = ? AND state = 2");
	int got;

	if (!who->has_instance)
		return 0;
	if (!st)
		return store_failed(s, e);
	bind_blob(st, 1, who->instance_id, BY_INSTANCE_ID_LEN);
	got = sqlite3_step(st);
	if (got == SQLITE_ROW)
		return err_at(e, -EPERM, WHERE, "the caller was revoked");
	return got == SQLITE_DONE ? 0 : store_failed(s, e);
}

int vs_store_number(struct vs_store *s, const uint8_t instance_id[BY_INSTANCE_ID_LEN], int64_t now, uint32_t *number,
		    struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT number FROM node WHERE instance = ? AND state = 1 AND not_after >= ?");
	int got;

	*number = 0;
	if (!st)
		return store_failed(s, e);
	bind_blob(st, 1, instance_id, BY_INSTANCE_ID_LEN);
	bind_int(st, 2, now);
	got = sqlite3_step(st);
	if (got == SQLITE_ROW)
		*number = (uint32_t)sqlite3_column_int64(st, 0);
	return got == SQLITE_ROW || got == SQLITE_DONE ? 0 : store_failed(s, e);
}

/* A name that a living node has in the overlay's DNS is that node's; names elsewhere are nobody's here. */
static int hostname_check(const struct vs_store *s, const struct vs_caller *who, const char *hostname, int64_t now,
			  struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT 1 FROM node WHERE name = ? AND not_after >= ? AND (? OR instance <> ?)");
	size_t len = strcspn(hostname, ".");
	char name[VS_API_HOST];
	int got;

	if (!len || (hostname[len] && strcmp(hostname + len, SUFFIX) != 0))
		return 0;
	if (!st)
		return store_failed(s, e);
	snprintf(name, sizeof(name), "%.*s", (int)len, hostname);
	bind_text(st, 1, name);
	bind_int(st, 2, now);
	bind_int(st, 3, !who->has_instance);
	bind_blob(st, 4, who->instance_id, BY_INSTANCE_ID_LEN);
	got = sqlite3_step(st);
	if (got == SQLITE_ROW)
		return err_at(e, -EPERM, WHERE, "the name %s belongs to another node", name);
	return got == SQLITE_DONE ? 0 : store_failed(s, e);
}

/* What names an instance is that instance's. */
static int uuid_check(const struct vs_caller *who, const char *uuid, struct err *e)
{
	uint8_t id[BY_INSTANCE_ID_LEN];

	if (!who->has_instance || !hex_parse(id, sizeof(id), uuid) || memcmp(id, who->instance_id, sizeof(id)) == 0)
		return 0;
	return err_at(e, -EPERM, WHERE, "%s is another instance than the caller", uuid);
}

/* --- an entry --- */

struct owner {
	int64_t number; /* 0: there is no entry that lives */
	struct vs_caller who;
};

static int owner_of(const struct vs_store *s, const char *uuid, int64_t now, struct owner *owner, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT number, app, instance FROM api_node WHERE uuid = ?1 AND " API_LIVES(?2));
	int got;

	*owner = (struct owner){ 0 };
	if (!st)
		return store_failed(s, e);
	bind_text(st, 1, uuid);
	bind_int(st, 2, now);
	got = sqlite3_step(st);
	if (got != SQLITE_ROW)
		return got == SQLITE_DONE ? 0 : store_failed(s, e);
	owner->number = sqlite3_column_int64(st, 0);
	column_bytes(st, 1, owner->who.app_id, BY_APP_ID_LEN);
	owner->who.has_instance = column_bytes(st, 2, owner->who.instance_id, BY_INSTANCE_ID_LEN);
	return 0;
}

/* An entry of an instance is that instance's; one of an app of which no instance was proved is the app's. */
static bool is_own(const struct vs_caller *owner, const struct vs_caller *who)
{
	return memcmp(owner->app_id, who->app_id, BY_APP_ID_LEN) == 0 && owner->has_instance == who->has_instance &&
	       (!who->has_instance || memcmp(owner->instance_id, who->instance_id, BY_INSTANCE_ID_LEN) == 0);
}

static int room(const struct vs_store *s, const struct vs_caller *who, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT count(*), sum(app = ?) FROM api_node");

	if (!st)
		return store_failed(s, e);
	bind_blob(st, 1, who->app_id, BY_APP_ID_LEN);
	if (sqlite3_step(st) != SQLITE_ROW)
		return store_failed(s, e);
	if (sqlite3_column_int64(st, 0) >= VS_API_MAX || sqlite3_column_int64(st, 1) >= VS_API_MAX_APP)
		return err_at(e, -ENOSPC, WHERE, "there are %d entries, or %d of one app, already", VS_API_MAX,
			      VS_API_MAX_APP);
	return 0;
}

static int add(const struct vs_store *s, const struct vs_caller *who, const char *uuid, struct err *e)
{
	auto_stmt *del = prepare(s, "DELETE FROM api_node WHERE uuid = ?");
	auto_stmt *st = prepare(s, "INSERT INTO api_node (number, uuid, app, instance, updated, expires) VALUES "
				   "((SELECT coalesce(max(number), 0) + 1 FROM api_node), ?, ?, ?, 0, 0)");
	int ret;

	if (!del || !st)
		return store_failed(s, e);
	bind_text(del, 1, uuid); /* of somebody whose time is over */
	ret = done(s, del, e);
	if (!ret)
		ret = room(s, who, e);
	if (ret)
		return ret;
	bind_text(st, 1, uuid);
	bind_blob(st, 2, who->app_id, BY_APP_ID_LEN);
	if (who->has_instance)
		bind_blob(st, 3, who->instance_id, BY_INSTANCE_ID_LEN);
	return done(s, st, e);
}

/* What is not told stays. */
static int change(const struct vs_store *s, const struct vs_api_node *node, int64_t now, int64_t lease_s, struct err *e)
{
	auto_stmt *st = prepare(s, "UPDATE api_node SET type = coalesce(nullif(?, ''), type), "
				   "ip = coalesce(nullif(?, ''), ip), hostname = coalesce(nullif(?, ''), hostname), "
				   "updated = ?, expires = ? WHERE uuid = ?");

	if (!st)
		return store_failed(s, e);
	bind_text(st, 1, node->type);
	bind_text(st, 2, node->ip);
	bind_text(st, 3, node->hostname);
	bind_int(st, 4, now);
	bind_int(st, 5, now + lease_s);
	bind_text(st, 6, node->uuid);
	return done(s, st, e);
}

int vs_api_update(struct vs_store *s, const struct vs_caller *who, const struct vs_api_node *node, int64_t now,
		  int64_t lease_s, bool *is_new, struct err *e)
{
	struct owner owner;
	int ret = uuid_check(who, node->uuid, e);

	if (!ret)
		ret = hostname_check(s, who, node->hostname, now, e);
	if (!ret)
		ret = owner_of(s, node->uuid, now, &owner, e);
	if (ret)
		return ret;
	if (owner.number && !is_own(&owner.who, who))
		return err_at(e, -EPERM, WHERE, "%s belongs to another node", node->uuid);
	*is_new = !owner.number;
	if (*is_new)
		ret = add(s, who, node->uuid, e);
	return ret ? ret : change(s, node, now, lease_s, e);
}

/* --- questions --- */

#define NEWEST                                                                                                         \
	"(type IS NOT 'etcd' OR number = (SELECT number FROM api_node WHERE type = 'etcd' AND " API_LIVES(?1)          \
	" ORDER BY updated DESC, number DESC LIMIT 1))"

int vs_api_each(struct vs_store *s, const char *type, int64_t now, vs_api_fn fn, void *arg, struct err *e)
{
	auto_stmt *st = prepare(s, "SELECT uuid, type, ip, hostname FROM api_node WHERE " API_LIVES(?1)
				   " AND (?2 IS NULL OR type = ?2) AND " NEWEST " ORDER BY uuid");
	int got = st ? SQLITE_ROW : SQLITE_ERROR;

	if (st)
		bind_int(st, 1, now);
	if (st && type)
		bind_text(st, 2, type);
	while (st && (got = sqlite3_step(st)) == SQLITE_ROW) {
		struct vs_api_node node;

		column_copy(st, 0, node.uuid, sizeof(node.uuid));
		column_copy(st, 1, node.type, sizeof(node.type));
		column_copy(st, 2, node.ip, sizeof(node.ip));
		column_copy(st, 3, node.hostname, sizeof(node.hostname));
		fn(&node, arg);
	}
	return got == SQLITE_DONE ? 0 : store_failed(s, e);
}

int64_t vs_api_count(struct vs_store *s)
{
	return ask_int(s, "SELECT count(*) FROM api_node");
}
