// SPDX-License-Identifier: Apache-2.0
/* The canonical form: what it looks like, and that neither a comment nor the meaning is lost on the way. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/diff.h"
#include "policy/fmt.h"
#include "policy/model.h"
#include "world.h"

#define WORLDS 300

DEFINE_CLEANUP(model, struct pol_model, pol_free)

static char *format(const char *text)
{
	struct diags d = { 0 };
	char *out = NULL;

	if (pol_format("f.yaml", text, strlen(text), &out, &d) < 0)
		fail_msg("%u:%u: %s\n%s", d.item[0].line, d.item[0].col, d.item[0].msg, text);
	return out;
}

static void expect(const char *text, const char *wanted)
{
	auto_free char *out = format(text), *again = format(out);

	assert_string_equal(out, wanted);
	assert_string_equal(again, wanted);
}

static void form_is_canonical(void **state)
{
	(void)state;
	expect("{version: 1,rules: [  ]}", "{ version: 1, rules: [] }\n");
	/* keys of known maps have an order, names have none */
	expect("rules:\n- {deny: [tcp], to: b,   from: a, name: x}\napps:\n    b: {app-id: 00}\n    a: {app-id: "
	       "01}\nversion: 1",
	       "version: 1\napps:\n  b: { app-id: 00 }\n  a: { app-id: 01 }\nrules:\n"
	       "  - { name: x, from: a, to: b, deny: [tcp] }\n");
	/* quotes where a text would be something else without them */
	expect("a: ['web', \"tcp/22\", '1', \"true\", 'No', '', \"a b\", 'it''s', \"x: y\", \"\\u2028\\n\\x01\"]\n",
	       "a: [web, tcp/22, \"1\", \"true\", \"No\", \"\", \"a b\", \"it's\", \"x: y\", \"\\u2028\\n\\u0001\"]\n");
	expect("'version': 1\n\"1\": x\n", "version: 1\n\"1\": x\n");
	expect("a: one\n  two\nb: one\n\n  two\n", "a: one two\nb: \"one\\ntwo\"\n");
	/* at most one empty line, none at the ends */
	expect("\n\n\nversion: 1\n\n\n\nx:\n\n  - a\n\n\n  - b\n\n\n", "version: 1\n\nx:\n  - a\n\n  - b\n");
	expect("version: 1\r\nx: [a]\t\r\n", "version: 1\nx: [a]\n");
	expect("---\nversion: 1\n...\n", "version: 1\n");
	expect("a:\nb:\n  - c:\n  -\n", "a:\nb:\n  - c:\n  -\n");
	expect("a:\n- - b\n  - [c, d]\n", "a:\n  -\n    - b\n    - [c, d]\n");
}

static void comments_stay_where_they_belong(void **state)
{
	(void)state;
	expect("# top\n\n# of a\na:   x    # behind\n#left\nb: y\n# end\n",
	       "# top\n\n# of a\na: x # behind\n#left\nb: y\n# end\n");
	/* those in a list belong to it, also the last; those further left to what follows */
	expect("rules:\n- {a: b}\n# next\ntests:\n  - c\n  # - d\n# end\n",
	       "rules:\n  - { a: b }\n# next\ntests:\n  - c\n  # - d\n# end\n");
	/* brackets open where a comment lies between them */
	expect("x: [a, # one\n    # two\n    b]  # three\n", "x: # three\n  - a # one\n  # two\n  - b\n");
	expect("rules:\n  - { from: a, # who\n      to: b }\n", "rules:\n  - from: a # who\n    to: b\n");
	/* a comment goes with the key that it is about */
	expect("rules:\n  -\n    # asked\n    to: b\n    # asks\n    from: a\n",
	       "rules:\n  # asked\n  # asks\n  - from: a\n    to: b\n");
	expect("- # first\n  a: b\n", "# first\n- a: b\n");
	expect("a: # of a\n  b: \"# none\" # c\n  d: 'e # f'\n  g: h#i\n",
	       "a: # of a\n  b: \"# none\" # c\n  d: \"e # f\"\n  g: h#i\n");
	expect("\xc3\xa4: \xc3\xbc # \xe2\x82\xac\nb: \"\xf0\x9f\x98\x80\" # c\n",
	       "\xc3\xa4: \xc3\xbc # \xe2\x82\xac\nb: \"\xf0\x9f\x98\x80\" # c\n");
}

static void long_brackets_open(void **state)
{
	static const char port[] = "tcp/10000, ";
	char text[400] = "a: [", wanted[400] = "a:\n";

	(void)state;
	for (int i = 0; i < 11; i++) {
		strcat(text, port);
		strcat(wanted, "  - tcp/10000\n");
	}
	strcat(text, "udp]\n");
	strcat(wanted, "  - udp\n");
	expect(text, wanted);
}

static void what_it_can_not_keep_is_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "a: |\n  b\n", "a block of text can not be kept; write it in quotes" },
		{ "a: > # c\n  b\n", "a block of text can not be kept; write it in quotes" },
		{ "%YAML 1.1\n---\na: b\n", "a line that begins with % can not be kept" },
		{ "a: b # x\rc: d\n", "has line breaks other than LF and CRLF" },
		{ "a: b # \xe2\x80\xa8\x63: d\n", "has line breaks other than LF and CRLF" },
		{ "a: [\n  # nothing\n]\n", "can not be written again without a change; it stays as it is" },
		{ "a: &b c\n", "anchors (&name) are not part of this language" },
		{ "a: [b\n",
		  "not YAML: did not find expected ',' or ']' (while parsing a flow sequence that starts on line 1)" },
		{ "# nothing\n", "is empty" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct diags d = { 0 };
		char *out = NULL;

		assert_int_equal(pol_format("f.yaml", bad[i].text, strlen(bad[i].text), &out, &d), -EINVAL);
		assert_null(out);
		assert_string_equal(d.item[0].msg, bad[i].why);
		diags_fini(&d);
	}
}

/* --- random policies --------------------------------------------------------------------------------------- */

static unsigned n_comments;

static void comment(const char *before, const char *after, FILE *to)
{
	fprintf(to, "%s# c%u.%s", before, n_comments++, after);
}

static void between_lines(FILE *to)
{
	static const char *const indent[] = { "", "  ", "    ", "      " };

	if (!roll(6))
		fputs("\n\n" + roll(2), to);
	if (!roll(5))
		comment(indent[roll(4)], "\n", to);
}

/* The same policy with comments, empty lines and breaks wherever YAML takes them. */
static char *ruffle(const char *text)
{
	unsigned depth = 0;
	size_t size;
	char *out;
	FILE *to = open_memstream(&out, &size);

	n_comments = 0;
	for (const char *c = text; *c; c++) {
		depth += *c == '[' || *c == '{';
		depth -= *c == ']' || *c == '}';
		if (*c == '\n') {
			if (!roll(5))
				comment("  ", "", to);
			fputc('\n', to);
			between_lines(to);
		} else if (depth && *c == ' ' && c[-1] == ',') {
			if (!roll(16))
				comment(" ", "", to);
			fputs(roll(8) && out ? " " : "\n          ", to);
		} else {
			fputc(*c, to);
		}
		fflush(to);
		if (size > 1 && depth && strrchr(out, '#') && !strchr(strrchr(out, '#'), '\n'))
			fputs("\n          ", to);
	}
	fclose(to);
	return out;
}

static void parse(const char *text, struct pol_model **model)
{
	struct diags d = { 0 };

	if (pol_parse("w.yaml", text, strlen(text), model, &d) < 0)
		fail_msg("%u:%u: %s\n%s", d.item[0].line, d.item[0].col, d.item[0].msg, text);
	diags_fini(&d);
}

static void same_rules(const struct pol_model *a, const struct pol_model *b)
{
	assert_int_equal(a->n_rules, b->n_rules);
	assert_int_equal(a->n_tests, b->n_tests);
	assert_int_equal(a->n_names, b->n_names);
	assert_int_equal(a->n_port_sets, b->n_port_sets);
	for (size_t i = 0; i < a->n_rules; i++) {
		const struct pol_rule *x = &a->rule[i], *y = &b->rule[i];

		assert_string_equal(x->name, y->name);
		assert_int_equal(x->action, y->action);
		assert_int_equal(x->flags, y->flags);
		assert_int_equal(x->rate, y->rate);
		assert_int_equal(x->burst, y->burst);
		assert_int_equal(x->n_ports, y->n_ports);
		assert_memory_equal(x->port, y->port, x->n_ports * sizeof(*x->port));
		assert_int_equal(x->from.n, y->from.n);
		assert_memory_equal(x->from.point, y->from.point, x->from.n * sizeof(*x->from.point));
		assert_int_equal(x->to.n, y->to.n);
		assert_memory_equal(x->to.point, y->to.point, x->to.n * sizeof(*x->to.point));
	}
}

static void has_comments(const char *text, unsigned n)
{
	char word[16];

	for (unsigned i = 0; i < n; i++) {
		snprintf(word, sizeof(word), "# c%u.", i);
		if (!strstr(text, word) || strstr(strstr(text, word) + 1, word))
			fail_msg("%s is not there once:\n%s", word, text);
	}
}

static void random_policies_mean_the_same(void **state)
{
	unsigned n_moved = 0, n_all = 0;

	(void)state;
	for (unsigned i = 0; i < WORLDS; i++) {
		auto_call(cleanup_model) struct pol_model *before = NULL, *after = NULL;
		auto_call(pol_diff_fini) struct pol_diff diff = { 0 };
		struct world w = { 0 };
		auto_free char *plain = write_world(&w), *text = ruffle(plain), *out = format(text),
			       *again = format(out);
		struct err e = ERR_INIT;

		assert_string_equal(out, again);
		has_comments(out, n_comments);
		parse(text, &before);
		parse(out, &after);
		same_rules(before, after);
		assert_int_equal(pol_diff_make(before, after, &diff, &e), 0);
		assert_int_equal(diff.n_changes + diff.n_rules, 0);
		n_moved += strcmp(out, text) != 0;
		n_all += n_comments;
	}
	assert_true(n_moved > WORLDS / 2 && n_all > 5 * WORLDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(form_is_canonical),
		cmocka_unit_test(comments_stay_where_they_belong),
		cmocka_unit_test(long_brackets_open),
		cmocka_unit_test(what_it_can_not_keep_is_refused),
		cmocka_unit_test(random_policies_mean_the_same),
	};

	return cmocka_run_group_tests_name("policy/fmt", tests, NULL, NULL);
}
