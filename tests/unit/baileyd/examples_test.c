// SPDX-License-Identifier: Apache-2.0
/* docs/examples/: the compose files are YAML, and what they configure is taken by what reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "baileyd/conf.h"
#include "cli/node_env.h"
#include "meshd/conf.h"
#include "policy/yaml.h"
#include "vpcd/vpcd.h"

#define VARS_MAX 16
#define APP      "5bb4ff9a3837357f19dc176407a5709c62eb6c56"

static const char *const files[] = { "docs/examples/postgres-cluster.yaml", "docs/examples/mongo-cluster.yaml",
				     "docs/examples/mongo-writer.yaml" };
static const char vpc[] = "docs/examples/dstack-vpc.yaml";

/* What whoever deploys says; two apps, because one app-id under two names is refused. */
static const struct {
	const char *name, *value;
} environment[] = {
	{ "NODE", "pg1" },
	{ "NODE_NUMBER", "0" },
	{ "NODE_ADDRESS", "100.64.0.11" },
	{ "NODE_ENDPOINT", "192.0.2.11" },
	{ "PEER_A", "192.0.2.12" },
	{ "PEER_B", "192.0.2.13" },
	{ "PEER_C", "192.0.2.14" },
	{ "POSTGRES_APP", APP },
	{ "MONGO_APP", APP },
	{ "SHOP_APP", "1f0c2a7e5d3b9c8f6a4e2d1c0b9a8f7e6d5c4b3a" },
	{ "WRITER_APP", "1f0c2a7e5d3b9c8f6a4e2d1c0b9a8f7e6d5c4b3a" },
	{ "DSTACK_GATEWAY_DOMAIN:?", "apps.example.com:9204" },
	{ "VPC_SERVER_ENABLED:-", "true" },
	{ "VPC_ALLOWED_APPS:-", APP },
	{ "VPC_SERVER_APP_ID:-", APP },
	{ "VPC_NODE_NAME:-", "mongodb-0" },
	{ "VPC_NODE_TYPE:-", "mongodb" },
	{ "BAILEY_NODE_ENDPOINT:-", "192.0.2.11:51820" },
	{ "MESH_BACKEND:-", "" },
	{ "DSTACK_MESH_SERVER_NAME:-", "" },
	{ "VPC_SERVER_URL:-", "" },
};

static const char *value_of(const char *name, size_t len, const char *address)
{
	for (size_t i = 0; i < ARRAY_LEN(environment); i++)
		if (strlen(environment[i].name) == len && strncmp(environment[i].name, name, len) == 0)
			return address && strcmp(environment[i].name, "NODE_ADDRESS") == 0 ? address
											   : environment[i].value;
	fail_msg("%.*s is in no list of what is deployed with", (int)len, name);
	return NULL;
}

/* As compose does: ${NAME}; the caller frees. */
static char *filled(const char *text, const char *address)
{
	struct out out = { 0 };
	const char *at, *value;
	size_t len;

	while ((at = strstr(text, "${"))) {
		out_bytes(&out, text, (size_t)(at - text));
		text = strchr(at, '}');
		assert_non_null(text);
		value = value_of(at + 2, (size_t)(text - at) - 2, address);
		out_bytes(&out, value, strlen(value));
		text++;
	}
	out_bytes(&out, text, strlen(text) + 1);
	return (char *)out_take(&out, &len);
}

static struct yaml_doc *load(const char *file)
{
	struct err e = ERR_INIT;
	struct yaml_doc *doc = NULL;
	auto_free char *text = NULL;
	struct diags d = { 0 };
	size_t len;

	assert_int_equal(file_read(file, YAML_TEXT_MAX, &text, &len, &e), 0);
	if (yaml_parse(file, text, len, &doc, &d) < 0)
		diags_print(&d, stderr);
	diags_fini(&d);
	assert_non_null(doc);
	return doc;
}

static const char *content_of(const struct yaml_doc *doc, const char *name)
{
	const struct yaml_node *configs = yaml_get(yaml_root(doc), "configs");
	const struct yaml_node *content = yaml_get(yaml_get(configs, name), "content");

	assert_non_null(content);
	return content->text;
}

static void each_is_a_compose_file(void **state)
{
	(void)state;
	for (size_t i = 0; i <= ARRAY_LEN(files); i++) {
		struct yaml_doc *doc = load(i < ARRAY_LEN(files) ? files[i] : vpc);
		const struct yaml_node *services = yaml_get(yaml_root(doc), "services");

		assert_non_null(services);
		assert_int_equal(services->kind, YAML_MAP);
		assert_true(services->n >= 2);
		for (size_t s = 0; s < services->n; s++) {
			const struct yaml_node *image = yaml_get(services->child[s], "image");

			/* by whoever deploys, with a digest: what is not named can not be measured */
			assert_non_null(image);
			assert_non_null(strstr(image->text, ":?"));
		}
		yaml_free(doc);
	}
}

static int conf_of(const char *text, const char *address)
{
	auto_free char *whole = filled(text, address);
	static struct conf conf;
	struct diags d = { 0 };
	int ret = conf_parse("/etc/bailey/node.yaml", whole, strlen(whole), &conf, &d);

	if (ret < 0 && !address)
		diags_print(&d, stderr);
	diags_fini(&d);
	if (!ret)
		assert_int_equal(conf.status[0].port, 8000);
	return ret;
}

static void the_daemon_takes_their_configuration(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct yaml_doc *doc = load(files[i]);

		assert_int_equal(conf_of(content_of(doc, "node"), NULL), 0);
		assert_int_equal(conf_of(content_of(doc, "node"), "10.0.0.1"), -22); /* outside of the networks */
		yaml_free(doc);
	}
}

static void their_policy_is_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct yaml_doc *doc = load(files[i]);
		auto_free char *text = filled(content_of(doc, "policy"), NULL);
		struct pol_model *model = NULL;
		struct diags d = { 0 };

		if (pol_parse("policy.yaml", text, strlen(text), &model, &d) < 0)
			diags_print(&d, stderr);
		diags_fini(&d);
		assert_non_null(model);
		assert_int_equal(pol_rule_count(model), 2);
		pol_free(model);
		yaml_free(doc);
	}
}

/* What the cluster lets in is what the application may reach: a policy is asked at both ends. */
static void the_writer_has_the_policy_of_the_cluster(void **state)
{
	struct yaml_doc *cluster = load(files[1]), *writer = load(files[2]);

	(void)state;
	assert_string_equal(content_of(cluster, "policy"), content_of(writer, "policy"));
	yaml_free(cluster);
	yaml_free(writer);
}

static void patroni_is_given_yaml(void **state)
{
	struct yaml_doc *doc = load(files[0]), *inner = NULL;
	auto_free char *text = filled(content_of(doc, "patroni"), NULL);
	struct diags d = { 0 };

	(void)state;
	assert_int_equal(yaml_parse("patroni.yaml", text, strlen(text), &inner, &d), 0);
	assert_string_equal(yaml_get(yaml_root(inner), "scope")->text, "dstack-cluster");
	diags_fini(&d);
	yaml_free(inner);
	yaml_free(doc);
}

/* "NAME=VALUE" of a service, ended by NULL. */
static void environment_of(const struct yaml_doc *doc, const char *service, char *vars[VARS_MAX])
{
	const struct yaml_node *services = yaml_get(yaml_root(doc), "services");
	const struct yaml_node *map = yaml_get(yaml_get(services, service), "environment");

	assert_non_null(map);
	assert_true(map->n && map->n < VARS_MAX);
	for (size_t i = 0; i < map->n; i++) {
		auto_free char *value = filled(map->child[i]->text, NULL);

		assert_true(asprintf(&vars[i], "%s=%s", map->child[i]->key, value) > 0);
	}
}

/* Each program takes what its service is given, to the last variable. */
static void programs_take_their_environment(void **state)
{
	static const char *const services[] = { "mesh", "server", "node" };
	struct yaml_doc *doc = load(vpc);
	static struct md_conf mesh;
	static struct vs_conf server;
	struct node_env node;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		char *vars[VARS_MAX] = { NULL };
		int ret;

		environment_of(doc, services[i], vars);
		ret = i == 0   ? md_conf_env(vars, &mesh, &e)
		      : i == 1 ? vs_conf_env(vars, &server, &e)
			       : node_env_read(vars, &node, &e);
		if (ret < 0)
			fail_msg("%s: %s: %s", services[i], e.where, e.msg);
		if (i == 2)
			assert_string_equal(node.interface, "tailscale1");
		for (size_t k = 0; vars[k]; k++)
			free(vars[k]);
	}
	assert_int_equal(mesh.n_services, 2);
	assert_int_equal(server.evidence.n_collateral, 1);
	yaml_free(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_a_compose_file), cmocka_unit_test(the_daemon_takes_their_configuration),
		cmocka_unit_test(their_policy_is_one),    cmocka_unit_test(the_writer_has_the_policy_of_the_cluster),
		cmocka_unit_test(patroni_is_given_yaml),  cmocka_unit_test(programs_take_their_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
