/* SPDX-License-Identifier: Apache-2.0 */
/* An instance that processes come to and die at, with the policies of pair.h; and what the kernel then says. */
#pragma once

#include "pair.h"

#define SITE_INSTANCE "crash"
#define SITE_L3       14

struct site {
	char bpffs[64];
	struct dp *dp;
	unsigned dev, dev2; /* interface indexes */
	bool is_rotated;    /* of the policy that decides */
	unsigned residue;
	int (*attach)(struct dp *dp, unsigned ifindex);
};

/* These assert nothing: a forked child may do them. 0 or -errno. */
int site_open(struct site *s);
int site_attach(struct dp *dp, unsigned ifindex);         /* dp_attach() */
int site_join(struct site *s, int node, bool is_rotated); /* with the class of a policy numbered so */
int site_join_all(struct site *s, bool is_rotated);

void site_reopen(struct site *s);  /* the next process */
void site_destroy(struct site *s); /* accepts one without dp */

/* Programs of a direction of a device, by id: tcx, or clsact at the place that is ours. */
uint32_t site_programs_on(const struct site *s, unsigned ifindex, int dir, uint32_t id[8]);
struct pair_answer site_answer(const struct site *s); /* of the pinned programs; nothing passes where none are */
struct pair_answer site_device_answer(const struct site *s,
				      unsigned ifindex); /* of the programs that its packets meet: one a direction */
void site_pins(const struct site *s, char *text, size_t size); /* names in the instance's directory, in one string */
/* A packet of DB's flow to a port that the policy with this residue opens: does it pass? F_SYN opens the flow. */
bool site_flow(const struct site *s, unsigned residue, uint8_t flags);

void answer_is(struct pair_answer got, struct pair_answer want, int line);
#define assert_answer(got, want) answer_is(got, want, __LINE__)
