// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"

static int read_fd(int fd, const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	auto_out struct out out = { 0 };
	char chunk[16384];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_at(e, -errno, path, "%s", strerror(errno));
		if (out.len + (size_t)n > max)
			return err_at(e, -EFBIG, path, "is larger than %zu bytes", max);
		out_bytes(&out, chunk, (size_t)n);
	}
	out_u8(&out, 0);
	if (!out_ok(&out))
		return err_at(e, -ENOMEM, path, "out of memory");
	*data = (char *)out_take(&out, len);
	(*len)--;
	return 0;
}

int file_read(const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	return read_fd(fd, path, max, data, len, e);
}

int file_read_arg(const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	if (strcmp(path, "-") == 0)
		return read_fd(STDIN_FILENO, "standard input", max, data, len, e);
	return file_read(path, max, data, len, e);
}

void file_found_fini(struct file_found *found)
{
	for (size_t i = 0; i < found->n; i++)
		free(found->name[i]);
	free(found->name);
	free(found->text);
	*found = (struct file_found){ 0 };
}

static int order_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct file_found *found, const char *name)
{
	if ((found->n & (found->n - 1)) == 0) {
		char **grown = realloc(found->name, (found->n ? 2 * found->n : 1) * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		found->name = grown;
	}
	found->name[found->n] = strdup(name);
	if (!found->name[found->n])
		return -ENOMEM;
	return ++found->n > FILE_NAMES_MAX ? -E2BIG : 0;
}

/* Takes fd over. */
static int read_names(int fd, const char *path, struct file_found *found, struct err *e)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		close(fd);
		return err_at(e, ret, path, "%s", strerror(-ret));
	}
	found->is_dir = true;
	while (!ret && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			ret = add_name(found, entry->d_name);
	closedir(dir);
	if (ret)
		return err_at(e, ret, path, ret == -E2BIG ? "has too many files" : "out of memory");
	if (found->n)
		qsort(found->name, found->n, sizeof(*found->name), order_names);
	return 0;
}

int file_get(void *unused, const char *path, size_t max, struct file_found *found, struct err *e)
{
	bool is_stdin = strcmp(path, "-") == 0;
	auto_fd int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	struct file_found f = { 0 };
	struct stat st;
	int ret;

	(void)unused;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	f.id[0] = st.st_dev;
	f.id[1] = st.st_ino;
	if (S_ISDIR(st.st_mode))
		ret = read_names(take_fd(&fd), path, &f, e);
	else
		ret = read_fd(fd, is_stdin ? "standard input" : path, max, &f.text, &f.len, e);
	if (ret)
		file_found_fini(&f);
	else
		*found = f;
	return ret;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int file_write(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	char tmp[PATH_MAX];
	auto_fd int fd = -1;
	int ret;

	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return err_at(e, -ENAMETOOLONG, path, "path is too long");
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	ret = write_all(fd, data, len);
	if (!ret && (fchmod(fd, mode) < 0 || rename(tmp, path) < 0))
		ret = -errno;
	if (ret) {
		unlink(tmp);
		return err_at(e, ret, path, "%s", strerror(-ret));
	}
	return 0;
}

int dir_make(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return err_at(e, -ENAMETOOLONG, path, "path is too long");
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return err_at(e, -errno, part, "%s", strerror(errno));
		*p = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		return err_at(e, -errno, part, "%s", strerror(errno));
	return 0;
}
