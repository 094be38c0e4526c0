/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests: what rules with `http:` are about. A request has a method and a path in one normal form; what has no such
 * form is judged as a connection that is no HTTP at all: no `http:` of an allow rule covers it, each of a deny rule
 * does. Pure, and never longer than the path.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define POL_METHOD_MAX    31u   /* characters of a method */
#define POL_HTTP_PATH_MAX 8192u /* bytes of a path, before and after it is decoded */

/* One entry of a rule's `http:`. */
struct pol_http {
	char **method; /* sorted, each once; NULL: every method */
	size_t n_methods;
	char *path; /* pattern in normal form; NULL: every path, and a request without one */
};

struct pol_request {
	char method[POL_METHOD_MAX + 1];
	bool has_path; /* false: of `*` */
	char path[POL_HTTP_PATH_MAX + 1];
};

/*
 * The path of a request target, decoded once, without its query. Refused is whatever two programs could read in two
 * ways: `.` and `..`, empty segments, a slash, backslash, semicolon, NUL or control character (plain or encoded), what
 * would decode a second time, what is not UTF-8. `buf` has room for len + 1 bytes.
 */
int pol_path_read(const char *target, size_t len, char *buf, struct err *e);
/* -EINVAL when the request has no normal form. `*` is a target without a path. */
int pol_request_read(const char *method, const char *target, struct pol_request *request, struct err *e);
/* "GET /v1/items/3", as people ask. */
int pol_request_parse(const char *text, struct pol_request *request, struct err *e);

/*
 * The pattern of a rule: a path in normal form whose segments can be `*`, exactly one segment, and the last one `**`:
 * nothing, or all that is below.
 */
int pol_pattern_check(const char *pattern, struct err *e);
/* Wide: as a deny rule is compared, without regard to the case of ASCII letters and to a slash at the end. */
bool pol_pattern_covers(const char *pattern, const char *path, bool is_wide);

int pol_method_check(const char *method, struct err *e);

struct pol_rule;
/* Whether what the rule says of HTTP covers the request; NULL: none, or one without a normal form. */
bool pol_http_covers(const struct pol_rule *rule, const struct pol_request *request);
/* Whether each request of entry `a` surely is one of `b`. Two rules: each of `inner` one of `outer`. */
bool pol_http_is_within(const struct pol_http *a, const struct pol_http *b, bool is_wide);
bool pol_http_within(const struct pol_rule *inner, const struct pol_rule *outer);
/* "GET, HEAD /v1/items; POST /v1"; what does not fit ends in "..." */
void pol_http_print(const struct pol_rule *rule, char *buf, size_t size);
void pol_http_fini(struct pol_http *http);
