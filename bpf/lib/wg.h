/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * WireGuard's own port is open by itself, for what is WireGuard: anything else is dropped before the stack sees it. An
 * initiation makes the receiver do public-key work, so it is limited per source and in total; the others cost one
 * lookup, or one symmetric operation, and belong to a session or are refused.
 */
#pragma once

#include "parse.h"
#include "source.h"

#define WG_INITIATION       1
#define WG_RESPONSE         2
#define WG_COOKIE           3
#define WG_DATA             4
#define WG_INITIATION_BYTES 148
#define WG_RESPONSE_BYTES   92
#define WG_COOKIE_BYTES     64
#define WG_DATA_BYTES_MIN   32 /* header and tag: a keepalive */

struct wg_hdr {
	struct udp_hdr udp;
	__u32 type_le; /* one byte, and three that are zero */
};

static __always_inline int wg_is_plausible(__u32 type, __u32 bytes)
{
	switch (type) {
	case WG_INITIATION:
		return bytes == WG_INITIATION_BYTES;
	case WG_RESPONSE:
		return bytes == WG_RESPONSE_BYTES;
	case WG_COOKIE:
		return bytes == WG_COOKIE_BYTES;
	case WG_DATA:
		/* what is sealed is padded to 16, but never beyond the MTU of the sender's device, which is 1420 */
		return bytes >= WG_DATA_BYTES_MIN;
	default:
		return 0;
	}
}

static __always_inline int wg_check_in(struct hook_ctx *ctx, struct pkt *p)
{
	struct wg_hdr wg;
	__u32 bytes;

	if (read_hdr(ctx, p, &wg, sizeof(wg)) < 0)
		return -BY_DROP_NOT_WIREGUARD;
	bytes = bpf_ntohs(wg.udp.len_be);
	if (p->frag == FRAG_NO && p->off + bytes != p->end)
		return -BY_DROP_NOT_WIREGUARD;
	if (!wg_is_plausible(wg.type_le, bytes - sizeof(wg.udp)) || (p->frag != FRAG_NO && wg.type_le != WG_DATA))
		return -BY_DROP_NOT_WIREGUARD;
	if (wg.type_le != WG_INITIATION)
		return 1;
	if (source_take(p, BY_SOURCE_HANDSHAKES, &host.handshakes) < 0 ||
	    total_take(BY_TOTAL_HANDSHAKES, &host.handshakes_total) < 0)
		return -BY_DROP_HANDSHAKE_LIMIT;
	return 1;
}

/* 1: it is WireGuard's and passes; 0: it is something else. */
static __always_inline int wg_check(struct hook_ctx *ctx, struct pkt *p)
{
	if (p->key.l4_proto != NEXT_UDP || p->frag == FRAG_LATER || !host.wg_port_be ||
	    (p->key.local_port_be != host.wg_port_be && p->key.local_port_be != host.wg_second_be))
		return 0;
	return hook_dir(p) == BY_DIR_OUT ? 1 : wg_check_in(ctx, p);
}
