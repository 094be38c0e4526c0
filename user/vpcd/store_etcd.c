// SPDX-License-Identifier: Apache-2.0
/*
 * A store that several servers share. etcd is the authority; this database is a copy of it in memory, in which the same
 * SQL decides. A commit is one transaction of etcd, on condition that PREFIX/data/meta is as this copy knows it: so
 * all servers' commits have one order, and each was decided on the outcome of the one before. Whoever was not first
 * takes what the others did from the watch and decides anew. Keys:
 *
 *   PREFIX/data/meta                    version, network, serial of the last commit
 *   PREFIX/data/TABLE/NUMBER            rows (store_rows.c); changed together with meta only
 *   PREFIX/server/ID                    a server that is there, under its lease
 */
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "store_internal.h"

#define VERSION     2    /* 2: pre-auth keys, entries of the REST API */
#define PAGE        32   /* rows of one answer: half a megabyte each at most */
#define CATCH_UP_MS 3000 /* for the watch to bring what etcd says is there */
#define META        "meta"

DEFINE_CLEANUP(json, json_t, json_decref)

struct vs_shared {
	struct etcd *etcd;
	char data[KEY_LEN], data_end[KEY_LEN]; /* PREFIX/data/, and what is behind all that begins so */
	char meta[KEY_LEN];
	char server[KEY_LEN], server_end[KEY_LEN];
	int64_t known; /* revision of meta that this copy is at */
	int64_t fresh_until, lease;
	struct vs_watcher watcher;
	struct vs_server servers[VS_SERVERS_MAX];
	size_t n_servers;
};

int64_t vs_clock_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

/* --- meta --- */

static char *meta_text(const struct vs_store *s)
{
	char hex[2 * VPC_NETWORK + 1];
	json_t *o;
	char *text;

	hex_print(hex, s->network, VPC_NETWORK);
	o = json_pack("{s:i, s:s, s:I}", "v", VERSION, "network", hex, "serial", (json_int_t)s->serial);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

static int meta_read(const struct etcd_kv *kv, uint8_t network[VPC_NETWORK], uint64_t *serial, struct err *e)
{
	auto_call(cleanup_json) json_t *o = json_loadb((const char *)kv->value, kv->len, 0, NULL);
	json_int_t version = 0, at = -1;
	const char *hex = NULL;

	if (!json_is_object(o) || json_unpack(o, "{s:I}", "v", &version) < 0 || version < 1)
		return err_at(e, -EBADMSG, kv->key, "has no version");
	if (version > VERSION)
		return err_at(e, -EBADMSG, kv->key, "is of version %lld, this program knows %d", (long long)version,
			      VERSION);
	if (json_unpack(o, "{s:s, s:I}", "network", &hex, "serial", &at) < 0 || !hex_parse(network, VPC_NETWORK, hex) ||
	    at < 0)
		return err_at(e, -EBADMSG, kv->key, "has no network or serial");
	*serial = (uint64_t)at;
	return 0;
}

/* Of the network that this copy is of, and no older. */
static int meta_follow(struct vs_store *s, const struct etcd_kv *kv, struct err *e)
{
	uint8_t network[VPC_NETWORK];
	uint64_t serial;
	int ret = meta_read(kv, network, &serial, e);

	if (ret < 0)
		return ret;
	if (kv->is_deleted || memcmp(network, s->network, VPC_NETWORK) != 0 || serial < s->serial)
		return err_at(e, -EBADMSG, kv->key, "is another network's or an older state than was there");
	s->serial = serial;
	return 0;
}

/* --- taking over what others did --- */

static const char *row_key(const struct vs_shared *sh, const struct etcd_kv *kv)
{
	size_t n = strlen(sh->data);

	return strncmp(kv->key, sh->data, n) == 0 ? kv->key + n : kv->key;
}

/* All old rows go before the first new one comes: a name may have moved from one to the other. */
static int rows_take(struct vs_store *s, const struct etcd_kv *kv, size_t n, struct err *e)
{
	const struct etcd_kv *meta = NULL;
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		if (strcmp(row_key(s->shared, &kv[i]), META) == 0)
			meta = &kv[i];
		else
			ret = row_drop(s, row_key(s->shared, &kv[i]), e);
	for (size_t i = 0; i < n && !ret; i++)
		if (&kv[i] != meta && !kv[i].is_deleted)
			ret = row_put(s, row_key(s->shared, &kv[i]), (const char *)kv[i].value, kv[i].len, e);
	if (!ret && !meta)
		ret = err_at(e, -EBADMSG, kv->key, "was changed by something that is no control plane");
	return ret ? ret : meta_follow(s, meta, e);
}

static int rows_tell(struct vs_store *s, struct err *e)
{
	const struct vs_watcher *w = &s->shared->watcher;
	int ret = 0;

	if (w->row)
		ret = store_each(s, "WHERE number IN (SELECT key FROM temp.changed WHERE tab = 0)", w->row, w->arg, e);
	return ret ? ret : rows_forget(s, e);
}

static int commit_take(struct vs_store *s, const struct etcd_kv *kv, size_t n, struct err *e)
{
	struct err ignored;
	int ret = vs_store_begin(s, e);

	if (!ret)
		ret = rows_take(s, kv, n, e);
	if (!ret)
		ret = rows_tell(s, e);
	if (!ret)
		ret = store_run(s, "COMMIT", e);
	if (!ret) {
		s->shared->known = kv->revision;
		return 0;
	}
	store_run(s, "ROLLBACK", &ignored);
	s->serial = s->serial_before;
	return ret;
}

/* One commit is all changes of one revision; etcd does not part them. */
static int on_events(const struct etcd_answer *a, void *arg, struct err *e)
{
	struct vs_store *s = arg;
	size_t end;
	int ret = 0;

	for (size_t i = 0; i < a->n && !ret; i = end) {
		for (end = i + 1; end < a->n && a->kv[end].revision == a->kv[i].revision;)
			end++;
		if (a->kv[i].revision > s->shared->known)
			ret = commit_take(s, &a->kv[i], end - i, e);
	}
	if (!ret && a->n && s->shared->watcher.caught_up)
		s->shared->watcher.caught_up(s->shared->watcher.arg);
	return ret;
}

static int watch(struct vs_store *s, struct err *e)
{
	struct vs_shared *sh = s->shared;

	return etcd_watch(sh->etcd, sh->data, sh->data_end, sh->known + 1, on_events, s, e);
}

/* --- the whole, at start and when etcd has forgotten what came since --- */

struct point {
	int64_t meta, store; /* revisions */
};

static int meta_load(struct vs_store *s, struct point *at, struct err *e)
{
	struct vs_shared *sh = s->shared;
	bool is_first = !sh->known;
	auto_free char *text = meta_text(s);
	auto_call(etcd_answer_fini) struct etcd_answer a = { 0 };
	const struct etcd_kv *kv;
	int ret = etcd_txn(sh->etcd, json_pack("[o]", etcd_compare_revision(sh->meta, 0)),
			   text && is_first ? json_pack("[o, o]", etcd_put(sh->meta, text, strlen(text), 0),
							etcd_range(sh->meta, NULL, 0, 0))
					    : NULL,
			   json_pack("[o]", etcd_range(sh->meta, NULL, 0, 0)), &a, e);

	if (ret < 0)
		return ret;
	kv = etcd_answer_find(&a, sh->meta);
	if (!kv)
		return err_at(e, -EBADMSG, sh->meta, "is gone");
	*at = (struct point){ .meta = kv->revision, .store = a.revision };
	return is_first ? meta_read(kv, s->network, &s->serial, e) : meta_follow(s, kv, e);
}

static int page_load(struct vs_store *s, char from[KEY_LEN], int64_t revision, bool *is_more, struct err *e)
{
	auto_call(etcd_answer_fini) struct etcd_answer a = { 0 };
	int ret = etcd_txn(s->shared->etcd, NULL,
			   json_pack("[o]", etcd_range(from, s->shared->data_end, revision, PAGE)), NULL, &a, e);

	for (size_t i = 0; i < a.n && !ret; i++)
		if (strcmp(a.kv[i].key, s->shared->meta) != 0)
			ret = row_put(s, row_key(s->shared, &a.kv[i]), (const char *)a.kv[i].value, a.kv[i].len, e);
	*is_more = !ret && a.is_more && a.n;
	if (*is_more)
		snprintf(from, KEY_LEN, "%s!", a.kv[a.n - 1].key); /* '!' is the first that a key may have */
	return ret;
}

static int rows_load(struct vs_store *s, int64_t revision, struct err *e)
{
	char from[KEY_LEN];
	bool is_more = true;
	int ret = rows_clear(s, e);

	snprintf(from, sizeof(from), "%s", s->shared->data);
	while (!ret && is_more)
		ret = page_load(s, from, revision, &is_more, e);
	return ret;
}

/* What it fails in the middle of stays as it was, `known` too. */
static int rows_replace(struct vs_store *s, struct err *e)
{
	struct point at = { 0 };
	struct err ignored;
	int ret = meta_load(s, &at, e);

	if (!ret)
		ret = store_run(s, "BEGIN", e);
	if (ret < 0)
		return ret;
	ret = rows_load(s, at.store, e);
	if (!ret)
		ret = rows_tell(s, e);
	if (!ret)
		ret = store_run(s, "COMMIT", e);
	if (!ret)
		s->shared->known = at.meta;
	else
		store_run(s, "ROLLBACK", &ignored);
	return ret;
}

int vs_store_load(struct vs_store *s, struct err *e)
{
	int ret = rows_replace(s, e);

	if (!ret && s->shared->watcher.caught_up)
		s->shared->watcher.caught_up(s->shared->watcher.arg);
	return ret ? ret : watch(s, e);
}

bool vs_store_is_loaded(const struct vs_store *s)
{
	return !s->shared || s->shared->known;
}

/* A connection that ended is made again, at another endpoint. */
int vs_store_pump(struct vs_store *s, int wait_ms, struct err *e)
{
	int ret = etcd_watch_pump(s->shared->etcd, wait_ms, e);

	if (!ret || ret == -EBADMSG || ret == -ENOMEM || ret == -EIO)
		return ret;
	*e = ERR_INIT;
	if (ret == -ESTALE)
		ret = vs_store_load(s, e);
	else {
		etcd_next(s->shared->etcd);
		ret = watch(s, e);
	}
	return ret == -EBADMSG ? ret : 0;
}

static int catch_up(struct vs_store *s, int64_t revision, struct err *e)
{
	int64_t end = vs_clock_ms() + CATCH_UP_MS;
	bool is_other = false;
	int ret = 0;

	while (!ret && s->shared->known < revision && vs_clock_ms() < end) {
		ret = vs_store_pump(s, 50, e);
		if (!ret && !is_other && vs_clock_ms() > end - CATCH_UP_MS * 2 / 3) {
			is_other = true; /* the watch may hang at a member that is cut off: to where the calls go */
			ret = watch(s, e);
		}
	}
	if (!ret && s->shared->known < revision)
		ret = err_at(e, -ETIMEDOUT, s->shared->data, "changes did not come within %d ms", CATCH_UP_MS);
	return ret;
}

static int meta_ask(struct vs_store *s, int64_t *revision, struct err *e)
{
	auto_call(etcd_answer_fini) struct etcd_answer a = { 0 };
	int ret =
		etcd_txn(s->shared->etcd, NULL, json_pack("[o]", etcd_range(s->shared->meta, NULL, 0, 0)), NULL, &a, e);
	const struct etcd_kv *kv = ret ? NULL : etcd_answer_find(&a, s->shared->meta);

	if (!ret && !kv)
		ret = err_at(e, -EBADMSG, s->shared->meta, "is gone");
	if (!ret)
		*revision = kv->revision;
	return ret;
}

/* --- a commit --- */

struct puts {
	const struct vs_shared *shared;
	json_t *list;
};

static int put_add(const char *key, const char *text, void *arg)
{
	struct puts *puts = arg;
	char whole[2 * KEY_LEN];

	snprintf(whole, sizeof(whole), "%s%s", puts->shared->data, key);
	return json_array_append_new(puts->list, text ? etcd_put(whole, text, strlen(text), 0) : etcd_delete(whole));
}

/*
 * Rows, or a serial that goes on alone, and meta with them; nothing where nothing was changed: what was answered is
 * then still etcd's last word.
 */
static json_t *commit_puts(struct vs_store *s, struct err *e)
{
	struct puts puts = { .shared = s->shared, .list = json_array() };
	auto_free char *text = meta_text(s);
	int ret = text ? rows_changed(s, put_add, &puts, e) : err_at(e, -ENOMEM, STORE, "out of memory");

	if (!ret && (json_array_size(puts.list) || s->serial != s->serial_before) && put_add(META, text, &puts) < 0)
		ret = err_at(e, -ENOMEM, STORE, "out of memory");
	if (ret < 0)
		json_decref(puts.list);
	return ret ? NULL : puts.list;
}

static int commit_undo(struct vs_store *s, struct err *e)
{
	int ret = store_run(s, "ROLLBACK", e);

	s->serial = s->serial_before;
	return ret;
}

static int commit_try(struct vs_store *s, bool *is_met, struct err *e)
{
	auto_call(etcd_answer_fini) struct etcd_answer a = { 0 };
	json_t *puts = commit_puts(s, e);
	size_t n = json_array_size(puts);
	int ret = puts ? etcd_txn(s->shared->etcd,
				  json_pack("[o]", etcd_compare_revision(s->shared->meta, s->shared->known)), puts,
				  NULL, &a, e)
		       : e->code;

	*is_met = !ret && a.is_met;
	if (*is_met && n)
		s->shared->known = a.revision;
	return ret;
}

int shared_commit(struct vs_store *s, struct err *e)
{
	struct err ignored;
	int64_t revision = 0;
	bool is_met = false;
	int ret = commit_try(s, &is_met, e);

	if (is_met) {
		ret = rows_forget(s, e);
		return ret ? ret : store_run(s, "COMMIT", e);
	}
	if (commit_undo(s, &ignored) < 0)
		return ignored.code;
	if (ret == -EPROTO || ret == -ENOENT || ret == -EBADMSG)
		return ret;
	*e = ERR_INIT;
	ret = meta_ask(s, &revision, e);
	if (!ret)
		ret = catch_up(s, revision, e);
	return ret ? ret : -EAGAIN;
}

int vs_store_mark(struct vs_store *s, struct err *e)
{
	return s->shared ? store_run(s, "SAVEPOINT request", e) : 0;
}

bool vs_store_fits(struct vs_store *s)
{
	struct err e = ERR_INIT;
	size_t n = 0, bytes = 0;

	if (!s->shared)
		return true;
	if (rows_size(s, &n, &bytes, &e) == 0 && n < ETCD_OPS && bytes <= ETCD_BYTES)
		return store_run(s, "RELEASE request", &e) == 0;
	store_run(s, "ROLLBACK TO request; RELEASE request", &e);
	return false;
}

/* --- servers, and how long this copy is good --- */

static bool server_read(const struct etcd_kv *kv, const char *from, struct vs_server *server)
{
	auto_call(cleanup_json) json_t *o = json_loadb((const char *)kv->value, kv->len, 0, NULL);
	size_t n = strlen(from);
	const char *listen = NULL;
	json_int_t sessions = 0, since = 0;

	if (strncmp(kv->key, from, n) != 0 || strlen(kv->key + n) >= sizeof(server->id) ||
	    json_unpack(o, "{s:s, s:I, s:I}", "listen", &listen, "sessions", &sessions, "since", &since) < 0)
		return false;
	*server = (struct vs_server){ .sessions = sessions, .since = since };
	snprintf(server->id, sizeof(server->id), "%.16s", kv->key + n);
	snprintf(server->listen, sizeof(server->listen), "%.50s", listen);
	return true;
}

static void servers_take(struct vs_shared *sh, const struct etcd_answer *a)
{
	sh->n_servers = 0;
	for (size_t i = 0; i < a->n && sh->n_servers < VS_SERVERS_MAX; i++)
		if (server_read(&a->kv[i], sh->server, &sh->servers[sh->n_servers]))
			sh->n_servers++;
}

static int lease_keep(struct vs_shared *sh, struct err *e)
{
	int64_t ttl = 0;
	int ret = sh->lease ? etcd_lease_renew(sh->etcd, sh->lease, &ttl, e) : 0;

	if (ret < 0)
		return ret;
	if (!ttl)
		ret = etcd_lease_grant(sh->etcd, VS_LEASE_S, &sh->lease, e);
	return ret;
}

/* A write, so that a majority has said it: a member that is cut off can not. */
static int presence_put(struct vs_store *s, const struct vs_server *self, int64_t *revision, struct err *e)
{
	auto_call(etcd_answer_fini) struct etcd_answer a = { 0 };
	struct vs_shared *sh = s->shared;
	const struct etcd_kv *meta;
	char key[2 * KEY_LEN], text[256];
	int ret;

	snprintf(key, sizeof(key), "%s%s", sh->server, self->id);
	snprintf(text, sizeof(text), "{\"listen\":\"%s\",\"sessions\":%lld,\"since\":%lld}", self->listen,
		 (long long)self->sessions, (long long)self->since);
	ret = etcd_txn(sh->etcd, NULL,
		       json_pack("[o, o, o]", etcd_put(key, text, strlen(text), sh->lease),
				 etcd_range(sh->meta, NULL, 0, 0),
				 etcd_range(sh->server, sh->server_end, 0, VS_SERVERS_MAX)),
		       NULL, &a, e);
	if (ret == -ENOENT)
		sh->lease = 0;
	if (ret < 0)
		return ret;
	meta = etcd_answer_find(&a, sh->meta);
	if (!meta)
		return err_at(e, -EBADMSG, sh->meta, "is gone");
	*revision = meta->revision;
	servers_take(sh, &a);
	return 0;
}

int vs_store_beat(struct vs_store *s, struct vs_server *self, struct err *e)
{
	int64_t begin = vs_clock_ms(), revision = 0;
	int ret = lease_keep(s->shared, e);

	if (!ret)
		ret = presence_put(s, self, &revision, e);
	if (!ret)
		ret = catch_up(s, revision, e);
	if (!ret)
		s->shared->fresh_until = begin + VS_LEASE_S * 1000;
	return ret;
}

/* --- the whole --- */

bool vs_store_is_shared(const struct vs_store *s)
{
	return s->shared;
}

void vs_store_watch(struct vs_store *s, const struct vs_watcher *watcher)
{
	s->shared->watcher = *watcher;
}

int vs_store_fd(struct vs_store *s)
{
	return etcd_watch_fd(s->shared->etcd);
}

int64_t vs_store_fresh_until(const struct vs_store *s)
{
	return s->shared ? s->shared->fresh_until : INT64_MAX;
}

const struct vs_server *vs_store_servers(const struct vs_store *s, size_t *n)
{
	*n = s->shared->n_servers;
	return s->shared->servers;
}

void shared_free(struct vs_shared *sh)
{
	if (!sh)
		return;
	etcd_free(sh->etcd);
	free(sh);
}

static int shared_new(const struct etcd_conf *conf, const struct etcd_pems *pems, struct vs_shared **shared,
		      struct err *e)
{
	struct vs_shared *sh = calloc(1, sizeof(*sh));
	int ret;

	if (!sh)
		return err_at(e, -ENOMEM, STORE, "out of memory");
	snprintf(sh->data, KEY_LEN, "%s/data/", conf->prefix);
	snprintf(sh->data_end, KEY_LEN, "%s/data0", conf->prefix); /* '0' comes after '/' */
	snprintf(sh->meta, KEY_LEN, "%s/data/" META, conf->prefix);
	snprintf(sh->server, KEY_LEN, "%s/server/", conf->prefix);
	snprintf(sh->server_end, KEY_LEN, "%s/server0", conf->prefix);
	ret = etcd_new(conf, pems, &sh->etcd, e);
	if (ret < 0) {
		free(sh);
		return ret;
	}
	*shared = sh;
	return 0;
}

int vs_store_open_shared(const struct etcd_conf *conf, const struct etcd_pems *pems, struct vs_store **store,
			 struct err *e)
{
	struct vs_store *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return err_at(e, -ENOMEM, STORE, "out of memory");
	if (sqlite3_open_v2(":memory:", &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
		ret = store_failed(s, e);
	else
		ret = store_migrate(s, STORE, e);
	if (!ret)
		ret = rows_note(s, e);
	if (!ret)
		ret = shared_new(conf, pems, &s->shared, e);
	if (ret < 0) {
		vs_store_close(s);
		return ret;
	}
	*store = s;
	return 0;
}
