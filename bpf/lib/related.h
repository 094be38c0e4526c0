/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors about a tracked flow: without them no path MTU is found and every refused port is a timeout.
 *
 * An error passes without a rule when the packet that it quotes went the other way on a flow which the live policy has
 * judged, and when it comes from somebody who can have seen that packet: is_witness(), which differs between the
 * overlay and the host's own network.
 *
 * The flow is only read: an error opens, refreshes, changes and closes none. Whatever is not related in this sense,
 * also a quotation that can not be read, is judged by the rules for its ICMP type like any other packet.
 */
#pragma once

#include "ct.h"
#include "parse.h"
#include "rate.h"

#define QUOTED_L4_MIN 8 /* RFC 792; ports and the echo identifier lie in it */

/* Reads the quoted IP header; returns the transport protocol. Its length is the original's: there may be less. */
static __always_inline int quoted_ip4(struct hook_ctx *ctx, struct pkt *q)
{
	struct ip4_hdr ip;
	__u32 hdr_bytes;

	if (read_hdr(ctx, q, &ip, sizeof(ip)) < 0)
		return -BY_DROP_SHORT;
	hdr_bytes = (ip.version_ihl & 0xf) * 4;
	if (ip.version_ihl >> 4 != 4 || hdr_bytes < sizeof(ip) || bpf_ntohs(ip.len_be) < hdr_bytes + QUOTED_L4_MIN)
		return -BY_DROP_IP_HEADER;
	if (ip.frag_be & bpf_htons(IP4_OFFSET))
		return -BY_DROP_FRAGMENT; /* a later one has no ports */
	addr_set4(dst_of(q), ip.src);
	addr_set4(src_of(q), ip.dst);
	q->off += hdr_bytes;
	return ip.proto;
}

static __always_inline int quoted_ip6(struct hook_ctx *ctx, struct pkt *q)
{
	struct ip6_hdr ip;
	int proto;

	if (read_hdr(ctx, q, &ip, sizeof(ip)) < 0)
		return -BY_DROP_SHORT;
	if ((ip.version_class_flow_be & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return -BY_DROP_IP_HEADER;
	if (is_mapped(ip.src) || is_mapped(ip.dst))
		return -BY_DROP_IP_HEADER;
	addr_set6(dst_of(q), ip.src);
	addr_set6(src_of(q), ip.dst);
	q->off += sizeof(ip);
	proto = parse_ext(ctx, q, ip.next, &q->off);
	return q->frag == FRAG_LATER ? -BY_DROP_FRAGMENT : proto;
}

/* The identifier goes where parse_icmp() puts it. A quoted error has no flow. */
static __always_inline int quoted_echo(struct pkt *q, const struct icmp_hdr *icmp, __u8 request, __u8 reply)
{
	if (icmp->type == request)
		l4_set(q, q->key.l4_proto, 0, icmp->id_be);
	else if (icmp->type == reply)
		l4_set(q, q->key.l4_proto, icmp->id_be, 0);
	else
		return -BY_DROP_NO_FLOW;
	return 0;
}

/* Fills the rest of the flow key. TCP, UDP and ICMP keep what is needed in the first eight bytes. */
static __always_inline int quoted_l4(struct hook_ctx *ctx, struct pkt *q, int is_ip4)
{
	union {
		struct udp_hdr udp;
		struct icmp_hdr icmp;
	} l4;

	if (read_hdr(ctx, q, &l4, QUOTED_L4_MIN) < 0)
		return -BY_DROP_SHORT;
	switch (q->key.l4_proto) {
	case NEXT_TCP:
	case NEXT_UDP:
		l4_set(q, q->key.l4_proto, l4.udp.dst_be, l4.udp.src_be);
		return 0;
	case NEXT_ICMP:
		return is_ip4 ? quoted_echo(q, &l4.icmp, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY) : -BY_DROP_NO_FLOW;
	case NEXT_ICMPV6:
		return is_ip4 ? -BY_DROP_NO_FLOW : quoted_echo(q, &l4.icmp, ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY);
	default:
		return 0;
	}
}

/*
 * A global function: verified once. 0, and in q->key the flow of the packet that `p` quotes. That one went the other
 * way: what it calls source is on the side that `p` is sent to.
 */
__noinline int quoted(struct hook_ctx *ctx, const struct pkt *p, struct pkt *q)
{
	int is_ip4, proto;

	if (!p || !q)
		return -BY_DROP_INTERNAL;
	is_ip4 = p->key.l4_proto == NEXT_ICMP;
	q->dir = p->dir;
	q->version = p->version;
	q->off = p->off + sizeof(struct icmp_hdr);
	q->end = p->end;
	proto = is_ip4 ? quoted_ip4(ctx, q) : quoted_ip6(ctx, q);
	if (proto < 0)
		return proto;
	q->key.l4_proto = proto;
	return quoted_l4(ctx, q, is_ip4);
}

static __always_inline int addr_equal(const struct by_addr *a, const struct by_addr *b)
{
	const __u64 *x = (const __u64 *)a->b, *y = (const __u64 *)b->b;

	return x[0] == y[0] && x[1] == y[1];
}

/* Is it about a live flow, from that flow's peer, and addressed to the sender of what it quotes? *ret: then what. */
static __always_inline int is_related(struct hook_ctx *ctx, struct pkt *p, int *ret)
{
	struct pkt q = { 0 };
	struct by_ct *ct;

	if (quoted(ctx, p, &q) < 0 || !addr_equal(dst_of(p), dst_of(&q)))
		return 0;
	if (!is_witness(p, &q))
		return 0;
	ct = ct_lookup(&q);
	if (!ct || ct->gen != p->live.gen || ct_idle(p, ct) > by_flow_idle_max(q.key.l4_proto, ct->state))
		return 0;
	p->rule = ct->rule;
	*ret = rate_follow(p, ct->flags, ct->dir);
	return 1;
}
