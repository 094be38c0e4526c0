// SPDX-License-Identifier: Apache-2.0
#include "node_env.h"

#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "base/text.h"
#include "node_lists.h"
#include "policy/apps.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz0123456789-"
#define LETTER LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_of(const char *s, const char *letters, size_t max)
{
	return strlen(s) <= max && strspn(s, letters) == strlen(s);
}

bool node_env_is_true(const char *value)
{
	return value && strcmp(value, "true") == 0;
}

static bool is_flag(const char *s)
{
	return node_env_is_true(s) || strcmp(s, "false") == 0;
}

static bool is_name(const char *s)
{
	return is_of(s, LOWER, 31) && *s != '-';
}

static bool is_type(const char *s)
{
	return is_of(s, LETTER "._", 63);
}

static bool is_interface(const char *s)
{
	return is_of(s, LOWER, IF_NAMESIZE - 1);
}

static bool is_app(const char *s)
{
	uint8_t id[BY_APP_ID_LEN];

	return strcmp(s, "self") == 0 || hex_parse(id, sizeof(id), s);
}

static bool is_apps(const char *s)
{
	struct pol_apps apps = { 0 };

	return pol_apps_parse(&apps, s);
}

/* ":PORT", or nothing: the port that stays. What is behind it, NULL: malformed. */
static const char *port_take(const char *at, uint16_t *port)
{
	unsigned long n;
	char *end;

	if (*at != ':')
		return at;
	if (at[1] < '0' || at[1] > '9')
		return NULL;
	n = strtoul(at + 1, &end, 10);
	*port = (uint16_t)n;
	return n && n <= 65535 ? end : NULL;
}

bool node_url_parse(const char *text, const char *scheme, uint16_t port, struct node_url *url)
{
	size_t skip = strlen(scheme), len;
	bool is_v6;

	if (strncmp(text, scheme, skip) != 0)
		return false;
	text += skip;
	is_v6 = *text == '[';
	text += is_v6;
	len = strspn(text, is_v6 ? "0123456789abcdefABCDEF:." : LETTER ".");
	if (!len || len >= sizeof(url->host) || (is_v6 && text[len] != ']'))
		return false;
	memcpy(url->host, text, len);
	url->host[len] = '\0';
	url->port = port;
	text = port_take(text + len + is_v6, &url->port);
	return text && (!*text || strcmp(text, "/") == 0);
}

static bool is_https(const char *s)
{
	struct node_url url;

	return node_url_parse(s, "https://", 443, &url);
}

static bool is_http(const char *s)
{
	struct node_url url;

	return node_url_parse(s, "http://", 80, &url) && s[strlen(s) - 1] != '/';
}

static bool is_path(const char *s)
{
	for (const char *c = s; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	return *s == '/' && strlen(s) < 256;
}

static bool is_agent(const char *s)
{
	return strncmp(s, "unix:", 5) == 0 && is_path(s + 5);
}

static bool is_collateral(const char *s)
{
	return is_path(s) || is_https(s);
}

static bool is_endpoints(const char *s)
{
	struct ip_endpoint list[NODE_ENDPOINTS_MAX];

	return node_endpoints_parse(s, list);
}

static bool is_via(const char *s)
{
	struct node_via list[NODE_VIA_MAX];

	return node_via_parse(s, list);
}

static bool is_topology(const char *s)
{
	return strcmp(s, "mesh") == 0 || strcmp(s, "hub") == 0 || strcmp(s, "spoke") == 0;
}

bool node_authkey_ok(const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] > '~')
			return false;
	return len >= 16 && len <= 127;
}

static bool is_authkey(const char *s)
{
	return strncmp(s, "file:", 5) == 0 ? is_path(s + 5) : node_authkey_ok(s);
}

#define AT(member) offsetof(struct node_env, member)

static const struct {
	const char *name;
	size_t at;
	bool (*good)(const char *value);
	const char *needs;
} known[] = {
	{ "VPC_NODE_NAME", AT(name), is_name, "1 to 31 of a-z, 0-9 and '-'" },
	{ "VPC_NODE_TYPE", AT(type), is_type, "letters, digits, '-', '_' and '.', at most 63" },
	{ "VPC_SERVER_APP_ID", AT(server_app), is_app, "the control plane's app-id, 40 hex digits, or self" },
	{ "VPC_SERVER_URL", AT(server_url), is_https, "https://HOST[:PORT]" },
	{ "VPC_ALLOWED_APPS", AT(apps), is_apps, "any, or app-ids (40 hex digits) with commas between" },
	{ "DSTACK_MESH_URL", AT(mesh_url), is_http, "http://HOST[:PORT]" },
	{ "DSTACK_AGENT_ADDRESS", AT(agent), is_agent, "unix:/PATH" },
	{ "TUN_DEV_NAME", AT(interface), is_interface, "1 to 15 of a-z, 0-9 and '-'" },
	{ "BAILEY_NODE_ENDPOINT", AT(endpoint), is_endpoints, "ADDRESS:PORT, or up to 4 with commas between" },
	{ "BAILEY_NODE_VIA", AT(via), is_via, "ADDRESS:PORT=ADDRESS:PORT, or up to 64 with commas between" },
	{ "BAILEY_NODE_TOPOLOGY", AT(topology), is_topology, "mesh, hub or spoke" },
	{ "BAILEY_NODE_HUB", AT(hub), is_app, "the hub's app-id, 40 hex digits, or self" },
	{ "BAILEY_NODE_AUTHKEY", AT(authkey), is_authkey, "16 to 127 characters without blanks, or file:/PATH" },
	{ "BAILEY_NODE_DSTACK_POOL", AT(dstack_pool), is_flag, "true or false" },
	{ "BAILEY_NODE_POLICY", AT(policy), is_path, "a path from the root" },
	{ "BAILEY_NODE_STATE", AT(state), is_path, "a path from the root" },
	{ "BAILEY_NODE_SHARED", AT(shared), is_path, "a path from the root" },
	{ "BAILEY_NODE_EVIDENCE", AT(evidence), is_path, "a path from the root" },
	{ "BAILEY_NODE_COLLATERAL", AT(collateral), is_collateral, "a path from the root, or https://HOST[:PORT]" },
	{ "BAILEY_NODE_SIMULATED_ROOTS", AT(simulated_roots), is_path, "a path from the root" },
};

/* Neither repeated nor written down, but for the name of a file. */
static bool is_shown(size_t i, const char *value)
{
	return known[i].good != is_authkey || strncmp(value, "file:", 5) == 0;
}

static int take(struct node_env *env, const char *text, struct err *e)
{
	static const char *const families[] = { "VPC_NODE_", "BAILEY_NODE_", NULL };
	struct env_var var;

	if (!env_split(&var, text))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!env_is(&var, known[i].name))
			continue;
		if (!known[i].good(var.value))
			return err_at(e, -EINVAL, known[i].name, "needs %s, found '%.60s'", known[i].needs,
				      is_shown(i, var.value) ? var.value : "another");
		*(const char **)((char *)env + known[i].at) = var.value;
		return 0;
	}
	return env_unknown(&var, families, "a node", e);
}

int node_env_read(char *const *vars, struct node_env *env, struct err *e)
{
	struct node_env made = { .mesh_url = "http://127.0.0.1",
				 .agent = "unix:/var/run/dstack.sock",
				 .shared = "/shared" };

	for (; *vars; vars++)
		if (take(&made, *vars, e) < 0)
			return e->code;
	if (!made.name)
		return err_at(e, -EINVAL, "VPC_NODE_NAME", "is needed: what this node is called");
	if (!made.server_app)
		return err_at(e, -EINVAL, "VPC_SERVER_APP_ID", "is needed: the control plane's app-id, or self");
	if (!made.hub != !(made.topology && strcmp(made.topology, "spoke") == 0))
		return err_at(e, -EINVAL, "BAILEY_NODE_HUB",
			      made.hub ? "is what a spoke says of its hub, with BAILEY_NODE_TOPOLOGY=spoke"
				       : "is needed: the app-id of this spoke's hub");
	made.agent += strlen("unix:");
	*env = made;
	return 0;
}

void node_env_print(char *const *vars, struct out *out)
{
	struct env_var var;

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		for (char *const *v = vars; *v; v++) {
			if (env_split(&var, *v) && env_is(&var, known[i].name) && is_shown(i, var.value))
				out_print(out, "# %s\n", *v);
		}
	}
}
