// SPDX-License-Identifier: Apache-2.0
#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "model.h"

/* --- one path ---------------------------------------------------------------------------------------------- */

/* What has a meaning of its own to some program that reads paths. */
static const char *byte_fault(unsigned char c)
{
	if (!c)
		return "a NUL";
	if (c < 0x20 || c == 0x7f)
		return "a control character";
	if (c == '\\')
		return "a backslash";
	if (c == ';')
		return "a semicolon, which begins parameters for some servers";
	return NULL;
}

static int refuse(struct err *e, const char *why)
{
	return err_at(e, -EINVAL, NULL, "path has %s", why);
}

static int decode(const char *target, size_t len, char *buf, size_t *n, struct err *e)
{
	*n = 0;
	for (size_t i = 0; i < len && target[i] != '?'; i++) {
		bool is_encoded = target[i] == '%';
		unsigned char c = (unsigned char)target[i];

		if (is_encoded) {
			int high = i + 2 < len ? hex_value(target[i + 1]) : -1;
			int low = high >= 0 ? hex_value(target[i + 2]) : -1;

			if (low < 0)
				return refuse(e, "a % without two hex digits");
			c = (unsigned char)(high << 4 | low);
			i += 2;
		}
		if (byte_fault(c))
			return refuse(e, byte_fault(c));
		if (is_encoded && c == '/')
			return refuse(e, "an encoded slash");
		if (!is_encoded && (c == '#' || c == ' ' || c >= 0x80))
			return refuse(e, "a character that must be encoded");
		buf[(*n)++] = (char)c;
	}
	buf[*n] = '\0';
	return 0;
}

/* Bytes of the character at `p`, 0 where it is none: overlong forms and surrogates are none. */
static size_t utf8_length(const unsigned char *p)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
	unsigned c = n == 1 ? p[0] : n ? p[0] & (0x7fu >> n) : 0;

	for (size_t i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return n > 1 && (c < least[n] || c > 0x10ffff || c >> 11 == 27) ? 0 : n;
}

static int check_characters(const char *path, struct err *e)
{
	for (size_t n; *path; path += n) {
		n = utf8_length((const unsigned char *)path);
		if (!n)
			return refuse(e, "bytes that are not UTF-8");
		if (*path == '%' && hex_value(path[1]) >= 0 && hex_value(path[2]) >= 0)
			return refuse(e, "what would decode a second time");
	}
	return 0;
}

/* An empty segment at the end is a slash there, and is a path of its own. */
static int check_segments(const char *path, struct err *e)
{
	if (*path != '/')
		return err_at(e, -EINVAL, NULL, "path does not begin with /");
	while (*path) {
		size_t len = strcspn(++path, "/");

		if (!len && path[0])
			return refuse(e, "an empty segment");
		if ((len == 1 || len == 2) && memcmp(path, "..", len) == 0)
			return refuse(e, len == 1 ? "a segment ." : "a segment ..");
		path += len;
	}
	return 0;
}

int pol_path_read(const char *target, size_t len, char *buf, struct err *e)
{
	size_t n;
	int ret = decode(target, len, buf, &n, e);

	if (!ret)
		ret = check_characters(buf, e);
	return ret ? ret : check_segments(buf, e);
}

/* --- one request ------------------------------------------------------------------------------------------- */

/* Methods have a case, and a server that takes `delete` for DELETE must not be told otherwise by a rule. */
int pol_method_check(const char *method, struct err *e)
{
	size_t len = strlen(method);

	if (!len || len > POL_METHOD_MAX || method[strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-")])
		return err_at(e, -EINVAL, NULL, "'%.40s' is no method; needed A-Z and -, such as GET", method);
	return 0;
}

int pol_request_read(const char *method, const char *target, struct pol_request *request, struct err *e)
{
	size_t len = strnlen(target, POL_HTTP_PATH_MAX + 1), query = strcspn(target, "?");

	if (pol_method_check(method, e) < 0)
		return -EINVAL;
	strcpy(request->method, method);
	request->has_path = strcmp(target, "*") != 0;
	request->path[0] = '\0';
	if (!request->has_path)
		return 0;
	if (query > POL_HTTP_PATH_MAX)
		return err_at(e, -EINVAL, NULL, "path is longer than %u bytes", POL_HTTP_PATH_MAX);
	return pol_path_read(target, len < query ? len : query, request->path, e);
}

int pol_request_parse(const char *text, struct pol_request *request, struct err *e)
{
	const char *blank = strchr(text, ' ');
	char method[POL_METHOD_MAX + 2];

	if (!blank || (size_t)(blank - text) >= sizeof(method))
		return err_at(e, -EINVAL, NULL, "found '%.80s', needed a method and a path, such as 'GET /v1/items'",
			      text);
	memcpy(method, text, (size_t)(blank - text));
	method[blank - text] = '\0';
	return pol_request_read(method, blank + 1, request, e);
}

/* --- patterns ---------------------------------------------------------------------------------------------- */

static bool is_word(const char *segment, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(segment, word, len) == 0;
}

int pol_pattern_check(const char *pattern, struct err *e)
{
	for (const char *p = pattern; *p; p++) {
		if (byte_fault((unsigned char)*p))
			return refuse(e, byte_fault((unsigned char)*p));
		if (strchr("%?#", *p))
			return err_at(
				e, -EINVAL, NULL,
				"path has '%c'; write what it decodes to, and no query: paths are compared decoded",
				*p);
	}
	if (strlen(pattern) > POL_HTTP_PATH_MAX)
		return err_at(e, -EINVAL, NULL, "path is longer than %u bytes", POL_HTTP_PATH_MAX);
	if (check_characters(pattern, e) < 0 || check_segments(pattern, e) < 0)
		return -EINVAL;
	for (const char *p = pattern + 1;; p++) {
		size_t len = strcspn(p, "/");

		if (memchr(p, '*', len) && !is_word(p, len, "*") && !is_word(p, len, "**"))
			return err_at(e, -EINVAL, NULL, "'*' in a path stands for a whole segment, as in /v1/*/items");
		if (is_word(p, len, "**") && p[len])
			return err_at(e, -EINVAL, NULL, "'**' stands for all that is below and can only come last");
		p += len;
		if (!*p)
			return 0;
	}
}

/* The segment at *at, which is moved behind it; false: there is none left. */
static bool next_segment(const char **at, const char **segment, size_t *len)
{
	if (!**at)
		return false;
	*segment = *at + 1;
	*len = strcspn(*segment, "/");
	*at = *segment + *len;
	return true;
}

static bool same_segment(const char *a, size_t n_a, const char *b, size_t n_b, bool is_wide)
{
	return n_a == n_b && (is_wide ? strncasecmp(a, b, n_a) == 0 : memcmp(a, b, n_a) == 0);
}

/* Whether each path of `b` is one of the pattern `a`. `b` is a pattern, or a path: `**` in it is a word like others. */
static bool covers(const char *a, const char *b, bool is_pattern, bool is_wide)
{
	const char *sa, *sb;
	size_t na, nb;

	while (next_segment(&a, &sa, &na)) {
		if (is_word(sa, na, "**"))
			return true;
		if (is_wide && !na && !*a && !*b) /* the pattern alone ends in a slash */
			return true;
		if (!next_segment(&b, &sb, &nb) || (is_pattern && is_word(sb, nb, "**")))
			return false;
		if (!(is_word(sa, na, "*") && nb) && !same_segment(sa, na, sb, nb, is_wide))
			return false;
	}
	if (is_wide && strcmp(b, "/") == 0) /* the path alone does */
		return true;
	return !*b;
}

bool pol_pattern_covers(const char *pattern, const char *path, bool is_wide)
{
	return covers(pattern, path, false, is_wide);
}

/* --- entries ----------------------------------------------------------------------------------------------- */

static bool has_method(const struct pol_http *http, const char *method)
{
	for (size_t i = 0; i < http->n_methods; i++)
		if (strcmp(http->method[i], method) == 0)
			return true;
	return !http->n_methods;
}

bool pol_http_covers(const struct pol_rule *rule, const struct pol_request *request)
{
	bool is_wide = rule->action == BY_DENY;

	if (!rule->n_http)
		return true;
	if (!request)
		return is_wide;
	for (size_t i = 0; i < rule->n_http; i++) {
		const struct pol_http *h = &rule->http[i];

		if (has_method(h, request->method) &&
		    (!h->path || (request->has_path && covers(h->path, request->path, false, is_wide))))
			return true;
	}
	return false;
}

bool pol_http_is_within(const struct pol_http *a, const struct pol_http *b, bool is_wide)
{
	if (b->n_methods && !a->n_methods)
		return false;
	for (size_t i = 0; i < a->n_methods; i++)
		if (!has_method(b, a->method[i]))
			return false;
	return !b->path || (a->path && covers(b->path, a->path, true, is_wide));
}

/* A wide pattern covers more than the same pattern as it is written, so a deny rule is within denials alone. */
bool pol_http_within(const struct pol_rule *inner, const struct pol_rule *outer)
{
	if (!outer->n_http)
		return true;
	if (!inner->n_http || (inner->action == BY_DENY && outer->action == BY_ALLOW))
		return false;
	for (size_t i = 0; i < inner->n_http; i++) {
		bool is_within = false;

		for (size_t j = 0; j < outer->n_http && !is_within; j++)
			is_within = pol_http_is_within(&inner->http[i], &outer->http[j], outer->action == BY_DENY);
		if (!is_within)
			return false;
	}
	return true;
}

void pol_http_print(const struct pol_rule *rule, char *buf, size_t size)
{
	FILE *out = fmemopen(buf, size, "w");

	buf[0] = '\0';
	if (!out)
		return;
	for (size_t i = 0; i < rule->n_http; i++) {
		const struct pol_http *h = &rule->http[i];

		fputs(i ? "; " : "", out);
		for (size_t m = 0; m < h->n_methods; m++)
			fprintf(out, "%s%s", m ? ", " : "", h->method[m]);
		fprintf(out, "%s%s", h->n_methods && h->path ? " " : "", h->path ? h->path : "");
	}
	if (fclose(out) != 0)
		strcpy(buf + size - sizeof("..."), "...");
}

void pol_http_fini(struct pol_http *http)
{
	for (size_t i = 0; i < http->n_methods; i++)
		free(http->method[i]);
	free(http->method);
	free(http->path);
}
