/* SPDX-License-Identifier: Apache-2.0 */
/* Which of our names a name is. Names are in wire form: labels with their lengths, a zero at the end. */
#pragma once

#include "dns.h"

#define DNS_NAME_MAX 255

struct dns_wire {
	uint8_t b[DNS_NAME_MAX];
	size_t len;
};

enum dns_what {
	DNS_AT_NOTHING, /* in our zone, and there is no such name */
	DNS_AT_APEX,
	DNS_AT_BRANCH, /* part of an address */
	/* those that nodes have */
	DNS_AT_NODE,
	DNS_AT_APP,
	DNS_AT_SERVICE,
	DNS_AT_SRV,
	DNS_AT_ADDR,
};

struct dns_place {
	enum dns_what what;
	char label[DNS_LABEL_MAX + 1]; /* lower case; of the node, app or service */
	bool is_udp;                   /* DNS_AT_SRV */
	bool has_below;                /* names are below it, whether or not a node has this one */
	struct by_addr addr;           /* DNS_AT_ADDR */
	struct dns_wire apex;          /* of the zone */
};

/* false: in no zone of ours. */
bool dns_place_of(const struct dns_zone *zone, const uint8_t *name, size_t len, struct dns_place *place);
/* label.suffix; false: too long. */
bool dns_wire_make(struct dns_wire *wire, const char *label, const char *suffix);
bool dns_wire_equal(const uint8_t *a, const uint8_t *b, size_t len); /* but for case */
