/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstack's versioned attestation, the content of RA-TLS extension .1.8: evidence of a platform, and what dstack's guest
 * logged. Version 0 is SCALE, version 1 MessagePack. What it proves is cert.c's to say.
 */
#pragma once

#include "eventlog.h"

#define ID_ATTESTATION_MAX       ID_CERT_MAX
#define ID_ATTESTATION_CERTS_MAX 4

enum id_attestation_kind { ID_ATTESTATION_TDX, ID_ATTESTATION_SNP };

/* Pointers go into what was read, or into the attestation's own bytes. */
struct id_attestation {
	unsigned version; /* 0 or 1 */
	enum id_attestation_kind kind;
	struct in evidence;                        /* TDX quote or SEV-SNP report */
	struct id_events events;                   /* TDX: the platform's log, as a rule stripped */
	struct id_events runtime;                  /* dstack's own events, those of RTMR3 */
	struct in certs[ID_ATTESTATION_CERTS_MAX]; /* SEV-SNP */
	uint32_t n_certs;
	struct in mr_config;   /* SEV-SNP: the document whose hash is HOST_DATA */
	struct in report_data; /* ID_REPORT_DATA_LEN, as the guest says */
	struct in config;      /* of the VM; proved by nothing */
	uint8_t *bytes;        /* owned: what came as arrays of numbers */
};

void id_attestation_fini(struct id_attestation *att);
/* ATTESTATION_MALFORMED, or QUOTE_UNSUPPORTED for platforms that can not be verified (GCP's TDX with a TPM, Nitro). */
int id_attestation_read(const uint8_t *bytes, size_t len, struct id_attestation *att, struct err *e);

/*
 * A TDX quote with its log, in version 0, or in version 1 where an event has a digest of version 2, which version 0 can
 * not say; every event of RTMR3 is a runtime event. is_stripped: as certificates carry it, without the firmware's
 * events. false: no memory, or larger than what either can say.
 */
bool id_attestation_write(struct out *out, struct in quote, const struct id_events *events,
			  const uint8_t report_data[ID_REPORT_DATA_LEN], bool is_stripped);

/* The parts, by format. */
bool id_attestation_scale(struct in in, struct id_attestation *att, bool *is_unsupported);
bool id_attestation_msgpack(struct in in, struct id_attestation *att, bool *is_unsupported);

/* --- extension .1.9: what the issuer read out of an attestation when it signed (MessagePack, 8 or 9 elements) --- */

#define ID_INIT_SCRIPTS_MAX 5

struct id_app_info {
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t compose_hash[ID_HASH_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	bool has_instance_id;
	uint8_t device_id[ID_HASH_LEN]; /* known to be SHA-256 of nothing in what dstack's KMS issues */
	uint8_t mr_system[ID_HASH_LEN], mr_aggregated[ID_HASH_LEN];
	uint8_t os_image_hash[ID_HASH_LEN]; /* from the requester's configuration */
	bool has_os_image_hash;
	struct in key_provider; /* JSON; points into what was read */
	bool has_init_scripts;  /* false: not said */
	uint32_t n_init_scripts;
	uint8_t init_script[ID_INIT_SCRIPTS_MAX][ID_HASH_LEN];
};

int id_app_info_read(struct in in, struct id_app_info *info, struct err *e);
void id_app_info_write(struct out *out, const struct id_app_info *info); /* 8 elements, 9 with init scripts */

/* --- SEV-SNP: who runs inside is in a document that HOST_DATA is the hash of --- */

#define ID_MR_CONFIG_MAX 4096

/* Fills the identity in `log`. The host sets HOST_DATA: it counts because the measured guest compares itself with it.
 */
int id_mr_config_read(struct in document, const uint8_t host_data[32], struct id_log *log, struct err *e);
