/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Fragments are decided together: the first one has the ports and is judged like a packet; when it passes it leaves an
 * entry, and the later ones pass with that entry, under the generation that judged it, while they come in order and
 * without gaps. Nothing is queued: a firewall that keeps fragments until it knows them lends its memory to whoever
 * sends many. So a later fragment that comes before its first one, or behind a gap, is dropped, and with it the
 * datagram. Linux sends fragments in order, and WireGuard keeps the order of a peer's packets.
 *
 * Fragments that overlap are dropped and spoil their datagram until the receiver has given it up too: what passed
 * before can then not be completed to something that nobody judged (RFC 5722).
 */
#pragma once

#include "ctx.h"
#include "maps.h"
#include "rate.h"

#define FRAG4_NS (30 * 1000000000ll) /* how long Linux waits for the rest */
#define FRAG6_NS (60 * 1000000000ll) /* RFC 8200 section 4.5 */

#define FRAG_SPOILT 0xffffffffu /* of by_frag.next: no fragment fits */

/* IPv6 knows a datagram by addresses and identification alone: a protocol in the key would let two of them share one.
 */
static __always_inline void frag_key(const struct pkt *p, struct by_frag_key *key)
{
	key->src = p->dir == BY_DIR_IN ? p->key.peer : p->key.local;
	key->dst = p->dir == BY_DIR_IN ? p->key.local : p->key.peer;
	key->id = p->frag_id;
	key->l4_proto = p->version == 4 ? p->key.l4_proto : 0;
}

static __always_inline struct by_frag *frag_find(const struct pkt *p, const struct by_frag_key *key)
{
	struct by_frag *f = bpf_map_lookup_elem(&by_frag, key);

	if (!f || (__s64)(p->now_ns - f->first_ns) <= (p->version == 4 ? FRAG4_NS : FRAG6_NS))
		return f;
	bpf_map_delete_elem(&by_frag, key);
	return 0;
}

/* One exchange decides, so that two CPUs can not both pass the same range. The last one frees the identification. */
static __always_inline int frag_next(struct pkt *p, const struct by_frag_key *key, struct by_frag *f)
{
	__u32 was = __sync_val_compare_and_swap(&f->next, p->frag_off, p->is_last_frag ? FRAG_SPOILT : p->frag_end);

	if (was == p->frag_off) {
		p->rule = f->rule;
		p->rule_flags = f->flags;
		if (p->is_last_frag)
			bpf_map_delete_elem(&by_frag, key);
		return f->flags & BY_RULE_RATE_PACKETS ? rate_take(p) : 0;
	}
	if (was < p->frag_off)
		return -BY_DROP_FRAG_ORDER;
	f->next = FRAG_SPOILT;
	return -BY_DROP_FRAG_OVERLAP;
}

/* A fragment before any rule is asked. A global function: verified once. */
__noinline int frag_check(struct pkt *p)
{
	struct by_frag_key key = { 0 };
	struct by_frag *f;

	if (!p)
		return -BY_DROP_INTERNAL;
	frag_key(p, &key);
	f = frag_find(p, &key);
	if (p->frag == FRAG_LATER)
		return f && f->gen == p->live.gen ? frag_next(p, &key, f) : -BY_DROP_FRAGMENT;
	if (!f)
		return 0;
	f->next = FRAG_SPOILT; /* a second first one */
	return -BY_DROP_FRAG_OVERLAP;
}

/* The first fragment has passed. */
__noinline int frag_open(struct pkt *p)
{
	struct by_frag_key key = { 0 };
	struct by_frag f = { 0 };

	if (!p)
		return -BY_DROP_INTERNAL;
	frag_key(p, &key);
	f.first_ns = p->now_ns;
	f.gen = p->live.gen;
	f.rule = p->rule;
	f.flags = p->rule_flags;
	f.next = p->frag_end;
	/* another CPU may have been quicker with another first one */
	return bpf_map_update_elem(&by_frag, &key, &f, BPF_NOEXIST) ? -BY_DROP_FRAG_OVERLAP : 0;
}
