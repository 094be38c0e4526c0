/* SPDX-License-Identifier: Apache-2.0 */
/* Packets for tests, from a description. What is not named is sane: lengths fit, the TTL is 64. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { P_NOTHING = -1, P_ICMP = 1, P_TCP = 6, P_UDP = 17, P_GRE = 47, P_ICMPV6 = 58 };
enum { F_FIN = 1, F_SYN = 2, F_RST = 4, F_PSH = 8, F_ACK = 16 };

#define EXT_FRAGMENT 44

struct frame {
	uint8_t data[2048];
	size_t len;
};

struct pkt {
	const char *src, *dst; /* the family is theirs */
	uint8_t proto;
	uint16_t sport, dport;
	uint8_t flags;      /* TCP */
	uint8_t type, code; /* ICMP */
	uint16_t id;
	uint16_t payload;           /* bytes, zero */
	const struct frame *quoted; /* ICMP: what it says it is about, behind the payload */

	/* oddities */
	uint8_t options;    /* IPv4: bytes, a multiple of 4 */
	uint32_t ip_id;     /* identification, IPv4 and fragment header */
	bool is_later;      /* a later fragment: the payload stands alone */
	uint16_t frag;      /* IPv4: flags and offset, host order; IPv6 fragment header: the same word */
	uint8_t ext[10];    /* IPv6 extension headers in order */
	uint8_t n_ext;      /* how many of ext */
	uint8_t ext_len8;   /* length byte of each */
	uint8_t segments;   /* left, in a routing header */
	uint8_t version;    /* in place of the right one */
	uint8_t ihl;        /* likewise, in words */
	uint8_t tcp_words;  /* TCP header length, likewise */
	uint16_t udp_len;   /* likewise */
	uint16_t ether;     /* frame it, with this type; 0: no link header */
	int16_t len_change; /* what the IP header says minus what is there */
};

/* Parts of a struct pkt's initializer; oddities follow: (struct pkt){ TCP(a, b, 1, 2, F_SYN), .frag = 1 } */
#define IP(from, to, number) .src = (from), .dst = (to), .proto = (number)
#define TCP(from, to, from_port, to_port, fl)                                                                          \
	IP(from, to, P_TCP), .sport = (from_port), .dport = (to_port), .flags = (fl)
#define UDP(from, to, from_port, to_port) IP(from, to, P_UDP), .sport = (from_port), .dport = (to_port)
#define ICMP(from, to, kind, ident)       IP(from, to, P_ICMP), .type = (kind), .id = (ident)
#define ICMPV6(from, to, kind, ident)     IP(from, to, P_ICMPV6), .type = (kind), .id = (ident)

void frame_build(struct frame *f, const struct pkt *p);
