// SPDX-License-Identifier: Apache-2.0
#include "msgpack.h"

#include <string.h>

/* The big-endian number of 1 << log2 bytes that follows; at least `least`, or a shorter form would have done. */
static bool number(struct in *in, unsigned log2, uint32_t least, uint32_t *n)
{
	uint16_t n16;
	uint8_t n8;
	bool ok;

	if (log2 == 0) {
		ok = in_u8(in, &n8);
		*n = ok ? n8 : 0;
	} else if (log2 == 1) {
		ok = in_u16be(in, &n16);
		*n = ok ? n16 : 0;
	} else {
		ok = in_u32be(in, n);
	}
	return ok && *n >= least;
}

static bool head(struct mp_item *item, enum mp_type type, uint32_t n)
{
	*item = (struct mp_item){ .type = type, .n = n };
	return true;
}

/* Formats whose number or length is in bytes of its own. */
static bool head_long(struct in *in, uint8_t format, struct mp_item *item)
{
	static const struct {
		uint8_t first, count; /* formats of one kind, from 1 or 2 bytes of length on */
		uint8_t log2;         /* of the first one's length in bytes */
		enum mp_type type;
		uint32_t least; /* of the first */
	} kinds[] = {
		{ 0xc4, 3, 0, MP_BIN, 0 },    { 0xcc, 3, 0, MP_UINT, 0x80 }, { 0xd9, 3, 0, MP_STR, 32 },
		{ 0xdc, 2, 1, MP_ARRAY, 16 }, { 0xde, 2, 1, MP_MAP, 16 },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		unsigned nth = (unsigned)format - kinds[i].first, log2 = kinds[i].log2 + nth;
		uint32_t n;

		if (format < kinds[i].first || nth >= kinds[i].count)
			continue;
		return number(in, log2, nth ? UINT32_C(1) << (8 << (log2 - 1)) : kinds[i].least, &n) &&
		       head(item, kinds[i].type, n);
	}
	return false;
}

static bool head_read(struct in *in, struct mp_item *item)
{
	uint8_t format;

	if (!in_u8(in, &format))
		return false;
	if (format <= 0x7f)
		return head(item, MP_UINT, format);
	if (format <= 0x8f)
		return head(item, MP_MAP, format & 0xf);
	if (format <= 0x9f)
		return head(item, MP_ARRAY, format & 0xf);
	if (format <= 0xbf)
		return head(item, MP_STR, format & 0x1f);
	if (format == 0xc0)
		return head(item, MP_NIL, 0);
	return head_long(in, format, item);
}

bool mp_read(struct in *in, struct mp_item *item)
{
	return head_read(in, item) &&
	       ((item->type != MP_STR && item->type != MP_BIN) || in_sub(in, &item->bytes, item->n));
}

bool mp_uint(struct in *in, uint32_t *v)
{
	struct mp_item item;

	if (!mp_read(in, &item) || item.type != MP_UINT)
		return false;
	*v = item.n;
	return true;
}

static bool bytes_of(struct in *in, enum mp_type type, struct in *bytes)
{
	struct mp_item item;

	if (!mp_read(in, &item) || item.type != type)
		return false;
	*bytes = item.bytes;
	return true;
}

bool mp_str(struct in *in, struct in *text)
{
	return bytes_of(in, MP_STR, text);
}

bool mp_bin(struct in *in, struct in *bytes)
{
	return bytes_of(in, MP_BIN, bytes);
}

bool mp_array(struct in *in, uint32_t *n)
{
	struct mp_item item;

	if (!mp_read(in, &item) || item.type != MP_ARRAY)
		return false;
	*n = item.n;
	return true;
}

bool mp_map(struct in *in, uint32_t n)
{
	struct mp_item item;

	return mp_read(in, &item) && item.type == MP_MAP && item.n == n;
}

bool mp_is(struct in text, const char *expected)
{
	return text.left == strlen(expected) && memcmp(text.p, expected, text.left) == 0;
}

bool mp_key(struct in *in, const char *key)
{
	struct in text;

	return mp_str(in, &text) && mp_is(text, key);
}

bool mp_blob(struct in *in, uint8_t **room, struct in *bytes)
{
	struct mp_item item;

	if (!mp_read(in, &item))
		return false;
	if (item.type == MP_BIN) {
		*bytes = item.bytes;
		return true;
	}
	if (item.type != MP_ARRAY || item.n > in->left)
		return false;
	*bytes = in_of(*room, item.n);
	for (uint32_t i = 0; i < item.n; i++) {
		uint32_t byte;

		if (!mp_uint(in, &byte) || byte > UINT8_MAX)
			return false;
		*(*room)++ = (uint8_t)byte;
	}
	return true;
}

/* --- written --- */

static void put_16(struct out *out, uint8_t format, size_t n)
{
	out_u8(out, format);
	out_u8(out, (uint8_t)(n >> 8));
	out_u8(out, (uint8_t)n);
	out->failed = out->failed || n > UINT16_MAX;
}

void mp_put_nil(struct out *out)
{
	out_u8(out, 0xc0);
}

void mp_put_array(struct out *out, size_t n)
{
	if (n < 16)
		out_u8(out, (uint8_t)(0x90 | n));
	else
		put_16(out, 0xdc, n);
}

void mp_put_bin(struct out *out, const void *p, size_t len)
{
	if (len <= UINT8_MAX) {
		out_u8(out, 0xc4);
		out_u8(out, (uint8_t)len);
	} else {
		put_16(out, 0xc5, len);
	}
	out_bytes(out, p, len);
}

void mp_put_number(struct out *out, uint32_t v)
{
	if (v < 0x80) {
		out_u8(out, (uint8_t)v);
	} else if (v <= UINT8_MAX) {
		out_u8(out, 0xcc);
		out_u8(out, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		put_16(out, 0xcd, v);
	} else {
		out_u8(out, 0xce);
		for (int shift = 24; shift >= 0; shift -= 8)
			out_u8(out, (uint8_t)(v >> shift));
	}
}

void mp_put_text(struct out *out, const void *p, size_t len)
{
	if (len < 32) {
		out_u8(out, (uint8_t)(0xa0 | len));
	} else if (len <= UINT8_MAX) {
		out_u8(out, 0xd9);
		out_u8(out, (uint8_t)len);
	} else {
		put_16(out, 0xda, len);
	}
	out_bytes(out, p, len);
}

void mp_put_pairs(struct out *out, size_t n)
{
	out->failed = out->failed || n > 15;
	out_u8(out, (uint8_t)(0x80 | n));
}

void mp_put_numbers(struct out *out, const uint8_t *p, size_t len)
{
	mp_put_array(out, len);
	for (size_t i = 0; i < len; i++)
		mp_put_number(out, p[i]);
}
