/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Machines with a network namespace of their own dial past every cgroup of the host: what their device sends to a
 * captured destination is given to the proxy's socket as it is. The proxy listens with IP_TRANSPARENT, so its end of
 * the connection has the address that was dialled. What can not be given to a proxy is dropped and never forwarded.
 */
#pragma once

#include "divert.h"
#include "parse.h"

#define TCP_LISTEN 10

static __always_inline void tuple_set(struct bpf_sock_tuple *t, const struct pkt *p, const struct by_addr *dst,
				      __u16 dst_port_be)
{
	if (p->version == 4) {
		t->ipv4.saddr = word(&p->key.local, 3);
		t->ipv4.daddr = word(dst, 3);
		t->ipv4.sport = p->key.local_port_be;
		t->ipv4.dport = dst_port_be;
		return;
	}
	__builtin_memcpy(t->ipv6.saddr, &p->key.local, sizeof(t->ipv6.saddr));
	__builtin_memcpy(t->ipv6.daddr, dst, sizeof(t->ipv6.daddr));
	t->ipv6.sport = p->key.local_port_be;
	t->ipv6.dport = dst_port_be;
}

static __always_inline struct bpf_sock *socket_of(struct __sk_buff *skb, struct bpf_sock_tuple *t, const struct pkt *p)
{
	if (p->version == 4)
		return bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv4), BPF_F_CURRENT_NETNS, 0);
	return bpf_skc_lookup_tcp(skb, t, sizeof(t->ipv6), BPF_F_CURRENT_NETNS, 0);
}

static __always_inline int give(struct __sk_buff *skb, struct bpf_sock *sk)
{
	long ret = bpf_sk_assign(skb, sk, 0);

	bpf_sk_release(sk);
	if (ret)
		return HOOK_DROP;
	skb->mark = BY_DIVERT_MARK;
	return HOOK_PASS;
}

/* The connection's own socket, else the listener; a listener on the address that was dialled is somebody else's. */
static __always_inline int assign(struct __sk_buff *skb, const struct pkt *p, const struct by_divert *d)
{
	struct bpf_sock_tuple t = { 0 };
	struct bpf_sock *sk;

	tuple_set(&t, p, &p->key.peer, p->key.peer_port_be);
	sk = socket_of(skb, &t, p);
	if (sk) {
		if (sk->state != TCP_LISTEN)
			return give(skb, sk);
		bpf_sk_release(sk);
	}
	tuple_set(&t, p, &d->addr, d->port_be);
	sk = socket_of(skb, &t, p);
	if (!sk)
		return HOOK_DROP;
	if (sk->state != TCP_LISTEN) {
		bpf_sk_release(sk);
		return HOOK_DROP;
	}
	if (p->is_syn)
		divert_count(BY_DIVERT_TCP);
	return give(skb, sk);
}

static __always_inline int assign_packet(struct __sk_buff *skb, struct pkt *p)
{
	struct by_divert_key key = { .prefix_len = BY_DIVERT_BITS + 128 };
	struct by_divert *d;

	if (parse(skb, p) < 0)
		return HOOK_DROP;
	key.l4_proto = p->key.l4_proto;
	key.port_be = p->key.peer_port_be;
	key.addr = p->key.peer;
	d = divert_find(&key);
	if (!d)
		return HOOK_PASS;
	if (p->key.l4_proto != PROTO_TCP || d->is_peer || p->frag != FRAG_NO)
		return HOOK_DROP;
	return assign(skb, p, d);
}
