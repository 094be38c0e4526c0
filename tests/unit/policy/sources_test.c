// SPDX-License-Identifier: Apache-2.0
/* A policy of several files: what is read in which order, what is refused where, and that nothing depends on the cut.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/diff.h"
#include "policy/model.h"
#include "world.h"

DEFINE_CLEANUP(model, struct pol_model, pol_free)

#define auto_model   auto_call(cleanup_model)
#define auto_sources auto_call(pol_sources_fini)
#define auto_diags   auto_call(diags_fini)

#define WEB   "  web: { app-id: 0100000000000000000000000000000000000000 }\n"
#define DB    "  db: { app-id: 0200000000000000000000000000000000000000 }\n"
#define RULE  "rules:\n  - { from: web, to: db, allow: [tcp/1] }\n"
#define EMPTY "version: 1\n"

/* Files in memory; a path that others begin with is a folder. */
struct file {
	const char *path, *text;
	uint64_t same_as; /* another path for the file of that number, counted from 1 */
};

static int get(void *arg, const char *path, size_t max, struct file_found *found, struct err *e)
{
	const struct file *file = arg;
	size_t len = strlen(path);

	(void)max;
	*found = (struct file_found){ 0 };
	for (uint64_t i = 0; file[i].path; i++) {
		const char *rest = file[i].path + len;

		if (strncmp(file[i].path, path, len) != 0)
			continue;
		found->id[0] = file[i].same_as ? file[i].same_as : i + 1;
		if (!*rest) {
			found->text = strdup(file[i].text);
			found->len = strlen(file[i].text);
			return 0;
		}
		if (*rest != '/' && path[len - 1] != '/')
			continue;
		rest += *rest == '/';
		found->is_dir = true;
		found->id[1] = 1;
		found->name = realloc(found->name, (found->n + 1) * sizeof(*found->name));
		found->name[found->n++] = strndup(rest, strcspn(rest, "/"));
	}
	return found->is_dir ? 0 : err_at(e, -ENOENT, path, "No such file or directory");
}

static char *printed(const struct diags *d)
{
	char *said = NULL;
	size_t size;
	FILE *to = open_memstream(&said, &size);

	diags_print(d, to);
	fclose(to);
	return said;
}

static int load(const struct file *file, const char *paths, struct pol_sources *s, struct pol_model **model,
		struct diags *d)
{
	const char *path[8];
	auto_free char *words = strdup(paths);
	struct err e = ERR_INIT;
	size_t n = 0;
	int ret;

	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		path[n++] = w;
	ret = pol_sources_load(s, path, n, get, (void *)file, d, &e);
	return ret ? ret : pol_sources_parse(s, true, model, d);
}

static void expect_said(const struct file *file, const char *paths, const char *wanted)
{
	auto_sources struct pol_sources s = { 0 };
	auto_model struct pol_model *model = NULL;
	auto_diags struct diags d = { 0 };
	auto_free char *said = NULL;
	int ret = load(file, paths, &s, &model, &d);

	said = printed(&d);
	if (strcmp(said, wanted) != 0)
		fail_msg("%s:\n%s", paths, said);
	assert_int_equal(ret, d.n_errors ? -EINVAL : 0);
	assert_true(!model == !!d.n_errors);
}

static void order_is_by_name_and_each_before_what_it_includes(void **state)
{
	static const struct file file[] = {
		{ "etc/main.yaml", "version: 1\ninclude: [./teams/, base.yaml]\napps:\n" WEB RULE, 0 },
		{ "etc/base.yaml", "version: 1\napps:\n" DB RULE, 0 },
		{ "etc/teams/b.yaml", "version: 1\n" RULE, 0 },
		{ "etc/teams/a.yaml", "version: 1\ninclude: [deep/more.yaml]\n" RULE, 0 },
		{ "etc/teams/deep/more.yaml", "version: 1\n" RULE, 0 },
		{ "etc/teams/notes.txt", "no policy", 0 },
		{ "last.yaml", "version: 1\n" RULE, 0 },
		{ 0 },
	};
	static const char *const names[] = { "etc/main.yaml",    "etc/teams/b.yaml",
					     "etc/teams/a.yaml", "etc/teams/deep/more.yaml",
					     "etc/base.yaml",    "last.yaml" };
	auto_sources struct pol_sources s = { 0 };
	auto_model struct pol_model *model = NULL;
	auto_diags struct diags d = { 0 };
	char where[96];

	(void)state;
	assert_int_equal(load(file, "etc/main.yaml last.yaml", &s, &model, &d), 0);
	assert_int_equal(s.n, ARRAY_LEN(names));
	assert_int_equal(model->n_rules, s.n);
	for (size_t i = 0; i < s.n; i++) {
		assert_string_equal(s.text[i].name, names[i]);
		assert_int_equal(model->rule[i].file, i);
	}
	assert_string_equal(model->rule[5].name, "rule-6");
	pol_rule_where(model, &model->rule[3], where, sizeof(where));
	assert_string_equal(where, "more.yaml:3");
}

static void places_name_their_file(void **state)
{
	static const struct file file[] = {
		{ "x/web.yaml", "version: 1\napps:\n" WEB DB "groups: { web: [db] }\n" RULE, 0 },
		{ "y/web.yaml", "version: 1\nrules:\n  - { name: a, from: wbe, to: db, allow: [tcp/0] }\n", 0 },
		{ "z.yaml", "version: 2\nrules: []\nzebra: 1\n", 0 },
		{ "same.yaml", "version: 1\napps:\n" WEB "groups: { g: [db] }\n", 0 },
		{ "id.yaml", "version: 1\napps: { front: { app-id: 0200000000000000000000000000000000000000 } }\n", 0 },
		{ "kind.yaml", "version: 1\napps: []\nrules: { a: 1 }\n", 0 },
		{ "named.yaml", "version: 1\nrules:\n  - { name: rule-1, from: web, to: db, allow: [tcp/2] }\n", 0 },
		{ "shadow.yaml", "version: 1\nrules:\n  - { name: all, from: web, to: db, deny: [any] }\n", 0 },
		{ "ok.yaml", "version: 1\napps:\n" WEB DB RULE, 0 },
		{ 0 },
	};

	(void)state;
	expect_said(file, "x/web.yaml y/web.yaml",
		    "x/web.yaml:5:11: groups.web: group name 'web' is the name of the app on line 3\n"
		    "y/web.yaml:3:22: rules[0].from: unknown app 'wbe'; did you mean 'web'?\n"
		    "y/web.yaml:3:43: rules[0].allow[0]: port 0 does not exist, the least is 1\n");
	expect_said(file, "ok.yaml z.yaml",
		    "z.yaml:1:10: version: found '2', needed 1\nz.yaml:3:1: zebra: unknown key 'zebra'\n");
	expect_said(file, "ok.yaml same.yaml", "same.yaml:3:3: apps.web: 'web' is in ok.yaml:3:3 already\n");
	expect_said(file, "ok.yaml id.yaml",
		    "id.yaml:2:16: apps.front: has the app-id of 'db' at ok.yaml:4; one app has one name\n");
	expect_said(file, "ok.yaml kind.yaml",
		    "kind.yaml:2:7: apps: found a list, needed a map as at ok.yaml:3:3\n"
		    "kind.yaml:3:8: rules: found a map, needed a list as at ok.yaml:6:3\n");
	expect_said(file, "ok.yaml named.yaml",
		    "named.yaml:3:13: rules[0].name: the rule at ok.yaml:6 is named 'rule-1' already\n");
	expect_said(file, "ok.yaml shadow.yaml",
		    "ok.yaml:6:5: warning: rules[0]: rule 'rule-1' can never decide: rule 'all' at shadow.yaml:3 "
		    "denies all "
		    "of it\n");
}

static void shared_names_show_their_folder(void **state)
{
	static const struct file file[] = {
		{ "/p/a/rules.yaml", "version: 1\napps:\n" WEB DB RULE, 0 },
		{ "/p/b/rules.yaml", "version: 1\n" RULE, 0 },
		{ "/q/b/rules.yaml", "version: 1\n" RULE, 0 },
		{ "rules.yaml", "version: 1\n" RULE, 0 },
		{ 0 },
	};
	static const char *const shown[] = { "a/rules.yaml:6", "p/b/rules.yaml:3", "q/b/rules.yaml:3", "rules.yaml:3" };
	auto_sources struct pol_sources s = { 0 };
	auto_model struct pol_model *model = NULL;
	auto_diags struct diags d = { 0 };
	char where[96];

	(void)state;
	assert_int_equal(load(file, "/p/a/rules.yaml /p/b/rules.yaml /q/b/rules.yaml rules.yaml", &s, &model, &d), 0);
	for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
		pol_rule_where(model, &model->rule[i], where, sizeof(where));
		assert_string_equal(where, shown[i]);
	}
}

static void what_cannot_be_included_is_said(void **state)
{
	static const struct file file[] = {
		{ "a/main.yaml",
		  "version: 1\ninclude: [../x.yaml, /etc/x.yaml, b/../../x, '', none.yaml, \"a\\tb\", empty]\n" RULE,
		  0 },
		{ "a/empty/readme", "", 0 },
		{ "loop.yaml", "version: 1\ninclude: [loop2.yaml]\n", 0 },
		{ "loop2.yaml", "version: 1\ninclude: [loop3.yaml]\n", 0 },
		{ "loop3.yaml", "version: 1\ninclude: [alias.yaml]\n", 0 },
		{ "alias.yaml", "", 4 },
		{ "twice.yaml", "version: 1\ninclude: [e.yaml, link.yaml]\n", 0 },
		{ "e.yaml", EMPTY, 0 },
		{ "link.yaml", "", 8 },
		{ "kinds.yaml", "version: 1\ninclude: e.yaml\n", 0 },
		{ "none.yaml", "version: 1\ninclude: []\n", 0 },
		{ "list.yaml", "version: 1\ninclude: [[e.yaml]]\napps:\n" WEB DB RULE, 0 },
		{ "broken.yaml", "version: 1\ninclude: [bad.yaml, bad2.yaml]\n", 0 },
		{ "bad.yaml", "version: [1\n", 0 },
		{ "bad2.yaml", "*a\n", 0 },
		{ 0 },
	};

	(void)state;
	expect_said(file, "a/main.yaml",
		    "a/main.yaml:2:11: include[0]: ../x.yaml: leads out of the folder of this file\n"
		    "a/main.yaml:2:22: include[1]: /etc/x.yaml: begins with /; needed a path below the folder of this "
		    "file\n"
		    "a/main.yaml:2:35: include[2]: b/../../x: leads out of the folder of this file\n"
		    "a/main.yaml:2:46: include[3]: : is empty\n"
		    "a/main.yaml:2:50: include[4]: a/none.yaml: No such file or directory\n"
		    "a/main.yaml:2:61: include[5]: a?b: has a control character\n"
		    "a/main.yaml:2:69: include[6]: a/empty: has no file whose name ends in .yaml\n");
	expect_said(
		file, "loop.yaml",
		"loop3.yaml:2:11: include[0]: alias.yaml: includes itself: loop2.yaml -> loop3.yaml -> loop2.yaml\n");
	expect_said(file, "twice.yaml",
		    "twice.yaml:2:19: include[1]: link.yaml: is part of the policy already, as e.yaml\n");
	expect_said(file, "e.yaml e.yaml", "e.yaml: is part of the policy already, as e.yaml\n");
	expect_said(file, "kinds.yaml",
		    "kinds.yaml:1:1: the key 'rules' is missing\n"
		    "kinds.yaml:2:10: include: needed a list of at least one file or folder, such as [common.yaml, "
		    "teams/]\n");
	expect_said(file, "none.yaml",
		    "none.yaml:1:1: the key 'rules' is missing\n"
		    "none.yaml:2:10: include: needed a list of at least one file or folder, such as [common.yaml, "
		    "teams/]\n");
	expect_said(file, "list.yaml", "list.yaml:2:11: include[0]: found a list, needed a text\n");
	expect_said(
		file, "broken.yaml",
		"bad.yaml:2:1: version: not YAML: did not find expected ',' or ']' (while parsing a flow sequence that "
		"starts on "
		"line 1)\n"
		"bad2.yaml:1:1: aliases (*name) are not part of this language\n");
}

/* A set that a daemon is handed must be whole: what an include left out may be the file that denies. */
static void a_set_without_what_it_includes_is_refused(void **state)
{
	static const char text[] = "version: 1\ninclude: [deny.yaml, teams]\napps:\n" WEB DB RULE;
	auto_sources struct pol_sources s = { 0 };
	auto_model struct pol_model *model = NULL;
	auto_diags struct diags d = { 0 }, d2 = { 0 };
	auto_free char *said = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(pol_parse("p/main.yaml", text, strlen(text), &model, &d), -EINVAL);
	said = printed(&d);
	assert_string_equal(said, "p/main.yaml:2:11: include[0]: 'deny.yaml' is not among the files that were read\n"
				  "p/main.yaml:2:22: include[1]: 'teams' is not among the files that were read\n");
	assert_int_equal(pol_sources_add(&s, "p/main.yaml", text, strlen(text), &e), 0);
	assert_int_equal(pol_sources_add(&s, "p/deny.yaml", EMPTY, strlen(EMPTY), &e), 0);
	assert_int_equal(pol_sources_add(&s, "p/teamsters.yaml", EMPTY, strlen(EMPTY), &e), 0);
	assert_int_equal(pol_sources_parse(&s, false, &model, &d2), -EINVAL);
	assert_int_equal(d2.n_errors, 1);
	assert_int_equal(pol_sources_add(&s, "p/teams/x.yaml", EMPTY, strlen(EMPTY), &e), 0);
	assert_int_equal(pol_sources_parse(&s, false, &model, &d2), 0);
}

static void sizes_are_bounded(void **state)
{
	auto_sources struct pol_sources s = { 0 }, big = { 0 };
	auto_free struct file *deep = calloc(POL_INCLUDE_MAX + 3, sizeof(*deep));
	auto_free char *half = malloc(POL_TEXT_MAX);
	auto_diags struct diags d = { 0 };
	auto_model struct pol_model *model = NULL;
	auto_free char *said = NULL;
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < POL_FILES_MAX; i++)
		assert_int_equal(pol_sources_add(&s, "x", "", 0, &e), 0);
	assert_int_equal(pol_sources_add(&s, "x", "", 0, &e), -E2BIG);
	assert_string_equal(e.msg, "more than 1024 files in one policy");
	e = ERR_INIT;
	memset(half, ' ', POL_TEXT_MAX);
	assert_int_equal(pol_sources_add(&big, "x", half, POL_TEXT_MAX - 1, &e), 0);
	assert_int_equal(pol_sources_add(&big, "y", half, 2, &e), -E2BIG);
	assert_string_equal(e.msg, "the files of one policy have more than 16777216 bytes");
	for (unsigned i = 0; i <= POL_INCLUDE_MAX; i++) {
		char *path = NULL, *text = NULL;

		assert_true(asprintf(&path, "f%u", i) > 0 &&
			    asprintf(&text, "version: 1\ninclude: [f%u]\n", i + 1) > 0);
		deep[i] = (struct file){ path, text, 0 };
	}
	deep[POL_INCLUDE_MAX + 1] = (struct file){ "f17", EMPTY, 0 };
	pol_sources_fini(&s);
	assert_int_equal(load(deep, "f0", &s, &model, &d), -EINVAL);
	said = printed(&d);
	assert_string_equal(said, "f15:2:11: include[0]: f16: files include each other too deep\n");
	for (unsigned i = 0; i <= POL_INCLUDE_MAX; i++) {
		free((char *)deep[i].path);
		free((char *)deep[i].text);
	}
}

static void the_digest_is_that_of_the_list(void **state)
{
	static const struct file file[] = {
		{ "p/a.yaml", "version: 1\napps:\n" WEB DB RULE, 0 },
		{ "p/b.yaml", "version: 1\n" RULE, 0 },
		{ 0 },
	};
	auto_model struct pol_model *model = NULL, *one = NULL, *back = NULL;
	auto_sources struct pol_sources s = { 0 }, s1 = { 0 }, s2 = { 0 };
	auto_diags struct diags d = { 0 };
	auto_free char *lines = NULL;
	char hex[2][65];
	uint8_t digest[32];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pol_sha256(file[i].text, strlen(file[i].text), digest), 0);
		hex_print(hex[i], digest, sizeof(digest));
	}
	assert_true(asprintf(&lines, "%s  a.yaml\n%s  b.yaml\n", hex[0], hex[1]) > 0);
	assert_int_equal(pol_sha256(lines, strlen(lines), digest), 0);
	assert_int_equal(load(file, "p", &s, &model, &d), 0);
	assert_memory_equal(model->digest, digest, sizeof(digest));
	assert_int_equal(load(file, "p/b.yaml p/a.yaml", &s2, &back, &d), 0);
	assert_true(memcmp(back->digest, digest, sizeof(digest)) != 0);
	assert_int_equal(load(file, "p/a.yaml", &s1, &one, &d), 0);
	assert_int_equal(pol_sha256(file[0].text, strlen(file[0].text), digest), 0);
	assert_memory_equal(one->digest, digest, sizeof(digest));
}

/* Cuts a policy into three files: version everywhere, sections and rules where the dice say. */
static void cut(const char *text, char *part[3])
{
	auto_free char *copy = strdup(text);
	FILE *to[3];
	size_t size[3], at = 0;
	const char *section[3] = { "", "", "" };
	char head[64] = "";

	for (size_t i = 0; i < 3; i++)
		fputs("version: 1\n", to[i] = open_memstream(&part[i], &size[i]));
	for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
		if (line[0] != ' ') {
			snprintf(head, sizeof(head), "%s", line);
			for (size_t i = 0; i < 3; i++)
				section[i] = "";
			at = 0;
			continue;
		}
		/* the order of the rules stays: it says which is named */
		at = strcmp(head, "rules:") == 0 ? (at < 2 && roll(3) == 0 ? at + 1 : at) : roll(3);
		if (!*section[at])
			fprintf(to[at], "%s\n", section[at] = strcmp(head, "rules:") == 0 ? "rules:" : head);
		fprintf(to[at], "%s\n", line);
	}
	for (size_t i = 0; i < 3; i++)
		fclose(to[i]);
}

static void a_policy_in_pieces_is_the_policy(void **state)
{
	(void)state;
	for (unsigned w = 0; w < 300; w++) {
		struct world world = { 0 };
		auto_free char *text = write_world(&world);
		char *part[3] = { 0 };
		auto_model struct pol_model *whole = NULL, *pieces = NULL;
		auto_sources struct pol_sources s = { 0 };
		auto_diags struct diags d = { 0 };
		struct pol_diff diff = { 0 };
		struct err e = ERR_INIT;

		cut(text, part);
		for (size_t i = 0; i < 3; i++) {
			assert_int_equal(
				pol_sources_add(&s, i ? i == 1 ? "b" : "c" : "a", part[i], strlen(part[i]), &e), 0);
			free(part[i]);
		}
		assert_int_equal(pol_parse("whole", text, strlen(text), &whole, &d), 0);
		if (pol_sources_parse(&s, false, &pieces, &d) != 0)
			fail_msg("%s: %s", d.item[0].file, d.item[0].msg);
		assert_int_equal(pol_diff_make(whole, pieces, &diff, &e), 0);
		assert_int_equal(diff.n_changes, 0);
		assert_int_equal(whole->n_rules, pieces->n_rules);
		for (size_t i = 0; i < whole->n_rules; i++)
			assert_string_equal(whole->rule[i].name, pieces->rule[i].name);
		pol_diff_fini(&diff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_by_name_and_each_before_what_it_includes),
		cmocka_unit_test(places_name_their_file),
		cmocka_unit_test(shared_names_show_their_folder),
		cmocka_unit_test(what_cannot_be_included_is_said),
		cmocka_unit_test(a_set_without_what_it_includes_is_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(the_digest_is_that_of_the_list),
		cmocka_unit_test(a_policy_in_pieces_is_the_policy),
	};

	return cmocka_run_group_tests_name("policy/sources", tests, NULL, NULL);
}
