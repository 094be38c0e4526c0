// SPDX-License-Identifier: Apache-2.0
#include "fmt_text.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

/* What YAML readers, this one among them, take for no text. */
static bool is_word_of_yaml(const char *text)
{
	static const char *const words[] = { "true", "false", "null", "yes", "no", "on", "off", "y", "n" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

bool fmt_text_needs_quotes(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";

	return !text[0] || !strchr(letters, text[0]) || text[strspn(text, others)] || is_word_of_yaml(text);
}

static bool is_bare(const char *text, bool is_quoted)
{
	return is_quoted ? !fmt_text_needs_quotes(text) : !strchr(text, '\n');
}

/* One character of valid UTF-8. */
static uint32_t take_char(const unsigned char **at)
{
	static const uint8_t mask[] = { 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f,
					0x3f, 0x3f, 0x3f, 0x3f, 0x1f, 0x1f, 0x0f, 0x07 };
	const unsigned char *p = *at;
	uint32_t c = *p & mask[*p >> 4];

	for (p++; (*p & 0xc0) == 0x80; p++)
		c = c << 6 | (*p & 0x3f);
	*at = p;
	return c;
}

static bool is_unprintable(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
	       c == 0xffff;
}

static void write_quoted(const char *text, FILE *to)
{
	const unsigned char *at = (const unsigned char *)text;

	fputc('"', to);
	while (*at) {
		const unsigned char *from = at;
		uint32_t c = take_char(&at);

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", (int)c);
		else if (c == '\n')
			fputs("\\n", to);
		else if (c == '\t')
			fputs("\\t", to);
		else if (is_unprintable(c))
			fprintf(to, "\\u%04X", (unsigned)c);
		else
			fwrite(from, 1, (size_t)(at - from), to);
	}
	fputc('"', to);
}

void fmt_text_write(const char *text, bool is_quoted, FILE *to)
{
	if (is_bare(text, is_quoted))
		fputs(text, to);
	else
		write_quoted(text, to);
}

size_t fmt_text_width(const char *text, bool is_quoted)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t n = is_bare(text, is_quoted) ? 0 : 2;

	while (*at) {
		uint32_t c = take_char(&at);

		n += n && (c == '"' || c == '\\') ? 2 : is_unprintable(c) ? 6 : 1;
	}
	return n;
}
