/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The ladder. The first rung that answers decides; its number stands at the return.
 *
 *  1  no policy was ever committed                      drop NO_POLICY
 *  2  the packet can not be read                         drop, reason from parse.h; frames before it: link.h
 *  3  this node sends with a source that is not its own drop SPOOFED
 *  4  the peer's address has no identity                drop NO_IDENTITY
 *     it is addressed to somebody else                  drop NOT_LOCAL; a hub passes it on to whom it is for, if
 *                                                       that address has an identity
 *  5  a later fragment                                  pass when it is the next one of a datagram whose first one
 *                                                       passed under the live policy; else drop FRAGMENT,
 *                                                       FRAG_ORDER or FRAG_OVERLAP (frag.h)
 *     a first fragment of a datagram that has one       drop FRAG_OVERLAP; any other goes on as a packet
 *  6  a tracked flow that the live policy judged        pass, unless its rule has a rate for packets and this one is
 *                                                       over it: drop RATE_LIMIT (rate.h; so in 5, 7 and 8)
 *  7  a tracked flow that an older generation judged    judge again as it was opened: pass, or forget it and
 *                                                       drop POLICY_DENY
 *  8  an ICMP error of the flow's own peer about a      pass; the flow is not touched (related.h)
 *     tracked flow that the live policy judged
 *  9  TCP that is no pure SYN                           drop NO_FLOW
 * 10  a hub opens it, here or at the other end          drop HUB_ORIGIN (so in 7)
 *     a rule for (direction, peer class, port class)    allow: remember the flow and pass, or drop RATE_LIMIT; an audit
 *                                                       rule beside it counts and tells; deny: drop POLICY_DENY
 * 11  no rule                                           drop POLICY_DENY
 *
 * What a peer is differs, so identity.h (overlay) or net.h (the host's network) comes before this file. Each has
 * identify() for rungs 3 and 4 (what a flow that the live policy judged proves of them it does not ask again): a
 * positive answer passes by itself, without 6 to 11; is_witness() for rung 8; is_proof() for rung 9: TCP that may open
 * a flow all the same; class_of(), opener_check() and may_open() for rung 10.
 */
#pragma once

#include "ct.h"
#include "frag.h"
#include "maps.h"
#include "parse.h"
#include "plain.h"
#include "rate.h"
#include "related.h"
#include "verdict.h"

static __always_inline int gen_read(struct pkt *p)
{
	return gen_live(&p->live); /* 1 */
}

/* What the first packet of a flow in direction `dir` asks for, as an index of by_port. */
static __always_inline __u32 selector_of(const struct pkt *p, __u8 dir, __u8 icmp_type)
{
	__u32 port = bpf_ntohs(dir == BY_DIR_IN ? p->key.local_port_be : p->key.peer_port_be);

	switch (p->key.l4_proto) {
	case NEXT_TCP:
		return BY_PORT_TCP + port;
	case NEXT_UDP:
		return BY_PORT_UDP + port;
	case NEXT_ICMP:
		return BY_PORT_ICMP + icmp_type;
	case NEXT_ICMPV6:
		return BY_PORT_ICMPV6 + icmp_type;
	default:
		return BY_PORT_OTHER + p->key.l4_proto;
	}
}

/*
 * A rule's counter is made by the first packet that it decides: most of a large policy's rules never are. A global
 * function: verified once.
 */
__noinline int rule_count(struct pkt *p, __u32 rule, __u32 bytes)
{
	struct by_counter *n, first = { 1, bytes };
	struct by_rule_key key = { 0 };

	if (!p || !rule)
		return 0;
	key.slot = p->live.slot;
	key.rule = rule;
	n = bpf_map_lookup_elem(&by_rule_stat, &key);
	if (!n && bpf_map_update_elem(&by_rule_stat, &key, &first, BPF_NOEXIST) == 0)
		return 0;
	if (!n) /* another CPU was quicker */
		n = bpf_map_lookup_elem(&by_rule_stat, &key);
	if (n) {
		n->packets++;
		n->bytes += bytes;
	}
	return 0;
}

/* The live policy's answer to a flow that `dir` opens; fills p->rule, p->rule_flags and p->audit. */
static __always_inline int judge(struct pkt *p, __u8 dir, __u32 selector)
{
	struct by_verdict *v = 0;
	int ret = opener_check(p, dir);

	if (ret < 0)
		return ret; /* 10 */
	ret = verdict_of(p->live.slot, dir, class_of(p), selector, &v);
	if (!v)
		return ret;
	p->rule = v->rule;
	p->rule_flags = v->flags;
	if (ret == 0)
		p->audit = v->audit;
	return ret;
}

/* The packet that asks for a flow, or for itself alone where there are no flows. */
static __always_inline int judge_first(struct pkt *p)
{
	int ret = judge(p, hook_dir(p), selector_of(p, hook_dir(p), p->icmp_type));

	if (ret == 0 && p->rule_flags & (BY_RULE_RATE_FLOWS | BY_RULE_RATE_PACKETS))
		return rate_take(p);
	return ret;
}

/* A tracked flow under a policy that has not seen it. Only echo requests open ICMP flows. */
static __always_inline int judge_again(struct pkt *p, struct by_ct *ct, __u32 bytes)
{
	__u8 dir = ct->dir, request = p->key.l4_proto == NEXT_ICMP ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST;
	int ret;

	ct_touch(p, ct);
	ret = judge(p, dir, selector_of(p, dir, request));
	if (ret < 0) {
		ct_delete(p);
		return ret;
	}
	ct_restamp(p, ct);
	rule_count(p, p->audit, bytes);
	return rate_follow(p, p->rule_flags, dir); /* 7 */
}

static __always_inline int judge_new(struct hook_ctx *ctx, struct pkt *p, __u32 bytes)
{
	int ret;

	if (p->key.l4_proto == NEXT_TCP && !p->is_syn) {
		if (!is_proof(ctx, p))
			return -BY_DROP_NO_FLOW; /* 9 */
		p->track = TRACK_OPEN;
	}
	ret = judge_first(p);
	if (ret == 0 && p->track == TRACK_OPEN)
		ret = may_open(ctx, p);
	if (ret < 0 && ret != -BY_DROP_POLICY_DENY) {
		p->audit = 0; /* it is dropped all the same */
		return ret;
	}
	rule_count(p, p->rule, bytes);
	if (p->audit != p->rule) /* an allow rule in audit mode is both */
		rule_count(p, p->audit, bytes);
	if (ret < 0)
		return ret;
	p->is_told = p->track == TRACK_OPEN ? !p->audit || p->rule_flags & BY_RULE_LOG : p->rule_flags & BY_RULE_LOG;
	if (p->track == TRACK_OPEN)
		ct_open(p);
	return 0;
}

/* Identified, and no later fragment. */
static __always_inline int decide_flow(struct hook_ctx *ctx, struct pkt *p, struct by_ct *ct)
{
	__u32 bytes = hook_len(ctx, p) - hook_l3(p);
	int ret = 0;

	if (p->track == TRACK_ERROR && is_related(ctx, p, &ret))
		return ret; /* 8 */
	ct = ct_find(p, ct);
	if (!ct)
		return judge_new(ctx, p, bytes);
	if (ct->gen != p->live.gen)
		return judge_again(p, ct, bytes);
	p->rule = ct->rule;
	ct_touch(p, ct);
	return rate_follow(p, ct->flags, ct->dir); /* 6 */
}

static __always_inline int decide(struct hook_ctx *ctx, struct pkt *p)
{
	const __u8 dir = hook_dir(p);
	int ret, by_itself;
	struct by_ct *ct = 0;

	ret = gen_read(p);
	if (ret < 0)
		return ret; /* 1 */
	if (!parse_plain(ctx, p)) {
		ret = parse(ctx, p);
		p->dir = dir; /* as before: but now the compiler knows, too */
		if (ret < 0)
			return ret; /* 2 */
	}
	if (p->track == TRACK_FOLLOW || p->track == TRACK_OPEN)
		ct = ct_lookup(p);
	by_itself = identify(ctx, p, ct && ct->gen == p->live.gen);
	if (by_itself < 0 || by_itself == PASS_ON)
		return by_itself; /* 3, 4 */
	p->now_ns = clock_now();
	if (p->frag == FRAG_NO)
		return by_itself ? 0 : decide_flow(ctx, p, ct);
	ret = frag_check(p);
	if (ret < 0 || p->frag == FRAG_LATER)
		return ret; /* 5 */
	ret = by_itself ? 0 : decide_flow(ctx, p, ct);
	return ret < 0 ? ret : frag_open(p);
}
