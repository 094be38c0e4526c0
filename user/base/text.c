// SPDX-License-Identifier: Apache-2.0
#include "text.h"

#include <string.h>

void hex_print(char *dst, const void *src, size_t n)
{
	static const char digit[] = "0123456789abcdef";
	const uint8_t *p = src;

	for (size_t i = 0; i < n; i++) {
		*dst++ = digit[p[i] >> 4];
		*dst++ = digit[p[i] & 15];
	}
	*dst = '\0';
}

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_parse(void *dst, size_t n, const char *text)
{
	uint8_t *p = dst;

	if (strlen(text) != 2 * n)
		return false;
	for (size_t i = 0; i < 2 * n; i++)
		if (hex_value(text[i]) < 0)
			return false;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
	return true;
}

static const char base64_digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_print(char *dst, const void *src, size_t n)
{
	const uint8_t *p = src;

	for (size_t i = 0; i < n; i += 3) {
		size_t have = n - i < 3 ? n - i : 3;
		uint32_t v =
			(uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);

		*dst++ = base64_digit[v >> 18];
		*dst++ = base64_digit[v >> 12 & 63];
		*dst++ = have > 1 ? base64_digit[v >> 6 & 63] : '=';
		*dst++ = have > 2 ? base64_digit[v & 63] : '=';
	}
	*dst = '\0';
}

/* Digit -> value, -1: none; certificates are long, so this is a table */
static const int8_t base64_of[128] = {
	-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
	-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 62, -1, -1, -1, 63, 52, 53, 54, 55,
	56, 57, 58, 59, 60, 61, -1, -1, -1, -1, -1, -1, -1, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
	13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, -1, -1, -1, -1, -1, -1, 26, 27, 28, 29, 30, 31, 32,
	33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, -1, -1, -1, -1, -1,
};

static int base64_value(char c)
{
	return c & 0x80 ? -1 : base64_of[(unsigned char)c];
}

bool base64_parse(void *dst, size_t cap, size_t *len, const char *text, size_t text_len)
{
	size_t pad = 0, n;
	uint8_t *p = dst;

	if (text_len % 4)
		return false;
	while (pad < 2 && pad < text_len && text[text_len - 1 - pad] == '=')
		pad++;
	n = text_len / 4 * 3 - pad;
	if (n > cap)
		return false;
	for (size_t i = 0; i < text_len; i += 4) {
		size_t out = n - i / 4 * 3 < 3 ? n - i / 4 * 3 : 3;
		uint32_t v = 0;

		for (size_t j = 0; j < 4; j++) {
			int d = j > out ? 0 : base64_value(text[i + j]);

			if (d < 0)
				return false;
			v = v << 6 | (uint32_t)d;
		}
		if ((out == 1 && (v & 0xffff)) || (out == 2 && (v & 0xff)))
			return false;
		for (size_t j = 0; j < out; j++)
			p[i / 4 * 3 + j] = (uint8_t)(v >> (16 - 8 * j));
	}
	*len = n;
	return true;
}
