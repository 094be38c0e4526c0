// SPDX-License-Identifier: Apache-2.0
#include "pcapng.h"

#include <string.h>

enum { SECTION = 0x0a0d0d0a, INTERFACE = 1, STATISTICS = 5, PACKET = 6 };
enum { OPT_END = 0, OPT_COMMENT = 1, SHB_APPLICATION = 4, IDB_NAME = 2, IDB_TSRESOL = 9, ISB_IFDROP = 5 };

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define NANOSECONDS      9 /* ten to the minus */

static void u16(struct out *out, uint16_t v)
{
	out_bytes(out, &v, sizeof(v));
}

static void u32(struct out *out, uint32_t v)
{
	out_bytes(out, &v, sizeof(v));
}

static void padded(struct out *out, const void *data, size_t n)
{
	out_bytes(out, data, n);
	out_zero(out, -n & 3);
}

/* Returns where the block began; its length is known at block_end(). */
static size_t block_begin(struct out *out, uint32_t type)
{
	size_t at = out->len;

	u32(out, type);
	u32(out, 0);
	return at;
}

static void block_end(struct out *out, size_t at)
{
	uint32_t len = (uint32_t)(out->len - at + sizeof(len));

	u32(out, len);
	if (out_ok(out))
		memcpy(out->data + at + sizeof(uint32_t), &len, sizeof(len));
}

static void option(struct out *out, uint16_t code, const void *value, size_t n)
{
	u16(out, code);
	u16(out, (uint16_t)n);
	padded(out, value, n);
}

static void text_option(struct out *out, uint16_t code, const char *text)
{
	option(out, code, text, strlen(text));
}

static void timestamp(struct out *out, uint64_t at_ns)
{
	u32(out, (uint32_t)(at_ns >> 32));
	u32(out, (uint32_t)at_ns);
}

void pcapng_section(struct out *out, const char *application)
{
	static const uint8_t length_unknown[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	size_t at = block_begin(out, SECTION);

	u32(out, BYTE_ORDER_MAGIC);
	u16(out, 1); /* version 1.0 */
	u16(out, 0);
	out_bytes(out, length_unknown, sizeof(length_unknown));
	text_option(out, SHB_APPLICATION, application);
	option(out, OPT_END, NULL, 0);
	block_end(out, at);
}

void pcapng_interface(struct out *out, const char *name, unsigned link_type, uint32_t snaplen)
{
	static const uint8_t resolution = NANOSECONDS;
	size_t at = block_begin(out, INTERFACE);

	u16(out, (uint16_t)link_type);
	u16(out, 0);
	u32(out, snaplen);
	text_option(out, IDB_NAME, name);
	option(out, IDB_TSRESOL, &resolution, sizeof(resolution));
	option(out, OPT_END, NULL, 0);
	block_end(out, at);
}

void pcapng_packet(struct out *out, const struct pcapng_packet *p)
{
	size_t at = block_begin(out, PACKET);

	u32(out, p->interface);
	timestamp(out, p->at_ns);
	u32(out, p->n);
	u32(out, p->len);
	padded(out, p->data, p->n);
	text_option(out, OPT_COMMENT, p->comment);
	option(out, OPT_END, NULL, 0);
	block_end(out, at);
}

void pcapng_lost(struct out *out, uint32_t interface, uint64_t at_ns, uint64_t lost)
{
	size_t at = block_begin(out, STATISTICS);

	u32(out, interface);
	timestamp(out, at_ns);
	option(out, ISB_IFDROP, &lost, sizeof(lost));
	option(out, OPT_END, NULL, 0);
	block_end(out, at);
}
