/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What most packets are, read inline: TCP or UDP right behind an IP header without options or fragments, and that right
 * behind a frame's header without tags, or first where there are no frames. Reads them as parse() would; whatever else
 * comes, or is wrong with such a packet, parse() finds out.
 */
#pragma once

#include "frame.h"
#include "parse.h"

#ifdef BY_HOOK_FRAMED
#define PLAIN_L3 ((__u32)sizeof(struct eth_hdr))
#else
#define PLAIN_L3 conf.l3_offset /* a constant to the verifier */
#endif

/* 0: not plain; else the protocol behind the header, which ends at p->off. */
static __always_inline __u8 plain_ip4(struct hook_ctx *ctx, struct pkt *p)
{
	const struct ip4_hdr *ip = (void *)(long)ctx->data + PLAIN_L3;
	__u32 bytes;

	if ((void *)(ip + 1) > hook_data_end(ctx) || ip->version_ihl != 0x45 ||
	    ip->frag_be & bpf_htons(IP4_MORE | IP4_OFFSET))
		return 0;
	bytes = bpf_ntohs(ip->len_be);
	if (bytes < sizeof(*ip) || PLAIN_L3 + bytes > hook_len(ctx, p))
		return 0;
	p->version = 4;
	p->off = PLAIN_L3 + sizeof(*ip);
	p->end = PLAIN_L3 + bytes;
	addr_set4(src_of(p), ip->src);
	addr_set4(dst_of(p), ip->dst);
	return ip->proto;
}

static __always_inline __u8 plain_ip6(struct hook_ctx *ctx, struct pkt *p)
{
	const struct ip6_hdr *ip = (void *)(long)ctx->data + PLAIN_L3;
	__u32 bytes;

	if ((void *)(ip + 1) > hook_data_end(ctx) || *(const __u8 *)ip >> 4 != 6 || is_mapped(ip->src) ||
	    is_mapped(ip->dst))
		return 0;
	bytes = sizeof(*ip) + bpf_ntohs(ip->payload_be);
	if (PLAIN_L3 + bytes > hook_len(ctx, p))
		return 0;
	p->version = 6;
	p->off = PLAIN_L3 + sizeof(*ip);
	p->end = PLAIN_L3 + bytes;
	addr_set6(src_of(p), ip->src);
	addr_set6(dst_of(p), ip->dst);
	return ip->next;
}

/* What the frame says that it is; without frames the packet's first byte does. */
static __always_inline int plain_is_ip4(struct hook_ctx *ctx, const struct pkt *p)
{
	const __u8 *first = (void *)(long)ctx->data + PLAIN_L3;

	if (PLAIN_L3)
		return p->version == 4;
	return (void *)(first + 1) <= hook_data_end(ctx) && *first >> 4 == 4;
}

/* 1: read. p->off is then the transport's header. */
static __always_inline int parse_plain(struct hook_ctx *ctx, struct pkt *p)
{
	__u8 proto;

	if (hook_l3(p) != PLAIN_L3)
		return 0;
	proto = plain_is_ip4(ctx, p) ? plain_ip4(ctx, p) : plain_ip6(ctx, p);
	if (proto == NEXT_TCP)
		return parse_tcp(ctx, p, p->off) == 0;
	return proto == NEXT_UDP && parse_udp(ctx, p, p->off) == 0;
}
