// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "baileyd/conf_read.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "policy/sources.h"
#include "policy/yaml.h"
#include "vpcd.h"

#define CONF_FILE_MAX (256 * 1024)
#define PEM_MAX       (1 << 20)
#define MAX_NODES     100000
#define AGENT_LIFE_S  86400
#define POOL4         "100.64.0.0/10"  /* RFC 6598: nobody routes it */
#define POOL4_PUBLIC  "100.128.0.0/10" /* dstack-vpc's: addresses that others own */
#define POOL6         "fdba:11e7::/48"
#define NUMBERS_MAX   UINT32_C(0x7fffffff)

static void listen_read(struct conf_parse *p, const struct yaml_node *root, struct vs_conf *c)
{
	const char *listen = conf_text(p, root, "listen", true);

	if (listen && !endpoint_parse(&c->listen, listen))
		yaml_error(p->doc, yaml_get(root, "listen"), p->d, "needs ADDRESS:PORT, found '%.100s'", listen);
}

static void identity_read(struct conf_parse *p, const struct yaml_node *root, struct vs_conf *c)
{
	static const char *const known[] = { "certificate", "key", "agent", "lifetime", NULL };
	const struct yaml_node *map = yaml_need(p->doc, root, "identity", YAML_MAP, p->d);

	if (!map || !yaml_known_keys(p->doc, map, known, p->d))
		return;
	c->agent_life_s = (uint32_t)conf_number(p, map, "lifetime", 30, ID_RECORD_LIFE_MAX_S, AGENT_LIFE_S);
	if (!yaml_get(map, "agent")) {
		conf_root_path(p, map, "certificate", c->certificate, NULL);
		conf_root_path(p, map, "key", c->key, NULL);
		return;
	}
	conf_root_path(p, map, "agent", c->agent, NULL);
	if (yaml_get(map, "certificate") || yaml_get(map, "key"))
		yaml_error(p->doc, map, p->d, "agent stands in place of certificate and key");
}

/* --- addresses --- */

static unsigned host_bits(const struct ip_prefix *pool)
{
	return (addr_is_v4(&pool->addr) ? 32u : 128u) - pool->bits;
}

/* Number 0 is the network, and in IPv4 the last one is the broadcast address. */
static uint32_t numbers_of(const struct ip_prefix *pool)
{
	unsigned bits = host_bits(pool);

	return bits > 30 ? NUMBERS_MAX : (1u << bits) - 2;
}

uint32_t vs_conf_numbers(const struct vs_conf *conf)
{
	uint32_t least = NUMBERS_MAX;

	for (uint32_t i = 0; i < conf->n_pools; i++)
		if (numbers_of(&conf->pools[i]) < least)
			least = numbers_of(&conf->pools[i]);
	return least;
}

struct by_addr vs_conf_address(const struct vs_conf *conf, uint32_t pool, uint32_t number)
{
	struct by_addr a = conf->pools[pool].addr;

	for (int i = 15; i > 11; i--, number >>= 8)
		a.b[i] |= (uint8_t)number;
	return a;
}

static bool is_base(const struct ip_prefix *pool)
{
	struct ip_prefix whole = *pool;
	unsigned bits = host_bits(pool);

	for (unsigned i = 0; i < bits; i++)
		whole.addr.b[15 - i / 8] &= (uint8_t) ~(1u << i % 8);
	return addr_equal(&whole.addr, &pool->addr);
}

static bool pool_take(struct vs_conf *conf, const char *text)
{
	struct ip_prefix *pool = &conf->pools[conf->n_pools];

	if (!prefix_parse(pool, text) || host_bits(pool) < 3 || !is_base(pool))
		return false;
	conf->n_pools++;
	return true;
}

void vs_conf_pools(struct vs_conf *conf, bool is_public)
{
	conf->has_public_pool = is_public;
	pool_take(conf, is_public ? POOL4_PUBLIC : POOL4);
	pool_take(conf, POOL6);
}

static void pools_read(struct conf_parse *p, const struct yaml_node *root, struct vs_conf *c)
{
	const struct yaml_node *list = yaml_get(root, "pools"), *pub = yaml_get(root, "dstack_pool");

	if (pub)
		yaml_bool(p->doc, pub, &c->has_public_pool, p->d);
	if (list && c->has_public_pool)
		yaml_error(p->doc, pub, p->d, "stands in place of pools");
	if (!list) {
		vs_conf_pools(c, c->has_public_pool);
		return;
	}
	list = yaml_need(p->doc, root, "pools", YAML_LIST, p->d);
	if (list && (!list->n || list->n > ID_MAX_ADDRS)) {
		yaml_error(p->doc, list, p->d, "has %zu entries, needs 1 to %d", list->n, ID_MAX_ADDRS);
		return;
	}
	for (size_t i = 0; list && i < list->n; i++) {
		const char *text = yaml_str(p->doc, list->child[i], p->d);

		if (text && !pool_take(c, text))
			yaml_error(p->doc, list->child[i], p->d,
				   "needs a prefix like 100.64.0.0/10 with room for 6 nodes, found '%.60s'", text);
	}
}

/* --- the whole --- */

static void root_read(struct conf_parse *p, struct vs_conf *c)
{
	static const char *const known[] = { "version",     "listen",    "state", "run",     "user",
					     "identity",    "evidence",  "admit", "approve", "pools",
					     "dstack_pool", "max_nodes", "store", "api",     NULL };
	const struct yaml_node *root = yaml_root(p->doc), *approve = yaml_get(root, "approve");
	const char *user;

	if (!yaml_known_keys(p->doc, root, known, p->d))
		return;
	conf_version(p);
	listen_read(p, root, c);
	conf_root_path(p, root, "state", c->state, "/var/lib/bailey-vpc");
	conf_root_path(p, root, "run", c->run, "/run/bailey-vpc");
	user = conf_text(p, root, "user", false);
	snprintf(c->user, sizeof(c->user), "%s", user ? user : "nobody");
	identity_read(p, root, c);
	evp_paths_read(p->doc, &c->evidence, p->d);
	conf_root_path(p, root, "admit", c->admit, NULL);
	if (approve)
		yaml_bool(p->doc, approve, &c->approve, p->d);
	pools_read(p, root, c);
	c->max_nodes = (uint32_t)conf_number(p, root, "max_nodes", 1, BY_MAX_IDENTITIES, MAX_NODES);
	vs_conf_store(p, c);
	vs_conf_api(p, c);
}

int vs_conf_parse(const char *file, const char *text, size_t len, struct vs_conf *conf, struct diags *d)
{
	auto_free struct vs_conf *made = calloc(1, sizeof(*made));
	struct yaml_doc *doc = NULL;
	struct conf_parse p = { .d = d };
	int ret = made ? yaml_parse(file, text, len, &doc, d) : -ENOMEM;

	if (ret)
		return ret;
	p.doc = doc;
	if (yaml_root(doc)->kind == YAML_MAP)
		root_read(&p, made);
	else
		yaml_error(doc, yaml_root(doc), d, "needs a map of settings");
	yaml_free(doc);
	if (d->n_errors)
		return -EINVAL;
	*conf = *made;
	return 0;
}

int vs_conf_load(const char *path, struct vs_conf *conf, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	auto_free char *text = NULL;
	size_t len;
	int ret = file_read(path, CONF_FILE_MAX, &text, &len, e);

	if (ret < 0)
		return ret;
	ret = vs_conf_parse(path, text, len, conf, &d);
	return ret < 0 && diags_first(&d, e) == 0 ? err_at(e, ret, path, "out of memory") : ret;
}

/* --- what it names --- */

/* From the environment there is no file of rules. */
static int admit_read(const struct vs_conf *conf, char **text, size_t *len, struct err *e)
{
	if (conf->admit[0])
		return file_read(conf->admit, POL_TEXT_MAX, text, len, e);
	*text = vs_admit_text(conf);
	*len = *text ? strlen(*text) : 0;
	return *text ? 0 : err_at(e, -ENOMEM, "VPC_ALLOWED_APPS", "out of memory");
}

static int admit_load(const struct vs_conf *conf, struct pol_model **model, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	const char *path = conf->admit[0] ? conf->admit : "VPC_ALLOWED_APPS";
	auto_free char *text = NULL;
	size_t len;
	int ret = admit_read(conf, &text, &len, e);

	if (ret < 0)
		return ret;
	ret = pol_parse(path, text, len, model, &d);
	return ret < 0 && diags_first(&d, e) == 0 ? err_at(e, ret, path, "out of memory") : ret;
}

int vs_load(const char *path, struct vs_loaded *loaded, struct err *e)
{
	struct vs_conf *c = &loaded->conf;
	size_t len;
	int ret = path ? vs_conf_load(path, c, e) : vs_conf_env(environ, c, e);

	if (!ret)
		ret = evp_files_load(&c->evidence, &loaded->evidence, e);
	if (!ret)
		ret = admit_load(c, &loaded->admit, e);
	if (!ret && !c->agent[0])
		ret = file_read(c->certificate, PEM_MAX, &loaded->cert_pem, &len, e);
	if (!ret && !c->agent[0])
		ret = file_read(c->key, PEM_MAX, &loaded->key_pem, &len, e);
	if (!ret)
		ret = vs_load_etcd(&c->etcd, &loaded->etcd, e);
	if (!ret)
		ret = vs_load_api(c, &loaded->shared_key, e);
	if (!ret && c->has_public_pool)
		log_warn("dstack_pool: " POOL4_PUBLIC
			 " is public address space of others, whom the nodes can not reach; "
			 "it is for networks that have it already");
	return ret;
}

void vs_unload(struct vs_loaded *loaded)
{
	evp_files_fini(&loaded->evidence);
	pol_free(loaded->admit);
	free(loaded->cert_pem);
	if (loaded->key_pem)
		explicit_bzero(loaded->key_pem, strlen(loaded->key_pem));
	free(loaded->key_pem);
	if (loaded->shared_key)
		explicit_bzero(loaded->shared_key, strlen(loaded->shared_key));
	free(take_ptr(loaded->shared_key));
	vs_unload_etcd(&loaded->etcd);
}

void vs_store_path(const struct vs_conf *conf, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/vpc.db", PATH_MAX - 16, conf->state);
}
