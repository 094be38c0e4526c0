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

void scale_put_compact(struct out *out, size_t n)
{
	if (n < 1u << 6)
		out_u8(out, (uint8_t)(n << 2));
	else if (n < 1u << 14)
		out_u16le(out, (uint16_t)(n << 2 | 1));
	else if (n < 1u << 30)
		out_u32le(out, (uint32_t)n << 2 | 2);
	else
		out->failed = true;
}

void scale_put_bytes(struct out *out, const void *p, size_t len)
{
	scale_put_compact(out, len);
	out_bytes(out, p, len);
}
