/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps of every datapath. What they mean and who writes them: include/bailey/maps.h. All are pinned under their
 * own name.
 *
 * Hashes that user space fills do not preallocate: their limits are generous and most nodes use little of them.
 */
#pragma once

#include "bailey/event.h"
#include "bailey/maps.h"

#include "maps_policy.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BY_MAX_RULES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct by_rule_key);
	__type(value, struct by_rule);
} by_rule SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, BY_MAX_RULES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct by_rule_key);
	__type(value, struct by_counter);
} by_rule_stat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BY_MAX_FLOWS);
	__type(key, struct by_ct4_key);
	__type(value, struct by_ct);
} by_ct4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BY_MAX_FLOWS);
	__type(key, struct by_ct_key);
	__type(value, struct by_ct);
} by_ct6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BY_MAX_FRAGS);
	__type(key, struct by_frag_key);
	__type(value, struct by_frag);
} by_frag SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH); /* not LRU: peers that take turns would push each other's buckets out */
	__uint(max_entries, BY_MAX_RATES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct by_rate_key);
	__type(value, struct by_rate);
} by_rate SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BY_DIR_COUNT *BY_MAX_REASONS);
	__type(key, __u32);
	__type(value, struct by_counter);
} by_stat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BY_MAX_LIMITS);
	__type(key, __u32);
	__type(value, struct by_limit);
} by_limit SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, BY_RING_BYTES);
} by_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct by_switch);
} by_switch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, BY_CAPTURE_BYTES);
} by_capture SEC(".maps");
