/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is known of one packet. Lives on the stack of the entry, zeroed; every stage fills its part.
 *
 * Convention of every helper: >= 0, or -BY_DROP_x for a packet that must not pass.
 */
#pragma once

#include "bailey/conf.h"
#include "bailey/event.h"
#include "bailey/maps.h"

const volatile struct by_tc_conf conf = { .events_per_sec = 100, .captures_per_sec = 1000, .has_pairs = 1 };

/*
 * CLOCK_MONOTONIC_COARSE, which moves once a tick: asked for once a tick, too. A jiffy is read without a call. Another
 * CPU may see the new tick with the old time: a tick late, like the clock itself.
 */
static __u64 clock_tick, clock_ns;

static __always_inline __u64 clock_now(void)
{
	__u64 tick = bpf_jiffies64();

	if (*(volatile __u64 *)&clock_tick != tick) {
		*(volatile __u64 *)&clock_ns = bpf_ktime_get_coarse_ns();
		*(volatile __u64 *)&clock_tick = tick;
	}
	return *(volatile __u64 *)&clock_ns;
}

/* decide(): passes, but is not this node's: it goes out again by the device that it came by. */
#define PASS_ON 2

enum pkt_track {
	TRACK_NO = 0,     /* judged by itself: ICMP other than echo and errors */
	TRACK_FOLLOW = 1, /* may belong to a flow, never opens one */
	TRACK_OPEN = 2,   /* may belong to a flow, or open one */
	TRACK_ERROR = 3,  /* an ICMP error: may be about a flow; p->off is left at its header */
};

enum pkt_frag {
	FRAG_NO = 0,    /* whole; also an IPv6 packet that is its own only fragment (RFC 6946) */
	FRAG_FIRST = 1, /* has the transport header */
	FRAG_LATER = 2, /* has not */
};

struct pkt {
	/* parse.h */
	struct by_ct_key key __attribute__((aligned(8)));
	__u32 off;     /* of the next header to read, from the first byte of the packet */
	__u32 end;     /* of the IP packet, likewise */
	__u8 track;    /* enum pkt_track */
	__u8 dir;      /* enum by_dir, set by the entry */
	__u8 is_close; /* TCP FIN or RST */
	__u8 is_syn;   /* TCP SYN without ACK */
	__u8 icmp_type;
	__u8 is_told; /* policy.h: it opened a flow, or its rule wants it told */
	__u8 version; /* of IP */
	__u8 frag;    /* enum pkt_frag */
	__u8 is_last_frag;
	__u8 has_frag_hdr; /* IPv6 */
	__u8 hops;         /* IPv6: hop limit */
	__u8 l3;           /* frame.h: where the packet starts in its frame */
	__u32 frag_id;     /* the rest only where frag says so */
	__u32 frag_start;  /* of its data, as `off` */
	__u32 frag_off;    /* in the datagram, bytes */
	__u32 frag_end;    /* likewise, behind the last one */

	/* policy.h and identity.h */
	__u64 now_ns; /* CLOCK_MONOTONIC_COARSE, 0: not read yet. Milliseconds are fine enough, at a tenth of the price.
		       */
	struct by_gen live;
	__u32 peer;       /* identity */
	__u32 peer_class; /* in the live slot */
	__u32 rule;       /* that decided, 0: the default */
	__u32 audit;      /* rule that would have dropped it, 0: none */
	__u8 rule_flags;  /* BY_RULE_* of `rule` */
	__u8 is_asked;    /* ask.h: leave no trace */
	__u8 is_answered; /* cookie.h: the frame is now the answer to itself */
	__u32 len;        /* hook.h, XDP: of the frame */
};
