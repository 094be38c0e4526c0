// SPDX-License-Identifier: Apache-2.0
/* Buckets of peers that left would stay until the next commit: the rules that have one for each peer are remembered. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

int rated_add(struct dp *dp, uint32_t slot, uint32_t rule, const struct by_rule *r)
{
	struct rated *all = &dp->rated[slot];

	if (!(r->flags & BY_RULE_RATE_PEER))
		return 0;
	if ((all->n & (all->n - 1)) == 0) { /* 0 or a power of two: full */
		uint32_t *more = realloc(all->rule, (all->n ? 2 * all->n : 1) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		all->rule = more;
	}
	all->rule[all->n++] = rule;
	return 0;
}

void rated_clear(struct dp *dp, uint32_t slot)
{
	free(dp->rated[slot].rule);
	dp->rated[slot] = (struct rated){ 0 };
}

void rates_forget(struct dp *dp, uint32_t identity)
{
	for (uint32_t slot = 0; slot < BY_SLOTS; slot++)
		for (uint32_t i = 0; i < dp->rated[slot].n; i++) {
			struct by_rate_key key = { .slot = slot, .rule = dp->rated[slot].rule[i], .peer = identity };

			bpf_map_delete_elem(dp->map[MAP_RATE], &key); /* most have none */
		}
}
