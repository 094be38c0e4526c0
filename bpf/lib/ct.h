/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Tracked flows. One entry serves both directions; it remembers which one opened it, which rule let it and under
 * which generation, so that a change of policy or identity is seen by flows that exist already.
 */
#pragma once

#include "bailey/flow.h"
#include "maps.h"
#include "parse.h"

#define CT_REFRESH_NS                                                                                                  \
	1000000000ll /* last_ns may be this old: a write per packet would bounce the line between CPUs                 \
		      */

/* Signed: another CPU may have stamped the entry a moment after this one read the clock. */
static __always_inline __s64 ct_idle(const struct pkt *p, const struct by_ct *ct)
{
	return (__s64)(p->now_ns - ct->last_ns);
}

/*
 * The barriers keep the compiler from making one call of two, of whose map the verifier would no longer know which it
 * is: it could not inline it, and the call costs 15 ns more.
 */
static __always_inline struct by_ct *ct_lookup(const struct pkt *p)
{
	struct by_ct4_key key4;
	struct by_ct *ct;

	if (p->version != 4) {
		ct = bpf_map_lookup_elem(&by_ct6, &p->key);
		barrier();
		return ct;
	}
	key4 = by_ct4_key(&p->key);
	ct = bpf_map_lookup_elem(&by_ct4, &key4);
	barrier();
	return ct;
}

static __always_inline void ct_update(const struct pkt *p, const struct by_ct *ct, __u64 flags)
{
	struct by_ct4_key key4 = by_ct4_key(&p->key);

	if (p->version == 4)
		bpf_map_update_elem(&by_ct4, &key4, ct, flags);
	else
		bpf_map_update_elem(&by_ct6, &p->key, ct, flags);
}

static __always_inline void ct_delete(const struct pkt *p)
{
	struct by_ct4_key key4 = by_ct4_key(&p->key);

	if (p->version == 4)
		bpf_map_delete_elem(&by_ct4, &key4);
	else
		bpf_map_delete_elem(&by_ct6, &p->key);
}

/*
 * The entry of this packet's addresses and ports -> the flow that it belongs to, or NULL. An entry that is over is
 * deleted; so is a closing TCP flow whose ports are used again. A SYN against the direction that opened the flow is no
 * part of it: having been called gives nobody the right to call back.
 */
static __always_inline struct by_ct *ct_find(const struct pkt *p, struct by_ct *ct)
{
	if (!ct)
		return 0;
	if (ct_idle(p, ct) > by_flow_idle_max(p->key.l4_proto, ct->state) ||
	    (p->is_syn && ct->state == BY_CT_CLOSING)) {
		ct_delete(p);
		return 0;
	}
	return p->is_syn && hook_dir(p) != ct->dir ? 0 : ct;
}

static __always_inline void ct_touch(const struct pkt *p, struct by_ct *ct)
{
	if (ct_idle(p, ct) > CT_REFRESH_NS)
		ct->last_ns = p->now_ns;
	if (p->is_close) {
		if (ct->state != BY_CT_CLOSING) {
			ct->state = BY_CT_CLOSING;
			ct->last_ns = p->now_ns;
		}
	} else if (ct->state == BY_CT_NEW && hook_dir(p) != ct->dir) {
		ct->state = BY_CT_ESTABLISHED;
	}
}

/* Written through the map, not through the pointer: an evicted entry's memory may be another flow's by now. */
static __always_inline void ct_restamp(const struct pkt *p, const struct by_ct *ct)
{
	struct by_ct copy = *ct;

	copy.gen = p->live.gen;
	copy.rule = p->rule;
	copy.flags = p->rule_flags;
	copy.last_ns = p->now_ns;
	ct_update(p, &copy, BPF_EXIST);
}

/* The first one stays when both sides open the same ports at once. Full memory is no reason to drop: LRU evicts. */
static __always_inline void ct_open(const struct pkt *p)
{
	struct by_ct ct = {
		.last_ns = p->now_ns,
		.opened_ns = p->now_ns,
		.gen = p->live.gen,
		.rule = p->rule,
		.dir = hook_dir(p),
		.flags = p->rule_flags,
	};

	ct_update(p, &ct, BPF_NOEXIST);
}
