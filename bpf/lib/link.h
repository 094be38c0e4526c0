/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Ethernet in front of the ladder: a tap, a veth or a bridge port with one machine behind it (BY_DIR_OUT: it sends).
 * What is no IP packet passes here or nowhere.
 *
 *   no policy was ever committed                              drop NO_POLICY
 *   the machine's frame has a source MAC other than its own   drop SPOOFED, where conf says which it is
 *   tags other than those of conf, none where it has none     drop VLAN
 *   ARP, neighbour solicitation and advertisement             pass when each address that they claim belongs to the
 * side that they come from, and to the frame's source MAC; else drop ARP_SPOOF IPv4, IPv6 on to policy.h anything else
 * drop NOT_IP
 *
 * An address of the machine's side is the machine's own (BY_IDENT_LOCAL), one of the other side any identity's that
 * comes its own way (identity.h). An IPv6
 * link-local address is also its sender's when it is made of the frame's source MAC (RFC 4291 appendix A): machines
 * find each other from these. Nobody here is a router: no advertisement, solicitation of one or redirect passes.
 */
#pragma once

#include "frame.h"
#include "identity.h"
#include "parse.h"
#include "policy.h"

#define VLAN_ID 0x0fff /* of a tag's first word */

#define ARP_ETHERNET 1
#define ARP_REQUEST  1
#define ARP_REPLY    2

#define ND_FIRST     133 /* router solicitation */
#define ND_SOLICIT   135
#define ND_ADVERTISE 136
#define ND_LAST      137 /* redirect */
#define ND_HOPS      255 /* RFC 4861: came from the link itself */
#define ND_SOURCE    1   /* options that carry a link-layer address */
#define ND_TARGET    2
#define ND_OPTIONS   4 /* at most */

enum link_kind {
	LINK_IP = 0,   /* on to policy.h */
	LINK_PASS = 1, /* ARP or neighbour discovery that claims nothing of others */
};

struct arp_msg { /* RFC 826, of IPv4 on Ethernet */
	__be16 hardware_be;
	__be16 protocol_be;
	__u8 hardware_len, protocol_len;
	__be16 op_be;
	__u8 sender_mac[6];
	__u8 sender[4];
	__u8 target_mac[6];
	__u8 target[4];
};

struct nd_msg { /* RFC 4861 sections 4.3 and 4.4 */
	__u8 type;
	__u8 code;
	__u16 sum;
	__be32 flags_be;
	__be32 target[4];
};

struct nd_option {
	__u8 type;
	__u8 len8;
	__u8 mac[6];
};

static __always_inline int mac_equal(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5];
}

/* Byte by byte: through a pointer without volatile the compiler would take what conf is initialised with. */
static __always_inline int is_own_mac(const __u8 *mac)
{
	return mac[0] == conf.mac[0] && mac[1] == conf.mac[1] && mac[2] == conf.mac[2] && mac[3] == conf.mac[3] &&
	       mac[4] == conf.mac[4] && mac[5] == conf.mac[5];
}

static __always_inline int vlan_wants(__u32 n, __u32 tci)
{
	__u32 want = n == 0 ? conf.vlan[0] : n == 1 ? conf.vlan[1] : 0;

	return want && (tci & VLAN_ID) == want;
}

/* The tags, whether the kernel took the outer one out of the frame or not, must be conf's. Leaves p->off behind them.
 */
static __always_inline int link_tags(struct hook_ctx *ctx, struct pkt *p, __be16 *type_be)
{
	struct vlan_tag tag;
	__u32 n = 0;

	if (ctx->vlan_present) {
		if (!vlan_wants(n++, ctx->vlan_tci))
			return -BY_DROP_VLAN;
	}
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX && is_vlan(*type_be); i++) {
		if (read_hdr(ctx, p, &tag, sizeof(tag)) < 0)
			return -BY_DROP_SHORT;
		if (!vlan_wants(n++, bpf_ntohs(tag.tci_be)))
			return -BY_DROP_VLAN;
		p->off += sizeof(tag);
		*type_be = tag.type_be;
	}
	return is_vlan(*type_be) || n != (__u32)(!!conf.vlan[0] + !!conf.vlan[1]) ? -BY_DROP_VLAN : 0;
}

/* fe80::/64 with the MAC's modified EUI-64 */
static __always_inline int is_link_local_of(const struct by_addr *a, const __u8 *mac)
{
	const __u32 *w = (const __u32 *)a->b;

	return w[0] == bpf_htonl(0xfe800000) && !w[1] && a->b[8] == (mac[0] ^ 2) && a->b[9] == mac[1] &&
	       a->b[10] == mac[2] && a->b[11] == 0xff && a->b[12] == 0xfe && a->b[13] == mac[3] && a->b[14] == mac[4] &&
	       a->b[15] == mac[5];
}

static __always_inline int may_claim(const struct hook_ctx *ctx, const struct pkt *p, const struct by_addr *a,
				     const __u8 *mac)
{
	struct by_addr key = *a; /* on the stack: 6.1 takes no key that a global function's argument points at */
	struct by_addr_val *v = bpf_map_lookup_elem(&by_addr, &key);

	if (!v)
		return is_link_local_of(a, mac);
	if (p->dir == BY_DIR_OUT)
		return v->identity == BY_IDENT_LOCAL;
	return v->identity != BY_IDENT_NONE && v->identity != BY_IDENT_LOCAL && comes_its_way(ctx, v->identity);
}

static __always_inline int arp_check(struct hook_ctx *ctx, struct pkt *p, const __u8 *mac)
{
	struct arp_msg arp;
	__be32 sender, target;

	if (read_hdr(ctx, p, &arp, sizeof(arp)) < 0)
		return -BY_DROP_SHORT;
	__builtin_memcpy(&sender, arp.sender, sizeof(sender));
	__builtin_memcpy(&target, arp.target, sizeof(target));
	addr_set4(src_of(p), sender);
	addr_set4(dst_of(p), target);
	if (arp.hardware_be != bpf_htons(ARP_ETHERNET) || arp.protocol_be != bpf_htons(ETH_P_IP) ||
	    arp.hardware_len != 6 || arp.protocol_len != 4)
		return -BY_DROP_ARP_SPOOF;
	if (arp.op_be != bpf_htons(ARP_REQUEST) && arp.op_be != bpf_htons(ARP_REPLY))
		return -BY_DROP_ARP_SPOOF;
	if (!mac_equal(arp.sender_mac, mac))
		return -BY_DROP_ARP_SPOOF;
	/* A probe (RFC 5227) asks whether it may have the target. */
	if (!may_claim(ctx, p, sender || arp.op_be == bpf_htons(ARP_REPLY) ? src_of(p) : dst_of(p), mac))
		return -BY_DROP_ARP_SPOOF;
	return LINK_PASS;
}

/* Each link-layer address in the options must be the frame's. p->off is at the first one. */
static __always_inline int nd_options(struct hook_ctx *ctx, struct pkt *p, const __u8 *mac)
{
	struct nd_option opt;

#pragma unroll
	for (int i = 0; i < ND_OPTIONS && p->off != p->end; i++) {
		if (read_hdr(ctx, p, &opt, sizeof(opt)) < 0 || !opt.len8)
			return -BY_DROP_ARP_SPOOF;
		if ((opt.type == ND_SOURCE || opt.type == ND_TARGET) && (opt.len8 != 1 || !mac_equal(opt.mac, mac)))
			return -BY_DROP_ARP_SPOOF;
		p->off += opt.len8 * 8u;
	}
	return p->off == p->end ? LINK_PASS : -BY_DROP_ARP_SPOOF;
}

static __always_inline int is_unspecified(const __be32 *a)
{
	return !(a[0] | a[1] | a[2] | a[3]);
}

static __always_inline int nd_check(struct hook_ctx *ctx, struct pkt *p, const struct ip6_hdr *ip, const __u8 *mac)
{
	struct by_addr target;
	struct nd_msg nd;
	int is_probe;

	if (read_hdr(ctx, p, &nd, sizeof(nd)) < 0)
		return -BY_DROP_SHORT;
	p->off += sizeof(nd);
	addr_set6(&target, nd.target);
	is_probe = nd.type == ND_SOLICIT && is_unspecified(ip->src); /* RFC 4862: may I have the target? */
	if (ip->hops != ND_HOPS || nd.code || is_mapped(nd.target))
		return -BY_DROP_ARP_SPOOF;
	if ((is_probe || nd.type == ND_ADVERTISE) && !may_claim(ctx, p, &target, mac))
		return -BY_DROP_ARP_SPOOF;
	if (!is_probe && !may_claim(ctx, p, src_of(p), mac))
		return -BY_DROP_ARP_SPOOF;
	return nd_options(ctx, p, mac);
}

/* Neighbour discovery is decided here, everything else goes on. */
static __always_inline int link_ip6(struct hook_ctx *ctx, struct pkt *p, const __u8 *mac)
{
	struct ip6_hdr ip;
	__u8 type;

	if (read_hdr(ctx, p, &ip, sizeof(ip)) < 0 || ip.next != NEXT_ICMPV6)
		return LINK_IP; /* too short for the parser as well */
	p->off += sizeof(ip);
	if (read_hdr(ctx, p, &type, sizeof(type)) < 0 || (type != ND_SOLICIT && type != ND_ADVERTISE))
		return LINK_IP;
	if (is_mapped(ip.src) || is_mapped(ip.dst))
		return -BY_DROP_IP_HEADER;
	addr_set6(src_of(p), ip.src);
	addr_set6(dst_of(p), ip.dst);
	p->key.l4_proto = NEXT_ICMPV6;
	p->icmp_type = type;
	if (p->off + bpf_ntohs(ip.payload_be) > p->end)
		return -BY_DROP_SHORT;
	p->end = p->off + bpf_ntohs(ip.payload_be);
	return nd_check(ctx, p, &ip, mac);
}

/* A global function: verified once. enum link_kind, or -BY_DROP_x; fills p->l3 and p->version. */
__noinline int link_check(struct hook_ctx *ctx, struct pkt *p)
{
	struct eth_hdr eth;
	int ret;

	if (!p)
		return -BY_DROP_INTERNAL;
	ret = gen_read(p);
	if (ret < 0)
		return ret;
	p->off = 0;
	p->end = ctx->len;
	if (read_hdr(ctx, p, &eth, sizeof(eth)) < 0)
		return -BY_DROP_SHORT;
	if (conf.has_mac && p->dir == BY_DIR_OUT && !is_own_mac(eth.src))
		return -BY_DROP_SPOOFED;
	p->off = sizeof(eth);
	ret = link_tags(ctx, p, &eth.type_be);
	if (ret < 0)
		return ret;
	p->l3 = p->off;
	if (eth.type_be == bpf_htons(ETH_P_ARP))
		return arp_check(ctx, p, eth.src);
	p->version = eth.type_be == bpf_htons(ETH_P_IP) ? 4 : eth.type_be == bpf_htons(ETH_P_IPV6) ? 6 : 0;
	if (!p->version)
		return -BY_DROP_NOT_IP;
	return p->version == 6 ? link_ip6(ctx, p, eth.src) : LINK_IP;
}

static __always_inline int frame_check(struct hook_ctx *ctx, struct pkt *p)
{
	return conf.l3_offset ? link_check(ctx, p) : LINK_IP;
}
