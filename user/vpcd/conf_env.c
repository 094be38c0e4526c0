// SPDX-License-Identifier: Apache-2.0
/*
 * dstack-vpc's environment instead of a file: the variables with which its container is a VPC server. Who may ask the
 * REST API may join, with a key from there, as it is there. Variables of its other parts are passed over: the same
 * environment starts bailey-mesh and a node.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "base/text.h"
#include "vpcd.h"

#define AGENT     "/var/run/dstack.sock"
#define PORT      8080 /* Headscale's, which their compose files publish */
#define LEASE_S   86400
#define MAX_NODES 100000

struct env {
	struct vs_conf *conf;
	bool is_on, has_apps, is_public;
};

static int text(const char *value, char *to, size_t size, struct err *e)
{
	if (strlen(value) >= size)
		return err_at(e, -EINVAL, NULL, "is longer than %zu characters", size - 1);
	strcpy(to, value);
	return 0;
}

static int enabled(struct env *env, const char *value, struct err *e)
{
	return env_flag(value, &env->is_on, e);
}

static int apps(struct env *env, const char *value, struct err *e)
{
	env->has_apps = pol_apps_parse(&env->conf->api.apps, value);
	return env->has_apps
		       ? 0
		       : err_at(e, -EINVAL, NULL,
				"needs any, or app-ids (40 hex digits) with commas between, found '%.100s'", value);
}

static int port(struct env *env, const char *value, struct err *e)
{
	return env_port(value, &env->conf->listen.port, e);
}

static int url(struct env *env, const char *value, struct err *e)
{
	if (!vs_url_ok(value))
		return err_at(e, -EINVAL, NULL,
			      "needs https://HOST:PORT, where nodes reach this server, found '%.100s'", value);
	return text(value, env->conf->api.server_url, sizeof(env->conf->api.server_url), e);
}

static int gateway(struct env *env, const char *value, struct err *e)
{
	if (strncmp(value, "fixed/", 6) == 0 || strncmp(value, "direct/", 7) == 0)
		return 0; /* the mesh's, which has no gateway then */
	if (strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:") != strlen(value))
		return err_at(e, -EINVAL, NULL, "needs DOMAIN[:PORT], found '%.100s'", value);
	return text(value, env->conf->api.gateway, sizeof(env->conf->api.gateway), e);
}

static int agent(struct env *env, const char *value, struct err *e)
{
	if (strncmp(value, "unix:", 5) != 0)
		return err_at(e, -EINVAL, NULL, "needs unix:/PATH, found '%.100s'", value);
	return env_path(value + 5, env->conf->agent, sizeof(env->conf->agent), e);
}

static int collateral(struct env *env, const char *value, struct err *e)
{
	env->conf->evidence.n_collateral = 1;
	return env_path(value, env->conf->evidence.collateral[0], PATH_MAX, e);
}

static int user(struct env *env, const char *value, struct err *e)
{
	return text(value, env->conf->user, sizeof(env->conf->user), e);
}

static int mesh_user(struct env *env, const char *value, struct err *e)
{
	return text(value, env->conf->api.mesh_user, sizeof(env->conf->api.mesh_user), e);
}

static int pool(struct env *env, const char *value, struct err *e)
{
	return env_flag(value, &env->is_public, e);
}

static int refused(struct env *env, const char *value, struct err *e)
{
	(void)env;
	if (strcmp(value, "false") == 0)
		return 0;
	return err_at(e, -ENOTSUP, NULL,
		      "has no counterpart: several servers share an etcd, by a configuration file, and `bailey-vpc "
		      "backup` copies the database");
}

/* Without a function of its own it is a path, at this place of the configuration. */
static const struct {
	const char *name;
	int (*take)(struct env *env, const char *value, struct err *e);
	size_t path;
} known[] = {
	{ "VPC_SERVER_ENABLED", enabled, 0 },
	{ "VPC_ALLOWED_APPS", apps, 0 },
	{ "VPC_SERVER_PORT", port, 0 },
	{ "VPC_SERVER_URL", url, 0 },
	{ "DSTACK_GATEWAY_DOMAIN", gateway, 0 },
	{ "DSTACK_AGENT_ADDRESS", agent, 0 },
	{ "DSTACK_VPC_HA_MODE", refused, 0 },
	{ "LITESTREAM_S3_BUCKET", refused, 0 },
	{ "BAILEY_VPC_STATE", NULL, offsetof(struct vs_conf, state) },
	{ "BAILEY_VPC_RUN", NULL, offsetof(struct vs_conf, run) },
	{ "BAILEY_VPC_SHARED_KEY", NULL, offsetof(struct vs_conf, api.shared_key) },
	{ "BAILEY_VPC_EVIDENCE", NULL, offsetof(struct vs_conf, evidence.policy) },
	{ "BAILEY_VPC_COLLATERAL", collateral, 0 },
	{ "BAILEY_VPC_SIMULATED_ROOTS", NULL, offsetof(struct vs_conf, evidence.simulated_roots) },
	{ "BAILEY_VPC_USER", user, 0 },
	{ "BAILEY_VPC_MESH_USER", mesh_user, 0 },
	{ "BAILEY_VPC_DSTACK_POOL", pool, 0 },
};

static int take(struct env *env, const char *text, struct err *e)
{
	static const char *const families[] = { "BAILEY_VPC_", NULL };
	struct env_var var;

	if (!env_split(&var, text))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!env_is(&var, known[i].name))
			continue;
		if ((known[i].take ? known[i].take(env, var.value, e)
				   : env_path(var.value, (char *)env->conf + known[i].path, PATH_MAX, e)) < 0)
			return err_wrap(e, "%s", known[i].name);
		return 0;
	}
	return env_unknown(&var, families, "bailey-vpc", e);
}

static int settle(const struct env *env, struct err *e)
{
	struct vs_conf *conf = env->conf;

	if (!env->is_on)
		return err_at(e, -EINVAL, "VPC_SERVER_ENABLED", "is not true: there is nothing to serve");
	if (!env->has_apps)
		return err_at(e, -EINVAL, "VPC_ALLOWED_APPS", "is needed: app-ids with commas between, or any");
	if (!conf->api.server_url[0] && !conf->api.gateway[0])
		return err_at(e, -EINVAL, "VPC_SERVER_URL",
			      "or DSTACK_GATEWAY_DOMAIN is needed: where nodes reach this server");
	vs_conf_pools(conf, env->is_public);
	return 0;
}

int vs_conf_env(char *const *vars, struct vs_conf *conf, struct err *e)
{
	auto_free struct vs_conf *made = calloc(1, sizeof(*made));
	struct env env = { .conf = made };
	int ret = 0;

	if (!made)
		return err_at(e, -ENOMEM, "environment", "out of memory");
	*made = (struct vs_conf){
		.state = "/data/bailey-vpc",
		.run = "/run/bailey-vpc",
		.user = "daemon",
		.agent = AGENT,
		.agent_life_s = LEASE_S,
		.approve = true,
		.max_nodes = MAX_NODES,
		.listen = { .port = PORT },
		.api = { .is_on = true, .mesh_user = "nobody", .shared_key = "/data/shared_key", .lease_s = LEASE_S }
	};
	addr_parse(&made->listen.addr, "0.0.0.0");
	for (; *vars && !ret; vars++)
		ret = take(&env, *vars, e);
	if (!ret)
		ret = settle(&env, e);
	if (!ret)
		*conf = *made;
	return ret;
}

/* Who may ask the REST API may reach the control plane. */
char *vs_admit_text(const struct vs_conf *conf)
{
	char port[16];

	snprintf(port, sizeof(port), "tcp/%u", conf->listen.port);
	return pol_apps_text(&conf->api.apps, "any-attested", port);
}
