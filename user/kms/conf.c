// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "baileyd/conf_read.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "kms.h"
#include "policy/yaml.h"

#define CONF_FILE_MAX (256 * 1024)
#define TIMEOUT_S     5
#define TIMEOUT_MAX_S 20

static void address_read(struct conf_parse *p, const struct yaml_node *root, struct kms_conf *c)
{
	const char *listen = conf_text(p, root, "listen", true), *domain = conf_text(p, root, "domain", true);
	size_t len = domain ? strlen(domain) : 0;

	if (listen && !endpoint_parse(&c->listen, listen))
		yaml_error(p->doc, yaml_get(root, "listen"), p->d, "needs ADDRESS:PORT, found '%.100s'", listen);
	if (!domain)
		return;
	/* 64 characters is what a common name holds */
	if (!len || len > 64 ||
	    strspn(domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != len)
		yaml_error(p->doc, yaml_get(root, "domain"), p->d, "needs a DNS name of 1 to 64 characters");
	else
		strcpy(c->domain, domain);
}

static void seal_read(struct conf_parse *p, const struct yaml_node *root, struct kms_conf *c)
{
	const char *text = conf_text(p, root, "seal", true);

	if (!text)
		return;
	if (strcmp(text, "agent") != 0)
		conf_root_path(p, root, "seal", c->key_file, NULL);
	else if (!c->agent[0])
		yaml_error(p->doc, yaml_get(root, "seal"), p->d, "agent: needs the key 'agent'");
}

static void authorize_read(struct conf_parse *p, struct kms_conf *c)
{
	static const char *const known[] = { "allow", "webhook", "timeout_s", NULL };
	const struct yaml_node *map = conf_section(p, "authorize", known, true);
	const char *url;

	if (!map)
		return;
	url = conf_text(p, map, "webhook", false);
	conf_root_path(p, map, "allow", c->allow, "");
	if (!url == !c->allow[0])
		yaml_error(p->doc, map, p->d, "needs one of allow and webhook");
	else if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		yaml_error(p->doc, yaml_get(map, "webhook"), p->d, "needs an http or https URL");
	else if (url)
		snprintf(c->webhook, sizeof(c->webhook), "%s", url);
	c->timeout_s = (unsigned)conf_number(p, map, "timeout_s", 1, TIMEOUT_MAX_S, TIMEOUT_S);
}

static void root_read(struct conf_parse *p, struct kms_conf *c)
{
	static const char *const known[] = { "version", "listen",    "domain",  "state",    "agent", "seal",
					     "user",    "authorize", "onboard", "evidence", NULL };
	const struct yaml_node *root = yaml_root(p->doc), *onboard = yaml_get(root, "onboard");
	const char *user;

	if (!yaml_known_keys(p->doc, root, known, p->d))
		return;
	conf_version(p);
	address_read(p, root, c);
	conf_root_path(p, root, "state", c->state, NULL);
	conf_root_path(p, root, "agent", c->agent, "");
	seal_read(p, root, c);
	user = conf_text(p, root, "user", false);
	snprintf(c->user, sizeof(c->user), "%s", user ? user : "nobody");
	evp_paths_read(p->doc, &c->evidence, p->d);
	authorize_read(p, c);
	if (onboard)
		yaml_bool(p->doc, onboard, &c->onboard, p->d);
}

int kms_conf_parse(const char *file, const char *text, size_t len, struct kms_conf *conf, struct diags *d)
{
	struct kms_conf *made = calloc(1, sizeof(*made));
	struct yaml_doc *doc = NULL;
	struct conf_parse p = { .d = d };
	int ret = made ? yaml_parse(file, text, len, &doc, d) : -ENOMEM;

	if (!ret) {
		p.doc = doc;
		root_read(&p, made);
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
