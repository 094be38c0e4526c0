/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The bytes of dropped packets, while somebody wants them. Otherwise a drop costs one array lookup more. */
#pragma once

#include "hook.h"
#include "limit.h"
#include "maps.h"

static __always_inline void capture_fill(struct by_capture *rec, const struct pkt *p, __u32 reason)
{
	rec->version = BY_EVENT_VERSION;
	rec->reason = reason;
	rec->dir = p->dir;
	rec->l3_offset = hook_l3(p);
	rec->gen = p->live.gen;
	rec->ts_ns = bpf_ktime_get_boot_ns();
	rec->peer = p->peer;
	rec->rule = p->rule;
}

/* A global function: verified once. */
__noinline int capture_write(struct hook_ctx *ctx, struct pkt *p, __u32 reason, __u32 snaplen)
{
	__u32 at = BY_LIMIT_CAPTURE, held, n = p ? hook_len(ctx, p) : 0;
	struct by_limit *limit = bpf_map_lookup_elem(&by_limit, &at);
	struct by_capture *rec;

	if (!p || !limit || !may_tell(p, limit, conf.captures_per_sec, &held))
		return 0;
	rec = bpf_ringbuf_reserve(&by_capture, sizeof(*rec), 0);
	if (!rec) {
		limit->lost++;
		return 0;
	}
	capture_fill(rec, p, reason);
	rec->packet_bytes = n;
	if (n > snaplen)
		n = snaplen;
	if (n > BY_SNAPLEN_MAX)
		n = BY_SNAPLEN_MAX;
	rec->n = n && hook_load(ctx, 0, rec->data, n) == 0 ? n : 0;
	bpf_ringbuf_submit(rec, 0);
	return 0;
}

static __always_inline void capture(struct hook_ctx *ctx, struct pkt *p, __u32 reason)
{
	__u32 zero = 0;
	struct by_switch *on = bpf_map_lookup_elem(&by_switch, &zero);

	if (on && on->snaplen)
		capture_write(ctx, p, reason, on->snaplen);
}
