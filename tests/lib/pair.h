/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two policies whose port classes and peer classes are numbered so differently that a packet judged with ports of one
 * and verdicts or classes of the other shows: DB may use each fourth port, in both directions, and EVE none. A mixture
 * moves the ports that are open by one, or gives DB what EVE has.
 */
#pragma once

#include "world.h"

#define PAIR_FIRST 1000u /* TCP */
#define PAIR_PORTS 32u

/* Opens the ports whose number leaves `residue` when divided by 4. Numbered one way or the other. */
const struct pol_image *pair_image(struct img *img, bool is_rotated, unsigned residue);
int pair_commit(struct dp *dp, bool is_rotated, unsigned residue); /* asserts nothing: also for a forked child */

uint32_t pair_class(int node, bool is_rotated); /* of DB or EVE */

/* What programs answer to the first packet of a flow on each port: bit i for port PAIR_FIRST + i. */
struct pair_answer {
	uint32_t db_in, db_out, eve_in;
};

/* Asks with a source port not used before, so that no tracked flow answers. l3_offset as of the programs. */
struct pair_answer pair_ask(const int prog[BY_DIR_COUNT], uint32_t l3_offset);
struct pair_answer pair_expect(unsigned residue);
struct pair_answer pair_nothing(void);
bool pair_same(struct pair_answer a, struct pair_answer b);
/* What a mixture would answer: ports, verdicts and members each of one image or the other. */
struct pair_answer pair_mixture(const struct pol_image *ports, const struct pol_image *verdicts,
				const struct pol_image *members);
/* One packet of DB's: does it pass? */
bool pair_passes(int prog, enum by_dir dir, uint32_t l3_offset, const struct pkt *p);
