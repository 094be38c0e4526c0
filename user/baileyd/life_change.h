/* SPDX-License-Identifier: Apache-2.0 */
/* A change of the policy, for life*.c alone: what net commits for every target, or what nothing is left of. */
#pragma once

#include <limits.h>

#include "life.h"
#include "policy/policy.h"

#define GO_BACK_AGAIN_S 5 /* after the way back from a trial failed */

enum what { LOAD, TRIAL, ROLLBACK, TRIAL_ENDS };

enum answer { NOT_ASKED, WAITING, COMMITTED, FAILED };

/* What decided before, until net has committed for every target. */
struct change {
	enum what what;
	struct pol_model *model;
	struct store store;
	struct stored *trial; /* what: TRIAL */
	unsigned confirm_s;
	struct {
		struct pol_image *image;
		enum answer answer;
		bool is_sent;
		uint32_t skip; /* answers to earlier images that come first */
	} target[TARGETS_MAX];
	struct err err; /* of the first that failed */
};

struct change *change_new(enum what what, struct err *e);
/*
 * Takes `c` and `model` over; `next` where it does not fail at once. The store has it first: a policy that decides is
 * one that a restart finds. Only the way back from a trial does not depend on the disk: a restart goes back, too.
 */
int change_begin(struct parent *p, struct change *c, struct pol_model *model, struct store *next, struct err *e);
void change_free(struct change *c);

void life_arm(struct parent *p, unsigned seconds); /* the trial ends then */
void life_path(const struct parent *p, char path[PATH_MAX]);
int life_save(const struct parent *p, const struct store *s, struct err *e);
/* A refusal is seen in status, also where the one who asked did not look. Returns ret. */
int life_refused(struct parent *p, int ret, const struct err *e);
void life_say(const struct parent *p); /* what decides, in the log */
