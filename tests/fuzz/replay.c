// SPDX-License-Identifier: Apache-2.0
/* Runs a fuzz target over its corpus as an ordinary test: tests/fuzz/corpus/<target>/, every file, cut at every length.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CUTS_MAX 2000 /* a longer file is cut at this many evenly spaced lengths */

static int replay(const char *path)
{
	struct err e = ERR_INIT;
	auto_free char *data = NULL;
	size_t len, step;

	if (file_read(path, 1 << 20, &data, &len, &e) < 0)
		return -1;
	step = len / CUTS_MAX + 1;
	for (size_t cut = 0; cut < len; cut += step) {
		/* a copy of its own, so that a sanitizer sees the first byte past the end */
		auto_free uint8_t *part = malloc(cut ? cut : 1);

		if (!part)
			return -1;
		memcpy(part, data, cut);
		LLVMFuzzerTestOneInput(part, cut);
	}
	LLVMFuzzerTestOneInput((uint8_t *)data, len);
	return 0;
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	char dir[256], path[1024];
	struct dirent *entry;
	unsigned n = 0;
	DIR *d;

	(void)argc;
	snprintf(dir, sizeof(dir), "tests/fuzz/corpus/%.*s", (int)(strlen(base) - strlen("_replay")), base);
	d = opendir(dir);
	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (replay(path) < 0) {
			printf("not ok %u - %s unreadable\n", ++n, path);
			return 1;
		}
		n++;
	}
	if (d)
		closedir(d);
	printf(n ? "ok 1 - %s: %u files\n" : "not ok 1 - %s: %u files, corpus is empty\n", dir, n);
	return n ? 0 : 1;
}
