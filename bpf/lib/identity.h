/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses -> identities. WireGuard lets only a peer's own addresses in, so the address names the attested node. */
#pragma once

#include "hook.h"
#include "maps_identity.h"

static __always_inline int is_local(const struct by_addr *a)
{
	struct by_addr_val *v = bpf_map_lookup_elem(&by_addr, a);

	return v && v->identity == BY_IDENT_LOCAL;
}

/* Neighbour discovery that link.h has not judged: in fragments, behind extension headers, or of routers. */
static __always_inline int is_stray_nd(const struct pkt *p)
{
	return conf.l3_offset && p->key.l4_proto == 58 && p->icmp_type >= 133 && p->icmp_type <= 137;
}

/*
 * Between machines of one host nothing but the way proves a source: a frame that comes from another port of the bridge,
 * or that the host forwards from the underlay, may say anything. What the host's own stack made has no such device.
 */
static __always_inline int comes_its_way(const struct hook_ctx *ctx, __u32 identity)
{
	__u32 *via;

	if (!conf.is_workload || !ctx->ingress_ifindex)
		return 1;
	via = bpf_map_lookup_elem(&by_via, &identity);
	return via && *via == ctx->ingress_ifindex;
}

/*
 * A hub passes on what one node sends another. On the way in WireGuard vouches for the source; on the way out only what
 * came in by this very device may have the source of somebody else, so that nothing which this machine made can. Which
 * of it is allowed both ends decide, not the hub. Positive: the other end's identity.
 */
static __always_inline __u32 passes_on(const struct hook_ctx *ctx, const struct pkt *p, const struct by_addr_val *far)
{
	if (conf.topology != BY_TOPOLOGY_HUB || !far)
		return 0;
	return p->dir == BY_DIR_IN || ctx->ingress_ifindex == ctx->ifindex ? far->identity : 0;
}

/*
 * is_known: the live policy judged a flow between these addresses and ports, whose local one was this node's own; user
 * space begins a new generation when it takes an address away. The peer is looked up for each packet.
 */
static __always_inline int identify(const struct hook_ctx *ctx, struct pkt *p, int is_known)
{
	struct by_addr_val *v = is_known ? 0 : bpf_map_lookup_elem(&by_addr, &p->key.local);
	int is_own = is_known || (v && v->identity == BY_IDENT_LOCAL);
	__u32 slot = p->live.slot, far = is_own ? 0 : passes_on(ctx, p, v);

	if (is_stray_nd(p))
		return -BY_DROP_ARP_SPOOF; /* 2 */
	if (p->dir == BY_DIR_OUT && !is_own && !far)
		return -BY_DROP_SPOOFED; /* 3 */
	v = bpf_map_lookup_elem(&by_addr, &p->key.peer);

	/* A packet that comes from, or goes to, this node's own address over the mesh has no peer behind it. */
	if (!v || v->identity == BY_IDENT_NONE || v->identity == BY_IDENT_LOCAL)
		return -BY_DROP_NO_IDENTITY; /* 4 */
	if (p->dir == BY_DIR_IN && !comes_its_way(ctx, v->identity))
		return -BY_DROP_SPOOFED; /* 3 */
	p->peer = v->identity;
	p->peer_class = slot ? v->peer_class[1] : v->peer_class[0];
	if (is_own)
		return 0;
	return far && far != p->peer ? PASS_ON : -BY_DROP_NOT_LOCAL; /* 4 */
}

/*
 * A hub opens nothing, whatever a policy says: its own programs hold it to that, and the spokes' do not rely on them.
 * What it answers belongs to a flow that somebody else opened.
 */
static __always_inline int opener_check(const struct pkt *p, __u8 dir)
{
	struct by_ident *peer;

	if (conf.topology == BY_TOPOLOGY_HUB)
		return dir == BY_DIR_OUT ? -BY_DROP_HUB_ORIGIN : 0;
	if (conf.topology != BY_TOPOLOGY_SPOKE || dir == BY_DIR_OUT)
		return 0;
	peer = bpf_map_lookup_elem(&by_ident, &p->peer);
	if (!peer)
		return -BY_DROP_NO_IDENTITY;
	return peer->flags & BY_IDENT_HUB ? -BY_DROP_HUB_ORIGIN : 0;
}

/*
 * May the sender of the error `p` speak of the flow that `q` quotes? Only that flow's own peer, from any address of
 * its own: the overlay has no routers, only nodes, and a tunnel that ends at the peer, so an error from any third
 * node is about something that it can not have seen. The worst that a forged error does is to disturb the forger's
 * own flow; sequence numbers are therefore not looked at.
 */
static __always_inline int is_witness(const struct pkt *p, const struct pkt *q)
{
	struct by_addr_val *v = bpf_map_lookup_elem(&by_addr, &q->key.peer);

	return v && v->identity == p->peer;
}

/* After the policy: what it denies wakes nobody. */
static __always_inline int awake_check(const struct pkt *p)
{
	__u32 *via;

	if (p->dir == BY_DIR_IN || conf.l3_offset || conf.is_workload)
		return 0;
	via = bpf_map_lookup_elem(&by_via, &p->peer);
	return via && *via & BY_VIA_ASLEEP ? -BY_DROP_PEER_ASLEEP : 0;
}

static __always_inline __u32 class_of(const struct pkt *p)
{
	return p->peer_class;
}

static __always_inline int is_proof(const struct hook_ctx *ctx, const struct pkt *p)
{
	(void)ctx, (void)p;
	return 0;
}

static __always_inline int may_open(const struct hook_ctx *ctx, const struct pkt *p)
{
	(void)ctx, (void)p;
	return 0;
}
