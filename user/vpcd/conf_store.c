// SPDX-License-Identifier: Apache-2.0
/* `store: { etcd: ... }`: where several servers keep what they know. */
#include <errno.h>
#include <string.h>

#include "baileyd/conf_read.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "vpcd.h"

#define PEM_MAX (1 << 20)
#define PREFIX  "/bailey"

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool is_https(const char *url)
{
	return starts(url, "https://") && url[8];
}

/* Without TLS on this machine only: whoever can write there may revoke and withhold. */
static bool endpoint_ok(const char *url)
{
	return strlen(url) < ETCD_URL && !strpbrk(url, " \t@?#") && url[strlen(url) - 1] != '/' &&
	       (is_https(url) || starts(url, "http://127.") || starts(url, "http://[::1]:") ||
		starts(url, "http://localhost:"));
}

static void endpoints_read(struct conf_parse *p, const struct yaml_node *map, struct etcd_conf *etcd)
{
	const struct yaml_node *list = yaml_need(p->doc, map, "endpoints", YAML_LIST, p->d);

	if (list && (!list->n || list->n > ETCD_ENDPOINTS)) {
		yaml_error(p->doc, list, p->d, "has %zu entries, needs 1 to %d", list->n, ETCD_ENDPOINTS);
		return;
	}
	for (size_t i = 0; list && i < list->n; i++) {
		const char *text = yaml_str(p->doc, list->child[i], p->d);

		if (text && text[0] && endpoint_ok(text))
			snprintf(etcd->endpoint[etcd->n_endpoints++], ETCD_URL, "%s", text);
		else if (text)
			yaml_error(p->doc, list->child[i], p->d,
				   "needs a URL like https://192.0.2.1:2379, or http of a loopback address, found "
				   "'%.100s'",
				   text);
	}
}

static bool prefix_ok(const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return n > 1 && n < ETCD_PREFIX && text[0] == '/' && text[n - 1] != '/';
}

static void prefix_read(struct conf_parse *p, const struct yaml_node *map, struct etcd_conf *etcd)
{
	const char *text = conf_text(p, map, "prefix", false);

	if (text && !prefix_ok(text))
		yaml_error(p->doc, yaml_get(map, "prefix"), p->d, "needs a path like /bailey/net, found '%.100s'",
			   text);
	else
		snprintf(etcd->prefix, sizeof(etcd->prefix), "%s", text ? text : PREFIX);
}

static void etcd_read(struct conf_parse *p, const struct yaml_node *map, struct etcd_conf *etcd)
{
	static const char *const known[] = { "endpoints", "ca", "certificate", "key", "prefix", NULL };
	bool with_tls = false;

	if (!yaml_known_keys(p->doc, map, known, p->d))
		return;
	endpoints_read(p, map, etcd);
	prefix_read(p, map, etcd);
	conf_root_path(p, map, "ca", etcd->ca, "");
	conf_root_path(p, map, "certificate", etcd->certificate, "");
	conf_root_path(p, map, "key", etcd->key, "");
	for (uint32_t i = 0; i < etcd->n_endpoints; i++)
		with_tls = with_tls || is_https(etcd->endpoint[i]);
	if (with_tls && !etcd->ca[0])
		yaml_error(p->doc, map, p->d, "needs 'ca': the certificate that etcd's lead to, and no other");
	if (!etcd->certificate[0] != !etcd->key[0])
		yaml_error(p->doc, map, p->d, "certificate and key go together");
}

void vs_conf_store(struct conf_parse *p, struct vs_conf *conf)
{
	static const char *const known[] = { "etcd", NULL };
	const struct yaml_node *root = yaml_root(p->doc), *map, *etcd;

	if (!yaml_get(root, "store"))
		return;
	map = yaml_need(p->doc, root, "store", YAML_MAP, p->d);
	if (!map || !yaml_known_keys(p->doc, map, known, p->d))
		return;
	etcd = yaml_need(p->doc, map, "etcd", YAML_MAP, p->d);
	if (etcd)
		etcd_read(p, etcd, &conf->etcd);
}

static int pem_load(const char *path, char **pem, struct err *e)
{
	size_t len;

	return path[0] ? file_read(path, PEM_MAX, pem, &len, e) : 0;
}

/* Read by root, before anything is given up: the process that uses the key can not read its file. */
int vs_load_etcd(const struct etcd_conf *conf, struct etcd_pems *pems, struct err *e)
{
	int ret = pem_load(conf->ca, &pems->ca, e);

	if (!ret)
		ret = pem_load(conf->certificate, &pems->certificate, e);
	return ret ? ret : pem_load(conf->key, &pems->key, e);
}

void vs_unload_etcd(struct etcd_pems *pems)
{
	if (pems->key)
		explicit_bzero(pems->key, strlen(pems->key));
	free(take_ptr(pems->ca));
	free(take_ptr(pems->certificate));
	free(take_ptr(pems->key));
}
