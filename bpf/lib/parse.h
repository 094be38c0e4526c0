/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packet bytes -> the flow key and what TCP or ICMP say about the packet's part in the flow. Nothing is waved
 * through: a header that can not be read or is not understood is a drop. The packet is only ever read. What later
 * fragments hold is not looked at (frag.h).
 */
#pragma once

#include "hook.h"

#define NEXT_HOP_BY_HOP 0
#define NEXT_ICMP       1
#define NEXT_TCP        6
#define NEXT_UDP        17
#define NEXT_ROUTING    43
#define NEXT_FRAGMENT   44
#define NEXT_ICMPV6     58
#define NEXT_DEST_OPTS  60
#define NEXT_MOBILITY   135
#define NEXT_HIP        139
#define NEXT_SHIM6      140

#define EXT_HEADERS_MAX 6

#define IP4_MORE   0x2000 /* of frag_be */
#define IP4_OFFSET 0x1fff /* in units of eight bytes */
#define IP6_MORE   0x0001 /* of an IPv6 fragment header's */
#define IP6_OFFSET 0xfff8 /* bytes */

#define IP_BYTES_MAX 65535 /* of an IPv4 packet, and of an IPv6 packet without its first header */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ICMP_ECHO_REPLY     0
#define ICMP_ECHO_REQUEST   8
#define ICMP_UNREACHABLE    3
#define ICMP_TIME_EXCEEDED  11
#define ICMP_PARAMETER      12
#define ICMPV6_ERROR_FIRST  1 /* unreachable, packet too big, time exceeded, parameter problem */
#define ICMPV6_ERROR_LAST   4
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY   129

struct ip4_hdr { /* RFC 791 */
	__u8 version_ihl;
	__u8 tos;
	__be16 len_be;
	__be16 id_be;
	__be16 frag_be;
	__u8 ttl;
	__u8 proto;
	__u16 sum;
	__be32 src;
	__be32 dst;
};

struct ip6_hdr { /* RFC 8200 */
	__be32 version_class_flow_be;
	__be16 payload_be;
	__u8 next;
	__u8 hops;
	__be32 src[4];
	__be32 dst[4];
};

struct ip6_ext { /* what extension headers have in their first eight bytes, RFC 8200 section 4 */
	__u8 next;
	__u8 len8; /* of eight bytes, the first eight not counted; fragment: reserved */
	union {
		struct {
			__u8 routing_type;
			__u8 segments_left;
		};
		__be16 frag_be;
	};
	__be32 frag_id_be;
};

struct tcp_hdr { /* RFC 9293 */
	__be16 src_be;
	__be16 dst_be;
	__be32 seq_be;
	__be32 ack_be;
	__u8 offset; /* upper half: header words */
	__u8 flags;
	__be16 window_be;
	__u16 sum;
	__be16 urgent_be;
};

struct udp_hdr { /* RFC 768 */
	__be16 src_be;
	__be16 dst_be;
	__be16 len_be;
	__u16 sum;
} __attribute__((aligned(4)));

struct icmp_hdr { /* RFC 792 and 4443; the identifier is there in echo messages */
	__u8 type;
	__u8 code;
	__u16 sum;
	__be16 id_be;
	__be16 seq_be;
} __attribute__((aligned(4)));

/*
 * Word by word: unless told, the compiler takes a packet's bytes one by one, which costs more than the rest of the
 * parser. The machines that BPF runs on load words from anywhere; on the stack a header of whole words is aligned.
 */
static __always_inline void copy_hdr(void *to, const void *from, __u32 len)
{
	if (len % 4)
		__builtin_memcpy(to, from, len);
	else
		__builtin_memcpy(__builtin_assume_aligned(to, 4), __builtin_assume_aligned(from, 4), len);
}

/*
 * The header of `len` bytes at `off`: in the packet where it lies there in one piece, else a copy of it in `copy`; NULL
 * where it is not there. Bytes behind the IP packet's own end (Ethernet padding) do not count.
 */
static __always_inline const void *hdr_at(struct hook_ctx *ctx, const struct pkt *p, __u32 off, void *copy, __u32 len)
{
	void *data = (void *)(long)ctx->data;
	void *end = hook_data_end(ctx);

	if (off + len > p->end)
		return 0;
	if (__builtin_expect(off <= 0x7fff && data + off + len <= end, 1))
		return data + off;
	return hook_load(ctx, off, copy, len) ? 0 : copy;
}

/*
 * Copies `len` bytes at p->off to `to`: from the linear part when they are there, else from the pages of a TSO or GRO
 * packet. (Not by hdr_at(): the verifier compares no pointer into a packet with one to the stack.)
 */
static __always_inline int read_hdr(struct hook_ctx *ctx, const struct pkt *p, void *to, __u32 len)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 off = p->off;

	if (off + len > p->end)
		return -BY_DROP_SHORT;
	if (off <= 0x7fff && data + off + len <= end) {
		copy_hdr(to, data + off, len);
		return 0;
	}
	return hook_load(ctx, off, to, len) ? -BY_DROP_SHORT : 0;
}

static __always_inline void addr_set4(struct by_addr *a, __be32 v4)
{
	__u64 *w = (__u64 *)a->b;

	w[0] = 0;
	w[1] = (__u64)v4 << 32 | bpf_htonl(0xffff);
}

static __always_inline void addr_set6(struct by_addr *a, const __be32 *v6)
{
	__u32 *w = (__u32 *)a->b;

	w[0] = v6[0];
	w[1] = v6[1];
	w[2] = v6[2];
	w[3] = v6[3];
}

static __always_inline struct by_addr *src_of(struct pkt *p)
{
	return hook_dir(p) == BY_DIR_IN ? &p->key.peer : &p->key.local;
}

static __always_inline struct by_addr *dst_of(struct pkt *p)
{
	return hook_dir(p) == BY_DIR_IN ? &p->key.local : &p->key.peer;
}

/* The key's last eight bytes, in one store: a load of more than one store brought waits for the cache. */
static __always_inline void l4_set(struct pkt *p, __u8 proto, __be16 src_be, __be16 dst_be)
{
	__u64 local = hook_dir(p) == BY_DIR_IN ? dst_be : src_be, peer = hook_dir(p) == BY_DIR_IN ? src_be : dst_be;

	*(__u64 *)&p->key.local_port_be = local | peer << 16 | (__u64)proto << 32;
}

/*
 * The IP packet is `bytes` long from its header at `off` on. 0 is what a packet over 64 KiB says (BIG TCP): only a
 * segmentation packet of this machine's own stack can be one.
 */
static __always_inline int ip_end_set(struct hook_ctx *ctx, struct pkt *p, __u32 off, __u32 bytes, int is_unsaid)
{
	if (is_unsaid && hook_is_gso(ctx))
		return 0;
	if (off + bytes > hook_len(ctx, p))
		hook_len_whole(ctx, p);
	if (off + bytes > hook_len(ctx, p))
		return -BY_DROP_SHORT;
	p->end = off + bytes;
	return 0;
}

/* What starts at `start`, behind the header that says so, is `off` bytes into the datagram. */
static __always_inline void frag_set(struct pkt *p, __u32 start, __u32 off, int has_more)
{
	p->frag = off ? FRAG_LATER : FRAG_FIRST;
	p->is_last_frag = !has_more;
	p->frag_start = start;
	p->frag_off = off;
}

/* RFC 791 and RFC 8200 section 4.5. A fragment that no datagram has would end up somewhere in the receiver's memory. */
static __always_inline int frag_bounds(struct pkt *p)
{
	__u32 front = p->frag_start - hook_l3(p), len = p->end - p->frag_start;

	if (p->version == 6)
		front -= sizeof(struct ip6_hdr) + sizeof(struct ip6_ext);
	if (p->frag_start >= p->end || (!p->is_last_frag && len % 8))
		return -BY_DROP_FRAG_BOUNDS;
	p->frag_end = p->frag_off + len;
	return front + p->frag_end > IP_BYTES_MAX ? -BY_DROP_FRAG_BOUNDS : 0;
}

static __always_inline int parse_ip4(struct hook_ctx *ctx, struct pkt *p, __u32 *off)
{
	struct ip4_hdr copy;
	const struct ip4_hdr *ip = hdr_at(ctx, p, *off, &copy, sizeof(copy));
	__u32 hdr_bytes, bytes;

	if (!ip)
		return -BY_DROP_SHORT;
	hdr_bytes = (ip->version_ihl & 0xf) * 4;
	bytes = bpf_ntohs(ip->len_be);
	if (hdr_bytes < sizeof(*ip) || (bytes < hdr_bytes && !(bytes == 0 && hook_is_gso(ctx))))
		return -BY_DROP_IP_HEADER;
	if (ip_end_set(ctx, p, *off, bytes, bytes == 0) < 0)
		return -BY_DROP_SHORT;
	addr_set4(src_of(p), ip->src);
	addr_set4(dst_of(p), ip->dst);
	p->key.l4_proto = ip->proto;
	*off += hdr_bytes;
	if (ip->frag_be & bpf_htons(IP4_MORE | IP4_OFFSET)) {
		p->frag_id = bpf_ntohs(ip->id_be);
		frag_set(p, *off, (bpf_ntohs(ip->frag_be) & IP4_OFFSET) * 8u, ip->frag_be & bpf_htons(IP4_MORE));
	}
	return ip->proto;
}

/* 1: `next` is an extension header that can be skipped; 0: it is the transport's. */
static __always_inline int ext_kind(__u8 next, int is_first)
{
	switch (next) {
	case NEXT_HOP_BY_HOP:
		return is_first ? 1 : -BY_DROP_EXT_HEADERS;
	case NEXT_ROUTING:
	case NEXT_FRAGMENT:
	case NEXT_DEST_OPTS:
		return 1;
	case NEXT_MOBILITY:
	case NEXT_HIP:
	case NEXT_SHIM6:
		return -BY_DROP_EXT_HEADERS;
	default:
		return 0;
	}
}

/* `off` is behind the fragment header. One that stands alone changes nothing, RFC 6946. */
static __always_inline int ext_frag(struct pkt *p, __u32 off, const struct ip6_ext *ext)
{
	__u32 word = bpf_ntohs(ext->frag_be);

	if (p->has_frag_hdr)
		return -BY_DROP_EXT_HEADERS; /* a fragment in a fragment */
	p->has_frag_hdr = 1;
	if (word & (IP6_OFFSET | IP6_MORE)) {
		p->frag_id = bpf_ntohl(ext->frag_id_be);
		frag_set(p, off, word & IP6_OFFSET, word & IP6_MORE);
	}
	return 0;
}

/* Skips extension headers; returns the transport protocol, or what a later fragment says in its place. */
static __always_inline int parse_ext(struct hook_ctx *ctx, struct pkt *p, __u8 next, __u32 *off)
{
	const struct ip6_ext *ext;
	struct ip6_ext copy;
	int kind;

#pragma unroll
	for (int i = 0; i < EXT_HEADERS_MAX; i++) {
		kind = ext_kind(next, i == 0);
		if (kind <= 0)
			return kind < 0 ? kind : next;
		ext = hdr_at(ctx, p, *off, &copy, sizeof(copy));
		if (!ext)
			return -BY_DROP_SHORT;
		/* The destination in the IP header is then not where the packet ends up. */
		if (next == NEXT_ROUTING && ext->segments_left)
			return -BY_DROP_EXT_HEADERS;
		*off += next == NEXT_FRAGMENT ? sizeof(*ext) : (ext->len8 + 1u) * 8;
		if (next == NEXT_FRAGMENT && ext_frag(p, *off, ext) < 0)
			return -BY_DROP_EXT_HEADERS;
		next = ext->next;
		if (p->frag == FRAG_LATER)
			return next;
	}
	kind = ext_kind(next, 0);
	if (kind > 0)
		return -BY_DROP_EXT_HEADERS;
	return kind < 0 ? kind : next;
}

/* ::ffff:a.b.c.d: would be taken for the IPv4 address in every map. Not allowed on a wire, RFC 4942 section 2.2. */
static __always_inline int is_mapped(const __be32 *v6)
{
	return v6[0] == 0 && v6[1] == 0 && v6[2] == bpf_htonl(0xffff);
}

static __always_inline int parse_ip6(struct hook_ctx *ctx, struct pkt *p, __u32 *off)
{
	struct ip6_hdr copy;
	const struct ip6_hdr *ip = hdr_at(ctx, p, *off, &copy, sizeof(copy));
	__u32 payload;
	int proto;

	if (!ip)
		return -BY_DROP_SHORT;
	payload = bpf_ntohs(ip->payload_be);
	if (ip_end_set(ctx, p, *off, sizeof(*ip) + payload, payload == 0) < 0)
		return -BY_DROP_SHORT;
	if (is_mapped(ip->src) || is_mapped(ip->dst))
		return -BY_DROP_IP_HEADER;
	addr_set6(src_of(p), ip->src);
	addr_set6(dst_of(p), ip->dst);
	p->key.l4_proto = ip->next;
	p->hops = ip->hops;
	*off += sizeof(*ip);
	proto = parse_ext(ctx, p, ip->next, off);
	if (proto >= 0)
		p->key.l4_proto = proto;
	return proto;
}

static __always_inline int parse_tcp(struct hook_ctx *ctx, struct pkt *p, __u32 off)
{
	struct tcp_hdr copy;
	const struct tcp_hdr *tcp = hdr_at(ctx, p, off, &copy, sizeof(copy));
	__u32 hdr_bytes;
	__u8 flags;

	if (!tcp)
		return -BY_DROP_SHORT;
	hdr_bytes = (tcp->offset >> 4) * 4;
	flags = tcp->flags;
	l4_set(p, NEXT_TCP, tcp->src_be, tcp->dst_be);
	if (hdr_bytes < sizeof(*tcp))
		return -BY_DROP_L4_HEADER;
	if (off + hdr_bytes > p->end)
		return -BY_DROP_SHORT;
	/* No stack sends a segment of none of these, nor one that opens and ends at once. */
	if (!(flags & (TCP_SYN | TCP_ACK | TCP_RST)))
		return -BY_DROP_L4_HEADER;
	if ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST)))
		return -BY_DROP_L4_HEADER;
	p->is_syn = (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	p->is_close = (flags & (TCP_FIN | TCP_RST)) != 0;
	p->track = p->is_syn ? TRACK_OPEN : TRACK_FOLLOW;
	return 0;
}

static __always_inline int parse_udp(struct hook_ctx *ctx, struct pkt *p, __u32 off)
{
	struct udp_hdr copy;
	const struct udp_hdr *udp = hdr_at(ctx, p, off, &copy, sizeof(copy));

	if (!udp)
		return -BY_DROP_SHORT;
	l4_set(p, NEXT_UDP, udp->src_be, udp->dst_be);
	if (bpf_ntohs(udp->len_be) < sizeof(*udp))
		return -BY_DROP_L4_HEADER;
	p->track = TRACK_OPEN;
	return 0;
}

/* Those that speak of a packet sent before. A redirect does too, and is no error: nobody on the overlay may send one.
 */
static __always_inline int is_icmp_error(__u8 request, __u8 type)
{
	if (request == ICMP_ECHO_REQUEST)
		return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER;
	return type >= ICMPV6_ERROR_FIRST && type <= ICMPV6_ERROR_LAST;
}

/* The identifier goes where a source port would: to the asker's side, so that two pings that cross stay two flows. */
static __always_inline int parse_icmp(struct hook_ctx *ctx, struct pkt *p, __u32 off, __u8 request, __u8 reply)
{
	struct icmp_hdr copy;
	const struct icmp_hdr *icmp = hdr_at(ctx, p, off, &copy, sizeof(copy));

	if (!icmp)
		return -BY_DROP_SHORT;
	p->icmp_type = icmp->type;
	if (is_icmp_error(request, icmp->type))
		p->track = TRACK_ERROR;
	if (icmp->type != request && icmp->type != reply)
		return 0;
	if (icmp->code)
		return -BY_DROP_L4_HEADER;
	if (icmp->type == request) {
		l4_set(p, p->key.l4_proto, icmp->id_be, 0);
		p->track = TRACK_OPEN;
	} else {
		l4_set(p, p->key.l4_proto, 0, icmp->id_be);
		p->track = TRACK_FOLLOW;
	}
	return 0;
}

static __always_inline int parse_l4(struct hook_ctx *ctx, struct pkt *p, __u32 off, int proto, __u8 version)
{
	if (proto == NEXT_TCP)
		return parse_tcp(ctx, p, off);
	if (proto == NEXT_UDP)
		return parse_udp(ctx, p, off);
	if (proto == NEXT_ICMP && version == 4)
		return parse_icmp(ctx, p, off, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY);
	if (proto == NEXT_ICMPV6 && version == 6)
		return parse_icmp(ctx, p, off, ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY);
	/* ICMP of the other family is no protocol at all */
	if (proto == NEXT_ICMP || proto == NEXT_ICMPV6)
		return -BY_DROP_L4_HEADER;
	p->track = TRACK_OPEN;
	return off > p->end ? -BY_DROP_SHORT : 0;
}

/* Headers that go on in the next fragment would be read by nobody but the receiver: RFC 1858, RFC 7112. */
static __always_inline int frag_reason(const struct pkt *p, int ret)
{
	return p->frag == FRAG_FIRST && ret == -BY_DROP_SHORT ? -BY_DROP_FRAG_TINY : ret;
}

/* A global function: what follows is verified once, not once for every shape of a packet. */
__noinline int parse(struct hook_ctx *ctx, struct pkt *p)
{
	const __u8 *first;
	__u8 copy, version;
	__u32 off;
	int proto;

	if (!p)
		return -BY_DROP_INTERNAL;
	off = hook_l3(p);
	p->end = hook_len(ctx, p);
	first = hdr_at(ctx, p, off, &copy, sizeof(copy));
	if (!first)
		return -BY_DROP_SHORT;
	version = *first >> 4;
	if (version != 4 && version != 6)
		return -BY_DROP_NOT_IP;
	if (!hook_says_version(ctx, p, version))
		return -BY_DROP_NOT_IP;
	p->version = version;
	proto = version == 4 ? parse_ip4(ctx, p, &off) : parse_ip6(ctx, p, &off);
	p->off = off;
	if (p->frag != FRAG_NO && frag_bounds(p) < 0)
		return -BY_DROP_FRAG_BOUNDS;
	if (proto < 0 || p->frag == FRAG_LATER)
		return frag_reason(p, proto < 0 ? proto : 0);
	proto = parse_l4(ctx, p, off, proto, version);
	/* Errors are short enough never to come in parts. */
	if (p->frag != FRAG_NO && p->track == TRACK_ERROR)
		p->track = TRACK_NO;
	return frag_reason(p, proto);
}
