/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folding: what no rule tells apart becomes one class. The packet path then looks at two small numbers, whatever
 * the number of rules, peers and ports.
 */
#pragma once

#include "model.h"

/* The rules that concern one node: number i + 1 of the image. Openings stand first, then rules in file order. */
struct pol_view {
	struct pol_view_item {
		const struct pol_rule *rule;
		const struct pol_opening *opening;         /* of which the rule is made, or NULL */
		bool is_in, is_out;                        /* this node is the rule's `to`, its `from` */
		const struct pol_range *own[BY_DIR_COUNT]; /* its ports in that direction, */
		size_t n_own[BY_DIR_COUNT];                /* where they are not all of the rule's */
	} * item;
	size_t n;
	struct pol_range *cut; /* what `own` points to */
};

/* The rules between nodes, or those of hosts, that have the kind of this node on a side. */
int pol_view_of(const struct pol_model *model, uint32_t self, bool is_host, struct pol_view *view);
void pol_view_fini(struct pol_view *view);
/*
 * What rules with `http:` mean to a kernel, which sees no requests. In: such an allow rule opens its ports where the
 * node's mesh listens, such a deny rule closes them where it does not. Out: the one opens, the other leaves it to the
 * peer's mesh. `mesh` is sorted, neither overlapping nor touching.
 */
int pol_view_narrow(struct pol_view *view, const struct pol_range *mesh, size_t n_mesh);
const struct pol_range *pol_view_ports(const struct pol_view *view, size_t i, enum by_dir dir, size_t *n);
bool pol_view_has(const struct pol_view *view, size_t i, enum by_dir dir);
/* The peer's side of rule i seen in that direction. */
const struct pol_side *pol_view_side(const struct pol_view *view, size_t i, enum by_dir dir);

/* Selectors of one direction. Class c is 1..n; sample[c] is its least selector, and rises with c. */
struct pol_ports {
	uint16_t *class_at; /* of every selector */
	uint32_t *sample;   /* n + 1, the first unused */
	uint32_t n;
};

int pol_ports_fold(const struct pol_view *view, enum by_dir dir, const uint8_t seed[32], struct pol_ports *ports,
		   struct err *e);
void pol_ports_fini(struct pol_ports *ports);
/* The classes that a range covers: *first .. *end - 1. */
void pol_ports_find(const struct pol_ports *ports, const struct pol_range *range, uint32_t *first, uint32_t *end);

/* Points 0 .. n_points - 1 by the sides that name them. Class 1 is every point that none names. */
#define POL_CLASS_OTHER 1u

struct pol_peers {
	uint32_t n_points;
	uint32_t *class_of; /* of every point */
	uint32_t *start;    /* point p's sides are side[start[p]] .. side[start[p + 1] - 1] */
	uint32_t *side;     /* 2 * rule of the view + direction, rising */
	uint32_t *sample;   /* a point of class c; [0] and [1] are unused */
	uint32_t n;         /* classes 1..n */
};

int pol_peers_fold(const struct pol_view *view, uint32_t n_points, struct pol_peers *peers);
void pol_peers_fini(struct pol_peers *peers);
