/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How long a tracked flow may be idle, for the programs that end it and for user space that lists it. */
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
