/* SPDX-License-Identifier: Apache-2.0 */
/* Random policies for property tests: their words, and beside them what the words mean. Include once a program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/policy.h"

#define APPS      6 /* app number APPS is attested, but not in the policy */
#define INSTANCES 3 /* instance number INSTANCES is none of them */
#define CLAIMS    2
#define ATOMS     (APPS + INSTANCES + CLAIMS)
#define RULES     8
#define GROUPS    3
#define SETS      2

#define ANY       ~0u /* of a side: any-attested */
#define NO_APP    ~0u /* of an instance: any app */
#define ALL_NODES ((APPS + 1u) * (INSTANCES + 1) * TCBS * 2 * HASHES * PROVIDERS)

/* What a node proves: the number of its value in each of these lists. */
static const char *const tcb_word[] = { "unknown", "UpToDate", "OutOfDate", "Revoked", "ConfigurationNeeded" };
static const char *const provider_word[] = { "unknown", "kms", "other" };

#define TCBS      5 /* the last one is never listed */
#define PROVIDERS 3 /* likewise */
#define HASHES    4 /* 0: unknown; 3 is never listed */

struct node {
	unsigned app, instance, tcb, provider, hash;
	bool is_simulated;
};

/* What a claim or a requirement lists: bits by value, 0: nothing is demanded. */
struct want {
	unsigned tcb, provider, hash, simulated; /* simulated: bit 0 false, bit 1 true */
};

struct rule {
	bool is_deny, is_audit;
	unsigned from, to; /* bits of atoms: apps, instances, claims; or ANY */
	uint32_t first[6], last[6];
	unsigned n_ports;
	unsigned http; /* bits of http_word; 0: whatever is said */
};

/* A set of ports: no more of them than a rule has. */
struct set {
	uint32_t first[2], last[2];
	unsigned n_ports;
};

struct world {
	bool has_http;             /* rules about requests */
	bool has_claims;           /* and instances */
	struct want require[APPS]; /* all 0: none */
	struct want claim[CLAIMS];
	unsigned instance_app[INSTANCES];
	unsigned group[GROUPS]; /* bits of atoms */
	struct set set[SETS];
	struct rule rule[RULES];
	unsigned n_rules;
	struct pol_model *model;
};

static uint64_t seed = 0x9e3779b97f4a7c15u;

static inline uint32_t roll(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

/* A node of each number below ALL_NODES; app APPS + 1 is another one that is not in the policy. */
static inline struct node node_of(uint32_t i)
{
	struct node n = { .app = i % (APPS + 1) };

	i /= APPS + 1;
	n.instance = i % (INSTANCES + 1);
	i /= INSTANCES + 1;
	n.tcb = i % TCBS;
	i /= TCBS;
	n.is_simulated = i % 2;
	i /= 2;
	n.hash = i % HASHES;
	n.provider = i / HASHES % PROVIDERS;
	return n;
}

static inline struct pol_subject subject(struct node n)
{
	static const enum pol_tcb tcb[] = { POL_TCB_UNKNOWN, POL_TCB_UP_TO_DATE, POL_TCB_OUT_OF_DATE, POL_TCB_REVOKED,
					    POL_TCB_CONFIGURATION };
	struct pol_subject s = { .app_id = { (uint8_t)(n.app * 37 + 1) },
				 .instance_id = { (uint8_t)(n.instance + 1) },
				 .is_simulated = n.is_simulated,
				 .tcb = tcb[n.tcb],
				 .has_compose_hash = n.hash,
				 .compose_hash = { (uint8_t)n.hash } };

	if (n.provider)
		snprintf(s.key_provider, sizeof(s.key_provider), "%s", provider_word[n.provider]);
	return s;
}

/* --- words ------------------------------------------------------------------------------------------------- */

/* Few ports, so that rules meet; the words and the numbers are made side by side. */
static inline void roll_port(uint32_t *first, uint32_t *last, FILE *to)
{
	static const struct {
		const char *word;
		uint32_t first, last;
	} plain[] = {
		{ "tcp", BY_PORT_TCP, BY_PORT_UDP - 1 },
		{ "udp", BY_PORT_UDP, BY_PORT_ICMP - 1 },
		{ "icmp", BY_PORT_ICMP, BY_PORT_ICMPV6 - 1 },
		{ "icmpv6", BY_PORT_ICMPV6, BY_PORT_OTHER - 1 },
		{ "any", 0, BY_PORT_SPACE - 1 },
		{ "icmp/8", BY_PORT_ICMP + 8, BY_PORT_ICMP + 8 },
		{ "icmpv6/128", BY_PORT_ICMPV6 + 128, BY_PORT_ICMPV6 + 128 },
		{ "proto/47", BY_PORT_OTHER + 47, BY_PORT_OTHER + 47 },
		{ "tcp/65535", BY_PORT_UDP - 1, BY_PORT_UDP - 1 },
	};
	uint32_t kind = roll(24), a = 1 + roll(12), b = a + roll(5), base = roll(2) ? BY_PORT_TCP : BY_PORT_UDP;

	if (kind < ARRAY_LEN(plain)) {
		fputs(plain[kind].word, to);
		*first = plain[kind].first;
		*last = plain[kind].last;
		return;
	}
	fprintf(to, a == b ? "%s/%u" : "%s/%u-%u", base ? "udp" : "tcp", a, b);
	*first = base + a;
	*last = base + b;
}

/* One item of a rule: a port, or at times a name for some. */
static inline void roll_item(const struct world *w, struct rule *rule, FILE *to)
{
	uint32_t s = roll(4 * SETS);

	if (s >= SETS || rule->n_ports + w->set[s].n_ports > ARRAY_LEN(rule->first)) {
		roll_port(&rule->first[rule->n_ports], &rule->last[rule->n_ports], to);
		rule->n_ports++;
		return;
	}
	fprintf(to, "set%u", s);
	for (unsigned i = 0; i < w->set[s].n_ports; i++) {
		rule->first[rule->n_ports] = w->set[s].first[i];
		rule->last[rule->n_ports++] = w->set[s].last[i];
	}
}

static inline void write_atom(unsigned atom, FILE *to)
{
	if (atom < APPS)
		fprintf(to, "app%u", atom);
	else if (atom < APPS + INSTANCES)
		fprintf(to, "inst%u", atom - APPS);
	else
		fprintf(to, "claim%u", atom - APPS - INSTANCES);
}

static inline void write_names(unsigned atoms, unsigned groups, FILE *to)
{
	const char *comma = "";

	fputc('[', to);
	for (unsigned a = 0; a < ATOMS + GROUPS; a++) {
		bool is_group = a >= ATOMS;

		if (!(is_group ? groups & 1u << (a - ATOMS) : atoms & 1u << a))
			continue;
		fputs(comma, to);
		if (is_group)
			fprintf(to, "group%u", a - ATOMS);
		else
			write_atom(a, to);
		comma = ", ";
	}
	fputc(']', to);
}

/* Many apps, or few of anything. */
static inline unsigned roll_atoms(const struct world *w)
{
	unsigned atoms = 0;

	if (!w->has_claims || roll(3) == 0)
		return 1 + roll((1u << APPS) - 1);
	for (unsigned n = 1 + roll(3); n; n--)
		atoms |= 1u << roll(ATOMS);
	return atoms;
}

/* Atoms and groups, in words; the atoms they are in the end. */
static inline unsigned roll_side(const struct world *w, FILE *to)
{
	unsigned atoms = roll(4) ? roll_atoms(w) : ANY, groups = roll(3) ? 0 : 1 + roll((1u << GROUPS) - 1);

	if (atoms == ANY) {
		fputs("any-attested", to);
		return atoms;
	}
	if (groups && roll(2))
		atoms = 0;
	write_names(atoms, groups, to);
	for (unsigned g = 0; g < GROUPS; g++)
		atoms |= groups & 1u << g ? w->group[g] : 0;
	return atoms;
}

/* Group g may name those above it. */
static inline void write_groups(struct world *w, FILE *to)
{
	fprintf(to, "groups:\n");
	for (unsigned g = 0; g < GROUPS; g++) {
		unsigned atoms = roll_atoms(w), inner = roll(1u << g);

		w->group[g] = atoms;
		for (unsigned i = 0; i < g; i++)
			w->group[g] |= inner & 1u << i ? w->group[i] : 0;
		fprintf(to, "  group%u: ", g);
		write_names(atoms, inner, to);
		fputc('\n', to);
	}
}

static inline void write_list(const char *key, unsigned bits, const char *const *word, FILE *to)
{
	const char *comma = "";

	if (!bits)
		return;
	fprintf(to, "%s: [", key);
	for (unsigned i = 0; bits >> i; i++) {
		if (!(bits & 1u << i))
			continue;
		if (word)
			fprintf(to, "%s%s", comma, word[i]);
		else
			fprintf(to, "%s%02x%062x", comma, i, 0);
		comma = ", ";
	}
	fputs("], ", to);
}

/* "{ tcb: [UpToDate], simulated: false, }": a comma before the brace is YAML. */
static inline void roll_want(struct want *want, FILE *to)
{
	*want = (struct want){ .tcb = roll(2) ? (1 + roll(7)) << 1 : 0,
			       .provider = roll(4) ? 0 : 2,
			       .hash = roll(3) ? 0 : (1 + roll(3)) << 1,
			       .simulated = roll(3) ? 0 : 1 + roll(2) };
	if (!want->tcb && !want->provider && !want->hash && !want->simulated)
		want->simulated = 1;
	fputs("{ ", to);
	write_list("tcb", want->tcb, tcb_word, to);
	write_list("key-provider", want->provider, provider_word, to);
	write_list("compose-hash", want->hash, NULL, to);
	if (want->simulated)
		fprintf(to, "simulated: %s ", want->simulated == 2 ? "true" : "false");
	fputs("}", to);
}

static inline void write_claims(struct world *w, FILE *to)
{
	fprintf(to, "instances:\n");
	for (unsigned i = 0; i < INSTANCES; i++) {
		w->instance_app[i] = roll(2) ? roll(APPS) : NO_APP;
		fprintf(to, "  inst%u: { instance-id: %02x%038x", i, i + 1, 0);
		if (w->instance_app[i] != NO_APP)
			fprintf(to, ", app: app%u", w->instance_app[i]);
		fprintf(to, " }\n");
	}
	fprintf(to, "claims:\n");
	for (unsigned c = 0; c < CLAIMS; c++) {
		fprintf(to, "  claim%u: ", c);
		roll_want(&w->claim[c], to);
		fputc('\n', to);
	}
}

static inline void write_apps(struct world *w, FILE *to)
{
	char hex[2 * BY_APP_ID_LEN + 1];

	fprintf(to, "apps:\n");
	for (unsigned a = 0; a < APPS; a++) {
		struct pol_subject s = subject((struct node){ .app = a });

		hex_print(hex, s.app_id, sizeof(s.app_id));
		fprintf(to, "  app%u: { app-id: %s", a, hex);
		if (w->has_claims && roll(3) == 0) {
			fprintf(to, ", require: ");
			roll_want(&w->require[a], to);
		}
		fprintf(to, " }\n");
	}
}

static inline void write_sets(struct world *w, FILE *to)
{
	fprintf(to, "ports:\n");
	for (unsigned s = 0; s < SETS; s++) {
		struct set *set = &w->set[s];

		set->n_ports = 2;
		fprintf(to, "  set%u: [", s);
		roll_port(&set->first[0], &set->last[0], to);
		fputs(", ", to);
		roll_port(&set->first[1], &set->last[1], to);
		fputs("]\n", to);
	}
}

/* Entries of `http:`, and requests with the entries that have them: where an allow rule is asked, where a deny rule is.
 */
#define HTTP_WORDS 6
#define EVERY_WORD ((1u << HTTP_WORDS) - 1)
static const char *const http_word[HTTP_WORDS] = { "{ methods: [GET, HEAD], path: /v1/items/** }",
						   "{ path: /v1/*/x }",
						   "{ methods: [POST] }",
						   "{ path: /admin }",
						   "{ path: /** }",
						   "{ methods: [DELETE, OPTIONS], path: / }" };

static const struct request {
	const char *method, *target;
	unsigned in_allow, in_deny;
} requests[] = {
	{ "GET", "/v1/items", 1 | 16, 1 | 16 },
	{ "GET", "/v1/items/3?a=/../b", 1 | 16, 1 | 16 },
	{ "GET", "/v1/items/x", 1 | 2 | 16, 1 | 2 | 16 },
	{ "HEAD", "/v1/%69tems/x", 1 | 2 | 16, 1 | 2 | 16 },
	{ "POST", "/v1/items/x", 2 | 4 | 16, 2 | 4 | 16 },
	{ "PUT", "/V1/items/X", 16, 2 | 16 },
	{ "GET", "/Admin/", 16, 8 | 16 },
	{ "GET", "/admin", 8 | 16, 8 | 16 },
	{ "GET", "/**", 16, 16 },
	{ "DELETE", "/", 16 | 32, 16 | 32 },
	{ "OPTIONS", "*", 0, 0 },
	{ "POST", "*", 4, 4 },
	{ "GET", "/a/../admin", 0, EVERY_WORD },
	{ "get", "/admin", 0, EVERY_WORD },
	{ "GET", "/v1%2fitems", 0, EVERY_WORD },
	{ NULL, NULL, 0, EVERY_WORD },
};

static inline void write_http(struct rule *rule, FILE *to)
{
	const char *comma = "";

	rule->http = 1 + roll(EVERY_WORD);
	fputs(", http: [", to);
	for (unsigned i = 0; i < HTTP_WORDS; i++) {
		if (!(rule->http & 1u << i))
			continue;
		fprintf(to, "%s%s", comma, http_word[i]);
		comma = ", ";
	}
	fputc(']', to);
}

/* Ports of tcp alone. */
static inline void roll_tcp(struct rule *rule, FILE *to)
{
	uint32_t a = 1 + roll(12), b = a + roll(5);

	fprintf(to, "tcp/%u-%u", a, b);
	rule->first[rule->n_ports] = BY_PORT_TCP + a;
	rule->last[rule->n_ports++] = BY_PORT_TCP + b;
}

static inline void write_rule(const struct world *w, struct rule *rule, FILE *to)
{
	unsigned n_items = 1 + roll(3);
	bool is_http = w->has_http && roll(2);

	*rule = (struct rule){ .is_deny = !roll(4), .is_audit = !roll(4) };
	fprintf(to, "  - { from: ");
	rule->from = roll_side(w, to);
	fprintf(to, ", to: ");
	rule->to = roll_side(w, to);
	fprintf(to, ", %s: [", rule->is_deny ? "deny" : "allow");
	for (unsigned i = 0; i < n_items; i++) {
		fputs(i ? ", " : "", to);
		if (is_http)
			roll_tcp(rule, to);
		else
			roll_item(w, rule, to);
	}
	fputc(']', to);
	if (is_http)
		write_http(rule, to);
	fprintf(to, "%s }\n", rule->is_audit ? ", mode: audit" : "");
}

static inline char *write_world(struct world *w)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	w->has_claims = roll(3);
	fprintf(to, "version: 1\n");
	write_apps(w, to);
	if (w->has_claims)
		write_claims(w, to);
	write_groups(w, to);
	write_sets(w, to);
	fprintf(to, "rules:\n");
	w->n_rules = 1 + roll(RULES);
	for (unsigned r = 0; r < w->n_rules; r++)
		write_rule(w, &w->rule[r], to);
	fclose(to);
	return text;
}

static inline uint32_t roll_selector(void)
{
	static const uint32_t spots[] = { BY_PORT_TCP,          BY_PORT_UDP - 1,   BY_PORT_UDP,
					  BY_PORT_ICMP - 1,     BY_PORT_ICMP + 8,  BY_PORT_ICMPV6 - 1,
					  BY_PORT_ICMPV6 + 128, BY_PORT_OTHER - 1, BY_PORT_OTHER + 47,
					  BY_PORT_SPACE - 1 };
	uint32_t kind = roll(20);

	if (kind < ARRAY_LEN(spots))
		return spots[kind];
	return kind < 19 ? (roll(2) ? BY_PORT_TCP : BY_PORT_UDP) + roll(20) : roll(BY_PORT_SPACE);
}

/* --- what the words mean ----------------------------------------------------------------------------------- */

/* 0: it does not meet it, 1: perhaps, 2: it does. */
static inline unsigned met(const struct want *want, const struct node *n)
{
	const struct {
		unsigned listed, value;
		bool is_known;
	} dim[] = { { want->tcb, n->tcb, n->tcb },
		    { want->provider, n->provider, n->provider },
		    { want->hash, n->hash, n->hash },
		    { want->simulated, n->is_simulated, true } };
	unsigned least = 2;

	for (size_t d = 0; d < ARRAY_LEN(dim); d++) {
		if (!dim[d].listed)
			continue;
		if (!dim[d].is_known)
			least = least ? 1 : 0;
		else if (!(dim[d].listed & 1u << dim[d].value))
			least = 0;
	}
	return least;
}

static inline bool is_app(const struct world *w, unsigned app, const struct node *n, bool is_deny)
{
	return n->app == app && (is_deny || met(&w->require[app], n) == 2);
}

static inline bool covers(const struct world *w, unsigned side, const struct node *n, bool is_deny)
{
	if (side == ANY)
		return true;
	for (unsigned a = 0; a < APPS; a++)
		if (side & 1u << a && is_app(w, a, n, is_deny))
			return true;
	for (unsigned i = 0; i < INSTANCES; i++)
		if (side & 1u << (APPS + i) && n->instance == i &&
		    (w->instance_app[i] == NO_APP || is_app(w, w->instance_app[i], n, is_deny)))
			return true;
	for (unsigned c = 0; c < CLAIMS; c++)
		if (side & 1u << (APPS + INSTANCES + c) && met(&w->claim[c], n) >= (is_deny ? 1 : 2))
			return true;
	return false;
}

static inline bool has_port(const struct rule *rule, uint32_t selector)
{
	for (unsigned p = 0; p < rule->n_ports; p++)
		if (rule->first[p] <= selector && selector <= rule->last[p])
			return true;
	return false;
}

/* Numbers of rules from 1, 0: none. */
struct decision {
	unsigned rule, audit;
	bool is_allowed;
};

/* Of the rules in the set, by the words alone. */
static inline struct decision decide(const struct world *w, unsigned set)
{
	unsigned first[2][2] = { 0 }; /* deny, audit */

	for (unsigned r = 0; r < w->n_rules; r++)
		if (set & 1u << r && !first[w->rule[r].is_deny][w->rule[r].is_audit])
			first[w->rule[r].is_deny][w->rule[r].is_audit] = r + 1;
	if (first[1][0])
		return (struct decision){ .rule = first[1][0] };
	if (first[0][0])
		return (struct decision){ first[0][0], first[1][1], true };
	return (struct decision){ first[0][1], first[0][1], first[0][1] != 0 };
}

/* The rules that cover a flow. */
static inline unsigned rules_of(const struct world *w, const struct node *from, const struct node *to,
				uint32_t selector)
{
	unsigned set = 0;

	for (unsigned r = 0; r < w->n_rules; r++) {
		const struct rule *rule = &w->rule[r];

		if (has_port(rule, selector) && covers(w, rule->from, from, rule->is_deny) &&
		    covers(w, rule->to, to, rule->is_deny))
			set |= 1u << r;
	}
	return set;
}

static inline struct decision naive(const struct world *w, const struct node *from, const struct node *to,
				    uint32_t selector)
{
	return decide(w, rules_of(w, from, to, selector));
}
