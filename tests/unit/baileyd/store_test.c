// SPDX-License-Identifier: Apache-2.0
/* The file of the policies that decide and decided: what is written is read, and nothing else is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "baileyd/store.h"
#include "base/cleanup.h"

static char path[64];

static struct stored *policy(const char *name, const char *text, bool is_applied, int64_t at)
{
	struct pol_sources s = { 0 };
	struct err e = ERR_INIT;

	assert_int_equal(pol_sources_add(&s, name, text, strlen(text), &e), 0);
	assert_int_equal(pol_sources_add(&s, "more/\xc3\xa4.yaml", "# \"\\\t\n", 6, &e), 0);
	return stored_new(&s, is_applied, at);
}

static struct store example(void)
{
	struct store s = { .current = policy("a.yaml", "version: 1\n", true, 1763000000),
			   .previous = policy("b.yaml", "", false, 1762000000) };

	s.configured[0] = 0xc0;
	s.trial_until = 1763000060;
	s.trial_digest[31] = 7;
	return s;
}

static void same(const struct stored *a, const struct stored *b)
{
	assert_int_equal(a->is_applied, b->is_applied);
	assert_int_equal(a->at, b->at);
	assert_memory_equal(a->digest, b->digest, sizeof(a->digest));
	assert_int_equal(a->sources.n, b->sources.n);
	for (size_t i = 0; i < a->sources.n; i++) {
		assert_string_equal(a->sources.text[i].name, b->sources.text[i].name);
		assert_int_equal(a->sources.text[i].len, b->sources.text[i].len);
		assert_string_equal(a->sources.text[i].text, b->sources.text[i].text);
	}
}

static void what_is_written_is_read(void **state)
{
	auto_call(store_fini) struct store s = example(), back = { 0 }, none = { 0 };
	struct err e = ERR_INIT;
	struct stat st;

	(void)state;
	assert_int_equal(store_read(path, &back, &e), -ENOENT);
	assert_null(back.current);
	e = ERR_INIT;
	assert_int_equal(store_write(path, &s, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(store_read(path, &back, &e), 0);
	same(s.current, back.current);
	same(s.previous, back.previous);
	assert_memory_equal(s.configured, back.configured, sizeof(s.configured));
	assert_memory_equal(s.trial_digest, back.trial_digest, sizeof(s.trial_digest));
	assert_int_equal(back.trial_until, s.trial_until);
	stored_drop(s.previous);
	s.previous = NULL;
	s.trial_until = 0;
	assert_int_equal(store_write(path, &s, &e), 0);
	assert_int_equal(store_read(path, &none, &e), 0);
	assert_null(none.previous);
	assert_int_equal(none.trial_until, 0);
}

static void a_copy_shares_and_outlives(void **state)
{
	struct store s = example(), copy = store_copy(&s);

	(void)state;
	assert_ptr_equal(s.current, copy.current);
	store_fini(&s);
	assert_string_equal(copy.current->sources.text[0].text, "version: 1\n");
	store_fini(&copy);
}

static void expect_refused(const char *text, size_t len, int code)
{
	auto_call(store_fini) struct store s = { 0 };
	struct err e = ERR_INIT;

	assert_int_equal(file_write(path, text, len, 0600, &e), 0);
	if (store_read(path, &s, &e) != code)
		fail_msg("%d %s: %.*s", e.code, e.msg, (int)len, text);
	assert_null(s.current);
	assert_non_null(strstr(e.where, "policy.json"));
}

static char *replaced(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *changed = NULL;

	assert_non_null(at);
	assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return changed;
}

/* A text that was changed has another digest; a part that is missing is no policy. */
static void anything_else_is_refused(void **state)
{
	static const char *const changes[][2] = {
		{ "version: 1", "version: 2" },
		{ "\"version\": 1,", "\"version\": 2," },
		{ "\"current\": {", "\"gone\": {" },
		{ "\"files\": [", "\"flies\": [" },
		{ "\"name\": \"a.yaml\"", "\"name\": 1" },
		{ "\"until\": 1763000060", "\"until\": \"soon\"" },
		{ "\"configured\": \"c0", "\"configured\": \"0x" },
	};
	auto_call(store_fini) struct store s = example();
	char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	assert_int_equal(store_write(path, &s, &e), 0);
	assert_int_equal(file_read(path, 1 << 20, &text, &len, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		char *changed = replaced(text, changes[i][0], changes[i][1]);

		expect_refused(changed, strlen(changed), -EBADMSG);
		free(changed);
	}
	for (size_t cut = 0; cut < len - 1; cut += 7)
		expect_refused(text, cut, -EBADMSG);
	free(text);
}

int main(void)
{
	char dir[] = "/tmp/by-store-XXXXXX";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_copy_shares_and_outlives),
		cmocka_unit_test(anything_else_is_refused),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/policy.json", dir);
	ret = cmocka_run_group_tests_name("baileyd/store", tests, NULL, NULL);
	unlink(path);
	rmdir(dir);
	return ret;
}
