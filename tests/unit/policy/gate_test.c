// SPDX-License-Identifier: Apache-2.0
/*
 * Rules about requests, over random policies: what the gates of both ends answer, what the model's ladder does, and an
 * evaluator that reads the words of the policy rule by rule; and what is left of such rules in the kernel's images.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/gate.h"
#include "policy/model.h"
#include "world.h"

#define WORLDS   300
#define REQUESTS 32 /* of each world */
#define DOORS    9  /* of ports 1.., where a mesh listens */

static unsigned n_allowed, n_denied, n_default, n_audited, n_told_apart;

static bool asks(const struct rule *rule, const struct request *r)
{
	return !rule->http || rule->http & (rule->is_deny ? r->in_deny : r->in_allow);
}

static struct decision wanted(const struct world *w, const struct node *from, const struct node *to, uint32_t selector,
			      const struct request *r)
{
	unsigned set = rules_of(w, from, to, selector);

	for (unsigned i = 0; i < w->n_rules; i++)
		if (!asks(&w->rule[i], r))
			set &= ~(1u << i);
	return decide(w, set);
}

static void same(const struct decision *d, enum by_action action, const char *rule, const char *audit)
{
	char name[16];

	assert_int_equal(action == BY_ALLOW, d->is_allowed);
	assert_int_equal(!rule, !d->rule);
	assert_int_equal(!audit, !d->audit);
	snprintf(name, sizeof(name), "rule-%u", d->rule);
	if (rule)
		assert_string_equal(rule, name);
	snprintf(name, sizeof(name), "rule-%u", d->audit);
	if (audit)
		assert_string_equal(audit, name);
}

static void same_gate(const struct world *w, const struct node *self, const struct node *peer, enum by_dir dir,
		      uint16_t port, const struct request *r, const struct decision *d)
{
	struct pol_subject s = subject(*self), p = subject(*peer);
	struct pol_gate *gate = NULL;
	struct pol_gate_answer a;
	struct err e = ERR_INIT;

	assert_int_equal(pol_gate_make(w->model, &s, dir, &gate, &e), 0);
	pol_gate_ask(gate, pol_gate_peer(gate, &p), port, r->method, r->target, &a);
	same(d, a.action, a.rule.name, a.audit.name);
	assert_true(!a.is_about_http || pol_gate_has_http(gate, port));
	assert_int_equal(a.is_normal, r->in_deny != EVERY_WORD);
	if (a.rule.name)
		assert_int_equal(a.flags & BY_RULE_HTTP, w->rule[d->rule - 1].http ? BY_RULE_HTTP : 0);
	pol_gate_free(gate);
}

static void check_request(const struct world *w, const struct node *from, const struct node *to, uint16_t port,
			  const struct request *r)
{
	struct decision d = wanted(w, from, to, port, r), raw = wanted(w, from, to, port, &requests[15]);
	struct pol_subject f = subject(*from), t = subject(*to);
	struct pol_request request;
	bool is_read = r->method && pol_request_read(r->method, r->target, &request, NULL) == 0;
	struct pol_decision model = pol_decide(w->model, pol_kind_of(w->model, &f), pol_kind_of(w->model, &t), port,
					       is_read ? &request : NULL);

	same_gate(w, to, from, BY_DIR_IN, port, r, &d);
	same_gate(w, from, to, BY_DIR_OUT, port, r, &d);
	same(&d, model.action, model.rule ? model.rule->name : NULL, model.audit ? model.audit->name : NULL);
	n_allowed += d.is_allowed;
	n_denied += d.rule && !d.is_allowed;
	n_default += !d.rule;
	n_audited += d.audit != 0;
	n_told_apart += d.is_allowed != raw.is_allowed;
}

static void load(struct world *w)
{
	auto_free char *text = write_world(w);
	struct diags d = { 0 };

	if (pol_parse("w.yaml", text, strlen(text), &w->model, &d) < 0)
		fail_msg("%s: %s", d.item[0].msg, text);
	diags_fini(&d);
}

static void gates_model_and_words_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORLDS; i++) {
		struct world w = { .has_http = true };

		load(&w);
		for (unsigned p = 0; p < REQUESTS; p++) {
			struct node from = node_of(roll(ALL_NODES)), to = node_of(roll(ALL_NODES));

			check_request(&w, &from, &to, (uint16_t)roll(18), &requests[roll(ARRAY_LEN(requests))]);
		}
		pol_free(w.model);
	}
	print_message("# %u allowed, %u denied by a rule, %u by default, %u that an audit rule would deny; %u that a "
		      "connection without HTTP would not be\n",
		      n_allowed, n_denied, n_default, n_audited, n_told_apart);
	assert_true(n_allowed > 300 && n_denied > 300 && n_default > 300 && n_audited > 150 && n_told_apart > 150);
}

/* --- the kernel -------------------------------------------------------------------------------------------- */

/* A door is what a kernel does where a mesh decides: rules that allow some requests open it, denials leave it. */
static const struct request door = { NULL, NULL, EVERY_WORD, 0 };

static void same_image(const struct world *w, const struct node *self, const struct node *peer, enum by_dir dir,
		       uint32_t selector, bool has_mesh)
{
	const struct pol_range mesh = { BY_PORT_TCP + 1, BY_PORT_TCP + DOORS };
	bool is_door = dir == BY_DIR_OUT || (has_mesh && mesh.first <= selector && selector <= mesh.last);
	struct decision d = wanted(w, dir == BY_DIR_OUT ? self : peer, dir == BY_DIR_OUT ? peer : self, selector,
				   is_door ? &door : &requests[15]);
	struct pol_subject s = subject(*self), p = subject(*peer);
	auto_free struct pol_image *img = NULL;
	struct err e = ERR_INIT;
	struct by_verdict v;
	uint32_t class;

	assert_int_equal(pol_compile_mesh(w->model, &s, &mesh, has_mesh, NULL, 0, &img, &e), 0);
	assert_int_equal(pol_image_check(img, img->size, &e), 0);
	assert_int_equal(pol_classify(w->model, img, &p, &class), 0);
	v = pol_image_lookup(img, dir, class, selector);
	same(&d, v.action, v.rule ? pol_image_rules(img)[v.rule - 1].name : NULL,
	     v.audit ? pol_image_rules(img)[v.audit - 1].name : NULL);
}

/* Without a mesh no request could be told from another: such a port stays shut, and is shut by a denial. */
static void a_port_opens_where_a_mesh_listens(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORLDS; i++) {
		struct world w = { .has_http = true };

		load(&w);
		for (unsigned p = 0; p < 8; p++) {
			struct node self = node_of(roll(ALL_NODES)), peer = node_of(roll(ALL_NODES));
			uint32_t selector = roll(4) ? roll(18) : roll_selector();

			same_image(&w, &self, &peer, (enum by_dir)roll(2), selector, roll(2));
		}
		pol_free(w.model);
	}
}

/* --- paths ------------------------------------------------------------------------------------------------- */

static void a_path_has_one_form(void **state)
{
	static const struct {
		const char *target, *path;
	} good[] = {
		{ "/", "/" },
		{ "/?", "/" },
		{ "/a/b", "/a/b" },
		{ "/a/b/", "/a/b/" },
		{ "/a?x=//../%00", "/a" },
		{ "/%61%2D%7e", "/a-~" },
		{ "/%c3%a9", "/\xc3\xa9" },
		{ "/100%25", "/100%" },
		{ "/...", "/..." },
		{ "/.a/..b", "/.a/..b" },
		{ "/a+b:c@d!$&'()*,=", "/a+b:c@d!$&'()*,=" },
	};
	static const char *const bad[] = {
		"",        "a",       "?",          "http://a/b", "//",        "/a//b",         "/.",      "/./a",
		"/a/.",    "/..",     "/a/..",      "/a/../b",    "/%2e",      "/%2E%2e/a",     "/.%2e",   "/a%2fb",
		"/a%2Fb",  "/a\\b",   "/a%5cb",     "/a;b",       "/a%3bb",    "/a%00",         "/%0d%0a", "/\x7f",
		"/a b",    "/a#b",    "/%",         "/%4",        "/%4?1",     "/%zz",          "/%252e",  "/%25%32%65",
		"/%c0%ae", "/%c0%af", "/%ed%a0%80", "/%ff",       "/\xc3\xa9", "/%f4%90%80%80", "/%e2%82", "/a/%2e./b",
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct err e = ERR_INIT;

		if (pol_path_read(good[i].target, strlen(good[i].target), buf, &e) < 0)
			fail_msg("%s: %s", good[i].target, e.msg);
		assert_string_equal(buf, good[i].path);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		if (pol_path_read(bad[i], strlen(bad[i]), buf, &e) == 0)
			fail_msg("'%s' was read as '%s'", bad[i], buf);
		assert_true(e.msg[0]);
	}
	/* a NUL that is no end of text */
	assert_int_equal(pol_path_read("/a\0b", 4, buf, NULL), -EINVAL);
}

static void long_requests_are_refused(void **state)
{
	auto_free char *path = malloc(POL_HTTP_PATH_MAX + 16);
	struct pol_request r;

	(void)state;
	memset(path, 'a', POL_HTTP_PATH_MAX + 15);
	path[0] = '/';
	path[POL_HTTP_PATH_MAX] = '\0';
	assert_int_equal(pol_request_read("GET", path, &r, NULL), 0);
	assert_int_equal(strlen(r.path), POL_HTTP_PATH_MAX);
	path[POL_HTTP_PATH_MAX] = '?'; /* a query counts for nothing */
	path[POL_HTTP_PATH_MAX + 1] = '\0';
	assert_int_equal(pol_request_read("GET", path, &r, NULL), 0);
	memcpy(path + POL_HTTP_PATH_MAX, "b", 2);
	assert_int_equal(pol_request_read("GET", path, &r, NULL), -EINVAL);
	assert_int_equal(pol_request_read("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", "/", &r, NULL), -EINVAL);
	assert_int_equal(pol_request_read("", "/", &r, NULL), -EINVAL);
	assert_int_equal(pol_request_read("G ET", "/", &r, NULL), -EINVAL);
}

static void patterns_cover_whole_segments(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool is_narrow, is_wide;
	} c[] = {
		{ "/", "/", true, true },
		{ "/", "/a", false, false },
		{ "/a", "/a", true, true },
		{ "/a", "/a/", false, true },
		{ "/a/", "/a", false, true },
		{ "/a/", "/a/", true, true },
		{ "/a", "/A", false, true },
		{ "/a", "/ab", false, false },
		{ "/a", "/a/b", false, false },
		{ "/a/*", "/a", false, false },
		{ "/a/*", "/a/", false, false },
		{ "/a/*", "/a/b", true, true },
		{ "/a/*", "/a/b/", false, true },
		{ "/a/*", "/a/b/c", false, false },
		{ "/a/*", "/a/**", true, true },
		{ "/a/*/c", "/a/b/c", true, true },
		{ "/a/*/c", "/a//c", false, false },
		{ "/a/**", "/a", true, true },
		{ "/a/**", "/a/", true, true },
		{ "/a/**", "/a/b/c/", true, true },
		{ "/a/**", "/ab", false, false },
		{ "/**", "/", true, true },
		{ "/**", "/x/y", true, true },
		{ "/*", "/", false, false },
		{ "/\xc3\xa9", "/\xc3\x89", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		if (pol_pattern_covers(c[i].pattern, c[i].path, false) != c[i].is_narrow ||
		    pol_pattern_covers(c[i].pattern, c[i].path, true) != c[i].is_wide)
			fail_msg("%s and %s", c[i].pattern, c[i].path);
	}
}

/* --- limits ------------------------------------------------------------------------------------------------ */

/* 1,600 rules of one app on 1,600 ports each, no two of which can be merged. */
static void a_gate_that_is_too_large_is_refused(void **state)
{
	static const struct pol_subject self = { .app_id = { 1 } };
	auto_free char *text = NULL;
	struct pol_model *model = NULL;
	struct pol_gate *gate = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	fprintf(to, "version: 1\napps: { a: { app-id: \"%040x\" } }\nrules:\n", 2);
	for (int i = 1; i <= 1600; i++)
		fprintf(to,
			"  - { from: a, to: any-attested, allow: [tcp/%d] }\n"
			"  - { from: a, to: any-attested, allow: [tcp/1-1600], http: [{ path: /%d }] }\n",
			i, i);
	fclose(to);
	assert_int_equal(pol_parse("big.yaml", text, size, &model, &d), 0);
	assert_int_equal(pol_gate_make(model, &self, BY_DIR_IN, &gate, &e), -E2BIG);
	assert_non_null(strstr(e.msg, "more than 1048576 entries"));
	assert_null(gate);
	pol_free(model);
	diags_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gates_model_and_words_agree),   cmocka_unit_test(a_port_opens_where_a_mesh_listens),
		cmocka_unit_test(a_path_has_one_form),           cmocka_unit_test(long_requests_are_refused),
		cmocka_unit_test(patterns_cover_whole_segments), cmocka_unit_test(a_gate_that_is_too_large_is_refused)
	};

	return cmocka_run_group_tests_name("policy/gate", tests, NULL, NULL);
}
