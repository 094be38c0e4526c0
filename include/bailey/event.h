/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The ring buffer's record. A reader skips records whose version or length it does not know. */
#pragma once

#include "abi.h"
#include "types.h"

#define BY_EVENT_VERSION 2

enum by_event_type {
	BY_EVENT_DROP = 1,  /* a packet was dropped */
	BY_EVENT_FLOW = 2,  /* the first packet of a flow was allowed */
	BY_EVENT_AUDIT = 3, /* likewise, and the audit rule `rule` says that it would have been dropped */
};

/* Drop reasons, from the one table. */
enum by_drop {
#define DROP(name, code, text) BY_DROP_##name = code,
#include "../tbl/drop.h"
#undef DROP
	BY_DROP_COUNT
};
_Static_assert(BY_DROP_COUNT <= BY_MAX_REASONS, "by_stat has no room for the reason");

struct by_event {
	__u8 version;
	__u8 type;   /* enum by_event_type */
	__u8 reason; /* enum by_drop */
	__u8 dir;    /* enum by_dir */
	__u32 gen;
	__u64 ts_ns; /* CLOCK_BOOTTIME */
	struct by_addr src;
	struct by_addr dst;
	__u16 src_port_be; /* 0 for ICMP */
	__u16 dst_port_be;
	__u8 l4_proto;
	__u8 icmp_type;
	__u8 flags; /* BY_RULE_* of the rule */
	__u8 pad;
	__u32 peer;       /* identity, 0 unknown */
	__u32 rule;       /* that decided; 0: the default */
	__u32 ip_bytes;   /* packet length from the IP header on */
	__u32 suppressed; /* events of this reason not sent since the last one, on this CPU */
};

_Static_assert(sizeof(struct by_event) == 72, "struct by_event is part of the ABI");

/* A dropped packet, in by_capture while somebody captures. */
struct by_capture {
	__u8 version;   /* BY_EVENT_VERSION */
	__u8 reason;    /* enum by_drop */
	__u8 dir;       /* enum by_dir */
	__u8 l3_offset; /* of the IP header in `data`: 0 or 14 */
	__u32 gen;
	__u64 ts_ns;        /* CLOCK_BOOTTIME */
	__u32 peer;         /* identity, 0 unknown */
	__u32 rule;         /* that decided; 0: the default */
	__u32 packet_bytes; /* the packet's own length */
	__u32 n;            /* how many of `data` count */
	__u8 data[BY_SNAPLEN_MAX];
};

_Static_assert(sizeof(struct by_capture) == 32 + BY_SNAPLEN_MAX, "struct by_capture is part of the ABI");
