// SPDX-License-Identifier: Apache-2.0
/* `api: ...`: dstack-vpc's REST API, and the shared key that it hands out. */
#include <errno.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "baileyd/conf_read.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vpcd.h"

#define SHARED_KEY     "/etc/bailey/vpc-shared-key"
#define SHARED_KEY_LEN 64 /* bytes, as dstack-vpc's */
#define SHARED_KEY_MAX 4096
#define LEASE_S        86400

static void apps_read(struct conf_parse *p, const struct yaml_node *map, struct vs_api_conf *api)
{
	static const char needed[] = "needs any, or a list of app-ids (40 hex digits)";
	const struct yaml_node *apps = yaml_get(map, "apps");
	const char *text;

	if (!apps || apps->kind == YAML_SCALAR) {
		text = conf_text(p, map, "apps", true);
		if (text && !pol_apps_parse(&api->apps, text))
			yaml_error(p->doc, apps, p->d, "%s, found '%.100s'", needed, text);
		return;
	}
	apps = yaml_need(p->doc, map, "apps", YAML_LIST, p->d);
	if (apps && !apps->n)
		yaml_error(p->doc, apps, p->d, "%s", needed);
	for (size_t i = 0; apps && i < apps->n; i++) {
		text = yaml_str(p->doc, apps->child[i], p->d);
		if (text && !pol_apps_add(&api->apps, text, strlen(text)))
			yaml_error(p->doc, apps->child[i], p->d, "%s, found '%.100s'", needed, text);
	}
}

bool vs_url_ok(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
			return false;
	return strlen(text) < VS_URL && strncmp(text, "https://", 8) == 0 && text[8];
}

static bool is_any(const struct by_addr *addr)
{
	struct by_addr any4, any6;

	addr_parse(&any4, "0.0.0.0");
	addr_parse(&any6, "::");
	return addr_equal(addr, &any4) || addr_equal(addr, &any6);
}

/* Where it is not said, the address at which this program listens; which must then be one. */
static void url_read(struct conf_parse *p, const struct yaml_node *map, struct vs_conf *conf)
{
	const char *text = conf_text(p, map, "server_url", false);
	char listen[ENDPOINT_TEXT];

	if (text && !vs_url_ok(text))
		yaml_error(p->doc, yaml_get(map, "server_url"), p->d, "needs https://HOST:PORT, found '%.100s'", text);
	else if (text)
		snprintf(conf->api.server_url, sizeof(conf->api.server_url), "%s", text);
	else if (is_any(&conf->listen.addr))
		yaml_error(p->doc, map, p->d,
			   "needs 'server_url': where nodes reach this program is not what it listens at");
	else
		snprintf(conf->api.server_url, sizeof(conf->api.server_url), "https://%s",
			 endpoint_print(&conf->listen, listen));
}

void vs_conf_api(struct conf_parse *p, struct vs_conf *conf)
{
	static const char *const known[] = { "apps", "mesh_user", "server_url", "shared_key", "lease", NULL };
	const struct yaml_node *map = conf_section(p, "api", known, false);
	const char *user;

	if (!map)
		return;
	conf->api.is_on = true;
	apps_read(p, map, &conf->api);
	user = conf_text(p, map, "mesh_user", true);
	snprintf(conf->api.mesh_user, sizeof(conf->api.mesh_user), "%s", user ? user : "");
	url_read(p, map, conf);
	conf_root_path(p, map, "shared_key", conf->api.shared_key, SHARED_KEY);
	conf->api.lease_s = (int64_t)conf_number(p, map, "lease", 60, 31536000, LEASE_S);
}

/* --- the shared key --- */

static int key_make(const char *path, struct err *e)
{
	uint8_t random[SHARED_KEY_LEN];
	char text[BASE64_LEN(SHARED_KEY_LEN)];
	int ret;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return err_at(e, -EIO, path, "no randomness for a shared key");
	base64_print(text, random, sizeof(random));
	ret = file_write(path, text, strlen(text), 0600, e);
	explicit_bzero(random, sizeof(random));
	explicit_bzero(text, sizeof(text));
	if (!ret)
		log_info("%s: a new shared key", path);
	return ret;
}

/* It is a secret of all nodes: a file that others read, or could have written, is none. */
static int key_check(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		return err_at(e, -EPERM, path, "needs to be a file of this user's with mode 0600");
	return 0;
}

int vs_load_api(const struct vs_conf *conf, char **shared_key, struct err *e)
{
	const char *path = conf->api.shared_key;
	size_t len;
	int ret;

	if (!conf->api.is_on)
		return 0;
	if (access(path, F_OK) < 0) {
		if (!conf->etcd.n_endpoints)
			return 0;
		return err_at(e, -ENOENT, path, "is not there: servers that share an etcd need the same shared key");
	}
	ret = key_check(path, e);
	if (!ret)
		ret = file_read(path, SHARED_KEY_MAX, shared_key, &len, e);
	if (ret)
		return ret;
	while (len && ((*shared_key)[len - 1] == '\n' || (*shared_key)[len - 1] == ' '))
		(*shared_key)[--len] = '\0';
	return len ? 0 : err_at(e, -EINVAL, path, "is empty");
}

int vs_make_api(const struct vs_conf *conf, char **shared_key, struct err *e)
{
	int ret = 0;

	if (conf->api.is_on && !*shared_key)
		ret = key_make(conf->api.shared_key, e);
	return ret || *shared_key ? ret : vs_load_api(conf, shared_key, e);
}
