/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What bpf/relay.bpf.c and the mesh's engine share of a direction that the kernel relays by itself. */
#pragma once

#include "bailey/types.h"

enum by_relay_state {
	BY_RELAY_ON,   /* what comes is handed over */
	BY_RELAY_LEFT, /* what comes is the process's; never back */
	BY_RELAY_CUT,  /* what comes is thrown away */
};

/* by_relay: by the cookie of the socket that bytes come to. */
struct by_relay {
	__u64 peer;  /* cookie of the socket that they go to */
	__u64 acked; /* what had been acknowledged there when it began */
	__u64 moved; /* bytes handed over */
	__u32 bound; /* of those that were not acknowledged yet */
	__u32 state; /* enum by_relay_state */
};
