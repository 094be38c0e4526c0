// SPDX-License-Identifier: Apache-2.0
/*
 * A question to the loaded program: the packet that would open the flow is made here and run through by_ask_in or
 * by_ask_out (by_host_ask_in, by_host_ask_out), which share every rung with the programs that the device runs.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "internal.h"

#define L4_BYTES                                                                                                       \
	40 /* of transport header and payload: some kernels run no packet that is shorter than their own idea */
#define CLIENT_PORT  49152
#define PROTO_TCP    6
#define PROTO_UDP    17
#define PROTO_ICMP   1
#define PROTO_ICMPV6 58
#define WG_DATA      4 /* with L4_BYTES a keepalive: what WireGuard's port lets pass */
#define ND_HOPS      255
#define MLD_HOPS     1

struct packet {
	uint8_t b[128];
	size_t len;
};

static void put(struct packet *p, const void *bytes, size_t n)
{
	memcpy(p->b + p->len, bytes, n);
	p->len += n;
}

static void put16(struct packet *p, uint32_t v)
{
	uint8_t b[] = { (uint8_t)(v >> 8), (uint8_t)v };

	put(p, b, sizeof(b));
}

static void put_link(struct packet *p, const struct dp_options *o, bool is_ip4)
{
	p->len += 6; /* to whom: zero */
	put(p, o->mac, sizeof(o->mac));
	for (int i = 0; i < 2 && o->vlan[i]; i++) {
		put16(p, 0x8100);
		put16(p, o->vlan[i]);
	}
	put16(p, is_ip4 ? 0x0800 : 0x86dd);
}

static void put_ip4(struct packet *p, const struct by_addr *src, const struct by_addr *dst, uint8_t proto,
		    uint32_t what)
{
	(void)what;
	const uint8_t head[] = { 0x45, 0, 0, 20 + L4_BYTES, 0, 0, 0, 0, 64, proto, 0, 0 };

	put(p, head, sizeof(head));
	put(p, src->b + 12, 4);
	put(p, dst->b + 12, 4);
}

/* Multicast listeners and routers must be no router away, neighbour discovery must have met none. */
static uint8_t hops_of(uint8_t proto, uint32_t type)
{
	bool is_multicast = (type >= 130 && type <= 132) || type == 143 || (type >= 151 && type <= 153);

	return proto == PROTO_ICMPV6 && is_multicast ? MLD_HOPS : ND_HOPS;
}

static void put_ip6(struct packet *p, const struct by_addr *src, const struct by_addr *dst, uint8_t proto,
		    uint32_t what)
{
	const uint8_t head[] = { 0x60, 0, 0, 0, 0, L4_BYTES, proto, hops_of(proto, what) };

	put(p, head, sizeof(head));
	put(p, src->b, sizeof(src->b));
	put(p, dst->b, sizeof(dst->b));
}

static void put_l4(struct packet *p, uint8_t proto, uint32_t what)
{
	uint8_t *at = p->b + p->len;

	p->len += L4_BYTES;
	if (proto == PROTO_TCP || proto == PROTO_UDP) {
		at[0] = CLIENT_PORT >> 8;
		at[2] = (uint8_t)(what >> 8);
		at[3] = (uint8_t)what;
	}
	if (proto == PROTO_TCP) {
		at[12] = 5 << 4;
		at[13] = 0x02; /* SYN */
	} else if (proto == PROTO_UDP) {
		at[5] = L4_BYTES;
		at[8] = WG_DATA;
	} else if (proto == PROTO_ICMP || proto == PROTO_ICMPV6) {
		at[0] = (uint8_t)what;
	}
}

/* Numbers that the parser takes for something else than a transport protocol without ports. */
static bool has_no_packet(uint8_t proto, bool is_ip4)
{
	static const uint8_t own[] = { PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6 };
	static const uint8_t ext[] = { 0, 43, 44, 60, 135, 139, 140 };

	return memchr(own, proto, sizeof(own)) || (!is_ip4 && memchr(ext, proto, sizeof(ext)));
}

/* Selector -> protocol, and port or type. false: no packet of this family asks for it. */
static bool selector_split(uint32_t sel, bool is_ip4, uint8_t *proto, uint32_t *what)
{
	if (sel < BY_PORT_ICMP) {
		*proto = sel < BY_PORT_UDP ? PROTO_TCP : PROTO_UDP;
		*what = sel % BY_PORT_UDP;
		return true;
	}
	if (sel < BY_PORT_OTHER) {
		bool is_v6 = sel >= BY_PORT_ICMPV6;

		*proto = is_v6 ? PROTO_ICMPV6 : PROTO_ICMP;
		*what = sel - (is_v6 ? BY_PORT_ICMPV6 : BY_PORT_ICMP);
		return is_v6 != is_ip4;
	}
	*proto = (uint8_t)(sel - BY_PORT_OTHER);
	*what = 0;
	return sel < BY_PORT_SPACE && !has_no_packet(*proto, is_ip4);
}

static int packet_make(const struct dp *dp, const struct dp_question *q, struct packet *p, struct err *e)
{
	const struct by_addr *src = q->dir == BY_DIR_IN ? &q->peer : &q->local;
	const struct by_addr *dst = q->dir == BY_DIR_IN ? &q->local : &q->peer;
	bool is_ip4 = addr_is_v4(src);
	uint8_t proto;
	uint32_t what;

	if (is_ip4 != addr_is_v4(dst))
		return err_at(e, -EINVAL, "question", "local and peer address are of different families");
	if (!selector_split(q->selector, is_ip4, &proto, &what))
		return err_at(e, -EINVAL, "question", "no IPv%d packet opens a flow of selector %u", is_ip4 ? 4 : 6,
			      q->selector);
	if (dp->host || dp->options.l3_offset)
		put_link(p, &dp->options, is_ip4);
	(is_ip4 ? put_ip4 : put_ip6)(p, src, dst, proto, what);
	put_l4(p, proto, what);
	return 0;
}

int dp_ask(struct dp *dp, const struct dp_question *q, struct dp_answer *answer, struct err *e)
{
	struct __sk_buff out = { 0 };
	struct packet p = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = p.b, .ctx_out = &out, .ctx_size_out = sizeof(out), .repeat = 1);
	int ret;

	if (q->dir != BY_DIR_IN && q->dir != BY_DIR_OUT)
		return err_at(e, -EINVAL, "question", "has no direction");
	ret = packet_make(dp, q, &p, e);
	if (ret < 0)
		return ret;
	run.data_size_in = (uint32_t)p.len;
	ret = bpf_prog_test_run_opts(dp->ask[q->dir], &run);
	if (ret < 0)
		return err_at(e, ret, "question", "can not be run: %s", strerror(-ret));
	*answer = (struct dp_answer){
		.reason = (enum by_drop)(out.cb[0] & 0xff),
		.gen = { .slot = out.cb[0] >> 8 & 0xff, .gen = out.cb[1] },
		.rule_flags = out.cb[0] >> 16 & 0xff,
		.rule = out.cb[2],
		.audit = out.cb[3],
		.peer = out.cb[4],
	};
	return 0;
}
