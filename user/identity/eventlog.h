/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event logs: dstack's JSON, the firmware's binary CCEL, and the events of an attestation (attestation.h). Each becomes
 * a list of events; the list is replayed, and only then asked who the guest is.
 */
#pragma once

#include "base/buf.h"
#include "identity/identity.h"

#define ID_EVENTLOG_MAX    (192 * 1024)  /* bytes of JSON */
#define ID_CCEL_MAX        (1024 * 1024) /* bytes of a binary log with its filler */
#define ID_EVENTS_MAX      1024
#define ID_EVENT_NAME_MAX  64
#define ID_EVENT_RUNTIME   0x08000001u
#define ID_EVENT_NO_ACTION 3u /* EV_NO_ACTION: information for the reader, never extended */
#define ID_RTMRS           4

/* Pointers go into what was read, or into the list's own bytes. */
struct id_event {
	unsigned rtmr; /* 0..3 */
	uint32_t type;
	unsigned version;      /* of a runtime event's digest: 1 or 2 */
	struct in name;        /* of a runtime event */
	struct in payload;     /* proved for runtime events only: their digest is computed from it */
	struct in preimage;    /* p is NULL when not given */
	const uint8_t *digest; /* ID_MR_LEN; NULL when not given */
};

struct id_events {
	struct id_event *at;
	size_t n;
	bool is_binary; /* no names: nothing in it says who the guest is */
	uint8_t *bytes; /* what hex decoded to */
};

void id_events_fini(struct id_events *events);
/* The next entry of the list, zeroed. NULL: there are ID_EVENTS_MAX already, or no memory. */
struct id_event *id_events_add(struct id_events *events);

/* dstack's JSON: an array of {imr, event_type, digest, event, event_payload}. */
int id_events_from_json(const char *json, size_t len, struct id_events *events, struct err *e);
/* TCG PC Client Platform Firmware Profile, 10.2 (crypto-agile), as the CCEL table of ACPI points to it. Borrows
 * `bytes`. */
int id_events_from_ccel(const uint8_t *bytes, size_t len, struct id_events *events, struct err *e);

/* What the events before `system-ready` say. Later ones are the application's own and never looked at. */
struct id_log {
	uint8_t rtmr[ID_RTMRS][ID_MR_LEN]; /* replayed */
	unsigned n_events[ID_RTMRS];       /* that extended them */
	/*
	 * dstack strips logs: of RTMR0..2 only the "ACPI DATA" events stay. Such a log replays to RTMR3 alone; in any
	 * other all four registers must be right.
	 */
	bool is_stripped;
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	bool has_instance_id;
	uint8_t compose_hash[ID_HASH_LEN];
	uint8_t os_image_hash[ID_HASH_LEN];
	bool has_os_image_hash;
	char key_provider[64];
	uint8_t key_provider_sha256[ID_HASH_LEN]; /* of the whole payload, which names the provider's key; zero: no
						     event */
};

/* Digest of a runtime event, `version` 1 or 2. */
bool id_event_digest(unsigned version, struct in name, struct in payload, uint8_t digest[ID_MR_LEN]);
bool id_rtmr_extend(uint8_t mr[ID_MR_LEN], const uint8_t digest[ID_MR_LEN]);

/* Fills rtmr, n_events and is_stripped. Digests of RTMR3 are computed, and compared where one is given. */
int id_events_replay(const struct id_events *events, struct id_log *log, struct err *e);
/* Compares what was replayed with a quote's registers. */
int id_log_compare(const struct id_log *log, const uint8_t rtmr[ID_RTMRS][ID_MR_LEN], struct err *e);
/* One app-id and one compose-hash, at most one instance-id, os-image-hash and key-provider. */
int id_events_identity(const struct id_events *events, struct id_log *log, struct err *e);

/* All of the above over a JSON log. rtmr NULL: no quote to compare with, nothing is proved. */
int id_eventlog_read(const char *json, size_t len, const uint8_t (*rtmr)[ID_MR_LEN], struct id_log *log, struct err *e);
