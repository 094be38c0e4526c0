/* SPDX-License-Identifier: Apache-2.0 */
/* What heads, bodies and forwarding share: characters, lines, names. */
#pragma once

#include "http.h"

enum { CHAR_TOKEN = 1, CHAR_VALUE = 2, CHAR_TARGET = 4, CHAR_HOST = 8 };

extern const uint8_t http_chars[256];

static inline bool is_char(unsigned char c, uint8_t class)
{
	return http_chars[c] & class;
}

static inline char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool same_text(const char *a, size_t len, const char *lower_b); /* whatever the case of a */

/* The line p[0..len) without its CRLF, at offset `at` of a head. */
enum http_error field_parse(const char *p, size_t at, size_t len, struct http_field *field);

enum http_name field_id(const char *name, size_t len);

/* The next element of a comma-separated list of tokens, empty ones left out. False at the end; *bad: no such list. */
bool list_next(const char **p, const char *end, const char **token, size_t *len, bool *bad);
