// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Attached to cgroups of applications: what their sockets dial, and what they are told of it. by_getsockopt is on the
 * proxy's cgroup. Whatever the proxy does, and whether it is there at all, a destination that is diverted is dialled
 * nowhere else: without a listener the connection is refused.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/divert.h"

#include "lib/assign.h"

#define ALLOWED 1 /* what every program here returns: it changes where to, and forbids nothing */

SEC("cgroup/connect4")
int by_connect4(struct bpf_sock_addr *ctx)
{
	divert(ctx, 0);
	return ALLOWED;
}

SEC("cgroup/connect6")
int by_connect6(struct bpf_sock_addr *ctx)
{
	divert(ctx, 1);
	return ALLOWED;
}

SEC("cgroup/sendmsg4")
int by_sendmsg4(struct bpf_sock_addr *ctx)
{
	divert(ctx, 0);
	return ALLOWED;
}

SEC("cgroup/sendmsg6")
int by_sendmsg6(struct bpf_sock_addr *ctx)
{
	divert(ctx, 1);
	return ALLOWED;
}

SEC("cgroup/recvmsg4")
int by_recvmsg4(struct bpf_sock_addr *ctx)
{
	show_origin(ctx, 0);
	return ALLOWED;
}

SEC("cgroup/recvmsg6")
int by_recvmsg6(struct bpf_sock_addr *ctx)
{
	show_origin(ctx, 1);
	return ALLOWED;
}

SEC("cgroup/getpeername4")
int by_peername4(struct bpf_sock_addr *ctx)
{
	show_origin(ctx, 0);
	return ALLOWED;
}

SEC("cgroup/getpeername6")
int by_peername6(struct bpf_sock_addr *ctx)
{
	show_origin(ctx, 1);
	return ALLOWED;
}

SEC("sockops")
int by_sockops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		origin_remember(ctx);
	else if (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE)
		origin_forget(ctx);
	return ALLOWED;
}

SEC("cgroup/getsockopt")
int by_getsockopt(struct bpf_sockopt *ctx)
{
	if (ctx->level == LEVEL_IP && ctx->optname == ORIGINAL_DST)
		origin_tell4(ctx);
	else if (ctx->level == LEVEL_IPV6 && ctx->optname == ORIGINAL_DST)
		origin_tell6(ctx);
	return ALLOWED;
}

/* On ingress of the device that leads to a namespace. */
SEC("tc")
int by_assign(struct __sk_buff *skb)
{
	struct pkt p = { .dir = BY_DIR_OUT, .l3 = conf.l3_offset };

	if (skb->protocol == bpf_htons(ETH_P_IP))
		p.version = 4; /* what the receiver takes it for */
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		p.version = 6;
	else
		return HOOK_PASS;
	return assign_packet(skb, &p);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
