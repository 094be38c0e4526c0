/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#pragma once

#include "agent.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "identity/attestation.h"
#include "keys.h"

#define AG_DATA_MAX (1 << 20) /* bytes of data to sign */

struct agent {
	struct ag_conf conf;
	char *compose; /* text of app-compose.json */
	struct ag_keys keys;
	struct ag_tee *tee;
	char *kms_ca; /* PEM of the KMS's root; NULL: keys are our own */
};

DEFINE_CLEANUP(json, json_t, json_decref)
#define auto_json auto_call(cleanup_json)

/* args.c: members of a request. An absent one is its type's empty value, as protobuf has it. */
int arg_text(const json_t *args, const char *name, const char **text, struct err *e);
int arg_bool(const json_t *args, const char *name, bool *value, struct err *e);
/* A count of seconds; *has says whether it is there. */
int arg_time(const json_t *args, const char *name, bool *has, int64_t *value, struct err *e);
/* Hex, with or without 0x; *bytes is malloc'ed, never NULL on success. */
int arg_bytes(const json_t *args, const char *name, size_t max, uint8_t **bytes, size_t *len, struct err *e);

/* evidence.c: a quote, its log, and what dstack makes of the two */
struct evidence {
	uint8_t report_data[ID_REPORT_DATA_LEN];
	uint8_t *quote; /* NULL: none was asked for */
	size_t quote_len;
	char *event_log;
	struct id_events events; /* of event_log */
};
void evidence_fini(struct evidence *ev);
/* ev->report_data is filled by the caller. */
int evidence_get(struct agent *agent, struct evidence *ev, struct err *e);
int evidence_attestation(const struct evidence *ev, bool is_stripped, struct out *out, struct err *e);
/* `info` points into `ev`. */
int evidence_app_info(const struct evidence *ev, struct id_app_info *info, struct err *e);

/* tls.c */
struct tls_request {
	const json_t *args;
	const uint8_t *seed; /* scalar of the key; NULL: a fresh one */
	bool is_legacy;      /* evidence as quote and event log */
};
int ag_tls_key(struct agent *agent, const struct tls_request *req, json_t **answer, struct err *e);

/* info.c */
int ag_info(struct agent *agent, json_t **answer, struct err *e);

/* tappd.c */
int ag_tappd_call(struct agent *agent, const char *method, const json_t *args, json_t **answer, struct err *e);

/* service.c */
int ag_key_answer(struct agent *agent, const json_t *args, const char *key_name, const char *chain_name,
		  json_t **answer, struct err *e);
int ag_version(struct agent *agent, const json_t *args, json_t **answer, struct err *e);

/* kms_keys.c */
int ag_kms_keys(struct agent *agent, struct err *e);
/* Leaf, app CA, root. */
int ag_kms_sign(struct agent *agent, EVP_PKEY *key, const struct id_leaf_request *req, bool with_evidence,
		bool with_app_info, json_t **chain, struct err *e);
