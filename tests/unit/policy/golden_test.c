// SPDX-License-Identifier: Apache-2.0
/*
 * Every tests/golden/policy/<story>.yaml, held against what stands beside it:
 *   .err      all that is said about a policy that is refused, whose tests fail, or that draws warnings
 *   .dump     what a node of each app, and one of another app, would load
 *   .explain  answers; a line "> FROM TO PORT" asks, the lines after it are the answer
 *   .diff     what the policy <story>.new would change
 * GOLDEN=write writes them anew, to be read before they are committed.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "policy/diff.h"
#include "policy/model.h"

#define FOLDER "tests/golden/policy/"

DEFINE_CLEANUP(model, struct pol_model, pol_free)

struct story {
	char name[128], file[160];
	struct pol_model *model;
	struct diags d;
};

static char *path_of(const struct story *s, const char *ending)
{
	char *path = NULL;

	assert_true(asprintf(&path, FOLDER "%s.%s", s->name, ending) > 0);
	return path;
}

static bool exists(const struct story *s, const char *ending)
{
	auto_free char *path = path_of(s, ending);

	return access(path, F_OK) == 0;
}

static void expect(const struct story *s, const char *ending, const char *got)
{
	auto_free char *path = path_of(s, ending), *wanted = NULL;
	const char *mode = getenv("GOLDEN");
	struct err e = ERR_INIT;
	size_t len;

	if (mode && strcmp(mode, "write") == 0)
		assert_int_equal(file_write(path, got, strlen(got), 0644, &e), 0);
	if (file_read(path, 1 << 20, &wanted, &len, &e) < 0)
		fail_msg("%s is missing; got:\n%s", path, got);
	if (strcmp(wanted, got) != 0)
		fail_msg("%s differs; got:\n%s", path, got);
}

static void load(struct story *s)
{
	auto_free char *path = path_of(s, "yaml"), *text = NULL;
	struct err e = ERR_INIT;
	size_t len, n_tests;

	assert_int_equal(file_read(path, 1 << 20, &text, &len, &e), 0);
	if (pol_parse_warn(s->file, text, len, &s->model, &s->d) == 0)
		pol_run_tests(s->model, &s->d, &n_tests);
}

static void check_errors(const struct story *s)
{
	auto_free char *got = NULL;
	size_t size;
	FILE *to = open_memstream(&got, &size);

	diags_print(&s->d, to);
	fclose(to);
	if (s->d.n || exists(s, "err"))
		expect(s, "err", got);
}

static void dump_one(const struct pol_model *model, const struct pol_app *app, FILE *to)
{
	struct pol_subject self = { 0 }, peer = { .instance_id = { 1 } };
	auto_free struct pol_image *img = NULL;
	struct err e = ERR_INIT;

	if (app)
		memcpy(self.app_id, app->app_id, sizeof(self.app_id));
	assert_int_equal(pol_compile(model, &self, &peer, 1, &img, &e), 0);
	assert_int_equal(pol_image_check(img, img->size, &e), 0);
	fprintf(to, "--- a node of %s\n", app ? app->name : "another app");
	pol_image_dump(img, model, to);
	if (!pol_has_host_rules(model))
		return;
	free(take_ptr(img));
	assert_int_equal(pol_compile_host(model, &self, NULL, 0, &img, &e), 0);
	assert_int_equal(pol_image_check(img, img->size, &e), 0);
	fprintf(to, "--- its host\n");
	pol_image_dump(img, model, to);
}

static void check_dump(const struct story *s)
{
	auto_free char *got = NULL;
	size_t size;
	FILE *to = open_memstream(&got, &size);

	for (size_t i = 0; i < s->model->n_apps; i++)
		dump_one(s->model, &s->model->app[i], to);
	dump_one(s->model, NULL, to);
	fclose(to);
	expect(s, "dump", got);
}

/* "on=web from-claims=tcb=unknown", each of them once at most; last "http=GET /v1". */
static void read_more(char *text, struct pol_question *q)
{
	char *http = strstr(text, "http=");

	if (http) {
		*http = '\0';
		q->http = http + 5;
	}
	for (char *rest, *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (strncmp(word, "on=", 3) == 0)
			q->on = word + 3;
		else if (strncmp(word, "from-claims=", 12) == 0)
			q->from_claims = word + 12;
		else if (strncmp(word, "to-claims=", 10) == 0)
			q->to_claims = word + 10;
		else
			fail_msg("no question: %s", word);
	}
}

static void answer(const struct pol_model *model, const char *line, FILE *to)
{
	char from[64], where[64], port[64], more[256] = "", text[512];
	struct pol_question q = { .from = from, .to = where };
	struct pol_answer a;
	struct err e = ERR_INIT;

	fprintf(to, "%s\n", line);
	assert_true(sscanf(line, "> %63s %63s %63s %255[^\n]", from, where, port, more) >= 3);
	read_more(more, &q);
	assert_true(pol_selector_parse(port, &q.selector, &e));
	if (pol_ask(model, &q, &a, &e) < 0)
		fprintf(to, "%s\n", err_text(&e, text, sizeof(text)));
	else
		pol_answer_print(&a, from, where, q.selector, q.http, to);
}

static void check_explain(const struct story *s)
{
	auto_free char *path = path_of(s, "explain"), *asked = NULL, *got = NULL;
	struct err e = ERR_INIT;
	size_t len, size;
	FILE *to = open_memstream(&got, &size);

	assert_int_equal(file_read(path, 1 << 20, &asked, &len, &e), 0);
	for (char *line = strtok(asked, "\n"); line; line = strtok(NULL, "\n"))
		if (line[0] == '>')
			answer(s->model, line, to);
	fclose(to);
	expect(s, "explain", got);
}

static void check_diff(const struct story *s)
{
	auto_free char *path = path_of(s, "new"), *text = NULL, *got = NULL;
	auto_call(cleanup_model) struct pol_model *new = NULL;
	struct pol_diff diff = { 0 };
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	size_t len, size;
	FILE *to = open_memstream(&got, &size);

	assert_int_equal(file_read(path, 1 << 20, &text, &len, &e), 0);
	assert_int_equal(pol_parse(path, text, len, &new, &d), 0);
	assert_int_equal(pol_diff_make(s->model, new, &diff, &e), 0);
	assert_int_equal(pol_diff_print(&diff, to), 0);
	fclose(to);
	pol_diff_fini(&diff);
	diags_fini(&d);
	expect(s, "diff", got);
}

static void check_story(const char *name)
{
	struct story s = { 0 };

	assert_true(snprintf(s.name, sizeof(s.name), "%s", name) < (int)sizeof(s.name));
	*strrchr(s.name, '.') = '\0';
	snprintf(s.file, sizeof(s.file), "%s.yaml", s.name);
	load(&s);
	check_errors(&s);
	assert_true(s.model || exists(&s, "err"));
	if (exists(&s, "dump"))
		check_dump(&s);
	if (exists(&s, "explain"))
		check_explain(&s);
	if (exists(&s, "new"))
		check_diff(&s);
	pol_free(s.model);
	diags_fini(&s.d);
}

static void stories_hold(void **state)
{
	struct dirent *entry;
	DIR *d = opendir(FOLDER);
	size_t n = 0;

	(void)state;
	assert_non_null(d);
	while ((entry = readdir(d))) {
		const char *dot = strrchr(entry->d_name, '.');

		if (!dot || strcmp(dot, ".yaml") != 0)
			continue;
		check_story(entry->d_name);
		n++;
	}
	closedir(d);
	assert_true(n > 10);
}

static void examples_pass_their_own_tests(void **state)
{
	struct dirent *entry;
	DIR *d = opendir("policy/examples");
	size_t n = 0;

	(void)state;
	assert_non_null(d);
	while ((entry = readdir(d))) {
		auto_call(cleanup_model) struct pol_model *model = NULL;
		auto_free char *text = NULL;
		struct diags diags = { 0 };
		struct err e = ERR_INIT;
		char path[512];
		size_t len, n_tests = 0;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "policy/examples/%s", entry->d_name);
		assert_int_equal(file_read(path, 1 << 20, &text, &len, &e), 0);
		assert_int_equal(pol_parse_warn(path, text, len, &model, &diags), 0);
		assert_int_equal(diags.n, 0);
		assert_int_equal(pol_run_tests(model, &diags, &n_tests), 0);
		assert_true(n_tests > 0);
		diags_fini(&diags);
		n++;
	}
	closedir(d);
	assert_true(n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stories_hold),
		cmocka_unit_test(examples_pass_their_own_tests),
	};

	return cmocka_run_group_tests_name("policy/golden", tests, NULL, NULL);
}
