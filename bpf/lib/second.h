/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A second WireGuard device, while a key is rotated: carriage for packets that the overlay's device judges, and nothing
 * else. A peer's entry in by_via says whether what goes to it leaves by that one; what comes by it is handed to the
 * overlay's device as if it had come there. Applications, routes and addresses know nothing of it.
 */
#pragma once

#include "hook.h"
#include "maps_identity.h"

#define BPF_F_INGRESS (1ULL << 0)
#define JUDGED        0xba11 /* in skb->tc_index: an application that binds to the second device can not set it */

/* `ret` of report(): a packet that passed goes on by the device of its peer. */
static __always_inline int leave(struct __sk_buff *skb, const struct pkt *p, int ret)
{
	__u32 *via;

	if (ret != HOOK_PASS || conf.l3_offset || conf.is_workload)
		return ret;
	via = bpf_map_lookup_elem(&by_via, &p->peer);
	if (!via || !(*via & BY_VIA_SECOND))
		return ret;
	skb->tc_index = JUDGED;
	return bpf_redirect(*via & ~BY_VIA_SECOND, 0);
}

static __always_inline int enter(void)
{
	__u32 local = BY_IDENT_LOCAL, *main = bpf_map_lookup_elem(&by_via, &local);

	return main && *main ? bpf_redirect(*main, BPF_F_INGRESS) : HOOK_DROP;
}
