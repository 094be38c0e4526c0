/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Record exchange over RA-TLS: mutual TLS 1.3 between configured endpoints; the certificates carry the evidence and
 * each side verifies the other's before it says anything. Room prefix mx_. docs/record.md, "Exchange", has the bytes:
 *
 *   frame = type (1) | length (4, big endian) | payload
 *   type 1: a node record, at most ID_RECORD_MAX bytes.  type 2: a refusal, an evidence reason's name (ASCII, <= 64)
 *   type 3: a challenge.  type 4: its proof (fresh.h)
 *
 * Both send a challenge at once and answer the other's. When both have proved what was demanded, the dialler sends its
 * record. The listener answers with its own only when that verified. Who refuses says so; then both close.
 */
#pragma once

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "identity/identity.h"

#define MX_ORIGIN_LEN    256
#define MX_SESSIONS_MAX  256 /* at once; beyond it the listener pauses */
#define MX_SESSION_MAX_S 10  /* from accept or dial to the end, beside the budget for a quote */

struct mx;

struct mx_conf {
	struct event_base *base;
	const char *cert_pem, *key_pem; /* kept by the TLS library, not by reference */
	/* filled by the caller for each use, because the clock is in it */
	void (*trust)(struct id_trust *trust, void *arg);
	/* A record that verified and is the peer's own. 0: it may be answered. */
	int (*node)(const struct id_node *node, const uint8_t *bytes, size_t len, const char *origin, struct err *e,
		    void *arg);
	/* A peer or its record was refused, here or (is_remote) by the other side. */
	void (*refused)(const char *origin, const struct err *e, bool is_remote, void *arg);
	enum id_fresh fresh; /* what each peer must prove */
	unsigned budget_s;   /* that a TEE may take for a quote, ours or the peer's */
	/* Has this node's TEE quote these 64 bytes; mx_quoted() follows, not from within. <0: it can not. NULL: there
	 * is none. */
	int (*quote)(uint64_t token, const uint8_t report_data[ID_REPORT_DATA_LEN], void *arg);
	void *arg;
};

int mx_new(const struct mx_conf *conf, struct mx **mx, struct err *e);
void mx_free(struct mx *mx); /* accepts NULL */

/* The record to hand out; copied. Diallers call again at once. */
int mx_set_record(struct mx *mx, const uint8_t *bytes, size_t len);
int mx_listen(struct mx *mx, int fd, struct err *e); /* takes over a listening socket */
/*
 * Keeps exchanging with this endpoint: again after `refresh_s` when it went well, after 1, 2, 4 .. 60 s
 * (with jitter) when it did not.
 */
int mx_dial(struct mx *mx, const struct ip_endpoint *to, unsigned refresh_s, struct err *e);
/* Another certificate and key, from the next mx_set_record() on, whose record they have signed. */
int mx_renew(struct mx *mx, const char *cert_pem, const char *key_pem, struct err *e);
/* An attestation; len 0: the TEE did not answer. A session that has ended since is no matter. */
void mx_quoted(struct mx *mx, uint64_t token, const uint8_t *attestation, size_t len);
