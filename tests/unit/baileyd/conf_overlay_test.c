// SPDX-License-Identifier: Apache-2.0
/* baileyd.conf(5), overlay: how the nodes of a network reach each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "baileyd/conf.h"

#define GOOD                                                                                                           \
	"instance: web\n"                                                                                              \
	"node: web-1\n"                                                                                                \
	"policy: p.yaml\n"                                                                                             \
	"identity: { certificate: web.pem, key: web.key }\n"                                                           \
	"overlay:\n"                                                                                                   \
	"  interface: by-web\n"                                                                                        \
	"  private_key: wg.key\n"                                                                                      \
	"  networks: [100.64.0.0/10]\n"                                                                                \
	"  addresses: [100.64.0.2]\n"

static int parse(const char *overlay, struct conf *conf, struct diags *d)
{
	char text[2048];

	snprintf(text, sizeof(text), GOOD "%s", overlay);
	*d = (struct diags){ 0 };
	return conf_parse("/etc/bailey/web.yaml", text, strlen(text), conf, d);
}

static void a_spoke_names_its_hub_and_nobody_else_does(void **state)
{
	static const struct {
		const char *text, *error;
		enum by_topology topology;
	} cases[] = {
		{ "  topology: mesh\n", NULL, BY_TOPOLOGY_MESH },
		{ "  topology: hub\n", NULL, BY_TOPOLOGY_HUB },
		{ "  topology: spoke\n  hub: 9e107d9d372bb6826bd81d3542a419d6f2f6a1c3\n", NULL, BY_TOPOLOGY_SPOKE },
		{ "  topology: star\n", "needs mesh, hub or spoke, found 'star'", 0 },
		{ "  topology: spoke\n", "hub", 0 },
		{ "  topology: spoke\n  hub: web\n", "needs the app-id of the hub, 40 hex digits, found 'web'", 0 },
		{ "  topology: hub\n  hub: 9e107d9d372bb6826bd81d3542a419d6f2f6a1c3\n", "is what a spoke says", 0 },
		{ "  hub: 9e107d9d372bb6826bd81d3542a419d6f2f6a1c3\n", "is what a spoke says", 0 },
	};
	struct conf c;
	struct diags d;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].text, &c, &d), cases[i].error ? -22 : 0);
		if (cases[i].error)
			assert_true(strstr(d.item[0].msg, cases[i].error) || strstr(d.item[0].path, cases[i].error));
		else
			assert_int_equal(c.topology, cases[i].topology);
		diags_fini(&d);
	}
}

static void it_says_from_how_many_peers_on_they_sleep(void **state)
{
	static const struct {
		const char *text, *error;
		uint32_t peers, idle;
	} cases[] = {
		{ "", NULL, 2000, 300 },
		{ "  lazy_peers: 0\n  lazy_idle: 5\n", NULL, 0, 5 },
		{ "  lazy_peers: 131072\n", NULL, 131072, 300 },
		{ "  lazy_peers: 131073\n", "131072", 0, 0 },
		{ "  lazy_peers: many\n", "many", 0, 0 },
		{ "  lazy_idle: 4\n", "4 is below 5", 0, 0 },
	};
	struct conf c;
	struct diags d;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].text, &c, &d), cases[i].error ? -22 : 0);
		if (cases[i].error)
			assert_non_null(strstr(d.item[0].msg, cases[i].error));
		else
			assert_true(c.lazy_peers == cases[i].peers && c.lazy_idle_s == cases[i].idle);
		diags_fini(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spoke_names_its_hub_and_nobody_else_does),
		cmocka_unit_test(it_says_from_how_many_peers_on_they_sleep),
	};

	return cmocka_run_group_tests_name("conf_overlay", tests, NULL, NULL);
}
