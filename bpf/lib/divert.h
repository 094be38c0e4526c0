/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where an application dials, and where it goes instead. A socket remembers what was dialled, for its application; a
 * TCP connection is remembered by its two ends besides, for the proxy at the other one.
 */
#pragma once

#include "bailey/divert.h"

#define FAMILY_INET  2
#define FAMILY_INET6 10
#define PROTO_TCP    6
#define PROTO_UDP    17
#define PROTO_MPTCP  262
#define LEVEL_IP     0
#define LEVEL_IPV6   41
#define ORIGINAL_DST 80

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, BY_MAX_DIVERTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct by_divert_key);
	__type(value, struct by_divert);
} by_divert SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct by_sock);
} by_sock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BY_MAX_ORIGINS);
	__type(key, struct by_origin_key);
	__type(value, struct by_origin);
} by_origin SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BY_DIVERT_STATS);
	__type(key, __u32);
	__type(value, __u64);
} by_divert_stat SEC(".maps");

static __always_inline void divert_count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&by_divert_stat, &what);

	if (n)
		++*n;
}

/* --- addresses --------------------------------------------------------------------------------------------- */

/* Every address here lies on four bytes. */
typedef __u32 __attribute__((may_alias)) addr_word;

static __always_inline void words_set(struct by_addr *a, __u32 w0, __u32 w1, __u32 w2, __u32 w3)
{
	addr_word *w = (addr_word *)a;

	w[0] = w0;
	w[1] = w1;
	w[2] = w2;
	w[3] = w3;
}

static __always_inline __u32 word(const struct by_addr *a, int i)
{
	return ((const addr_word *)a)[i];
}

/* A field of a context, whose address clang must not work out for two branches together: the verifier wants the context
 * and a constant. */
#define FIELD(ctx, name)                                                                                               \
	({                                                                                                             \
		__u32 field_ = (ctx)->name;                                                                            \
		asm volatile("" : "+r"(field_));                                                                       \
		field_;                                                                                                \
	})

static __always_inline void mapped_set(struct by_addr *a, __u32 ip4_be)
{
	words_set(a, 0, 0, bpf_htonl(0xffff), ip4_be);
}

static __always_inline int same_addr(const struct by_addr *a, const struct by_addr *b)
{
	return word(a, 0) == word(b, 0) && word(a, 1) == word(b, 1) && word(a, 2) == word(b, 2) &&
	       word(a, 3) == word(b, 3);
}

static __always_inline void user_addr(struct bpf_sock_addr *ctx, int is_v6, struct by_addr *a)
{
	if (is_v6)
		words_set(a, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]);
	else
		mapped_set(a, ctx->user_ip4);
}

static __always_inline void user_set(struct bpf_sock_addr *ctx, int is_v6, const struct by_addr *a, __u16 port_be)
{
	if (is_v6) {
		ctx->user_ip6[0] = word(a, 0);
		ctx->user_ip6[1] = word(a, 1);
		ctx->user_ip6[2] = word(a, 2);
		ctx->user_ip6[3] = word(a, 3);
	} else {
		ctx->user_ip4 = word(a, 3);
	}
	ctx->user_port = port_be;
}

/* --- the application --------------------------------------------------------------------------------------- */

static __always_inline struct by_divert *divert_find(struct by_divert_key *key)
{
	struct by_divert *d = bpf_map_lookup_elem(&by_divert, key);

	if (d)
		return d;
	key->port_be = 0;
	return bpf_map_lookup_elem(&by_divert, key);
}

static __always_inline void divert(struct bpf_sock_addr *ctx, int is_v6)
{
	__u16 port_be = (__u16)ctx->user_port, to_port_be;
	struct by_divert_key key = { .prefix_len = BY_DIVERT_BITS + 128, .port_be = port_be };
	struct by_divert *d;
	struct by_sock *s;

	key.l4_proto = ctx->protocol == PROTO_MPTCP ? PROTO_TCP : (__u8)ctx->protocol;
	user_addr(ctx, is_v6, &key.addr);
	d = divert_find(&key);
	if (!d)
		return;
	to_port_be = d->port_be ? d->port_be : port_be;
	if (same_addr(&d->addr, &key.addr) && to_port_be == port_be)
		return;
	s = ctx->sk ? bpf_sk_storage_get(&by_sock, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
	if (s) {
		s->origin = key.addr;
		s->origin_port_be = port_be;
		s->to = d->addr;
		s->to_port_be = to_port_be;
		s->is_peer = d->is_peer;
	}
	/* without memory for it the proxy knows of no origin and refuses */
	user_set(ctx, is_v6, &d->addr, to_port_be);
	divert_count(key.l4_proto == PROTO_TCP ? BY_DIVERT_TCP : BY_DIVERT_UDP);
}

/* What the application sees of where a datagram is from, and whom it is connected to. */
static __always_inline void show_origin(struct bpf_sock_addr *ctx, int is_v6)
{
	struct by_sock *s = ctx->sk ? bpf_sk_storage_get(&by_sock, ctx->sk, 0, 0) : 0;
	struct by_addr from;

	if (!s)
		return;
	user_addr(ctx, is_v6, &from);
	if (same_addr(&from, &s->to) && (__u16)ctx->user_port == s->to_port_be)
		user_set(ctx, is_v6, &s->origin, s->origin_port_be);
}

/* --- the proxy --------------------------------------------------------------------------------------------- */

/* What was dialled before on a socket that dials again is no origin of this connection. */
static __always_inline int goes_to(struct bpf_sock_ops *ctx, const struct by_sock *s)
{
	struct by_addr remote;

	if (ctx->family == FAMILY_INET)
		mapped_set(&remote, FIELD(ctx, remote_ip4));
	else
		words_set(&remote, FIELD(ctx, remote_ip6[0]), FIELD(ctx, remote_ip6[1]), FIELD(ctx, remote_ip6[2]),
			  FIELD(ctx, remote_ip6[3]));
	return same_addr(&remote, &s->to) && bpf_ntohl(ctx->remote_port) == bpf_ntohs(s->to_port_be);
}

/* In the SYN's moment: the port is chosen, and the proxy cannot have accepted yet. */
static __always_inline void origin_remember(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct by_sock *s = sk ? bpf_sk_storage_get(&by_sock, sk, 0, 0) : 0;
	struct by_origin o = { 0 };

	if (!s || s->is_peer || !goes_to(ctx, s))
		return;
	s->key.netns = bpf_get_netns_cookie(ctx);
	if (ctx->family == FAMILY_INET)
		mapped_set(&s->key.client, FIELD(ctx, local_ip4));
	else
		words_set(&s->key.client, FIELD(ctx, local_ip6[0]), FIELD(ctx, local_ip6[1]), FIELD(ctx, local_ip6[2]),
			  FIELD(ctx, local_ip6[3]));
	s->key.proxy = s->to;
	s->key.client_port_be = bpf_htons((__u16)ctx->local_port);
	s->key.proxy_port_be = s->to_port_be;
	o.addr = s->origin;
	o.port_be = s->origin_port_be;
	o.opened_ns = bpf_ktime_get_coarse_ns();
	bpf_map_update_elem(&by_origin, &s->key, &o, BPF_ANY);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void origin_forget(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct by_sock *s = sk ? bpf_sk_storage_get(&by_sock, sk, 0, 0) : 0;

	if (s)
		bpf_map_delete_elem(&by_origin, &s->key);
}

static __always_inline struct by_origin *origin_of(struct bpf_sockopt *ctx)
{
	struct by_origin_key key = { 0 };
	struct bpf_sock *sk = ctx->sk;
	struct by_origin *o;

	if (!sk)
		return 0;
	key.netns = bpf_get_netns_cookie(ctx);
	if (sk->family == FAMILY_INET) {
		mapped_set(&key.client, FIELD(sk, dst_ip4));
		mapped_set(&key.proxy, FIELD(sk, src_ip4));
	} else {
		words_set(&key.client, FIELD(sk, dst_ip6[0]), FIELD(sk, dst_ip6[1]), FIELD(sk, dst_ip6[2]),
			  FIELD(sk, dst_ip6[3]));
		words_set(&key.proxy, FIELD(sk, src_ip6[0]), FIELD(sk, src_ip6[1]), FIELD(sk, src_ip6[2]),
			  FIELD(sk, src_ip6[3]));
	}
	key.client_port_be = sk->dst_port;
	key.proxy_port_be = bpf_htons((__u16)sk->src_port);
	o = bpf_map_lookup_elem(&by_origin, &key);
	divert_count(o ? BY_DIVERT_ASKED : BY_DIVERT_UNKNOWN);
	return o;
}

/* As the kernel lays them out for user space. */
struct sockaddr4 {
	__u16 family, port_be;
	__u32 addr_be, zero[2];
};

struct sockaddr6 {
	__u16 family, port_be;
	__u32 flow;
	__u32 addr_be[4];
	__u32 scope;
};

/* Separate stores: clang would write both in one, which the verifier does not know. */
static __always_inline void told(struct bpf_sockopt *ctx, __s32 len)
{
	*(volatile __s32 *)&ctx->optlen = len;
	*(volatile __s32 *)&ctx->retval = 0;
}

static __always_inline void origin_tell4(struct bpf_sockopt *ctx)
{
	struct sockaddr4 *to = (void *)(long)ctx->optval;
	struct by_origin *o;

	if ((void *)(to + 1) > (void *)(long)ctx->optval_end)
		return;
	o = origin_of(ctx);
	if (!o || word(&o->addr, 2) != bpf_htonl(0xffff))
		return;
	*to = (struct sockaddr4){ .family = FAMILY_INET, .port_be = o->port_be, .addr_be = word(&o->addr, 3) };
	told(ctx, sizeof(*to));
}

static __always_inline void origin_tell6(struct bpf_sockopt *ctx)
{
	struct sockaddr6 *to = (void *)(long)ctx->optval;
	struct by_origin *o;

	if ((void *)(to + 1) > (void *)(long)ctx->optval_end)
		return;
	o = origin_of(ctx);
	if (!o)
		return;
	to->family = FAMILY_INET6;
	to->port_be = o->port_be;
	to->flow = 0;
	__builtin_memcpy(to->addr_be, &o->addr, sizeof(o->addr));
	to->scope = 0;
	told(ctx, sizeof(*to));
}
