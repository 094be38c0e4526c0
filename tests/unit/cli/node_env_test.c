// SPDX-License-Identifier: Apache-2.0
/* dstack-vpc's variables of a node: what each may be, and that the configuration that they make is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "baileyd/conf.h"
#include "base/cleanup.h"
#include "cli/node_conf.h"
#include "cli/node_env.h"
#include "policy/apps.h"
#include "policy/policy.h"

#define APP   "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define OTHER "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"

static struct node_env env;

static int read_env(const char *const *vars, struct err *e)
{
	*e = ERR_INIT;
	return node_env_read((char *const *)vars, &env, e);
}

static void little_is_needed(void **state)
{
	static const char *const vars[] = { "PATH=/bin",      "VPC_NODE_NAME=mongodb-0", "VPC_SERVER_APP_ID=" APP,
					    "VPC_NODE_TYPE=", "MESH_BACKEND=app:80",     NULL };
	struct err e;

	(void)state;
	assert_int_equal(read_env(vars, &e), 0);
	assert_string_equal(env.name, "mongodb-0");
	assert_string_equal(env.server_app, APP);
	assert_string_equal(env.mesh_url, "http://127.0.0.1");
	assert_string_equal(env.agent, "/var/run/dstack.sock");
	assert_string_equal(env.shared, "/shared");
	assert_true(!env.type && !env.server_url && !env.apps && !env.policy && !env.interface && !env.endpoint);
	assert_true(!env.topology && !env.hub && !env.via && !env.authkey);
	assert_true(!env.state && !env.evidence && !env.collateral && !env.simulated_roots && !env.dstack_pool);
}

static const char *const everything[] = { "VPC_NODE_NAME=web-1",
					  "VPC_NODE_TYPE=Mongo_DB.2",
					  "VPC_SERVER_APP_ID=self",
					  "VPC_SERVER_URL=https://vpc.example.com:9204/",
					  "VPC_ALLOWED_APPS=" APP ", " OTHER,
					  "DSTACK_MESH_URL=http://dstack-service:8080",
					  "DSTACK_AGENT_ADDRESS=unix:/run/a.sock",
					  "TUN_DEV_NAME=tailscale1",
					  "BAILEY_NODE_ENDPOINT=[2001:db8::1]:51820, 192.0.2.2:51820",
					  "BAILEY_NODE_VIA=192.0.2.3:51820=127.0.0.1:51821,192.0.2.4:1=[::1]:2",
					  "BAILEY_NODE_TOPOLOGY=spoke",
					  "BAILEY_NODE_HUB=" OTHER,
					  "BAILEY_NODE_AUTHKEY=file:/run/secrets/authkey",
					  "BAILEY_NODE_DSTACK_POOL=true",
					  "BAILEY_NODE_POLICY=/etc/policy.yaml",
					  "BAILEY_NODE_STATE=/data/node",
					  "BAILEY_NODE_SHARED=/data/shared",
					  "BAILEY_NODE_EVIDENCE=/etc/evidence.yaml",
					  "BAILEY_NODE_COLLATERAL=https://pccs.example.com:8081",
					  "BAILEY_NODE_SIMULATED_ROOTS=/etc/root's.pem",
					  NULL };

static void all_may_be_said(void **state)
{
	auto_out struct out text = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(read_env(everything, &e), 0);
	assert_string_equal(env.type, "Mongo_DB.2");
	assert_string_equal(env.server_url, "https://vpc.example.com:9204/");
	assert_string_equal(env.apps, APP ", " OTHER);
	assert_string_equal(env.agent, "/run/a.sock");
	assert_string_equal(env.interface, "tailscale1");
	assert_string_equal(env.endpoint, "[2001:db8::1]:51820, 192.0.2.2:51820");
	assert_string_equal(env.hub, OTHER);
	assert_string_equal(env.authkey, "file:/run/secrets/authkey");
	assert_true(node_env_is_true(env.dstack_pool));
	node_env_print((char *const *)everything, &text);
	out_u8(&text, 0);
	for (size_t i = 0; everything[i]; i++)
		assert_non_null(strstr((char *)text.data, everything[i]));
}

static void refuses_by_name(void **state)
{
	static const char name[] = "VPC_NODE_NAME=n", app[] = "VPC_SERVER_APP_ID=self";
	static const struct {
		const char *vars[4];
		const char *where;
	} tries[] = {
		{ { app }, "VPC_NODE_NAME: is needed" },
		{ { app, "VPC_NODE_NAME=" }, "VPC_NODE_NAME: is needed" },
		{ { app, "VPC_NODE_NAME=Web" }, "VPC_NODE_NAME: needs" },
		{ { app, "VPC_NODE_NAME=-web" }, "VPC_NODE_NAME: needs" },
		{ { app, "VPC_NODE_NAME=01234567890123456789012345678901" }, "VPC_NODE_NAME: needs" },
		{ { name }, "VPC_SERVER_APP_ID: is needed" },
		{ { name, "VPC_SERVER_APP_ID=" }, "VPC_SERVER_APP_ID: is needed" },
		{ { name, "VPC_SERVER_APP_ID=any" }, "VPC_SERVER_APP_ID: needs" },
		{ { name, "VPC_SERVER_APP_ID=a1" }, "VPC_SERVER_APP_ID: needs" },
		{ { name, app, "VPC_NODE_TYPE=a&b" }, "VPC_NODE_TYPE" },
		{ { name, app, "VPC_SERVER_URL=http://a" }, "VPC_SERVER_URL" },
		{ { name, app, "VPC_SERVER_URL=https://a/path" }, "VPC_SERVER_URL" },
		{ { name, app, "VPC_SERVER_URL=https://a:0" }, "VPC_SERVER_URL" },
		{ { name, app, "VPC_SERVER_URL=https://a:65536" }, "VPC_SERVER_URL" },
		{ { name, app, "VPC_SERVER_URL=https://user@a" }, "VPC_SERVER_URL" },
		{ { name, app, "VPC_ALLOWED_APPS=any,any" }, "VPC_ALLOWED_APPS" },
		{ { name, app, "VPC_ALLOWED_APPS=" APP "," }, "VPC_ALLOWED_APPS" },
		{ { name, app, "DSTACK_MESH_URL=https://a" }, "DSTACK_MESH_URL" },
		{ { name, app, "DSTACK_MESH_URL=http://a/" }, "DSTACK_MESH_URL" },
		{ { name, app, "DSTACK_AGENT_ADDRESS=/run/a.sock" }, "DSTACK_AGENT_ADDRESS" },
		{ { name, app, "TUN_DEV_NAME=0123456789abcdef" }, "TUN_DEV_NAME" },
		{ { name, app, "BAILEY_NODE_ENDPOINT=example.com:1" }, "BAILEY_NODE_ENDPOINT" },
		{ { name, app, "BAILEY_NODE_ENDPOINT=192.0.2.1:1," }, "BAILEY_NODE_ENDPOINT" },
		{ { name, app, "BAILEY_NODE_ENDPOINT=192.0.2.1:1,192.0.2.1:2,192.0.2.1:3,192.0.2.1:4,192.0.2.1:5" },
		  "BAILEY_NODE_ENDPOINT" },
		{ { name, app, "BAILEY_NODE_VIA=192.0.2.1:1" }, "BAILEY_NODE_VIA" },
		{ { name, app, "BAILEY_NODE_VIA=192.0.2.1:1=host:1" }, "BAILEY_NODE_VIA" },
		{ { name, app, "BAILEY_NODE_TOPOLOGY=star" }, "BAILEY_NODE_TOPOLOGY" },
		{ { name, app, "BAILEY_NODE_TOPOLOGY=spoke" }, "BAILEY_NODE_HUB: is needed" },
		{ { name, app, "BAILEY_NODE_HUB=self" }, "BAILEY_NODE_HUB: is what a spoke says" },
		{ { name, app, "BAILEY_NODE_AUTHKEY=file:authkey" }, "BAILEY_NODE_AUTHKEY" },
		{ { name, app, "BAILEY_NODE_AUTHKEY=with blank in it" }, "BAILEY_NODE_AUTHKEY" },
		{ { name, app, "BAILEY_NODE_DSTACK_POOL=yes" }, "BAILEY_NODE_DSTACK_POOL" },
		{ { name, app, "BAILEY_NODE_POLICY=policy.yaml" }, "BAILEY_NODE_POLICY" },
		{ { name, app, "BAILEY_NODE_STATE=/a\nb" }, "BAILEY_NODE_STATE" },
		{ { name, app, "BAILEY_NODE_SHARED=shared" }, "BAILEY_NODE_SHARED" },
		{ { name, app, "BAILEY_NODE_EVIDENCE=e" }, "BAILEY_NODE_EVIDENCE" },
		{ { name, app, "BAILEY_NODE_COLLATERAL=http://a" }, "BAILEY_NODE_COLLATERAL" },
		{ { name, app, "BAILEY_NODE_SIMULATED_ROOTS=r" }, "BAILEY_NODE_SIMULATED_ROOTS" },
		{ { name, app, "BAILEY_NODE_PORT=1" }, "BAILEY_NODE_PORT is no variable" },
		{ { name, app, "VPC_NODE_TPYE=1" }, "VPC_NODE_TPYE is no variable" },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		char text[600];

		assert_true(read_env(tries[i].vars, &e) < 0);
		if (!strstr(err_text(&e, text, sizeof(text)), tries[i].where))
			fail_msg("%zu: %s", i, text);
	}
}

static void a_key_is_not_repeated(void **state)
{
	static const char *const vars[] = { "VPC_NODE_NAME=n", "VPC_SERVER_APP_ID=self",
					    "BAILEY_NODE_AUTHKEY=secret-0123456789", NULL };
	static const char *const bad[] = { "BAILEY_NODE_AUTHKEY=secret", NULL };
	auto_out struct out text = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(read_env(vars, &e), 0);
	assert_string_equal(env.authkey, "secret-0123456789");
	node_env_print((char *const *)vars, &text);
	out_u8(&text, 0);
	assert_null(strstr((char *)text.data, "secret"));
	assert_true(read_env(bad, &e) < 0);
	assert_null(strstr(e.msg, "secret"));
}

static void urls_are_hosts_and_ports(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = { { "https://a.example", "a.example", 443 },
		     { "https://a.example:9204", "a.example", 9204 },
		     { "https://192.0.2.1:1/", "192.0.2.1", 1 },
		     { "https://[2001:db8::1]", "2001:db8::1", 443 },
		     { "https://[2001:db8::1]:65535", "2001:db8::1", 65535 } };
	static const char *const bad[] = { "",
					   "https://",
					   "https://:1",
					   "https://a:",
					   "https://a:+1",
					   "https://a:1x",
					   "https://[::1",
					   "https://[::1]1",
					   "https://2001:db8::1",
					   "https://a b" };
	struct node_url url;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(node_url_parse(good[i].text, "https://", 443, &url));
		assert_string_equal(url.host, good[i].host);
		assert_int_equal(url.port, good[i].port);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (node_url_parse(bad[i], "https://", 443, &url))
			fail_msg("%s", bad[i]);
}

/* What is written from all of it is what baileyd reads. */
static void the_configuration_is_one(void **state)
{
	struct ip_endpoint servers[2];
	struct ip_prefix networks[1];
	struct node_conf c = { .interface = "by-web-1",
			       .policy = "/data/node/env-policy.yaml",
			       .wg_key = "/data/node/wg.key",
			       .networks = networks,
			       .n_networks = 1,
			       .app = APP,
			       .servers = servers,
			       .n_servers = 2,
			       .host = APP "-8080s.example.com",
			       .auth_key = "/shared/pre_auth_key",
			       .has_dns = true };
	auto_out struct out text = { 0 };
	struct diags d = { 0 };
	static struct conf conf;
	struct err e;

	(void)state;
	assert_int_equal(read_env(everything, &e), 0);
	c.name = env.name;
	c.agent = env.agent;
	c.state = env.state;
	c.roots = env.simulated_roots;
	c.evidence = env.evidence;
	c.collateral = env.collateral;
	c.endpoint = env.endpoint;
	c.topology = env.topology;
	c.hub = env.hub;
	c.via = env.via;
	prefix_parse(&networks[0], "100.64.0.0/10");
	endpoint_parse(&servers[0], "192.0.2.1:443");
	endpoint_parse(&servers[1], "[2001:db8::9]:443");
	node_env_print((char *const *)everything, &text);
	node_conf_print(&c, &text);
	assert_true(out_ok(&text));
	if (conf_parse("/data/node/env.yaml", (char *)text.data, text.len, &conf, &d) != 0)
		fail_msg("%s\n%.*s", d.item[0].msg, (int)text.len, (char *)text.data);
	diags_fini(&d);
	assert_true(conf.vpc.is_on && conf.vpc.n_servers == 2 && !conf.vpc.any_app && conf.dns.is_on);
	assert_string_equal(conf.vpc.host, c.host);
	assert_string_equal(conf.vpc_key, c.auth_key);
	assert_string_equal(conf.state, "/data/node");
	assert_string_equal(conf.evidence_policy, "/etc/evidence.yaml");
	assert_string_equal(conf.pcs_url, "https://pccs.example.com:8081");
	assert_string_equal(conf.simulated_roots, "/etc/root's.pem");
	assert_true(conf.allow_simulated && conf.n_endpoints == 2);
	assert_true(conf.topology == BY_TOPOLOGY_SPOKE && conf.hub_app[0] == 0xb2 && conf.n_via == 2);
	assert_true(conf.endpoints[1].port == 51820 && conf.via[1].recorded.port == 1 && conf.via[1].dialled.port == 2);
}

static void allowed_apps_reach_each_other(void **state)
{
	struct pol_apps apps = { 0 };
	struct pol_model *model = NULL;
	struct diags d = { 0 };
	auto_free char *text = NULL;

	(void)state;
	assert_true(pol_apps_parse(&apps, APP ", " OTHER));
	assert_true(pol_apps_add(&apps, APP, strlen(APP))); /* the node's own, which is there */
	text = pol_apps_text(&apps, NULL, "any");
	assert_int_equal(pol_parse("env", text, strlen(text), &model, &d), 0);
	assert_int_equal(pol_app_count(model), 2);
	assert_non_null(strstr(text, "from: [app-0, app-1], to: [app-0, app-1], allow: [any]"));
	pol_free(model);
	diags_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_is_needed),
		cmocka_unit_test(all_may_be_said),
		cmocka_unit_test(refuses_by_name),
		cmocka_unit_test(a_key_is_not_repeated),
		cmocka_unit_test(urls_are_hosts_and_ports),
		cmocka_unit_test(the_configuration_is_one),
		cmocka_unit_test(allowed_apps_reach_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
