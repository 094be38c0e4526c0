/* SPDX-License-Identifier: Apache-2.0 */
/* Plain TCP sockets of one process that the kernel joins (bpf/relay.bpf.c). Needs CAP_BPF and CAP_NET_ADMIN to open. */
#pragma once

#include <stdint.h>

#include "bailey/relay.h"
#include "base/err.h"

struct dp_relays;

int dp_relays_open(struct dp_relays **out, struct err *e);
void dp_relays_close(struct dp_relays *r); /* accepts NULL; after the last leave */
/*
 * From now on what comes to one goes to the other, at most `bound` bytes on their way. Nothing has been written to
 * either, and nobody reads or writes them before the direction has left (dp_relay_read). <0: nothing was done.
 */
int dp_relay_join(struct dp_relays *r, int a, int b, uint32_t bound, uint64_t cookie[2]);
/* The direction that begins at this socket. */
int dp_relay_read(const struct dp_relays *r, uint64_t cookie, struct by_relay *relay);
/* What was queued before a verdict could see it is looked at. */
void dp_relay_kick(int fd);
void dp_relay_cut(const struct dp_relays *r, const uint64_t cookie[2]);
void dp_relay_leave(const struct dp_relays *r, const uint64_t cookie[2]); /* the sockets are about to be closed */
