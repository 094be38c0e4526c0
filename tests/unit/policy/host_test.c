// SPDX-License-Identifier: Apache-2.0
/* Host rules: the image for the underlay, its networks, and what the daemon keeps open. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/policy.h"

DEFINE_CLEANUP(model, struct pol_model, pol_free)

#define auto_model auto_call(cleanup_model)

#define HEAD                                                                                                           \
	"version: 1\n"                                                                                                 \
	"apps:\n"                                                                                                      \
	"  web: { app-id: 0100000000000000000000000000000000000000 }\n"                                                \
	"  db: { app-id: 0200000000000000000000000000000000000000 }\n"                                                 \
	"networks:\n"                                                                                                  \
	"  office: [10.0.0.0/8, '2001:db8::/32']\n"                                                                    \
	"  v6: ['::/0']\n"                                                                                             \
	"rules:\n"

static struct pol_model *parsed(const char *text)
{
	struct pol_model *model = NULL;
	struct diags d = { 0 };

	if (pol_parse("h.yaml", text, strlen(text), &model, &d) < 0)
		fail_msg("%u:%u %s", d.item[0].line, d.item[0].col, d.item[0].msg);
	diags_fini(&d);
	return model;
}

static struct pol_image *host_image(const struct pol_model *model, uint8_t app, const struct pol_opening *openings,
				    size_t n)
{
	struct pol_subject self = { .app_id = { app } };
	struct pol_image *img = NULL;
	struct err e = ERR_INIT;

	if (pol_compile_host(model, &self, openings, n, &img, &e) < 0 || pol_image_check(img, img->size, &e) < 0)
		fail_msg("%s", e.msg);
	return img;
}

/* The name of the rule that allows, or "". */
static const char *ask(const struct pol_image *img, enum by_dir dir, const char *address, uint32_t selector)
{
	struct by_verdict v;
	struct by_addr addr;

	assert_true(addr_parse(&addr, address));
	v = pol_image_lookup(img, dir, pol_image_net_lookup(img, &addr), selector);
	return v.action == BY_ALLOW ? pol_image_rules(img)[v.rule - 1].name : "";
}

static void the_longest_prefix_has_what_shorter_ones_have(void **state)
{
	auto_model struct pol_model *model =
		parsed(HEAD "  - { name: ssh, from: office, to: host, allow: [tcp/22] }\n"
			    "  - { name: lab, from: 10.1.0.0/16, to: host, allow: [tcp/80] }\n"
			    "  - { name: not, from: 10.1.2.0/24, to: host, deny: [tcp/22] }\n"
			    "  - { name: all, from: world, to: host, allow: [tcp/443] }\n");
	auto_free struct pol_image *img = host_image(model, 1, NULL, 0);

	(void)state;
	assert_string_equal(ask(img, BY_DIR_IN, "10.200.0.1", 22), "ssh");
	assert_string_equal(ask(img, BY_DIR_IN, "10.200.0.1", 80), "");
	assert_string_equal(ask(img, BY_DIR_IN, "10.1.9.9", 22), "ssh");
	assert_string_equal(ask(img, BY_DIR_IN, "10.1.9.9", 80), "lab");
	assert_string_equal(ask(img, BY_DIR_IN, "10.1.2.9", 80), "lab");
	assert_string_equal(ask(img, BY_DIR_IN, "10.1.2.9", 22), "");
	assert_string_equal(ask(img, BY_DIR_IN, "2001:db8:1::1", 22), "ssh");
	assert_string_equal(ask(img, BY_DIR_IN, "2001:db9::1", 22), "");
	assert_string_equal(ask(img, BY_DIR_IN, "2001:db9::1", 443), "all");
	assert_string_equal(ask(img, BY_DIR_IN, "192.0.2.1", 443), "all");
	assert_string_equal(ask(img, BY_DIR_OUT, "192.0.2.1", 443), "");
}

static void a_prefix_is_of_one_family(void **state)
{
	auto_model struct pol_model *model =
		parsed(HEAD "  - { name: six, from: v6, to: host, allow: [tcp/22] }\n"
			    "  - { name: low, from: '::/64', to: host, allow: [tcp/23] }\n"
			    "  - { name: four, from: 0.0.0.0/0, to: host, allow: [tcp/24] }\n");
	auto_free struct pol_image *img = host_image(model, 1, NULL, 0);

	(void)state;
	assert_string_equal(ask(img, BY_DIR_IN, "::1", 22), "six");
	assert_string_equal(ask(img, BY_DIR_IN, "::1", 23), "low");
	assert_string_equal(ask(img, BY_DIR_IN, "fe80::1", 23), "");
	assert_string_equal(ask(img, BY_DIR_IN, "10.0.0.1", 22), "");
	assert_string_equal(ask(img, BY_DIR_IN, "10.0.0.1", 23), "");
	assert_string_equal(ask(img, BY_DIR_IN, "10.0.0.1", 24), "four");
	assert_string_equal(ask(img, BY_DIR_IN, "::1", 24), "");
}

static struct pol_opening opening(const char *name, enum by_dir dir, const char *net, uint32_t first, uint32_t last)
{
	struct pol_opening o = { .dir = dir, .selectors = { first, last } };

	snprintf(o.name, sizeof(o.name), "%s", name);
	snprintf(o.where, sizeof(o.where), "bailey.yaml:7");
	assert_true(prefix_parse(&o.net, net));
	return o;
}

static void nobody_locks_himself_out(void **state)
{
	auto_model struct pol_model *model = parsed(HEAD "  - { name: none, from: world, to: host, deny: [any] }\n"
							 "  - { name: nowhere, from: host, to: world, deny: [any] }\n");
	struct pol_opening openings[] = { opening("keep-ssh", BY_DIR_IN, "192.0.2.0/24", 22, 22),
					  opening("keep-dns", BY_DIR_OUT, "2001:db8::53/128", BY_PORT_UDP + 53,
						  BY_PORT_UDP + 53) };
	auto_free struct pol_image *img = host_image(model, 1, openings, 2);

	(void)state;
	assert_int_equal(img->n_openings, 2);
	assert_string_equal(pol_image_rules(img)[0].where, "bailey.yaml:7");
	assert_string_equal(ask(img, BY_DIR_IN, "192.0.2.9", 22), "keep-ssh");
	assert_string_equal(ask(img, BY_DIR_IN, "192.0.2.9", 23), "");
	assert_string_equal(ask(img, BY_DIR_IN, "192.0.3.9", 22), "");
	assert_string_equal(ask(img, BY_DIR_OUT, "192.0.2.9", 22), "");
	assert_string_equal(ask(img, BY_DIR_OUT, "2001:db8::53", BY_PORT_UDP + 53), "keep-dns");
	assert_string_equal(ask(img, BY_DIR_OUT, "2001:db8::54", BY_PORT_UDP + 53), "");
}

static void on_says_which_nodes_have_a_rule(void **state)
{
	auto_model struct pol_model *model =
		parsed(HEAD "  - { name: out, from: host, to: world, allow: [tcp/443], on: web }\n"
			    "  - { name: in, from: office, to: host, allow: [tcp/22], on: [db] }\n"
			    "  - { name: mesh, from: web, to: db, allow: [tcp/5432] }\n");
	auto_free struct pol_image *web = host_image(model, 1, NULL, 0), *db = host_image(model, 2, NULL, 0);
	auto_free struct pol_image *other = host_image(model, 3, NULL, 0);

	(void)state;
	assert_string_equal(ask(web, BY_DIR_OUT, "192.0.2.1", 443), "out");
	assert_string_equal(ask(db, BY_DIR_OUT, "192.0.2.1", 443), "");
	assert_string_equal(ask(web, BY_DIR_IN, "10.0.0.1", 22), "");
	assert_string_equal(ask(db, BY_DIR_IN, "10.0.0.1", 22), "in");
	assert_int_equal(other->n_rules, 0);
	assert_int_equal(web->n_rules, 1);
}

static void what_is_no_opening_is_refused(void **state)
{
	auto_model struct pol_model *model = parsed(HEAD "  - { from: world, to: host, deny: [any] }\n");
	struct pol_opening bad[] = { opening("", BY_DIR_IN, "10.0.0.0/8", 22, 22),
				     opening("a", BY_DIR_COUNT, "10.0.0.0/8", 22, 22),
				     opening("a", BY_DIR_IN, "10.0.0.0/8", 23, 22),
				     opening("a", BY_DIR_IN, "10.0.0.0/8", 22, BY_PORT_SPACE) };
	struct pol_subject self = { .app_id = { 1 } };
	struct pol_image *img = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(pol_compile_host(model, &self, &bad[i], 1, &img, NULL), -EINVAL);
	assert_null(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_prefix_has_what_shorter_ones_have),
		cmocka_unit_test(a_prefix_is_of_one_family),
		cmocka_unit_test(nobody_locks_himself_out),
		cmocka_unit_test(on_says_which_nodes_have_a_rule),
		cmocka_unit_test(what_is_no_opening_is_refused),
	};

	return cmocka_run_group_tests_name("policy/host", tests, NULL, NULL);
}
