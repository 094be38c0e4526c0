/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What passed and what was dropped between this node and each peer. */
#pragma once

#include "ctx.h"
#include "maps_identity.h"
#include "report.h"

/* A global function: verified once. */
__noinline int pair_add(struct pkt *p, __u32 is_dropped, __u32 bytes)
{
	struct by_pair *pair, zero = { 0 };
	__u32 peer;

	if (!p)
		return 0;
	peer = p->peer;
	pair = bpf_map_lookup_elem(&by_pair, &peer);
	if (!pair) {
		bpf_map_update_elem(&by_pair, &peer, &zero, BPF_NOEXIST);
		pair = bpf_map_lookup_elem(&by_pair, &peer);
	}
	if (!pair)
		return 0;
	if (p->dir == BY_DIR_IN)
		count(is_dropped ? &pair->n[BY_DIR_IN][BY_DROPPED] : &pair->n[BY_DIR_IN][BY_PASSED], bytes);
	else
		count(is_dropped ? &pair->n[BY_DIR_OUT][BY_DROPPED] : &pair->n[BY_DIR_OUT][BY_PASSED], bytes);
	return 0;
}

static __always_inline void pair_count(struct hook_ctx *ctx, struct pkt *p, int ret)
{
	if (conf.has_pairs && p->peer)
		pair_add(p, ret < 0, bytes_of(ctx, p));
}
