// SPDX-License-Identifier: Apache-2.0
/*
 * Programs onto the overlay device. tcx links where the kernel has them (6.6): pinned, so that they outlive this
 * process, and updated in place, so that no packet passes unjudged during an upgrade. Else clsact filters at a fixed
 * place, replaced by netlink, which is atomic as well.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bailey/host.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "internal.h"

#define LINK_BEFORE (1u << 3) /* with no program named: in front of all */

/* Ours in the clsact chain; a low priority number runs early. */
#define CLSACT_PRIORITY 1

static const enum bpf_attach_type tcx_type[] = {
	[BY_DIR_IN] = (enum bpf_attach_type)ATTACH_TCX_INGRESS,
	[BY_DIR_OUT] = (enum bpf_attach_type)ATTACH_TCX_EGRESS,
};
static const enum bpf_tc_attach_point tc_point[] = {
	[BY_DIR_IN] = BPF_TC_INGRESS,
	[BY_DIR_OUT] = BPF_TC_EGRESS,
};

/*
 * An instance has a place of its own, for several may judge one device, and none may take another's away. It is the
 * same for every version of an instance and all of its devices. dir: <bpffs>/bailey/<instance>/v<ABI>, and what is
 * below it.
 */
uint32_t clsact_handle(const char *dir)
{
	static const uint64_t key[2];
	const char *end = dir + strlen(dir);

	for (const char *p = strstr(dir, "/v"); p; p = strstr(p + 1, "/v")) {
		size_t digits = strspn(p + 2, "0123456789");

		if (digits && (p[2 + digits] == '/' || !p[2 + digits]))
			end = p;
	}
	return (uint32_t)hash_siphash(key, dir, (size_t)(end - dir)) | 1; /* 0 is none */
}

/* The hook of a direction. What a machine behind a tap sends is what the host receives from it. */
static int hook_of(const struct dp *dp, enum by_dir dir)
{
	return dp->options.is_workload ? !dir : (int)dir;
}

/* Device of a pinned link; 0 when the device is gone. struct bpf_link_info has no tcx member in older headers, but
 * the interface index comes first in it as in xdp's. */
unsigned link_ifindex(int fd)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) < 0 ? 0 : info.xdp.ifindex;
}

/* 0: the pinned link of this device now runs our program; -ENOENT: there is none that could. */
static int tcx_update(struct dp *dp, enum by_dir dir, unsigned ifindex)
{
	char path[PATH_LEN];
	auto_fd int fd = -1;

	pin_path(path, dp->dir, dp_link_name[dir]);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (link_ifindex(fd) != ifindex)
		return -ENOENT;
	return bpf_link_update(fd, dp->prog[dir], NULL) < 0 ? -errno : 0;
}

/* The new link stands before the old one's pin goes: rename drops a link to another or a vanished device. */
static int tcx_create(struct dp *dp, enum by_dir dir, unsigned ifindex)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = LINK_BEFORE);
	auto_fd int fd = bpf_link_create(dp->prog[dir], (int)ifindex, tcx_type[hook_of(dp, dir)], &opts);

	if (fd < 0)
		return -errno;
	return pin_replace(fd, dp->dir, dp_link_name[dir]);
}

/* Of a process that died between its new link's pin and the rename: finished when it is this device's, else undone. */
static int tcx_settle(struct dp *dp, enum by_dir dir, unsigned ifindex)
{
	char path[PATH_LEN], fresh[PATH_LEN + 8];
	auto_fd int fd = -1;
	int ret;

	pin_path(path, dp->dir, dp_link_name[dir]);
	pin_fresh_path(fresh, dp->dir, dp_link_name[dir]);
	fd = bpf_obj_get(fresh);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	ret = link_ifindex(fd) == ifindex ? rename(fresh, path) : unlink(fresh);
	return ret < 0 ? -errno : 0;
}

static int tcx_attach(struct dp *dp, enum by_dir dir, unsigned ifindex)
{
	int ret = tcx_settle(dp, dir, ifindex);

	if (!ret)
		ret = tcx_update(dp, dir, ifindex);
	return ret == -ENOENT ? tcx_create(dp, dir, ifindex) : ret;
}

static int clsact_attach(struct dp *dp, enum by_dir dir, unsigned ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = dp->prog[dir], .handle = clsact_handle(dp->dir),
		    .priority = CLSACT_PRIORITY, .flags = BPF_TC_F_REPLACE);
	int ret = bpf_tc_hook_create(&hook);

	if (ret && ret != -EEXIST)
		return ret;
	hook.attach_point = tc_point[hook_of(dp, dir)];
	return bpf_tc_attach(&hook, &opts);
}

int attach_tcx(struct dp *dp, unsigned ifindex)
{
	int ret = tcx_attach(dp, BY_DIR_IN, ifindex);

	return ret ? ret : tcx_attach(dp, BY_DIR_OUT, ifindex);
}

int attach_clsact(struct dp *dp, unsigned ifindex)
{
	int ret = clsact_attach(dp, BY_DIR_IN, ifindex);

	return ret ? ret : clsact_attach(dp, BY_DIR_OUT, ifindex);
}

int attach_one(struct dp *dp, enum by_dir dir, unsigned ifindex, struct err *e)
{
	const char *mode = "tcx";
	int ret;

	if (!ifindex)
		return err_at(e, -ENODEV, "device", "has no interface index");
	dp_libbpf_quiet();
	ret = tcx_attach(dp, dir, ifindex);
	if (ret == -EINVAL) { /* what a kernel without tcx says */
		mode = "clsact";
		ret = clsact_attach(dp, dir, ifindex);
	}
	if (ret < 0)
		return err_at(e, ret, "device", "%s attach to interface %u: %s%s%s", mode, ifindex, strerror(-ret),
			      dp_libbpf_said()[0] ? "; " : "", dp_libbpf_said());
	dp->attach_mode = mode;
	return 0;
}

int dp_attach(struct dp *dp, unsigned ifindex, struct err *e)
{
	int ret = via_write(dp, BY_IDENT_LOCAL, ifindex);

	if (ret)
		return err_at(e, ret, dp_map_name[MAP_VIA], "can not be written: %s", strerror(-ret));
	ret = attach_one(dp, BY_DIR_IN, ifindex, e);
	if (!ret)
		ret = attach_one(dp, BY_DIR_OUT, ifindex, e);
	return ret ? ret : pins_supersede(dp, e);
}

const char *dp_attach_mode(const struct dp *dp)
{
	return dp->attach_mode;
}

/* The pin's name alone does not hold a link that somebody else has open: detach says it at once. */
int link_remove(const char *dir, const char *name, struct err *e)
{
	char path[PATH_LEN];
	auto_fd int fd = -1;

	pin_path(path, dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_at(e, -errno, path, "%s", strerror(errno));
	if (link_ifindex(fd) && bpf_link_detach(fd) < 0)
		return err_at(e, -errno, path, "can not be detached: %s", strerror(errno));
	return unlink(path) < 0 ? err_at(e, -errno, path, "%s", strerror(errno)) : 0;
}

void clsact_remove(const char *pins, unsigned ifindex, enum by_dir dir)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = tc_point[dir]);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = clsact_handle(pins), .priority = CLSACT_PRIORITY);

	bpf_tc_detach(&hook, &opts); /* none there is as good */
}

static uint32_t prog_id(const char *dir, const char *name)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	char path[PATH_LEN];
	auto_fd int fd = -1;

	pin_path(path, dir, name);
	fd = bpf_obj_get(path);
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

static bool clsact_runs(const char *pins, unsigned ifindex, enum by_dir dir, uint32_t id)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = tc_point[dir]);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = clsact_handle(pins), .priority = CLSACT_PRIORITY);

	return id && bpf_tc_query(&hook, &opts) == 0 && opts.prog_id == id;
}

/* A filter in clsact has no pin that names its device: ours runs a program that is pinned. */
static void clsact_remove_pinned(const char *dir)
{
	static const char *const name[] = { BY_PROG_IN, BY_PROG_OUT, BY_PROG_HOST_IN, BY_PROG_HOST_OUT };
	struct if_nameindex *devices = if_nameindex();

	for (struct if_nameindex *d = devices; d && d->if_index; d++)
		for (size_t i = 0; i < ARRAY_LEN(name); i++)
			for (int point = 0; point < BY_DIR_COUNT; point++)
				if (clsact_runs(dir, d->if_index, (enum by_dir)point, prog_id(dir, name[i])))
					clsact_remove(dir, d->if_index, (enum by_dir)point);
	if (devices)
		if_freenameindex(devices);
}

int attach_remove(const char *dir, unsigned ifindex, struct err *e)
{
	for (int i = 0; i < BY_DIR_COUNT; i++) {
		int ret = link_remove(dir, dp_link_name[i], e);

		if (ret < 0)
			return ret;
	}
	for (int i = 0; i < BY_DIR_COUNT && ifindex; i++)
		clsact_remove(dir, ifindex, (enum by_dir)i);
	if (!ifindex)
		clsact_remove_pinned(dir);
	return 0;
}
