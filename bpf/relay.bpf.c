// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Two plain sockets of the mesh on this machine, joined: what comes to one goes out by the other, and the process is
 * not woken. The kernel has no backpressure here: what is on its way is counted, and at the bound the direction is the
 * process's again, for good, for whatever would be handed over later could overtake it.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "bailey/relay.h"

#define RELAYS_MAX 32768 /* directions */

enum sk_action { SK_DROP, SK_PASS };

struct tcp_sock {
	__u64 bytes_acked;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, RELAYS_MAX);
	__type(key, __u64);
	__type(value, struct by_relay);
} by_relay SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, RELAYS_MAX);
	__type(key, __u64);
	__type(value, __u64);
} by_relay_sock SEC(".maps");

/* Whether this many bytes more may be on their way. The other socket may not be there: then they may not. */
static __always_inline int has_room(const struct by_relay *r, __u32 len)
{
	__u64 peer = r->peer, acked;
	struct bpf_sock *sk = bpf_map_lookup_elem(&by_relay_sock, &peer);
	struct tcp_sock *tp;

	if (!sk)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	acked = tp ? tp->bytes_acked : 0;
	bpf_sk_release(sk);
	return tp && r->moved + len - (acked - r->acked) <= r->bound;
}

SEC("sk_skb/stream_verdict")
int by_relay_verdict(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb), peer;
	struct by_relay *r = bpf_map_lookup_elem(&by_relay, &cookie);

	/* a bare FIN: handed over it would break the other socket */
	if (!r || skb->len == 0 || r->state == BY_RELAY_LEFT)
		return SK_PASS;
	if (r->state != BY_RELAY_ON)
		return SK_DROP;
	if (!has_room(r, skb->len)) {
		r->state = BY_RELAY_LEFT;
		return SK_PASS;
	}
	r->moved += skb->len; /* one socket's bytes come one after the other */
	peer = r->peer;
	return (int)bpf_sk_redirect_hash(skb, &by_relay_sock, &peer, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
