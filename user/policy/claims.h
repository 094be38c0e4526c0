/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policy may demand of a node's evidence. A claim lists values for some dimensions; a node meets it when in each
 * of those dimensions its value is known and listed. Where a value is not known the node may meet it: that is not
 * enough for an allow rule, and enough for a deny rule.
 */
#pragma once

#include "policy.h"

enum pol_dim {
	POL_DIM_TCB,
	POL_DIM_SIMULATED,
	POL_DIM_COMPOSE_HASH,
	POL_DIM_OS_IMAGE_HASH,
	POL_DIM_MRTD,
	POL_DIM_RTMR0,
	POL_DIM_RTMR1,
	POL_DIM_RTMR2,
	POL_DIM_RTMR3,
	POL_DIM_KEY_PROVIDER,
	POL_DIM_COUNT,
};

/* A value of any dimension, the rest of the bytes zero. */
struct pol_value {
	uint8_t byte[64];
};

struct pol_claim {
	char *name; /* NULL: an app's requirement */
	struct {
		struct pol_value *value; /* sorted, each once */
		size_t n;                /* 0: nothing is demanded */
	} dim[POL_DIM_COUNT];
	unsigned file, line;
};

enum pol_met { POL_NOT_MET, POL_MAY_BE_MET, POL_MET };

extern const char *const pol_dim_key[POL_DIM_COUNT + 1]; /* "tcb", ...; ends in NULL */

void pol_claim_fini(struct pol_claim *claim);
enum pol_met pol_dim_met(const struct pol_claim *claim, enum pol_dim dim, const struct pol_subject *subject);
enum pol_met pol_claim_met(const struct pol_claim *claim, const struct pol_subject *subject);
int pol_value_order(const void *a, const void *b);

bool pol_value_parse(enum pol_dim dim, const char *text, struct pol_value *value, struct err *e);
void pol_value_print(enum pol_dim dim, const struct pol_value *value, char *buf, size_t size);
/* Whether every value that the dimension has is in the array that pol_dim_values() gives. */
size_t pol_dim_values(enum pol_dim dim, struct pol_value value[POL_TCB_COUNT]); /* 0: there is no end of them */
bool pol_dim_can_be_unknown(enum pol_dim dim);

/* false: it is not known. */
bool pol_subject_get(const struct pol_subject *subject, enum pol_dim dim, struct pol_value *value);
void pol_subject_set(struct pol_subject *subject, enum pol_dim dim, const struct pol_value *value); /* NULL: unknown */
/* proved.c: claims as words, or as a map (policy.h). */
bool pol_subject_parse(struct pol_subject *subject, const char *claims, struct err *e);
/* One dimension of it. */
bool pol_subject_set_text(struct pol_subject *subject, const char *key, const char *text, struct err *e);
