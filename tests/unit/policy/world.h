/* SPDX-License-Identifier: Apache-2.0 */
/* Random policies for property tests: their words, and beside them what the words mean. Include once a program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/policy.h"

#define APPS   6 /* app number APPS is attested, but not in the policy */
#define RULES  8
#define GROUPS 3
#define SETS   2

struct rule {
	bool is_deny;
	unsigned from, to; /* bits of apps; ~0: any-attested */
	uint32_t first[6], last[6];
	unsigned n_ports;
};

/* A set of ports: no more of them than a rule has. */
struct set {
	uint32_t first[2], last[2];
	unsigned n_ports;
};

struct world {
	unsigned group[GROUPS]; /* bits of apps */
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

static inline struct pol_subject subject(unsigned app)
{
	struct pol_subject s = { .app_id = { (uint8_t)(app * 37 + 1) }, .instance_id = { (uint8_t)(app + 1) } };

	return s;
}

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

static inline void write_names(unsigned apps, unsigned groups, FILE *to)
{
	const char *comma = "";

	fputc('[', to);
	for (unsigned a = 0; a < APPS + GROUPS; a++) {
		bool is_group = a >= APPS;

		if (!(is_group ? groups & 1u << (a - APPS) : apps & 1u << a))
			continue;
		fprintf(to, "%s%s%u", comma, is_group ? "group" : "app", is_group ? a - APPS : a);
		comma = ", ";
	}
	fputc(']', to);
}

/* Apps and groups, in words; the apps they are in the end. */
static inline unsigned roll_side(const struct world *w, FILE *to)
{
	unsigned apps = roll(4) ? 1 + roll((1u << APPS) - 1) : ~0u, groups = roll(3) ? 0 : 1 + roll((1u << GROUPS) - 1);

	if (apps == ~0u) {
		fputs("any-attested", to);
		return apps;
	}
	if (groups && roll(2))
		apps = 0;
	write_names(apps, groups, to);
	for (unsigned g = 0; g < GROUPS; g++)
		apps |= groups & 1u << g ? w->group[g] : 0;
	return apps;
}

/* Group g may name those above it. */
static inline void write_groups(struct world *w, FILE *to)
{
	fprintf(to, "groups:\n");
	for (unsigned g = 0; g < GROUPS; g++) {
		unsigned apps = 1 + roll((1u << APPS) - 1), inner = roll(1u << g);

		w->group[g] = apps;
		for (unsigned i = 0; i < g; i++)
			w->group[g] |= inner & 1u << i ? w->group[i] : 0;
		fprintf(to, "  group%u: ", g);
		write_names(apps, inner, to);
		fputc('\n', to);
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

static inline void write_rule(const struct world *w, struct rule *rule, FILE *to)
{
	unsigned n_items = 1 + roll(3);

	*rule = (struct rule){ .is_deny = !roll(4) };
	fprintf(to, "  - { from: ");
	rule->from = roll_side(w, to);
	fprintf(to, ", to: ");
	rule->to = roll_side(w, to);
	fprintf(to, ", %s: [", rule->is_deny ? "deny" : "allow");
	for (unsigned i = 0; i < n_items; i++) {
		fputs(i ? ", " : "", to);
		roll_item(w, rule, to);
	}
	fprintf(to, "] }\n");
}

static inline char *write_world(struct world *w)
{
	char *text = NULL, hex[2 * BY_APP_ID_LEN + 1];
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fprintf(to, "version: 1\napps:\n");
	for (unsigned a = 0; a < APPS; a++) {
		struct pol_subject s = subject(a);

		hex_print(hex, s.app_id, sizeof(s.app_id));
		fprintf(to, "  app%u: { app-id: %s }\n", a, hex);
	}
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

/* The number of the deciding rule, 0 for the default: nothing but the words. */
static inline unsigned naive(const struct world *w, unsigned from, unsigned to, uint32_t selector, bool *is_allowed)
{
	unsigned allow = 0;

	*is_allowed = false;
	for (unsigned r = 0; r < w->n_rules; r++) {
		const struct rule *rule = &w->rule[r];
		bool is_covered = false;

		for (unsigned p = 0; p < rule->n_ports; p++)
			is_covered |= rule->first[p] <= selector && selector <= rule->last[p];
		if (!is_covered || (rule->from != ~0u && !(rule->from & 1u << from)) ||
		    (rule->to != ~0u && !(rule->to & 1u << to)))
			continue;
		if (rule->is_deny)
			return r + 1;
		if (!allow)
			allow = r + 1;
	}
	*is_allowed = allow;
	return allow;
}
