/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Key and value of every pinned map. Padding is explicit and zero; sizes are asserted.
 *
 *   map           type           key                     value               who writes
 *   by_gen        array[1]       0                       by_gen              user
 *   by_addr       hash           by_addr                 by_addr_val         user
 *   by_ident      hash           u32 identity            by_ident            user
 *   by_via        array          identity                u32, below          user
 *   by_port       array          slot*SPACE + selector   by_port             user
 *   by_verdict    hash           by_verdict_key          by_verdict          user
 *   by_rule       hash           by_rule_key             by_rule             user
 *   by_rule_stat  percpu hash    by_rule_key             by_counter          BPF, user deletes
 *   by_ct4        LRU hash       by_ct4_key              by_ct               BPF
 *   by_ct6        LRU hash       by_ct_key               by_ct               BPF
 *   by_frag       LRU hash       by_frag_key             by_frag             BPF
 *   by_rate       hash           by_rate_key             by_rate             BPF, user deletes
 *   by_stat       percpu array   dir*MAX_REASONS+reason  by_counter          BPF
 *   by_pair       percpu array   identity                by_pair             BPF, user clears
 *   by_limit      percpu array   reason or limit_extra   by_limit            BPF
 *   by_events     ring buffer    -                       by_event (event.h)  BPF
 *   by_switch     array[1]       0                       by_switch           user
 *   by_capture    ring buffer    -                       by_capture (event.h) BPF
 */
#pragma once

#include "abi.h"
#include "types.h"

/*
 * The live policy. Eight bytes in one aligned word, stored at once through a mapping of the map: seen whole or not at
 * all. (A map update by system call is a memcpy, which promises no such thing.) `gen` also moves when an identity
 * changes class or leaves, so that tracked flows are judged again.
 */
struct by_gen {
	__u32 slot; /* which of BY_SLOTS decides */
	__u32 gen;  /* 0: no policy was ever committed, everything is dropped */
};

/* identity 0 does not exist; BY_IDENT_LOCAL is this node. */
#define BY_IDENT_NONE  0u
#define BY_IDENT_LOCAL 1u

/*
 * by_via of an identity: on a machine's device, the interface on which this host receives what it sends; on the
 * overlay's, with this bit, the second device (second.h) by which what goes to it leaves.
 */
#define BY_VIA_SECOND (1u << 31)

/* by_via of an identity on the overlay: WireGuard has no such peer now, and is told of it when a packet is for it. */
#define BY_VIA_ASLEEP (1u << 30)

struct by_addr_val {
	__u32 identity;
	/* Peer class per policy slot, as the compiled policy numbers them; 0 is never allowed anything. */
	__u32 peer_class[BY_SLOTS];
};

#define BY_IDENT_SIMULATED (1u << 0) /* evidence is simulated: proves nothing about hardware */

#define BY_IDENT_HUB (1u << 1) /* to a spoke: it forwards, and opens no flow */

/* For people and events; the programs read `flags` where a spoke's peer opens a flow. */
struct by_ident {
	__u8 app_id[BY_APP_ID_LEN];
	__u8 instance_id[BY_INSTANCE_ID_LEN];
	__u32 flags;
	char node[BY_NODE_NAME_LEN];
};

/* Port class of a selector in each direction; 0: no rule names it. */
struct by_port {
	__u16 port_class[BY_DIR_COUNT];
};

struct by_verdict_key {
	__u8 slot;
	__u8 dir; /* enum by_dir of the flow's first packet */
	__u16 port_class;
	__u32 peer_class;
};

/* What a rule asks for beside its action. */
#define BY_RULE_LOG          (1u << 0) /* tell user space of each flow that it decides */
#define BY_RULE_RATE_FLOWS   (1u << 1) /* `rate` counts new flows */
#define BY_RULE_RATE_PACKETS (1u << 2) /* `rate` counts packets, of tracked flows too */
#define BY_RULE_RATE_PEER    (1u << 3) /* each peer has the rate for itself */
#define BY_RULE_AUDIT        (1u << 4) /* drops nothing, says what it would drop */
#define BY_RULE_HTTP         (1u << 5) /* is about HTTP requests: a mesh decides them, the kernel its port */
#define BY_RULE_FLAGS        0x3fu

struct by_verdict {
	__u32 rule;  /* key of by_rule that decides; 0: none does, and `audit` is why there is an entry */
	__u32 audit; /* key of by_rule: an audit rule because of which the packet would be dropped; 0: none */
	__u8 action; /* enum by_action */
	__u8 flags;  /* BY_RULE_* of `rule`: the packet path reads by_rule only where it must */
	__u8 pad[2];
};

struct by_rule_key {
	__u32 slot;
	__u32 rule; /* from 1, in file order */
};

struct by_rule {
	char name[48];
	char where[80]; /* "three-tier.yaml:9" */
	__u32 flags;    /* BY_RULE_* */
	__u32 rate;     /* a second; 0: no limit */
	__u32 burst;    /* at once, at least 1 where there is a rate */
	__u32 pad;
};

struct by_counter {
	__u64 packets;
	__u64 bytes; /* from the IP header on */
};

/* A flow as this node sees it, the same key for both directions. */
struct by_ct_key {
	struct by_addr local;
	struct by_addr peer;
	__u16 local_port_be; /* ICMP echo: the identifier on the asker's side, 0 on the other */
	__u16 peer_port_be;  /* other protocols: both 0 */
	__u8 l4_proto;
	__u8 pad[3];
};

/* The same of IPv4, where most of those bytes say nothing: a hash over 16 costs half of one over 40. */
struct by_ct4_key {
	__u32 local_be;
	__u32 peer_be;
	__u16 local_port_be; /* from here on as above */
	__u16 peer_port_be;
	__u8 l4_proto;
	__u8 pad[3];
};

enum by_ct_state {
	BY_CT_NEW = 0,         /* one direction seen */
	BY_CT_ESTABLISHED = 1, /* answered */
	BY_CT_CLOSING = 2,     /* TCP FIN or RST seen */
};

struct by_ct {
	__u64 last_ns;   /* CLOCK_MONOTONIC, coarse, and written at most once a second */
	__u32 gen;       /* of the policy that last judged the flow */
	__u32 rule;      /* that allowed it */
	__u64 opened_ns; /* CLOCK_MONOTONIC, coarse */
	__u8 dir;        /* of the first packet */
	__u8 state;      /* enum by_ct_state */
	__u8 flags;      /* BY_RULE_* of the rule */
	__u8 pad[5];
};

/* A fragmented packet under way. */
struct by_frag_key {
	struct by_addr src;
	struct by_addr dst;
	__u32 id;      /* identification */
	__u8 l4_proto; /* IPv6: 0, the identification is unique without it */
	__u8 pad[3];
};

struct by_frag {
	__u64 first_ns; /* CLOCK_MONOTONIC, coarse: when the first one passed */
	__u32 gen;      /* of the policy that judged it */
	__u32 rule;     /* that allowed it */
	__u32 next;     /* offset in bytes that the next one must have; ~0: none passes any more */
	__u8 flags;     /* BY_RULE_* of the rule */
	__u8 pad[3];
};

/* Who shares a rate. */
struct by_rate_key {
	__u32 slot;
	__u32 rule;
	__u32 peer; /* identity, 0: all peers of a rule without BY_RULE_RATE_PEER */
};

/* GCRA: when the bucket would be full again. One word, so that compare-and-exchange takes a token. */
struct by_rate {
	__u64 full_ns; /* CLOCK_MONOTONIC */
};

enum by_outcome {
	BY_PASSED = 0,
	BY_DROPPED = 1,
	BY_OUTCOME_COUNT,
};

/* What this node and one peer sent each other. */
struct by_pair {
	struct by_counter n[BY_DIR_COUNT][BY_OUTCOME_COUNT];
};

/* What user space turns on and off while the programs run. */
struct by_switch {
	__u32 snaplen; /* bytes of each dropped packet that go to by_capture; 0: nobody captures */
};

/* Budgets of by_limit behind those of the drop reasons (reason NONE: flows). */
enum by_limit_extra {
	BY_LIMIT_LOG = BY_MAX_REASONS, /* whatever a rule with BY_RULE_LOG decided */
	BY_LIMIT_AUDIT,                /* BY_EVENT_AUDIT */
	BY_LIMIT_CAPTURE,              /* records of by_capture */
	BY_LIMIT_COUNT,
};
_Static_assert(BY_LIMIT_COUNT <= BY_MAX_LIMITS, "by_limit has no room for it");

/* Keeps events of one kind, on one CPU, within by_tc_conf's limit. */
struct by_limit {
	__u64 window_ns; /* CLOCK_MONOTONIC; start of the running second */
	__u64 lost;      /* events never sent: held back, or no room in the ring */
	__u32 sent;      /* in the running second */
	__u32 suppressed;
};

#define BY_SIZE_IS(type, n) _Static_assert(sizeof(type) == (n), #type " is part of the ABI")
BY_SIZE_IS(struct by_gen, 8);
BY_SIZE_IS(struct by_addr_val, 12);
BY_SIZE_IS(struct by_ident, 76);
BY_SIZE_IS(struct by_port, 4);
BY_SIZE_IS(struct by_verdict_key, 8);
BY_SIZE_IS(struct by_verdict, 12);
BY_SIZE_IS(struct by_rule_key, 8);
BY_SIZE_IS(struct by_rule, 144);
BY_SIZE_IS(struct by_counter, 16);
BY_SIZE_IS(struct by_ct_key, 40);
BY_SIZE_IS(struct by_ct4_key, 16);
BY_SIZE_IS(struct by_ct, 32);
BY_SIZE_IS(struct by_frag_key, 40);
BY_SIZE_IS(struct by_frag, 24);
BY_SIZE_IS(struct by_rate_key, 12);
BY_SIZE_IS(struct by_rate, 8);
BY_SIZE_IS(struct by_pair, 64);
BY_SIZE_IS(struct by_switch, 4);
BY_SIZE_IS(struct by_limit, 24);
