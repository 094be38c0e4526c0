/* SPDX-License-Identifier: Apache-2.0 */
/* What host.c, host_attach.c and dispatcher.c share. */
#pragma once

#include "bailey/conf.h"
#include "bailey/host.h"
#include "internal.h"
#include "skel/host.skel.h"
#include "skel/xdp.skel.h"

struct host {
	struct dp_host_options options;
	struct by_host_conf conf; /* constants of its programs */
	struct xdp_bpf *xdp;      /* has the maps */
	struct host_bpf *tc;
	int xdp_prog;
	struct dp_host_status status;
};

/* host.c: the XDP object over the maps pinned in `dir`, not loaded. *out is to be destroyed also after an error. */
int host_xdp_open(const char *dir, const struct by_host_conf *c, struct xdp_bpf **out, struct err *e);

/*
 * dispatcher.c: our program beside others of a device, in libxdp's dispatcher. Which one is ours is seen by the maps
 * pinned in `dir` that it uses. Asking for others' programs takes CAP_SYS_ADMIN, which a helper process may have in our
 * stead.
 */
/* Takes a place, natively or generically unless a dispatcher is there already; then an older program of ours goes. */
int dispatcher_join(struct dp *dp, unsigned ifindex, bool *is_native, struct err *e);
/* Our programs leave every device but `but` (0: all). Others' stay. */
int dispatcher_leave(const char *dir, unsigned but, struct err *e);
int dispatcher_has_ours(const char *dir, unsigned ifindex, bool *has, struct err *e);
