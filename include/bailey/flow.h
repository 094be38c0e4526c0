/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the programs that track flows and user space that lists them both need: how long one may be idle, and its key in
 * the map of its IP version.
 */
#pragma once

#include "maps.h"

#define BY_FLOW_FOREVER_NS      0x7fffffffffffffffll
#define BY_FLOW_UDP_NEW_NS      (30 * 1000000000ll)
#define BY_FLOW_UDP_ANSWERED_NS (180 * 1000000000ll)
#define BY_FLOW_ICMP_NS         (30 * 1000000000ll)
#define BY_FLOW_TCP_NEW_NS      (120 * 1000000000ll)
#define BY_FLOW_TCP_CLOSING_NS  (60 * 1000000000ll)

/* Established TCP has no limit: the least recently used entry makes room. */
static inline __s64 by_flow_idle_max(__u8 l4_proto, __u8 state)
{
	switch (l4_proto) {
	case 6: /* TCP */
		if (state == BY_CT_ESTABLISHED)
			return BY_FLOW_FOREVER_NS;
		return state == BY_CT_CLOSING ? BY_FLOW_TCP_CLOSING_NS : BY_FLOW_TCP_NEW_NS;
	case 1:  /* ICMP */
	case 58: /* ICMPv6 */
		return BY_FLOW_ICMP_NS;
	default:
		return state == BY_CT_NEW ? BY_FLOW_UDP_NEW_NS : BY_FLOW_UDP_ANSWERED_NS;
	}
}

#define BY_CT_L4       __builtin_offsetof(struct by_ct_key, local_port_be) /* from there on the two keys are alike */
#define BY_CT4_L4      __builtin_offsetof(struct by_ct4_key, local_port_be)
#define BY_CT_L4_BYTES 8

static inline struct by_ct4_key by_ct4_key(const struct by_ct_key *key)
{
	struct by_ct4_key key4;

	__builtin_memcpy(&key4.local_be, &key->local.b[12], 4);
	__builtin_memcpy(&key4.peer_be, &key->peer.b[12], 4);
	__builtin_memcpy((char *)&key4 + BY_CT4_L4, (const char *)key + BY_CT_L4, BY_CT_L4_BYTES);
	return key4;
}

static inline struct by_ct_key by_ct_key_of4(const struct by_ct4_key *key4)
{
	struct by_ct_key key = { .local.b = { [10] = 0xff, [11] = 0xff }, .peer.b = { [10] = 0xff, [11] = 0xff } };

	__builtin_memcpy(&key.local.b[12], &key4->local_be, 4);
	__builtin_memcpy(&key.peer.b[12], &key4->peer_be, 4);
	__builtin_memcpy((char *)&key + BY_CT_L4, (const char *)key4 + BY_CT4_L4, BY_CT_L4_BYTES);
	return key;
}
