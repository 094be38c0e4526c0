// SPDX-License-Identifier: Apache-2.0
/* The `underlay` section: what it opens, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "baileyd/conf.h"

#define HEAD                                                                                                           \
	"instance: web\n"                                                                                              \
	"node: web-1\n"                                                                                                \
	"policy: three-tier.yaml\n"                                                                                    \
	"identity: { certificate: web.pem, key: web.key }\n"                                                           \
	"overlay: { interface: by-web, private_key: wg.key, networks: [100.64.0.0/10],\n"                              \
	"  addresses: [100.64.0.2], listen_port: 51821 }\n"                                                            \
	"exchange: { listen: ['192.0.2.2:7946', '[::]:7947'], peers: ['192.0.2.3:7946', '[2001:db8::3]:7948'] }\n"

#define FIRST_LINE 8 /* of what follows */

static int parse(const char *section, struct conf *conf, struct diags *d)
{
	char text[2048];

	*d = (struct diags){ 0 };
	snprintf(text, sizeof(text), HEAD "%s", section);
	return conf_parse("/etc/bailey/web.yaml", text, strlen(text), conf, d);
}

static const struct conf_underlay *parsed(const char *section)
{
	static struct conf c;
	struct diags d;

	if (parse(section, &c, &d) < 0)
		fail_msg("%u: %s: %s", d.item[0].line, d.item[0].path, d.item[0].msg);
	diags_fini(&d);
	return &c.underlay;
}

static const struct pol_opening *opening(const struct conf_underlay *u, const char *name)
{
	for (uint32_t i = 0; i < u->n_openings; i++)
		if (strcmp(u->openings[i].name, name) == 0)
			return &u->openings[i];
	return NULL;
}

static void is_open(const struct conf_underlay *u, const char *name, enum by_dir dir, const char *net, uint32_t port)
{
	const struct pol_opening *o = opening(u, name);
	struct ip_prefix want;

	if (!o)
		fail_msg("no opening is named %s", name);
	assert_true(prefix_parse(&want, net));
	assert_int_equal(o->dir, dir);
	assert_true(addr_equal(&o->net.addr, &want.addr));
	assert_int_equal(o->net.bits, want.bits);
	assert_int_equal(o->selectors.first, port);
	assert_int_equal(o->selectors.last, port);
}

static void without_it_nothing_is_judged(void **state)
{
	(void)state;
	assert_string_equal(parsed("")->interface, "");
	assert_int_equal(parsed("")->n_openings, 0);
}

static void what_the_daemon_needs_is_open(void **state)
{
	const struct conf_underlay *u = parsed("underlay: { interface: eth0, failsafe: none }\n");

	(void)state;
	assert_string_equal(u->interface, "eth0");
	assert_int_equal(u->host.mode, DP_HOST_AUTO);
	assert_int_equal(u->host.wg_port, 51821);
	assert_int_equal(u->host.flows.rate, 0);
	assert_int_equal(u->host.handshakes.rate, 20);
	assert_int_equal(u->host.syns.burst, 2000);
	is_open(u, "@exchange-in-1", BY_DIR_IN, "0.0.0.0/0", BY_PORT_TCP + 7946);
	is_open(u, "@exchange-in-2", BY_DIR_IN, "::/0", BY_PORT_TCP + 7947);
	is_open(u, "@exchange-in-3", BY_DIR_IN, "0.0.0.0/0", BY_PORT_TCP + 7947); /* such a socket takes both */
	is_open(u, "@exchange-out-1", BY_DIR_OUT, "192.0.2.3/32", BY_PORT_TCP + 7946);
	is_open(u, "@exchange-out-2", BY_DIR_OUT, "2001:db8::3/128", BY_PORT_TCP + 7948);
	is_open(u, "@dhcp-2", BY_DIR_IN, "0.0.0.0/0", BY_PORT_UDP + 68);
	is_open(u, "@dhcp-4", BY_DIR_IN, "fe80::/10", BY_PORT_UDP + 546);
	assert_int_equal(u->n_openings, 9);
	assert_string_equal(opening(u, "@exchange-in-1")->where, "web.yaml:7");
	assert_string_equal(opening(u, "@dhcp-1")->where, "web.yaml:8");
}

static void failsafe_is_ssh_from_where_it_says(void **state)
{
	const struct conf_underlay *u = parsed("underlay:\n"
					       "  interface: br-lan.100\n"
					       "  dhcp: false\n"
					       "  failsafe:\n"
					       "    from: [192.0.2.0/24, '2001:db8::7']\n");

	(void)state;
	is_open(u, "@failsafe-1", BY_DIR_IN, "192.0.2.0/24", BY_PORT_TCP + 22);
	is_open(u, "@failsafe-2", BY_DIR_IN, "2001:db8::7/128", BY_PORT_TCP + 22);
	assert_string_equal(opening(u, "@failsafe-1")->where, "web.yaml:12");
	assert_null(opening(u, "@failsafe-3"));
	assert_null(opening(u, "@dhcp-1"));
	u = parsed("underlay: { interface: e, failsafe: { from: [0.0.0.0/0], ports: [tcp/2222, icmp/8] } }\n");
	is_open(u, "@failsafe-1", BY_DIR_IN, "0.0.0.0/0", BY_PORT_TCP + 2222);
	is_open(u, "@failsafe-2", BY_DIR_IN, "0.0.0.0/0", BY_PORT_ICMP + 8);
}

static void limits_are_read(void **state)
{
	const struct conf_underlay *u =
		parsed("underlay: { interface: e, failsafe: none, attach: tc, syn_cookies: false,\n"
		       "  limits: { flows: { rate: 50, burst: 70 }, handshakes: { rate: 3 },\n"
		       "    handshakes_total: { rate: 0 } } }\n");

	(void)state;
	assert_int_equal(u->host.mode, DP_HOST_TC);
	assert_int_equal(u->host.flows.rate, 50);
	assert_int_equal(u->host.flows.burst, 70);
	assert_int_equal(u->host.handshakes.rate, 3);
	assert_int_equal(u->host.handshakes.burst, 3);
	assert_int_equal(u->host.handshakes_total.rate, 0);
	assert_int_equal(u->host.syns.rate, 0);
	u = parsed("underlay: { interface: e, failsafe: none, attach: dispatcher }\n");
	assert_int_equal(u->host.mode, DP_HOST_DISPATCHER);
}

/* A section of one line; the error names `path` and says `needed`. */
static void refuses(const char *inside, const char *path, const char *needed)
{
	char text[512], got[1024] = "";
	struct conf c;
	struct diags d;
	bool found = false;

	snprintf(text, sizeof(text), "underlay: { %s }\n", inside);
	assert_int_equal(parse(text, &c, &d), -22);
	for (size_t i = 0; i < d.n && !found; i++) {
		snprintf(got, sizeof(got), "%u: %s: %s", d.item[i].line, d.item[i].path, d.item[i].msg);
		found = d.item[i].line == FIRST_LINE && strcmp(d.item[i].path, path) == 0 &&
			strstr(d.item[i].msg, needed);
	}
	if (!found)
		fail_msg("expected '%s: %s', got '%s'", path, needed, got);
	diags_fini(&d);
}

static void refusals_say_place_and_need(void **state)
{
	(void)state;
	refuses("failsafe: none", "underlay", "'interface' is missing");
	refuses("interface: by-web, failsafe: none", "underlay.interface", "the overlay's own device");
	refuses("interface: sixteen-letters-, failsafe: none", "underlay.interface", "the name of a network device");
	refuses("interface: a/b, failsafe: none", "underlay.interface", "the name of a network device");
	refuses("interface: e", "underlay", "failsafe: needs { from: [addresses], ports: [tcp/22] }");
	refuses("interface: e, failsafe: all", "underlay.failsafe", "or none");
	refuses("interface: e, failsafe: {}", "underlay.failsafe", "'from' is missing");
	refuses("interface: e, failsafe: { from: [] }", "underlay.failsafe.from", "has 0 entries, needs 1 to 16");
	refuses("interface: e, failsafe: { from: [me] }", "underlay.failsafe.from[0]", "found 'me'");
	refuses("interface: e, failsafe: { from: [10.0.0.0/33] }", "underlay.failsafe.from[0]",
		"an address or a prefix");
	refuses("interface: e, failsafe: { from: [10.0.0.1], ports: [ssh] }", "underlay.failsafe.ports[0]", "ssh");
	refuses("interface: e, failsafe: { from: [10.0.0.1], port: [tcp/22] }", "underlay.failsafe.port",
		"did you mean 'ports'");
	refuses("interface: e, failsafe: none, attach: xdp", "underlay.attach", "found 'xdp'");
	refuses("interface: e, failsafe: none, dhcp: often", "underlay.dhcp", "often");
	refuses("interface: e, failsafe: none, limits: { flow: { rate: 1 } }", "underlay.limits.flow",
		"did you mean 'flows'");
	refuses("interface: e, failsafe: none, limits: { flows: 1 }", "underlay.limits.flows", "needed a map");
	refuses("interface: e, failsafe: none, limits: { flows: { burst: 1 } }", "underlay.limits.flows",
		"'rate' is missing");
	refuses("interface: e, failsafe: none, limits: { flows: { rate: 1000000000 } }", "underlay.limits.flows.rate",
		"1000000000");
	refuses("interface: e, failsafe: none, limits: { flows: { rate: 1, burst: 0 } }", "underlay.limits.flows.burst",
		"below 1");
	refuses("interface: e, failsafe: none, syn_cookies: false, limits: { syns: { rate: 1 } }",
		"underlay.limits.syns", "syn_cookies is false");
	refuses("interface: e, failsafe: none, interfaces: [e]", "underlay.interfaces", "did you mean 'interface'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_it_nothing_is_judged),       cmocka_unit_test(what_the_daemon_needs_is_open),
		cmocka_unit_test(failsafe_is_ssh_from_where_it_says), cmocka_unit_test(limits_are_read),
		cmocka_unit_test(refusals_say_place_and_need),
	};

	return cmocka_run_group_tests_name("baileyd/underlay", tests, NULL, NULL);
}
