// SPDX-License-Identifier: Apache-2.0
#include "pkt.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

static uint8_t *grow(struct frame *f, size_t n)
{
	uint8_t *at = f->data + f->len;

	assert(f->len + n <= sizeof(f->data));
	memset(at, 0, n);
	f->len += n;
	return at;
}

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void add_l4(struct frame *f, const struct pkt *p)
{
	uint8_t *at;

	switch (p->is_later ? P_NOTHING : p->proto) {
	case P_NOTHING:
		break;
	case P_TCP:
		at = grow(f, 20);
		put16(at, p->sport);
		put16(at + 2, p->dport);
		at[12] = (uint8_t)((p->tcp_words ? p->tcp_words : 5) << 4);
		at[13] = p->flags;
		break;
	case P_UDP:
		at = grow(f, 8);
		put16(at, p->sport);
		put16(at + 2, p->dport);
		put16(at + 4, p->udp_len ? p->udp_len : (uint16_t)(8 + p->payload));
		break;
	case P_ICMP:
	case P_ICMPV6:
		at = grow(f, 8);
		at[0] = p->type;
		at[1] = p->code;
		put16(at + 4, p->id);
		break;
	default:
		grow(f, 8);
	}
	grow(f, p->payload);
	if (p->quoted)
		memcpy(grow(f, p->quoted->len), p->quoted->data, p->quoted->len);
}

static void add_ip4(struct frame *f, const struct pkt *p)
{
	size_t start = f->len;
	uint8_t *at = grow(f, 20u + p->options);

	at[0] = (uint8_t)((p->version ? p->version : 4) << 4 | (p->ihl ? p->ihl : 5 + p->options / 4));
	memset(at + 20, 1, p->options); /* no-operation */
	put16(at + 4, (uint16_t)p->ip_id);
	put16(at + 6, p->frag);
	at[8] = 64;
	at[9] = p->proto;
	assert(inet_pton(AF_INET, p->src, at + 12) == 1 && inet_pton(AF_INET, p->dst, at + 16) == 1);
	add_l4(f, p);
	put16(at + 2, (uint16_t)(f->len - start + (size_t)p->len_change));
}

static void add_ext(struct frame *f, const struct pkt *p)
{
	for (int i = 0; i < p->n_ext; i++) {
		uint8_t *at = grow(f, p->ext[i] == EXT_FRAGMENT ? 8 : 8u + 8u * p->ext_len8);

		at[0] = i + 1 < p->n_ext ? p->ext[i + 1] : p->proto;
		if (p->ext[i] == EXT_FRAGMENT) {
			put16(at + 2, p->frag);
			put16(at + 4, (uint16_t)(p->ip_id >> 16));
			put16(at + 6, (uint16_t)p->ip_id);
			continue;
		}
		at[1] = p->ext_len8;
		at[3] = p->segments;
	}
}

static void add_ip6(struct frame *f, const struct pkt *p)
{
	uint8_t *at = grow(f, 40);
	size_t start = f->len;

	at[0] = (uint8_t)((p->version ? p->version : 6) << 4);
	at[6] = p->n_ext ? p->ext[0] : p->proto;
	at[7] = 64;
	assert(inet_pton(AF_INET6, p->src, at + 8) == 1 && inet_pton(AF_INET6, p->dst, at + 24) == 1);
	add_ext(f, p);
	add_l4(f, p);
	put16(at + 4, (uint16_t)(f->len - start + (size_t)p->len_change));
}

void frame_build(struct frame *f, const struct pkt *p)
{
	f->len = 0;
	if (p->ether)
		put16(grow(f, 14) + 12, p->ether);
	if (strchr(p->src, ':'))
		add_ip6(f, p);
	else
		add_ip4(f, p);
}
