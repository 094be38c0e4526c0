/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "fold.h"

struct pol_verdicts {
	struct pol_verdict *item;
	size_t n, cap;
};

/*
 * Which rule decides each (peer class, port class) of a direction: appends the pairs that some rule decides, sorted.
 * -E2BIG beyond half of BY_MAX_VERDICTS.
 */
int pol_verdicts_add(const struct pol_view *view, enum by_dir dir, const struct pol_ports *ports,
		     const struct pol_peers *peers, struct pol_verdicts *verdicts, struct err *e);
