// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Attached to the host's own network device, before the stack: what comes in is judged by policy.h's ladder with
 * networks for identities. Where XDP can not be had, by_host_in (host.bpf.c) takes its place.
 */
#define BY_HOOK_XDP
#define BY_HOOK_FRAMED
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/frame.h"
#include "lib/net.h"
#include "lib/policy.h"
#include "lib/report.h"

SEC("xdp.frags")
int by_xdp_in(struct xdp_md *ctx)
{
	struct pkt p = { .dir = BY_DIR_IN };
	int ret = frame_parse(ctx, &p);

	if (ret == FRAME_IP)
		ret = decide(ctx, &p);
	ret = report(ctx, &p, ret < 0 ? ret : 0);
	return p.is_answered ? XDP_TX : ret;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
