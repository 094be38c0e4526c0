/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which policy decides: the configured files, or what a person handed over. The latest act of a person wins: a file
 * that was changed, a reload, an apply, a rollback. Nothing is loaded before it was checked, its tests held, it
 * compiled for every target and the store has it; net then commits it for all targets, or all go back.
 *
 * A trial decides, but is not the current policy of the store: whatever ends the trial without a word from a person,
 * the current policy decides again.
 */
#pragma once

#include "msg.h"
#include "store.h"

struct parent;
struct change;

#define LIFE_WAITS       1 /* net has yet to answer; then `done` is called */
#define LIFE_CONFIRM_MAX 86400u

struct life {
	struct store store;
	struct stored *trial;   /* NULL: none */
	struct pol_model *back; /* of store.current, while there is a trial */
	int64_t deadline_s;     /* monotonic: when the trial ends */
	struct event *timer;
	struct change *change; /* handed to net, which has yet to answer; NULL: none */
	uint32_t unanswered[TARGETS_MAX];
	uint32_t rollbacks;
	void (*done)(struct parent *p, int ret, const struct err *e, void *arg); /* NULL: nobody waits */
	void *done_arg;
};

/* Decides what to begin with. Changes nothing where `e` says why not. */
int life_start(struct parent *p, struct err *e);
/* The configured files alone, for --check. */
int life_check(struct parent *p, struct err *e);
int life_timer(struct parent *p, struct err *e); /* once there is an event loop */
void life_fini(struct parent *p);

/*
 * 0: it decides. LIFE_WAITS. Else refused, with nothing changed: -EINVAL (problems in `d`, the first in `e`), -EBUSY,
 * -EAGAIN (not started yet), -ENODATA (nothing to go back to, or to confirm) or what went wrong.
 * sources: taken over; NULL: the configured files. confirm_s 0: for good.
 */
int life_apply(struct parent *p, struct pol_sources *sources, unsigned confirm_s, struct diags *d, struct err *e);
int life_rollback(struct parent *p, struct diags *d, struct err *e);
int life_confirm(struct parent *p, struct err *e);

const struct stored *life_deciding(const struct parent *p);
int64_t life_seconds_left(const struct parent *p); /* of a trial; -1: there is none */

/* What net is told and answers. */
void life_sent(struct parent *p, uint32_t target);
void life_answered(struct parent *p, uint32_t target, int code, const struct err *e);
void life_net_down(struct parent *p);
