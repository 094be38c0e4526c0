// SPDX-License-Identifier: Apache-2.0
#include "js.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/text.h"

#define NODES_FIRST 128

static int peek(const struct id_js *js, size_t at)
{
	return at < js->len ? (unsigned char)js->text[at] : -1;
}

static size_t skip_space(const struct id_js *js, size_t at)
{
	int c = peek(js, at);

	while (c == ' ' || c == '\t' || c == '\n' || c == '\r')
		c = peek(js, ++at);
	return at;
}

/* --- one scalar: the place behind it, 0 when it is malformed --- */

static bool unicode(const struct id_js *js, size_t at, uint32_t *v)
{
	*v = 0;
	for (int i = 0; i < 4; i++) {
		int d = hex_value(peek(js, at + (size_t)i));

		if (d < 0)
			return false;
		*v = *v << 4 | (uint32_t)d;
	}
	return true;
}

/* `at` is behind the backslash. NUL and lone surrogates are refused. */
static size_t scan_escape(const struct id_js *js, size_t at, uint32_t *v)
{
	static const char plain[] = "\"\\/bfnrt", value[] = "\"\\/\b\f\n\r\t";
	int c = peek(js, at);
	const char *found = c > 0 ? strchr(plain, c) : NULL;
	uint32_t low;

	if (found) {
		*v = (unsigned char)value[found - plain];
		return at + 1;
	}
	if (c != 'u' || !unicode(js, at + 1, v) || !*v)
		return 0;
	if (*v < 0xd800 || *v > 0xdfff)
		return at + 5;
	if (*v > 0xdbff || peek(js, at + 5) != '\\' || peek(js, at + 6) != 'u' || !unicode(js, at + 7, &low) ||
	    low < 0xdc00 || low > 0xdfff)
		return 0;
	*v = 0x10000 + ((*v - 0xd800) << 10) + (low - 0xdc00);
	return at + 11;
}

/* One character above 0x7f, in its shortest form, no surrogate (RFC 3629). */
static size_t scan_utf8(const struct id_js *js, size_t at)
{
	int first = peek(js, at), n = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	uint32_t v = (uint32_t)first & (0x3fu >> n);

	if (first < 0xc2 || first > 0xf4)
		return 0;
	for (int i = 1; i <= n; i++) {
		int c = peek(js, at + (size_t)i);

		if (c < 0x80 || c > 0xbf)
			return 0;
		v = v << 6 | ((uint32_t)c & 0x3f);
	}
	return v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff) ? 0 : at + (size_t)n + 1;
}

static size_t skip_plain(const struct id_js *js, size_t at)
{
	const unsigned char *p = (const unsigned char *)js->text;

	while (at < js->len && p[at] >= 0x20 && p[at] < 0x80 && p[at] != '"' && p[at] != '\\')
		at++;
	return at;
}

static size_t scan_string(const struct id_js *js, size_t at)
{
	uint32_t v;
	int c;

	for (at = skip_plain(js, at + 1); (c = peek(js, at)) != '"'; at = skip_plain(js, at)) {
		if (c < 0x20) /* the end of the text, too */
			return 0;
		at = c == '\\' ? scan_escape(js, at + 1, &v) : scan_utf8(js, at);
		if (!at)
			return 0;
	}
	return at + 1;
}

static size_t scan_digits(const struct id_js *js, size_t at)
{
	size_t from = at;

	while (peek(js, at) >= '0' && peek(js, at) <= '9')
		at++;
	return at > from ? at : 0;
}

static size_t scan_number(const struct id_js *js, size_t at)
{
	if (peek(js, at) == '-')
		at++;
	at = peek(js, at) == '0' ? at + 1 : scan_digits(js, at);
	if (at && peek(js, at) == '.')
		at = scan_digits(js, at + 1);
	if (at && (peek(js, at) == 'e' || peek(js, at) == 'E')) {
		at++;
		at = scan_digits(js, at + (peek(js, at) == '+' || peek(js, at) == '-'));
	}
	return at;
}

static size_t scan_word(const struct id_js *js, size_t at)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < 3; i++) {
		size_t len = strlen(words[i]);

		if (js->len - at >= len && memcmp(js->text + at, words[i], len) == 0)
			return at + len;
	}
	return 0;
}

/* --- the tree --- */

static struct id_js_node *node_new(struct id_js *js, enum id_js_kind kind, size_t start)
{
	if (js->n == js->cap) {
		size_t cap = js->cap ? 2 * js->cap : NODES_FIRST;
		struct id_js_node *grown = realloc(js->node, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		js->node = grown;
		js->cap = cap;
	}
	js->node[js->n] = (struct id_js_node){ .kind = kind, .start = (uint32_t)start };
	return &js->node[js->n++];
}

static size_t scan_scalar(struct id_js *js, size_t at)
{
	int c = peek(js, at);
	enum id_js_kind kind = c == '"' ? ID_JS_STRING : c == '-' || (c >= '0' && c <= '9') ? ID_JS_NUMBER : ID_JS_WORD;
	struct id_js_node *node = node_new(js, kind, at);
	size_t end = !node                  ? 0
		     : kind == ID_JS_STRING ? scan_string(js, at)
		     : kind == ID_JS_NUMBER ? scan_number(js, at)
					    : scan_word(js, at);

	if (end) {
		node->end = (uint32_t)end;
		node->next = (uint32_t)js->n;
	}
	return end;
}

static bool same_text(const struct id_js *js, const struct id_js_node *a, const struct id_js_node *b)
{
	return a->end - a->start == b->end - b->start &&
	       memcmp(js->text + a->start, js->text + b->start, a->end - a->start) == 0;
}

/* A member's name is a node of its own in front of the value. Compared as written, so escapes are refused. */
static size_t scan_name(struct id_js *js, size_t at, size_t object)
{
	const struct id_js_node *name;
	size_t end;

	if (peek(js, at) != '"' || js->node[object].n == ID_JS_MEMBERS_MAX)
		return 0;
	end = scan_scalar(js, at);
	if (!end || memchr(js->text + at, '\\', end - at))
		return 0;
	name = &js->node[js->n - 1];
	for (size_t i = object + 1; i + 1 < js->n; i = js->node[i + 1].next)
		if (same_text(js, &js->node[i], name))
			return 0;
	end = skip_space(js, end);
	return peek(js, end) == ':' ? skip_space(js, end + 1) : 0;
}

static size_t scan_value(struct id_js *js, size_t at, int depth);

static size_t scan_inside(struct id_js *js, size_t at, size_t self, int depth)
{
	bool is_object = js->node[self].kind == ID_JS_OBJECT;
	int close = is_object ? '}' : ']';

	at = skip_space(js, at + 1);
	if (peek(js, at) == close)
		return at + 1;
	while (at) {
		if (is_object)
			at = scan_name(js, at, self);
		at = at ? scan_value(js, at, depth + 1) : 0;
		if (!at)
			return 0;
		js->node[self].n++;
		at = skip_space(js, at);
		if (peek(js, at) == close)
			return at + 1;
		at = peek(js, at) == ',' ? skip_space(js, at + 1) : 0;
	}
	return 0;
}

static size_t scan_value(struct id_js *js, size_t at, int depth)
{
	int c = peek(js, at);
	size_t self = js->n;

	if (at > js->error_at)
		js->error_at = at;
	if (c != '{' && c != '[')
		return scan_scalar(js, at);
	if (depth == ID_JS_DEPTH || !node_new(js, c == '{' ? ID_JS_OBJECT : ID_JS_ARRAY, at))
		return 0;
	at = scan_inside(js, at, self, depth);
	js->node[self].end = (uint32_t)at;
	js->node[self].next = (uint32_t)js->n;
	return at;
}

void id_js_fini(struct id_js *js)
{
	free(js->node);
	*js = (struct id_js){ 0 };
}

bool id_js_scan(const char *text, size_t len, struct id_js *js)
{
	struct id_js made = { .text = text, .len = len };
	size_t end = 0;

	if (len < INT32_MAX)
		end = scan_value(&made, skip_space(&made, 0), 0);
	if (!end || skip_space(&made, end) != len) {
		js->error_at = end ? end : made.error_at;
		free(made.node);
		return false;
	}
	*js = made;
	return true;
}

/* --- reading --- */

bool id_js_is(const struct id_js *js, int v, enum id_js_kind kind)
{
	return v >= 0 && js->node[v].kind == kind;
}

static bool text_of(const struct id_js *js, int v, const char **text, size_t *len)
{
	*text = js->text + js->node[v].start + 1;
	*len = js->node[v].end - js->node[v].start - 2;
	return true;
}

int id_js_get(const struct id_js *js, int object, const char *name)
{
	size_t name_len = strlen(name), len;
	const char *text;

	if (!id_js_is(js, object, ID_JS_OBJECT))
		return -1;
	for (uint32_t i = (uint32_t)object + 1; i < js->node[object].next; i = js->node[i + 1].next) {
		text_of(js, (int)i, &text, &len);
		if (len == name_len && memcmp(text, name, len) == 0)
			return (int)i + 1;
	}
	return -1;
}

int id_js_first(const struct id_js *js, int array)
{
	return id_js_is(js, array, ID_JS_ARRAY) && js->node[array].n ? array + 1 : -1;
}

int id_js_next(const struct id_js *js, int array, int item)
{
	uint32_t next = js->node[item].next;

	return next < js->node[array].next ? (int)next : -1;
}

size_t id_js_count(const struct id_js *js, int array)
{
	return id_js_is(js, array, ID_JS_ARRAY) ? js->node[array].n : 0;
}

bool id_js_uint(const struct id_js *js, int v, uint64_t max, uint64_t *n)
{
	uint64_t sum = 0;

	if (!id_js_is(js, v, ID_JS_NUMBER))
		return false;
	for (size_t i = js->node[v].start; i < js->node[v].end; i++) {
		char c = js->text[i];

		if (c < '0' || c > '9' || __builtin_mul_overflow(sum, 10u, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(c - '0'), &sum))
			return false;
	}
	if (sum > max)
		return false;
	*n = sum;
	return true;
}

bool id_js_text(const struct id_js *js, int v, const char **text, size_t *len)
{
	return id_js_is(js, v, ID_JS_STRING) && text_of(js, v, text, len) && !memchr(*text, '\\', *len);
}

bool id_js_text_is(const struct id_js *js, int v, const char *text)
{
	const char *found;
	size_t len;

	return id_js_text(js, v, &found, &len) && len == strlen(text) && memcmp(found, text, len) == 0;
}

bool id_js_hex(const struct id_js *js, int v, void *dst, size_t len)
{
	const char *text;
	size_t text_len;
	uint8_t *p = dst;

	if (!id_js_text(js, v, &text, &text_len) || text_len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		p[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool id_js_date(const struct id_js *js, int v, int64_t *unix_s)
{
	static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
	struct tm tm = { 0 }, same;
	const char *text;
	size_t len;
	char copy[sizeof(form)];

	if (!id_js_text(js, v, &text, &len) || len != strlen(form))
		return false;
	for (size_t i = 0; i < len; i++)
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (!strptime(copy, "%Y-%m-%dT%H:%M:%SZ", &tm) || tm.tm_sec > 59)
		return false;
	same = tm;
	*unix_s = timegm(&same);
	return same.tm_mday == tm.tm_mday; /* the 31st of a short month is no date */
}

static char *put_utf8(char *p, uint32_t v)
{
	if (v < 0x80) {
		*p++ = (char)v;
		return p;
	}
	if (v >= 0x10000) {
		*p++ = (char)(0xf0 | v >> 18);
		*p++ = (char)(0x80 | (v >> 12 & 0x3f));
	} else if (v >= 0x800) {
		*p++ = (char)(0xe0 | v >> 12);
	}
	*p++ = (char)(v >= 0x800 ? 0x80 | (v >> 6 & 0x3f) : 0xc0 | v >> 6);
	*p++ = (char)(0x80 | (v & 0x3f));
	return p;
}

char *id_js_string(const struct id_js *js, int v, size_t *len)
{
	size_t at, end;
	char *copy, *p;
	uint32_t c;

	if (!id_js_is(js, v, ID_JS_STRING))
		return NULL;
	at = js->node[v].start + 1;
	end = js->node[v].end - 1;
	p = copy = malloc(end - at + 1); /* an escape is never shorter than what it stands for */
	while (copy && at < end) {
		const char *slash = memchr(js->text + at, '\\', end - at);
		size_t run = slash ? (size_t)(slash - js->text) - at : end - at;

		memcpy(p, js->text + at, run);
		p += run;
		at += run;
		if (slash) {
			at = scan_escape(js, at + 1, &c);
			p = put_utf8(p, c);
		}
	}
	if (copy) {
		*p = '\0';
		*len = (size_t)(p - copy);
	}
	return copy;
}
