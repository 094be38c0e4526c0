/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What sock.bpf.c takes from where an application dials to where it shall go. Pinned apart from the datapaths, under
 * <instance>/v<ABI>/divert/.
 *
 *   map             type           key                  value               who writes
 *   by_divert       LPM trie       by_divert_key        by_divert           user
 *   by_sock         sk storage     the application's    by_sock             BPF
 *   by_origin       LRU hash       by_origin_key        by_origin           BPF
 *   by_divert_stat  percpu array   enum by_divert_stat  u64                 BPF
 */
#pragma once

#include "types.h"

#define BY_MAX_DIVERTS 4096  /* prefixes times ports */
#define BY_MAX_ORIGINS 65536 /* diverted connections at once; the proxy refuses one whose origin made room */

/* Packets that a program gave to a socket of this machine: a rule and a route keep them here. */
#define BY_DIVERT_MARK 0xba110001u

/* An exact port wins over `port_be` 0, which is any; then the longest prefix. */
struct by_divert_key {
	__u32 prefix_len; /* BY_DIVERT_BITS + bits of the address */
	__u8 l4_proto;
	__u8 pad;
	__u16 port_be;
	struct by_addr addr;
};
#define BY_DIVERT_BITS 32u

struct by_divert {
	struct by_addr addr;
	__u16 port_be; /* 0: the one that was dialled */
	__u8 is_peer;  /* straight to a node: nobody asks for the origin */
	__u8 pad;
};

/* A connection as both ends on this machine see it. */
struct by_origin_key {
	__u64 netns; /* cookie */
	struct by_addr client, proxy;
	__u16 client_port_be, proxy_port_be;
	__u32 pad;
};

struct by_origin {
	struct by_addr addr;
	__u16 port_be;
	__u8 pad[6];
	__u64 opened_ns; /* CLOCK_MONOTONIC, coarse */
};

/* Where a socket of an application was diverted last. */
struct by_sock {
	struct by_addr origin, to;
	__u16 origin_port_be, to_port_be;
	__u8 is_peer;
	__u8 pad[3];
	struct by_origin_key key; /* once it has a port of its own */
};

enum by_divert_stat {
	BY_DIVERT_TCP,     /* connections */
	BY_DIVERT_UDP,     /* sockets connected, and messages of those that are not */
	BY_DIVERT_ASKED,   /* origins that a proxy was told */
	BY_DIVERT_UNKNOWN, /* and those that nobody knows: LRU, or a connection that was not diverted */
	BY_DIVERT_STATS,
};

_Static_assert(sizeof(struct by_divert_key) == 24, "by_divert_key is part of the ABI");
_Static_assert(sizeof(struct by_divert) == 20, "by_divert is part of the ABI");
_Static_assert(sizeof(struct by_origin_key) == 48, "by_origin_key is part of the ABI");
_Static_assert(sizeof(struct by_origin) == 32, "by_origin is part of the ABI");
_Static_assert(sizeof(struct by_sock) == 88, "by_sock is part of the ABI");
