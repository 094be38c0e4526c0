/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of the underlay, cut by all prefixes that the policy names: a cell is a prefix without the longer ones in
 * it. Each address is in exactly one cell, that of its longest prefix. The first cells of the families are always
 * there.
 */
#pragma once

#include "policy.h"

#define POL_CELLS_MAX 65536u

/* In the space of struct by_addr: IPv4 has 96 bits more. No bits beyond the prefix. */
struct pol_prefix {
	struct by_addr addr;
	uint8_t bits;
	bool is_v4; /* or the prefixes of IPv6 that have ::ffff:0:0/96 in them would have IPv4 in them */
};

struct pol_cells {
	struct pol_prefix *prefix; /* sorted, each once: a prefix stands before those in it */
	size_t n;
};

/* "10.0.0.0/8", "2001:db8::/32", or an address. Bits beyond the prefix are refused: which part was meant? */
bool pol_prefix_parse(const char *text, struct pol_prefix *prefix, struct err *e);
bool pol_prefix_is_text(const char *text); /* looks like one: no name does */
void pol_prefix_print(const struct pol_prefix *prefix, char *buf, size_t size);
struct pol_prefix pol_prefix_of(const struct ip_prefix *p);       /* bits beyond the prefix are left out */
struct pol_prefix pol_prefix_shorter(const struct pol_prefix *p); /* by one bit; there is one to lose */
bool pol_prefix_has(const struct pol_prefix *outer, const struct pol_prefix *inner);

/* Sorts, adds the first cells, and takes what is there twice away. Room for n + 2. */
void pol_cells_make(struct pol_cells *cells);
/* The cell of an address or of a whole prefix: the longest that has it. */
uint32_t pol_cell_of(const struct pol_cells *cells, const struct pol_prefix *prefix);
/* The cells within a prefix that is one of them, appended to `cell`; returns how many. NULL: only that. */
size_t pol_cells_within(const struct pol_cells *cells, const struct pol_prefix *prefix, uint32_t *cell);
