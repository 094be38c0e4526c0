// SPDX-License-Identifier: Apache-2.0
/* RFC 9110 section 5.6.2 (tokens) and 5.5 (field values), RFC 3986 (targets and hosts). */
#include "internal.h"

#include <string.h>

#define T CHAR_TOKEN
#define V CHAR_VALUE
#define P CHAR_TARGET
#define H CHAR_HOST

#define ALNUM (T | V | P | H)

/* A target may hold what no URI may (browsers send | { } unescaped), but no blank, control, fragment or high byte. */
const uint8_t http_chars[256] = {
	['\t'] = V,
	[' '] = V,
	['!'] = T | V | P | H,
	['"'] = V | P,
	['#'] = T | V,
	['$'] = T | V | P | H,
	['%'] = T | V | P | H,
	['&'] = T | V | P | H,
	['\''] = T | V | P | H,
	['('] = V | P | H,
	[')'] = V | P | H,
	['*'] = T | V | P | H,
	['+'] = T | V | P | H,
	[','] = V | P | H,
	['-'] = T | V | P | H,
	['.'] = T | V | P | H,
	['/'] = V | P,
	['0' ... '9'] = ALNUM,
	[':'] = V | P | H,
	[';'] = V | P | H,
	['<'] = V | P,
	['='] = V | P | H,
	['>'] = V | P,
	['?'] = V | P,
	['@'] = V | P,
	['A' ... 'Z'] = ALNUM,
	['['] = V | P | H,
	['\\'] = V | P,
	[']'] = V | P | H,
	['^'] = T | V | P,
	['_'] = T | V | P | H,
	['`'] = T | V | P,
	['a' ... 'z'] = ALNUM,
	['{'] = V | P,
	['|'] = T | V | P,
	['}'] = V | P,
	['~'] = T | V | P | H,
	[0x80 ... 0xff] = V,
};

bool same_text(const char *a, size_t len, const char *lower_b)
{
	for (size_t i = 0; i < len; i++)
		if (!lower_b[i] || lower(a[i]) != lower_b[i])
			return false;
	return !lower_b[len];
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool list_next(const char **p, const char *end, const char **token, size_t *len, bool *bad)
{
	const char *q = *p;

	*bad = false;
	while (q < end && (is_blank(*q) || *q == ','))
		q++;
	*token = q;
	while (q < end && is_char((unsigned char)*q, CHAR_TOKEN))
		q++;
	*len = (size_t)(q - *token);
	while (q < end && is_blank(*q))
		q++;
	*bad = q < end && *q != ',';
	*p = q;
	return *len > 0 && !*bad;
}

enum http_name field_id(const char *p, size_t len)
{
	static const struct {
		const char *text;
		enum http_name name;
	} names[] = {
		{ "te", HTTP_TE },
		{ "host", HTTP_HOST },
		{ "expect", HTTP_EXPECT },
		{ "upgrade", HTTP_UPGRADE },
		{ "connection", HTTP_CONNECTION },
		{ "keep-alive", HTTP_KEEP_ALIVE },
		{ "content-length", HTTP_CONTENT_LENGTH },
		{ "http2-settings", HTTP_HTTP2_SETTINGS },
		{ "proxy-connection", HTTP_PROXY_CONNECTION },
		{ "transfer-encoding", HTTP_TRANSFER_ENCODING },
	};
	/* lengths of the names above, so that most fields are compared with none */
	static const uint32_t lengths =
		1u << 2 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 14 | 1u << 16 | 1u << 17;

	if (len > 17 || !(lengths >> len & 1))
		return HTTP_OTHER;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (lower(p[0]) == names[i].text[0] && same_text(p, len, names[i].text))
			return names[i].name;
	return HTTP_OTHER;
}

enum http_error field_parse(const char *p, size_t at, size_t len, struct http_field *field)
{
	size_t name = 0, value, end = len;

	if (len && is_blank(p[0]))
		return HTTP_E_FOLD;
	while (name < len && is_char((unsigned char)p[name], CHAR_TOKEN))
		name++;
	if (name == 0 || name == len || p[name] != ':')
		return HTTP_E_FIELD_NAME;
	for (value = name + 1; value < len && is_blank(p[value]);)
		value++;
	for (size_t i = value; i < len; i++)
		if (!is_char((unsigned char)p[i], CHAR_VALUE))
			return p[i] == '\r' || p[i] == '\0' ? HTTP_E_LINE_END : HTTP_E_FIELD_VALUE;
	while (end > value && is_blank(p[end - 1]))
		end--;
	*field = (struct http_field){ .name = { (uint16_t)at, (uint16_t)name },
				      .value = { (uint16_t)(at + value), (uint16_t)(end - value) },
				      .end = (uint16_t)(at + len + 2),
				      .id = (uint8_t)field_id(p, name) };
	return HTTP_OK;
}

bool http_is_reserved(const char *const *names, const char *name, size_t len)
{
	for (; names && *names; names++) {
		const char *want = *names;
		size_t i = 0;

		while (i < len && want[i] && (lower(name[i]) == want[i] || (name[i] == '_' && want[i] == '-')))
			i++;
		if (want[i] == '*' || (i == len && !want[i]))
			return true;
	}
	return false;
}

const char *http_error_name(enum http_error error)
{
	static const char *const names[] = { "OK",
#define X(name, text) #name,
					     HTTP_ERRORS(X)
#undef X
	};
	return (unsigned)error < HTTP_E_COUNT ? names[error] : "?";
}

const char *http_error_text(enum http_error error)
{
	static const char *const texts[] = { "nothing",
#define X(name, text) text,
					     HTTP_ERRORS(X)
#undef X
	};
	return (unsigned)error < HTTP_E_COUNT ? texts[error] : "?";
}
