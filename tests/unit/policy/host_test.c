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

/* What is cut from a prefix whose last bit is set lies in no shorter one by its old address. */
static void prefixes_end_in_any_bit(void **state)
{
	auto_model struct pol_model *model =
		parsed(HEAD "  - { name: far, from: 128.0.0.0/1, to: host, allow: [tcp/22] }\n"
			    "  - { name: near, from: 10.1.2.3, to: host, allow: [tcp/23] }\n"
			    "  - { name: half, from: '8000::/1', to: host, allow: [tcp/24] }\n"
			    "  - { name: last, from: 255.255.255.255, to: host, allow: [tcp/25] }\n");
	auto_free struct pol_image *img = host_image(model, 1, NULL, 0);

	(void)state;
	assert_string_equal(ask(img, BY_DIR_IN, "128.0.0.0", 22), "far");
	assert_string_equal(ask(img, BY_DIR_IN, "127.255.255.255", 22), "");
	assert_string_equal(ask(img, BY_DIR_IN, "10.1.2.3", 23), "near");
	assert_string_equal(ask(img, BY_DIR_IN, "fd00::1", 24), "half");
	assert_string_equal(ask(img, BY_DIR_IN, "2001:db8::1", 24), "");
	assert_string_equal(ask(img, BY_DIR_IN, "255.255.255.255", 25), "last");
	assert_string_equal(ask(img, BY_DIR_IN, "255.255.255.255", 22), "far");
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

/* --- any policy -------------------------------------------------------------------------------------------- */

#define ROUNDS   400
#define QUESTION 100
#define RULES    8
#define OPENINGS 2
#define PLACES   ARRAY_LEN(place)

/* Prefixes within prefixes, of both families, and an address in each that is in no longer one. */
static const struct {
	const char *prefix, *inside;
} place[] = {
	{ "0.0.0.0/0", "203.0.113.9" },
	{ "10.0.0.0/8", "10.9.9.9" },
	{ "10.1.0.0/16", "10.1.9.9" },
	{ "10.1.2.0/24", "10.1.2.9" },
	{ "10.1.2.3", "10.1.2.3" },
	{ "255.255.255.255", "255.255.255.255" },
	{ "::/0", "fe80::9" },
	{ "::/64", "::9" },
	{ "2001:db8::/32", "2001:db8:9::9" },
	{ "2001:db8:1::/48", "2001:db8:1::9" },
	{ "2001:db8:1::1", "2001:db8:1::1" },
	{ "::fffe:0:0/96", "::fffe:0:9" },
};

static uint64_t seed = 0x2545f4914f6cdd1du;

static uint32_t roll(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

struct host_rule {
	bool is_deny, is_audit, is_out;
	unsigned nets; /* bits of places; 0: world */
	unsigned on;   /* 0: all, else the app */
	uint32_t first, last;
};

struct host_world {
	struct host_rule rule[RULES];
	struct pol_opening opening[OPENINGS];
	unsigned opened[OPENINGS]; /* a place each */
	unsigned n_rules;
	struct pol_model *model;
};

/* By the texts alone: the same family, and the first bits. */
static bool is_inside(unsigned which, const char *address)
{
	struct ip_prefix p;
	struct by_addr a;

	assert_true(addr_parse(&a, address));
	if (prefix_parse(&p, place[which].prefix))
		return addr_in_prefix(&a, &p);
	return strcmp(place[which].prefix, address) == 0;
}

static void write_host_rule(struct host_rule *r, FILE *to)
{
	const char *comma = "";

	*r = (struct host_rule){
		.is_deny = !roll(3), .is_audit = !roll(4), .is_out = roll(2), .on = roll(3), .first = 1 + roll(6)
	};
	r->last = r->first + roll(4);
	for (unsigned n = roll(4); n; n--)
		r->nets |= 1u << roll(PLACES);
	fprintf(to, r->is_out ? "  - { from: host, to: " : "  - { to: host, from: ");
	fputs(r->nets ? "[" : "world", to);
	for (unsigned p = 0; p < PLACES; p++) {
		if (!(r->nets & 1u << p))
			continue;
		fprintf(to, "%s'%s'", comma, place[p].prefix);
		comma = ", ";
	}
	fprintf(to, "%s%s, %s: [tcp/%u-%u]%s }\n", r->nets ? "]" : "",
		!r->on       ? ""
		: r->on == 1 ? ", on: web"
			     : ", on: [db]",
		r->is_deny ? "deny" : "allow", r->first, r->last, r->is_audit ? ", mode: audit" : "");
}

static void make_host_world(struct host_world *w)
{
	auto_free char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fputs(HEAD, to);
	w->n_rules = 1 + roll(RULES);
	for (unsigned r = 0; r < w->n_rules; r++)
		write_host_rule(&w->rule[r], to);
	fclose(to);
	w->model = parsed(text);
	for (unsigned o = 0; o < OPENINGS; o++) {
		char prefix[64], name[16];
		uint32_t port = 1 + roll(8);

		do
			w->opened[o] = roll(PLACES);
		while (!strchr(place[w->opened[o]].prefix, '/'));
		snprintf(prefix, sizeof(prefix), "%s", place[w->opened[o]].prefix);
		snprintf(name, sizeof(name), "open-%u", o + 1);
		w->opening[o] = opening(name, (enum by_dir)roll(2), prefix, port, port + roll(2));
	}
}

static bool host_covers(const struct host_rule *r, enum by_dir dir, unsigned app, const char *address, uint32_t port)
{
	bool is_in = !r->nets;

	if (r->is_out != (dir == BY_DIR_OUT) || (r->on && r->on != app) || port < r->first || port > r->last)
		return false;
	for (unsigned p = 0; p < PLACES; p++)
		is_in |= r->nets & 1u << p && is_inside(p, address);
	return is_in;
}

/* Name of the deciding rule, "" for the default; `audit` likewise. */
static bool host_naive(const struct host_world *w, bool with_openings, enum by_dir dir, unsigned app,
		       const char *address, uint32_t port, char rule[16], char audit[16])
{
	unsigned first[2][2] = { 0 };

	rule[0] = audit[0] = '\0';
	for (unsigned o = 0; with_openings && o < OPENINGS; o++) {
		const struct pol_opening *open = &w->opening[o];

		if (open->dir != dir || port < open->selectors.first || port > open->selectors.last ||
		    !is_inside(w->opened[o], address))
			continue;
		snprintf(rule, 16, "open-%u", o + 1);
		return true;
	}
	for (unsigned r = 0; r < w->n_rules; r++)
		if (!first[w->rule[r].is_deny][w->rule[r].is_audit] &&
		    host_covers(&w->rule[r], dir, app, address, port))
			first[w->rule[r].is_deny][w->rule[r].is_audit] = r + 1;
	if (first[1][0] || first[0][0] || first[0][1])
		snprintf(rule, 16, "rule-%u", first[1][0] ? first[1][0] : first[0][0] ? first[0][0] : first[0][1]);
	if (!first[1][0] && (first[0][0] ? first[1][1] : first[0][1]))
		snprintf(audit, 16, "rule-%u", first[0][0] ? first[1][1] : first[0][1]);
	return !first[1][0] && rule[0];
}

static void check_host_flow(const struct host_world *w, const struct pol_image *img, unsigned app)
{
	static const char *const on[] = { NULL, "web", "db", NULL };
	const char *address = place[roll(PLACES)].inside;
	enum by_dir dir = (enum by_dir)roll(2);
	struct pol_question q = { .from = dir ? "host" : address, .to = dir ? address : "host", .on = on[app] };
	struct pol_answer answer;
	struct by_verdict v;
	struct by_addr addr;
	struct err e = ERR_INIT;
	char rule[16], audit[16];
	bool is_allowed;

	q.selector = 1 + roll(10);
	is_allowed = host_naive(w, true, dir, app, address, q.selector, rule, audit);
	assert_true(addr_parse(&addr, address));
	v = pol_image_lookup(img, dir, pol_image_net_lookup(img, &addr), q.selector);
	assert_int_equal(v.action == BY_ALLOW, is_allowed);
	assert_string_equal(v.rule ? pol_image_rules(img)[v.rule - 1].name : "", rule);
	assert_string_equal(v.audit ? pol_image_rules(img)[v.audit - 1].name : "", audit);
	is_allowed = host_naive(w, false, dir, app, address, q.selector, rule, audit);
	assert_int_equal(pol_ask(w->model, &q, &answer, &e), 0);
	assert_int_equal(answer.action == BY_ALLOW, is_allowed);
	assert_string_equal(answer.rule ? answer.rule : "", rule);
	assert_string_equal(answer.audit.name ? answer.audit.name : "", audit);
}

static void image_explain_and_words_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct host_world w = { 0 };
		unsigned app = 1 + roll(3);
		auto_free struct pol_image *img = NULL;

		make_host_world(&w);
		img = host_image(w.model, (uint8_t)app, w.opening, OPENINGS);
		for (unsigned q = 0; q < QUESTION; q++)
			check_host_flow(&w, img, app);
		pol_free(w.model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_prefix_has_what_shorter_ones_have),
		cmocka_unit_test(a_prefix_is_of_one_family),
		cmocka_unit_test(prefixes_end_in_any_bit),
		cmocka_unit_test(nobody_locks_himself_out),
		cmocka_unit_test(on_says_which_nodes_have_a_rule),
		cmocka_unit_test(what_is_no_opening_is_refused),
		cmocka_unit_test(image_explain_and_words_agree),
	};

	return cmocka_run_group_tests_name("policy/host", tests, NULL, NULL);
}
