/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures by the key process. Who has its channel can have one thing signed: the transcript hash of a TLS 1.3
 * handshake, around which the key process itself puts the words of RFC 8446, 4.4.3. So a worker that was taken over
 * can speak TLS in the node's name while it lives, and can neither take the key away nor sign anything else with it: no
 * record, no certificate request, no challenge of another protocol.
 */
#pragma once

#include <event2/event.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "identity/crypto.h"

#define SIGN_HASH_MAX 48 /* SHA-384; SHA-256 has 32 */
#define SIGN_SIG_MAX  ID_ECDSA_MAX
#define SIGN_KEYS_MAX 4 /* of one node at once: the newest and those before, while it is renewed */

enum sign_side { SIGN_CLIENT, SIGN_SERVER, SIGN_SIDES };

struct sign_ask {
	uint64_t token;
	uint32_t key, side, hash_len;
	uint8_t hash[SIGN_HASH_MAX]; /* zero beyond hash_len */
};

struct sign_answer {
	uint64_t token;
	int32_t code; /* 0 or -errno; then there is no signature */
	uint32_t len;
	uint8_t sig[SIGN_SIG_MAX];
};

/* --- in the key process --- */

struct sign_ring; /* the keys and who may have things signed by them */

int sign_ring_new(struct event_base *base, struct sign_ring **ring, struct err *e);
void sign_ring_free(struct sign_ring *ring); /* accepts NULL; the keys are wiped */
/* The oldest goes where there are SIGN_KEYS_MAX. Only P-256. */
int sign_ring_add(struct sign_ring *ring, uint32_t number, const char *key_pem, uint8_t spki[ID_SPKI_LEN],
		  struct err *e);
void sign_ring_forget(struct sign_ring *ring, uint32_t number); /* one that is not used: those before it stay */
int sign_ring_serve(struct sign_ring *ring, int fd);            /* takes over one end of a SOCK_SEQPACKET pair */
/* What one question gets. */
void sign_ring_answer(const struct sign_ring *ring, const struct sign_ask *ask, struct sign_answer *answer);

/* --- in a worker: a private key for OpenSSL that is not there --- */

struct sign_client;

/* Once in a process, before it is boxed. */
int sign_client_new(struct sign_client **client, struct err *e);
void sign_client_free(struct sign_client *client);        /* accepts NULL; after the last key */
void sign_client_use(struct sign_client *client, int fd); /* takes over the other end; the one before is closed */
/* The key with this number, whose public part is `spki`. It signs what a TLS 1.3 handshake signs; it waits for that. */
int sign_client_key(struct sign_client *client, uint32_t number, const uint8_t spki[ID_SPKI_LEN], EVP_PKEY **key,
		    struct err *e);
