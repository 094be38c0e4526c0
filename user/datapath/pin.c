// SPDX-License-Identifier: Apache-2.0
/*
 * Names in bpffs: <bpffs>/bailey/<instance>/v<ABI>/{by_gen ... by_capture, by_tc_in, by_tc_out, by_ask_in, by_ask_out,
 * link_in, link_out}. Root's own (0700): who may open a pin may change the policy.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "divert.h"
#include "guard.h"
#include "internal.h"

#define BPFFS_MAGIC  0xcafe4a11
#define INSTANCE_MAX 32

const char *const dp_map_name[MAP_COUNT] = {
	[MAP_GEN] = "by_gen",         [MAP_ADDR] = "by_addr",
	[MAP_IDENT] = "by_ident",     [MAP_PORT] = "by_port",
	[MAP_RULE] = "by_rule",       [MAP_VERDICT] = "by_verdict",
	[MAP_CT4] = "by_ct4",         [MAP_CT6] = "by_ct6",
	[MAP_STAT] = "by_stat",       [MAP_RULE_STAT] = "by_rule_stat",
	[MAP_EVENTS] = "by_events",   [MAP_LIMIT] = "by_limit",
	[MAP_FRAG] = "by_frag",       [MAP_RATE] = "by_rate",
	[MAP_PAIR] = "by_pair",       [MAP_SWITCH] = "by_switch",
	[MAP_CAPTURE] = "by_capture", [MAP_VIA] = "by_via",
	[MAP_NET] = "by_net",         [MAP_SOURCE] = "by_source",
	[MAP_TOTAL] = "by_total",
};
const char *const dp_prog_name[BY_DIR_COUNT] = { [BY_DIR_IN] = BY_PROG_IN, [BY_DIR_OUT] = BY_PROG_OUT };
const char *const dp_ask_name[BY_DIR_COUNT] = { [BY_DIR_IN] = BY_PROG_ASK_IN, [BY_DIR_OUT] = BY_PROG_ASK_OUT };
const char *const dp_link_name[BY_DIR_COUNT] = { [BY_DIR_IN] = "link_in", [BY_DIR_OUT] = "link_out" };

void pin_path(char path[static PATH_LEN], const char *dir, const char *name)
{
	snprintf(path, PATH_LEN, "%.*s/%s", DIR_LEN, dir, name);
}

bool name_is_valid(const char *s, size_t max)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n && n <= max && !s[n];
}

int instance_dir(const char *bpffs, const char *instance, char dir[static DIR_LEN], struct err *e)
{
	struct statfs fs;

	if (!name_is_valid(instance, INSTANCE_MAX))
		return err_at(e, -EINVAL, instance, "an instance name is 1 to %d of a-z, 0-9 and '-'", INSTANCE_MAX);
	if (statfs(bpffs, &fs) < 0)
		return err_at(e, -errno, bpffs, "%s", strerror(errno));
	if ((unsigned long)fs.f_type != BPFFS_MAGIC)
		return err_at(e, -EINVAL, bpffs, "is not a BPF file system: mount -t bpf bpf %s", bpffs);
	if (snprintf(dir, DIR_LEN, "%s/bailey/%s", bpffs, instance) >= DIR_LEN - 16)
		return err_at(e, -ENAMETOOLONG, bpffs, "path is too long");
	return 0;
}

int pin_dir_make(const char *bpffs, const char *instance, const char *sub, char dir[static DIR_LEN], struct err *e)
{
	size_t at = strlen(bpffs), len;
	int ret = instance_dir(bpffs, instance, dir, e);

	if (ret < 0)
		return ret;
	len = strlen(dir);
	if (snprintf(dir + len, DIR_LEN - len, "/v%d%s%s", BY_ABI_VERSION, sub ? "/" : "", sub ? sub : "") >=
	    (int)(DIR_LEN - len))
		return err_at(e, -ENAMETOOLONG, bpffs, "path is too long");
	while (dir[at]) {
		char part[DIR_LEN];

		at += 1 + strcspn(dir + at + 1, "/");
		snprintf(part, sizeof(part), "%.*s", (int)at, dir);
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return err_at(e, -errno, part, "%s", strerror(errno));
	}
	return 0;
}

void pin_fresh_path(char path[static PATH_LEN + 8], const char *dir, const char *name)
{
	pin_path(path, dir, name);
	strcat(path, "_new");
}

int pin_replace(int fd, const char *dir, const char *name)
{
	char path[PATH_LEN], fresh[PATH_LEN + 8];

	pin_path(path, dir, name);
	pin_fresh_path(fresh, dir, name);
	if (unlink(fresh) < 0 && errno != ENOENT)
		return -errno;
	if (bpf_obj_pin(fd, fresh) < 0)
		return -errno;
	if (rename(fresh, path) < 0) {
		int ret = -errno;

		unlink(fresh);
		return ret;
	}
	return 0;
}

/* Removes a directory of pins. Whatever else lies in it makes it stay, and that is an error. */
int version_dir_remove(const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *file;

	if (!d)
		return err_at(e, -errno, dir, "%s", strerror(errno));
	while ((file = readdir(d)))
		if (file->d_name[0] != '.')
			unlinkat(dirfd(d), file->d_name, 0);
	closedir(d);
	return rmdir(dir) < 0 ? err_at(e, -errno, dir, "%s", strerror(errno)) : 0;
}

/* --- other versions of the ABI --- */

typedef int (*other_fn)(const struct dp *dp, const char *dir, struct err *e);

/* Each directory of pins that is to another version what dp->dir is to this one. */
static int others_walk(const struct dp *dp, other_fn fn, struct err *e)
{
	const char *own = dp->dir + dp->version_at + 1, *sub = own + strcspn(own, "/");
	size_t n = (size_t)(sub - own);
	char base[DIR_LEN], other[PATH_LEN];
	struct dirent *v;
	int ret = 0;
	DIR *d;

	snprintf(base, sizeof(base), "%.*s", (int)dp->version_at, dp->dir);
	d = opendir(base);
	if (!d)
		return err_at(e, -errno, base, "%s", strerror(errno));
	while ((v = readdir(d)) && !ret) {
		if (v->d_name[0] != 'v' || (strlen(v->d_name) == n && memcmp(v->d_name, own, n) == 0))
			continue;
		snprintf(other, sizeof(other), "%s/%.32s%s", base, v->d_name, sub);
		if (access(other, F_OK) == 0)
			ret = fn(dp, other, e);
		other[strlen(other) - strlen(sub)] = '\0';
		rmdir(other); /* the last that goes takes it along */
	}
	closedir(d);
	return ret;
}

/* A filter in clsact has one place, where ours is by now: what the other pinned runs nowhere. */
static int supersede(const struct dp *dp, const char *dir, struct err *e)
{
	int ret = dp->host ? host_remove(dir, 0, e) : attach_remove(dir, 0, e);
	struct err left = ERR_INIT;

	if (!ret && !dp->host)
		ret = second_remove(dir, e);
	if (ret)
		return ret;
	log_warn("%s: of a daemon with another layout of maps: removed, and its tracked flows with it", dir);
	ret = version_dir_remove(dir, &left);
	if (ret && ret != -ENOTEMPTY) /* the machines' and the host's go when their devices are ours */
		*e = left;
	return ret == -ENOTEMPTY ? 0 : ret;
}

int pins_supersede(const struct dp *dp, struct err *e)
{
	return others_walk(dp, supersede, e);
}

static int found(const struct dp *dp, const char *dir, struct err *e)
{
	(void)dp, (void)dir, (void)e;
	return 1;
}

bool pins_has_other(const struct dp *dp)
{
	struct err e = ERR_INIT;

	return others_walk(dp, found, &e) == 1;
}

/* The host's part of one version. */
static int host_dir_remove(const char *version, unsigned ifindex, struct err *e)
{
	char dir[PATH_LEN];
	int ret;

	pin_path(dir, version, PIN_HOST);
	if (access(dir, F_OK) < 0)
		return 0;
	ret = host_remove(dir, ifindex, e);
	return ret ? ret : version_dir_remove(dir, e);
}

static int all_remove(const char *version, unsigned ifindex, struct err *e)
{
	int ret = host_dir_remove(version, 0, e);

	if (!ret)
		ret = workloads_remove(version, e);
	if (!ret)
		ret = divert_remove(version, e);
	if (!ret)
		ret = guard_remove(version, e);
	if (!ret)
		ret = second_remove(version, e);
	if (!ret)
		ret = attach_remove(version, ifindex, e);
	return ret ? ret : version_dir_remove(version, e);
}

/* `fn` for every version of the instance that is there. */
static int versions_walk(const char *dir, unsigned ifindex,
			 int (*fn)(const char *version, unsigned ifindex, struct err *e), struct err *e)
{
	char version[PATH_LEN];
	struct dirent *sub;
	DIR *d = opendir(dir);
	int ret = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_at(e, -errno, dir, "%s", strerror(errno));
	while ((sub = readdir(d)) && !ret) {
		if (sub->d_name[0] != 'v')
			continue;
		pin_path(version, dir, sub->d_name);
		ret = fn(version, ifindex, e);
	}
	closedir(d);
	return ret;
}

static int divert_dir_remove(const char *version, unsigned ifindex, struct err *e)
{
	(void)ifindex;
	return divert_remove(version, e);
}

static int guard_dir_remove(const char *version, unsigned ifindex, struct err *e)
{
	(void)ifindex;
	return guard_remove(version, e);
}

static bool is_own(const char *version)
{
	char own[16];

	snprintf(own, sizeof(own), "/v%d", BY_ABI_VERSION);
	return strcmp(strrchr(version, '/'), own) == 0;
}

static int other_divert_remove(const char *version, unsigned ifindex, struct err *e)
{
	return is_own(version) ? 0 : divert_dir_remove(version, ifindex, e);
}

static int other_guard_remove(const char *version, unsigned ifindex, struct err *e)
{
	return is_own(version) ? 0 : guard_dir_remove(version, ifindex, e);
}

/* dir: <base>/v<ABI>/<part> */
static int others_remove(const char *dir, int (*remove)(const char *version, unsigned ifindex, struct err *e),
			 struct err *e)
{
	char base[DIR_LEN];

	snprintf(base, sizeof(base), "%s", dir);
	*strrchr(base, '/') = '\0';
	*strrchr(base, '/') = '\0';
	return versions_walk(base, 0, remove, e);
}

int divert_supersede(const char *dir, struct err *e)
{
	return others_remove(dir, other_divert_remove, e);
}

int guard_supersede(const char *dir, struct err *e)
{
	return others_remove(dir, other_guard_remove, e);
}

/* --- tracked flows of other versions --- */

typedef int (*flows_fn)(const char *path, struct err *e);

static int flows_refuse(const char *path, struct err *e)
{
	return err_at(
		e, -EBUSY, path,
		"flows that a daemon with another layout of maps tracks, which this one (v%d) can not carry over; that "
		"daemon's programs go on deciding. Start that one again, or give its flows up: baileyd -c FILE "
		"--forget-flows",
		BY_ABI_VERSION);
}

static int flows_forget(const char *path, struct err *e)
{
	return unlink(path) < 0 ? err_at(e, -errno, path, "%s", strerror(errno)) : 0;
}

static int flows_of(const char *dir, flows_fn fn, struct err *e)
{
	static const char *const name[] = { "by_ct", "by_ct4", "by_ct6" }; /* the first: until v2 */
	char path[PATH_LEN];
	int ret = 0;

	for (size_t i = 0; i < ARRAY_LEN(name) && !ret; i++) {
		pin_path(path, dir, name[i]);
		ret = access(path, F_OK) == 0 ? fn(path, e) : 0;
	}
	return ret;
}

/* The flows of a version are in its own directory and in those of the host and of machines below it. */
static int flows_walk(const char *version, flows_fn fn, struct err *e)
{
	DIR *d = opendir(version);
	int ret = flows_of(version, fn, e);
	char sub[PATH_LEN];
	struct dirent *file;

	if (!d)
		return err_at(e, -errno, version, "%s", strerror(errno));
	while ((file = readdir(d)) && !ret) {
		if (file->d_name[0] == '.')
			continue;
		pin_path(sub, version, file->d_name);
		ret = flows_of(sub, fn, e);
	}
	closedir(d);
	return ret;
}

static int other_flows_refuse(const char *version, unsigned ifindex, struct err *e)
{
	(void)ifindex;
	return is_own(version) ? 0 : flows_walk(version, flows_refuse, e);
}

static int other_flows_forget(const char *version, unsigned ifindex, struct err *e)
{
	(void)ifindex;
	return is_own(version) ? 0 : flows_walk(version, flows_forget, e);
}

int dp_flows_check(const char *bpffs, const char *instance, struct err *e)
{
	struct err unseen = ERR_INIT;
	char dir[DIR_LEN];

	/* who may not look there, or where nothing is mounted yet, loses nothing */
	if (instance_dir(bpffs, instance, dir, &unseen) < 0 || access(dir, R_OK | X_OK) < 0)
		return 0;
	return versions_walk(dir, 0, other_flows_refuse, e);
}

int dp_flows_forget(const char *bpffs, const char *instance, struct err *e)
{
	char dir[DIR_LEN];
	int ret = instance_dir(bpffs, instance, dir, e);

	return ret ? ret : versions_walk(dir, 0, other_flows_forget, e);
}

/* --- ends --- */

int dp_divert_destroy(const char *bpffs, const char *instance, struct err *e)
{
	char dir[DIR_LEN];
	int ret = instance_dir(bpffs, instance, dir, e);

	dp_libbpf_quiet();
	return ret ? ret : versions_walk(dir, 0, divert_dir_remove, e);
}

int dp_guard_destroy(const char *bpffs, const char *instance, struct err *e)
{
	char dir[DIR_LEN];
	int ret = instance_dir(bpffs, instance, dir, e);

	dp_libbpf_quiet();
	return ret ? ret : versions_walk(dir, 0, guard_dir_remove, e);
}

int dp_host_destroy(const char *bpffs, const char *instance, unsigned ifindex, struct err *e)
{
	char dir[DIR_LEN];
	int ret = instance_dir(bpffs, instance, dir, e);

	dp_libbpf_quiet();
	return ret ? ret : versions_walk(dir, ifindex, host_dir_remove, e);
}

int dp_destroy(const char *bpffs, const char *instance, unsigned ifindex, struct err *e)
{
	char dir[DIR_LEN];
	int ret = instance_dir(bpffs, instance, dir, e);

	if (ret < 0)
		return ret;
	dp_libbpf_quiet();
	ret = versions_walk(dir, ifindex, all_remove, e);
	if (!ret && rmdir(dir) < 0 && errno != ENOENT)
		return err_at(e, -errno, dir, "%s", strerror(errno));
	return ret;
}
