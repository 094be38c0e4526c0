/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an attested node record: docs/record.md. */
#pragma once

#include "identity/crypto.h"
#include "identity/identity.h"

#define ID_RECORD_VERSION     1
#define ID_RECORD_TAG         "bailey-node-record-v1" /* with its NUL in front of what is signed */
#define ID_RECORD_PAYLOAD_MAX 4096
#define ID_RECORD_EPOCH_MAX   ((UINT64_C(1) << 53) - 1) /* jq and JavaScript count no further */

/* A record's parts, in canonical form. Nothing is proved. */
struct id_envelope {
	struct id_record record;
	uint8_t cert_sha256[32]; /* the payload's word on which certificate goes with it */
	uint8_t payload[ID_RECORD_PAYLOAD_MAX];
	size_t payload_len;
	uint8_t *cert; /* DER, malloc'ed */
	size_t cert_len;
	uint8_t sig[ID_ECDSA_MAX];
	size_t sig_len;
};

int id_envelope_read(const uint8_t *bytes, size_t len, struct id_envelope *envelope, struct err *e);
void id_envelope_fini(struct id_envelope *envelope);
/* The one way to write these parts down. *bytes is malloc'ed. */
int id_envelope_write(const struct id_envelope *envelope, uint8_t **bytes, size_t *len, struct err *e);

/* Canonical payload. RECORD_MALFORMED when a field is out of its bounds. */
int id_payload_write(const struct id_record *record, const uint8_t cert_sha256[32], uint8_t *payload, size_t *len,
		     struct err *e);
int id_payload_read(const uint8_t *payload, size_t len, struct id_record *record, uint8_t cert_sha256[32],
		    struct err *e);
