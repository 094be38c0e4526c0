/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checked policy is, for the files of this room alone.
 *
 * Everything that can be a side of a rule is a *point*: the kinds of nodes (kinds.h) come first, 0 .. kinds.n - 1, then
 * the cells of the underlay (nets.h). A flow goes from a point to a point: kind to kind on the overlay, cell to kind
 * into a host, kind to cell out of one. Each node is of exactly one kind and each address in exactly one cell, so what
 * is worked out for points holds for all flows there can be.
 */
#pragma once

#include "claims.h"
#include "http.h"
#include "kinds.h"
#include "nets.h"
#include "policy.h"
#include "sources.h"
#include "yaml.h"

#define POL_ANY       "any-attested"
#define POL_HOST      "host"
#define POL_WORLD     "world"
#define POL_APP_OTHER UINT32_MAX /* an attested app that the policy does not name */

/* A file of the policy. Whatever has a `line` has the number of its `file`, too. */
struct pol_file {
	char *name;        /* as diagnostics carry it */
	const char *shown; /* the end of it that no other file has: "three-tier.yaml", or "shop/rules.yaml" */
};

struct pol_app {
	char *name;
	uint8_t app_id[BY_APP_ID_LEN];
	struct pol_claim *require; /* NULL: nothing */
	unsigned file, line;
};

struct pol_instance {
	char *name;
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	uint32_t app; /* POL_APP_OTHER: any */
	unsigned file, line;
};

/* A name for prefixes of the underlay. */
struct pol_network {
	char *name;
	struct pol_prefix *prefix;
	size_t n;
	unsigned file, line;
};

/* A name for nodes. */
struct pol_group {
	char *name;
	uint32_t *atom; /* sorted; groups within it are resolved */
	size_t n;
	unsigned file, line;
};

/* What a name is. */
enum pol_what { POL_NAME_APP, POL_NAME_INSTANCE, POL_NAME_CLAIM, POL_NAME_NETWORK, POL_NAME_GROUP };

struct pol_name {
	const char *text;
	enum pol_what what;
	uint32_t i; /* among those of its sort */
	unsigned file, line;
};

/* One side of a rule. */
struct pol_side {
	bool is_any;
	uint32_t first, end; /* is_any: all kinds, or all cells: first .. end - 1 */
	uint32_t *point;     /* else these, sorted: kinds alone or cells alone */
	size_t n;
	uint32_t *atom; /* of nodes, where kinds are more than apps: what was named; no decision looks at it */
	size_t n_atoms;
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
	bool is_host;   /* one side is cells, the other the nodes that have the rule */
	uint32_t flags; /* BY_RULE_* */
	uint32_t rate, burst;
	struct pol_http *http; /* the requests that it is about */
	size_t n_http;         /* 0: whatever is said on the ports */
	unsigned file, line, col;
};

/* One side of a test. */
struct pol_end {
	char *name;      /* as written */
	uint32_t *point; /* more than one only in a group */
	uint32_t *atom;  /* of a group: whose points they are */
	size_t n;
};

#define POL_TEST_PAIRS_MAX 10000u /* from's nodes times to's */

struct pol_test {
	struct pol_end from, to;
	uint32_t selector;
	char *http; /* a request on the port; NULL: whatever is said there */
	enum by_action expect;
	unsigned file, line, col;
};

struct pol_model {
	struct pol_file *file;
	size_t n_files;
	uint8_t digest[32];
	struct pol_app *app;
	size_t n_apps;
	uint32_t *by_id; /* the apps, sorted */
	struct pol_instance *instance;
	size_t n_instances;
	struct pol_claim *claim;
	size_t n_claims;
	struct pol_network *network;
	size_t n_networks;
	struct pol_group *group;
	size_t n_groups;
	struct pol_name *name; /* of all of these, sorted */
	size_t n_names;
	struct pol_kinds kinds;
	struct pol_cells cells;
	struct pol_port_set *port_set; /* sorted by name */
	size_t n_port_sets;
	struct pol_rule *rule;
	size_t n_rules;
	struct pol_test *test;
	size_t n_tests;
};

/* Keys of each map of the language; policy/schema.json has the same. */
extern const char *const pol_keys_top[];
extern const char *const pol_keys_app[];
extern const char *const pol_keys_instance[];
extern const char *const pol_keys_claim[];
extern const char *const pol_keys_rate[];
extern const char *const pol_keys_http[];
extern const char *const pol_keys_rule[];
extern const char *const pol_keys_test[];

/* model.c */
void pol_apps_index(struct pol_model *model); /* fills by_id, which has room for every app */
uint32_t pol_app_by_id(const struct pol_model *model, const uint8_t app_id[BY_APP_ID_LEN]);
const struct pol_name *pol_name_find(const struct pol_model *model, const char *name); /* NULL: there is none */
const struct pol_group *pol_group_by_name(const struct pol_model *model, const char *name);
const struct pol_port_set *pol_port_set_by_name(const struct pol_model *model, const char *name);
const char *pol_what_text(enum pol_what what); /* "app" */
bool pol_side_has(const struct pol_side *side, uint32_t point);
bool pol_rule_covers(const struct pol_rule *rule, uint32_t selector);
/* Names the files and tells them apart. -ENOMEM, or 0. */
int pol_model_name_files(struct pol_model *model, const struct pol_text *text, size_t n);
/* "on line 9", or "at db.yaml:9" where `file` is not the file that the words are about. */
#define POL_PLACE_MAX 96
const char *pol_place(const struct pol_model *model, unsigned here, unsigned file, unsigned line,
		      char buf[POL_PLACE_MAX]);
/* "three-tier.yaml:9", fits struct by_rule */
void pol_rule_where(const struct pol_model *model, const struct pol_rule *rule, char *buf, size_t size);
int pol_sha256(const void *data, size_t len, uint8_t digest[32]);
int pol_shake256(const void *data, size_t len, void *out, size_t out_len); /* 0 or -EIO */

static inline uint32_t pol_point_of_cell(const struct pol_model *model, uint32_t cell)
{
	return model->kinds.n + cell;
}

static inline uint32_t pol_points(const struct pol_model *model)
{
	return model->kinds.n + (uint32_t)model->cells.n;
}

/* name.c: the nodes that a name stands for in questions and tests. */
int pol_name_unknown(const struct pol_model *model, const char *name, struct err *e);
void pol_subject_of_newcomer(const struct pol_model *model, struct pol_subject *subject);
void pol_subject_of_atom(const struct pol_model *model, uint32_t atom, struct pol_subject *subject);
const char *pol_atom_name(const struct pol_model *model, uint32_t atom);
/* What a node has for a name in a question, where neither the question nor the policy says what. */
bool pol_value_is_unnamed(enum pol_dim dim, const struct pol_value *value);

/* proved.c: the map of claims that a test has; what is wrong is told. */
bool pol_subject_set_map(const struct yaml_doc *doc, const struct yaml_node *map, struct pol_subject *subject,
			 struct diags *d);

/* ports.c */
extern const char *const pol_port_words[]; /* what no set of ports can be called */
/* "a, b"; false: it does not fit, and "..." stands for it. */
bool pol_list_append(char *buf, size_t size, const char *part);

/* explain.c: the ladder. */
struct pol_decision {
	enum by_action action;
	const struct pol_rule *rule;  /* NULL: default deny */
	const struct pol_rule *audit; /* because of which it would be dropped, or NULL */
};
struct pol_decision pol_decide(const struct pol_model *model, uint32_t from, uint32_t to, uint32_t selector,
			       const struct pol_request *request);

/* nearest.c: the allow rule that is nearest to what no rule covers. */
struct pol_asked { /* one side of a question */
	uint32_t point;
	struct pol_subject node; /* where the point is a kind */
};
struct pol_nearest {
	const struct pol_rule *rule;      /* NULL: there is none */
	const struct pol_claim *unmet[2]; /* what it asks of from and to, and they do not prove; NULL: nothing */
};
struct pol_nearest pol_nearest(const struct pol_model *model, const struct pol_asked who[2], uint32_t selector,
			       const struct pol_request *request);

/* shadow.c: rules that can never decide, because in all that they cover other rules win. Exact, and bounded: */
#define POL_WARN_RULES 4096u      /* with more rules nothing is looked for */
#define POL_WARN_WORK  200000000u /* steps; then what is left is not looked at. Both are told. */
void pol_warn_rules(const struct pol_model *model, struct diags *d);
