/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Rates of rules: a token bucket in one word (GCRA). The word says when the bucket would be full again; a packet moves
 * it on by what it costs, by compare-and-exchange, unless it already lies further ahead than the burst allows. So two
 * CPUs never spend the same token, and nobody waits for a lock.
 *
 * A pair of rule and peer gets its bucket with its first packet and keeps it until the policy's slot is purged or the
 * peer leaves: an entry that made room for another would be a full bucket when it comes back, and a rate that is not
 * kept. Where there is no room for one more, what that pair sends is over its rate.
 */
#pragma once

#include "ctx.h"
#include "maps.h"

#define RATE_NS    1000000000ull
#define RATE_TRIES 8 /* losing that many exchanges in a row means that others spent tokens: over the rate */

static __always_inline int rate_spend(struct by_rate *bucket, __u64 now, __u64 each, __u64 depth, int is_asked)
{
	for (int i = 0; i < RATE_TRIES; i++) {
		__u64 was = *(volatile __u64 *)&bucket->full_ns;
		__u64 from = was > now ? was : now;

		if (from - now > depth)
			return -BY_DROP_RATE_LIMIT;
		if (is_asked || __sync_val_compare_and_swap(&bucket->full_ns, was, from + each) == was)
			return 0;
	}
	return -BY_DROP_RATE_LIMIT;
}

/* Takes a token of p->rule's bucket. A global function: verified once. The fine clock: a tick holds many tokens. */
__noinline int rate_take(struct pkt *p)
{
	struct by_rule_key at = { 0 };
	struct by_rate_key key = { 0 };
	struct by_rate *bucket, fresh;
	struct by_rule *rule;
	__u64 now, each;

	if (!p)
		return -BY_DROP_INTERNAL;
	at.slot = key.slot = p->live.slot;
	at.rule = key.rule = p->rule;
	key.peer = p->rule_flags & BY_RULE_RATE_PEER ? p->peer : 0;
	rule = bpf_map_lookup_elem(&by_rule, &at);
	if (!rule || !rule->rate)
		return -BY_DROP_INTERNAL; /* the image has a rate for each rule with the flag */
	now = bpf_ktime_get_ns();
	each = RATE_NS / rule->rate;
	bucket = bpf_map_lookup_elem(&by_rate, &key);
	if (!bucket) {
		fresh.full_ns = now + each;
		if (p->is_asked || bpf_map_update_elem(&by_rate, &key, &fresh, BPF_NOEXIST) == 0)
			return 0;
		bucket = bpf_map_lookup_elem(&by_rate, &key); /* another CPU was quicker, or there is no room */
	}
	if (!bucket)
		return -BY_DROP_RATE_LIMIT;
	return rate_spend(bucket, now, each, rule->burst ? (rule->burst - 1) * each : 0, p->is_asked);
}

/* A packet of what was judged before: only packet rates count it, and only in the direction that the rule is for. */
static __always_inline int rate_follow(struct pkt *p, __u8 flags, __u8 opened_dir)
{
	p->rule_flags = hook_dir(p) == opened_dir ? flags : flags & ~BY_RULE_RATE_PACKETS;
	return p->rule_flags & BY_RULE_RATE_PACKETS ? rate_take(p) : 0;
}
