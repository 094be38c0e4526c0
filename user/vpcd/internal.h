/* SPDX-License-Identifier: Apache-2.0 */
/* What front and store say to each other: structures of exact size; a record follows one, or comes as a blob. */
#pragma once

#include "baileyd/ipc.h"
#include "vpcd.h"

enum vs_msg_type {
	/* store -> front, at start; with etcd whenever there is something */
	VS_ROW = 1, /* struct vs_row, and the record where it has one; later: another server changed it */
	VS_READY,   /* struct vs_msg_ready: these were all; later: so far, so good */
	/* front -> store */
	VS_GRANT,   /* struct vs_msg_grant */
	VS_PUBLISH, /* struct vs_msg_publish, and the record */
	VS_STATS,   /* struct vs_msg_stats, each second when they changed */
	VS_LINK,    /* struct vs_msg_link */
	VS_API,     /* struct vs_msg_api */
	/* store -> front: on disk when it comes */
	VS_GRANTED,   /* struct vs_msg_granted */
	VS_PUBLISHED, /* struct vs_msg_published */
	VS_SET,       /* struct vs_msg_set: somebody revoked or allowed a node */
	VS_API_DONE,  /* struct vs_msg_api_done, and the JSON of an answer */
};

struct vs_msg_ready {
	uint8_t network[VPC_NETWORK];
	uint64_t serial;
	int64_t fresh_until; /* of vs_clock_ms(): nobody is served any more then */
};

struct vs_msg_grant {
	uint64_t id; /* of the session */
	struct vs_who who;
};

struct vs_msg_granted {
	uint64_t id;
	int32_t code;
	struct err err;
	uint32_t number;
};

struct vs_msg_publish {
	uint64_t id;
	struct vs_record record;
};

struct vs_msg_published {
	uint64_t id;
	int32_t code;
	struct err err;
	uint64_t serial;
};

struct vs_msg_set {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint32_t is_revoked;
	uint64_t serial;
};

enum vs_api_path {
	VS_API_NOWHERE,
	VS_API_HEALTH,
	VS_API_PING,
	VS_API_REGISTER,
	VS_API_UPDATE,
	VS_API_DISCOVER,
	VS_API_NODES,
};

struct vs_msg_api {
	uint64_t id;   /* of the connection */
	uint32_t path; /* enum vs_api_path */
	struct vs_caller who;
	struct vs_api_node node;  /* as in struct vs_api_request */
	uint8_t key[VS_KEY_HASH]; /* REGISTER: of the key that is to be good */
};

struct vs_msg_api_done {
	uint64_t id;
	int32_t status;
};

struct vs_msg_link {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint32_t is_up;
};

struct vs_msg_stats {
	uint64_t sessions, accepted, changes_sent;
	uint64_t api_requests, api_refused;
	uint64_t accept_failed;            /* of nodes and of the API: times, one a second at most */
	uint64_t refused[ID_REASON_COUNT]; /* [ID_NONE]: connections that failed */
	int64_t own_until;                 /* end of the own evidence */
};

/* A structure, then bytes: in the message where they fit, else as a blob. */
int vs_send(struct ipc *ipc, enum vs_msg_type type, const void *head, size_t head_len, const void *bytes, size_t len);
/* The same at the other end. *copy: to be freed; NULL where *bytes lies in the message. false: it is no such message.
 */
bool vs_take(const struct ipc_msg *msg, size_t head_len, const uint8_t **bytes, size_t *len, uint8_t **copy);

/* --- authkeys.c --- */

#define VS_KEY_PREFIX "bailey-"
#define VS_KEY_TEXT   64

/* A new key, and what is kept of it. */
int vs_key_new(char text[VS_KEY_TEXT], uint8_t hash[VS_KEY_HASH], struct err *e);
