/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy: YAML -> checked model -> image for one node; and the same model's answer in words. Pure: no libbpf,
 * no sockets, no clock, no files. Room prefix pol_. The language is in docs/policy.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bailey/types.h"
#include "diag.h"
#include "image.h"

#define POL_TEXT_MAX (16u << 20) /* bytes of policy text that are read; BY_MAX_RULES/2 rules fit */
#define POL_NAME_MAX 47u         /* characters in the name of a rule or an app: what struct by_rule holds */

struct pol_model; /* a checked policy; immutable */

/* 0 and *model, or -EINVAL with every problem in `d`. Of several files: sources.h. */
int pol_parse(const char *file, const char *text, size_t len, struct pol_model **model, struct diags *d);
/* The same, with warnings about an accepted policy: rules that can never decide, entries that add nothing. Up to two
 * seconds more for large ones. */
int pol_parse_warn(const char *file, const char *text, size_t len, struct pol_model **model, struct diags *d);
void pol_free(struct pol_model *model); /* accepts NULL */
size_t pol_rule_count(const struct pol_model *model);
size_t pol_app_count(const struct pol_model *model);

/* What policy may ask about a node; filled from verified evidence only. */
struct pol_subject {
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	bool is_simulated;
};

/*
 * Compiles for the node `self`, with the peers known now. *img is one malloc'ed block. The same model, self and
 * peers give the same bytes.
 */
int pol_compile(const struct pol_model *model, const struct pol_subject *self, const struct pol_subject *peers,
		size_t n_peers, struct pol_image **img, struct err *e);

/*
 * The class that `peer` has in an image compiled from this model, so that a newcomer needs no new generation: the
 * image has a class for every app of the policy and one for all others. -ENOENT: the image is of another policy,
 * compile again.
 */
int pol_classify(const struct pol_model *model, const struct pol_image *img, const struct pol_subject *peer,
		 uint32_t *peer_class);

/* "tcp/5432", "udp/53", "icmp/8", "icmpv6/128", "proto/47" -> index in the BY_PORT_* space. One selector, no range. */
bool pol_selector_parse(const char *text, uint32_t *selector, struct err *e);
void pol_selector_print(uint32_t selector, char *buf, size_t size);

struct pol_range {
	uint32_t first, last; /* BY_PORT_* space, inclusive */
};

/* "tcp/80, tcp/443"; what does not fit ends in "..." */
void pol_ranges_print(const struct pol_range *range, size_t n, char *buf, size_t size);

/* Why. Names are the policy's app names or a 40-digit app-id. */
struct pol_answer {
	enum by_action action;
	const char *rung; /* "rule" or "default deny" */
	const char *rule; /* name, or NULL; owned by the model, like the rest */
	const char *file;
	unsigned line;
	const char *nearest_rule; /* on a default deny: a rule of the same two apps with other ports, or NULL */
	const char *nearest_file;
	unsigned nearest_line;
	char nearest_ports[128];
};

/* -ENOENT when a name is not in the policy (`e` says which, and the nearest name). */
int pol_explain(const struct pol_model *model, const char *from, const char *to, uint32_t selector,
		struct pol_answer *answer, struct err *e);

/* "DENY   default deny: no rule from web to db covers tcp/22", and what is nearest on a second line. */
void pol_answer_print(const struct pol_answer *answer, const char *from, const char *to, uint32_t selector, FILE *out);

/* The tests: section. Each failing test is a line in `d`; returns how many failed. */
size_t pol_run_tests(const struct pol_model *model, struct diags *d, size_t *n_tests);

/* Name of an app-id in this policy, or NULL. */
const char *pol_app_name(const struct pol_model *model, const uint8_t app_id[BY_APP_ID_LEN]);
/* App-id of an app name or of a 40-digit app-id; -ENOENT as above. */
int pol_app_id(const struct pol_model *model, const char *name, uint8_t app_id[BY_APP_ID_LEN], struct err *e);
