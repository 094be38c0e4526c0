/* SPDX-License-Identifier: Apache-2.0 */
/* What host.c and host_attach.c share. */
#pragma once

#include "bailey/conf.h"
#include "bailey/host.h"
#include "internal.h"
#include "skel/host.skel.h"
#include "skel/xdp.skel.h"

struct host {
	struct dp_host_options options;
	struct xdp_bpf *xdp; /* has the maps */
	struct host_bpf *tc;
	int xdp_prog;
	struct dp_host_status status;
};
