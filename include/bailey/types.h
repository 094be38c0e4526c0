/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Types that both sides share. BPF includes its vmlinux.h first, user space gets the kernel's integer names here.
 * A name ending in _be is in network byte order; every other integer is in host byte order.
 */
#pragma once

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define BY_APP_ID_LEN      20
#define BY_INSTANCE_ID_LEN 20
#define BY_NODE_NAME_LEN   32 /* with the final NUL */

/* An IPv6 address, or an IPv4 address mapped into ::ffff:0:0/96; network order. One map serves both families. */
struct by_addr {
	__u8 b[16];
};

/* The direction of a packet as the node sees it. */
enum by_dir {
	BY_DIR_IN = 0,  /* from a peer to this node */
	BY_DIR_OUT = 1, /* from this node to a peer */
	BY_DIR_COUNT,
};

/* What a rule says. Value 0 is the refusal, so a zeroed structure denies. */
enum by_action {
	BY_DENY = 0,
	BY_ALLOW = 1,
};
