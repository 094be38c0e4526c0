/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mesh asks: whether a peer may make a request of this node, or this node of a peer. The answer is that of the
 * model's ladder (explain.c), worked out beforehand for each class of peers and of ports, as the kernel's verdicts are:
 * it costs what the rules with `http:` of one pair and port cost, whatever the number of others.
 */
#pragma once

#include "policy.h"

struct pol_gate;

/*
 * For the node `self`: BY_DIR_IN who may ask it, BY_DIR_OUT whom it may ask. Of rules about hosts it knows nothing. The
 * gate speaks of the model's names and must not outlive it. -E2BIG and the reason when it would need more than
 * POL_GATE_ENTRIES.
 */
#define POL_GATE_ENTRIES (1u << 20)
int pol_gate_make(const struct pol_model *model, const struct pol_subject *self, enum by_dir dir,
		  struct pol_gate **gate, struct err *e);
void pol_gate_free(struct pol_gate *gate); /* accepts NULL */

/* What rules tell about a peer, by what its evidence proves: to be asked once a connection, and again when its claims
 * change. */
uint32_t pol_gate_peer(const struct pol_gate *gate, const struct pol_subject *peer);

/* Whether a rule with `http:` covers the port, whoever the peer is. */
bool pol_gate_has_http(const struct pol_gate *gate, uint16_t port);

struct pol_gate_answer {
	enum by_action action;
	struct pol_named rule;  /* that decides; name NULL: default deny */
	struct pol_named audit; /* because of which it would be denied, or name NULL */
	uint32_t flags;         /* BY_RULE_* of the rule */
	bool is_about_http;     /* some rule with `http:` covers the pair and the port */
	bool is_normal;         /* the request has a normal form (http.h); if not it is judged as one that has none */
	char why[96];           /* not is_normal: what is wrong with it */
};

/*
 * `port` is the one that the peer dialled. `target` is the request target as it came, origin form (with or without a
 * query) or `*`; of a connection that is no HTTP `method` and `target` are NULL.
 */
void pol_gate_ask(const struct pol_gate *gate, uint32_t peer, uint16_t port, const char *method, const char *target,
		  struct pol_gate_answer *answer);
