/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node and the control plane say to each other over RA-TLS (docs/vpc.md). Room prefix vpc_.
 *
 *   frame = type (1) | length (4, big endian) | payload
 *
 *   node:    HELLO, HAVE; RECORD once it has addresses and whenever it renews; PING when it is quiet
 *   server:  GRANT or REFUSED; CHANGE, REVOKED, ALLOWED for what the node has not; MARK: that was all, for now; TAKEN
 */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bailey/abi.h"
#include "base/buf.h"
#include "identity/identity.h"

#define VPC_ALPN       "bailey-vpc/1"
#define VPC_HEAD       5
#define VPC_NETWORK    16   /* bytes that name a network: random, made with its store */
#define VPC_DIGEST     32   /* of a record */
#define VPC_HELLO_MAX  1024 /* bytes of JSON; GRANT too */
#define VPC_HAVE_MAX   (BY_MAX_IDENTITIES * VPC_DIGEST)
#define VPC_REASON_MAX 64
#define VPC_KEY_TEXT   128 /* of a pre-auth key, with NUL */

enum vpc_frame {
	VPC_HELLO = 1, /* struct vpc_hello as JSON */
	VPC_HAVE,      /* digests of the records that the node has */
	VPC_RECORD,    /* its own */
	VPC_PING,      /* empty, answered by MARK */

	VPC_GRANT = 16, /* struct vpc_grant as JSON */
	VPC_CHANGE,     /* serial, record */
	VPC_REVOKED,    /* serial, instance */
	VPC_ALLOWED,    /* serial, instance: it is not revoked any more */
	VPC_MARK,       /* serial: the node has heard of everything up to it */
	VPC_TAKEN,      /* serial: the node's record is stored, and others hear of it */
	VPC_REFUSED,    /* name of a reason; the server hangs up */
};

struct vpc_hello {
	char node[BY_NODE_NAME_LEN];
	uint64_t serial;        /* 0: it has heard of nothing yet */
	char key[VPC_KEY_TEXT]; /* pre-auth key; "": none */
};

struct vpc_grant {
	uint8_t network[VPC_NETWORK];
	uint64_t serial;
	struct by_addr addrs[ID_MAX_ADDRS];
	uint32_t n_addrs;
};

/* Printable and without blanks, at least 16 characters. */
bool vpc_key_ok(const char *key);
/* SERVER_MALFORMED with what is wrong. */
int vpc_hello_read(struct in in, struct vpc_hello *hello, struct err *e);
int vpc_grant_read(struct in in, struct vpc_grant *grant, struct err *e);
/* malloc'ed; NULL: out of memory */
char *vpc_hello_text(const struct vpc_hello *hello);
char *vpc_grant_text(const struct vpc_grant *grant);

bool vpc_serial_read(struct in *in, uint64_t *serial);
void vpc_head_put(uint8_t head[VPC_HEAD], enum vpc_frame type, size_t len);
void vpc_serial_put(uint8_t at[8], uint64_t serial);

void vpc_send(struct evbuffer *out, enum vpc_frame type, const void *data, size_t len);
/* With a serial before `len` bytes; data NULL: the caller adds them. */
void vpc_send_serial(struct evbuffer *out, enum vpc_frame type, uint64_t serial, const void *data, size_t len);

/*
 * 1: a frame is whole; *payload is good until vpc_frame_drop(). 0: not yet. -EBADMSG: no frame of this side's, or too
 * long.
 */
int vpc_frame_next(struct evbuffer *in, bool from_node, enum vpc_frame *type, struct in *payload, struct err *e);
void vpc_frame_drop(struct evbuffer *in, size_t len); /* of its payload */
