// SPDX-License-Identifier: Apache-2.0
/* bailey-mesh.yaml, and dstack-vpc's environment in its place. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "meshd/conf.h"

#define HEAD                                                                                                           \
	"version: 1\nidentity: { certificate: c.pem, key: k.pem }\ntrust: { policy: e.yaml, simulated_roots: r.pem "   \
	"}\n"                                                                                                          \
	"policy: any-attested\n"
#define SERVE "client: { listen: [\"127.0.0.1:80\"], gateway: apps.example.com }\n"
#define APP   "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"

static struct md_conf conf;

static int parse(const char *text, char why[256])
{
	struct diags d = { 0 };
	int ret = md_conf_parse("/etc/bailey/mesh.yaml", text, strlen(text), &conf, &d);

	snprintf(why, 256, "%s", d.n ? d.item[0].msg : "");
	diags_fini(&d);
	return ret;
}

static void takes(void **state)
{
	static const char text[] =
		HEAD "client:\n  listen: [\"127.0.0.1:8091\", \"[::1]:8091\"]\n  gateway: apps.example.com:8443\n"
		     "  port: 8089\n  tunnels:\n"
		     "    - { name: db, listen: \"127.0.0.1:5432\", app: " APP ", instance: " APP ", port: 5433 }\n"
		     "server:\n  auth: [\"127.0.0.1:8092\"]\n  services:\n"
		     "    - { name: web, listen: \"0.0.0.0:443\", http: \"web:8080\", headers: [instance, claims, "
		     "verified] }\n"
		     "    - { name: vpc, listen: \"0.0.0.0:443\", http: \"127.0.0.1:8000\", host: vpc-server }\n"
		     "    - { name: pg, listen: \"0.0.0.0:5433\", tcp: \"[::1]:5432\", port: 5432 }\n"
		     "limits: { connections: 100, drain_s: 0 }\nworkers: 2\n"
		     "paths: { ktls: false }\n";
	char why[256];

	(void)state;
	assert_int_equal(parse(text, why), 0);
	assert_string_equal(conf.certificate, "/etc/bailey/c.pem");
	assert_int_equal(conf.n_client, 2);
	assert_int_equal(conf.default_port, 8089);
	assert_int_equal(conf.tunnel[0].port, 5433);
	assert_true(conf.tunnel[0].has_instance);
	assert_int_equal(conf.n_services, 3);
	assert_string_equal(conf.service[0].backend.host, "web");
	assert_true(conf.service[0].tell_claims && conf.service[0].tell_instance && conf.service[0].tell_verified);
	assert_int_equal(conf.service[0].port, 443);
	assert_string_equal(conf.service[1].host, "vpc-server");
	assert_true(conf.service[2].is_tcp);
	assert_string_equal(conf.service[2].backend.host, "::1");
	assert_int_equal(conf.service[2].port, 5432);
	assert_int_equal(conf.limits.connections, 100);
	assert_int_equal(conf.limits.drain_s, 0);
	assert_true(conf.no_ktls && !conf.no_splice);
	assert_int_equal(conf.n_policy, 0);
	assert_false(conf.trust_ca);
	assert_int_equal(parse(HEAD "client: { captured: [\"127.0.0.1:15001\", \"[::1]:15001\"], baileyd: /run/b.sock "
				    "}\n",
			       why),
			 0);
	assert_int_equal(conf.n_captured, 2);
	assert_int_equal(parse("version: 1\nidentity: { agent: /run/dstack.sock, quote: false, subject: s }\n"
			       "trust: { ca: agent }\npolicy: [p.yaml, d/]\n" SERVE,
			       why),
			 0);
	assert_true(conf.trust_ca);
	assert_string_equal(conf.ca, "");
	assert_int_equal(conf.n_policy, 2);
	assert_false(conf.with_quote);
}

static void refuses(void **state)
{
	static const struct {
		const char *text, *why;
	} tries[] = {
		{ "version: 2\nidentity: { certificate: c, key: k }\ntrust: { ca: c }\npolicy: any-attested\n" SERVE,
		  "is not 1, which this program reads" },
		{ HEAD, "/etc/bailey/mesh.yaml: there is nothing to serve: no client, no tunnel, no service" },
		{ "version: 1\nidentity: { certificate: c, key: k }\ntrust: { ca: c }\n" SERVE, "*" },
		{ "version: 1\nidentity: { certificate: c }\ntrust: { ca: c }\npolicy: any-attested\n" SERVE, "*" },
		{ "version: 1\nidentity: { certificate: c, key: k }\ntrust: { ca: c, policy: e }\npolicy: "
		  "any-attested\n" SERVE,
		  "*" },
		{ "version: 1\nidentity: { certificate: c, key: k }\ntrust: { ca: agent }\npolicy: "
		  "any-attested\n" SERVE,
		  "agent: needs identity.agent" },
		{ HEAD "client: { listen: [\"127.0.0.1\"] }\n", "needs ADDRESS:PORT, found '127.0.0.1'" },
		{ HEAD "client: { listen: [\"127.0.0.1:80\"], gateway: \"direct/a:2\" }\n", "*" },
		{ HEAD "client: { listen: [\"127.0.0.1:80\"], agent: true }\n", "needs identity.agent" },
		{ HEAD "client: { tunnels: [{ name: db, listen: \"127.0.0.1:1\", app: " APP ", port: 1 }] }\n",
		  "/etc/bailey/mesh.yaml: tunnels need client.gateway or client.baileyd to find their targets" },
		{ HEAD "client: { gateway: g, tunnels: [{ name: db, listen: \"127.0.0.1:1\", app: a1, port: 1 }] }\n",
		  "needs 40 hex digits, found 'a1'" },
		{ HEAD "client: { gateway: g, tunnels: [{ name: db, listen: \"127.0.0.1:1\", app: " APP " }] }\n",
		  "*" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\" }] }\n",
		  "needs one of http, h2 and tcp" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"a:1\", tcp: \"a:1\" }] }\n",
		  "needs one of http, h2 and tcp" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"unix:relative\" }] }\n",
		  "needs HOST:PORT or unix:/PATH, found 'unix:relative'" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"a\" }] }\n",
		  "needs HOST:PORT or unix:/PATH, found 'a'" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"::1:80\" }] }\n",
		  "needs HOST:PORT or unix:/PATH, found '::1:80'" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", tcp: \"a:1\", headers: [claims] }] }\n",
		  "tcp: has no requests, so no host and no headers" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"a:1\", headers: [all] }] }\n",
		  "needs instance, claims or verified, found 'all'" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"a:1\" }, { name: a, listen: "
		       "\"0.0.0.0:2\", http: \"a:1\" }] }\n",
		  "a: two services have this name" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"a:1\" }, { name: b, listen: "
		       "\"0.0.0.0:1\", http: \"a:1\" }] }\n",
		  "b: has the address of a: only HTTP services of different hosts share one" },
		{ HEAD "server: { services: [{ name: a, listen: \"0.0.0.0:1\", http: \"a:1\" }, { name: b, listen: "
		       "\"0.0.0.0:1\", tcp: \"a:1\", }] }\n",
		  "b: has the address of a: only HTTP services of different hosts share one" },
		{ HEAD "client: { captured: [\"127.0.0.1:1\"], gateway: g }\n",
		  "/etc/bailey/mesh.yaml: client.captured needs client.baileyd, which knows whose the captured "
		  "addresses "
		  "are" },
		{ HEAD "client: { captured: [\"0.0.0.0:1\"], baileyd: b }\n",
		  "0.0.0.0:1: client.captured needs one address: it tells what was captured from what was dialled "
		  "here" },
		{ HEAD "client: { captured: [\"[::]:1\"], baileyd: b }\n",
		  "[::]:1: client.captured needs one address: it tells what was captured from what was dialled here" },
		{ HEAD SERVE "workers: 0\n", "0 is below 1" },
		{ HEAD SERVE "limits: { head_bytes: 100 }\n", "100 is below 1024" },
		{ HEAD SERVE "paths: { sockmap: true }\n", "unknown key 'sockmap'" },
		{ HEAD SERVE "paths: { ktls: late }\n", "found 'late', needed true or false" },
		{ HEAD SERVE "limit: {}\n", "*" },
	};
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		int ret = parse(tries[i].text, why);

		if (ret != -EINVAL || (tries[i].why[0] != '*' && strcmp(why, tries[i].why) != 0))
			print_error("%zu: %d, %s\n", i, ret, why);
		assert_int_equal(ret, -EINVAL);
		if (tries[i].why[0] != '*')
			assert_string_equal(why, tries[i].why);
	}
}

/* --- the environment --- */

static int from_env(const char *const *vars, struct err *e)
{
	*e = ERR_INIT;
	return md_conf_env((char *const *)vars, &conf, e);
}

static void takes_dstack_vpc(void **state)
{
	static const char *const all[] = { "PATH=/bin",
					   "MESH_BACKEND=backend:8080",
					   "DSTACK_MESH_SERVER_NAME=_",
					   "DSTACK_GATEWAY_DOMAIN=apps.example.com:9204",
					   "DSTACK_AGENT_ADDRESS=unix:/run/other.sock",
					   "LOAD_MISSING_MODULES=true",
					   "RUST_LOG=error",
					   "VPC_SERVER_ENABLED=false",
					   "VPC_NODE_NAME=",
					   NULL };
	static const char *const named[] = { "MESH_BACKEND=backend", "DSTACK_MESH_SERVER_NAME=api.internal",
					     "BAILEY_MESH_CA_WITHOUT_KEYCERTSIGN=true", NULL };
	static const char *const server[] = { "VPC_SERVER_ENABLED=true", "VPC_ALLOWED_APPS=any",
					      "VPC_NODE_NAME=node-1",    "VPC_SERVER_APP_ID=self",
					      "MESH_BACKEND=",           "BAILEY_VPC_RUN=/run/vpc",
					      "BAILEY_MESH_RUN=",        NULL };
	static const char *const both[] = { "VPC_SERVER_ENABLED=true", "MESH_BACKEND=app:80", NULL };
	static const char *const none[] = { "DSTACK_GATEWAY_DOMAIN=fixed/127.0.0.1:443", NULL };
	struct err e;

	(void)state;
	assert_int_equal(from_env(all, &e), 0);
	assert_int_equal(conf.client[0].port, 80);
	assert_true(addr_is_v4(&conf.client[0].addr));
	assert_int_equal(conf.n_services, 1);
	assert_int_equal(conf.service[0].listen.port, 443);
	assert_string_equal(conf.service[0].backend.host, "backend");
	assert_int_equal(conf.service[0].backend.port, 8080);
	assert_string_equal(conf.service[0].host, "");
	assert_string_equal(conf.gateway, "apps.example.com:9204");
	assert_string_equal(conf.agent, "/run/other.sock");
	assert_true(conf.trust_ca && conf.agent_access && !conf.ca_without_keycertsign);
	assert_int_equal(from_env(named, &e), 0);
	assert_string_equal(conf.service[0].host, "api.internal");
	assert_true(conf.ca_without_keycertsign);
	assert_int_equal(conf.service[0].backend.port, 80);
	assert_int_equal(from_env(none, &e), 0); /* no MESH_BACKEND: nobody is let in, as there */
	assert_int_equal(conf.n_services, 0);
	assert_int_equal(from_env(server, &e), 0); /* bailey-vpc is beside it: its API by both of upstream's names */
	assert_int_equal(conf.n_services, 2);
	assert_string_equal(conf.service[0].host, "vpc-server");
	assert_string_equal(conf.service[1].host, "dstack-vpc-server");
	assert_string_equal(conf.service[1].backend.host, "/run/vpc/api.sock");
	assert_true(conf.service[0].tell_instance);
	assert_int_equal(from_env(both, &e), 0);
	assert_int_equal(conf.n_services, 3);
	assert_string_equal(conf.service[0].host, ""); /* whoever else is asked for */
}

static void refuses_by_name(void **state)
{
	static const struct {
		const char *vars[3];
		const char *where;
	} tries[] = {
		{ { "VPC_SERVER_ENABLED=yes" }, "VPC_SERVER_ENABLED" },
		{ { "BAILEY_VPC_RUN=run" }, "BAILEY_VPC_RUN" },
		{ { "DSTACK_VPC_HA_MODE=true" }, "DSTACK_VPC_HA_MODE" },
		{ { "LITESTREAM_S3_BUCKET=b" }, "LITESTREAM_S3_BUCKET" },
		{ { "MESH_BACKENDS=a:1" }, "environment" },
		{ { "BAILEY_MESH_PORT=80" }, "environment" },
		{ { "MESH_BACKEND=a:b" }, "MESH_BACKEND" },
		{ { "MESH_BACKEND=a b:1" }, "MESH_BACKEND" },
		{ { "DSTACK_MESH_SERVER_NAME=api" }, "DSTACK_MESH_SERVER_NAME" },
		{ { "DSTACK_GATEWAY_DOMAIN=fixed/" }, "DSTACK_GATEWAY_DOMAIN" },
		{ { "DSTACK_AGENT_ADDRESS=http://127.0.0.1" }, "DSTACK_AGENT_ADDRESS" },
		{ { "BAILEY_MESH_CLIENT_PORT=0" }, "BAILEY_MESH_CLIENT_PORT" },
		{ { "BAILEY_MESH_CLIENT_PORT=65536" }, "BAILEY_MESH_CLIENT_PORT" },
		{ { "BAILEY_MESH_CA_WITHOUT_KEYCERTSIGN=1" }, "BAILEY_MESH_CA_WITHOUT_KEYCERTSIGN" },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		int ret = from_env(tries[i].vars, &e);

		if (ret >= 0 || strcmp(e.where, tries[i].where) != 0)
			print_error("%s: %d, %s\n", tries[i].vars[0], ret, e.where);
		assert_true(ret < 0);
		assert_string_equal(e.where, tries[i].where);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes),
		cmocka_unit_test(refuses),
		cmocka_unit_test(takes_dstack_vpc),
		cmocka_unit_test(refuses_by_name),
	};

	return cmocka_run_group_tests_name("mesh conf", tests, NULL, NULL);
}
