// SPDX-License-Identifier: Apache-2.0
/*
 * The host's programs onto its network device. Outwards there is tc alone; inwards XDP beside others' programs, else
 * alone in the driver, else behind it, else tc, each tried and not presumed. What was not taken and why is in the
 * status.
 *
 * A pinned link keeps the program on the device when the daemon dies, and is updated in place. Where the way in has to
 * change, the tc program stands in for the moment: no packet passes unjudged.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host.h"

#define LINK_XDP "link_xdp"

static const struct {
	enum dp_host_mode mode;
	uint32_t flags;
	const char *name;
} xdp_mode[] = {
	{ DP_HOST_NATIVE, XDP_FLAGS_DRV_MODE, "xdp-native" },
	{ DP_HOST_GENERIC, XDP_FLAGS_SKB_MODE, "xdp-generic" },
};

__attribute__((format(printf, 2, 3))) static void not_taken(struct host *h, const char *fmt, ...)
{
	size_t at = strlen(h->status.not_better);
	va_list ap;

	if (at)
		at += (size_t)snprintf(h->status.not_better + at, sizeof(h->status.not_better) - at, "; ");
	if (at >= sizeof(h->status.not_better))
		return;
	va_start(ap, fmt);
	vsnprintf(h->status.not_better + at, sizeof(h->status.not_better) - at, fmt, ap);
	va_end(ap);
}

/* On a veth, native XDP switches segmentation offload off and loses what is sent back: worse than generic. */
static bool is_veth(unsigned ifindex)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq req = { .ifr_data = (void *)&info };
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && if_indextoname(ifindex, req.ifr_name) && ioctl(fd, SIOCETHTOOL, &req) == 0 &&
	       strcmp(info.driver, "veth") == 0;
}

/* Our pinned link: its descriptor, or -1; *id: the program that it runs. */
static int own_link(const struct dp *dp, unsigned ifindex, uint32_t *id)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);
	char path[PATH_LEN];
	int fd;

	*id = 0;
	pin_path(path, dp->dir, LINK_XDP);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -1;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.xdp.ifindex == ifindex) {
		*id = info.prog_id;
		return fd;
	}
	close(fd);
	return -1;
}

/* What is on the device and not ours: 0, or its id. */
static uint32_t foreign_prog(const struct dp *dp, unsigned ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);
	uint32_t ours;
	int fd = own_link(dp, ifindex, &ours);

	if (fd >= 0)
		close(fd);
	if (bpf_xdp_query((int)ifindex, 0, &q) < 0 || q.attach_mode == XDP_ATTACHED_NONE)
		return 0;
	if (q.attach_mode == XDP_ATTACHED_MULTI)
		return q.drv_prog_id != ours && q.drv_prog_id ? q.drv_prog_id : q.skb_prog_id;
	return q.prog_id == ours ? 0 : q.prog_id;
}

static bool runs_in(unsigned ifindex, uint32_t flags)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	if (bpf_xdp_query((int)ifindex, 0, &q) < 0)
		return false;
	return q.attach_mode == (flags & XDP_FLAGS_DRV_MODE ? XDP_ATTACHED_DRV : XDP_ATTACHED_SKB);
}

/* The tc program judges while the way in changes. */
static int stand_in(struct dp *dp, unsigned ifindex, struct err *e)
{
	int ret = attach_one(dp, BY_DIR_IN, ifindex, e);

	return ret ? ret : link_remove(dp->dir, LINK_XDP, e);
}

static int xdp_create(struct dp *dp, unsigned ifindex, uint32_t flags, bool was_there, struct err *e)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	auto_fd int fd = -1;
	int ret = 0;

	if (was_there)
		ret = stand_in(dp, ifindex, e);
	if (ret)
		return ret;
	fd = bpf_link_create(dp->host->xdp_prog, (int)ifindex, BPF_XDP, &opts);
	if (fd < 0)
		return err_at(e, -errno, "device", "%s%s%s", strerror(errno), dp_libbpf_said()[0] ? ": " : "",
			      dp_libbpf_said());
	ret = pin_replace(fd, dp->dir, LINK_XDP);
	return ret ? err_at(e, ret, LINK_XDP, "can not be pinned: %s", strerror(-ret)) : 0;
}

static int xdp_attach(struct dp *dp, unsigned ifindex, uint32_t flags, struct err *e)
{
	uint32_t id;
	auto_fd int fd = own_link(dp, ifindex, &id);

	if (fd >= 0 && runs_in(ifindex, flags))
		return bpf_link_update(fd, dp->host->xdp_prog, NULL) < 0
			       ? err_at(e, -errno, LINK_XDP, "can not be updated: %s", strerror(errno))
			       : 0;
	return xdp_create(dp, ifindex, flags, fd >= 0, e);
}

static void tc_in_remove(struct dp *dp, unsigned ifindex)
{
	struct err e = ERR_INIT;

	link_remove(dp->dir, dp_link_name[BY_DIR_IN], &e);
	clsact_remove(dp->dir, ifindex, BY_DIR_IN);
}

static bool may_try(struct host *h, size_t i, unsigned ifindex)
{
	if (h->options.mode != DP_HOST_AUTO)
		return h->options.mode == xdp_mode[i].mode;
	if (xdp_mode[i].mode != DP_HOST_NATIVE || !is_veth(ifindex))
		return true;
	not_taken(h, "%s: on a veth it is slower and loses answers", xdp_mode[i].name);
	return false;
}

static int dispatcher_try(struct dp *dp, unsigned ifindex, bool is_native, struct err *e)
{
	struct host *h = dp->host;
	uint32_t id;
	auto_fd int fd = own_link(dp, ifindex, &id);
	int ret = fd >= 0 ? stand_in(dp, ifindex, e) : 0;

	if (!ret)
		ret = dispatcher_join(dp, ifindex, &is_native, e);
	if (!ret)
		snprintf(h->status.attach, sizeof(h->status.attach), "dispatcher-%s", is_native ? "native" : "generic");
	return ret;
}

/* 1: our program is in the device's dispatcher; 0: it is not, and `not_better` says why. */
static int dispatcher_in(struct dp *dp, unsigned ifindex)
{
	struct host *h = dp->host;
	int ret = -EOPNOTSUPP;

	if (h->options.mode != DP_HOST_AUTO && h->options.mode != DP_HOST_DISPATCHER)
		return 0;
	if (!dp_dispatcher_is_possible()) {
		not_taken(h, "dispatcher: the kernel has no freplace");
		return 0;
	}
	for (int native = !is_veth(ifindex); native >= 0 && ret && ret != -EBUSY; native--) {
		struct err e = ERR_INIT;

		ret = dispatcher_try(dp, ifindex, native, &e);
		if (ret)
			not_taken(h, "dispatcher-%s: %s", native ? "native" : "generic", e.msg);
	}
	return ret == 0;
}

/* Our place in the dispatcher is given up: another way was told, or the dispatcher refuses. */
static int dispatcher_out(struct dp *dp, unsigned ifindex, struct err *e)
{
	struct err why = ERR_INIT;
	bool is_there = false;
	int ret;

	if (foreign_prog(dp, ifindex) && dispatcher_has_ours(dp->dir, ifindex, &is_there, &why) < 0)
		not_taken(dp->host, "%s", why.msg);
	if (!is_there)
		return 0;
	ret = stand_in(dp, ifindex, e);
	return ret ? ret : dispatcher_leave(dp->dir, 0, e);
}

/* 1: XDP judges what comes in; 0: it does not, and `not_better` says why. */
static int xdp_in(struct dp *dp, unsigned ifindex)
{
	struct host *h = dp->host;
	uint32_t other = foreign_prog(dp, ifindex);

	if (other) {
		not_taken(h, "XDP: program %u of somebody else is on the device", other);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(xdp_mode); i++) {
		struct err e = ERR_INIT;

		if (!may_try(h, i, ifindex))
			continue;
		if (xdp_attach(dp, ifindex, xdp_mode[i].flags, &e) == 0) {
			snprintf(h->status.attach, sizeof(h->status.attach), "%s", xdp_mode[i].name);
			return 1;
		}
		not_taken(h, "%s: %s", xdp_mode[i].name, e.msg);
	}
	return 0;
}

static int tc_in(struct dp *dp, unsigned ifindex, struct err *e)
{
	struct host *h = dp->host;
	int ret;

	if (h->options.mode != DP_HOST_AUTO && h->options.mode != DP_HOST_TC)
		return err_at(e, -EOPNOTSUPP, "underlay", "%s", h->status.not_better);
	ret = stand_in(dp, ifindex, e);
	if (ret)
		return ret;
	snprintf(h->status.attach, sizeof(h->status.attach), "%s", dp->attach_mode);
	if (!h->status.no_cookies[0])
		snprintf(h->status.no_cookies, sizeof(h->status.no_cookies), "tc can not send answers");
	return 0;
}

static int attach_in(struct dp *dp, unsigned ifindex, struct err *e)
{
	enum dp_host_mode mode = dp->host->options.mode;
	int ret = 0;

	if (!dispatcher_in(dp, ifindex)) {
		ret = dispatcher_out(dp, ifindex, e);
		if (!ret && (mode == DP_HOST_TC || !xdp_in(dp, ifindex)))
			return tc_in(dp, ifindex, e);
	}
	if (!ret)
		tc_in_remove(dp, ifindex);
	return ret;
}

/* XDP of a daemon with another layout of maps would be somebody else's. */
static int others_out(struct dp *dp, unsigned ifindex, struct err *e)
{
	int ret = pins_has_other(dp) ? stand_in(dp, ifindex, e) : 0;

	return ret ? ret : pins_supersede(dp, e);
}

int dp_host_attach(struct dp *dp, unsigned ifindex, struct err *e)
{
	struct host *h = dp->host;
	int ret;

	h->status.not_better[0] = '\0';
	ret = attach_one(dp, BY_DIR_OUT, ifindex, e);
	if (!ret)
		ret = others_out(dp, ifindex, e);
	if (!ret)
		ret = attach_in(dp, ifindex, e);
	if (!ret)
		ret = dispatcher_leave(dp->dir, ifindex, e);
	dp->attach_mode = h->status.attach;
	return ret;
}

int host_remove(const char *dir, unsigned ifindex, struct err *e)
{
	int ret = link_remove(dir, LINK_XDP, e);

	if (!ret)
		ret = dispatcher_leave(dir, 0, e);
	return ret ? ret : attach_remove(dir, ifindex, e);
}
