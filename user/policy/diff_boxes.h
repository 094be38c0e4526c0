/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes: sets of values of claims, one for each dimension, that no predicate of either policy tells apart. A node's
 * claims are in exactly one.
 */
#pragma once

#include "boxes.h"

struct pol_diff_boxes {
	struct pol_splits splits;
	size_t at[POL_DIM_COUNT], width; /* where a dimension's parts lie in a shape */
	bool *shape;                     /* of each box: which parts of each dimension it has */
	struct pol_masks *masks;         /* of each box: what it meets */
	size_t n;
	bool is_shared; /* belongs to others, the last app */
};

/* 0, -ENOMEM, or -E2BIG beyond 4096; *boxes is to be freed whatever it says. */
int pol_diff_boxes_make(const struct pol_predicate *predicate, size_t n, struct pol_diff_boxes **boxes);
void pol_diff_boxes_free(struct pol_diff_boxes *boxes); /* accepts NULL */

/* Some of the boxes in as few words as are exact: "tcb=OutOfDate, simulated=false", "" for all there are. 0 or -ENOMEM.
 */
int pol_diff_boxes_tell(const struct pol_diff_boxes *b, const uint32_t *box, size_t n,
			void (*take)(void *arg, const char *claims), void *arg);
