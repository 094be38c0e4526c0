/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The only way out: every packet is counted, drops and new flows are told to user space. */
#pragma once

#include "capture.h"
#include "ctx.h"
#include "limit.h"
#include "maps.h"
#include "parse.h"

static __always_inline void event_fill(struct by_event *ev, struct pkt *p, __u32 type, __u32 reason, __u32 bytes)
{
	int is_in = hook_dir(p) == BY_DIR_IN, is_audit = type == BY_EVENT_AUDIT;
	int is_icmp = p->key.l4_proto == NEXT_ICMP || p->key.l4_proto == NEXT_ICMPV6;

	ev->version = BY_EVENT_VERSION;
	ev->type = type;
	ev->reason = reason;
	ev->dir = hook_dir(p);
	ev->gen = p->live.gen;
	ev->ts_ns = bpf_ktime_get_boot_ns();
	ev->src = *src_of(p);
	ev->dst = *dst_of(p);
	ev->src_port_be = is_icmp ? 0 : is_in ? p->key.peer_port_be : p->key.local_port_be;
	ev->dst_port_be = is_icmp ? 0 : is_in ? p->key.local_port_be : p->key.peer_port_be;
	ev->l4_proto = p->key.l4_proto;
	ev->icmp_type = p->icmp_type;
	ev->flags = is_audit ? BY_RULE_AUDIT : p->rule_flags;
	ev->pad = 0;
	ev->peer = p->peer;
	ev->rule = is_audit ? p->audit : p->rule;
	ev->ip_bytes = bytes;
}

static __always_inline __u32 budget_of(const struct pkt *p, __u32 type, __u32 reason)
{
	if (type == BY_EVENT_AUDIT)
		return BY_LIMIT_AUDIT;
	return p->rule_flags & BY_RULE_LOG ? BY_LIMIT_LOG : reason;
}

/* A global function: the verifier looks at it once, not once for every way that leads here. */
__noinline int tell(struct pkt *p, __u32 type, __u32 reason, __u32 bytes)
{
	struct by_limit *limit;
	struct by_event *ev;
	__u32 held = 0, at;

	if (!p)
		return 0;
	at = budget_of(p, type, reason);
	limit = bpf_map_lookup_elem(&by_limit, &at);
	if (!limit || !may_tell(p, limit, conf.events_per_sec, &held))
		return 0;
	ev = bpf_ringbuf_reserve(&by_events, sizeof(*ev), 0);
	if (!ev) {
		limit->suppressed++;
		limit->lost++;
		return 0;
	}
	event_fill(ev, p, type, reason, bytes);
	ev->suppressed = held;
	limit->suppressed = 0;
	bpf_ringbuf_submit(ev, 0);
	return 0;
}

static __always_inline void count(struct by_counter *n, __u32 bytes)
{
	n->packets++;
	n->bytes += bytes;
}

/* From the IP header on. */
static __always_inline __u32 bytes_of(struct hook_ctx *ctx, const struct pkt *p)
{
	__u32 len = hook_len(ctx, p);

	return len > hook_l3(p) ? len - hook_l3(p) : 0;
}

/* `ret` of decide() -> what the hook returns. */
static __always_inline int report(struct hook_ctx *ctx, struct pkt *p, int ret)
{
	__u32 reason = ret < 0 ? -ret : BY_DROP_NONE;
	__u32 at = hook_dir(p) * BY_MAX_REASONS + reason, bytes = bytes_of(ctx, p);
	struct by_counter *n = bpf_map_lookup_elem(&by_stat, &at);

	if (n)
		count(n, bytes);
	if (reason) {
		tell(p, BY_EVENT_DROP, reason, bytes);
		capture(ctx, p, reason);
		return HOOK_DROP;
	}
	if (p->audit)
		tell(p, BY_EVENT_AUDIT, BY_DROP_NONE, bytes);
	if (p->is_told)
		tell(p, BY_EVENT_FLOW, BY_DROP_NONE, bytes);
	return HOOK_PASS;
}
