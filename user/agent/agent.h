/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest agent: answers the calls of dstack's (DstackGuest and the legacy Tappd, JSON over HTTP on a Unix socket) with
 * keys of its own and evidence from a back end. Room prefix ag_. docs/agent.md has the calls.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "identity/identity.h"
#include "identity/issue.h"

#define AG_VERSION      "0.5.8" /* of dstack's agent: the calls that we serve are those of this version */
#define AG_QUOTE_MAX    (128 * 1024)
#define AG_COMPOSE_MAX  (1 << 20)
#define AG_ANSWER_MAX   (4u << 20)
#define AG_EVENT_MAX    1024 /* bytes of an event's payload */
#define AG_CALL_TIMEOUT 60   /* seconds, as dstack's clients wait */

/* --- evidence --- */

struct ag_tee;

struct ag_tee_ops {
	const char *name;
	/* A quote over report_data, and the event log that belongs to it. Both malloc'ed. */
	int (*quote)(struct ag_tee *tee, const uint8_t report_data[ID_REPORT_DATA_LEN], uint8_t **quote, size_t *len,
		     char **event_log, struct err *e);
	/* Extends RTMR3 by a runtime event. NULL: this back end can not. */
	int (*emit)(struct ag_tee *tee, const char *event, const uint8_t *payload, size_t len, struct err *e);
	void (*close)(struct ag_tee *tee);
};

struct ag_tee {
	const struct ag_tee_ops *ops;
};

/* `dir`: files of `bailey dev-identity root`. Everything it makes says SIMULATED. */
int ag_tee_sim(const char *dir, const struct id_sim_request *identity, struct ag_tee **tee, struct err *e);
/* Linux configfs-tsm; `configfs` is where it is mounted. event_log: a file, read for each quote; NULL: "[]". */
int ag_tee_tsm(const char *configfs, const char *event_log, struct ag_tee **tee, struct err *e);
/* /dev/tdx_guest and the host's quoting service. */
int ag_tee_tdx(const char *device, const char *qgs, const char *event_log, struct ag_tee **tee, struct err *e);
void ag_tee_close(struct ag_tee *tee); /* accepts NULL */

/* --- the agent --- */

struct ag_conf {
	const char *state;   /* directory for the seed of all keys, 0700 */
	const char *compose; /* app-compose.json; its SHA-256 is the compose hash */
	const char *kms;     /* URL of a KMS that gives the keys; NULL: they are our own */
	const char *kms_ca;  /* file with its root certificate */
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint8_t compose_hash[ID_HASH_LEN];
};

struct agent;

/* Takes over `tee`. */
int ag_new(const struct ag_conf *conf, struct ag_tee *tee, struct agent **agent, struct err *e);
void ag_free(struct agent *agent); /* accepts NULL */

enum ag_service { AG_DSTACK, AG_TAPPD };

/* One call. -ENOENT: no such method; -EINVAL: bad arguments; the error is what the caller is told. */
int ag_call(struct agent *agent, enum ag_service service, const char *method, const json_t *args, json_t **answer,
	    struct err *e);
