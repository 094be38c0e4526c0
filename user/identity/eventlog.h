/* SPDX-License-Identifier: Apache-2.0 */
/* dstack's JSON event log: replay of RTMR3 and the identity that the replayed events carry. */
#pragma once

#include "identity/identity.h"

#define ID_EVENTLOG_MAX   (192 * 1024) /* bytes of JSON */
#define ID_EVENTS_MAX     1024
#define ID_EVENT_NAME_MAX 64
#define ID_EVENT_RUNTIME  0x08000001u

/* What the events before `system-ready` say. Later ones are the application's own and never looked at. */
struct id_log {
	uint8_t rtmr3[ID_MR_LEN]; /* replayed */
	unsigned n_runtime;       /* events in RTMR3 */
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	bool has_instance_id;
	uint8_t compose_hash[ID_HASH_LEN];
	uint8_t os_image_hash[ID_HASH_LEN];
	bool has_os_image_hash;
	char key_provider[64];
};

/* Digest of a runtime event, `version` 1 or 2. */
bool id_event_digest(unsigned version, const char *name, const void *payload, size_t len, uint8_t digest[ID_MR_LEN]);
bool id_rtmr_extend(uint8_t mr[ID_MR_LEN], const uint8_t digest[ID_MR_LEN]);

/*
 * Reads a log, replays it, compares with rtmr3 (NULL: no quote to compare with, nothing is proved), then looks for
 * the identity: one app-id and one compose-hash, at most one instance-id, os-image-hash and key-provider.
 */
int id_eventlog_read(const char *json, size_t len, const uint8_t rtmr3[ID_MR_LEN], struct id_log *log, struct err *e);
