/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses -> identities. WireGuard lets only a peer's own addresses in, so the address names the attested node. */
#pragma once

#include "maps.h"
#include "ctx.h"

static __always_inline int identify(struct pkt *p)
{
	struct by_addr_val *v = bpf_map_lookup_elem(&by_addr, &p->key.peer);
	__u32 slot = p->live.slot;

	/* A packet that comes from, or goes to, this node's own address over the mesh has no peer behind it. */
	if (!v || v->identity == BY_IDENT_NONE || v->identity == BY_IDENT_LOCAL)
		return -BY_DROP_NO_IDENTITY; /* 3 */
	p->peer = v->identity;
	p->peer_class = slot ? v->peer_class[1] : v->peer_class[0];
	v = bpf_map_lookup_elem(&by_addr, &p->key.local);
	if (!v || v->identity != BY_IDENT_LOCAL)
		return -BY_DROP_NOT_LOCAL; /* 4 */
	return 0;
}
