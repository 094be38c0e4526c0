/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Load-time constants (const volatile in the program: frozen, so that the verifier removes what is off). */
#pragma once

#include "types.h"

/* What a node is to the others. */
enum by_topology {
	BY_TOPOLOGY_MESH = 0,  /* all reach each other directly */
	BY_TOPOLOGY_HUB = 1,   /* passes on what others send each other, and opens nothing itself */
	BY_TOPOLOGY_SPOKE = 2, /* reaches the others through a hub */
};

struct by_tc_conf {
	__u32 l3_offset;        /* 0 on WireGuard and TUN (no link header), 14 on Ethernet */
	__u32 events_per_sec;   /* per CPU and budget of by_limit; the rest is counted as suppressed */
	__u32 captures_per_sec; /* likewise, records of by_capture */
	__u32 has_pairs;        /* 0: by_pair is not kept */
	__u16 vlan[2];          /* Ethernet: the tags that a frame must have, outer and inner; 0: none */
	__u8 mac[6];            /* source of what the machine sends, where has_mac says so */
	__u8 has_mac;
	__u8 is_workload; /* what comes to the machine must come by its sender's way (by_via) */
	__u8 topology;    /* enum by_topology */
};
