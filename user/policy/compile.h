/* SPDX-License-Identifier: Apache-2.0 */
/* Everything between the model and the bytes of an image, for compile*.c alone. */
#pragma once

#include "verdict.h"

struct pol_work {
	const struct pol_model *model;
	struct pol_view view;
	struct pol_ports ports[BY_DIR_COUNT];
	struct pol_peers peers; /* kinds; or cells */
	struct pol_verdicts verdicts;
	/* an image for the overlay */
	struct member {
		const uint8_t *instance_id;
		uint32_t kind;
	} * member; /* sorted by instance, each once */
	size_t n_members;
	/* an image for the underlay: the policy's cells, and the prefixes of openings */
	struct pol_cells cells;
	uint32_t n_openings;
};

void pol_work_fini(struct pol_work *work);
/* Ports, peers and verdicts of the view. */
int pol_work_fold(struct pol_work *work, uint32_t n_points, struct err *e);
int pol_work_write(const struct pol_work *work, struct pol_image **img, struct err *e);
