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
#include "base/addr.h"
#include "diag.h"
#include "image.h"

#define POL_TEXT_MAX (16u << 20) /* bytes of policy text that are read; BY_MAX_RULES/2 rules fit */
#define POL_NAME_MAX 47u         /* characters in the name of a rule or an app: what struct by_rule holds */

struct pol_model; /* a checked policy; immutable */
struct pol_claim;
struct json_t;

struct pol_range {
	uint32_t first, last; /* BY_PORT_* space, inclusive */
};

/* 0 and *model, or -EINVAL with every problem in `d`. Of several files: sources.h. */
int pol_parse(const char *file, const char *text, size_t len, struct pol_model **model, struct diags *d);
/* The same, with warnings about an accepted policy: rules that can never decide, entries that add nothing. Up to two
 * seconds more for large ones. */
int pol_parse_warn(const char *file, const char *text, size_t len, struct pol_model **model, struct diags *d);
void pol_free(struct pol_model *model); /* accepts NULL */
size_t pol_rule_count(const struct pol_model *model);
size_t pol_app_count(const struct pol_model *model);

#define POL_HASH_LEN     32
#define POL_MR_LEN       48
#define POL_PROVIDER_LEN 64 /* with the final NUL */

/* The status that Intel's collateral gives a platform. Simulated evidence has none: unknown. */
enum pol_tcb {
	POL_TCB_UNKNOWN = 0,
	POL_TCB_UP_TO_DATE,
	POL_TCB_SW_HARDENING,
	POL_TCB_CONFIGURATION,
	POL_TCB_CONFIGURATION_AND_SW_HARDENING,
	POL_TCB_OUT_OF_DATE,
	POL_TCB_OUT_OF_DATE_CONFIGURATION,
	POL_TCB_REVOKED,
	POL_TCB_COUNT,
};

/* What policy may ask about a node; filled from verified evidence only. What is not known meets no requirement. */
struct pol_subject {
	uint8_t app_id[BY_APP_ID_LEN];
	uint8_t instance_id[BY_INSTANCE_ID_LEN]; /* zero: it has none */
	bool is_simulated;
	enum pol_tcb tcb;
	bool has_compose_hash, has_os_image_hash, has_mrtd, has_rtmr[4];
	uint8_t compose_hash[POL_HASH_LEN], os_image_hash[POL_HASH_LEN];
	uint8_t mrtd[POL_MR_LEN], rtmr[4][POL_MR_LEN];
	char key_provider[POL_PROVIDER_LEN]; /* "": not known */
};

/*
 * Compiles for the node `self`, with the peers known now. *img is one malloc'ed block. The same model, self and
 * peers give the same bytes.
 */
int pol_compile(const struct pol_model *model, const struct pol_subject *self, const struct pol_subject *peers,
		size_t n_peers, struct pol_image **img, struct err *e);
/*
 * The same for a node whose mesh listens on these ports of tcp and decides the requests that come there (gate.h). Rules
 * with `http:` open no other port, and those that deny close every other one that they name: without a mesh there is
 * nobody who could tell one request from another.
 */
int pol_compile_mesh(const struct pol_model *model, const struct pol_subject *self, const struct pol_range *mesh,
		     size_t n_mesh, const struct pol_subject *peers, size_t n_peers, struct pol_image **img,
		     struct err *e);

/*
 * The class that `peer` has in an image of pol_compile() from this model, so that neither a newcomer nor a changed
 * claim needs a new generation: the image has a class for every kind of peer. -ENOENT: the image is of another policy,
 * compile again.
 */
int pol_classify(const struct pol_model *model, const struct pol_image *img, const struct pol_subject *peer,
		 uint32_t *peer_class);

/* What the daemon's configuration keeps open on the underlay, whatever the policy says: nobody locks himself out. */
struct pol_opening {
	char name[48];  /* as struct by_rule has them: names the opening in events and counters */
	char where[80]; /* "bailey.yaml:12" */
	enum by_dir dir;
	struct ip_prefix net;       /* in: from where; out: to where. ::/0 and 0.0.0.0/0 are one family each */
	struct pol_range selectors; /* BY_PORT_* space, inclusive */
};

/*
 * Compiles the host rules for the node `self`: an image whose peer classes belong to networks of the underlay. The
 * openings win over every rule, denies included; they are the image's first rules. A policy without host rules gives an
 * image that allows the openings alone.
 */
int pol_compile_host(const struct pol_model *model, const struct pol_subject *self, const struct pol_opening *openings,
		     size_t n_openings, struct pol_image **img, struct err *e);
/* Whether the policy has a host rule at all: without one the underlay is none of its business. */
bool pol_has_host_rules(const struct pol_model *model);

/* A checked image as text, one fact a line: for people and for golden tests. With the model it came from kinds have
 * names; NULL: numbers. */
void pol_image_dump(const struct pol_image *img, const struct pol_model *model, FILE *out);
/* What a kind of an image of this model is: "db", "db#db-1", "db{good-tcb}". */
void pol_kind_print(const struct pol_model *model, uint32_t kind, char *buf, size_t size);

/* "tcp/5432", "udp/53", "icmp/8", "icmpv6/128", "proto/47" -> index in the BY_PORT_* space. One selector, no range. */
bool pol_selector_parse(const char *text, uint32_t *selector, struct err *e);
static inline bool pol_is_tcp(uint32_t selector)
{
	return selector < BY_PORT_UDP;
}
/* The same with ranges, "tcp/8000-8080", and protocols. */
bool pol_range_parse(const char *text, struct pol_range *range, struct err *e);
void pol_range_merge(struct pol_range *range, size_t *n); /* sorts and joins in place */
void pol_selector_print(uint32_t selector, char *buf, size_t size);

/* "tcp/80, tcp/443"; what does not fit ends in "..." */
void pol_ranges_print(const struct pol_range *range, size_t n, char *buf, size_t size);

/*
 * A question. Names: an app (a node of it that meets its requirement), an instance, an app-id of 40 hex digits; or for
 * the underlay `host` on one side and an address on the other, with `on` for the node (NULL: of an app that the policy
 * does not name). Claims (NULL: none) replace what the name implies; they are words, "tcb=OutOfDate,simulated=true", or
 * the text of a map as `tests:` has it, in YAML or JSON; a value can be `unknown`.
 */
struct pol_question {
	const char *from, *to, *on;
	const char *from_claims, *to_claims; /* of the node; beside `host` they are about `on` */
	uint32_t selector;
	const char *http; /* "GET /v1/items", a request on the port; NULL: whatever may be said there */
};

struct pol_named {
	const char *name; /* of a rule, or NULL; owned by the model, like the rest */
	const char *file;
	unsigned line;
};

/* Why. */
struct pol_answer {
	enum by_action action;
	const char *rung; /* "deny rule", "allow rule", "allow rule in audit mode" or "default deny" */
	const char *rule; /* name, or NULL; owned by the model, like the rest */
	const char *file;
	unsigned line;
	struct pol_named audit;   /* the audit rule because of which it would be dropped */
	uint32_t flags;           /* BY_RULE_* of the rule */
	uint32_t rate, burst;     /* of the rule; 0: none */
	const char *nearest_rule; /* on a default deny: an allow rule that misses by its ports or by claims, or NULL */
	const char *nearest_file;
	unsigned nearest_line;
	char nearest_ports[128];
	char nearest_http[128];           /* the requests that it allows; "": whatever is said */
	const struct pol_claim *unmet[2]; /* what it asks of from and to in vain, or NULL; pol_lacks() has the words */
	struct pol_subject node[2];
};

/* What a node would have to prove for the nearest rule. */
struct pol_lack {
	bool is_to;        /* of the node that is asked, or of `on` in its place; else of the other one */
	const char *claim; /* "tcb" */
	char needed[256];  /* one of "UpToDate, SWHardeningNeeded"; what does not fit ends in "..." */
	char has[128];     /* "": it is not known; "another": none that the question or the policy names */
};
#define POL_LACKS_MAX 20
size_t pol_lacks(const struct pol_answer *answer, struct pol_lack lack[POL_LACKS_MAX]);
/* [{ "side": "to", "claim", "needed", "has" }], the caller's; has is null where it is not known. */
struct json_t *pol_lacks_json(const struct pol_answer *answer);

bool pol_claims_are_words(const char *text);
/* Claims in a map, into *subject; -EINVAL with every problem in `d`. */
int pol_claims_read(const char *file, const char *text, size_t len, struct pol_subject *subject, struct diags *d);

/* -ENOENT when a name is not in the policy (`e` says which, and the nearest name); -EINVAL: no such question. */
int pol_ask(const struct pol_model *model, const struct pol_question *question, struct pol_answer *answer,
	    struct err *e);
/* The same for two nodes of the overlay whose claims are known. */
void pol_explain_nodes(const struct pol_model *model, const struct pol_subject *from, const struct pol_subject *to,
		       uint32_t selector, struct pol_answer *answer);

/* "DENY   default deny: no rule from web to db covers tcp/22", and on more lines what is nearest, with the claims that
 * it needs. */
void pol_answer_print(const struct pol_answer *answer, const char *from, const char *to, uint32_t selector,
		      const char *http, FILE *out);
/* "100 new flows/s for each peer, 200 at once"; "" when there is none. */
void pol_rate_print(uint32_t flags, uint32_t rate, uint32_t burst, char *buf, size_t size);

/* The tests: section. Each failing test is a line in `d`; returns how many failed. */
size_t pol_run_tests(const struct pol_model *model, struct diags *d, size_t *n_tests);

/* Name of an app-id in this policy, or NULL. */
const char *pol_app_name(const struct pol_model *model, const uint8_t app_id[BY_APP_ID_LEN]);
/* App-id of an app name or of a 40-digit app-id; -ENOENT as above. */
int pol_app_id(const struct pol_model *model, const char *name, uint8_t app_id[BY_APP_ID_LEN], struct err *e);
/* The node that a name stands for in questions: see struct pol_question. */
int pol_subject_named(const struct pol_model *model, const char *name, const char *claims, struct pol_subject *subject,
		      struct err *e);
