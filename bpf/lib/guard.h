/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sockets of a mesh that a peer's bytes go by: each packet of them passes only as long as the peer is who it was,
 * policy lets it do what it does, and the mesh has judged it by its present rules. What a socket was told for survives
 * the mesh, and ends with the socket.
 */
#pragma once

#include "bailey/event.h"
#include "bailey/guard.h"

#include "maps_identity.h"
#include "verdict.h"

#define ENOENT 2
#define EPERM  1
#define EINVAL 22
#define ENOMEM 12

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct by_leg);
} by_leg SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64); /* the cgroup, whichever program asks */
	__type(value, struct by_round);
} by_round SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BY_DIR_COUNT *BY_MAX_REASONS);
	__type(key, __u32);
	__type(value, struct by_counter);
} by_leg_stat SEC(".maps");

/* --- may it pass ------------------------------------------------------------------------------------------- */

/* 0 or -BY_DROP_x. What one generation let pass is not asked again before the next. */
static __always_inline int leg_node(struct by_leg *leg)
{
	struct by_verdict *v = 0;
	struct by_addr_val *a;
	struct by_gen live;
	int ret = gen_live(&live);

	if (ret < 0 || live.gen == leg->gen)
		return ret;
	a = bpf_map_lookup_elem(&by_addr, &leg->addr);
	if (!a || a->identity != leg->identity)
		return -BY_DROP_NO_IDENTITY;
	if (leg->port)
		ret = verdict_of(live.slot, leg->dir, live.slot ? a->peer_class[1] : a->peer_class[0],
				 BY_PORT_TCP + leg->port, &v);
	if (ret == 0)
		leg->gen = live.gen;
	return ret;
}

static __always_inline int leg_check(struct by_leg *leg)
{
	struct by_round *r = bpf_get_local_storage(&by_round, 0);
	int ret = leg->identity ? leg_node(leg) : 0;

	if (ret == 0 && leg->round != r->round && (leg->round + 1 != r->round || bpf_ktime_get_ns() > r->until_ns))
		return -BY_DROP_RELAY_STALE;
	return ret;
}

/* --- packets ----------------------------------------------------------------------------------------------- */

#define TCP_PROTO 6
#define TCP_RST   0x04

/* A reset carries nothing, and tells the other end what happened. */
static __always_inline int is_reset(struct __sk_buff *skb)
{
	__u32 at = 0;
	__u8 b[14];

	if (bpf_skb_load_bytes(skb, 0, b, 10) < 0)
		return 0;
	if (b[0] >> 4 == 4 && b[9] == TCP_PROTO)
		at = (b[0] & 0xf) * 4;
	else if (b[0] >> 4 == 6 && b[6] == TCP_PROTO)
		at = 40;
	if (!at || bpf_skb_load_bytes(skb, at, b, 14) < 0)
		return 0;
	return b[13] & TCP_RST && skb->len == at + (__u32)(b[12] >> 4) * 4;
}

static __always_inline int leg_packet(struct __sk_buff *skb, __u32 dir)
{
	struct bpf_sock *sk = (struct bpf_sock *)skb->sk;
	struct by_leg *leg = sk ? bpf_sk_storage_get(&by_leg, sk, 0, 0) : 0;
	int ret = leg ? leg_check(leg) : 0;
	struct by_counter *n;
	__u32 at;

	if (ret == 0 || is_reset(skb))
		return 1;
	at = dir * BY_MAX_REASONS + (__u32)-ret;
	n = bpf_map_lookup_elem(&by_leg_stat, &at);
	if (n) {
		n->packets++;
		n->bytes += skb->len;
	}
	return 0;
}

/* --- what the mesh says ------------------------------------------------------------------------------------ */

static __always_inline int same_instance(const __u8 *a, const __u8 *b)
{
	for (int i = 0; i < BY_INSTANCE_ID_LEN; i++)
		if (a[i] != b[i])
			return 0;
	return 1;
}

static __always_inline int is_none(const struct by_addr *a)
{
	const __u32 __attribute__((may_alias)) *w = (const void *)a;

	return !(w[0] | w[1] | w[2] | w[3]);
}

/* The identity that has this address now and is this instance; 0: there is none. */
static __always_inline __u32 identity_of(const struct by_leg_set *set)
{
	struct by_addr addr = set->addr;
	struct by_addr_val *a = bpf_map_lookup_elem(&by_addr, &addr);
	__u32 number = a ? a->identity : BY_IDENT_NONE;
	struct by_ident *id = bpf_map_lookup_elem(&by_ident, &number);

	return id && number != BY_IDENT_LOCAL && same_instance(id->instance_id, set->instance_id) ? number : 0;
}

static __always_inline int is_same(const struct by_leg *leg, const struct by_leg *told)
{
	const __u32 __attribute__((may_alias)) *a = (const void *)leg, *b = (const void *)told;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && leg->identity == told->identity &&
	       leg->port == told->port && leg->dir == told->dir;
}

static __always_inline int leg_set(struct bpf_sockopt *ctx)
{
	struct by_leg_set *set = ctx->optval;
	struct by_leg told = { 0 }, *leg;

	if ((void *)(set + 1) > ctx->optval_end || set->dir >= BY_DIR_COUNT)
		return -EINVAL;
	told.addr = set->addr;
	told.round = set->round;
	told.port = set->port;
	told.dir = set->dir;
	told.is_for_life = !!set->is_for_life;
	if (!is_none(&set->addr) && !(told.identity = identity_of(set)))
		return -ENOENT;
	leg = ctx->sk ? bpf_sk_storage_get(&by_leg, ctx->sk, 0, 0) : 0;
	if (leg && leg->is_for_life && leg->identity) {
		if (!is_same(leg, &told))
			return -EPERM;
		leg->round = told.round;
		return 0;
	}
	told.is_for_life |= leg ? leg->is_for_life : 0;
	leg = ctx->sk ? bpf_sk_storage_get(&by_leg, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
	if (!leg)
		return -ENOMEM;
	*leg = told;
	return 0;
}

static __always_inline int leg_clear(struct bpf_sockopt *ctx)
{
	struct by_leg *leg = ctx->sk ? bpf_sk_storage_get(&by_leg, ctx->sk, 0, 0) : 0;

	if (leg && leg->is_for_life)
		return -EPERM;
	if (leg)
		bpf_sk_storage_delete(&by_leg, ctx->sk);
	return 0;
}

static __always_inline int round_begin(struct bpf_sockopt *ctx)
{
	struct by_round *r = bpf_get_local_storage(&by_round, 0);
	__u32 *ms = ctx->optval;

	if ((void *)(ms + 1) > ctx->optval_end)
		return -EINVAL;
	r->until_ns = bpf_ktime_get_ns() + (__u64)*ms * 1000000;
	__sync_fetch_and_add(&r->round, 1);
	return 0;
}

static __always_inline int leg_option(struct bpf_sockopt *ctx)
{
	switch (ctx->optname) {
	case BY_LEG_SET:
		return leg_set(ctx);
	case BY_LEG_CLEAR:
		return leg_clear(ctx);
	case BY_LEG_ROUND:
		return round_begin(ctx);
	default:
		return -EINVAL;
	}
}

static __always_inline void leg_ask(struct bpf_sockopt *ctx)
{
	struct by_leg *leg = ctx->sk ? bpf_sk_storage_get(&by_leg, ctx->sk, 0, 0) : 0;
	struct by_round *r = bpf_get_local_storage(&by_round, 0);
	struct by_leg_state *st = ctx->optval;
	struct by_gen live = { 0 };

	if ((void *)(st + 1) > ctx->optval_end)
		return;
	gen_live(&live);
	st->round = r->round;
	st->gen = live.gen;
	st->reason = leg ? (__u32)-leg_check(leg) : 0;
	st->is_told = leg != 0;
	ctx->optlen = sizeof(*st);
	asm volatile("" ::: "memory"); /* one store for both is none that the verifier knows */
	ctx->retval = 0;
}
