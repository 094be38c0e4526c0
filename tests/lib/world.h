/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node's datapath on a bpffs of its own, for tests of the real programs. The cast, by the third argument of
 * world_join(): addresses 100.64.0.<n> and fd00::<n>. The local node is always WEB.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ctmap.h"
#include "datapath/datapath.h"
#include "img.h"
#include "pkt.h"

#define WEB4     "100.64.0.2"
#define WEB6     "fd00::2"
#define DB4      "100.64.0.3"
#define DB6      "fd00::3"
#define EVE4     "100.64.0.4"
#define EVE6     "fd00::4"
#define NOBODY4  "100.64.0.99"
#define NOBODY6  "fd00::99"
#define WEB      2
#define DB       3
#define EVE      4
#define CLASS_DB 1

struct world {
	char bpffs[64];
	struct dp_options options;
	struct dp *dp;
	int prog[BY_DIR_COUNT];
};

struct world *world_open(uint32_t l3_offset);
struct world *world_open_with(const struct dp_options *options);
void world_close(struct world *w);                      /* destroys the instance, unmounts */
void world_reopen(struct world *w);                     /* as a restart of the daemon */
int world_map(const struct world *w, const char *name); /* a new fd of the pin */
struct ct_map world_flows(const struct world *w);
bool world_has_pin(const struct world *w, const char *name);

struct dp_identity world_node(int n, uint32_t peer_class);
uint32_t world_join(struct world *w, int n, uint32_t peer_class);
/* WEB is this node, DB a peer of CLASS_DB, EVE a peer of no class. */
void world_cast(struct world *w);

/* For setup and teardown of tests: *state is a world with the cast. Small: of few flows and rates, which is quicker. */
int world_fresh(void **state);
int world_fresh_small(void **state);
int world_gone(void **state);
/* The same on raw IP and on Ethernet, with the cast and what `allow` commits. */
void world_open_both(struct world *worlds[2], void (*allow)(struct world *w));
void world_close_both(struct world *worlds[2]);

void world_commit(struct world *w, struct img *img);
/* Commits a policy of one rule: DB and this node, `dir`, selectors first..last. Returns nothing but the world as told.
 */
void world_allow(struct world *w, enum by_dir dir, uint32_t first, uint32_t last);

/* What becomes of a packet: BY_DROP_NONE, or why it was dropped. Asserts that exactly one counter moved. */
enum by_drop world_send(struct world *w, enum by_dir dir, const struct pkt *p);
/* false: the kernel does not run a frame as short as that (less than a link header, on some kernels an IP header). */
bool world_try_frame(struct world *w, enum by_dir dir, const struct frame *f, enum by_drop *got);
enum by_drop world_send_frame(struct world *w, enum by_dir dir, const struct frame *f);

#define send_in(w, ...)  world_send(w, BY_DIR_IN, &(struct pkt){ __VA_ARGS__ })
#define send_out(w, ...) world_send(w, BY_DIR_OUT, &(struct pkt){ __VA_ARGS__ })

#define assert_verdict(got, want) assert_string_equal(dp_drop_name(got), dp_drop_name(BY_DROP_##want))
