/* SPDX-License-Identifier: Apache-2.0 */
/* What another policy would let pass and would stop: flows, not text. */
#pragma once

#include "nets.h"
#include "policy.h"

/*
 * What either policy tells apart is cut once more by the other: a point of the difference is one point (model.h) in
 * each. Kinds of nodes first, then cells. Apps are compared by app-id, instances by instance-id, claims by their
 * values: another name is no difference.
 */
struct pol_diff_point {
	uint32_t own[2];     /* the point in the old policy, in the new one */
	uint32_t app;        /* of a kind: among the diff's apps */
	uint32_t place, box; /* of a kind: which instance, which claims; 0 .. of its app's */
};

struct pol_diff_app {
	bool is_other; /* every attested app that neither policy names */
	uint8_t app_id[BY_APP_ID_LEN];
	char label[POL_NAME_MAX + 12]; /* new name, else old; with the first digits where two app-ids share it */
	uint32_t own[2];               /* the app in each, or others */
	uint32_t first;                /* its first point: one a place and box, place by place */
	uint32_t n_places, n_boxes;
	uint32_t *instance;           /* of places 1 ...: among the diff's */
	struct pol_diff_boxes *boxes; /* what claims there are; shared by apps without a requirement */
};

struct pol_diff_side {
	uint32_t *point; /* sorted */
	size_t n;
};

/* One class of flows: each point of `from` to each of `to`, on each of the ports. No flow is in two of them. */
struct pol_change {
	enum by_action now; /* BY_ALLOW: newly allowed; BY_DENY: newly denied */
	bool is_http;       /* of some HTTP requests alone: whatever else is said on these ports is judged as before */
	struct pol_diff_side from, to;
	struct pol_range *port; /* sorted, neither overlapping nor touching */
	size_t n_ports;
};

/* A rule with `http:` that only one of the policies has, whatever it is called there. */
struct pol_diff_rule {
	bool is_new;
	enum by_action action;
	struct pol_named rule;
	char http[512]; /* "GET, HEAD /v1/items" */
};

struct pol_diff {
	struct pol_diff_point *point;
	size_t n, n_kinds; /* of points; of those that are kinds */
	struct pol_diff_app *app;
	size_t n_apps; /* the last one is others */
	struct pol_diff_instance {
		uint8_t instance_id[BY_INSTANCE_ID_LEN];
		const char *name;
		uint32_t own[2];
	} * instance;
	size_t n_instances;
	struct pol_cells cells;    /* of both */
	struct pol_change *change; /* allowed before denied, those of HTTP last */
	size_t n_changes;
	struct pol_diff_rule *rule; /* gone before new, in file order */
	size_t n_rules;
};

/* -ENOMEM; -E2BIG beyond POL_DIFF_PAIRS changed pairs of points, or POL_DIFF_POINTS of them. `diff` speaks of both
 * models and must not outlive them. */
#define POL_DIFF_PAIRS  4000000u
#define POL_DIFF_POINTS (1u << 20)
int pol_diff_make(const struct pol_model *old, const struct pol_model *new, struct pol_diff *diff, struct err *e);
void pol_diff_fini(struct pol_diff *diff);

/* Steps of it. */
int pol_diff_points(const struct pol_model *const model[2], struct pol_diff *diff); /* diff_points.c: the first */
void pol_diff_points_fini(struct pol_diff *diff);
int pol_diff_join(struct pol_diff *diff);
int pol_diff_rules(const struct pol_model *const model[2], struct pol_diff *diff); /* diff_http.c: the last */

/* The change that has this flow, or NULL; those of HTTP alone are no changes of flows: both policies say the same of
 * it. An end is a point in each of them. */
const struct pol_change *pol_diff_get(const struct pol_diff *diff, const uint32_t from[2], const uint32_t to[2],
				      uint32_t selector);

/* The side is every attested node there is, or every address. */
bool pol_diff_side_is_any(const struct pol_diff *diff, const struct pol_diff_side *side);
bool pol_diff_side_is_net(const struct pol_diff *diff, const struct pol_diff_side *side);
/* What a side is, in words, as few as are exact: "web", "db{tcb=OutOfDate}", "10.0.0.0/8". `app` is NULL of a network.
 * 0 or -ENOMEM. */
int pol_diff_side_walk(const struct pol_diff *diff, const struct pol_diff_side *side,
		       void (*take)(void *arg, const char *text, const struct pol_diff_app *app), void *arg);
/* "+ web, api -> db: tcp/5432", a line a change; 0 or -ENOMEM */
int pol_diff_print(const struct pol_diff *diff, FILE *out);
