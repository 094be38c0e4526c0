// SPDX-License-Identifier: Apache-2.0
#include "buf.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool in_ref(struct in *in, const uint8_t **at, size_t n)
{
	if (in->left < n)
		return false;
	*at = in->p;
	in->p += n;
	in->left -= n;
	return true;
}

bool in_bytes(struct in *in, void *dst, size_t n)
{
	const uint8_t *at;

	if (!in_ref(in, &at, n))
		return false;
	if (n)
		memcpy(dst, at, n);
	return true;
}

bool in_sub(struct in *in, struct in *sub, size_t n)
{
	const uint8_t *at;

	if (!in_ref(in, &at, n))
		return false;
	*sub = in_of(at, n);
	return true;
}

bool in_u8(struct in *in, uint8_t *v)
{
	return in_bytes(in, v, 1);
}

bool in_u16le(struct in *in, uint16_t *v)
{
	uint16_t raw;

	if (!in_bytes(in, &raw, sizeof(raw)))
		return false;
	*v = le16toh(raw);
	return true;
}

bool in_u32le(struct in *in, uint32_t *v)
{
	uint32_t raw;

	if (!in_bytes(in, &raw, sizeof(raw)))
		return false;
	*v = le32toh(raw);
	return true;
}

bool in_u64le(struct in *in, uint64_t *v)
{
	uint64_t raw;

	if (!in_bytes(in, &raw, sizeof(raw)))
		return false;
	*v = le64toh(raw);
	return true;
}

bool in_u16be(struct in *in, uint16_t *v)
{
	uint16_t raw;

	if (!in_bytes(in, &raw, sizeof(raw)))
		return false;
	*v = be16toh(raw);
	return true;
}

bool in_u32be(struct in *in, uint32_t *v)
{
	uint32_t raw;

	if (!in_bytes(in, &raw, sizeof(raw)))
		return false;
	*v = be32toh(raw);
	return true;
}

void out_fini(struct out *out)
{
	free(out->data);
	*out = (struct out){ 0 };
}

static bool reserve(struct out *out, size_t n)
{
	size_t want = out->cap ? out->cap : 256;
	uint8_t *data;

	if (out->failed || n > SIZE_MAX / 2 - out->len)
		return !(out->failed = true);
	if (out->cap - out->len >= n)
		return true;
	while (want - out->len < n)
		want *= 2;
	data = realloc(out->data, want);
	if (!data)
		return !(out->failed = true);
	out->data = data;
	out->cap = want;
	return true;
}

void out_bytes(struct out *out, const void *p, size_t n)
{
	if (!n || !reserve(out, n))
		return;
	memcpy(out->data + out->len, p, n);
	out->len += n;
}

size_t out_bytes_max(struct out *out, size_t max, const void *p, size_t n)
{
	if (out->len + n > max)
		return 0;
	out_bytes(out, p, n);
	return out_ok(out) ? n : 0;
}

void out_print(struct out *out, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		out->failed = true;
	if (n <= 0 || !reserve(out, (size_t)n + 1))
		return;
	va_start(ap, fmt);
	vsnprintf((char *)out->data + out->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	out->len += (size_t)n;
}

void out_zero(struct out *out, size_t n)
{
	if (!n || !reserve(out, n))
		return;
	memset(out->data + out->len, 0, n);
	out->len += n;
}

void out_u8(struct out *out, uint8_t v)
{
	out_bytes(out, &v, 1);
}

void out_u16le(struct out *out, uint16_t v)
{
	v = htole16(v);
	out_bytes(out, &v, sizeof(v));
}

void out_u32le(struct out *out, uint32_t v)
{
	v = htole32(v);
	out_bytes(out, &v, sizeof(v));
}

void out_u64le(struct out *out, uint64_t v)
{
	v = htole64(v);
	out_bytes(out, &v, sizeof(v));
}

void out_u32be(struct out *out, uint32_t v)
{
	v = htobe32(v);
	out_bytes(out, &v, sizeof(v));
}

bool bytes_are_zero(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return !any;
}

bool out_ok(const struct out *out)
{
	return !out->failed;
}

uint8_t *out_take(struct out *out, size_t *len)
{
	uint8_t *data = out->failed ? NULL : out->data;

	if (out->failed)
		free(out->data);
	*len = data ? out->len : 0;
	*out = (struct out){ 0 };
	return data;
}
