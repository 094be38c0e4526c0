// SPDX-License-Identifier: Apache-2.0
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
	"policy: p/three-tier.yaml\n"                                                                                  \
	"identity: { certificate: web.pem, key: /keys/web.key }\n"                                                     \
	"trust: { allow_simulated: true, simulated_roots: root.pem }\n"                                                \
	"overlay:\n"                                                                                                   \
	"  interface: by-web\n"                                                                                        \
	"  private_key: wg.key\n"                                                                                      \
	"  networks: [100.64.0.0/10, 'fd00::/48']\n"                                                                   \
	"  addresses: [100.64.0.2, 'fd00::2']\n"                                                                       \
	"  endpoints: ['192.0.2.2:51820']\n"                                                                           \
	"exchange: { listen: ['192.0.2.2:7946'], peers: ['192.0.2.3:7946', '[2001:db8::3]:7946'] }\n"

static const char good[] = GOOD;
static struct conf c;
static char why[512]; /* what was said first of a text that was refused; "" of one that was read */

static int parse(const char *text, struct conf *conf, struct diags *d)
{
	*d = (struct diags){ 0 };
	return conf_parse("/etc/bailey/web.yaml", text, strlen(text), conf, d);
}

/* Into c; or refused, with `error` in why. NULL: it must be read. */
__attribute__((format(printf, 2, 3))) static void reads(const char *error, const char *fmt, ...)
{
	char text[2048];
	struct diags d;
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ret = parse(text, &c, &d);
	snprintf(why, sizeof(why), "%s", ret ? d.item[0].msg : "");
	diags_fini(&d);
	assert_int_equal(ret, error ? -22 : 0);
	if (error && !strstr(why, error))
		fail_msg("expected '%s', got '%s' of:\n%s", error, why, text);
}

/* GOOD with `to` in the place of `from`. */
static const char *with(const char *from, const char *to)
{
	static char text[2048];
	const char *at = strstr(good, from);

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
	return text;
}

static void a_whole_file_is_read(void **state)
{
	(void)state;
	reads(NULL, GOOD);
	assert_string_equal(c.instance, "web");
	assert_string_equal(c.node, "web-1");
	assert_int_equal(c.n_policy, 1);
	assert_string_equal(c.policy[0], "/etc/bailey/p/three-tier.yaml");
	assert_string_equal(c.certificate, "/etc/bailey/web.pem");
	assert_string_equal(c.key, "/keys/web.key");
	assert_true(c.allow_simulated);
	assert_int_equal(c.n_addrs, 2);
	assert_int_equal(conf_network_of(&c, &c.addrs[1])->bits, 48);
	assert_int_equal(c.n_peers, 2);
	assert_int_equal(c.peers[1].port, 7946);
}

static void some_endpoints_are_elsewhere(void **state)
{
	const struct ip_endpoint far[] = { { .port = 1 }, { .port = 2 } };
	struct ip_endpoint at;

	(void)state;
	memset(&c, 0, sizeof(c));
	c.n_via = 1;
	c.via[0] = (struct conf_via){ .recorded = far[1], .dialled.port = 3 };
	assert_false(conf_endpoint(&c, far, 0, &at));
	assert_true(conf_endpoint(&c, far, 1, &at));
	assert_int_equal(at.port, 1);
	assert_true(conf_endpoint(&c, far, 2, &at));
	assert_int_equal(at.port, 3);
}

#define ADDRESSES "  addresses: [100.64.0.2, 'fd00::2']\n"

static void a_control_plane_says_the_addresses(void **state)
{
	static const struct {
		const char *app, *error;
		bool has_addresses;
	} cases[] = {
		{ "5bb4ff9a3837357f19dc176407a5709c62eb6c56 }\n", NULL, false },
		{ "any }\n", NULL, false },
		{ "any }\n", "is the control plane's to say", true },
		{ "web }\n", "40 hex digits, or any", false },
		{ "any, name: web }\n", "name", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reads(cases[i].error, "%svpc: { server: '192.0.2.9:7947', app: %s",
		      cases[i].has_addresses ? GOOD : with(ADDRESSES, ""), cases[i].app);
		if (!cases[i].error)
			assert_true(c.vpc.is_on && c.vpc.n_servers == 1 && c.vpc.server[0].port == 7947 && !c.n_addrs &&
				    c.vpc.any_app == (i == 1));
	}
}

static void the_status_service_is_off_unless_asked_for(void **state)
{
	static const struct {
		const char *status, *error;
	} cases[] = {
		{ "", NULL },
		{ "status: { listen: ['0.0.0.0:8000', '[::]:8000'] }\n", NULL },
		{ "status: { listen: [] }\n", "entries" },
		{ "status: { listen: [8000] }\n", "needs an endpoint" },
		{ "status: { port: 8000 }\n", "port" },
		{ "status: {}\n", "listen" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reads(cases[i].error, GOOD "%s", cases[i].status);
		if (!cases[i].error)
			assert_int_equal(c.n_status, i ? 2 : 0);
	}
}

static void a_control_plane_may_have_servers(void **state)
{
	static const struct {
		const char *vpc, *error;
		uint32_t n;
	} cases[] = {
		{ "servers: ['192.0.2.8:7947', '[2001:db8::9]:7947']", NULL, 2 },
		{ "servers: ['192.0.2.8:7947']", NULL, 1 },
		{ "servers: []", "needs 1 to 8", 0 },
		{ "servers: '192.0.2.8:7947'", "list", 0 },
		{ "servers: ['192.0.2.8']", "needs an endpoint like", 0 },
		{ "server: '192.0.2.8:1', servers: ['192.0.2.8:7947']", "in its place", 0 },
		{ "server: here", "needs an endpoint like", 0 },
		{ "server: '192.0.2.8:7947', host: a1-8080s.example.com", NULL, 1 },
		{ "server: '192.0.2.8:7947', host: ''", "needs a DNS name", 0 },
		{ "server: '192.0.2.8:7947', host: 'a b'", "needs a DNS name", 0 },
		{ "server: '192.0.2.8:7947', host: 'a:443'", "needs a DNS name", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reads(cases[i].error, "%svpc: { %s, app: any }\n", with(ADDRESSES, ""), cases[i].vpc);
		if (cases[i].error)
			continue;
		assert_true(c.vpc.n_servers == cases[i].n && c.vpc.server[cases[i].n - 1].port == 7947);
		assert_string_equal(c.vpc.host, strstr(cases[i].vpc, "host") ? "a1-8080s.example.com" : "");
	}
}

static void identity_is_files_or_an_agent(void **state)
{
	static const char files[] = "identity: { certificate: web.pem, key: /keys/web.key }\n";
	static const struct {
		const char *identity, *error;
	} bad[] = {
		{ "identity: { agent: a.sock, certificate: web.pem }\n", "in place of certificate and key" },
		{ "identity: { agent: a.sock, key: web.key }\n", "in place of certificate and key" },
		{ "identity: { agent: a.sock, lifetime: 29 }\n", "29 is below 30" },
		{ "identity: { certificate: a, key: b, lifetime: 60 }\n", "is of certificates from an agent" },
		{ "identity: { agent: "
		  "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }\n",
		  "the limit for a socket" },
		{ "identity: { agent: [a] }\n", "found a list" },
	};

	(void)state;
	reads(NULL, "%s", with(files, "identity: { agent: run/dstack.sock, lifetime: 3600 }\n"));
	assert_string_equal(c.agent, "/etc/bailey/run/dstack.sock");
	assert_string_equal(c.certificate, "");
	assert_int_equal(c.agent_life_s, 3600);
	assert_false(c.agent_is_legacy);
	reads(NULL, "%s", with(files, "identity: { agent: /run/tappd.sock }\n"));
	assert_true(c.agent_is_legacy);
	assert_int_equal(c.agent_life_s, 86400);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		reads(bad[i].error, "%s", with(files, bad[i].identity));
}

static void a_mesh_has_ports_of_tcp(void **state)
{
	static const char *const bad[] = { "[udp/443]", "[443]", "[]", "[any]", "tcp/443", "[tcp]\n  path: /x" };

	(void)state;
	reads(NULL, GOOD "mesh: { ports: [tcp/8443, tcp/443, tcp/8000-8443] }\n");
	assert_int_equal(c.n_mesh, 2);
	assert_true(c.mesh[0].first == 443 && c.mesh[0].last == 443);
	assert_true(c.mesh[1].first == 8000 && c.mesh[1].last == 8443);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		reads(i == 5   ? "unknown key 'path'"
		      : i == 4 ? "list"
		      : i == 2 ? ""
			       : "a port of tcp, like tcp/443",
		      GOOD "mesh:\n  ports: %s\n", bad[i]);
}

static void capture_is_read(void **state)
{
	static const char text[] =
		GOOD "capture:\n"
		     "  cgroups: [/sys/fs/cgroup/app.slice, /sys/fs/cgroup/b]\n"
		     "  proxy_cgroup: /sys/fs/cgroup/app.slice2\n"
		     "  to:\n"
		     "    - { net: 10.77.0.0/16, ports: [tcp/80, udp/53, tcp], via: '127.0.0.1:15001' }\n"
		     "    - { net: 'fd77::5', peer: 'fd00::3' }\n";
	const struct dp_divert_rule *r;

	(void)state;
	reads(NULL, "%s", text);
	assert_int_equal(c.capture.n_cgroups, 2);
	assert_string_equal(c.capture.proxy_cgroup, "/sys/fs/cgroup/app.slice2");
	assert_int_equal(c.capture.n_rules, 5);
	r = c.capture.rule;
	assert_true(r[0].l4_proto == 6 && r[0].port == 80 && r[0].to_port == 15001 && !r[0].is_peer &&
		    r[0].net.bits == 16);
	assert_true(r[1].l4_proto == 17 && r[1].port == 53 && r[2].l4_proto == 6 && !r[2].port);
	assert_true(r[3].is_peer && !r[3].to_port && r[3].net.bits == 128 && r[3].l4_proto == 6 && r[4].l4_proto == 17);
	reads(NULL, GOOD);
	assert_int_equal(c.capture.n_cgroups, 0);
}

static void bad_captures_are_refused(void **state)
{
	static const struct {
		const char *cgroups, *rule, *error;
	} bad[] = {
		{ "[a]", "{ net: 10.0.0.1, peer: 100.64.0.3 }", "needs the path of a cgroup, from / on, found 'a'" },
		{ "[]", "{ net: 10.0.0.1, peer: 100.64.0.3 }", "needs cgroups, devices or both" },
		{ "[/a]\n  devices: [by-web]", "{ net: 10.0.0.1, peer: 100.64.0.3 }",
		  "'by-web' is the overlay's, the underlay's or a workload's" },
		{ "[/a]\n  devices: [a/b]", "{ net: 10.0.0.1, peer: 100.64.0.3 }",
		  "needs the name of a network device" },
		{ "[/a]\n  proxy_cgroup: /a/b", "{ net: 10.0.0.1, peer: 100.64.0.3 }",
		  "is in the captured cgroup /a: the proxy's own connections would come back to it" },
		{ "[/a/]\n  proxy_cgroup: /a", "{ net: 10.0.0.1, peer: 100.64.0.3 }", "is in the captured cgroup /a/" },
		{ "[/]\n  proxy_cgroup: /b", "{ net: 10.0.0.1, peer: 100.64.0.3 }", "is in the captured cgroup /" },
		{ "[/a]\n  proxy_cgroup: b", "{ net: 10.0.0.1, peer: 100.64.0.3 }", "from / on, found 'b'" },
		{ "[/a]", "{ net: 10.0.0.0/33, peer: 100.64.0.3 }", "needs an address or a prefix" },
		{ "[/a]", "{ net: 10.0.0.1/16, peer: 100.64.0.3 }", "'10.0.0.1/16' has bits behind its length" },
		{ "[/a]", "{ net: 127.0.0.1, via: '127.0.0.1:80' }", "is the loopback, which stays where it is" },
		{ "[/a]", "{ net: '::1', via: '[::1]:80' }", "is the loopback" },
		{ "[/a]", "{ net: 10.0.0.1 }", "needed one of 'via'" },
		{ "[/a]", "{ net: 10.0.0.1, via: '127.0.0.1:80', peer: 100.64.0.3 }", "needed one of 'via'" },
		{ "[/a]", "{ net: 10.0.0.1, via: 127.0.0.1 }", "needs an endpoint like 127.0.0.1:15001" },
		{ "[/a]", "{ net: 10.0.0.1, peer: 192.0.2.1 }", "needs an address inside overlay.networks" },
		{ "[/a]", "{ net: 10.0.0.1, via: '[::1]:80' }", "need to be of one family" },
		{ "[/a]", "{ net: 10.0.0.1, peer: 100.64.0.3, ports: [] }", "needs a list of at least one port" },
		{ "[/a]", "{ net: 10.0.0.1, peer: 100.64.0.3, ports: [icmp/8] }", "needs one port like tcp/80" },
		{ "[/a]", "{ net: 10.0.0.1, peer: 100.64.0.3, ports: [tcp/1-2] }", "needs one port like tcp/80" },
		{ "[/a]", "{ net: 10.0.0.1, peer: 100.64.0.3, ports: [tcp/1, tcp/1] }", "are captured already" },
		{ "[/a]", "{ net: 10.0.0.1, peer: 100.64.0.3, port: 1 }", "unknown key 'port'; did you mean 'ports'?" },
		{ "[/a]", "x", "needs a map with net" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		reads(bad[i].error, GOOD "capture:\n  cgroups: %s\n  to: [%s]\n", bad[i].cgroups, bad[i].rule);
}

static void freshness_has_three_levels(void **state)
{
	static const struct {
		const char *freshness, *error; /* NULL: fine */
		int level;
	} cases[] = {
		{ "", NULL, ID_FRESH_OFF },
		{ "freshness: { level: off }\n", NULL, ID_FRESH_OFF },
		{ "freshness: { level: key, max_age: 15, budget: 60 }\n", NULL, ID_FRESH_KEY },
		{ "freshness: { level: quote }\n", NULL, ID_FRESH_QUOTE },
		{ "freshness: { level: Quote }\n", "needs off, key or quote, found 'Quote'", 0 },
		{ "freshness: { max_age: 60 }\n", "the key 'level' is missing", 0 },
		{ "freshness: { level: key, max_age: 14 }\n", "14 is below 15", 0 },
		{ "freshness: { level: key, budget: 0 }\n", "0 is below 1", 0 },
		{ "freshness: { level: key, budget: 61 }\n", "61", 0 },
		{ "freshness: { level: key, often: 1 }\n", "often", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reads(cases[i].error, GOOD "%s", cases[i].freshness);
		if (!cases[i].error)
			assert_int_equal(c.fresh, cases[i].level);
	}
}

static void a_policy_may_be_several_paths(void **state)
{
	static const char head[] = "policy: p/three-tier.yaml\n";
	static const struct {
		const char *policy, *error;
	} bad[] = { { "policy: []\n", "has 0 entries, needs 1 to 16" },
		    { "policy: [a, [b]]\n", "found a list, needed a text" },
		    { "policy: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]\n", "has 17 entries, needs 1 to 16" },
		    { "policy: {}\n", "found a map, needed a text" },
		    { "", "the key 'policy' is missing" } };

	(void)state;
	reads(NULL, "%s", with(head, "policy: [/a.yaml, policy.d/]\n"));
	assert_int_equal(c.n_policy, 2);
	assert_string_equal(c.policy[0], "/a.yaml");
	assert_string_equal(c.policy[1], "/etc/bailey/policy.d/");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reads(bad[i].error, "%s", with(head, bad[i].policy));
		assert_string_equal(why, bad[i].error);
	}
}

static void what_is_absent_has_a_default(void **state)
{
	(void)state;
	reads(NULL, GOOD);
	assert_int_equal(c.backend, OV_AUTO);
	assert_int_equal(c.mtu, 1420);
	assert_int_equal(c.wg_port, 51820);
	assert_int_equal(c.record_life_s, 3600);
	assert_string_equal(c.state, "/var/lib/bailey/web");
	assert_string_equal(c.run, "/run/bailey/web");
	assert_string_equal(c.bpffs, "/sys/fs/bpf");
	assert_string_equal(c.user, "nobody");
}

/* GOOD with one line replaced; the error must be at that line and say `needed`. */
static void refuses(const char *from, const char *to, const char *needed)
{
	const char *at = strstr(good, from);
	char got[1024];
	struct conf old = { .mtu = 7 };
	struct diags d;
	unsigned line = 1;
	bool found = false;

	assert_non_null(at);
	for (const char *s = good; s < at; s++)
		line += *s == '\n';
	assert_int_equal(parse(with(from, to), &old, &d), -22);
	assert_int_equal(old.mtu, 7); /* the output is untouched */
	assert_true(d.n_errors > 0);
	for (size_t i = 0; i < d.n && !found; i++) {
		snprintf(got, sizeof(got), "%s: %s", d.item[i].path, d.item[i].msg);
		found = d.item[i].line == line && strstr(got, needed);
	}
	if (!found)
		fail_msg("line %u, expected '%s', got '%s'", line, needed, got);
	diags_fini(&d);
}

static void refusals_say_line_and_need(void **state)
{
	(void)state;
	refuses("instance: web", "instance: We b", "needs 1 to 31 of a-z");
	refuses("node: web-1", "node: ''", "needs 1 to 31 of a-z");
	refuses("interface: by-web", "interface: much-too-long-name", "needs 1 to 15");
	refuses("100.64.0.2, ", "10.0.0.1, ", "an address inside overlay.networks");
	refuses("100.64.0.0/10", "100.64.0.0", "a prefix like");
	refuses("192.0.2.2:51820", "192.0.2.2:0", "an endpoint like");
	refuses("192.0.2.2:7946", "web.example:7946", "an endpoint like");
	refuses("  endpoints:", "  via: { '192.0.2.9': '127.0.0.1:1' }\n  endpoints:", "found '192.0.2.9'");
	refuses("  endpoints:", "  via: { '192.0.2.9:1': here }\n  endpoints:", "needs an endpoint like");
	refuses("  endpoints:", "  via: ['127.0.0.1:1']\n  endpoints:", "needs a map");
	refuses("allow_simulated: true", "allow_simulated: maybe", "");
	refuses(", simulated_roots: root.pem", "", "needs simulated_roots");
	refuses("node: web-1", "nodes: web-1", "node");
}

static void a_missing_section_is_named(void **state)
{
	struct diags d;
	bool named = false;

	(void)state;
	assert_int_equal(parse("instance: web\nnode: web\npolicy: p\n", &c, &d), -22);
	for (size_t i = 0; i < d.n; i++)
		named |= strstr(d.item[i].msg, "overlay") != NULL || strstr(d.item[i].path, "overlay") != NULL;
	assert_true(named);
	assert_true(d.n_errors >= 2); /* identity too: all at once */
	diags_fini(&d);
}

#define ID  "0123456789abcdef0123456789abcdef01234567"
#define ID2 "1123456789abcdef0123456789abcdef01234567"

static void workloads_are_read(void **state)
{
	static const char text[] =
		GOOD "workloads:\n"
		     "  - { name: a, interface: tap0, instance: '" ID "', mac: '02:00:00:00:00:0A', vlan: [7, 8] }\n"
		     "  - { name: b-2, interface: veth.b, instance: '" ID2 "' }\n";
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, 10 };

	(void)state;
	reads(NULL, "%s", text);
	assert_int_equal(c.workloads.n, 2);
	assert_string_equal(c.workloads.item[0].name, "a");
	assert_string_equal(c.workloads.item[0].interface, "tap0");
	assert_int_equal(c.workloads.item[0].instance_id[19], 0x67);
	assert_memory_equal(c.workloads.item[0].mac, mac, 6);
	assert_int_equal(c.workloads.item[0].vlan[0], 7);
	assert_int_equal(c.workloads.item[0].vlan[1], 8);
	assert_string_equal(c.workloads.item[1].interface, "veth.b");
	assert_int_equal(c.workloads.item[1].vlan[0], 0);
}

static void wrong_workloads_are_refused(void **state)
{
	static const struct {
		const char *item, *error;
	} bad[] = {
		{ "{ name: A, interface: t, instance: '" ID "' }", "needs 1 to 15 of a-z, 0-9 and '-', found 'A'" },
		{ "{ name: '', interface: t, instance: '" ID "' }", "needs 1 to 15 of a-z, 0-9 and '-', found ''" },
		{ "{ name: a, interface: a/b, instance: '" ID "' }",
		  "needs the name of a network interface, found 'a/b'" },
		{ "{ name: a, interface: '..', instance: '" ID "' }",
		  "needs the name of a network interface, found '..'" },
		{ "{ name: a, interface: sixteen-letters-, instance: '" ID "' }",
		  "needs the name of a network interface, found 'sixteen-letters-'" },
		{ "{ name: a, interface: t, instance: 12 }",
		  "needs the instance-id of its record, 40 hex digits, found '12'" },
		{ "{ name: a, interface: t }", "the key 'instance' is missing" },
		{ "{ name: a, interface: by-web, instance: '" ID "' }", "interface 'by-web' is the overlay's" },
		{ "{ name: a, interface: t, instance: '" ID "', mac: '03:00:00:00:00:01' }",
		  "needs the address of one machine like 02:00:00:00:00:01, found '03:00:00:00:00:01'" },
		{ "{ name: a, interface: t, instance: '" ID "', mac: '02:00:00:00:00' }",
		  "needs the address of one machine like 02:00:00:00:00:01, found '02:00:00:00:00'" },
		{ "{ name: a, interface: t, instance: '" ID "', vlan: [] }",
		  "has 0 tags, needs 1 or 2, the outer one first" },
		{ "{ name: a, interface: t, instance: '" ID "', vlan: [0] }", "needs 1 to 4094, found 0" },
		{ "{ name: a, interface: t, instance: '" ID "', vlan: [1, 2, 3] }",
		  "has 3 tags, needs 1 or 2, the outer one first" },
		{ "{ name: ok, interface: t, instance: '" ID2 "' }", "the name 'ok' is used twice" },
		{ "{ name: a, interface: ok0, instance: '" ID2 "' }", "interface 'ok0' leads to 'ok' already" },
		{ "{ name: a, interface: t, instance: '" ID "' }", "the instance of 'ok' is behind 'ok0' already" },
		{ "a", "needs a map with name, interface and instance" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool has_first = strstr(bad[i].error, "'ok") != NULL;

		reads(bad[i].error, GOOD "workloads:\n%s  - %s\n",
		      has_first ? "  - { name: ok, interface: ok0, instance: '" ID "' }\n" : "", bad[i].item);
		assert_string_equal(why, bad[i].error);
	}
}

static void names_are_read(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "dns: {}\n", NULL },
		{ "dns: { suffix: corp.example, ttl: 0, listen: [127.0.0.66, '[::1]:5353'], members: true,"
		  " clients: [172.17.0.0/16], forward: ['9.9.9.9', '[2001:db8::1]:5353'], resolver: resolv.conf }\n"
		  "services: [mongodb/tcp/27017]\n",
		  NULL },
		{ "dns: { suffix: Corp }\n", "needs a name like dstack.internal" },
		{ "dns: { suffix: a..b }\n", "needs a name like dstack.internal" },
		{ "dns: { ttl: 3601 }\n", "3600" },
		{ "dns: { listen: [localhost] }\n", "needs an address like" },
		{ "dns: { forward: ['9.9.9.9:0'] }\n", "needs an address like" },
		{ "dns: { clients: [0.0.0.0/0] }\n", "not all addresses" },
		{ "dns: { resolver: bind }\n", "needs auto, none" },
		{ "dns: { members: perhaps }\n", "true" },
		{ "dns: { port: 53 }\n", "port" },
		{ "services: [mongodb]\n", "needs a service like mongodb/tcp/27017" },
		{ "services: [a/tcp/1, a/udp/1, a/tcp/1]\n", "has 'a/tcp/1' twice" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reads(cases[i].error, GOOD "%s", cases[i].text);
		if (i == 0)
			assert_true(c.dns.is_on && !c.dns.members && !c.dns.has_forward && c.dns.ttl == 5 &&
				    c.dns.resolver == CONF_RESOLVER_AUTO &&
				    strcmp(c.dns.suffix, "dstack.internal") == 0);
		if (i == 1)
			assert_true(c.dns.members && c.dns.n_listen == 2 && c.dns.listen[0].port == 53 &&
				    c.dns.listen[1].port == 5353 && c.dns.n_forward == 2 && c.dns.n_clients == 1 &&
				    c.dns.resolver == CONF_RESOLVER_FILE && c.n_services == 1 &&
				    c.services[0].port == 27017);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_file_is_read),
		cmocka_unit_test(a_policy_may_be_several_paths),
		cmocka_unit_test(what_is_absent_has_a_default),
		cmocka_unit_test(refusals_say_line_and_need),
		cmocka_unit_test(a_missing_section_is_named),
		cmocka_unit_test(the_status_service_is_off_unless_asked_for),
		cmocka_unit_test(identity_is_files_or_an_agent),
		cmocka_unit_test(a_mesh_has_ports_of_tcp),
		cmocka_unit_test(capture_is_read),
		cmocka_unit_test(bad_captures_are_refused),
		cmocka_unit_test(freshness_has_three_levels),
		cmocka_unit_test(workloads_are_read),
		cmocka_unit_test(wrong_workloads_are_refused),
		cmocka_unit_test(some_endpoints_are_elsewhere),
		cmocka_unit_test(a_control_plane_says_the_addresses),
		cmocka_unit_test(names_are_read),
		cmocka_unit_test(a_control_plane_may_have_servers),
	};

	return cmocka_run_group_tests_name("baileyd/conf", tests, NULL, NULL);
}
