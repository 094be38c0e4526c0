/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The host's own network: what is known of a peer is its address, so its class comes from a trie of prefixes, and only
 * where a rule is asked: a tracked flow has its verdict. Which packets no host can have sent is seen here, and what
 * belongs to the link itself (RFC 4890 section 4.4) and to WireGuard passes here.
 */
#pragma once

#include "bailey/host.h"
#include "cookie.h"
#include "source.h"
#include "wg.h"

#define ND_FIRST    133 /* router solicitation, router advertisement, neighbour solicitation and advertisement */
#define ND_LAST     136
#define ND_INVERSE  141 /* RFC 3122, and its answer */
#define MLD_FIRST   130 /* query, report, done: RFC 2710 */
#define MLD_LAST    132
#define MLD2_REPORT 143 /* RFC 3810 */
#define MRD_FIRST   151 /* multicast router discovery, RFC 4286 */
#define MRD_LAST    153
#define ND_HOPS     255 /* RFC 4861 section 7.1: a router would have taken one */
#define MLD_HOPS    1
#define DHCP_SERVER 67
#define DHCP_CLIENT 68

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, BY_MAX_NETS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct by_net_key);
	__type(value, struct by_net);
} by_net SEC(".maps");

static __always_inline __u32 class_of(const struct pkt *p)
{
	struct by_net_key key = { .prefix_bits = BY_NET_BITS, .slot = p->live.slot, .addr = p->key.peer };
	struct by_net *net = bpf_map_lookup_elem(&by_net, &key);

	return net ? net->peer_class : 0;
}

static __always_inline int opener_check(const struct pkt *p, __u8 dir)
{
	(void)p, (void)dir;
	return 0;
}

/* Routers on the way speak of a flow too; the receiver holds what they quote against its own sequence numbers. */
static __always_inline int is_witness(const struct pkt *p, const struct pkt *q)
{
	(void)p, (void)q;
	return 1;
}

/* An address in host order that no packet comes from: this network, loopback, multicast, reserved, broadcast. */
static __always_inline int is_martian4(__u32 v4)
{
	return v4 >> 24 == 127 || v4 >> 28 >= 0xe || (v4 >> 24 == 0 && v4);
}

static __always_inline int is_martian6(const __u32 *w)
{
	return (w[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) ||
	       (!w[0] && !w[1] && !w[2] && w[3] == bpf_htonl(1));
}

/* Who has no address yet asks for one: DHCP, duplicate address detection, and what goes with it. */
static __always_inline int may_lack_address(const struct pkt *p)
{
	if (p->version == 4)
		return p->key.l4_proto == NEXT_UDP &&
		       bpf_ntohs(p->key.local_port_be) == (hook_dir(p) == BY_DIR_IN ? DHCP_SERVER : DHCP_CLIENT);
	return p->key.l4_proto == NEXT_ICMPV6;
}

static __always_inline int is_martian(struct pkt *p)
{
	const __u32 *src = (const __u32 *)src_of(p)->b, *dst = (const __u32 *)dst_of(p)->b;

	if (src[3] == dst[3] && src[2] == dst[2] && src[1] == dst[1] && src[0] == dst[0])
		return 1; /* land */
	if (p->version == 4) {
		if (bpf_ntohl(dst[3]) >> 24 == 127 || !dst[3] || is_martian4(bpf_ntohl(src[3])))
			return 1;
		return !src[3] && !may_lack_address(p);
	}
	if (is_martian6(src) || (!dst[0] && !dst[1] && !dst[2] && dst[3] <= bpf_htonl(1)))
		return 1;
	return !src[0] && !src[1] && !src[2] && !src[3] && !may_lack_address(p);
}

/* 1: the link works by it; 0: it is something else; a drop where it claims to be of this link and came from afar. */
static __always_inline int link_check(const struct pkt *p)
{
	__u8 type = p->icmp_type, hops;

	if (p->key.l4_proto != NEXT_ICMPV6 || p->frag == FRAG_LATER)
		return 0;
	if ((type >= ND_FIRST && type <= ND_LAST) || type == ND_INVERSE || type == ND_INVERSE + 1)
		hops = ND_HOPS;
	else if ((type >= MLD_FIRST && type <= MLD_LAST) || type == MLD2_REPORT ||
		 (type >= MRD_FIRST && type <= MRD_LAST))
		hops = MLD_HOPS;
	else
		return 0;
	/* in fragments it would hide from whoever looks at it, RFC 6980 */
	return p->hops == hops && p->frag == FRAG_NO ? 1 : -BY_DROP_MARTIAN;
}

/* 3: 1: passes by itself; 0: is judged. is_known: there is a flow between these addresses, which no martian opens. */
static __always_inline int identify(struct hook_ctx *ctx, struct pkt *p, int is_known)
{
	int ret;

	if (!is_known && is_martian(p))
		return -BY_DROP_MARTIAN;
	ret = link_check(p);
	return ret ? ret : wg_check(ctx, p);
}

/* A packet that a rule lets open a flow. */
static __always_inline int may_open(struct hook_ctx *ctx, struct pkt *p)
{
	int ret;

	if (hook_dir(p) != BY_DIR_IN)
		return 0;
	ret = p->is_syn && cookie_is_due(p) ? cookie_answer(ctx, p) : 0;
	if (ret < 0)
		return ret;
	return source_take(p, BY_SOURCE_FLOWS, &host.flows) < 0 ? -BY_DROP_SOURCE_LIMIT : 0;
}
