/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SYN flood: of the SYNs to open ports, `host.syns` may reach the stack; those above are answered here, out of the
 * driver, with the listener's own SYN cookie, and leave nothing behind. Whoever completes the handshake has proved its
 * address: the ACK opens the flow and the stack, which made the cookie, takes it for the end of a handshake.
 *
 * Only the helpers that know the listening socket do for that (bpf_tcp_gen_syncookie): they tell the socket that it is
 * overflown, without which the stack believes no cookie; the raw ones need a proxy behind them. The answer carries MSS
 * and no other option, so such a connection has no window scaling: slower, while there is a flood.
 *
 * The answer is written over the SYN, whose frame keeps its length: a program that resizes frames can not take a place
 * in the dispatcher of libxdp before 1.5.5 (the kernel compares it with the function it replaces). What is left of the
 * SYN is padding; a frame without room for the MSS gets an answer without.
 */
#pragma once

#include "parse.h"
#include "source.h"

#ifdef BY_HOOK_XDP
#define COOKIE_NS       (120 * 1000000000ull) /* as long as the stack takes them */
#define NETNS_OF_DEVICE (-1)
#define TCP_HDR_MAX     60
#define COOKIE_TTL      64
#define IP4_DONT_FRAG   0x4000

struct tcp_mss {
	__u8 kind;
	__u8 len;
	__be16 mss_be;
};

struct syn4 {
	struct ip4_hdr ip;
	struct tcp_hdr tcp;
	struct tcp_mss mss;
};

struct syn6 {
	struct ip6_hdr ip;
	struct tcp_hdr tcp;
	struct tcp_mss mss;
};

#define SEGMENT_BYTES                                                                                                  \
	(sizeof(struct tcp_hdr) + sizeof(struct tcp_mss)) /* of the answer; without MSS, in a short frame: */
#define SEGMENT_SHORT sizeof(struct tcp_hdr)

union tcp_head {
	struct tcp_hdr hdr;
	__u8 b[TCP_HDR_MAX];
};

static __always_inline __u64 *cookie_clock(void)
{
	__u32 which = BY_TOTAL_COOKIE_NS;
	struct by_rate *v = bpf_map_lookup_elem(&by_total, &which);

	return v ? &v->full_ns : 0;
}

/* Is the stack at its limit of SYNs? */
static __always_inline int cookie_is_due(const struct pkt *p)
{
	(void)p;
	return host.has_cookies && total_take(BY_TOTAL_SYNS, &host.syns) < 0;
}

static __always_inline struct sock_common *listener_of(struct hook_ctx *ctx, const struct pkt *p)
{
	const __u32 *local = (const __u32 *)p->key.local.b, *peer = (const __u32 *)p->key.peer.b;
	struct bpf_sock_tuple t = { 0 };

	if (p->version == 4) {
		t.ipv4.saddr = peer[3];
		t.ipv4.daddr = local[3];
		t.ipv4.sport = p->key.peer_port_be;
		t.ipv4.dport = p->key.local_port_be;
		return (struct sock_common *)bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv4), NETNS_OF_DEVICE, 0);
	}
	__builtin_memcpy(t.ipv6.saddr, peer, sizeof(t.ipv6.saddr));
	__builtin_memcpy(t.ipv6.daddr, local, sizeof(t.ipv6.daddr));
	t.ipv6.sport = p->key.peer_port_be;
	t.ipv6.dport = p->key.local_port_be;
	return (struct sock_common *)bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv6), NETNS_OF_DEVICE, 0);
}

/* The TCP header with its options; returns its length. Not behind options of IPv4 or extension headers of IPv6. */
static __always_inline int tcp_read(struct hook_ctx *ctx, const struct pkt *p, union tcp_head *tcp)
{
	__u32 options, len;

	if (p->off != p->l3 + (p->version == 4 ? sizeof(struct ip4_hdr) : sizeof(struct ip6_hdr)))
		return -BY_DROP_L4_HEADER;
	if (read_hdr(ctx, p, &tcp->hdr, sizeof(tcp->hdr)) < 0)
		return -BY_DROP_SHORT;
	options = (tcp->hdr.offset >> 4) * 4 - sizeof(tcp->hdr);
	barrier_var(options); /* the verifier shall see it bounded */
	if (options > TCP_HDR_MAX - sizeof(tcp->hdr))
		return -BY_DROP_L4_HEADER;
	len = sizeof(tcp->hdr) + options;
	if (p->off + len > p->end)
		return -BY_DROP_L4_HEADER;
	if (hook_load(ctx, p->off, tcp->b, len) < 0)
		return -BY_DROP_SHORT;
	return len;
}

/* tcp_read() has seen that it is as long. Of an IPv4 header the helpers want no more than its own length. */
static __always_inline int ip_read(struct hook_ctx *ctx, const struct pkt *p, struct ip6_hdr *ip)
{
	if (p->version == 4)
		return hook_load(ctx, p->l3, ip, sizeof(struct ip4_hdr));
	return hook_load(ctx, p->l3, ip, sizeof(*ip));
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline __u32 segment_bytes(const struct pkt *p)
{
	return p->off + SEGMENT_BYTES <= p->len ? SEGMENT_BYTES : SEGMENT_SHORT;
}

/* From the addresses on, which are the greater part of the pseudo header. An MSS that is not sent is zero here. */
static __always_inline __u16 l4_sum(void *packet, __u32 from, __u32 to, __u32 segment)
{
	__u32 seed = bpf_htons(NEXT_TCP) + bpf_htons((__u16)segment);

	return fold(bpf_csum_diff(0, 0, (__be32 *)((char *)packet + from), to - from, seed));
}

static __always_inline void synack_fill(struct tcp_hdr *tcp, struct tcp_mss *opt, const struct tcp_hdr *syn,
					__s64 cookie, __u32 segment)
{
	tcp->src_be = syn->dst_be;
	tcp->dst_be = syn->src_be;
	tcp->seq_be = bpf_htonl((__u32)cookie);
	tcp->ack_be = bpf_htonl(bpf_ntohl(syn->seq_be) + 1);
	tcp->offset = (__u8)(segment / 4 << 4);
	tcp->flags = TCP_SYN | TCP_ACK;
	tcp->window_be = 0xffff;
	if (segment != SEGMENT_BYTES)
		return;
	opt->kind = 2;
	opt->len = sizeof(*opt);
	opt->mss_be = bpf_htons((__u16)(cookie >> 32));
}

static __always_inline int send_back(struct hook_ctx *ctx, struct pkt *p, void *bytes, __u32 len)
{
	__u8 macs[12], turned[12];

	if (bpf_xdp_load_bytes(ctx, 0, macs, sizeof(macs)))
		return -BY_DROP_INTERNAL;
	__builtin_memcpy(turned, macs + 6, 6);
	__builtin_memcpy(turned + 6, macs, 6);
	if (bpf_xdp_store_bytes(ctx, 0, turned, sizeof(turned)) || bpf_xdp_store_bytes(ctx, p->l3, bytes, len))
		return -BY_DROP_INTERNAL;
	p->is_answered = 1;
	return -BY_DROP_SYN_COOKIE;
}

static __always_inline int synack4(struct hook_ctx *ctx, struct pkt *p, const struct tcp_hdr *syn, __s64 cookie)
{
	__u32 segment = segment_bytes(p);
	struct syn4 out = { 0 };

	out.ip.version_ihl = 0x45;
	out.ip.len_be = bpf_htons((__u16)(sizeof(out.ip) + segment));
	out.ip.frag_be = bpf_htons(IP4_DONT_FRAG);
	out.ip.ttl = COOKIE_TTL;
	out.ip.proto = NEXT_TCP;
	out.ip.src = ((const __u32 *)p->key.local.b)[3];
	out.ip.dst = ((const __u32 *)p->key.peer.b)[3];
	out.ip.sum = fold(bpf_csum_diff(0, 0, (__be32 *)&out.ip, sizeof(out.ip), 0));
	synack_fill(&out.tcp, &out.mss, syn, cookie, segment);
	out.tcp.sum = l4_sum(&out, offsetof(struct syn4, ip.src), sizeof(out), segment);
	if (segment == SEGMENT_BYTES)
		return send_back(ctx, p, &out, sizeof(out));
	return send_back(ctx, p, &out, sizeof(out.ip) + SEGMENT_SHORT);
}

static __always_inline int synack6(struct hook_ctx *ctx, struct pkt *p, const struct tcp_hdr *syn, __s64 cookie)
{
	__u32 segment = segment_bytes(p);
	struct syn6 out = { 0 };

	out.ip.version_class_flow_be = bpf_htonl(6u << 28);
	out.ip.payload_be = bpf_htons((__u16)segment);
	out.ip.next = NEXT_TCP;
	out.ip.hops = COOKIE_TTL;
	__builtin_memcpy(out.ip.src, p->key.local.b, sizeof(out.ip.src));
	__builtin_memcpy(out.ip.dst, p->key.peer.b, sizeof(out.ip.dst));
	synack_fill(&out.tcp, &out.mss, syn, cookie, segment);
	out.tcp.sum = l4_sum(&out, offsetof(struct syn6, ip.src), sizeof(out), segment);
	if (segment == SEGMENT_BYTES)
		return send_back(ctx, p, &out, sizeof(out));
	return send_back(ctx, p, &out, sizeof(out.ip) + SEGMENT_SHORT);
}

/* -BY_DROP_SYN_COOKIE, with p->is_answered unless it can not be read or brings data, which would go back with it; 0:
 * nobody listens, the stack shall say so. */
__noinline int cookie_answer(struct hook_ctx *ctx, struct pkt *p)
{
	__u64 *clock = cookie_clock();
	union tcp_head syn = { 0 };
	struct ip6_hdr ip = { 0 };
	struct sock_common *sk;
	__s64 cookie;
	int len;

	if (!p || !clock)
		return -BY_DROP_INTERNAL;
	len = tcp_read(ctx, p, &syn);
	if (len < 0 || p->len > p->off + TCP_HDR_MAX || ip_read(ctx, p, &ip) < 0)
		return -BY_DROP_SYN_COOKIE;
	sk = listener_of(ctx, p);
	if (!sk)
		return 0;
	cookie = bpf_tcp_gen_syncookie(sk, &ip, sizeof(ip), (void *)&syn.hdr, len);
	bpf_sk_release(sk);
	if (cookie < 0)
		return 0; /* the stack does not want one */
	*clock = p->now_ns;
	return p->version == 4 ? synack4(ctx, p, &syn.hdr, cookie) : synack6(ctx, p, &syn.hdr, cookie);
}

/* An ACK of no flow: does it complete a handshake that was answered here? */
__noinline int cookie_check(struct hook_ctx *ctx, struct pkt *p)
{
	__u64 *clock = cookie_clock();
	union tcp_head ack = { 0 };
	struct ip6_hdr ip = { 0 };
	struct sock_common *sk;
	int ret;

	if (!p || !clock || !*clock || p->now_ns - *clock > COOKIE_NS)
		return 0;
	if (tcp_read(ctx, p, &ack) < 0 || ip_read(ctx, p, &ip) < 0)
		return 0;
	sk = listener_of(ctx, p);
	if (!sk)
		return 0;
	ret = bpf_tcp_check_syncookie(sk, &ip, sizeof(ip), (void *)&ack.hdr, sizeof(ack.hdr));
	bpf_sk_release(sk);
	return ret == 0;
}

static __always_inline int is_proof(struct hook_ctx *ctx, struct pkt *p)
{
	return host.has_cookies && hook_dir(p) == BY_DIR_IN && p->frag == FRAG_NO && !p->is_close &&
	       cookie_check(ctx, p);
}
#else
/* Nothing can be sent from here: the limits per source are what there is. */
static __always_inline int cookie_is_due(const struct pkt *p)
{
	(void)p;
	return 0;
}

static __always_inline int cookie_answer(struct hook_ctx *ctx, struct pkt *p)
{
	(void)ctx, (void)p;
	return 0;
}

static __always_inline int is_proof(struct hook_ctx *ctx, struct pkt *p)
{
	(void)ctx, (void)p;
	return 0;
}
#endif
