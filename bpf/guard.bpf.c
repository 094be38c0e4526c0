// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Attached to the cgroup of a mesh: packets of its sockets, and the options by which it says whose bytes those carry.
 * A socket that nothing was said of is not looked at.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "lib/guard.h"

SEC("cgroup_skb/ingress")
int by_leg_in(struct __sk_buff *skb)
{
	return leg_packet(skb, BY_DIR_IN);
}

SEC("cgroup_skb/egress")
int by_leg_out(struct __sk_buff *skb)
{
	return leg_packet(skb, BY_DIR_OUT);
}

SEC("cgroup/setsockopt")
int by_leg_tell(struct bpf_sockopt *ctx)
{
	int ret;

	if (ctx->level != BY_LEG_LEVEL)
		return 1;
	ret = leg_option(ctx);
	if (ret < 0) {
		bpf_set_retval(ret);
		return 0;
	}
	ctx->optlen = -1; /* the kernel's own code need not see it */
	return 1;
}

SEC("cgroup/getsockopt")
int by_leg_told(struct bpf_sockopt *ctx)
{
	if (ctx->level == BY_LEG_LEVEL && ctx->optname == BY_LEG_ASK)
		leg_ask(ctx);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
