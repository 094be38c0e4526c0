// SPDX-License-Identifier: Apache-2.0
#include "coat.h"

#include <errno.h>
#include <stdlib.h>

void pol_coat_fini(struct pol_coat *coat)
{
	free(coat->rule);
	free(coat->next);
	free(coat->done);
}

int pol_coat_init(struct pol_coat *coat, uint32_t n)
{
	coat->rule = calloc(n + 2, sizeof(*coat->rule));
	coat->next = calloc(n + 2, sizeof(*coat->next));
	coat->done = calloc(n + 2, sizeof(*coat->done));
	if (!coat->rule || !coat->next || !coat->done)
		return -ENOMEM;
	for (uint32_t c = 0; c < n + 2; c++)
		coat->next[c] = c;
	return 0;
}

void pol_coat_clean(struct pol_coat *coat)
{
	while (coat->n_done) {
		uint32_t c = coat->done[--coat->n_done];

		coat->rule[c] = 0;
		coat->next[c] = c;
	}
}

uint32_t pol_coat_bare(struct pol_coat *coat, uint32_t c)
{
	while (coat->next[c] != c) {
		coat->next[c] = coat->next[coat->next[c]];
		c = coat->next[c];
	}
	return c;
}

void pol_coat_paint(struct pol_coat *coat, uint32_t first, uint32_t end, uint32_t number)
{
	for (uint32_t c = pol_coat_bare(coat, first); c < end; c = pol_coat_bare(coat, c + 1)) {
		coat->rule[c] = number;
		coat->next[c] = c + 1;
		coat->done[coat->n_done++] = c;
	}
}
