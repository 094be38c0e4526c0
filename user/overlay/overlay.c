// SPDX-License-Identifier: Apache-2.0
/* Opening and destroying a device: which backend, whose it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "handle.h"
#include "wg_go.h"
#include "wg_uapi.h"

const char *ov_backend_name(enum ov_backend b)
{
	return b == OV_KERNEL ? "kernel" : b == OV_USERSPACE ? "wireguard-go" : "auto";
}

unsigned ov_ifindex(const struct ov *ov)
{
	return ov->ifindex;
}

enum ov_backend ov_backend_of(const struct ov *ov)
{
	return ov->backend;
}

void ov_close(struct ov *ov)
{
	if (!ov)
		return;
	ov_nl_fini(&ov->nl);
	free(ov->asked.v);
	free(ov);
}

DEFINE_CLEANUP(ov, struct ov, ov_close)

/* The kernel's rule (dev_valid_name), and no '.' first: the name becomes part of a path. */
static int check_name(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (!len || len >= IF_NAMESIZE || name[0] == '.' || strpbrk(name, "/: \t\n\v\f\r"))
		return err_at(e, -EINVAL, name, "not an interface name: 1 to %d characters, no '/', ':' or blank",
			      IF_NAMESIZE - 1);
	return 0;
}

static int adopt_tun(const char *name, struct err *e)
{
	auto_fd int fd = -1;
	char path[64];
	int rc;

	rc = ov_uapi_connect(name, &fd);
	if (rc < 0)
		return err_at(e, -EEXIST, name, "is a TUN device that nobody answers for at %s: %s",
			      ov_uapi_path(path, name), strerror(-rc));
	if (ov_uapi_is_foreign(fd))
		return err_at(e, -EADDRINUSE, ov_uapi_path(path, name),
			      "belongs to a device of another network namespace; choose another interface name");
	return 0;
}

static int adopt(struct ov *ov, enum ov_backend want, const struct ov_link *link, struct err *e)
{
	int rc = 0;

	if (!strcmp(link->kind, "wireguard")) {
		ov->backend = OV_KERNEL;
	} else if (!strcmp(link->kind, "tun")) {
		rc = adopt_tun(ov->name, e);
		ov->backend = OV_USERSPACE;
	} else {
		rc = err_at(e, -EEXIST, ov->name, "exists and is no WireGuard device (kind \"%s\")", link->kind);
	}
	if (!rc && want != OV_AUTO && want != ov->backend)
		rc = err_at(e, -EEXIST, ov->name, "exists with backend %s, wanted %s", ov_backend_name(ov->backend),
			    ov_backend_name(want));
	return rc;
}

static int create_userspace(struct ov *ov, struct err *e)
{
	auto_fd int fd = -1;
	char path[64];
	int rc;

	rc = ov_uapi_connect(ov->name, &fd);
	if (!rc)
		return err_at(e, -EADDRINUSE, ov_uapi_path(path, ov->name),
			      "answers, but this network namespace has no such link: the name is taken by a device of "
			      "another one; choose another interface name");
	if (rc == -ECONNREFUSED)
		unlink(ov_uapi_path(path, ov->name));
	ov->backend = OV_USERSPACE;
	return ov_go_start(ov->name, e);
}

static int create(struct ov *ov, enum ov_backend want, struct err *e)
{
	struct err inner = ERR_INIT;
	int rc;

	if (want == OV_USERSPACE)
		return create_userspace(ov, e);
	ov->backend = OV_KERNEL;
	rc = ov_link_create(&ov->nl, ov->name, "wireguard", &inner);
	if (rc == -EEXIST) /* made in between: its kind was not seen, the next open tells */
		return err_at(e, rc, ov->name, "was made by another process at this moment");
	if (rc != -EOPNOTSUPP)
		return rc ? err_at(e, rc, inner.where, "%s", inner.msg) : 0;
	if (want == OV_KERNEL)
		return err_at(e, rc, ov->name, "this kernel has no WireGuard (module wireguard)");
	rc = create_userspace(ov, e);
	return rc && e ? err_wrap(e, "this kernel has no WireGuard") : rc;
}

static int make(struct ov *ov, enum ov_backend want, struct ov_link *link, struct err *e)
{
	int rc;

	rc = create(ov, want, e);
	if (!rc)
		rc = ov_link_find(&ov->nl, ov->name, link, e);
	return rc == -ENODEV ? err_at(e, rc, ov->name, "was created and is gone") : rc;
}

int ov_open(const char *name, enum ov_backend want, struct ov **ov, struct err *e)
{
	auto_call(cleanup_ov) struct ov *o = NULL;
	struct ov_link link = { 0 };
	int rc;

	rc = check_name(name, e);
	if (rc < 0)
		return rc;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	memcpy(o->name, name, strlen(name));
	rc = ov_nl_open(&o->nl, NETLINK_ROUTE, e);
	if (rc < 0)
		return rc;
	rc = ov_link_find(&o->nl, name, &link, e);
	if (rc == 0)
		rc = adopt(o, want, &link, e);
	else if (rc == -ENODEV)
		rc = make(o, want, &link, e);
	if (rc < 0)
		return rc;
	o->ifindex = link.ifindex;
	*ov = take_ptr(o);
	return 0;
}

static int destroy_link(struct ov_nl *nl, const char *name, const struct ov_link *link, struct err *e)
{
	bool is_tun = !strcmp(link->kind, "tun");
	int rc = 0;

	if (!is_tun && strcmp(link->kind, "wireguard") != 0)
		return err_at(e, -EINVAL, name, "is no WireGuard device (kind \"%s\"), not removed", link->kind);
	if (is_tun)
		rc = adopt_tun(name, e);
	if (!rc)
		rc = ov_link_delete(nl, name, link->ifindex, e);
	return !rc && is_tun ? ov_go_wait_gone(name, e) : rc;
}

int ov_destroy(const char *name, struct err *e)
{
	auto_nl struct ov_nl nl = { 0 };
	struct ov_link link;
	auto_fd int fd = -1;
	char path[64];
	int rc;

	rc = check_name(name, e);
	if (!rc)
		rc = ov_nl_open(&nl, NETLINK_ROUTE, e);
	if (rc < 0)
		return rc;
	rc = ov_link_find(&nl, name, &link, e);
	if (rc != -ENODEV)
		return rc ? rc : destroy_link(&nl, name, &link, e);
	/* a killed wireguard-go takes its link along and leaves its socket; one that answers is not ours */
	if (ov_uapi_connect(name, &fd) == -ECONNREFUSED)
		unlink(ov_uapi_path(path, name));
	return 0;
}
