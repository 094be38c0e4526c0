/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#pragma once

#include "base/cleanup.h"
#include "base/json.h"
#include "kms.h"

DEFINE_CLEANUP(json, json_t, json_decref)
#define auto_json auto_call(cleanup_json)

/* A call of the guest agent at this socket; blocks. */
int kms_agent_ask(const char *agent, const char *path, const json_t *args, json_t **answer, struct err *e);
/* The file behind fd is regular, ours, and nobody else has a part in it. */
int kms_private_fd(const char *path, int fd, struct err *e);

/* --- between the processes. From the front come structures of fixed size; to it go JSON texts. --- */

enum kms_msg_type {
	KMS_MSG_READY = 1, /* keys -> front: JSON of what the front needs */
	KMS_MSG_APP_KEYS,  /* front -> keys: struct kms_msg_request */
	KMS_MSG_SIGN,      /* the same with a blob: attestation or quote, event log, app_info */
	KMS_MSG_ENV_KEY,
	KMS_MSG_KMS_KEYS,
	KMS_MSG_ANSWER, /* keys -> front: struct kms_msg_answer, JSON */
	KMS_MSG_ASK,    /* front -> asker: struct kms_msg_ask, JSON */
	KMS_MSG_TOLD,   /* asker -> front: struct kms_msg_told */
};

/* Who asks, and what evidence said of him: all that the audit log needs. */
struct kms_msg_request {
	uint64_t id;
	struct kms_boot boot;
	struct id_csr csr;                                                /* SIGN */
	uint8_t spki_sha256[ID_HASH_LEN];                                 /* of the key that evidence is bound to */
	uint32_t attestation_len, quote_len, event_log_len, app_info_len; /* SIGN: parts of the blob, in this order */
	char gateway_app_id[KMS_TEXT_LEN];
	char from[ENDPOINT_TEXT];
};

struct kms_msg_answer {
	uint64_t id;
	int code; /* 0: the blob is the answer */
	struct err err;
};

struct kms_msg_ask {
	uint64_t id;
	enum kms_ask ask;
};

struct kms_msg_told {
	uint64_t id;
	int code;
	struct err err;
	struct kms_decision decision;
};
