/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The contract between the BPF programs and user space: version, names, limits.
 *
 * Pins live in <bpffs>/bailey/<instance>/v<BY_ABI_VERSION>/: a layout change raises the version,
 * so a new daemon never reads an old daemon's bytes as its own.
 */
#pragma once

#define BY_ABI_VERSION 3

#define BY_SLOTS 2 /* policy generations held at once: the live one and the staged or previous one */

/* Limits. A policy or a network that needs more is refused with a reason, never truncated. */
#define BY_MAX_ADDRS      262144  /* overlay addresses */
#define BY_MAX_IDENTITIES 131072  /* attested nodes */
#define BY_MAX_VERDICTS   1048576 /* (peer class, port class, direction) entries, both slots */
#define BY_MAX_RULES      262144  /* rules, both slots */
#define BY_MAX_FLOWS      262144  /* tracked flows of each IP version; the least recently used one makes room */
#define BY_MAX_FRAGS      16384   /* fragmented packets under way; likewise */
#define BY_MAX_RATES      65536   /* (rule, peer) pairs under a rate; what one more sends is over its rate */
#define BY_MAX_REASONS    32      /* drop reasons: by_stat has room for this many, so a new one keeps the layout */
#define BY_MAX_LIMITS     40      /* of by_limit: one for each reason, then those of enum by_limit_extra */
#define BY_RING_BYTES     (1 << 20)
#define BY_CAPTURE_BYTES  (1 << 18)
#define BY_SNAPLEN_MAX    256 /* bytes of a dropped packet that a capture keeps */

/* Names: at most 15 characters, and no dot (bpffs refuses dots). */
#define BY_PROG_IN      "by_tc_in"
#define BY_PROG_OUT     "by_tc_out"
#define BY_PROG_ASK_IN  "by_ask_in"
#define BY_PROG_ASK_OUT "by_ask_out"

/*
 * The port space: every protocol selector that a rule can name has one index. TCP and UDP are indexed by the
 * local service's port (the destination port of the flow's first packet), ICMP by type, the rest by number.
 */
#define BY_PORT_TCP    0u
#define BY_PORT_UDP    65536u
#define BY_PORT_ICMP   131072u
#define BY_PORT_ICMPV6 131328u
#define BY_PORT_OTHER  131584u /* by IP protocol number */
#define BY_PORT_SPACE  131840u
