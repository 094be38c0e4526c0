/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place for sockets of a mesh that the kernel guards: a network namespace and two cgroups of the test's own, of which
 * the mesh's has the programs, and a world with the very maps that decide on the overlay. The node is WEB; DB is a peer
 * that may come to tcp/443, EVE one that policy allows nothing.
 */
#pragma once

#include "bailey/guard.h"
#include "datapath/guard.h"
#include "world.h"

#define GUARDED_INSTANCE "test"

extern struct guarded {
	struct world *w;
	struct dp_guard *g;
	struct dp_guard_conf conf;
	char top[160], mesh[200], outside[200]; /* cgroups; empty: there are none of version 2 here */
} guarded;

int guarded_setup(void **state); /* of a group of tests */
int guarded_teardown(void **state);
int guarded_begin(void **state); /* of each; skips it where there are no cgroups */
int guarded_end(void **state);

void guarded_must(int ret, struct err *e);
struct by_leg_set guarded_leg(int n, uint16_t port); /* of node n, inbound */
int guarded_tell(int fd, struct by_leg_set set);     /* 0 or -errno */
void guarded_leaves(int n);                          /* node n is no more */
