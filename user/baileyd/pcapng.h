/* SPDX-License-Identifier: Apache-2.0 */
/* pcapng (draft-ietf-opsawg-pcapng) as far as a capture of dropped packets needs it: native byte order, nanoseconds. */
#pragma once

#include "base/buf.h"

#define PCAPNG_ETHERNET 1u
#define PCAPNG_RAW      101u /* IPv4 or IPv6 from the first byte */

void pcapng_section(struct out *out, const char *application);
void pcapng_interface(struct out *out, const char *name, unsigned link_type, uint32_t snaplen);

struct pcapng_packet {
	uint32_t interface; /* its place among the section's interfaces */
	uint64_t at_ns;     /* since 1970 */
	uint32_t len;       /* of the packet */
	const void *data;
	uint32_t n; /* bytes of it that were kept */
	const char *comment;
};

void pcapng_packet(struct out *out, const struct pcapng_packet *p);
/* How many packets of the interface did not get here, since the start. */
void pcapng_lost(struct out *out, uint32_t interface, uint64_t at_ns, uint64_t lost);
