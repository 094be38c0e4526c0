/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which policy is live, and what it says of a class of peers and a selector. */
#pragma once

#include "maps_policy.h"

static __always_inline int gen_live(struct by_gen *live)
{
	__u32 zero = 0;
	struct by_gen *gen = bpf_map_lookup_elem(&by_gen, &zero);
	__u64 word;

	if (!gen)
		return -BY_DROP_INTERNAL;
	word = *(volatile __u64 *)gen; /* one load: slot and gen belong together */
	__builtin_memcpy(live, &word, sizeof(*live));
	if (live->gen == 0)
		return -BY_DROP_NO_POLICY;
	return live->slot < BY_SLOTS ? 0 : -BY_DROP_INTERNAL;
}

/* 0 or -BY_DROP_x; *v is left alone where there is no rule. */
static __always_inline int verdict_of(__u32 slot, __u8 dir, __u32 peer_class, __u32 selector, struct by_verdict **v)
{
	struct by_verdict_key key = { .slot = slot, .dir = dir, .peer_class = peer_class };
	__u32 at = slot * BY_PORT_SPACE + selector;
	struct by_port *port = bpf_map_lookup_elem(&by_port, &at);
	struct by_verdict *found;

	if (!port)
		return -BY_DROP_INTERNAL;
	key.port_class = dir == BY_DIR_IN ? port->port_class[BY_DIR_IN] : port->port_class[BY_DIR_OUT];
	if (!key.port_class || !key.peer_class)
		return -BY_DROP_POLICY_DENY; /* 11 */
	found = bpf_map_lookup_elem(&by_verdict, &key);
	if (!found)
		return -BY_DROP_POLICY_DENY; /* 11 */
	*v = found;
	return found->action == BY_ALLOW ? 0 : -BY_DROP_POLICY_DENY; /* 10 */
}
