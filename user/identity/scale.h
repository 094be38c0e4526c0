/* SPDX-License-Identifier: Apache-2.0 */
/* SCALE, as much of it as dstack uses: integers, compact lengths, vectors of bytes. Integers are little-endian. */
#pragma once

#include "base/buf.h"

/* A compact number below 2^30, in its one shortest form. */
bool scale_compact(struct in *in, uint32_t *v);
/* Vec<u8> and String. */
bool scale_bytes(struct in *in, struct in *bytes);

/* The same, written; `n` and lengths below 2^30, else the output fails. */
void scale_put_compact(struct out *out, size_t n);
void scale_put_bytes(struct out *out, const void *p, size_t len);
