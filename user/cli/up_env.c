// SPDX-License-Identifier: Apache-2.0
/*
 * bailey up --env: dstack-vpc's client container. Asks the control plane's REST API for a key, through the mesh as
 * there, writes a configuration, and becomes baileyd. Nobody is in the kernel's way meanwhile: what is pinned decides.
 */
#include <curl/curl.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "cmds.h"
#include "ctl/client.h"
#include "daemon.h"
#include "node_conf.h"
#include "node_env.h"
#include "policy/apps.h"
#include "up.h"

#define INTEL       "https://api.trustedservices.intel.com"
#define SUFFIX      "dstack.internal"
#define ANSWER_MAX  65536
#define CONF_MAX    (256 * 1024)
#define SERVERS_MAX 8
#define PAUSE_MAX_S 60
#define PATIENCE_S  7   /* where there is a configuration of the last time */
#define TELL_S      600 /* an entry of the REST API ends a day after it was told */

DEFINE_CLEANUP(json, json_t, json_decref)
DEFINE_CLEANUP(curl, CURL, curl_easy_cleanup)
DEFINE_CLEANUP(list, struct curl_slist, curl_slist_free_all)
DEFINE_CLEANUP(addrs, struct addrinfo, freeaddrinfo)

#define ID_HEX (2 * BY_INSTANCE_ID_LEN + 1)

struct node {
	struct node_env env;
	char app[ID_HEX], instance[ID_HEX], target[ID_HEX]; /* this node's; the control plane's app */
	char state[PATH_MAX], config[PATH_MAX], policy[PATH_MAX], wg_key[PATH_MAX], auth_key[PATH_MAX];
	char interface[IF_NAMESIZE], socket[PATH_MAX];
	struct node_url server;
	struct ip_endpoint servers[SERVERS_MAX];
	uint32_t n_servers;
	bool has_learned; /* all of this, in this life: the configuration is of now */
};

static int failed(const struct err *e)
{
	fprintf(stderr, "bailey up: %s: %s\n", e->where, e->msg);
	return EXIT_NO;
}

/* --- through the mesh --- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	return out_bytes_max(arg, ANSWER_MAX, data, size * n);
}

static struct curl_slist *headers(const struct node *n)
{
	char target[80];
	struct curl_slist *list;

	if (!n->target[0])
		return NULL; /* the guest agent, which the mesh answers for */
	snprintf(target, sizeof(target), "x-dstack-target-app: %s", n->target);
	list = curl_slist_append(NULL, "Host: vpc-server");
	return list ? curl_slist_append(list, target) : NULL;
}

static int perform(CURL *curl, const char *url, bool is_post, struct out *body, struct err *e)
{
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode code;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	if (is_post)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		return err_at(e, -ECONNREFUSED, NULL, "no answer: %s", why[0] ? why : curl_easy_strerror(code));
	if (status == 403)
		return err_at(e, -EACCES, NULL,
			      "refused (403): this app is not among its VPC_ALLOWED_APPS, or revoked");
	return status == 200 ? 0 : err_at(e, -EPROTO, NULL, "answered with status %ld", status);
}

static int ask(const struct node *n, bool is_post, const char *path, json_t **answer, struct err *e)
{
	auto_call(cleanup_curl) CURL *curl = curl_easy_init();
	auto_call(cleanup_list) struct curl_slist *list = headers(n);
	auto_out struct out body = { 0 };
	char url[1024];
	int ret;

	if (!curl || (n->target[0] && !list))
		return err_at(e, -ENOMEM, "mesh", "out of memory");
	snprintf(url, sizeof(url), "%s%s", n->env.mesh_url, path);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
	ret = perform(curl, url, is_post, &body, e);
	if (!ret)
		*answer = json_loadb((const char *)body.data, body.len, 0, NULL);
	if (!ret && !json_is_object(*answer))
		ret = err_at(e, -EPROTO, NULL, "answered with something that is no JSON object");
	if (body.len)
		explicit_bzero(body.data, body.len); /* it may have keys */
	return ret ? err_wrap(e, "%s%.*s", n->env.mesh_url, (int)strcspn(path, "?"), path) : 0;
}

static int id_take(const json_t *info, const char *key, char to[ID_HEX], struct err *e)
{
	const char *text = json_string_value(json_object_get(info, key));
	uint8_t id[BY_INSTANCE_ID_LEN];

	if (!text || !hex_parse(id, sizeof(id), text))
		return err_at(e, -EPROTO, "guest agent", "tells no %s of 40 hex digits", key);
	hex_print(to, id, sizeof(id));
	return 0;
}

/* Who this node is, and whom it asks. */
static int identify(struct node *n, struct err *e)
{
	auto_call(cleanup_json) json_t *info = NULL;
	bool is_self = strcmp(n->env.server_app, "self") == 0;
	int ret;

	n->target[0] = '\0';
	ret = ask(n, false, "/info", &info, e);
	if (!ret)
		ret = id_take(info, "app_id", n->app, e);
	if (!ret)
		ret = id_take(info, "instance_id", n->instance, e);
	if (!ret)
		snprintf(n->target, sizeof(n->target), "%.40s", is_self ? n->app : n->env.server_app);
	return ret;
}

static int shared_put(const struct node *n, const char *name, const char *text, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.255s/%s", n->env.shared, name);
	return file_write(path, text, strlen(text), 0600, e);
}

/* The files that dstack-vpc's applications look for. */
static int registration_keep(struct node *n, const json_t *o, struct err *e)
{
	static const char *const keys[] = { "pre_auth_key", "shared_key", "server_url" };
	int ret = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys) && !ret; i++) {
		const char *text = json_string_value(json_object_get(o, keys[i]));

		ret = text ? shared_put(n, keys[i], text, e)
			   : err_at(e, -EPROTO, "control plane", "gives no %s", keys[i]);
	}
	if (!ret)
		ret = shared_put(n, "vpc_server_app_id", n->target, e);
	return ret ? ret : shared_put(n, "instance_id", n->instance, e);
}

static int registered(struct node *n, struct err *e)
{
	auto_call(cleanup_json) json_t *o = NULL;
	const char *url = n->env.server_url;
	char path[256];
	int ret;

	snprintf(path, sizeof(path), "/api/register?instance_id=%s&node_name=%s", n->instance, n->env.name);
	ret = ask(n, false, path, &o, e);
	if (!ret)
		ret = registration_keep(n, o, e);
	if (ret)
		return ret;
	if (!url)
		url = json_string_value(json_object_get(o, "server_url"));
	if (!node_url_parse(url, "https://", 443, &n->server))
		return err_at(e, -EPROTO, "server_url", "of the control plane is no https://HOST[:PORT]: '%.100s'",
			      url);
	return 0;
}

static int resolved(struct node *n, struct err *e)
{
	auto_call(cleanup_addrs) struct addrinfo *list = NULL;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	int code = getaddrinfo(n->server.host, NULL, &hints, &list);

	n->n_servers = 0;
	for (const struct addrinfo *a = list; a && n->n_servers < SERVERS_MAX; a = a->ai_next)
		if (endpoint_from_sockaddr(&n->servers[n->n_servers], a->ai_addr))
			n->servers[n->n_servers++].port = n->server.port;
	if (!n->n_servers)
		return err_at(e, -EHOSTUNREACH, n->server.host, "%s", code ? gai_strerror(code) : "has no address");
	return 0;
}

/* --- the configuration --- */

static int policy_write(struct node *n, struct err *e)
{
	struct pol_apps apps = { 0 };
	auto_free char *text = NULL;

	if (n->env.policy)
		return 0;
	if (n->env.apps)
		pol_apps_parse(&apps, n->env.apps); /* was looked at */
	if (!pol_apps_add(&apps, n->app, strlen(n->app)))
		return err_at(e, -EINVAL, "VPC_ALLOWED_APPS", "has no room for this node's own app");
	text = pol_apps_text(&apps, NULL, "any");
	return text ? file_write(n->policy, text, strlen(text), 0644, e)
		    : err_at(e, -ENOMEM, n->policy, "out of memory");
}

static int config_write(struct node *n, struct err *e)
{
	const struct node_env *env = &n->env;
	auto_out struct out text = { 0 };
	struct by_addr literal;
	struct ip_prefix networks[2];
	struct node_conf c = { .name = env->name,
			       .interface = env->interface ? env->interface : n->interface,
			       .policy = env->policy ? env->policy : n->policy,
			       .agent = env->agent,
			       .roots = env->simulated_roots,
			       .wg_key = n->wg_key,
			       .networks = networks,
			       .n_networks = ARRAY_LEN(networks),
			       .endpoint = env->endpoint,
			       .topology = env->topology,
			       .hub = env->hub && strcmp(env->hub, "self") == 0 ? n->app : env->hub,
			       .via = env->via,
			       .app = n->target,
			       .state = n->state,
			       .evidence = env->evidence,
			       .collateral = env->collateral        ? env->collateral
					     : env->simulated_roots ? NULL
								    : INTEL,
			       .servers = n->servers,
			       .n_servers = n->n_servers,
			       .host = addr_parse(&literal, n->server.host) ? NULL : n->server.host,
			       .auth_key = n->auth_key,
			       .has_dns = true };

	prefix_parse(&networks[0], node_env_is_true(env->dstack_pool) ? "100.128.0.0/10" : "100.64.0.0/10");
	prefix_parse(&networks[1], "fdba:11e7::/48");
	node_env_print(environ, &text);
	node_conf_print(&c, &text);
	return out_ok(&text) ? file_write(n->config, text.data, text.len, 0644, e)
			     : err_at(e, -ENOMEM, n->config, "can not be written down");
}

/* Was the configuration that is there written for this environment? */
static bool config_is_ours(const struct node *n)
{
	auto_out struct out head = { 0 };
	auto_free char *there = NULL;
	struct err e = ERR_INIT;
	size_t len;

	node_env_print(environ, &head);
	return out_ok(&head) && file_read(n->config, CONF_MAX, &there, &len, &e) == 0 && len > head.len &&
	       memcmp(there, head.data, head.len) == 0 && there[head.len] != '#';
}

static int learn(struct node *n, struct err *e)
{
	int ret = identify(n, e);

	if (!ret)
		ret = registered(n, e);
	if (!ret)
		ret = resolved(n, e);
	if (!ret)
		ret = policy_write(n, e);
	if (!ret)
		ret = config_write(n, e);
	n->has_learned |= !ret;
	return ret;
}

/* For ever, unless there is what was learned the last time: a node goes on without its control plane. */
static void learn_at_last(struct node *n)
{
	bool has_last = config_is_ours(n);
	time_t start = time(NULL);

	for (unsigned pause = 1;; pause = pause < PAUSE_MAX_S / 2 ? 2 * pause : PAUSE_MAX_S) {
		struct err e = ERR_INIT;

		if (learn(n, &e) == 0)
			return;
		failed(&e);
		if (has_last && time(NULL) - start >= PATIENCE_S) {
			fprintf(stderr, "bailey up: goes on with %s of the last time\n", n->config);
			return;
		}
		sleep(pause);
	}
}

/* --- once it has joined --- */

static int tell(struct node *n, const char *addr, struct err *e)
{
	auto_call(cleanup_json) json_t *o = NULL;
	char path[512], name[64];
	int ret;

	snprintf(name, sizeof(name), "%s." SUFFIX, n->env.name);
	ret = shared_put(n, "tailscale_ip", addr, e);
	if (!ret)
		ret = shared_put(n, "actual_hostname", name, e);
	if (ret || !n->env.type)
		return ret;
	snprintf(path, sizeof(path), "/api/nodes/update?uuid=%s&node_type=%s&hostname=%s&tailscale_ip=%s", n->instance,
		 n->env.type, name, addr);
	ret = identify(n, e); /* again: it may not have been asked */
	return ret ? ret : ask(n, true, path, &o, e);
}

/* --- where the control plane is, as long as nobody answers there --- */

static bool is_same_set(const struct ip_endpoint *a, uint32_t n_a, const struct ip_endpoint *b, uint32_t n_b)
{
	for (uint32_t i = 0; i < n_a; i++) {
		uint32_t k = 0;

		while (k < n_b && !endpoint_equal(&a[i], &b[k]))
			k++;
		if (k == n_b)
			return false;
	}
	return n_a == n_b;
}

/* The name's addresses may be others now; who began with the configuration of the last time asks for all of it. */
static int look_again(struct node *n, struct err *e)
{
	auto_call(cleanup_json) json_t *answer = NULL;
	struct ip_endpoint before[SERVERS_MAX];
	uint32_t n_before = n->n_servers;
	bool is_new = !n->has_learned;
	int ret;

	memcpy(before, n->servers, sizeof(before));
	ret = is_new ? learn(n, e) : resolved(n, e);
	is_new |= !ret && !is_same_set(before, n_before, n->servers, n->n_servers);
	if (!ret && is_new)
		ret = config_write(n, e);
	if (!ret && is_new)
		ret = ctl_call(n->socket, "POST", "/v1/vpc/reload", &answer, e);
	if (!ret && is_new) {
		fprintf(stderr, "bailey up: the control plane is looked for at other addresses of %s\n",
			n->server.host);
		return 0;
	}
	memcpy(n->servers, before,
	       sizeof(before)); /* as baileyd has it: it is not told what is only in another order */
	n->n_servers = n_before;
	return ret;
}

/* --- beside baileyd --- */

struct keep {
	time_t look_at, tell_at;
	unsigned pause;
	bool is_told;
};

static void keep_looking(struct node *n, struct keep *k, const json_t *status)
{
	struct err e = ERR_INIT;

	if (json_is_true(json_object_get(json_object_get(status, "vpc"), "connected"))) {
		k->pause = 1;
		return;
	}
	if (time(NULL) < k->look_at)
		return;
	if (look_again(n, &e) < 0)
		failed(&e);
	k->look_at = time(NULL) + k->pause;
	k->pause = k->pause < PAUSE_MAX_S / 2 ? 2 * k->pause : PAUSE_MAX_S;
}

static void keep_telling(struct node *n, struct keep *k, const json_t *status)
{
	const json_t *addrs = json_object_get(json_object_get(status, "overlay"), "addresses");
	const char *addr = json_string_value(json_array_get(addrs, 0));
	struct err e = ERR_INIT;
	int ret;

	if (k->is_told || time(NULL) < k->tell_at || !addr || !up_has_joined(status))
		return;
	ret = tell(n, addr, &e);
	if (ret)
		failed(&e);
	k->is_told = !ret && !n->env.type;
	k->tell_at = time(NULL) + (ret ? PAUSE_MAX_S : TELL_S);
}

/*
 * A child that ends with baileyd: finds the control plane again where its name leads elsewhere, and tells it what this
 * node is as long as it is one. Names are asked for here, where it may take its time: baileyd itself dials addresses.
 */
static void keeper(struct node *n)
{
	struct keep k = { .pause = 1 };

	for (;; sleep(1)) {
		auto_call(cleanup_json) json_t *status = up_ask(n->socket);

		if (!status)
			continue;
		keep_looking(n, &k, status);
		keep_telling(n, &k, status);
	}
}

static int become(struct node *n, struct err *e)
{
	char program[PATH_MAX];
	pid_t self = getpid(), pid;

	if (up_daemon_find(program, e) < 0)
		return e->code;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == self)
			keeper(n);
		_exit(0);
	}
	if (pid < 0)
		return err_at(e, -errno, "fork", "%s", strerror(errno));
	execl(program, "baileyd", "-c", n->config, (char *)NULL);
	return err_at(e, -errno, program, "%s", strerror(errno));
}

static void on_stop(int sig)
{
	_exit(128 + sig);
}

/* In place of the one that the control plane gives. */
static int authkey_place(struct node *n, struct err *e)
{
	char keep[PATH_MAX];
	int ret;

	snprintf(keep, sizeof(keep), "%.255s/authkey", n->state);
	ret = up_authkey(n->env.authkey, keep, n->auth_key, e);
	if (!ret)
		ret = up_authkey_keep(n->env.authkey, n->auth_key, e);
	up_authkey_forget(getenv("BAILEY_NODE_AUTHKEY"));
	return ret;
}

static int place(struct node *n, struct err *e)
{
	const struct node_env *env = &n->env;

	if (env->state)
		snprintf(n->state, sizeof(n->state), "%s", env->state);
	else
		snprintf(n->state, sizeof(n->state), "/var/lib/bailey/%s", env->name);
	snprintf(n->config, sizeof(n->config), "%.255s/env.yaml", n->state);
	snprintf(n->policy, sizeof(n->policy), "%.255s/env-policy.yaml", n->state);
	snprintf(n->wg_key, sizeof(n->wg_key), "%.255s/wg.key", n->state);
	snprintf(n->auth_key, sizeof(n->auth_key), "%.255s/pre_auth_key", env->shared);
	node_conf_interface(n->interface, env->name);
	snprintf(n->socket, sizeof(n->socket), "/run/bailey/%s/ctl.sock", env->name);
	if (dir_make(n->state, 0700, e) < 0 || dir_make(env->shared, 0755, e) < 0)
		return e->code;
	return env->authkey ? authkey_place(n, e) : 0;
}

int up_env(void)
{
	struct node n = { 0 };
	struct err e = ERR_INIT;

	if (node_env_read(environ, &n.env, &e) < 0)
		return failed(&e);
	if (geteuid() != 0)
		return failed(&(struct err){ .where = "user", .msg = "needs root, for the network device and BPF" });
	/* as process 1 of a container it would not be ended by them otherwise */
	signal(SIGTERM, on_stop);
	signal(SIGINT, on_stop);
	if (place(&n, &e) == 0) {
		learn_at_last(&n);
		become(&n, &e);
	}
	return failed(&e);
}
