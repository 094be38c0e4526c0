// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The host's own network device at tc: what goes out, and what comes in where there is no XDP. The maps are those of
 * xdp.bpf.c.
 */
#define BY_HOOK_FRAMED
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/frame.h"
#include "lib/net.h"
#include "lib/policy.h"

#include "lib/ask.h"
#include "lib/report.h"

static __always_inline int judge_frame(struct __sk_buff *skb, struct pkt *p)
{
	int ret = frame_parse(skb, p);

	if (ret == FRAME_IP)
		ret = decide(skb, p);
	return report(skb, p, ret < 0 ? ret : 0);
}

SEC("tc")
int by_host_in(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_IN };

	return judge_frame(skb, &p);
}

SEC("tc")
int by_host_out(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_OUT };

	return judge_frame(skb, &p);
}

/* Not attached: user space runs them on a packet that nobody sent (ask.h). */
SEC("tc")
int by_host_ask_in(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_IN, .is_asked = 1 };

	return ask(skb, &p, frame_parse(skb, &p));
}

SEC("tc")
int by_host_ask_out(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_OUT, .is_asked = 1 };

	return ask(skb, &p, frame_parse(skb, &p));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
