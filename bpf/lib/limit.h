/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What may be told of this second: user space reads events, and a flood must not make it read nothing else. */
#pragma once

#include "ctx.h"

/* At most `per_sec` of one budget a second and CPU; *held: how many were held back before this one. */
static __always_inline int may_tell(struct pkt *p, struct by_limit *limit, __u32 per_sec, __u32 *held)
{
	if (!p->now_ns)
		p->now_ns = clock_now();
	if (p->now_ns - limit->window_ns >= 1000000000ull) {
		limit->window_ns = p->now_ns;
		limit->sent = 0;
	}
	if (limit->sent >= per_sec) {
		limit->suppressed++;
		limit->lost++;
		return 0;
	}
	limit->sent++;
	*held = limit->suppressed;
	return 1;
}
