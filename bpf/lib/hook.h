/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the rest of lib/ needs of the hook that it runs in. A program chooses before its includes:
 *
 *   BY_HOOK_XDP    struct xdp_md; else tc, struct __sk_buff
 *   BY_HOOK_FRAMED Ethernet frames, VLAN tags in band: frame.h finds where the packet starts and what it says it is;
 *                  else packets start at conf.l3_offset
 */
#pragma once

#include "ctx.h"

#define ETH_P_IP   0x0800
#define ETH_P_IPV6 0x86dd

#ifdef BY_HOOK_XDP
#define hook_ctx  xdp_md
#define HOOK_PASS XDP_PASS
#define HOOK_DROP XDP_DROP

static __always_inline void hook_len_read(struct hook_ctx *ctx, struct pkt *p)
{
	p->len = ctx->data_end - ctx->data;
}

/* Where the packet says that it is longer than what lies there in one piece: how long it really is. */
static __always_inline void hook_len_whole(struct hook_ctx *ctx, struct pkt *p)
{
	p->len = bpf_xdp_get_buff_len(ctx);
}

static __always_inline __u32 hook_len(const struct hook_ctx *ctx, const struct pkt *p)
{
	(void)ctx;
	return p->len;
}

/* Bytes behind the linear part. */
static __always_inline int hook_load(struct hook_ctx *ctx, __u32 off, void *to, __u32 len)
{
	return bpf_xdp_load_bytes(ctx, off, to, len);
}

/* Is it a segmentation packet of this machine's own stack? */
static __always_inline int hook_is_gso(const struct hook_ctx *ctx)
{
	(void)ctx;
	return 0;
}

/* A constant, which p->dir is to no function that is verified by itself: addresses are then picked by no branch. */
static __always_inline __u8 hook_dir(const struct pkt *p)
{
	(void)p;
	return BY_DIR_IN;
}
#else
#define hook_ctx  __sk_buff
#define HOOK_PASS (-1) /* not TC_ACT_OK: a program behind this one would never see what we let pass */
#define HOOK_DROP 2    /* TC_ACT_SHOT */

static __always_inline void hook_len_read(struct hook_ctx *ctx, struct pkt *p)
{
	(void)ctx, (void)p;
}

static __always_inline void hook_len_whole(struct hook_ctx *ctx, struct pkt *p)
{
	(void)ctx, (void)p;
}

static __always_inline __u32 hook_len(const struct hook_ctx *ctx, const struct pkt *p)
{
	(void)p;
	return ctx->len;
}

static __always_inline int hook_load(struct hook_ctx *ctx, __u32 off, void *to, __u32 len)
{
	return bpf_skb_load_bytes(ctx, off, to, len);
}

static __always_inline int hook_is_gso(const struct hook_ctx *ctx)
{
	return ctx->gso_size != 0;
}

static __always_inline __u8 hook_dir(const struct pkt *p)
{
	return p->dir;
}
#endif

#ifdef BY_HOOK_FRAMED
static __always_inline __u32 hook_l3(const struct pkt *p)
{
	return p->l3;
}

static __always_inline int hook_says_version(const struct hook_ctx *ctx, const struct pkt *p, __u8 version)
{
	(void)ctx;
	return p->version == version;
}
#else
static __always_inline __u32 hook_l3(const struct pkt *p)
{
	return conf.l3_offset ? p->l3 : 0; /* link.h: behind the tags */
}

/* On Ethernet the frame says what the receiver will take it for; L3 devices go by the nibble as we do. */
static __always_inline int hook_says_version(const struct hook_ctx *ctx, const struct pkt *p, __u8 version)
{
	(void)ctx;
	return !conf.l3_offset || p->version == version;
}
#endif

/* Read anew each time: one that the compiler kept in a register is a number to the verifier. */
static __always_inline void *hook_data_end(const struct hook_ctx *ctx)
{
	return (void *)(long)*(const volatile __u32 *)&ctx->data_end;
}
