/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control plane knows, in one SQLite file. The clock is an argument. Changes are made between vs_store_begin()
 * and vs_store_commit(); nothing may be told to anybody before that has returned 0.
 */
#pragma once

#include "identity/identity.h"
#include "vpc/wire.h"

struct vs_store;

enum vs_state { VS_PENDING, VS_MEMBER, VS_REVOKED, VS_STATES };

struct vs_who {
	uint8_t instance_id[BY_INSTANCE_ID_LEN], app_id[BY_APP_ID_LEN];
	char node[BY_NODE_NAME_LEN];
	char from[ENDPOINT_TEXT];
	uint32_t is_simulated;
};

struct vs_limits {
	uint32_t numbers;   /* addresses for 1 .. numbers */
	uint32_t max_nodes; /* rows */
	uint32_t approve;   /* a new instance is no member before somebody says so */
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
	struct vs_record record; /* where it has one; not_after always: the end of its lease */
};

/* Made where there is none; an older version is brought to this one, a newer is refused. */
int vs_store_open(const char *path, struct vs_store **store, struct err *e);
void vs_store_close(struct vs_store *store); /* accepts NULL */
const uint8_t *vs_store_network(const struct vs_store *store);
uint64_t vs_store_serial(const struct vs_store *store); /* of the last change; grows, and is never used twice */

int vs_store_begin(struct vs_store *store, struct err *e);
int vs_store_commit(struct vs_store *store, struct err *e);

/* A lease for a member: its number stays its own as long as its row does. RECORD_NAME, RECORD_REVOKED, NOT_APPROVED. */
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

typedef void (*vs_row_fn)(const struct vs_row *row, const void *record, size_t len, void *arg);
/* In the order of their changes. */
int vs_store_each(struct vs_store *store, vs_row_fn fn, void *arg, struct err *e);

/* A copy of the file at `path` as it is now, while it is in use. An existing `out` is not replaced. */
int vs_store_backup(const char *path, const char *out, struct err *e);
