/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What passed and what was dropped between this node and each peer. An array: a hash cost a fifth of a whole verdict.
 */
#pragma once

#include "ctx.h"
#include "maps_identity.h"
#include "report.h"

static __always_inline void pair_count(struct hook_ctx *ctx, struct pkt *p, int ret)
{
	__u32 bytes = bytes_of(ctx, p);
	struct by_pair *pair;

	if (!conf.has_pairs || !p->peer)
		return;
	pair = bpf_map_lookup_elem(&by_pair, &p->peer);
	if (!pair)
		return;
	if (p->dir == BY_DIR_IN)
		count(ret < 0 ? &pair->n[BY_DIR_IN][BY_DROPPED] : &pair->n[BY_DIR_IN][BY_PASSED], bytes);
	else
		count(ret < 0 ? &pair->n[BY_DIR_OUT][BY_DROPPED] : &pair->n[BY_DIR_OUT][BY_PASSED], bytes);
}
