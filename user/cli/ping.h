/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP echo over the overlay. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct ping {
	int fd;
	bool is_ip4, is_raw;
	uint16_t id, seq;
	uint64_t nonce; /* in each request: what does not bring it back is no answer of ours */
};

/* A socket that needs no right where the kernel lets this group have one, else a raw one. */
int ping_open(const struct by_addr *to, struct ping *p, struct err *e);
void ping_close(struct ping *p);
/* One request of `size` bytes as an IP packet, never in fragments. Microseconds until its answer; -ETIMEDOUT: none
 * came; -EMSGSIZE: too long for the device; another -errno: could not be sent. */
int64_t ping_once(struct ping *p, unsigned size, unsigned timeout_ms);
unsigned ping_size_min(const struct ping *p);
