/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Limits per source address: IPv4 by address, IPv6 by /64, which is what one machine can take addresses from at will.
 * by_source holds the most recently used sources; one that made room starts with a whole burst again. Spoofed sources
 * can therefore push others out, but that gives nobody a token less, and what must hold in total has a limit of its
 * own.
 */
#pragma once

#include "bailey/host.h"
#include "rate.h"

const volatile struct by_host_conf host = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BY_MAX_SOURCES);
	__type(key, struct by_source_key);
	__type(value, struct by_rate);
} by_source SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BY_TOTAL_COUNT);
	__type(key, __u32);
	__type(value, struct by_rate);
} by_total SEC(".maps");

static __always_inline int source_take(const struct pkt *p, __u32 kind, const volatile struct by_host_limit *limit)
{
	const __u32 *w = (const __u32 *)p->key.peer.b;
	struct by_source_key key = { .kind = kind };
	struct by_rate *bucket, fresh;
	__u64 now;

	if (!limit->each_ns)
		return 0;
	now = bpf_ktime_get_ns();
	key.net[0] = w[0];
	key.net[1] = w[1];
	key.net[2] = p->version == 4 ? w[3] : 0;
	key.kind |= p->version == 4 ? BY_SOURCE_IP4 : 0;
	bucket = bpf_map_lookup_elem(&by_source, &key);
	if (bucket)
		return rate_spend(bucket, now, limit->each_ns, limit->depth_ns, p->is_asked);
	if (p->is_asked)
		return 0;
	fresh.full_ns = now + limit->each_ns;
	/* another CPU may have been quicker: its token is this one's too */
	return bpf_map_update_elem(&by_source, &key, &fresh, BPF_NOEXIST) ? -BY_DROP_SOURCE_LIMIT : 0;
}

static __always_inline int total_take(__u32 which, const volatile struct by_host_limit *limit)
{
	struct by_rate *bucket = bpf_map_lookup_elem(&by_total, &which);

	if (!limit->each_ns)
		return 0;
	if (!bucket)
		return -BY_DROP_INTERNAL;
	return rate_spend(bucket, bpf_ktime_get_ns(), limit->each_ns, limit->depth_ns, 0);
}
