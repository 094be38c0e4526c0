/* SPDX-License-Identifier: Apache-2.0 */
/* Hex and base64 (RFC 4648 section 4, padded, canonical), lower-case hex. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* dst holds 2 * n + 1 characters. */
void hex_print(char *dst, const void *src, size_t n);
int hex_value(char c); /* of a hex digit of either case; -1: it is none */
/* Exactly 2 * n hex digits and nothing else. Either case. */
bool hex_parse(void *dst, size_t n, const char *text);

#define BASE64_LEN(n) (((n) + 2) / 3 * 4 + 1)
/* dst holds BASE64_LEN(n) characters. */
void base64_print(char *dst, const void *src, size_t n);
/* Writes at most cap bytes; false on a foreign character, wrong padding, non-zero spare bits or too much. */
bool base64_parse(void *dst, size_t cap, size_t *len, const char *text, size_t text_len);
