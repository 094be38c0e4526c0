/* SPDX-License-Identifier: Apache-2.0 */
/* The tracked flows of a world, whichever of the two maps they are in; keys are those of any IP version. */
#pragma once

#include <stdbool.h>

#include "bailey/maps.h"

struct ct_map {
	int fd4, fd6; /* by_ct4 and by_ct6, owned */
};

bool ct_map_only(struct ct_map m, struct by_ct_key *key, struct by_ct *ct); /* the only flow; false: there is none */
int ct_map_put(struct ct_map m, const struct by_ct_key *key, const struct by_ct *ct); /* over one that is there */
bool ct_map_take(struct ct_map m, const struct by_ct_key *key, struct by_ct *ct);     /* out of the map */
void ct_map_close(struct ct_map m);
