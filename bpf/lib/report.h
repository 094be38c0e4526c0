/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The only way out: every packet is counted, drops and new flows are told to user space. */
#pragma once

#include "ctx.h"
#include "maps.h"
#include "parse.h"

/* At most conf.events_per_sec of one reason a second and CPU; *held: how many were held back before this one. */
static __always_inline int may_tell(struct pkt *p, struct by_limit *limit, __u32 *held)
{
	if (!p->now_ns)
		p->now_ns = bpf_ktime_get_coarse_ns();
	if (p->now_ns - limit->window_ns >= 1000000000ull) {
		limit->window_ns = p->now_ns;
		limit->sent = 0;
	}
	if (limit->sent >= conf.events_per_sec) {
		limit->suppressed++;
		limit->lost++;
		return 0;
	}
	limit->sent++;
	*held = limit->suppressed;
	return 1;
}

static __always_inline void event_fill(struct by_event *ev, struct pkt *p, __u32 reason, __u32 bytes)
{
	int is_in = p->dir == BY_DIR_IN;
	int is_icmp = p->key.l4_proto == NEXT_ICMP || p->key.l4_proto == NEXT_ICMPV6;

	ev->version = BY_EVENT_VERSION;
	ev->type = reason ? BY_EVENT_DROP : BY_EVENT_FLOW;
	ev->reason = reason;
	ev->dir = p->dir;
	ev->gen = p->live.gen;
	ev->ts_ns = bpf_ktime_get_boot_ns();
	ev->src = *src_of(p);
	ev->dst = *dst_of(p);
	ev->src_port_be = is_icmp ? 0 : is_in ? p->key.peer_port_be : p->key.local_port_be;
	ev->dst_port_be = is_icmp ? 0 : is_in ? p->key.local_port_be : p->key.peer_port_be;
	ev->l4_proto = p->key.l4_proto;
	ev->icmp_type = p->icmp_type;
	ev->flags = 0;
	ev->pad = 0;
	ev->peer = p->peer;
	ev->rule = p->rule;
	ev->ip_bytes = bytes;
}

/* A global function: the verifier looks at it once, not once for every way that leads here. */
__noinline int tell(struct pkt *p, __u32 reason, __u32 bytes)
{
	struct by_limit *limit = bpf_map_lookup_elem(&by_limit, &reason);
	struct by_event *ev;
	__u32 held = 0;

	if (!p || !limit || !may_tell(p, limit, &held))
		return 0;
	ev = bpf_ringbuf_reserve(&by_events, sizeof(*ev), 0);
	if (!ev) {
		limit->suppressed++;
		limit->lost++;
		return 0;
	}
	event_fill(ev, p, reason, bytes);
	ev->suppressed = held;
	limit->suppressed = 0;
	bpf_ringbuf_submit(ev, 0);
	return 0;
}

/* `ret` of decide() -> what the hook returns. */
static __always_inline int report(struct hook_ctx *ctx, struct pkt *p, int ret)
{
	__u32 reason = ret < 0 ? -ret : BY_DROP_NONE;
	__u32 len = hook_len(ctx), bytes = len > hook_l3(p) ? len - hook_l3(p) : 0;
	__u32 at = p->dir * BY_MAX_REASONS + reason;
	struct by_counter *n = bpf_map_lookup_elem(&by_stat, &at);

	if (n) {
		n->packets++;
		n->bytes += bytes;
	}
	if (reason || p->is_new_flow)
		tell(p, reason, bytes);
	return reason ? HOOK_DROP : HOOK_PASS;
}
