/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `bailey policy` share. */
#pragma once

#include <jansson.h>

#include "base/cleanup.h"
#include "policy/policy.h"

#define auto_diags auto_call(diags_fini)
#define auto_json  auto_call(cleanup_json)
DEFINE_CLEANUP(json, json_t, json_decref)

struct loaded {
	struct pol_model *model;
	size_t n_files, n_warnings;
	uint8_t digest[32]; /* of the texts */
};

void loaded_fini(struct loaded *l);
/* EXIT_YES and the model, or the status to end with; what is wrong has been said. */
int policy_load(int n, char **paths, struct loaded *l);

/* What a person named, as one text: "policy.d", "web.yaml, db.yaml"; NULL: out of memory. */
char *policy_shown(int n, char **paths);

int policy_say(const struct err *e);                                        /* returns EXIT_USAGE */
int policy_misused(const char *command, const char *why);                   /* the same */
int policy_print_json(json_t *value);                                       /* 0, or EXIT_USAGE */
int policy_claims_take(const char *option, const char *arg, char **claims); /* EXIT_YES, or the status to end with */
json_t *policy_rate_json(uint32_t flags, uint32_t rate, uint32_t burst);    /* null: there is none */

/* A question to the loaded programs of a running baileyd. */
struct policy_live {
	const char *from, *to, *port;
	const char *instance, *socket; /* NULL: the only one */
	const uint8_t *digest;         /* of the policy that must be loaded; NULL: any */
	bool is_json;
};
int policy_ask_live(const struct policy_live *q);
