// SPDX-License-Identifier: Apache-2.0
#include "conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "conf_read.h"

/* One path, or a list of them. */
static void read_policy(struct conf_parse *p, const struct yaml_node *map)
{
	const struct yaml_node *list = yaml_get(map, "policy");
	struct conf *c = p->conf;

	if (!list || list->kind != YAML_LIST) {
		conf_path(p, map, "policy", c->policy[0], NULL);
		c->n_policy = 1;
		return;
	}
	if (!list->n || list->n > CONF_MAX_POLICY) {
		yaml_error(p->doc, list, p->d, "has %zu entries, needs 1 to %d", list->n, CONF_MAX_POLICY);
		return;
	}
	for (size_t i = 0; i < list->n; i++) {
		const char *s = yaml_str(p->doc, list->child[i], p->d);

		if (s)
			conf_take_path(p, list->child[i], s, c->policy[c->n_policy++]);
	}
}

static bool take_network(struct conf *conf, uint32_t i, const char *text)
{
	return prefix_parse(&conf->networks[i], text);
}

static bool take_addr(struct conf *conf, uint32_t i, const char *text)
{
	return addr_parse(&conf->addrs[i], text) && conf_network_of(conf, &conf->addrs[i]);
}

static bool take_endpoint(struct conf *conf, uint32_t i, const char *text)
{
	return endpoint_parse(&conf->endpoints[i], text);
}

static bool take_listen(struct conf *conf, uint32_t i, const char *text)
{
	return endpoint_parse(&conf->listen[i], text);
}

static bool take_peer(struct conf *conf, uint32_t i, const char *text)
{
	return endpoint_parse(&conf->peers[i], text);
}

const struct ip_prefix *conf_network_of(const struct conf *conf, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < conf->n_networks; i++)
		if (addr_in_prefix(addr, &conf->networks[i]))
			return &conf->networks[i];
	return NULL;
}

static void read_agent(struct conf_parse *p, const struct yaml_node *map)
{
	const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	struct conf *c = p->conf;
	const char *name;

	conf_path(p, map, "agent", c->agent, "");
	name = strrchr(c->agent, '/');
	c->agent_is_legacy = name && strcmp(name, "/tappd.sock") == 0;
	if (strlen(c->agent) > max)
		yaml_error(p->doc, yaml_get(map, "agent"), p->d,
			   "path is longer than %zu bytes, the limit for a socket", max);
	if (yaml_get(map, "certificate") || yaml_get(map, "key"))
		yaml_error(p->doc, map, p->d, "agent stands in place of certificate and key");
	c->agent_life_s = (uint32_t)conf_number(p, map, "lifetime", 30, ID_RECORD_LIFE_MAX_S, 86400);
}

static void read_identity(struct conf_parse *p)
{
	static const char *const known[] = { "certificate", "key", "agent", "lifetime", NULL };
	const struct yaml_node *map = conf_section(p, "identity", known, true);

	if (!map)
		return;
	if (yaml_get(map, "agent")) {
		read_agent(p, map);
		return;
	}
	if (yaml_get(map, "lifetime"))
		yaml_error(p->doc, yaml_get(map, "lifetime"), p->d, "is of certificates from an agent");
	conf_path(p, map, "certificate", p->conf->certificate, NULL);
	conf_path(p, map, "key", p->conf->key, NULL);
}

static void read_url(struct conf_parse *p, const struct yaml_node *map, const char *key, char dst[CONF_URL_LEN])
{
	const char *s = conf_text(p, map, key, false);

	if (!s)
		return;
	if (strncmp(s, "https://", 8) != 0 && strncmp(s, "http://", 7) != 0)
		yaml_error(p->doc, yaml_get(map, key), p->d,
			   "needs an address like https://pccs.example:8081, found '%s'", s);
	else if (snprintf(dst, CONF_URL_LEN, "%s", s) >= CONF_URL_LEN)
		yaml_error(p->doc, yaml_get(map, key), p->d, "is longer than %d bytes", CONF_URL_LEN - 1);
}

static void read_collateral(struct conf_parse *p, const struct yaml_node *map)
{
	struct conf *c = p->conf;

	conf_path(p, map, "evidence_policy", c->evidence_policy, "");
	conf_path(p, map, "collateral", c->collateral, "");
	read_url(p, map, "collateral_service", c->pcs_url);
	read_url(p, map, "root_crl", c->pcs_root_crl);
	conf_path(p, map, "service_ca", c->pcs_ca, "");
	if (!c->pcs_url[0] && (c->pcs_root_crl[0] || c->pcs_ca[0]))
		yaml_error(p->doc, map, p->d, "root_crl and service_ca are of a collateral_service, and there is none");
}

static void read_trust(struct conf_parse *p)
{
	static const char *const known[] = { "allow_simulated",    "simulated_roots", "evidence_policy", "collateral",
					     "collateral_service", "root_crl",        "service_ca",      NULL };
	const struct yaml_node *map = conf_section(p, "trust", known, false), *allow;

	if (!map)
		return;
	allow = yaml_get(map, "allow_simulated");
	if (allow)
		yaml_bool(p->doc, allow, &p->conf->allow_simulated, p->d);
	conf_path(p, map, "simulated_roots", p->conf->simulated_roots, "");
	read_collateral(p, map);
	if (p->conf->allow_simulated && !p->conf->simulated_roots[0])
		yaml_error(p->doc, map, p->d,
			   "allow_simulated: true needs simulated_roots, the file of roots to believe");
}

static void read_freshness(struct conf_parse *p)
{
	static const char *const known[] = { "level", "max_age", "budget", NULL };
	const struct yaml_node *map = conf_section(p, "freshness", known, false);
	struct conf *c = p->conf;
	const char *level;

	c->fresh_max_age_s = 3600;
	c->fresh_budget_s = 5;
	if (!map)
		return;
	level = conf_text(p, map, "level", true);
	for (unsigned i = 0; level && i <= ID_FRESH_COUNT; i++) {
		if (i == ID_FRESH_COUNT)
			yaml_error(p->doc, yaml_get(map, "level"), p->d, "needs off, key or quote, found '%s'", level);
		else if (strcmp(level, id_fresh_name(i)) == 0) {
			c->fresh = i;
			break;
		}
	}
	c->fresh_max_age_s = (uint32_t)conf_number(p, map, "max_age", 15, ID_RECORD_LIFE_MAX_S, c->fresh_max_age_s);
	c->fresh_budget_s = (uint32_t)conf_number(p, map, "budget", 1, 60, c->fresh_budget_s);
}

static void read_backend(struct conf_parse *p, const struct yaml_node *map)
{
	const char *s = conf_text(p, map, "backend", false);

	if (!s || strcmp(s, "auto") == 0)
		p->conf->backend = OV_AUTO;
	else if (strcmp(s, "kernel") == 0)
		p->conf->backend = OV_KERNEL;
	else if (strcmp(s, "wireguard-go") == 0)
		p->conf->backend = OV_USERSPACE;
	else
		yaml_error(p->doc, yaml_get(map, "backend"), p->d, "needs auto, kernel or wireguard-go, found '%s'", s);
}

const char *const conf_topology_name[CONF_TOPOLOGIES] = {
	[BY_TOPOLOGY_MESH] = "mesh", [BY_TOPOLOGY_HUB] = "hub", [BY_TOPOLOGY_SPOKE] = "spoke"
};

static void read_topology(struct conf_parse *p, const struct yaml_node *map)
{
	const char *topology = conf_text(p, map, "topology", false), *hub;
	struct conf *c = p->conf;
	size_t i = 0;

	while (topology && i < CONF_TOPOLOGIES && strcmp(topology, conf_topology_name[i]) != 0)
		i++;
	if (i == CONF_TOPOLOGIES)
		yaml_error(p->doc, yaml_get(map, "topology"), p->d, "needs mesh, hub or spoke, found '%s'", topology);
	else
		c->topology = (enum by_topology)i;
	hub = conf_text(p, map, "hub", c->topology == BY_TOPOLOGY_SPOKE);
	if (hub && c->topology != BY_TOPOLOGY_SPOKE)
		yaml_error(p->doc, yaml_get(map, "hub"), p->d, "is what a spoke says of its hub, with topology: spoke");
	else if (hub && !hex_parse(c->hub_app, BY_APP_ID_LEN, hub))
		yaml_error(p->doc, yaml_get(map, "hub"), p->d, "needs the app-id of the hub, 40 hex digits, found '%s'",
			   hub);
}

const char *conf_second_device(const char *interface, char buf[static IF_NAMESIZE])
{
	snprintf(buf, IF_NAMESIZE, "%.*s~", IF_NAMESIZE - 2, interface);
	return buf;
}

bool conf_has_next_port(const struct conf *c)
{
	for (uint32_t i = 0; i < c->n_endpoints; i++)
		if (c->endpoints[i].port == 65535)
			return false;
	return c->wg_port != 65535;
}

static void read_overlay(struct conf_parse *p)
{
	static const char *const known[] = { "interface", "backend",   "private_key", "listen_port", "mtu",
					     "networks",  "addresses", "endpoints",   "via",         "topology",
					     "hub",       "rotate",    "lazy_peers",  "lazy_idle",   NULL };
	const struct yaml_node *map = conf_section(p, "overlay", known, true);
	struct conf *c = p->conf;

	if (!map)
		return;
	conf_name(p, map, "interface", c->interface, sizeof(c->interface));
	read_backend(p, map);
	conf_path(p, map, "private_key", c->wg_key, NULL);
	c->wg_port = (uint16_t)conf_number(p, map, "listen_port", 1, 65535, 51820);
	c->mtu = (uint32_t)conf_number(p, map, "mtu", 1280, 65455, 1420);
	c->rotate_s = (uint32_t)conf_number(p, map, "rotate", 10, 366 * 86400, 0);
	c->n_networks =
		conf_list(p, map, "networks", true, CONF_MAX_NETWORKS, "a prefix like 100.64.0.0/10", take_network);
	if (!yaml_get(yaml_root(p->doc), "vpc"))
		c->n_addrs = conf_list(p, map, "addresses", true, ID_MAX_ADDRS, "an address inside overlay.networks",
				       take_addr);
	else if (yaml_get(map, "addresses"))
		yaml_error(p->doc, yaml_get(map, "addresses"), p->d,
			   "is the control plane's to say where there is 'vpc'");
	c->n_endpoints = conf_list(p, map, "endpoints", false, ID_MAX_ENDPOINTS,
				   "an endpoint like 192.0.2.1:51820 or [2001:db8::1]:51820", take_endpoint);
	conf_via(p, map);
	c->lazy_peers = (uint32_t)conf_number(p, map, "lazy_peers", 0, BY_MAX_IDENTITIES, 2000);
	c->lazy_idle_s = (uint32_t)conf_number(p, map, "lazy_idle", 5, 86400, 300);
	read_topology(p, map);
	if (c->rotate_s && !conf_has_next_port(c))
		yaml_error(p->doc, yaml_get(map, "rotate"), p->d,
			   "needs the port behind listen_port and those of endpoints, and 65535 has none");
}

static bool take_mesh_port(struct conf *conf, uint32_t i, const char *text)
{
	struct pol_range *range = &conf->mesh[i];

	return pol_range_parse(text, range, NULL) && pol_is_tcp(range->first) && pol_is_tcp(range->last);
}

static bool take_mesh_cgroup(struct conf *conf, uint32_t i, const char *text)
{
	char *at = conf->guard.cgroup[i];

	return text[0] == '/' && snprintf(at, DP_GUARD_PATH, "%s", text) < DP_GUARD_PATH;
}

static void read_mesh(struct conf_parse *p)
{
	static const char *const known[] = { "ports", "cgroups", NULL };
	const struct yaml_node *map = conf_section(p, "mesh", known, false);
	struct conf *c = p->conf;

	if (!map)
		return;
	c->guard.n_cgroups = conf_list(p, map, "cgroups", false, DP_GUARD_CGROUPS, "the path of a cgroup, from / on",
				       take_mesh_cgroup);
	c->n_mesh = conf_list(p, map, "ports", !c->guard.n_cgroups, CONF_MAX_MESH, "a port of tcp, like tcp/443",
			      take_mesh_port);
	if (c->n_mesh)
		pol_range_merge(c->mesh, &c->n_mesh);
}

static void read_exchange(struct conf_parse *p)
{
	static const char *const known[] = { "listen", "peers", NULL };
	static const char needed[] = "an endpoint like 192.0.2.1:7946 or [2001:db8::1]:7946";
	const struct yaml_node *map = conf_section(p, "exchange", known, false);

	if (!map)
		return;
	p->conf->n_listen = conf_list(p, map, "listen", false, CONF_MAX_LISTEN, needed, take_listen);
	p->conf->n_peers = conf_list(p, map, "peers", false, CONF_MAX_PEERS, needed, take_peer);
}

static bool take_status(struct conf *conf, uint32_t i, const char *text)
{
	return endpoint_parse(&conf->status[i], text);
}

static void read_status(struct conf_parse *p)
{
	static const char *const known[] = { "listen", NULL };
	const struct yaml_node *map = conf_section(p, "status", known, false);

	if (map)
		p->conf->n_status = conf_list(p, map, "listen", true, CONF_MAX_LISTEN,
					      "an endpoint like 0.0.0.0:8000 or [::]:8000", take_status);
}

static bool take_server(struct conf *conf, uint32_t i, const char *text)
{
	return endpoint_parse(&conf->vpc.server[i], text);
}

static bool is_host(const char *text)
{
	size_t len = strlen(text);

	return len && len < VPC_HOST &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == len;
}

static void read_vpc(struct conf_parse *p)
{
	static const char *const known[] = { "server", "servers", "app", "host", "key", NULL };
	static const char needed[] = "an endpoint like 192.0.2.1:7947";
	const struct yaml_node *map = conf_section(p, "vpc", known, false);
	struct conf_vpc *vpc = &p->conf->vpc;
	const char *server, *app, *host;

	if (!map)
		return;
	vpc->is_on = true;
	server = conf_text(p, map, "server", !yaml_get(map, "servers"));
	vpc->n_servers = conf_list(p, map, "servers", !yaml_get(map, "server"), VPC_SERVERS, needed, take_server);
	app = conf_text(p, map, "app", true);
	if (server && vpc->n_servers)
		yaml_error(p->doc, yaml_get(map, "server"), p->d, "servers stand in its place");
	else if (server && !endpoint_parse(&vpc->server[vpc->n_servers++], server))
		yaml_error(p->doc, yaml_get(map, "server"), p->d, "needs %s, found '%s'", needed, server);
	conf_path(p, map, "key", p->conf->vpc_key, "");
	host = conf_text(p, map, "host", false);
	if (host && !is_host(host))
		yaml_error(p->doc, yaml_get(map, "host"), p->d, "needs a DNS name, found '%.100s'", host);
	else
		snprintf(vpc->host, sizeof(vpc->host), "%s", host ? host : "");
	vpc->any_app = app && strcmp(app, "any") == 0;
	if (app && !vpc->any_app && !hex_parse(vpc->app_id, BY_APP_ID_LEN, app))
		yaml_error(p->doc, yaml_get(map, "app"), p->d,
			   "needs the app-id of the control plane, 40 hex digits, or any");
}

static void read_records(struct conf_parse *p)
{
	static const char *const known[] = { "directory", "lifetime", NULL };
	const struct yaml_node *map = conf_section(p, "records", known, false);

	p->conf->record_life_s = 3600;
	if (!map)
		return;
	conf_path(p, map, "directory", p->conf->records, "");
	p->conf->record_life_s =
		(uint32_t)conf_number(p, map, "lifetime", 30, ID_RECORD_LIFE_MAX_S, p->conf->record_life_s);
}

static void read_workloads(struct conf_parse *p)
{
	struct conf_workloads *list = &p->conf->workloads;

	conf_workloads_read(p->doc, list, p->d);
	for (uint32_t i = 0; i < list->n; i++)
		if (strcmp(list->item[i].interface, p->conf->interface) == 0 ||
		    strcmp(list->item[i].interface, p->conf->underlay.interface) == 0)
			yaml_error(p->doc, yaml_get(yaml_root(p->doc), "workloads"), p->d, "interface '%s' is the %s's",
				   list->item[i].interface,
				   strcmp(list->item[i].interface, p->conf->interface) == 0 ? "overlay" : "underlay");
}

static void read_top(struct conf_parse *p)
{
	static const char *const known[] = { "instance", "node",      "identity",  "trust",  "overlay", "exchange",
					     "records",  "freshness", "underlay",  "policy", "state",   "run",
					     "bpffs",    "user",      "workloads", "mesh",   "capture", "vpc",
					     "status",   "dns",       "services",  NULL };
	const struct yaml_node *root = yaml_root(p->doc);
	char path[PATH_MAX];
	struct conf *c = p->conf;
	const char *user;

	if (root->kind != YAML_MAP) {
		yaml_error(p->doc, root, p->d, "needs a map of settings");
		return;
	}
	yaml_known_keys(p->doc, root, known, p->d);
	conf_name(p, root, "instance", c->instance, sizeof(c->instance));
	conf_name(p, root, "node", c->node, sizeof(c->node));
	read_policy(p, root);
	snprintf(path, sizeof(path), "/var/lib/bailey/%s", c->instance);
	conf_path(p, root, "state", c->state, path);
	snprintf(path, sizeof(path), "/run/bailey/%s", c->instance);
	conf_path(p, root, "run", c->run, path);
	conf_path(p, root, "bpffs", c->bpffs, "/sys/fs/bpf");
	user = conf_text(p, root, "user", false);
	snprintf(c->user, sizeof(c->user), "%s", user ? user : "nobody");
}

int conf_parse(const char *file, const char *text, size_t len, struct conf *conf, struct diags *d)
{
	struct conf parsed = { 0 };
	struct conf_parse p = { .d = d, .conf = &parsed };
	const char *slash = strrchr(file, '/');
	struct yaml_doc *doc;
	size_t before = d->n_errors;

	if (yaml_parse(file, text, len, &doc, d) < 0)
		return -EINVAL;
	p.doc = doc;
	snprintf(p.dir, sizeof(p.dir), "%.*s", slash ? (int)(slash - file) : 1, slash ? file : ".");
	read_top(&p);
	if (d->n_errors == before || yaml_root(doc)->kind == YAML_MAP) {
		read_identity(&p);
		read_trust(&p);
		read_freshness(&p);
		read_overlay(&p);
		read_mesh(&p);
		read_exchange(&p);
		read_vpc(&p);
		read_status(&p);
		read_records(&p);
		conf_underlay(&p);
		read_workloads(&p);
		conf_capture(&p);
		conf_dns(&p);
	}
	yaml_free(doc);
	if (d->n_errors > before)
		return -EINVAL;
	*conf = parsed;
	return 0;
}

int conf_load(const char *file, struct conf *conf, struct diags *d)
{
	struct err e = ERR_INIT;
	auto_free char *text = NULL;
	char path[PATH_MAX];
	size_t len;

	/* relative paths inside must survive a later chdir */
	if (!realpath(file, path) || file_read(path, CONF_FILE_MAX, &text, &len, &e) < 0) {
		diags_add(d, file, 1, 1, "", "%s", e.code ? e.msg : strerror(errno));
		return -EINVAL;
	}
	if (conf_parse(path, text, len, conf, d) < 0)
		return -EINVAL;
	snprintf(conf->file, sizeof(conf->file), "%s", path);
	return 0;
}
