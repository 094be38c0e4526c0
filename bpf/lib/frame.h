/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Ethernet: where the packet starts and what the frame says that it is, behind up to two VLAN tags in band. */
#pragma once

#include "hook.h"
#include "parse.h"

#define ETH_P_ARP    0x0806
#define ETH_P_8021Q  0x8100
#define ETH_P_8021AD 0x88a8

#define VLAN_TAGS_MAX 2

#define FRAME_IP  0
#define FRAME_ARP 1 /* judged by nobody here */

struct eth_hdr {
	__u8 dst[6];
	__u8 src[6];
	__be16 type_be;
};

struct vlan_tag {
	__be16 tci_be;
	__be16 type_be;
} __attribute__((aligned(4)));

static __always_inline int is_vlan(__be16 type_be)
{
	return type_be == bpf_htons(ETH_P_8021Q) || type_be == bpf_htons(ETH_P_8021AD);
}

/* Fills p->l3 and p->version; FRAME_* or -BY_DROP_*. */
static __always_inline int frame_parse(struct hook_ctx *ctx, struct pkt *p)
{
	struct vlan_tag tag;
	__be16 type_be;

	hook_len_read(ctx, p);
	p->end = hook_len(ctx, p);
	p->off = __builtin_offsetof(struct eth_hdr, type_be);
	if (read_hdr(ctx, p, &type_be, sizeof(type_be)) < 0)
		return -BY_DROP_SHORT;
	p->off += sizeof(type_be);
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX && is_vlan(type_be); i++) {
		if (read_hdr(ctx, p, &tag, sizeof(tag)) < 0)
			return -BY_DROP_SHORT;
		p->off += sizeof(tag);
		type_be = tag.type_be;
	}
	p->l3 = p->off;
	if (type_be == bpf_htons(ETH_P_ARP))
		return FRAME_ARP;
	p->version = type_be == bpf_htons(ETH_P_IP) ? 4 : type_be == bpf_htons(ETH_P_IPV6) ? 6 : 0;
	return p->version ? FRAME_IP : -BY_DROP_NOT_IP;
}
