// SPDX-License-Identifier: Apache-2.0
/* Programs on cgroups. A pinned link is named for its cgroup and its program: "l-2f1-by_connect4". */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "internal.h"

#define LINK_PREFIX "l-"

int cgroup_open(const char *path, struct cgroup *at, struct err *e)
{
	struct statfs fs;
	struct stat st;
	int ret = 0;

	at->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (at->fd < 0)
		return err_at(e, -errno, path, "no such cgroup: %s", strerror(errno));
	if (fstatfs(at->fd, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		ret = err_at(e, -EINVAL, path, "is no cgroup of version 2");
	else if (fstat(at->fd, &st) < 0)
		ret = err_at(e, -errno, path, "%s", strerror(errno));
	else
		at->id = st.st_ino;
	if (ret)
		close(at->fd);
	return ret;
}

bool cgroup_is(const char *path, uint64_t id)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_ino == id;
}

static int link_update(const char *dir, const char *name, const struct cgroup *at, int prog)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);
	char path[PATH_LEN];
	auto_fd int fd = -1;

	pin_path(path, dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.cgroup.cgroup_id != at->id)
		return -ENOENT;
	return bpf_link_update(fd, prog, NULL) < 0 ? -errno : 0;
}

int cgroup_attach(const char *dir, const struct bpf_program *prog, const struct cgroup *at, const char *path,
		  struct err *e)
{
	int prog_fd = bpf_program__fd(prog), ret;
	auto_fd int fd = -1;
	char name[64];

	snprintf(name, sizeof(name), LINK_PREFIX "%llx-%.15s", (unsigned long long)at->id, bpf_program__name(prog));
	ret = link_update(dir, name, at, prog_fd);
	if (ret == -ENOENT) {
		fd = bpf_link_create(prog_fd, at->fd, bpf_program__expected_attach_type(prog), NULL);
		ret = fd < 0 ? -errno : pin_replace(fd, dir, name);
	}
	return ret ? err_at(e, ret, path, "%s can not be attached: %s", bpf_program__name(prog), strerror(-ret)) : 0;
}

int cgroup_prune(const char *dir, bool (*is_named)(uint64_t cgroup, const char *prog, const void *arg), const void *arg,
		 struct err *e)
{
	struct dirent *file;
	DIR *d = opendir(dir);
	int ret = 0;

	if (!d)
		return err_at(e, -errno, dir, "%s", strerror(errno));
	while (!ret && (file = readdir(d))) {
		unsigned long long of = 0;
		int at = 0;

		if (sscanf(file->d_name, LINK_PREFIX "%llx-%n", &of, &at) != 1 || !at)
			continue;
		if (!is_named || !is_named(of, file->d_name + at, arg))
			ret = link_remove(dir, file->d_name, e);
	}
	closedir(d);
	return ret;
}
