/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiled policy for one node: flat, position independent, host byte order (it never leaves the machine; it
 * goes from the process that compiles to the one that loads in a sealed memfd). Layout: struct pol_image, then the
 * arrays of ports, verdicts, rules, members, kinds and networks, each 8-byte aligned. pol_image_check() proves every
 * offset and index before anybody uses it.
 *
 * There are two sorts. An image for the overlay (pol_compile) finds the class of a peer by its identity: it has members
 * and kinds, and no networks. One for the underlay (pol_compile_host) finds it by address: it has networks alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bailey/maps.h"
#include "base/err.h"

#define POL_IMAGE_MAGIC 0x32494259u /* "YBI2" */

struct pol_image {
	uint32_t magic;
	uint32_t abi;  /* BY_ABI_VERSION */
	uint64_t size; /* of the whole image in bytes */
	uint32_t n_ports, n_verdicts, n_rules, n_members;
	uint32_t n_peer_classes; /* classes are 1..n_peer_classes */
	uint32_t n_port_classes; /* classes are 1..n_port_classes in each direction; 0: no rule names the selector */
	uint8_t digest[32];      /* SHA-256 of the policy's source text: names the policy in status and logs */
	uint32_t n_kinds;
	uint32_t other_class; /* of an attested peer whose kind is not among the kinds; 0: there is no such class */
	uint32_t n_nets;      /* 0: an image for the overlay */
	uint32_t n_openings;  /* the first rules are not the policy's but come from the daemon's configuration */
};

/* Selectors first..last (BY_PORT_* space, inclusive) belong to these classes. Sorted, disjoint. */
struct pol_port_range {
	uint32_t first, last;
	struct by_port port;
};

/* Sorted by direction, peer class, port class. Where there is none, nothing is allowed. */
struct pol_verdict {
	uint8_t dir; /* enum by_dir */
	uint8_t pad;
	uint16_t port_class;
	uint32_t peer_class;
	struct by_verdict verdict;
};

/* A node that was known when the policy was compiled. Sorted by instance. */
struct pol_member {
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint32_t peer_class;
};

/* A kind of peer (kinds.h) that some rule of this node names: what a newcomer is classified by. Sorted by kind. */
struct pol_kind_class {
	uint32_t kind;
	uint32_t peer_class;
};

/* Addresses of the underlay: the longest prefix that has an address gives its class. Sorted by address, then length;
 * the first is ::/0 and ::ffff:0:0/96 is there too, so that each address of either family has a class. */
struct pol_net {
	struct by_addr addr; /* no bits beyond the prefix */
	uint8_t bits;        /* 0..128; IPv4 prefixes are 96 + n */
	uint8_t pad[3];
	uint32_t peer_class;
};

/* Rule i of the array has the number i + 1. */
const struct pol_port_range *pol_image_ports(const struct pol_image *img);
const struct pol_verdict *pol_image_verdicts(const struct pol_image *img);
const struct by_rule *pol_image_rules(const struct pol_image *img);
const struct pol_member *pol_image_members(const struct pol_image *img);
const struct pol_kind_class *pol_image_kinds(const struct pol_image *img);
const struct pol_net *pol_image_nets(const struct pol_image *img);
/* Bytes of an image with the header's counts. */
uint64_t pol_image_size(const struct pol_image *head);

/* Everything about `len` bytes that use relies on; the error says what is wrong. */
int pol_image_check(const void *bytes, size_t len, struct err *e);

/* What the datapath will answer: the model of the maps' lookup. rule 0 and BY_DENY where no entry matches. */
struct by_verdict pol_image_lookup(const struct pol_image *img, enum by_dir dir, uint32_t peer_class,
				   uint32_t selector);

/* The class of an address of the underlay: the model of a longest prefix match. 0 where the image has no networks. */
uint32_t pol_image_net_lookup(const struct pol_image *img, const struct by_addr *addr);
