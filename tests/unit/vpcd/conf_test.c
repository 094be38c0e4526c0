// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "vpcd/vpcd.h"

#define GOOD                                                                                                           \
	"version: 1\n"                                                                                                 \
	"listen: 192.0.2.1:7947\n"                                                                                     \
	"identity: { certificate: /c.pem, key: /c.key }\n"                                                             \
	"evidence: { policy: /e.yaml }\n"                                                                              \
	"admit: /a.yaml\n"

static struct vs_conf conf;

static int parse(const char *text, struct diags *d)
{
	*d = (struct diags){ 0 };
	return vs_conf_parse("vpc.yaml", text, strlen(text), &conf, d);
}

static void address_is(uint32_t pool, uint32_t number, const char *want)
{
	struct by_addr a = vs_conf_address(&conf, pool, number);
	char text[ADDR_TEXT];

	assert_string_equal(addr_print(&a, text), want);
}

static void defaults(void **state)
{
	struct diags d;

	(void)state;
	assert_int_equal(parse(GOOD, &d), 0);
	assert_string_equal(conf.state, "/var/lib/bailey-vpc");
	assert_string_equal(conf.run, "/run/bailey-vpc");
	assert_string_equal(conf.user, "nobody");
	assert_false(conf.approve || conf.has_public_pool);
	assert_int_equal(conf.n_pools, 2);
	assert_int_equal(vs_conf_numbers(&conf), (1 << 22) - 2);
	address_is(0, 1, "100.64.0.1");
	address_is(0, (1 << 22) - 2, "100.127.255.254");
	address_is(1, 0x12345, "fdba:11e7::1:2345");
	diags_fini(&d);
}

static void pools_are_as_told(void **state)
{
	struct diags d;

	(void)state;
	assert_int_equal(parse(GOOD "dstack_pool: true\n", &d), 0);
	assert_true(conf.has_public_pool);
	address_is(0, 1, "100.128.0.1");
	assert_int_equal(parse(GOOD "pools: ['fd00:1::/120', 10.1.2.0/29]\n", &d), 0);
	assert_int_equal(vs_conf_numbers(&conf), 6); /* the smaller one */
	address_is(0, 6, "fd00:1::6");
	address_is(1, 6, "10.1.2.6");
	diags_fini(&d);
}

static void the_rest_api_is_for_apps(void **state)
{
	static const char *const bad[][2] = {
		{ "api: { mesh_user: m }\n", "apps" },
		{ "api: { apps: any }\n", "mesh_user" },
		{ "api: { apps: [], mesh_user: m }\n", "needs any, or a list" },
		{ "api: { apps: [any], mesh_user: m }\n", "needs any, or a list" },
		{ "api: { apps: web, mesh_user: m }\n", "needs any, or a list" },
		{ "api: { apps: any, mesh_user: m, server_url: 'http://a' }\n", "needs https://" },
		{ "api: { apps: any, mesh_user: m, lease: 1 }\n", "lease" },
		{ "api: { apps: any, mesh_user: m, port: 8000 }\n", "port" },
	};
	struct diags d;

	(void)state;
	assert_int_equal(parse(GOOD "api: { apps: any, mesh_user: mesh }\n", &d), 0);
	assert_true(conf.api.is_on && conf.api.apps.any);
	assert_string_equal(conf.api.server_url, "https://192.0.2.1:7947");
	assert_string_equal(conf.api.shared_key, "/etc/bailey/vpc-shared-key");
	assert_int_equal(conf.api.lease_s, 86400);
	diags_fini(&d);
	assert_int_equal(parse(GOOD "api: { apps: [A1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1], mesh_user: mesh, "
				    "server_url: 'https://vpc.example.com' }\n",
			       &d),
			 0);
	assert_true(conf.api.apps.n == 1 && conf.api.apps.app[0][0] == 0xa1 && !conf.api.apps.any);
	diags_fini(&d);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[1024];

		snprintf(text, sizeof(text), "%s%s", GOOD, bad[i][0]);
		assert_int_equal(parse(text, &d), -EINVAL);
		if (!strstr(d.item[0].msg, bad[i][1]) && !strstr(d.item[0].path, bad[i][1]))
			fail_msg("%s: %s", bad[i][0], d.item[0].msg);
		diags_fini(&d);
	}
}

static int from_env(const char *const *vars, struct err *e)
{
	*e = ERR_INIT;
	return vs_conf_env((char *const *)vars, &conf, e);
}

static void dstack_vpcs_environment_is_a_server(void **state)
{
	static const char *const vars[] = { "PATH=/bin",
					    "VPC_SERVER_ENABLED=true",
					    "VPC_ALLOWED_APPS= a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 ,"
					    "B2B2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2",
					    "DSTACK_GATEWAY_DOMAIN=apps.example.com:9204",
					    "DSTACK_AGENT_ADDRESS=unix:/run/a.sock",
					    "MESH_BACKEND=app:80",
					    "BAILEY_VPC_STATE=",
					    "BAILEY_VPC_RUN=/run/elsewhere",
					    "VPC_NODE_NAME=",
					    NULL };
	static const char *const any[] = { "VPC_SERVER_ENABLED=true",     "VPC_ALLOWED_APPS=any",
					   "VPC_SERVER_PORT=7947",        "VPC_SERVER_URL=https://vpc.example.com",
					   "BAILEY_VPC_DSTACK_POOL=true", NULL };
	static const struct {
		const char *vars[4];
		const char *where;
	} bad[] = {
		{ { "VPC_ALLOWED_APPS=any", "VPC_SERVER_URL=https://a" }, "VPC_SERVER_ENABLED" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_SERVER_URL=https://a" }, "VPC_ALLOWED_APPS" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_ALLOWED_APPS=any" }, "VPC_SERVER_URL" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_ALLOWED_APPS=any,a1" }, "VPC_ALLOWED_APPS" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_SERVER_PORT=0" }, "VPC_SERVER_PORT" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_SERVER_URL=http://a" }, "VPC_SERVER_URL" },
		{ { "VPC_SERVER_ENABLED=true", "DSTACK_VPC_HA_MODE=true" }, "DSTACK_VPC_HA_MODE" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_PORT=1" }, "BAILEY_VPC_PORT" },
		{ { "VPC_SERVER_ENABLED=yes" }, "VPC_SERVER_ENABLED" },
		{ { "VPC_SERVER_ENABLED=", "VPC_ALLOWED_APPS=any" }, "VPC_SERVER_ENABLED" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_ALLOWED_APPS=" }, "VPC_ALLOWED_APPS" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_ALLOWED_APPS=a1" }, "VPC_ALLOWED_APPS" },
		{ { "VPC_SERVER_ENABLED=true", "VPC_ALLOWED_APPS=any", "DSTACK_GATEWAY_DOMAIN=fixed/127.0.0.1" },
		  "VPC_SERVER_URL" },
		{ { "VPC_SERVER_ENABLED=true", "DSTACK_GATEWAY_DOMAIN=a b" }, "DSTACK_GATEWAY_DOMAIN" },
		{ { "VPC_SERVER_ENABLED=true", "DSTACK_AGENT_ADDRESS=http://a" }, "DSTACK_AGENT_ADDRESS" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_STATE=data" }, "BAILEY_VPC_STATE" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_RUN=run" }, "BAILEY_VPC_RUN" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_SHARED_KEY=key" }, "BAILEY_VPC_SHARED_KEY" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_EVIDENCE=e" }, "BAILEY_VPC_EVIDENCE" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_COLLATERAL=c" }, "BAILEY_VPC_COLLATERAL" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_SIMULATED_ROOTS=r" }, "BAILEY_VPC_SIMULATED_ROOTS" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_DSTACK_POOL=1" }, "BAILEY_VPC_DSTACK_POOL" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_USER="
					       "0123456789012345678901234567890123456789012345678901234567890123" },
		  "BAILEY_VPC_USER" },
		{ { "VPC_SERVER_ENABLED=true", "BAILEY_VPC_MESH_USER="
					       "0123456789012345678901234567890123456789012345678901234567890123" },
		  "BAILEY_VPC_MESH_USER" },
	};
	struct err e;

	(void)state;
	assert_int_equal(from_env(vars, &e), 0);
	assert_true(conf.approve && conf.api.is_on && conf.api.apps.n == 2 && conf.listen.port == 8080);
	assert_string_equal(conf.agent, "/run/a.sock");
	assert_string_equal(conf.api.gateway, "apps.example.com:9204");
	assert_string_equal(conf.api.shared_key, "/data/shared_key");
	assert_string_equal(conf.state, "/data/bailey-vpc");
	assert_string_equal(conf.run, "/run/elsewhere");
	address_is(0, 1, "100.64.0.1");
	assert_int_equal(from_env(any, &e), 0);
	assert_true(conf.api.apps.any && conf.listen.port == 7947);
	assert_string_equal(conf.api.server_url, "https://vpc.example.com");
	address_is(0, 1, "100.128.0.1");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[600];

		assert_true(from_env(bad[i].vars, &e) < 0);
		if (!strstr(err_text(&e, text, sizeof(text)), bad[i].where))
			fail_msg("%zu: %s", i, text);
	}
}

/* The policy that VPC_ALLOWED_APPS means is one. */
static void allowed_apps_are_a_policy(void **state)
{
	static const char *const tries[] = { "any", "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1,"
						    "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2, "
						    "A1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		struct vs_conf made = { .listen.port = 8080 };
		struct pol_model *model = NULL;
		struct diags d = { 0 };
		auto_free char *text = NULL;

		assert_true(pol_apps_parse(&made.api.apps, tries[i]));
		text = vs_admit_text(&made);
		if (pol_parse("env", text, strlen(text), &model, &d) != 0)
			fail_msg("%s: %s", text, d.item[0].msg);
		assert_int_equal(pol_app_count(model), i ? 2 : 0); /* twice is once */
		assert_int_equal(pol_rule_count(model), 1);
		assert_non_null(strstr(text, "to: any-attested, allow: [tcp/8080]"));
		pol_free(model);
		diags_fini(&d);
	}
}

static void several_may_share_a_store(void **state)
{
	struct diags d;

	(void)state;
	assert_int_equal(parse(GOOD, &d), 0);
	assert_int_equal(conf.etcd.n_endpoints, 0);
	diags_fini(&d);
	assert_int_equal(parse(GOOD
			       "store: { etcd: { endpoints: ['https://192.0.2.1:2379', 'https://e:2379'], ca: /ca, "
			       "certificate: /c, key: /k, prefix: /bailey/web } }\n",
			       &d),
			 0);
	assert_int_equal(conf.etcd.n_endpoints, 2);
	assert_string_equal(conf.etcd.endpoint[1], "https://e:2379");
	assert_string_equal(conf.etcd.prefix, "/bailey/web");
	assert_string_equal(conf.etcd.key, "/k");
	diags_fini(&d);
	assert_int_equal(parse(GOOD "store: { etcd: { endpoints: ['http://127.0.0.1:2379'] } }\n", &d), 0);
	assert_string_equal(conf.etcd.prefix, "/bailey");
	diags_fini(&d);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ GOOD "pools: [100.64.0.1/10]\n", "needs a prefix like" },
		{ GOOD "pools: [10.0.0.0/30]\n", "with room for 6 nodes" },
		{ GOOD "pools: []\n", "has 0 entries, needs 1 to 4" },
		{ GOOD "dstack_pool: true\npools: [10.0.0.0/8]\n", "stands in place of pools" },
		{ GOOD "max_nodes: 0\n", "0 is below 1" },
		{ GOOD "state: here\n", "needs a path from the root" },
		{ GOOD "pool: x\n", "pool" },
		{ "version: 2\n" GOOD, "there already" },
		{ "version: 1\nlisten: here\nidentity: { agent: /a }\nevidence: { policy: /e }\nadmit: /a\n",
		  "needs ADDRESS:PORT" },
		{ "version: 1\nlisten: 192.0.2.1:1\nidentity: { agent: /a, key: /k }\nevidence: { policy: /e }\n"
		  "admit: /a\n",
		  "in place of certificate and key" },
		{ "version: 1\nlisten: 192.0.2.1:1\nidentity: { agent: /a }\nevidence: { policy: /e }\n", "admit" },
		{ "[]\n", "needs a map" },
		{ GOOD "store: sqlite\n", "store" },
		{ GOOD "store: { postgresql: {} }\n", "postgresql" },
		{ GOOD "store: { etcd: { ca: /c } }\n", "endpoints" },
		{ GOOD "store: { etcd: { endpoints: [] } }\n", "has 0 entries, needs 1 to 8" },
		{ GOOD "store: { etcd: { endpoints: ['http://192.0.2.1:2379'] } }\n", "http of a loopback" },
		{ GOOD "store: { etcd: { endpoints: ['https://u@h:2379'], ca: /c } }\n", "needs a URL" },
		{ GOOD "store: { etcd: { endpoints: ['https://192.0.2.1:2379'] } }\n", "needs 'ca'" },
		{ GOOD "store: { etcd: { endpoints: ['https://h:1'], ca: /c, key: /k } }\n", "go together" },
		{ GOOD "store: { etcd: { endpoints: ['https://h:1'], ca: c } }\n", "path from the root" },
		{ GOOD "store: { etcd: { endpoints: ['https://h:1'], ca: /c, prefix: net } }\n", "a path like" },
		{ GOOD "store: { etcd: { endpoints: ['https://h:1'], ca: /c, prefix: /n/ } }\n", "a path like" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct diags d;
		bool is_said = false;

		assert_int_equal(parse(bad[i].text, &d), -EINVAL);
		for (size_t j = 0; j < d.n; j++)
			is_said =
				is_said || strstr(d.item[j].msg, bad[i].error) || strstr(d.item[j].path, bad[i].error);
		if (!is_said)
			print_message("# case %zu: %s\n", i, d.item[0].msg);
		assert_true(is_said);
		diags_fini(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(pools_are_as_told),
		cmocka_unit_test(several_may_share_a_store),
		cmocka_unit_test(the_rest_api_is_for_apps),
		cmocka_unit_test(dstack_vpcs_environment_is_a_server),
		cmocka_unit_test(allowed_apps_are_a_policy),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests_name("vpcd/conf", tests, NULL, NULL);
}
