// SPDX-License-Identifier: Apache-2.0
/*
 * Three answers to one question, over random policies: the images of both ends, explain, and an evaluator that reads
 * the words of the policy rule by rule. The packet passes when the sender's image lets it out and the receiver's
 * lets it in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/policy.h"

#define APPS    6 /* app number APPS is attested, but not in the policy */
#define RULES   8
#define GROUPS  3
#define SETS    2
#define WORLDS  250
#define PACKETS 128 /* of each world: 32,000 in all */

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
	struct pol_image *img[APPS + 1];
};

static unsigned n_allowed, n_denied, n_default; /* the three ends of the ladder must all be met */

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint32_t roll(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

static struct pol_subject subject(unsigned app)
{
	struct pol_subject s = { .app_id = { (uint8_t)(app * 37 + 1) }, .instance_id = { (uint8_t)(app + 1) } };

	return s;
}

/* Few ports, so that rules meet; the words and the numbers are made side by side. */
static void roll_port(uint32_t *first, uint32_t *last, FILE *to)
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
static void roll_item(const struct world *w, struct rule *rule, FILE *to)
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

static void write_names(unsigned apps, unsigned groups, FILE *to)
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
static unsigned roll_side(const struct world *w, FILE *to)
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
static void write_groups(struct world *w, FILE *to)
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

static void write_sets(struct world *w, FILE *to)
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

static void write_rule(const struct world *w, struct rule *rule, FILE *to)
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

static char *write_world(struct world *w)
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

static void compile_all(struct world *w)
{
	struct err e = ERR_INIT;

	for (unsigned a = 0; a <= APPS; a++) {
		struct pol_subject self = subject(a);

		assert_int_equal(pol_compile(w->model, &self, NULL, 0, &w->img[a], &e), 0);
		assert_int_equal(pol_image_check(w->img[a], w->img[a]->size, &e), 0);
	}
}

/* The number of the deciding rule, 0 for the default: nothing but the words. */
static unsigned naive(const struct world *w, unsigned from, unsigned to, uint32_t selector, bool *is_allowed)
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

static struct by_verdict ask_image(const struct world *w, unsigned self, unsigned peer, enum by_dir dir,
				   uint32_t selector)
{
	struct pol_subject s = subject(peer);
	uint32_t peer_class;

	assert_int_equal(pol_classify(w->model, w->img[self], &s, &peer_class), 0);
	return pol_image_lookup(w->img[self], dir, peer_class, selector);
}

static const char *rule_name(const struct pol_image *img, uint32_t rule)
{
	return rule ? pol_image_rules(img)[rule - 1].name : "default";
}

static void check_packet(const struct world *w, unsigned from, unsigned to, uint32_t selector)
{
	struct by_verdict out = ask_image(w, from, to, BY_DIR_OUT, selector);
	struct by_verdict in = ask_image(w, to, from, BY_DIR_IN, selector);
	char from_name[2 * BY_APP_ID_LEN + 1], to_name[2 * BY_APP_ID_LEN + 1], wanted[16] = "default";
	struct pol_subject f = subject(from), t = subject(to);
	struct pol_answer answer;
	struct err e = ERR_INIT;
	bool is_allowed;
	unsigned rule = naive(w, from, to, selector, &is_allowed);

	hex_print(from_name, f.app_id, sizeof(f.app_id));
	hex_print(to_name, t.app_id, sizeof(t.app_id));
	assert_int_equal(pol_explain(w->model, from_name, to_name, selector, &answer, &e), 0);
	assert_int_equal(answer.action == BY_ALLOW, is_allowed);
	assert_int_equal(out.action == BY_ALLOW && in.action == BY_ALLOW, is_allowed);
	assert_int_equal(out.action, in.action);
	n_allowed += is_allowed;
	n_denied += rule && !is_allowed;
	n_default += !rule;
	if (rule)
		snprintf(wanted, sizeof(wanted), "rule-%u", rule);
	assert_string_equal(rule_name(w->img[from], out.rule), wanted);
	assert_string_equal(rule_name(w->img[to], in.rule), wanted);
	assert_string_equal(answer.rule ? answer.rule : "default", wanted);
}

static uint32_t roll_selector(void)
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

static void images_explain_and_words_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORLDS; i++) {
		struct world w = { 0 };
		auto_free char *text = write_world(&w);
		struct diags d = { 0 };

		if (pol_parse("w.yaml", text, strlen(text), &w.model, &d) < 0)
			fail_msg("%s: %s", d.item[0].msg, text);
		compile_all(&w);
		for (unsigned p = 0; p < PACKETS; p++)
			check_packet(&w, roll(APPS + 1), roll(APPS + 1), roll_selector());
		for (unsigned a = 0; a <= APPS; a++)
			free(w.img[a]);
		pol_free(w.model);
		diags_fini(&d);
	}
	print_message("# %u allowed, %u denied by a rule, %u by default\n", n_allowed, n_denied, n_default);
	assert_true(n_allowed > 1000 && n_denied > 1000 && n_default > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(images_explain_and_words_agree) };

	return cmocka_run_group_tests_name("policy/equal", tests, NULL, NULL);
}
