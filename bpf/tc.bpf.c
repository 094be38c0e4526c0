// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Attached to the overlay device, where packets are plain: ingress is what a peer sent, egress is what this node sends
 * to one. Both only pass what policy.h's ladder lets.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/identity.h"
#include "lib/policy.h"
#include "lib/report.h"

SEC("tc")
int by_tc_in(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_IN };

	return report(skb, &p, decide(skb, &p));
}

SEC("tc")
int by_tc_out(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_OUT };

	return report(skb, &p, decide(skb, &p));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
