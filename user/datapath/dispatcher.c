// SPDX-License-Identifier: Apache-2.0
/*
 * The host's XDP program beside others', in libxdp's dispatcher: a small program on the device whose functions the
 * kernel replaces by the programs (freplace), in the order of their priorities. libxdp builds a new dispatcher for each
 * change and swaps it in one step, and its pins hold the programs when every process is gone.
 *
 * Which program is ours is no record that could be wrong after a crash: it is the one that uses our pinned maps.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "base/cleanup.h"
#include "host.h"

#define MAPS_MAX        64
#define OTHERS_WAIT_S   10 /* libxdp would wait for ever for whoever else changes a dispatcher */
#define ERR_NO_FREPLACE "the kernel does not replace functions of XDP programs (freplace)"

DEFINE_CLEANUP(multiprog, struct xdp_multiprog, xdp_multiprog__close)
DEFINE_CLEANUP(program, struct xdp_program, xdp_program__close)
DEFINE_CLEANUP(xdp, struct xdp_bpf, xdp_bpf__destroy)

enum op { OP_JOIN, OP_LEAVE, OP_HAS_OURS };

struct request {
	enum op op;
	unsigned ifindex; /* OP_LEAVE: the one to spare */
	bool is_native;
	char dir[DIR_LEN];
	struct by_host_conf conf;
};

struct reply {
	int code;
	bool yes; /* OP_JOIN: it is native; OP_HAS_OURS: it has */
	struct err err;
};

static int helper = -1;
static char libxdp_said[160];

static int libxdp_print(enum libxdp_print_level level, const char *fmt, va_list ap)
{
	if (level != LIBXDP_DEBUG) {
		vsnprintf(libxdp_said, sizeof(libxdp_said), fmt, ap);
		libxdp_said[strcspn(libxdp_said, "\n")] = '\0';
	}
	return 0;
}

static int refused(struct err *e, int code, unsigned ifindex, const char *what)
{
	char device[IF_NAMESIZE] = "device";

	if_indextoname(ifindex, device);
	if (code == -EPERM)
		return err_at(e, code, device, "%s: CAP_SYS_ADMIN is needed", what);
	return err_at(e, code, device, "%s: %s%s%s", what, strerror(-code), libxdp_said[0] ? "; " : "", libxdp_said);
}

/* --- whose a program is --- */

static uint32_t map_id(const char *dir)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	char path[PATH_LEN];
	auto_fd int fd = -1;

	pin_path(path, dir, dp_map_name[MAP_GEN]);
	fd = bpf_obj_get(path);
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

static bool uses_map(int fd, uint32_t id)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info), ids[MAPS_MAX];

	info.map_ids = (__u64)(uintptr_t)ids;
	info.nr_map_ids = MAPS_MAX;
	if (!id || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return false;
	for (__u32 i = 0; i < info.nr_map_ids && i < MAPS_MAX; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/*
 * The net process waits for this one: not by the clock, for on a slow machine a join takes what it takes, but not for a
 * stranger's sake either. What libxdp locks is its folder, also to read.
 */
static int lock_is_free(unsigned ifindex, struct err *e)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	const char *bpffs = getenv("LIBXDP_BPFFS");
	char path[PATH_LEN];
	auto_fd int fd = -1;

	snprintf(path, sizeof(path), "%s/xdp", bpffs ? bpffs : "/sys/fs/bpf");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; i++) {
		if (i == OTHERS_WAIT_S * 10)
			return refused(e, -EBUSY, ifindex, "somebody else holds libxdp's lock");
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* The dispatcher of a device; NULL: it has none. */
static int dispatcher_of(unsigned ifindex, struct xdp_multiprog **out, struct err *e)
{
	struct xdp_multiprog *mp;
	uint32_t id = 0;
	int ret = bpf_xdp_query_id((int)ifindex, 0, &id);

	*out = NULL;
	if (ret < 0)
		return refused(e, ret, ifindex, "can not be asked for its XDP program");
	if (!id)
		return 0;
	ret = lock_is_free(ifindex, e);
	if (ret)
		return ret;
	mp = xdp_multiprog__get_from_ifindex((int)ifindex);
	ret = (int)libxdp_get_error(mp);
	if (ret)
		return ret == -ENOENT ? 0 : refused(e, ret, ifindex, "its XDP programs can not be read");
	if (xdp_multiprog__is_legacy(mp))
		xdp_multiprog__close(mp);
	else
		*out = mp;
	return 0;
}

/* --- what is done with CAP_SYS_ADMIN --- */

static int has_ours(const struct request *r, struct reply *reply)
{
	auto_call(cleanup_multiprog) struct xdp_multiprog *mp = NULL;
	struct xdp_program *p = NULL;
	uint32_t map = map_id(r->dir);
	int ret = dispatcher_of(r->ifindex, &mp, &reply->err);

	while (!ret && mp && (p = xdp_multiprog__next_prog(p, mp)))
		reply->yes |= uses_map(xdp_program__fd(p), map);
	return ret;
}

/* All of ours but program `but`, in one change. */
static int leave(const char *dir, unsigned ifindex, uint32_t but, struct err *e)
{
	auto_call(cleanup_multiprog) struct xdp_multiprog *mp = NULL;
	struct xdp_program *p = NULL, *ours[MAPS_MAX];
	uint32_t map = map_id(dir);
	size_t n = 0;
	int ret = dispatcher_of(ifindex, &mp, e);

	while (!ret && mp && n < MAPS_MAX && (p = xdp_multiprog__next_prog(p, mp)))
		if (xdp_program__id(p) != but && uses_map(xdp_program__fd(p), map))
			ours[n++] = p;
	if (ret || !n)
		return ret;
	ret = xdp_program__detach_multi(ours, n, (int)ifindex, xdp_multiprog__attach_mode(mp), 0);
	return ret ? refused(e, ret, ifindex, "our program can not be taken out of the dispatcher") : 0;
}

static int leave_all(const struct request *r, struct reply *reply)
{
	struct if_nameindex *devices = if_nameindex();
	int ret = devices ? 0 : err_at(&reply->err, -errno, NULL, "network devices: %s", strerror(errno));

	for (struct if_nameindex *d = devices; d && d->if_index && !ret; d++)
		if (d->if_index != r->ifindex)
			ret = leave(r->dir, d->if_index, 0, &reply->err);
	if (devices)
		if_freenameindex(devices);
	return ret;
}

/* Where the kernel refuses the replacement, libxdp puts the program alone onto the device. */
static int undo_alone(unsigned ifindex, enum xdp_attach_mode mode, struct err *e)
{
	bpf_xdp_detach((int)ifindex, mode == XDP_MODE_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE, NULL);
	return refused(e, -EOPNOTSUPP, ifindex, ERR_NO_FREPLACE);
}

/* A dispatcher that is there says how: a device has one way. */
static int join_mode(const struct request *r, enum xdp_attach_mode *mode, struct err *e)
{
	auto_call(cleanup_multiprog) struct xdp_multiprog *mp = NULL;
	int ret = dispatcher_of(r->ifindex, &mp, e);

	*mode = r->is_native ? XDP_MODE_NATIVE : XDP_MODE_SKB;
	if (!ret && mp)
		*mode = xdp_multiprog__attach_mode(mp);
	return ret;
}

static int attach_new(const struct request *r, struct xdp_bpf *xdp, enum xdp_attach_mode mode, uint32_t *id,
		      struct err *e)
{
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts, .obj = xdp->obj, .prog_name = BY_PROG_XDP);
	auto_call(cleanup_multiprog) struct xdp_multiprog *mp = NULL;
	auto_call(cleanup_program) struct xdp_program *prog = NULL;
	struct xdp_program *p = xdp_program__create(&opts);
	int ret = (int)libxdp_get_error(p);

	if (ret)
		return refused(e, ret, r->ifindex, "libxdp");
	prog = p;
	ret = xdp_program__set_xdp_frags_support(prog, true);
	if (!ret)
		ret = xdp_program__attach(prog, (int)r->ifindex, mode, 0);
	if (ret)
		return refused(e, ret, r->ifindex, "libxdp");
	*id = xdp_program__id(prog);
	ret = dispatcher_of(r->ifindex, &mp, e);
	return ret || mp ? ret : undo_alone(r->ifindex, mode, e);
}

/* libxdp finds out half-way, with our program alone on the device. */
static int may_join(unsigned ifindex, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &head, caps) == 0 && caps[0].effective & 1u << CAP_SYS_ADMIN)
		return 0;
	return refused(e, -EPERM, ifindex, "libxdp");
}

static int join(const struct request *r, struct reply *reply)
{
	auto_call(cleanup_xdp) struct xdp_bpf *xdp = NULL;
	enum xdp_attach_mode mode = XDP_MODE_UNSPEC;
	uint32_t id = 0;
	int ret = may_join(r->ifindex, &reply->err);

	if (!ret)
		ret = lock_is_free(r->ifindex, &reply->err);
	if (!ret)
		ret = join_mode(r, &mode, &reply->err);
	if (!ret)
		ret = host_xdp_open(r->dir, &r->conf, &xdp, &reply->err);
	if (!ret)
		ret = attach_new(r, xdp, mode, &id, &reply->err);
	if (!ret)
		ret = leave(r->dir, r->ifindex, id, &reply->err);
	reply->yes = mode == XDP_MODE_NATIVE;
	return ret;
}

static void serve(const struct request *r, struct reply *reply)
{
	static int (*const fn[])(const struct request *r, struct reply *reply) = {
		[OP_JOIN] = join,
		[OP_LEAVE] = leave_all,
		[OP_HAS_OURS] = has_ours,
	};

	*reply = (struct reply){ .err = ERR_INIT };
	libxdp_said[0] = '\0';
	dp_libbpf_quiet();
	libxdp_set_print(libxdp_print);
	reply->code = fn[r->op](r, reply);
}

/* --- the helper --- */

void dp_dispatcher_serve(int fd)
{
	struct request r;
	struct reply reply;

	while (recv(fd, &r, sizeof(r), 0) == sizeof(r)) {
		if ((unsigned)r.op > OP_HAS_OURS)
			return;
		r.dir[DIR_LEN - 1] = '\0';
		serve(&r, &reply);
		if (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
			return;
	}
}

void dp_dispatcher_helper(int fd)
{
	helper = fd;
}

/* The answer comes or the helper is gone. */
static int ask(const struct request *r, struct reply *reply, struct err *e)
{
	if (helper < 0) {
		serve(r, reply);
	} else if (send(helper, r, sizeof(*r), MSG_NOSIGNAL) != sizeof(*r) ||
		   recv(helper, reply, sizeof(*reply), 0) != sizeof(*reply)) {
		shutdown(helper, SHUT_RDWR);
		return err_at(e, -EPIPE, "dispatcher", "the helper process does not answer");
	}
	if (reply->code && !e->code)
		*e = reply->err;
	return reply->code;
}

static struct request request_of(enum op op, const char *dir, unsigned ifindex)
{
	struct request r = { .op = op, .ifindex = ifindex };

	snprintf(r.dir, sizeof(r.dir), "%.*s", DIR_LEN - 1, dir);
	return r;
}

bool dp_dispatcher_is_possible(void)
{
	static int answer = -1;

	if (answer < 0) {
		dp_libbpf_quiet();
		answer = libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_EXT, NULL) == 1;
	}
	return answer;
}

int dispatcher_join(struct dp *dp, unsigned ifindex, bool *is_native, struct err *e)
{
	struct request r = request_of(OP_JOIN, dp->dir, ifindex);
	struct reply reply;
	int ret;

	r.is_native = *is_native;
	r.conf = dp->host->conf;
	ret = ask(&r, &reply, e);
	*is_native = !ret && reply.yes;
	return ret;
}

int dispatcher_leave(const char *dir, unsigned but, struct err *e)
{
	struct request r = request_of(OP_LEAVE, dir, but);
	struct reply reply;

	return dp_dispatcher_is_possible() ? ask(&r, &reply, e) : 0;
}

int dispatcher_has_ours(const char *dir, unsigned ifindex, bool *has, struct err *e)
{
	struct request r = request_of(OP_HAS_OURS, dir, ifindex);
	struct reply reply = { 0 };
	int ret = dp_dispatcher_is_possible() ? ask(&r, &reply, e) : 0;

	*has = !ret && reply.yes;
	return ret;
}
