// SPDX-License-Identifier: Apache-2.0
/* "Can never decide" is said of a rule if and only if there is no packet that it decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/model.h"
#include "world.h"

#define WORLDS 600

DEFINE_CLEANUP(model, struct pol_model, pol_free)

static bool is_told(const struct diags *d, unsigned rule)
{
	char path[32];

	snprintf(path, sizeof(path), "rules[%u]", rule);
	for (size_t i = 0; i < d->n; i++)
		if (strcmp(d->item[i].path, path) == 0 && d->item[i].is_warning)
			return true;
	return false;
}

/* Nodes that no rule tells apart are one: which rules have them as from, and as to. */
struct sort {
	unsigned from, to;
};

static size_t all_sorts(const struct world *w, struct sort *sort)
{
	size_t n = 0;

	for (uint32_t i = 0; i < ALL_NODES; i++) {
		struct node node = node_of(i);
		struct sort s = { 0 };
		size_t j = 0;

		for (unsigned r = 0; r < w->n_rules; r++) {
			s.from |= (unsigned)covers(w, w->rule[r].from, &node, w->rule[r].is_deny) << r;
			s.to |= (unsigned)covers(w, w->rule[r].to, &node, w->rule[r].is_deny) << r;
		}
		while (j < n && memcmp(&sort[j], &s, sizeof(s)) != 0)
			j++;
		if (j == n)
			sort[n++] = s;
	}
	return n;
}

/* The rules that have a say where these cover a packet: the one that decides; and where nobody who enforces denies, the
 * first denial in audit mode. */
static unsigned deciders(const struct world *w, unsigned set)
{
	struct decision d = decide(w, set);
	unsigned said = d.rule ? 1u << (d.rule - 1) : 0;

	for (unsigned r = 0; r < w->n_rules && (d.is_allowed || !d.rule); r++)
		if (set & 1u << r && w->rule[r].is_deny && w->rule[r].is_audit)
			return said | 1u << r;
	return said;
}

static unsigned deciders_at(const struct world *w, const struct sort *sort, size_t n, uint32_t selector)
{
	unsigned ports = 0, said = 0;

	for (unsigned r = 0; r < w->n_rules; r++)
		ports |= (unsigned)has_port(&w->rule[r], selector) << r;
	for (size_t f = 0; f < n; f++)
		for (size_t t = 0; t < n; t++)
			said |= deciders(w, ports & sort[f].from & sort[t].to);
	return said;
}

/* No rule begins or ends between two of these selectors, so they stand for all. */
static unsigned all_deciders(const struct world *w)
{
	auto_free struct sort *sort = calloc(ALL_NODES, sizeof(*sort));
	size_t n = all_sorts(w, sort);
	unsigned set = 0;

	for (unsigned r = 0; r < w->n_rules; r++) {
		for (unsigned p = 0; p < w->rule[r].n_ports; p++) {
			set |= deciders_at(w, sort, n, w->rule[r].first[p]);
			if (w->rule[r].last[p] + 1 < BY_PORT_SPACE)
				set |= deciders_at(w, sort, n, w->rule[r].last[p] + 1);
		}
	}
	return set;
}

static void told_if_and_only_if_so(void **state)
{
	unsigned n_told = 0, n_other = 0;

	(void)state;
	for (unsigned i = 0; i < WORLDS; i++) {
		struct world w = { 0 };
		auto_free char *text = write_world(&w);
		struct diags d = { 0 };
		unsigned set;

		assert_int_equal(pol_parse_warn("w.yaml", text, strlen(text), &w.model, &d), 0);
		set = all_deciders(&w);
		for (unsigned r = 0; r < w.n_rules; r++) {
			bool is_dead = !(set & 1u << r);

			if (is_told(&d, r) != is_dead)
				fail_msg("rule %u is %s: %s", r + 1, is_dead ? "dead" : "alive", text);
			n_told += is_dead;
			n_other += !is_dead;
		}
		pol_free(w.model);
		diags_fini(&d);
	}
	print_message("# %u rules can never decide, %u do\n", n_told, n_other);
	assert_true(n_told > 100 && n_other > 500);
}

/* n allow rules of one app to another, port by port, and one that repeats the first. */
static char *many(unsigned n)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fprintf(to, "version: 1\napps:\n  web: { app-id: %040x }\nrules:\n", 1);
	for (unsigned i = 1; i < n; i++)
		fprintf(to, "  - { from: web, to: web, allow: [tcp/%u] }\n", i);
	fprintf(to, "  - { from: web, to: web, allow: [tcp/1] }\n");
	fclose(to);
	return text;
}

static void expect_first(unsigned n, const char *message)
{
	auto_call(cleanup_model) struct pol_model *model = NULL;
	auto_free char *text = many(n);
	struct diags d = { 0 };

	assert_int_equal(pol_parse_warn("w.yaml", text, strlen(text), &model, &d), 0);
	assert_int_equal(d.n, 1);
	assert_true(d.item[0].is_warning);
	assert_string_equal(d.item[0].msg, message);
	diags_fini(&d);
}

static void too_many_rules_are_told(void **state)
{
	(void)state;
	expect_first(POL_WARN_RULES,
		     "rule 'rule-4096' can never decide: rule 'rule-1' on line 5 allows all of it already");
	expect_first(
		POL_WARN_RULES + 1,
		"rules that can never decide were looked for among the first 0 of 4097 only, the rest is too much");
}

static void a_daemon_is_not_kept_waiting(void **state)
{
	auto_call(cleanup_model) struct pol_model *model = NULL;
	auto_free char *text = many(2);
	struct diags d = { 0 };

	(void)state;
	assert_int_equal(pol_parse("w.yaml", text, strlen(text), &model, &d), 0);
	assert_int_equal(d.n, 0);
	diags_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told_if_and_only_if_so),
		cmocka_unit_test(too_many_rules_are_told),
		cmocka_unit_test(a_daemon_is_not_kept_waiting),
	};

	return cmocka_run_group_tests_name("policy/shadow", tests, NULL, NULL);
}
