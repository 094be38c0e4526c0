/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the host's datapath (bpf/xdp.bpf.c, bpf/host.bpf.c) has beside the maps of maps.h, in a directory of its own.
 *
 *   map           type           key                     value               who writes
 *   by_net        LPM trie       by_net_key              by_net              user
 *   by_source     LRU hash       by_source_key           by_rate             BPF
 *   by_total      array          enum by_total           by_rate             BPF
 */
#pragma once

#include "maps.h"

#define BY_PROG_XDP      "by_xdp_in"
#define BY_PROG_HOST_IN  "by_host_in"
#define BY_PROG_HOST_OUT "by_host_out"

#define BY_PROG_HOST_ASK_IN  "by_host_ask_in"
#define BY_PROG_HOST_ASK_OUT "by_host_ask_out"

#define BY_MAX_NETS    131072 /* prefixes, both slots */
#define BY_MAX_SOURCES 65536  /* sources under a limit; the least recently used one makes room */

/* A prefix of a policy: `prefix_bits` counts the slot's 32 bits too. */
struct by_net_key {
	__u32 prefix_bits;
	__u32 slot;
	struct by_addr addr;
};

#define BY_NET_BITS 160 /* of a whole key */

struct by_net {
	__u32 peer_class;
};

/* What a source is limited in. */
#define BY_SOURCE_FLOWS      0u
#define BY_SOURCE_HANDSHAKES 1u
#define BY_SOURCE_IP4        (1u << 31)

struct by_source_key {
	__u32 net[3]; /* IPv6: the first 64 bits and 0; IPv4: 0, 0 and the address */
	__u32 kind;   /* BY_SOURCE_* */
};

/* Limits of all sources together. */
enum by_total {
	BY_TOTAL_HANDSHAKES = 0,
	BY_TOTAL_SYNS = 1,      /* SYNs to open ports that reach the stack */
	BY_TOTAL_COOKIE_NS = 2, /* no rate: when the last cookie went out */
	BY_TOTAL_COUNT,
};

/* GCRA: one token in `each_ns`, and as many at once as fit into `depth_ns`. each_ns 0: no limit. */
struct by_host_limit {
	__u64 each_ns;
	__u64 depth_ns;
};

/* Load-time constants. */
struct by_host_conf {
	__u16 wg_port_be;   /* 0: none */
	__u16 wg_second_be; /* of the second device, while a key is rotated */
	__u8 has_cookies;   /* the kernel has the helpers, the hook can send, net.ipv4.tcp_syncookies is 2 */
	__u8 pad[3];
	struct by_host_limit flows;      /* new ones, per source */
	struct by_host_limit handshakes; /* initiations, per source */
	struct by_host_limit handshakes_total;
	struct by_host_limit syns; /* to open ports, all together: those above are answered with cookies */
};

BY_SIZE_IS(struct by_net_key, 24);
BY_SIZE_IS(struct by_net, 4);
BY_SIZE_IS(struct by_source_key, 16);
BY_SIZE_IS(struct by_host_conf, 72);
