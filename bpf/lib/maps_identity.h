/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The maps of a datapath that knows its peers by identity; the others are in maps.h. */
#pragma once

#include "bailey/maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BY_MAX_ADDRS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct by_addr);
	__type(value, struct by_addr_val);
} by_addr SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BY_MAX_IDENTITIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct by_ident);
} by_ident SEC(".maps");

/*
 * The device on which this host receives what an identity sends; 0: none, it is the host. With BY_VIA_SECOND the one by
 * which it is sent what it gets. BY_IDENT_LOCAL has the device that the programs are on.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BY_MAX_IDENTITIES);
	__type(key, __u32);
	__type(value, __u32);
} by_via SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BY_MAX_IDENTITIES);
	__type(key, __u32);
	__type(value, struct by_pair);
} by_pair SEC(".maps");
