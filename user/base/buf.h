/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded bytes. `struct in` reads what a stranger wrote: every getter returns false at the end of the input and
 * the cursor then stays where it was, so a parse reads like the format. `struct out` writes into memory that
 * grows; a failed allocation is remembered and seen once, at the end, by out_ok().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct in {
	const uint8_t *p;
	size_t left;
};

static inline struct in in_of(const void *p, size_t len)
{
	return (struct in){ .p = p, .left = len };
}

bool in_bytes(struct in *in, void *dst, size_t n);        /* copies */
bool in_ref(struct in *in, const uint8_t **at, size_t n); /* points into the input */
bool in_sub(struct in *in, struct in *sub, size_t n);     /* a bounded part of it */
bool in_u8(struct in *in, uint8_t *v);
bool in_u16le(struct in *in, uint16_t *v);
bool in_u32le(struct in *in, uint32_t *v);
bool in_u64le(struct in *in, uint64_t *v);
bool in_u16be(struct in *in, uint16_t *v);
bool in_u32be(struct in *in, uint32_t *v);

bool bytes_are_zero(const void *p, size_t n); /* looks at all of them, whatever they are */

struct out {
	uint8_t *data; /* owned; out_fini() */
	size_t len, cap;
	bool failed;
};

void out_fini(struct out *out);
void out_bytes(struct out *out, const void *p, size_t n);
/* All of it, where there is room below `max` for all; 0 otherwise. How libcurl wants to be answered. */
size_t out_bytes_max(struct out *out, size_t max, const void *p, size_t n);
void out_print(struct out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* text, without a NUL */
void out_zero(struct out *out, size_t n);
void out_u8(struct out *out, uint8_t v);
void out_u16le(struct out *out, uint16_t v);
void out_u32le(struct out *out, uint32_t v);
void out_u64le(struct out *out, uint64_t v);
void out_u32be(struct out *out, uint32_t v);
bool out_ok(const struct out *out);
uint8_t *out_take(struct out *out, size_t *len); /* hands the bytes over; NULL after a failure */

#define auto_out __attribute__((cleanup(out_fini)))
