/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MessagePack, as much of it as dstack uses. One item at a time and no skipping: a reader asks for what must come next,
 * so nothing nests and what is not expected is refused. Numbers and lengths must be in their shortest form.
 */
#pragma once

#include "base/buf.h"

enum mp_type { MP_NIL, MP_UINT, MP_STR, MP_BIN, MP_ARRAY, MP_MAP };

struct mp_item {
	enum mp_type type;
	uint32_t n;      /* the number; or how many elements follow, for a map pairs */
	struct in bytes; /* of a string or binary */
};

/* Integers up to 32 bits without sign; false for any other type, floats and extensions among them. */
bool mp_read(struct in *in, struct mp_item *item);
bool mp_uint(struct in *in, uint32_t *v);
bool mp_str(struct in *in, struct in *text);
bool mp_bin(struct in *in, struct in *bytes);
bool mp_array(struct in *in, uint32_t *n);
/* A map of exactly n pairs. */
bool mp_map(struct in *in, uint32_t n);
/* This string comes next. */
bool mp_key(struct in *in, const char *key);
bool mp_is(struct in text, const char *expected);
/*
 * Bytes, as a binary or as an array of numbers 0..255. The latter are copied to *room, which has at least in->left
 * bytes, and *room moves on.
 */
bool mp_blob(struct in *in, uint8_t **room, struct in *bytes);

/* Written in the shortest form; what needs more than 16 bits of length makes the output fail. */
void mp_put_nil(struct out *out);
void mp_put_number(struct out *out, uint32_t v);
void mp_put_text(struct out *out, const void *p, size_t len);
void mp_put_pairs(struct out *out, size_t n); /* a map; at most 15 */
/* Bytes as an array of numbers, which is how dstack has most of them. */
void mp_put_numbers(struct out *out, const uint8_t *p, size_t len);
void mp_put_array(struct out *out, size_t n);
void mp_put_bin(struct out *out, const void *p, size_t len);
