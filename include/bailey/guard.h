/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a mesh tells the kernel of its sockets, so that they stop when their peer or its rule is gone, whatever the mesh
 * does. It says so by setsockopt() and asks by getsockopt() on BY_LEG_LEVEL, which bpf/guard.bpf.c answers on the
 * mesh's cgroup; without it they fail as any unknown level does. Both need no privilege: what is told only restricts.
 */
#pragma once

#include "bailey/abi.h"
#include "bailey/types.h"

#define BY_LEG_LEVEL 0x4259

enum by_leg_option {
	BY_LEG_SET = 1, /* set: struct by_leg_set */
	BY_LEG_CLEAR,   /* set, any value: nobody's. Not where it is told for life */
	BY_LEG_ROUND,   /* set: __u32 milliseconds; afterwards what was told in an earlier round stops */
	BY_LEG_ASK,     /* get: struct by_leg_state */
};

/* Bytes that come and go by this socket are this peer's. */
struct by_leg_set {
	struct by_addr
		addr; /* overlay address of the peer; all zero: no node that baileyd knows, only `round` counts */
	__u8 instance_id[BY_INSTANCE_ID_LEN]; /* that the address must be of now */
	__u32 round;                          /* that the mesh judged it in */
	__u16 port;                           /* of tcp that policy is asked for; 0: the identity alone */
	__u8 dir;                             /* enum by_dir of the connection: who dialled whom */
	__u8 is_for_life;                     /* this socket is never another peer's */
};

struct by_leg_state {
	__u32 round;  /* that runs */
	__u32 gen;    /* of the policy: moves whenever some leg may have stopped */
	__u32 reason; /* enum by_drop: why nothing passes; 0: it passes */
	__u32 is_told;
};

/* by_leg: socket storage. */
struct by_leg {
	struct by_addr addr;
	__u32 identity; /* 0: none */
	__u32 gen;      /* of the policy that last let it pass */
	__u32 round;
	__u16 port;
	__u8 dir;
	__u8 is_for_life;
};

/* by_round: storage of the cgroup. */
struct by_round {
	__u64 until_ns; /* CLOCK_MONOTONIC: until then what was told in the round before passes */
	__u32 round;
	__u32 pad;
};

_Static_assert(sizeof(struct by_leg_set) == 44, "struct by_leg_set is part of the ABI");
_Static_assert(sizeof(struct by_leg_state) == 16, "struct by_leg_state is part of the ABI");
_Static_assert(sizeof(struct by_leg) == 32, "struct by_leg is part of the ABI");
_Static_assert(sizeof(struct by_round) == 16, "struct by_round is part of the ABI");
