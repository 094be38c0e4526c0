// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Attached to the overlay device, where packets are plain: ingress is what a peer sent, egress is what this node sends
 * to one. Or to the device that leads to one machine on this host, which sends what ingress sees: there by_tc_out is on
 * ingress. Both only pass what policy.h's ladder lets, and link.h in front of it where there are frames.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/identity.h"
#include "lib/policy.h"

#include "lib/ask.h"
#include "lib/link.h"
#include "lib/pair.h"
#include "lib/report.h"
#include "lib/second.h"

static __always_inline int handle(struct __sk_buff *skb, struct pkt *p)
{
	const __u8 dir = p->dir;
	int ret = frame_check(skb, p), asleep, action;

	p->dir = dir; /* as before: but now the compiler knows, too */
	ret = ret == LINK_IP ? decide(skb, p) : ret < 0 ? ret : 0;
	asleep = ret < 0 ? 0 : awake_check(p);
	ret = asleep < 0 ? asleep : ret;
	pair_count(skb, p, ret);
	action = report(skb, p, ret);
	/* past the stack: it needs no route, no forwarding turned on, and no error about it is ever sent */
	return ret == PASS_ON && p->dir == BY_DIR_IN ? bpf_redirect(skb->ifindex, 0) : action;
}

SEC("tc")
int by_tc_in(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_IN, .l3 = conf.l3_offset };

	return handle(skb, &p);
}

SEC("tc")
int by_tc_out(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_OUT, .l3 = conf.l3_offset };

	return leave(skb, &p, handle(skb, &p));
}

/* On the second device of a key rotation. */
SEC("tc")
int by_second_in(struct __sk_buff *skb)
{
	(void)skb;
	return enter();
}

SEC("tc")
int by_second_out(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_OUT };

	return skb->tc_index == JUDGED ? HOOK_PASS : report(skb, &p, -BY_DROP_UNJUDGED);
}

/* Not attached: user space runs them on a packet that nobody sent (ask.h). */
SEC("tc")
int by_ask_in(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_IN, .l3 = conf.l3_offset, .is_asked = 1 };

	return ask(skb, &p, frame_check(skb, &p));
}

SEC("tc")
int by_ask_out(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_OUT, .l3 = conf.l3_offset, .is_asked = 1 };

	return ask(skb, &p, frame_check(skb, &p));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
