/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What would become of the packet that opens a flow? The same rungs as for a real one, in the object that decides, and
 * without a trace: no counter, no flow, no event, no token. The answer is in skb->cb, for BPF_PROG_TEST_RUN alone:
 *   0  reason, slot << 8, BY_RULE_* << 16     1  generation     2  rule     3  audit rule     4  identity of the peer
 */
#pragma once

#include "policy.h"
#include "report.h"

static __always_inline int ask_decide(struct __sk_buff *skb, struct pkt *p)
{
	int ret = gen_read(p);

	if (ret < 0)
		return ret; /* 1 */
	ret = parse(skb, p);
	if (ret < 0)
		return ret; /* 2 */
	ret = identify(skb, p, 0);
	if (ret)
		return ret; /* 3, 4 */
	ret = judge_first(p);
	return ret == 0 && p->track == TRACK_OPEN ? may_open(skb, p) : ret; /* 10, 11 */
}

/*
 * `frame`: what the entry found in front of the packet, 0: nothing that decides. Nobody attaches these programs; one
 * that is attached all the same drops.
 */
static __always_inline int ask(struct __sk_buff *skb, struct pkt *p, int frame)
{
	int ret = frame ? frame : ask_decide(skb, p);

	skb->cb[0] = (ret < 0 ? -ret : BY_DROP_NONE) | p->live.slot << 8 | (__u32)p->rule_flags << 16;
	skb->cb[1] = p->live.gen;
	skb->cb[2] = p->rule;
	skb->cb[3] = p->audit;
	skb->cb[4] = p->peer;
	return HOOK_DROP;
}
