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

/*
 * The first `n` bytes of the frame, BY_SNAPLEN_MAX at most. Reckoned by the last byte: 6.1 learns no lower bound from
 * n != 0 and refuses a load of n bytes.
 */
static __always_inline __u32 capture_bytes(struct hook_ctx *ctx, __u8 *to, __u32 n)
{
	__u32 last = n - 1;

	if (!n)
		return 0;
	asm volatile("" : "+r"(last));
	if (last >= BY_SNAPLEN_MAX)
		last = BY_SNAPLEN_MAX - 1;
	asm volatile("" : "+r"(last));
	return hook_load(ctx, 0, to, last + 1) == 0 ? last + 1 : 0;
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
	rec->n = capture_bytes(ctx, rec->data, n);
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
