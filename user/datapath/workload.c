// SPDX-License-Identifier: Apache-2.0
/* Machines behind this host: <instance>/v<ABI>/w-<name>/ has the pins that an instance has. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "internal.h"

/* The device that its programs were put on last; 0: none. */
static uint32_t device_of(const char *dir)
{
	uint32_t local = BY_IDENT_LOCAL, ifindex = 0;
	char path[PATH_LEN];
	auto_fd int fd = -1;

	pin_path(path, dir, dp_map_name[MAP_VIA]);
	fd = bpf_obj_get(path);
	return fd < 0 || bpf_map_lookup_elem(fd, &local, &ifindex) < 0 ? 0 : ifindex;
}

static int workload_remove(const char *version, const char *name, struct err *e)
{
	char dir[PATH_LEN];
	int ret;

	snprintf(dir, sizeof(dir), "%.*s/" PIN_WORKLOAD "%.*s", DIR_LEN, version, WORKLOAD_NAME_MAX, name);
	if (access(dir, F_OK) < 0)
		return errno == ENOENT ? 0 : err_at(e, -errno, dir, "%s", strerror(errno));
	ret = attach_remove(dir, device_of(dir), e);
	return ret ? ret : version_dir_remove(dir, e);
}

static int each(const char *version, dp_workload_fn fn, void *arg, struct err *e)
{
	struct dirent **found;
	int ret = 0, n = scandir(version, &found, NULL, alphasort);

	if (n < 0)
		return errno == ENOENT ? 0 : err_at(e, -errno, version, "%s", strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *name = found[i]->d_name + strlen(PIN_WORKLOAD);

		if (!ret && strncmp(found[i]->d_name, PIN_WORKLOAD, strlen(PIN_WORKLOAD)) == 0 &&
		    name_is_valid(name, WORKLOAD_NAME_MAX))
			ret = fn(name, arg, e);
		free(found[i]);
	}
	free(found);
	return ret;
}

static int remove_each(const char *name, void *arg, struct err *e)
{
	return workload_remove(arg, name, e);
}

int workloads_remove(const char *version, struct err *e)
{
	char dir[PATH_LEN];

	snprintf(dir, sizeof(dir), "%s", version);
	return each(dir, remove_each, dir, e);
}

static int own_version(const char *bpffs, const char *instance, char dir[static PATH_LEN], struct err *e)
{
	char base[DIR_LEN];
	int ret = instance_dir(bpffs, instance, base, e);

	snprintf(dir, PATH_LEN, "%s/v%d", ret ? "" : base, BY_ABI_VERSION);
	return ret;
}

int dp_workload_destroy(const char *bpffs, const char *instance, const char *name, struct err *e)
{
	char version[PATH_LEN];
	int ret = own_version(bpffs, instance, version, e);

	dp_libbpf_quiet();
	return ret ? ret : workload_remove(version, name, e);
}

int dp_workloads(const char *bpffs, const char *instance, dp_workload_fn fn, void *arg, struct err *e)
{
	char version[PATH_LEN];
	int ret = own_version(bpffs, instance, version, e);

	return ret ? ret : each(version, fn, arg, e);
}
