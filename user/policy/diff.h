/* SPDX-License-Identifier: Apache-2.0 */
/* What another policy would let pass and would stop: flows, not text. */
#pragma once

#include "policy.h"

/* An app that either policy names. Apps are compared by app-id: another name is no difference. */
struct pol_diff_app {
	uint8_t app_id[BY_APP_ID_LEN];
	char label[POL_NAME_MAX + 12]; /* new name, else old; with the first digits where two app-ids share it */
};

struct pol_diff_side {
	uint32_t *app; /* indices into the diff's apps, sorted */
	size_t n;
	bool has_other; /* also every attested app that neither policy names */
};

/* One class of flows: each app of `from` to each of `to`, on each of the ports. No flow is in two of them. */
struct pol_change {
	enum by_action now; /* BY_ALLOW: newly allowed; BY_DENY: newly denied */
	struct pol_diff_side from, to;
	struct pol_range *port; /* sorted, neither overlapping nor touching */
	size_t n_ports;
};

struct pol_diff {
	struct pol_diff_app *app; /* sorted by app-id */
	size_t n_apps;
	struct pol_change *change; /* allowed before denied */
	size_t n;
};

/* -ENOMEM; -E2BIG beyond POL_DIFF_PAIRS changed pairs of apps. */
#define POL_DIFF_PAIRS 4000000u
int pol_diff_make(const struct pol_model *old, const struct pol_model *new, struct pol_diff *diff, struct err *e);
int pol_diff_join(struct pol_diff *diff); /* its last step */
void pol_diff_fini(struct pol_diff *diff);

/* The change that has this flow, or NULL: both policies say the same of it. */
const struct pol_change *pol_diff_get(const struct pol_diff *diff, const uint8_t from[BY_APP_ID_LEN],
				      const uint8_t to[BY_APP_ID_LEN], uint32_t selector);

/* The side is every attested app there is. */
bool pol_diff_side_is_any(const struct pol_diff *diff, const struct pol_diff_side *side);
/* "+ web, api -> db: tcp/5432", a line a change */
void pol_diff_print(const struct pol_diff *diff, FILE *out);
