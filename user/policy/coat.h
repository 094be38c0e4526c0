/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port classes, each painted once: by the first rule that covers it. Painting costs what is bare, not what a rule
 * covers.
 */
#pragma once

#include <stdint.h>

struct pol_coat {
	uint32_t *rule; /* by port class: the rule's number, 0: bare */
	uint32_t *next; /* where the next bare class may be: a disjoint-set forest that points upwards */
	uint32_t *done; /* classes that are painted */
	uint32_t n_done;
};

int pol_coat_init(struct pol_coat *coat, uint32_t n); /* classes 1..n; -ENOMEM */
void pol_coat_fini(struct pol_coat *coat);
void pol_coat_clean(struct pol_coat *coat);
uint32_t pol_coat_bare(struct pol_coat *coat, uint32_t class); /* the first bare one from there on; n + 1: none */
void pol_coat_paint(struct pol_coat *coat, uint32_t first, uint32_t end, uint32_t number);
