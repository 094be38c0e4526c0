/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control plane knows: in one SQLite file, or in etcd, which several servers share. The clock is an argument.
 * Changes are made between vs_store_begin() and vs_store_commit(); nothing may be told to anybody before that has
 * returned 0. All decisions are SQL in either case: with etcd the database is a copy in memory (docs/vpc.md).
 */
#pragma once

#include "etcd.h"
#include "identity/identity.h"
#include "vpc/wire.h"

struct vs_store;

enum vs_state { VS_PENDING, VS_MEMBER, VS_REVOKED, VS_STATES };

#define VS_KEY_HASH 32 /* SHA-256 of a pre-auth key: nobody keeps the key itself */
#define VS_ORIGIN   64 /* who made a key: the app-id that asked for it, or "people" */

struct vs_who {
	uint8_t instance_id[BY_INSTANCE_ID_LEN], app_id[BY_APP_ID_LEN];
	char node[BY_NODE_NAME_LEN];
	char from[ENDPOINT_TEXT];
	uint32_t is_simulated;
	uint32_t has_key; /* a pre-auth key came with the hello */
	uint8_t key[VS_KEY_HASH];
};

struct vs_limits {
	uint32_t numbers;   /* addresses for 1 .. numbers */
	uint32_t max_nodes; /* rows */
	uint32_t approve;   /* a new instance is no member before somebody says so, or a pre-auth key does */
};

/* A verified record. */
struct vs_record {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint8_t wg_key[ID_WG_KEY_LEN], digest[VPC_DIGEST];
	uint64_t epoch;
	int64_t not_after; /* of record and evidence, the earlier */
};

struct vs_row {
	struct vs_who who; /* node "": its name went to another when its lease had ended */
	uint32_t number;
	enum vs_state state;
	uint64_t serial; /* of the last change */
	uint64_t lifted; /* of the change that took a revocation back; 0: none */
	int64_t joined;
	uint32_t has_record;
	uint32_t is_ephemeral;   /* forgotten when its lease has ended */
	struct vs_record record; /* where it has one; not_after always: the end of its lease */
};

/* Made where there is none; an older version is brought to this one, a newer is refused. */
int vs_store_open(const char *path, struct vs_store **store, struct err *e);
void vs_store_close(struct vs_store *store); /* accepts NULL */
const uint8_t *vs_store_network(const struct vs_store *store);
uint64_t vs_store_serial(const struct vs_store *store); /* of the last change; grows, and is never used twice */

int vs_store_begin(struct vs_store *store, struct err *e);
/*
 * Another error than -EAGAIN: with a file, there is no going on. With etcd nothing may be answered, and later commits
 * may work. -EAGAIN, with etcd: another server was first, or no answer came; nothing was changed here, what it did is
 * in this copy now, and all is asked again from begin. So whoever asks twice must be answered as if it was once.
 */
int vs_store_commit(struct vs_store *store, struct err *e);
/* For several requests in one commit: before each, and behind it. false: it was one too many and is undone. */
int vs_store_mark(struct vs_store *store, struct err *e);
bool vs_store_fits(struct vs_store *store);

/*
 * A lease for a member: its number stays its own as long as its row does. RECORD_NAME, RECORD_REVOKED, NOT_APPROVED,
 * AUTH_KEY.
 */
int vs_store_grant(struct vs_store *store, const struct vs_who *who, const struct vs_limits *limits, int64_t now,
		   uint32_t *number, struct err *e);
/* RECORD_EPOCH, RECORD_KEY, RECORD_REVOKED. *serial: of the change, or of the last one where nothing changed. */
int vs_store_publish(struct vs_store *store, const struct vs_record *record, const void *bytes, size_t len, int64_t now,
		     uint64_t *serial, struct err *e);
/* A revoked one that is allowed is a member again. -ENOENT: nobody. */
int vs_store_set(struct vs_store *store, const uint8_t instance_id[BY_INSTANCE_ID_LEN], enum vs_state state,
		 int64_t now, uint64_t *serial, struct err *e);
/* By name, instance-id or the first 8 and more digits of one. -ENOENT, -EEXIST: several. */
int vs_store_find(struct vs_store *store, const char *text, uint8_t instance_id[BY_INSTANCE_ID_LEN], struct err *e);

/* Ephemeral nodes, keys and entries of the API whose time is over go. Only needed where it has_ended(). */
bool vs_store_has_ended(struct vs_store *store, int64_t now);
int vs_store_end(struct vs_store *store, int64_t now, struct err *e);

/* --- pre-auth keys (store_keys.c) --- */

#define VS_KEYS_MAX     10000
#define VS_KEYS_MAX_APP 1000 /* of them made for one app through the REST API */

struct vs_key {
	uint8_t hash[VS_KEY_HASH];
	char origin[VS_ORIGIN];
	uint32_t is_reusable; /* else the first instance that uses it is the only one that ever may */
	uint32_t is_ephemeral, is_revoked;
	uint32_t has_instance; /* bound: no other instance may use it */
	uint8_t instance[BY_INSTANCE_ID_LEN];
	int64_t created, expires;
	uint32_t has_used_by;
	uint8_t used_by[BY_INSTANCE_ID_LEN]; /* the last one */
	int64_t used, uses;
};

/* The same key again changes nothing. -ENOSPC. With `replaces`: in place of what its origin had made for its instance.
 */
int vs_key_add(struct vs_store *store, const struct vs_key *key, bool replaces, int64_t now, struct err *e);
/* By the first 8 and more hex digits of its hash. -ENOENT, -EEXIST: several. */
int vs_key_revoke(struct vs_store *store, const char *id, uint8_t hash[VS_KEY_HASH], struct err *e);
typedef void (*vs_key_fn)(const struct vs_key *key, void *arg);
int vs_key_each(struct vs_store *store, vs_key_fn fn, void *arg, struct err *e); /* oldest first */

/* --- entries of dstack-vpc's REST API (store_api.c) --- */

#define VS_API_UUID    129
#define VS_API_TYPE    65
#define VS_API_IP      46
#define VS_API_HOST    256
#define VS_API_MAX     10000
#define VS_API_MAX_APP 1000

/* Who asks, as our mesh proved it. */
struct vs_caller {
	uint8_t app_id[BY_APP_ID_LEN], instance_id[BY_INSTANCE_ID_LEN];
	uint32_t has_instance;
};

/* "": not told. */
struct vs_api_node {
	char uuid[VS_API_UUID], type[VS_API_TYPE], ip[VS_API_IP], hostname[VS_API_HOST];
};

/*
 * A new entry, or what is told of one that is the caller's. -EPERM: it is another's, or the caller was revoked;
 * -ENOSPC.
 */
int vs_api_update(struct vs_store *store, const struct vs_caller *who, const struct vs_api_node *node, int64_t now,
		  int64_t lease_s, bool *is_new, struct err *e);
/* type NULL: all. Of type "etcd" the one that was updated last, as dstack-vpc has it. In the order of their uuids. */
typedef void (*vs_api_fn)(const struct vs_api_node *node, void *arg);
int vs_api_each(struct vs_store *store, const char *type, int64_t now, vs_api_fn fn, void *arg, struct err *e);
/* -EPERM: it was. */
int vs_caller_check(struct vs_store *store, const struct vs_caller *who, struct err *e);
/* *number: of the living node of that instance; 0: none. */
int vs_store_number(struct vs_store *store, const uint8_t instance_id[BY_INSTANCE_ID_LEN], int64_t now,
		    uint32_t *number, struct err *e);
int64_t vs_api_count(struct vs_store *store);

typedef void (*vs_row_fn)(const struct vs_row *row, const void *record, size_t len, void *arg);
/* In the order of their changes. */
int vs_store_each(struct vs_store *store, vs_row_fn fn, void *arg, struct err *e);

/* --- etcd alone; with a file vs_store_is_shared() is false, and nothing else may be called --- */

#define VS_SERVERS_MAX 64
#define VS_LEASE_S     10

/* One of those that share the store. */
struct vs_server {
	char id[17]; /* of its process */
	char listen[ENDPOINT_TEXT];
	int64_t sessions, since;
};

struct vs_watcher {
	vs_row_fn row;                /* changed by another server */
	void (*caught_up)(void *arg); /* these were all, for now */
	void *arg;
};

/* `pems` is kept by reference. Asks nobody yet: the store is empty and refuses every change until it is loaded. */
int vs_store_open_shared(const struct etcd_conf *conf, const struct etcd_pems *pems, struct vs_store **store,
			 struct err *e);
/* What etcd has. -EBADMSG: it can not be used, as what is of a newer version; else nobody answers, and it may be tried
 * again. */
int vs_store_load(struct vs_store *store, struct err *e);
bool vs_store_is_loaded(const struct vs_store *store);
bool vs_store_is_shared(const struct vs_store *store);
void vs_store_watch(struct vs_store *store, const struct vs_watcher *watcher);
/* Takes what other servers have changed, waiting up to wait_ms. <0: what is in etcd can not be used. */
int vs_store_pump(struct vs_store *store, int wait_ms, struct err *e);
int vs_store_fd(struct vs_store *store); /* to be pumped when it is readable, and each second; -1: not now */
/* Says that this server is there; and hears that this copy is the newest there is, which is good for VS_LEASE_S. */
int vs_store_beat(struct vs_store *store, struct vs_server *self, struct err *e);
int64_t vs_store_fresh_until(const struct vs_store *store); /* ms of vs_clock_ms() */
int64_t vs_clock_ms(void);                                  /* monotonic, and goes on while the machine sleeps */
const struct vs_server *vs_store_servers(const struct vs_store *store, size_t *n);

/*
 * A copy of the file at `path` as it is now, while it is in use. An existing `out` is not replaced. Nodes that have
 * heard of what came after it would refuse a store that was put back from it as an older state: so a server's first
 * commit is vs_store_resume(), after which the store's serial is above all of the past.
 */
int vs_store_backup(const char *path, const char *out, struct err *e);
void vs_store_resume(struct vs_store *store, int64_t now);
