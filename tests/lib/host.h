/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's datapath on a bpffs of its own. The host is HOST4 and HOST6; friends are in FRIENDS (class 1), everybody
 * else is in class 2. What comes in is sent to the XDP program and to its stand-in at tc, which must agree.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bailey/host.h"
#include "datapath/datapath.h"
#include "img.h"
#include "pkt.h"

#define HOST4        "192.0.2.1"
#define HOST6        "2001:db8::1"
#define FRIEND4      "192.0.2.7"
#define FRIEND6      "2001:db8::7"
#define WORLD4       "198.51.100.9"
#define WORLD6       "2001:db8:bad::9"
#define CLASS_FRIEND 1
#define CLASS_WORLD  2
#define WG_PORT      51820

enum host_hook { HOOK_XDP, HOOK_TC, HOOK_OUT, HOOK_COUNT };

struct host_world {
	char bpffs[64];
	struct dp_host_options options;
	struct dp *dp;
	int prog[HOOK_COUNT];
	struct frame back; /* what the last run left of its frame */
	uint32_t retval;
};

struct host_world *host_world_open(const struct dp_host_options *options);
void host_world_close(struct host_world *w);
int host_world_map(const struct host_world *w, const char *name);

/* Commits and frees. Friends may come in to TCP and UDP 22 and ping; the host may go out to TCP and UDP 53 of anybody.
 */
void host_world_policy(struct host_world *w);
void host_world_commit(struct host_world *w, struct img *img);
/* With n rules besides, about as many addresses (at most 50,000) that no packet here has: the policy of a benchmark. */
void host_world_commit_among(struct host_world *w, struct img *img, uint32_t n);

enum by_drop host_send_frame(struct host_world *w, enum host_hook hook, const struct frame *f);
void host_frame(struct frame *f, const struct pkt *p, int n_tags); /* Ethernet, behind n_tags VLAN tags */
enum by_drop host_send(struct host_world *w, enum host_hook hook, const struct pkt *p);
/* The offset of what is behind the IP header of a frame without options and extension headers. */
size_t host_l4_of(const struct frame *f);
