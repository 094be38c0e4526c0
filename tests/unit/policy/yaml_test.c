// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/yaml.h"

/* What diags_print says about `text`, read as "f.yaml"; the caller frees it. "" when it is accepted. */
static char *complaint(const char *text, size_t len)
{
	struct diags d = { 0 };
	struct yaml_doc *doc = NULL;
	char *said = NULL;
	size_t size;
	FILE *to = open_memstream(&said, &size);
	int ret = yaml_parse("f.yaml", text, len, &doc, &d);

	assert_int_equal(ret, d.n_errors ? -22 : 0);
	assert_true(ret == 0 || !doc);
	diags_print(&d, to);
	fclose(to);
	diags_fini(&d);
	yaml_free(doc);
	return said;
}

static void expect_refusal(const char *text, size_t len, const char *wanted)
{
	auto_free char *said = complaint(text, len);

	assert_string_equal(said, wanted);
}

static void tree_knows_its_places(void **state)
{
	static const char text[] = "version: 1\nrules:\n  - name: a\n    allow: [tcp/1, \"x\"]\n  - {}\n";
	const struct yaml_node *root, *item;
	char path[YAML_PATH_MAX + 1];
	struct diags d = { 0 };
	struct yaml_doc *doc;

	(void)state;
	assert_int_equal(yaml_parse("f.yaml", text, strlen(text), &doc, &d), 0);
	root = yaml_root(doc);
	assert_int_equal(root->n, 2);
	assert_string_equal(yaml_path(root, path), "");
	assert_string_equal(root->child[1]->key, "rules");
	assert_int_equal(root->child[1]->key_line, 2);
	item = yaml_get(yaml_get(root, "rules")->child[0], "allow")->child[1];
	assert_string_equal(yaml_path(item, path), "rules[0].allow[1]");
	assert_string_equal(item->text, "x");
	assert_true(item->is_quoted);
	assert_int_equal(item->line, 4);
	assert_int_equal(item->col, 20);
	assert_string_equal(yaml_path(yaml_get(root, "rules")->child[1], path), "rules[1]");
	assert_null(yaml_get(root, "nothing"));
	assert_null(yaml_get(item, "nothing"));
	yaml_free(doc);
	diags_fini(&d);
}

static void refuses_with_place(void **state)
{
	static const struct {
		const char *text, *wanted;
	} c[] = {
		{ "", "f.yaml:1:1: is empty\n" },
		{ "# nothing\n", "f.yaml:1:1: is empty\n" },
		{ "---\n", "f.yaml:1:1: is empty\n" },
		{ "a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document; one file holds one\n" },
		{ "a: &x 1\n", "f.yaml:1:4: anchors (&name) are not part of this language\n" },
		{ "a: &x [b]\n", "f.yaml:1:4: anchors (&name) are not part of this language\n" },
		{ "a: [b, *x]\n", "f.yaml:1:8: a: aliases (*name) are not part of this language\n" },
		{ "a:\n  b: !!str c\n", "f.yaml:2:6: a: tags (!name) are not part of this language\n" },
		{ "! {}\n", "f.yaml:1:1: tags (!name) are not part of this language\n" },
		{ "? [a]\n: b\n", "f.yaml:1:3: a key must be a text, not a list\n" },
		{ "? {a: 1}\n: b\n", "f.yaml:1:3: a key must be a text, not a map\n" },
		{ "a: \"x\\0y\"\n", "f.yaml:1:4: holds a NUL character\n" },
		{ "\"x\\0y\": 1\n", "f.yaml:1:1: holds a NUL character\n" },
		{ "a:\n  b: 1\n  b: 2\n  c: 3\n  b: 4\n", "f.yaml:3:3: a.b: key 'b' is there already, on line 2\n"
							  "f.yaml:5:3: a.b: key 'b' is there already, on line 3\n" },
		{ "a: [1, 2\nb: 3\n", "f.yaml:2:2: a: not YAML: did not find expected ',' or ']' "
				      "(while parsing a flow sequence that starts on line 1)\n" },
		{ "a: \"x\n", "f.yaml:2:1: not YAML: found unexpected end of stream "
			      "(while scanning a quoted scalar that starts on line 1)\n" },
		{ "a: b\n\xff\n", "f.yaml:2:1: not readable text: invalid leading UTF-8 octet\n" },
		{ "\xff\xfe", "f.yaml:1:1: not readable text: invalid leading UTF-8 octet\n" },
		{ "a: \x1b[2J\n", "f.yaml:1:4: not readable text: control characters are not allowed\n" },
		{ "\"\\e[2J\": 1\n\"\\e[2J\": 2\n", "f.yaml:2:1: ?[2J: key '?[2J' is there already, on line 1\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++)
		expect_refusal(c[i].text, strlen(c[i].text), c[i].wanted);
	expect_refusal("a: b\0c\n", 7, "f.yaml:1:5: not readable text: control characters are not allowed\n");
}

/* `head`, then n times `unit`, then `tail`. */
static char *repeated(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t len = strlen(unit);
	char *text = malloc(strlen(head) + n * len + strlen(tail) + 1), *p;

	assert_non_null(text);
	p = stpcpy(text, head);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, unit);
	strcpy(p, tail);
	return text;
}

static void bounds_are_refused(void **state)
{
	static const struct {
		const char *head, *unit;
		size_t n;
		const char *tail, *wanted;
	} c[] = {
		{ "", "[", 32, "", "f.yaml:2:1: [0][0]" }, /* deep enough is allowed: what is missed is the end */
		{ "", "[", 33, "", "f.yaml:1:33: [0][0]" },
		{ "", "[", 500000, "", "f.yaml:1:33: [0][0]" },
		{ "a: ", "x", 65536, "\n", "" },
		{ "a: ", "x", 65537, "\n", "f.yaml:1:4: a text of 65537 bytes; the limit is 65536\n" },
		{ "", "k", 128, ": 1\n", "" },
		{ "", "k", 129, ": 1\n", "f.yaml:1:1: a key of 129 bytes; the limit is 128\n" },
		{ "", "#", 1 << 20, "", "f.yaml:1:1: is empty\n" },
		{ "", "#", (1 << 20) + 1, "", "f.yaml: is 1048577 bytes long; the limit is 1048576\n" },
		{ "", "a:\n", 100, "", "f.yaml:2:1: a: key 'a' is there already, on line 1\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		auto_free char *text = repeated(c[i].head, c[i].unit, c[i].n, c[i].tail);
		auto_free char *said = complaint(text, strlen(text));

		if (c[i].wanted[0])
			assert_memory_equal(said, c[i].wanted, strlen(c[i].wanted));
		else
			assert_string_equal(said, "");
	}
}

static void long_paths_are_cut_and_many_values_refused(void **state)
{
	auto_free char *key = repeated("", "k", 120, ""), *deep = NULL, *many = NULL, *said = NULL, *wanted = NULL;
	struct yaml_doc *doc = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_true(asprintf(&deep, "%s: { %s: { %s: { a: *x } } }\n", key, key, key) > 0);
	assert_true(asprintf(&wanted, "f.yaml:1:376: .%s.%s: aliases", key, key) > 0);
	said = complaint(deep, strlen(deep));
	assert_memory_equal(said, wanted, strlen(wanted));
	many = repeated("[", "1,", 1000000, "1]");
	assert_int_equal(yaml_parse_max("f.yaml", many, strlen(many), 1u << 24, &doc, &d), -22);
	assert_int_equal(diags_first(&d, &e), -22);
	assert_string_equal(e.msg, "more than 1000000 values in one file");
	diags_fini(&d);
}

static void readers_say_what_was_needed(void **state)
{
	static const char text[] =
		"n: 7\nbig: 70000\nneg: -1\noctal: 010\nquoted: \"7\"\nhuge: 99999999999999999999999\n"
		"yes: yes\ntrue: true\nlist: []\nnull:\nempty: \"\"\n";
	static const char wanted[] = "f.yaml:1:1: the key 'gone' is missing\n"
				     "f.yaml:1:1: n: unknown key 'n'; did you mean 'm'?\n"
				     "f.yaml:1:4: n: found a single value, needed a list\n"
				     "f.yaml:2:6: big: 70000 is above 65535\n"
				     "f.yaml:3:6: neg: found '-1', needed a number from 0 to 65535\n"
				     "f.yaml:4:8: octal: found '010', needed a number from 0 to 65535\n"
				     "f.yaml:5:9: quoted: found '7' in quotes, needed a number from 0 to 65535\n"
				     "f.yaml:6:7: huge: 99999999999999999999999 is above 65535\n"
				     "f.yaml:7:6: yes: found 'yes', needed true or false\n"
				     "f.yaml:9:7: list: found a list, needed a number from 0 to 65535\n"
				     "f.yaml:9:7: list: found a list, needed a text\n"
				     "f.yaml:9:7: list: found a list, needed a map\n"
				     "f.yaml:10:6: null: found nothing, needed a text\n";
	static const char *const numbers[] = { "big", "neg", "octal", "quoted", "huge", "list" };
	static const char *const known[] = { "m",   "big",  "neg",  "octal", "quoted", "huge",
					     "yes", "true", "list", "null",  "empty",  NULL };
	auto_free char *said = NULL;
	const struct yaml_node *root;
	struct diags d = { 0 };
	struct yaml_doc *doc;
	uint64_t v = 5;
	bool b = false;
	size_t size;
	FILE *to = open_memstream(&said, &size);

	(void)state;
	assert_int_equal(yaml_parse("f.yaml", text, strlen(text), &doc, &d), 0);
	root = yaml_root(doc);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_false(yaml_uint(doc, yaml_get(root, numbers[i]), 65535, &v, &d));
	assert_int_equal(v, 5);
	assert_true(yaml_uint(doc, yaml_get(root, "n"), 7, &v, &d) && v == 7);
	assert_false(yaml_bool(doc, yaml_get(root, "yes"), &b, &d));
	assert_true(yaml_bool(doc, yaml_get(root, "true"), &b, &d) && b);
	assert_null(yaml_str(doc, yaml_get(root, "list"), &d));
	assert_null(yaml_str(doc, yaml_get(root, "null"), &d));
	assert_string_equal(yaml_str(doc, yaml_get(root, "empty"), &d), "");
	assert_false(yaml_known_keys(doc, yaml_get(root, "list"), known, &d));
	assert_null(yaml_need(doc, root, "gone", YAML_MAP, &d));
	assert_false(yaml_known_keys(doc, root, known, &d));
	assert_null(yaml_need(doc, root, "n", YAML_LIST, &d));
	assert_non_null(yaml_need(doc, root, "list", YAML_LIST, &d));
	diags_print(&d, to);
	fclose(to);
	assert_string_equal(said, wanted);
	yaml_free(doc);
	diags_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_knows_its_places),
		cmocka_unit_test(refuses_with_place),
		cmocka_unit_test(bounds_are_refused),
		cmocka_unit_test(long_paths_are_cut_and_many_values_refused),
		cmocka_unit_test(readers_say_what_was_needed),
	};

	return cmocka_run_group_tests_name("policy/yaml", tests, NULL, NULL);
}
