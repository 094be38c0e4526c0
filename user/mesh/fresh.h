/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freshness: what a peer proves of this very session, beside the certificate that it shows in every one. Each side
 * sends a challenge; the proof is bound to it, to the session (TLS exporter), to who dialled and to the certificate's
 * key.
 *
 *   challenge = level that is demanded (1) | random (32)
 *   proof     = level (1), and above OFF: length (1) | signature by the certificate's key; and for QUOTE: an
 * attestation whose report_data is bound to the same bytes that are signed
 */
#pragma once

#include <openssl/ssl.h>

#include "base/buf.h"
#include "identity/identity.h"

#define FRESH_RANDOM_LEN    32
#define FRESH_CHALLENGE_LEN (1 + FRESH_RANDOM_LEN)
#define FRESH_PROOF_MAX     ID_CERT_MAX
#define FRESH_MESSAGE_LEN   (16 + 1 + 1 + FRESH_RANDOM_LEN + 32 + 32)

struct fresh {
	uint8_t message[FRESH_MESSAGE_LEN]; /* what is signed */
	uint8_t report_data[ID_REPORT_DATA_LEN];
};

/* challenge: FRESH_CHALLENGE_LEN bytes. is_own: we prove, not the peer; by_dialler: who proves is the one that dialled.
 */
bool fresh_bind(SSL *ssl, bool is_own, bool by_dialler, const uint8_t *challenge, struct fresh *fresh);

/* With the key of `ssl`. An empty attestation: KEY. */
bool fresh_prove(SSL *ssl, const struct fresh *fresh, enum id_fresh level, struct in attestation, struct out *proof);
/* FRESH_* or the reason why the quote is refused. `peer`: what its certificate proved. */
int fresh_check(SSL *ssl, const struct fresh *fresh, enum id_fresh demanded, struct in proof,
		const struct id_trust *trust, const struct id_claims *peer, struct err *e);
