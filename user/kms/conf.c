// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "kms.h"
#include "policy/yaml.h"

#define CONF_FILE_MAX (256 * 1024)
#define TIMEOUT_S     5
#define TIMEOUT_MAX_S 20

struct parse {
	const struct yaml_doc *doc;
	struct diags *d;
	struct kms_conf *conf;
};

static const char *text_of(struct parse *p, const struct yaml_node *map, const char *key, bool is_needed)
{
	const struct yaml_node *node =
		is_needed || yaml_get(map, key) ? yaml_need(p->doc, map, key, YAML_SCALAR, p->d) : NULL;

	return node ? yaml_str(p->doc, node, p->d) : NULL;
}

static void path_read(struct parse *p, const struct yaml_node *map, const char *key, bool is_needed,
		      char path[PATH_MAX])
{
	const char *text = text_of(p, map, key, is_needed);

	if (!text)
		return;
	if (text[0] != '/' || strlen(text) >= PATH_MAX)
		yaml_error(p->doc, yaml_get(map, key), p->d, "needs a path from the root, found '%.100s'", text);
	else
		strcpy(path, text);
}

static const struct yaml_node *section(struct parse *p, const char *key, const char *const *known)
{
	const struct yaml_node *map = yaml_need(p->doc, yaml_root(p->doc), key, YAML_MAP, p->d);

	return map && yaml_known_keys(p->doc, map, known, p->d) ? map : NULL;
}

static void version_read(struct parse *p, const struct yaml_node *root)
{
	const struct yaml_node *node = yaml_need(p->doc, root, "version", YAML_SCALAR, p->d);
	uint64_t v = 0;

	if (node && yaml_uint(p->doc, node, 1000, &v, p->d) && v != 1)
		yaml_error(p->doc, node, p->d, "is %u, this program reads version 1", (unsigned)v);
}

static void address_read(struct parse *p, const struct yaml_node *root)
{
	const char *listen = text_of(p, root, "listen", true), *domain = text_of(p, root, "domain", true);
	size_t len = domain ? strlen(domain) : 0;

	if (listen && !endpoint_parse(&p->conf->listen, listen))
		yaml_error(p->doc, yaml_get(root, "listen"), p->d, "needs ADDRESS:PORT, found '%.100s'", listen);
	if (!domain)
		return;
	/* 64 characters is what a common name holds */
	if (!len || len > 64 ||
	    strspn(domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != len)
		yaml_error(p->doc, yaml_get(root, "domain"), p->d, "needs a DNS name of 1 to 64 characters");
	else
		strcpy(p->conf->domain, domain);
}

static void seal_read(struct parse *p, const struct yaml_node *root)
{
	const char *text = text_of(p, root, "seal", true);

	if (!text)
		return;
	if (strcmp(text, "agent") != 0)
		path_read(p, root, "seal", true, p->conf->key_file);
	else if (!p->conf->agent[0])
		yaml_error(p->doc, yaml_get(root, "seal"), p->d, "agent: needs the key 'agent'");
}

static void authorize_read(struct parse *p)
{
	static const char *const known[] = { "allow", "webhook", "timeout_s", NULL };
	const struct yaml_node *map = section(p, "authorize", known), *timeout;
	const char *url;
	uint64_t s = TIMEOUT_S;

	if (!map)
		return;
	url = text_of(p, map, "webhook", false);
	path_read(p, map, "allow", false, p->conf->allow);
	if (!url == !p->conf->allow[0])
		yaml_error(p->doc, map, p->d, "needs one of allow and webhook");
	else if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		yaml_error(p->doc, yaml_get(map, "webhook"), p->d, "needs an http or https URL");
	else if (url)
		snprintf(p->conf->webhook, sizeof(p->conf->webhook), "%s", url);
	timeout = yaml_get(map, "timeout_s");
	if (timeout && yaml_uint(p->doc, timeout, TIMEOUT_MAX_S, &s, p->d) && !s)
		yaml_error(p->doc, timeout, p->d, "needs 1 to %d seconds", TIMEOUT_MAX_S);
	p->conf->timeout_s = (unsigned)s;
}

static void root_read(struct parse *p)
{
	static const char *const known[] = { "version", "listen",    "domain",  "state",    "agent", "seal",
					     "user",    "authorize", "onboard", "evidence", NULL };
	const struct yaml_node *root = yaml_root(p->doc), *onboard = yaml_get(root, "onboard");
	const char *user;

	if (!yaml_known_keys(p->doc, root, known, p->d))
		return;
	version_read(p, root);
	address_read(p, root);
	path_read(p, root, "state", true, p->conf->state);
	path_read(p, root, "agent", false, p->conf->agent);
	seal_read(p, root);
	user = text_of(p, root, "user", false);
	snprintf(p->conf->user, sizeof(p->conf->user), "%s", user ? user : "nobody");
	evp_paths_read(p->doc, &p->conf->evidence, p->d);
	authorize_read(p);
	if (onboard)
		yaml_bool(p->doc, onboard, &p->conf->onboard, p->d);
}

int kms_conf_parse(const char *file, const char *text, size_t len, struct kms_conf *conf, struct diags *d)
{
	struct kms_conf *made = calloc(1, sizeof(*made));
	struct yaml_doc *doc = NULL;
	struct parse p = { .d = d, .conf = made };
	int ret = made ? yaml_parse(file, text, len, &doc, d) : -ENOMEM;

	if (!ret) {
		p.doc = doc;
		root_read(&p);
		ret = d->n_errors ? -EINVAL : 0;
	}
	if (!ret)
		*conf = *made;
	yaml_free(doc);
	free(made);
	return ret;
}

int kms_conf_load(const char *path, struct kms_conf *conf, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	auto_free char *text = NULL;
	size_t len;
	int ret = file_read(path, CONF_FILE_MAX, &text, &len, e);

	if (ret < 0)
		return ret;
	ret = kms_conf_parse(path, text, len, conf, &d);
	return ret < 0 && diags_first(&d, e) == 0 ? err_at(e, ret, path, "out of memory") : ret;
}
