// SPDX-License-Identifier: Apache-2.0
/* A request target, and after a line feed a pattern: what is read as a path has one form and keeps to its bounds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void encode(const char *path, char *out)
{
	for (; *path; path++)
		out += *path == '/' ? sprintf(out, "/") : sprintf(out, "%%%02X", (unsigned char)*path);
	*out = '\0';
}

/* No program that decodes once, twice or not at all, or that folds segments, finds another path in it. */
static void check_path(const char *path)
{
	char *plain = malloc(3 * strlen(path) + 1), *again = malloc(3 * strlen(path) + 1);

	must(path[0] == '/' && !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../"));
	must(!strpbrk(path, "\\;") && strcmp(path + strlen(path) - 2 + (strlen(path) < 2), "/.") != 0);
	must(strlen(path) < 3 || strcmp(path + strlen(path) - 3, "/..") != 0);
	encode(path, plain);
	must(pol_path_read(plain, strlen(plain), again, NULL) == 0 && strcmp(path, again) == 0);
	must(pol_pattern_covers("/**", path, false));
	free(plain);
	free(again);
}

static void check_pattern(const char *pattern, const char *path)
{
	struct pol_http own = { .path = (char *)pattern }, all = { .path = (char *)"/**" };

	if (pol_pattern_check(pattern, NULL) < 0)
		return;
	must(!pol_pattern_covers(pattern, path, false) || pol_pattern_covers(pattern, path, true));
	must(pol_http_is_within(&own, &own, false) && pol_http_is_within(&own, &own, true));
	must(pol_http_is_within(&own, &all, false));
	if (!strchr(pattern, '*'))
		must(pol_pattern_covers(pattern, pattern, false));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t len = end ? (size_t)(end - data) : size, n_pattern = end ? size - len - 1 : 0;
	char *path = malloc(len + 1), *pattern = malloc(n_pattern + 1);

	if (n_pattern)
		memcpy(pattern, end + 1, n_pattern);
	pattern[n_pattern] = '\0';
	if (pol_path_read((const char *)data, len, path, NULL) == 0) {
		check_path(path);
		check_pattern(pattern, path);
	}
	free(path);
	free(pattern);
	return 0;
}
