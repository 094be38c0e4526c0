// SPDX-License-Identifier: Apache-2.0
#include "node_conf.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node_lists.h"

#define AGENT "/var/run/dstack.sock"

bool node_conf_option(struct node_conf *c, int letter, const char *value)
{
	switch (letter) {
	case 'n':
		c->name = value;
		return true;
	case 'p':
		c->policy = value;
		return true;
	case 'a':
		c->agent = value;
		return true;
	case 'c':
		c->certificate = value;
		return true;
	case 'k':
		c->key = value;
		return true;
	case 'r':
		c->roots = value;
		return true;
	case 'e':
		c->endpoint = value;
		return true;
	default:
		return false;
	}
}

void node_conf_interface(char interface[IF_NAMESIZE], const char *name)
{
	snprintf(interface, IF_NAMESIZE, "by-%.12s", name);
}

static void absolute(const char **path, char buf[PATH_MAX])
{
	char cwd[PATH_MAX];

	if (!*path || **path == '/' || !getcwd(cwd, sizeof(cwd)))
		return;
	if (snprintf(buf, PATH_MAX, "%s/%s", cwd, *path) < PATH_MAX)
		*path = buf;
}

void node_conf_absolute(struct node_conf *c)
{
	const char **const path[] = { &c->policy, &c->agent, &c->certificate, &c->key, &c->roots };
	static char buf[sizeof(path) / sizeof(path[0])][PATH_MAX];

	for (size_t i = 0; i < sizeof(path) / sizeof(path[0]); i++)
		absolute(path[i], buf[i]);
}

static bool is_name(const char *s, size_t max)
{
	return *s && strlen(s) <= max && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(s);
}

/* What stands between quotes in one line of YAML. */
static bool is_plain(const char *s)
{
	for (; s && *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

int node_conf_check(struct node_conf *c, struct err *e)
{
	const char *const paths[] = { c->policy, c->agent, c->certificate, c->key, c->roots };
	struct ip_endpoint endpoints[NODE_ENDPOINTS_MAX];

	if (!is_name(c->name, 31))
		return err_at(e, -EINVAL, "--name", "needs 1 to 31 of a-z, 0-9 and '-', found '%.60s'", c->name);
	if (!is_name(c->interface, IF_NAMESIZE - 1))
		return err_at(e, -EINVAL, "interface", "needs 1 to 15 of a-z, 0-9 and '-', found '%.60s'",
			      c->interface);
	if (!c->policy)
		return err_at(e, -EINVAL, "--policy", "is needed: without a policy nobody reaches anybody");
	if (!c->certificate != !c->key || (c->agent && c->certificate))
		return err_at(e, -EINVAL, "--agent", "or --certificate and --key, not both and not half");
	if (!c->agent && !c->certificate)
		c->agent = AGENT;
	if (c->endpoint && !node_endpoints_parse(c->endpoint, endpoints))
		return err_at(e, -EINVAL, "--endpoint", "needs address:port, or up to %d with commas, found '%.60s'",
			      NODE_ENDPOINTS_MAX, c->endpoint);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (!is_plain(paths[i]))
			return err_at(e, -EINVAL, "path", "has a control character");
	return 0;
}

/* In single quotes, in which only they themselves are special. */
static void put_quoted(struct out *out, const char *s)
{
	out_u8(out, '\'');
	for (; *s; s++)
		out_bytes(out, *s == '\'' ? "''" : s, *s == '\'' ? 2 : 1);
	out_u8(out, '\'');
}

static void put_path(struct out *out, const char *key, const char *value, const char *end)
{
	out_print(out, "%s: ", key);
	put_quoted(out, value);
	out_print(out, "%s", end);
}

static void print_identity(const struct node_conf *c, struct out *out)
{
	out_print(out, "identity: { ");
	if (c->agent) {
		put_path(out, "agent", c->agent, " }\n");
	} else {
		put_path(out, "certificate", c->certificate, ", ");
		put_path(out, "key", c->key, " }\n");
	}
}

static void put_trust(struct out *out, bool *is_open, const char *key, const char *value)
{
	if (!value)
		return;
	out_print(out, *is_open ? ", " : "trust: { ");
	put_path(out, key, value, "");
	*is_open = true;
}

static void print_trust(const struct node_conf *c, struct out *out)
{
	bool is_open = c->roots, is_service = c->collateral && *c->collateral != '/';

	if (c->roots) {
		out_print(out, "trust: { allow_simulated: true, ");
		put_path(out, "simulated_roots", c->roots, "");
	}
	put_trust(out, &is_open, "evidence_policy", c->evidence);
	put_trust(out, &is_open, is_service ? "collateral_service" : "collateral", c->collateral);
	if (is_open)
		out_print(out, " }\n");
}

static void print_endpoints(const char *key, const char *text, uint16_t port, struct out *out)
{
	struct ip_endpoint list[NODE_ENDPOINTS_MAX];
	uint32_t n = text ? node_endpoints_parse(text, list) : 0;
	char buf[ENDPOINT_TEXT];

	for (uint32_t i = 0; i < n; i++) {
		list[i].port = port ? port : list[i].port;
		if (!i)
			out_print(out, "  %s: [", key);
		out_print(out, "%s\"%s\"%s", i ? ", " : "", endpoint_print(&list[i], buf), i + 1 == n ? "]\n" : "");
	}
}

static void print_ways(const struct node_conf *c, struct out *out)
{
	struct node_via via[NODE_VIA_MAX];
	uint32_t n = c->via ? node_via_parse(c->via, via) : 0;
	char from[ENDPOINT_TEXT], to[ENDPOINT_TEXT];

	for (uint32_t i = 0; i < n; i++)
		out_print(out, "%s    \"%s\": \"%s\"\n", i ? "" : "  via:\n", endpoint_print(&via[i].recorded, from),
			  endpoint_print(&via[i].dialled, to));
	if (c->topology)
		out_print(out, "  topology: %s\n", c->topology);
	if (c->hub)
		out_print(out, "  hub: %s\n", c->hub);
}

static void print_overlay(const struct node_conf *c, struct out *out)
{
	char text[ENDPOINT_TEXT];

	out_print(out, "overlay:\n  interface: %s\n  ", c->interface);
	put_path(out, "private_key", c->wg_key, "\n");
	if (c->port)
		out_print(out, "  listen_port: %u\n", c->port);
	if (c->mtu)
		out_print(out, "  mtu: %u\n", c->mtu);
	out_print(out, "  networks: [");
	for (uint32_t i = 0; i < c->n_networks; i++)
		out_print(out, "%s\"%s\"", i ? ", " : "", prefix_print(&c->networks[i], text));
	out_print(out, "]\n");
	for (uint32_t i = 0; i < c->n_addrs; i++)
		out_print(out, "%s\"%s\"", i ? ", " : "  addresses: [", addr_print(&c->addrs[i].addr, text));
	out_print(out, c->n_addrs ? "]\n" : "");
	print_endpoints("endpoints", c->endpoint, 0, out);
	print_ways(c, out);
}

static void print_exchange(const struct node_conf *c, struct out *out)
{
	struct ip_endpoint at;
	char text[ENDPOINT_TEXT];

	if (!c->endpoint && !c->n_peers)
		return;
	out_print(out, "exchange:\n");
	print_endpoints("listen", c->endpoint, EXCHANGE_PORT, out);
	for (uint32_t i = 0; i < c->n_peers; i++) {
		at = c->peers[i];
		at.port = EXCHANGE_PORT;
		out_print(out, "%s    - \"%s\"\n", i ? "" : "  peers:\n", endpoint_print(&at, text));
	}
}

static void print_servers(const struct node_conf *c, struct out *out)
{
	char text[ENDPOINT_TEXT];

	out_print(out, "vpc:\n  app: %s\n  servers: [", c->app);
	for (uint32_t i = 0; i < c->n_servers; i++)
		out_print(out, "%s\"%s\"", i ? ", " : "", endpoint_print(&c->servers[i], text));
	out_print(out, "]\n");
	if (c->host)
		out_print(out, "  host: %s\n", c->host);
	if (c->auth_key) {
		out_print(out, "  ");
		put_path(out, "key", c->auth_key, "\n");
	}
}

static void print_server(const struct node_conf *c, struct out *out)
{
	out_print(out, "vpc: { server: \"%s\", app: %s", c->server, c->app);
	if (c->auth_key) {
		out_print(out, ", ");
		put_path(out, "key", c->auth_key, "");
	}
	out_print(out, " }\n");
}

void node_conf_print(const struct node_conf *c, struct out *out)
{
	out_print(out, "instance: %s\nnode: %s\n", c->name, c->name);
	put_path(out, "policy", c->policy, "\n");
	if (c->state)
		put_path(out, "state", c->state, "\n");
	print_identity(c, out);
	print_trust(c, out);
	print_overlay(c, out);
	if (c->has_dns)
		out_print(out, "dns: {}\n");
	if (c->n_servers)
		print_servers(c, out);
	else if (c->server)
		print_server(c, out);
	else
		print_exchange(c, out);
}
