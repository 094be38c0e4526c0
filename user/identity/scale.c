// SPDX-License-Identifier: Apache-2.0
#include "scale.h"

/* The two low bits of the first byte say how many bytes the number has: 1, 2, 4, or "big", which nothing here needs. */
bool scale_compact(struct in *in, uint32_t *v)
{
	struct in rest = *in;
	uint32_t n;
	uint16_t n16;
	uint8_t n8;

	if (!in_u8(&rest, &n8))
		return false;
	switch (n8 & 3) {
	case 0:
		*v = n8 >> 2;
		*in = rest;
		return true;
	case 1:
		if (!in_u16le(in, &n16))
			return false;
		*v = n16 >> 2;
		return *v >= UINT32_C(1) << 6;
	case 2:
		if (!in_u32le(in, &n))
			return false;
		*v = n >> 2;
		return *v >= UINT32_C(1) << 14;
	default:
		return false;
	}
}

bool scale_bytes(struct in *in, struct in *bytes)
{
	uint32_t len;

	return scale_compact(in, &len) && in_sub(in, bytes, len);
}
