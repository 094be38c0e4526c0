// SPDX-License-Identifier: Apache-2.0
/* The pre-auth key of `bailey up`. A configuration names the file that has it, and everybody may read a configuration.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node_env.h"
#include "up.h"

#define FILE_PREFIX "file:"
#define KEY_MAX     256

static bool is_file(const char *given)
{
	return strncmp(given, FILE_PREFIX, strlen(FILE_PREFIX)) == 0;
}

static int place(const char *path, char place[PATH_MAX], struct err *e)
{
	char cwd[PATH_MAX];
	int n;

	if (*path == '/')
		n = snprintf(place, PATH_MAX, "%s", path);
	else if (getcwd(cwd, sizeof(cwd)))
		n = snprintf(place, PATH_MAX, "%s/%s", cwd, path);
	else
		return err_at(e, -errno, path, "%s", strerror(errno));
	return *path && n < PATH_MAX ? 0 : err_at(e, -EINVAL, "pre-auth key", "file: needs a path");
}

int up_authkey(const char *given, const char *keep, char path[PATH_MAX], struct err *e)
{
	if (is_file(given))
		return place(given + strlen(FILE_PREFIX), path, e);
	if (!node_authkey_ok(given))
		return err_at(e, -EINVAL, "pre-auth key", "needs 16 to 127 characters without blanks, or file:PATH");
	snprintf(path, PATH_MAX, "%s", keep);
	return 0;
}

int up_authkey_keep(const char *given, const char *path, struct err *e)
{
	char dir[PATH_MAX], *slash;

	if (is_file(given))
		return 0;
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = '\0';
		if (dir_make(dir, 0700, e) < 0)
			return e->code;
	}
	return file_write(path, given, strlen(given), 0600, e);
}

int up_authkey_check(const char *path, struct err *e)
{
	auto_free char *text = NULL;
	size_t len;
	bool is_good;

	if (file_read(path, KEY_MAX, &text, &len, e) < 0)
		return err_wrap(e, "pre-auth key");
	text[strcspn(text, "\r\n")] = '\0';
	is_good = node_authkey_ok(text);
	explicit_bzero(text, len);
	return is_good ? 0 : err_at(e, -EINVAL, path, "is no pre-auth key: one line of 16 to 127 characters");
}

void up_authkey_forget(char *value)
{
	if (value && !is_file(value))
		explicit_bzero(value, strlen(value));
}
