// SPDX-License-Identifier: Apache-2.0
/*
 * dstack-vpc's environment instead of a file: the same variables, ports and trust as its service-mesh container has, so
 * that the container can be swapped. Its other parts are programs beside this one, which read their variables
 * themselves: bailey-vpc, and `bailey up --env`. What none of them does is refused by name.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "conf.h"

#define ANY    "0.0.0.0"
#define SOCKET "/var/run/dstack.sock"
#define LEGACY "/var/run/tappd.sock"
#define ROOTS  "/etc/ssl/certs/ca-certificates.crt"

struct env {
	struct md_conf *conf;
	const char *backend, *server_name;
	char api[MD_HOST_LEN]; /* of bailey-vpc */
	bool has_api;
	uint16_t client_port, server_port;
};

static int backend(struct env *env, const char *value, struct err *e)
{
	(void)e;
	env->backend = value;
	return 0;
}

static int server_name(struct env *env, const char *value, struct err *e)
{
	(void)e;
	env->server_name = strcmp(value, "_") == 0 ? "" : value; /* nginx' name for any */
	return 0;
}

static int gateway(struct env *env, const char *value, struct err *e)
{
	if (strlen(value) >= sizeof(env->conf->gateway) || !md_gateway_parse(value, &env->conf->gateway_at))
		return err_at(e, -EINVAL, NULL, "needs DOMAIN[:PORT] or fixed/HOST[:PORT], found '%.100s'", value);
	strcpy(env->conf->gateway, value);
	return 0;
}

static int agent(struct env *env, const char *value, struct err *e)
{
	if (strncmp(value, "unix:", 5) != 0 || value[5] != '/' || strlen(value + 5) >= sizeof(env->conf->agent))
		return err_at(e, -EINVAL, NULL, "needs unix:/PATH, found '%.100s'", value);
	strcpy(env->conf->agent, value + 5);
	return 0;
}

static int client_port(struct env *env, const char *value, struct err *e)
{
	return env_port(value, &env->client_port, e);
}

static int server_port(struct env *env, const char *value, struct err *e)
{
	return env_port(value, &env->server_port, e);
}

static int ca_switch(struct env *env, const char *value, struct err *e)
{
	return env_flag(value, &env->conf->ca_without_keycertsign, e);
}

static int run(struct env *env, const char *value, struct err *e)
{
	return env_path(value, env->conf->run, sizeof(env->conf->run), e);
}

/* Log level of the Rust program, detection and modules of the scripts: nothing here needs them. */
static int nothing(struct env *env, const char *value, struct err *e)
{
	(void)env, (void)value, (void)e;
	return 0;
}

/* bailey-vpc beside this mesh: its REST API is behind the name that dstack-vpc's nodes ask for. */
static int vpc_server(struct env *env, const char *value, struct err *e)
{
	return env_flag(value, &env->has_api, e);
}

static int vpc_run(struct env *env, const char *value, struct err *e)
{
	if (*value != '/' || strlen(value) + sizeof("unix:/api.sock") >= sizeof(env->api))
		return err_at(e, -EINVAL, NULL, "needs a path from the root, found '%.100s'", value);
	snprintf(env->api, sizeof(env->api), "unix:%s/api.sock", value);
	return 0;
}

static int refused(struct env *env, const char *value, struct err *e)
{
	(void)env, (void)value;
	return err_at(e, -ENOTSUP, NULL, "asks for a part of dstack-vpc that Bailey has otherwise");
}

/* "false" is as good as absent where a switch is refused. */
static const struct {
	const char *name;
	int (*take)(struct env *env, const char *value, struct err *e);
} known[] = {
	{ "MESH_BACKEND", backend },
	{ "DSTACK_MESH_SERVER_NAME", server_name },
	{ "DSTACK_GATEWAY_DOMAIN", gateway },
	{ "DSTACK_AGENT_ADDRESS", agent },
	{ "BAILEY_MESH_CLIENT_PORT", client_port },
	{ "BAILEY_MESH_SERVER_PORT", server_port },
	{ "BAILEY_MESH_RUN", run },
	{ "BAILEY_MESH_CA_WITHOUT_KEYCERTSIGN", ca_switch },
	{ "LOAD_MISSING_MODULES", nothing },
	{ "RUST_LOG", nothing },
	{ "VPC_SERVER_ENABLED", vpc_server },
	{ "BAILEY_VPC_RUN", vpc_run },
	{ "VPC_METRICS_ENABLED", refused },
	{ "DSTACK_VPC_HA_MODE", refused },
	{ "LITESTREAM_S3_BUCKET", refused },
};

static int take(struct env *env, const char *text, struct err *e)
{
	static const char *const families[] = { "MESH_", "BAILEY_MESH_", NULL };
	struct env_var var;

	if (!env_split(&var, text))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!env_is(&var, known[i].name))
			continue;
		if (known[i].take == refused && strcmp(var.value, "false") == 0)
			return 0;
		return known[i].take(env, var.value, e) < 0 ? err_wrap(e, "%s", known[i].name) : 0;
	}
	return env_unknown(&var, families, "bailey-mesh", e);
}

/* Upstream's two names of the server: the newer one, and that of the forks. */
static int api_services(const struct env *env, struct err *e)
{
	static const char *const hosts[] = { "vpc-server", "dstack-vpc-server" };

	for (size_t i = 0; i < ARRAY_LEN(hosts) && env->has_api; i++) {
		struct md_service *s = &env->conf->service[env->conf->n_services++];

		if (!md_unix_parse(&s->backend, env->api))
			return err_at(e, -EINVAL, "BAILEY_VPC_RUN", "is too long");
		snprintf(s->name, sizeof(s->name), "%s", hosts[i]);
		snprintf(s->host, sizeof(s->host), "%s", hosts[i]);
		addr_parse(&s->listen.addr, ANY);
		s->listen.port = s->port = env->server_port;
		s->tell_instance = true;
	}
	return 0;
}

static int service(const struct env *env, struct err *e)
{
	struct md_service *s = &env->conf->service[0];

	if (!env->backend)
		return env->server_name && *env->server_name
			       ? err_at(e, -EINVAL, "DSTACK_MESH_SERVER_NAME", "needs MESH_BACKEND")
			       : 0;
	if (!md_place_parse(&s->backend, env->backend, 80))
		return err_at(e, -EINVAL, "MESH_BACKEND", "needs HOST[:PORT], found '%.100s'", env->backend);
	if (env->server_name && strlen(env->server_name) >= sizeof(s->host))
		return err_at(e, -EINVAL, "DSTACK_MESH_SERVER_NAME", "is too long");
	snprintf(s->host, sizeof(s->host), "%s", env->server_name ? env->server_name : "");
	strcpy(s->name, "backend");
	addr_parse(&s->listen.addr, ANY);
	s->listen.port = env->server_port;
	s->port = env->server_port;
	env->conf->n_services = 1;
	return 0;
}

int md_conf_env(char *const *vars, struct md_conf *conf, struct err *e)
{
	struct md_conf made;
	struct env env = {
		.conf = &made, .client_port = 80, .server_port = 443, .api = "unix:/run/bailey-vpc/api.sock"
	};
	int ret = 0;

	md_conf_defaults(&made);
	for (; *vars && !ret; vars++)
		ret = take(&env, *vars, e);
	if (!ret)
		ret = service(&env, e);
	if (!ret)
		ret = api_services(&env, e);
	if (ret < 0)
		return ret;
	if (!made.agent[0]) {
		made.agent_is_legacy = access(SOCKET, F_OK) < 0 && access(LEGACY, F_OK) == 0;
		strcpy(made.agent, made.agent_is_legacy ? LEGACY : SOCKET);
	}
	/* as its containers do it: who the issuer vouches for comes in, whatever the app; status says that this is
	 * weaker */
	made.trust_ca = true;
	made.with_quote = false;
	made.agent_access = true;
	made.n_client = 1;
	addr_parse(&made.client[0].addr, ANY);
	made.client[0].port = env.client_port;
	if (access(ROOTS, R_OK) == 0)
		strcpy(made.public_ca, ROOTS);
	ret = md_conf_check(&made, e);
	if (!ret)
		*conf = made;
	return ret;
}
