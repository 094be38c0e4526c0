/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of both families in one shape: struct by_addr, IPv4 mapped into ::ffff:0:0/96. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bailey/types.h"

#define ADDR_TEXT     46 /* longest text of an address, with NUL */
#define PREFIX_TEXT   50
#define ENDPOINT_TEXT 54 /* "[...]:65535" */

struct ip_prefix {
	struct by_addr addr; /* host bits may be set: an interface address is one */
	uint8_t bits;        /* of the family: 0..32 or 0..128 */
};

struct ip_endpoint {
	struct by_addr addr;
	uint16_t port; /* host order, never 0 when parsed */
};

bool addr_is_v4(const struct by_addr *a);
bool addr_equal(const struct by_addr *a, const struct by_addr *b);
bool endpoint_equal(const struct ip_endpoint *a, const struct ip_endpoint *b);
bool addr_in_prefix(const struct by_addr *a, const struct ip_prefix *p);

/* Text forms are the canonical ones (RFC 5952). Parsers take the whole string or nothing. */
bool addr_parse(struct by_addr *a, const char *text);
bool prefix_parse(struct ip_prefix *p, const char *text);     /* "10.0.0.1/24"; the length is required */
bool endpoint_parse(struct ip_endpoint *e, const char *text); /* "10.0.0.1:51820", "[::1]:51820" */
const char *addr_print(const struct by_addr *a, char buf[static ADDR_TEXT]);
struct ip_prefix prefix_masked(struct ip_prefix net); /* host bits 0 */
const char *prefix_print(const struct ip_prefix *p, char buf[static PREFIX_TEXT]);
const char *endpoint_print(const struct ip_endpoint *e, char buf[static ENDPOINT_TEXT]);

socklen_t endpoint_to_sockaddr(const struct ip_endpoint *e, struct sockaddr_storage *ss);
bool endpoint_from_sockaddr(struct ip_endpoint *e, const struct sockaddr *sa);
