/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict DER of what Intel's certificates are made of: one-byte tags, definite lengths in their shortest form. Getters
 * return false and leave the cursor where it was. Nothing recurses. OpenSSL's X.509 parser takes as long as two
 * signatures for each certificate; this takes a microsecond.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	DER_BOOLEAN = 0x01,
	DER_INTEGER = 0x02,
	DER_BITS = 0x03,
	DER_OCTETS = 0x04,
	DER_OID = 0x06,
	DER_ENUM = 0x0a,
	DER_UTF8 = 0x0c,
	DER_PRINTABLE = 0x13,
	DER_UTC_TIME = 0x17,
	DER_TIME = 0x18,
	DER_SEQ = 0x30,
	DER_SET = 0x31,
	DER_CONTEXT_0 = 0xa0,
	DER_CONTEXT_3 = 0xa3,
};

/* The next element, whatever its tag. `whole`, when not NULL, is the element with tag and length. */
bool id_der_next(struct in *in, uint8_t *tag, struct in *content, struct in *whole);
/* The next element when it has this tag. */
bool id_der_get(struct in *in, uint8_t tag, struct in *content);
/* The same, where nothing may follow. */
bool id_der_only(struct in in, uint8_t tag, struct in *content);
bool id_der_is(const struct in *in, uint8_t tag);                        /* has the next one this tag? */
bool id_der_uint(struct in *in, uint8_t tag, uint64_t max, uint64_t *v); /* INTEGER or ENUMERATED, 0..max */
bool id_der_bool(struct in *in, bool *v);
bool id_der_time(struct in *in, int64_t *unix_s); /* UTCTime or GeneralizedTime, to the second, Z */
bool id_der_equal(const struct in *a, const struct in *b);
