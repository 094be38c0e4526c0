// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/policy.h"

DEFINE_CLEANUP(model, struct pol_model, pol_free)

#define auto_model auto_call(cleanup_model)

#define HEAD                                                                                                           \
	"version: 1\n"                                                                                                 \
	"apps:\n"                                                                                                      \
	"  a: { app-id: 0100000000000000000000000000000000000000 }\n"                                                  \
	"  b: { app-id: 0200000000000000000000000000000000000000 }\n"                                                  \
	"  c: { app-id: 0300000000000000000000000000000000000000 }\n"                                                  \
	"rules:\n"

static struct pol_model *parsed(const char *text)
{
	struct pol_model *model = NULL;
	struct diags d = { 0 };

	if (pol_parse("p.yaml", text, strlen(text), &model, &d) < 0)
		fail_msg("%u:%u %s", d.item[0].line, d.item[0].col, d.item[0].msg);
	diags_fini(&d);
	return model;
}

static struct pol_subject subject(uint8_t app, uint8_t instance)
{
	return (struct pol_subject){ .app_id = { app }, .instance_id = { instance } };
}

static void same_input_same_bytes(void **state)
{
	auto_model struct pol_model *model = parsed(HEAD "  - { from: a, to: [b, c], allow: [tcp/1, udp] }\n"
							 "  - { from: any-attested, to: b, deny: [icmp] }\n");
	struct pol_subject self = subject(2, 9), one[] = { subject(1, 1), subject(3, 2), subject(7, 3) };
	struct pol_subject other[] = { subject(7, 3), subject(1, 1), subject(3, 2), subject(1, 1) };
	auto_free struct pol_image *x = NULL, *y = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(pol_compile(model, &self, one, 3, &x, &e), 0);
	assert_int_equal(pol_compile(model, &self, other, 4, &y, &e), 0);
	assert_int_equal(x->size, y->size);
	assert_memory_equal(x, y, x->size);
	assert_int_equal(x->n_members, 3);
}

static void members_and_newcomers_get_one_class(void **state)
{
	auto_model struct pol_model *model = parsed(HEAD "  - { from: a, to: b, allow: [tcp/1] }\n"
							 "  - { from: any-attested, to: b, allow: [icmp] }\n");
	auto_model struct pol_model *later = parsed(HEAD "  - { from: a, to: b, allow: [tcp/2] }\n");
	struct pol_subject self = subject(2, 9), known = subject(1, 1), stranger = subject(77, 4);
	auto_free struct pol_image *img = NULL;
	struct err e = ERR_INIT;
	uint32_t class = 99;

	(void)state;
	assert_int_equal(pol_compile(model, &self, &known, 1, &img, &e), 0);
	assert_int_equal(pol_classify(model, img, &known, &class), 0);
	assert_int_equal(class, pol_image_members(img)[0].peer_class);
	assert_int_equal(pol_image_lookup(img, BY_DIR_IN, class, BY_PORT_TCP + 1).action, BY_ALLOW);
	assert_int_equal(pol_classify(model, img, &stranger, &class), 0);
	assert_int_equal(pol_image_lookup(img, BY_DIR_IN, class, BY_PORT_TCP + 1).rule, 0);
	assert_int_equal(pol_image_lookup(img, BY_DIR_IN, class, BY_PORT_ICMP + 8).action, BY_ALLOW);
	assert_int_equal(pol_image_lookup(img, BY_DIR_IN, 0, BY_PORT_ICMP + 8).rule, 0);
	class = 99;
	assert_int_equal(pol_classify(later, img, &known, &class), -ENOENT);
	assert_int_equal(class, 99);
}

static void an_instance_has_one_app(void **state)
{
	auto_model struct pol_model *model = parsed(HEAD "  - { from: a, to: b, allow: [tcp/1] }\n");
	struct pol_subject self = subject(2, 9), peers[] = { subject(1, 1), subject(3, 1) };
	struct pol_image *img = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(pol_compile(model, &self, peers, 2, &img, &e), -EINVAL);
	assert_null(img);
	assert_string_equal(e.msg, "instance 0100000000000000000000000000000000000000 is there with two app-ids");
}

static void only_rules_of_this_node_are_in(void **state)
{
	auto_model struct pol_model *model = parsed(HEAD "  - { name: one, from: a, to: b, allow: [tcp/1] }\n"
							 "  - { name: two, from: b, to: c, allow: [tcp/2] }\n"
							 "  - { name: three, from: c, to: a, allow: [tcp/3] }\n");
	struct pol_subject self = subject(3, 9);
	auto_free struct pol_image *img = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(pol_compile(model, &self, NULL, 0, &img, &e), 0);
	assert_int_equal(img->n_rules, 2);
	assert_string_equal(pol_image_rules(img)[0].name, "two");
	assert_string_equal(pol_image_rules(img)[0].where, "p.yaml:8");
	assert_string_equal(pol_image_rules(img)[1].name, "three");
}

static void a_long_file_name_keeps_its_line(void **state)
{
	static const char text[] = HEAD "  - { from: a, to: b, allow: [tcp/1] }\n";
	auto_model struct pol_model *model = NULL;
	struct pol_subject self = subject(2, 9);
	auto_free struct pol_image *img = NULL;
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	char file[300];

	(void)state;
	memset(file, 'x', sizeof(file));
	memcpy(file, "/a/b/\033", 6);
	file[sizeof(file) - 1] = '\0';
	assert_int_equal(pol_parse(file, text, strlen(text), &model, &d), 0);
	assert_int_equal(pol_compile(model, &self, NULL, 0, &img, &e), 0);
	assert_int_equal(pol_image_check(img, img->size, &e), 0);
	assert_string_equal(strchr(pol_image_rules(img)[0].where, ':'), ":7");
	assert_int_equal(pol_image_rules(img)[0].where[0], '?');
	diags_fini(&d);
}

/* n apps, each allowed its own few ports on app 0, among rules for all. */
static char *many(unsigned n_apps, unsigned n_rules)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fprintf(to, "version: 1\napps:\n");
	for (unsigned a = 0; a < n_apps; a++)
		fprintf(to, "  a%u: { app-id: %040x }\n", a, a + 1);
	fprintf(to, "rules:\n  - { from: any-attested, to: any-attested, allow: [icmp, icmpv6] }\n"
		    "  - { from: a1, to: any-attested, deny: [tcp/22] }\n");
	for (unsigned r = 2; r < n_rules; r++)
		fprintf(to, "  - { from: a%u, to: a%u, allow: [tcp/%u, udp/%u-%u] }\n", 1 + r % (n_apps - 1),
			r % 3 ? 0 : r % n_apps, 1 + r % 5000, 1 + r % 5000, 1 + r % 5000 + r % 7);
	fclose(to);
	return text;
}

static struct pol_subject numbered(uint32_t app, uint32_t instance)
{
	struct pol_subject s = { 0 };

	for (int i = 0; i < 4; i++) {
		s.app_id[BY_APP_ID_LEN - 1 - i] = (uint8_t)(app >> 8 * i);
		s.instance_id[i] = (uint8_t)(instance >> 8 * i);
	}
	return s;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* POLICY_SCALE=RULES,PEERS measures another size. */
static void scales(void **state)
{
	unsigned n_rules = 10000, n_peers = 10000;
	auto_model struct pol_model *model = NULL;
	auto_free struct pol_image *img = NULL;
	auto_free struct pol_subject *peers = NULL;
	auto_free char *text = NULL;
	struct pol_subject self = numbered(1, ~0u);
	struct err e = ERR_INIT;
	double start, parsed_s, compiled_s;

	(void)state;
	if (getenv("POLICY_SCALE"))
		assert_int_equal(sscanf(getenv("POLICY_SCALE"), "%u,%u", &n_rules, &n_peers), 2);
	text = many(n_peers, n_rules);
	peers = calloc(n_peers, sizeof(*peers));
	for (unsigned i = 0; i < n_peers; i++)
		peers[i] = numbered(i + 1, i);
	start = now_s();
	model = parsed(text);
	parsed_s = now_s();
	if (pol_compile(model, &self, peers, n_peers, &img, &e) < 0)
		fail_msg("%s", e.msg);
	compiled_s = now_s();
	assert_int_equal(pol_image_check(img, img->size, &e), 0);
	print_message("# %u rules, %u peers: parse %.3f s, compile %.3f s, check %.3f s; %llu bytes, %u verdicts, %u "
		      "port classes, %u peer classes\n",
		      n_rules, n_peers, parsed_s - start, compiled_s - parsed_s, now_s() - compiled_s,
		      (unsigned long long)img->size, img->n_verdicts, img->n_port_classes, img->n_peer_classes);
}

/* 800 peers told apart by a port of their own, times 800 ports that each may use. */
static void too_many_verdicts_are_refused(void **state)
{
	auto_model struct pol_model *model = NULL;
	auto_free char *text = NULL;
	struct pol_subject self = numbered(1, ~0u);
	struct pol_image *img = NULL;
	struct err e = ERR_INIT;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	fprintf(to, "version: 1\napps:\n");
	for (unsigned a = 0; a <= 800; a++)
		fprintf(to, "  a%u: { app-id: %040x }\n", a, a + 1);
	fprintf(to, "rules:\n  - { from: any-attested, to: a0, allow: [tcp] }\n");
	for (unsigned a = 1; a <= 800; a++)
		fprintf(to, "  - { from: a%u, to: a0, allow: [tcp/%u] }\n", a, a);
	fclose(to);
	model = parsed(text);
	assert_int_equal(pol_compile(model, &self, NULL, 0, &img, &e), -E2BIG);
	assert_string_equal(e.msg, "this node needs more than 524288 verdicts (peer class, ports, direction)");
	assert_null(img);
}

/* Every selector apart: rule r covers the selectors whose number has bit r, written as ranges. */
static void too_many_port_classes_are_refused(void **state)
{
	static const struct {
		const char *word;
		unsigned first, last;
	} proto[] = { { "tcp", 1, 65535 }, { "udp", 1, 65535 } };
	auto_model struct pol_model *model = NULL;
	auto_free char *text = NULL;
	struct pol_subject self = numbered(1, 1);
	struct pol_image *img = NULL;
	struct err e = ERR_INIT;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	fprintf(to, "version: 1\nrules:\n  - { from: any-attested, to: any-attested, allow: [udp] }\n");
	for (unsigned bit = 0; bit < 16; bit++) {
		fprintf(to, "  - { from: any-attested, to: any-attested, allow: [");
		for (unsigned p = 0; p < ARRAY_LEN(proto); p++)
			for (unsigned first = 1u << bit; first <= proto[p].last; first += 2u << bit)
				fprintf(to, "%s%s/%u-%u", p || first > 1u << bit ? ", " : "", proto[p].word, first,
					first + (1u << bit) - 1);
		fprintf(to, "] }\n");
	}
	fclose(to);
	model = parsed(text);
	assert_int_equal(pol_compile(model, &self, NULL, 0, &img, &e), -E2BIG);
	assert_string_equal(e.msg, "the rules of this node tell 131071 sets of ports apart, the limit is 65535");
	assert_null(img);
}

static void too_many_rules_and_peers_are_refused(void **state)
{
	auto_model struct pol_model *model = NULL;
	auto_free char *text = NULL;
	auto_free struct pol_subject *peers = calloc(BY_MAX_IDENTITIES + 1, sizeof(*peers));
	struct pol_subject self = numbered(1, 1);
	struct pol_image *img = NULL;
	struct err e = ERR_INIT;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	fprintf(to, "version: 1\nrules:\n");
	for (unsigned r = 0; r <= BY_MAX_RULES / 2; r++)
		fprintf(to, "  - { from: any-attested, to: any-attested, deny: [tcp/1] }\n");
	fclose(to);
	model = parsed(text);
	assert_int_equal(pol_compile(model, &self, NULL, 0, &img, &e), -E2BIG);
	assert_string_equal(e.msg, "131073 rules concern this node, the limit is 131072");
	e = ERR_INIT;
	assert_int_equal(pol_compile(model, &self, peers, BY_MAX_IDENTITIES + 1, &img, &e), -E2BIG);
	assert_string_equal(e.msg, "131073 nodes, the limit is 131072");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_input_same_bytes),
		cmocka_unit_test(members_and_newcomers_get_one_class),
		cmocka_unit_test(an_instance_has_one_app),
		cmocka_unit_test(only_rules_of_this_node_are_in),
		cmocka_unit_test(a_long_file_name_keeps_its_line),
		cmocka_unit_test(scales),
		cmocka_unit_test(too_many_verdicts_are_refused),
		cmocka_unit_test(too_many_port_classes_are_refused),
		cmocka_unit_test(too_many_rules_and_peers_are_refused),
	};

	return cmocka_run_group_tests_name("policy/compile", tests, NULL, NULL);
}
