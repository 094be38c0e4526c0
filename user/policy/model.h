/* SPDX-License-Identifier: Apache-2.0 */
/* What a checked policy is, for the files of this room alone. */
#pragma once

#include "policy.h"
#include "sources.h"
#include "yaml.h"

#define POL_ANY       "any-attested"
#define POL_APP_OTHER UINT32_MAX /* an attested app that the policy does not name */

/* A file of the policy. Whatever has a `line` has the number of its `file`, too. */
struct pol_file {
	char *name;        /* as diagnostics carry it */
	const char *shown; /* the end of it that no other file has: "three-tier.yaml", or "shop/rules.yaml" */
};

struct pol_app {
	char *name;
	uint8_t app_id[BY_APP_ID_LEN];
	unsigned file, line;
};

/* A name for apps. */
struct pol_group {
	char *name;
	uint32_t *app; /* indices into the model's apps, sorted; groups within it are resolved */
	size_t n;
	unsigned file, line;
};

/* One side of a rule: every attested node, or these apps. */
struct pol_side {
	bool is_any;
	uint32_t *app; /* indices into the model's apps, sorted */
	size_t n;
};

/* A name for ports. */
struct pol_port_set {
	char *name;
	struct pol_range *port; /* sorted, neither overlapping nor touching */
	size_t n;
};

struct pol_rule {
	char *name;
	enum by_action action;
	struct pol_side from, to;
	struct pol_range *port; /* sorted, neither overlapping nor touching */
	size_t n_ports;
	unsigned file, line, col;
};

/* One side of a test. */
struct pol_end {
	char *name;    /* as written */
	uint32_t *app; /* or POL_APP_OTHER; more than one only in a group */
	size_t n;
	bool is_group;
};

#define POL_TEST_PAIRS_MAX 10000u /* from's apps times to's */

struct pol_test {
	struct pol_end from, to;
	uint32_t selector;
	enum by_action expect;
	unsigned file, line, col;
};

struct pol_model {
	struct pol_file *file;
	size_t n_files;
	uint8_t digest[32];
	struct pol_app *app;
	size_t n_apps;
	uint32_t *by_name, *by_id; /* the apps, sorted */
	struct pol_group *group;
	size_t n_groups;
	uint32_t *group_by_name;       /* the groups, sorted */
	struct pol_port_set *port_set; /* sorted by name */
	size_t n_port_sets;
	struct pol_rule *rule;
	size_t n_rules;
	struct pol_test *test;
	size_t n_tests;
};

/* Keys of each map of the language; policy/schema.json has the same. */
extern const char *const pol_keys_top[], *const pol_keys_app[], *const pol_keys_rule[], *const pol_keys_test[];

/* model.c */
void pol_model_index(struct pol_model *model); /* fills by_name and by_id, which have room for every app */
bool pol_app_by_name(const struct pol_model *model, const char *name, uint32_t *app);
uint32_t pol_app_by_id(const struct pol_model *model, const uint8_t app_id[BY_APP_ID_LEN]);
const struct pol_group *pol_group_by_name(const struct pol_model *model, const char *name); /* NULL: there is none */
const struct pol_port_set *pol_port_set_by_name(const struct pol_model *model, const char *name);
bool pol_side_has(const struct pol_side *side, uint32_t app);
bool pol_rule_covers(const struct pol_rule *rule, uint32_t selector);
/* Names the files and tells them apart. -ENOMEM, or 0. */
int pol_model_name_files(struct pol_model *model, const struct pol_text *text, size_t n);
/* "on line 9", or "at db.yaml:9" where `file` is not the file that the words are about. */
#define POL_PLACE_MAX 96
const char *pol_place(const struct pol_model *model, unsigned here, unsigned file, unsigned line,
		      char buf[POL_PLACE_MAX]);
/* "three-tier.yaml:9", fits struct by_rule */
void pol_rule_where(const struct pol_model *model, const struct pol_rule *rule, char *buf, size_t size);
/* An app name or a 40-digit app-id. */
int pol_endpoint_find(const struct pol_model *model, const char *name, uint32_t *app, struct err *e);
int pol_sha256(const void *data, size_t len, uint8_t digest[32]);

/* ports.c */
bool pol_range_parse(const char *text, struct pol_range *range, struct err *e);
void pol_range_merge(struct pol_range *range, size_t *n); /* sorts and joins in place */
extern const char *const pol_port_words[];                /* what no set of ports can be called */

/* explain.c: the rule that decides, or NULL for default deny. Deny before allow, then file order. */
const struct pol_rule *pol_decide(const struct pol_model *model, uint32_t from, uint32_t to, uint32_t selector);

/* shadow.c: rules that can never decide, because in all that they cover other rules win. Exact, and bounded: */
#define POL_WARN_RULES 4096u      /* with more rules nothing is looked for */
#define POL_WARN_WORK  200000000u /* steps; then what is left is not looked at. Both are told. */
void pol_warn_rules(const struct pol_model *model, struct diags *d);
