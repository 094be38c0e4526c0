// SPDX-License-Identifier: Apache-2.0
/* The `capture` section: what applications of some cgroups dial, and where it goes instead. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf_read.h"

/* --- cgroups ----------------------------------------------------------------------------------------------- */

static bool take_cgroup(struct conf *conf, uint32_t i, const char *text)
{
	return text[0] == '/' && snprintf(conf->capture.cgroup[i], sizeof(conf->capture.cgroup[i]), "%s", text) <
					 (int)sizeof(conf->capture.cgroup[i]);
}

static bool take_device(struct conf *conf, uint32_t i, const char *text)
{
	return text[0] && !strchr(text, '/') &&
	       snprintf(conf->capture.device[i], IF_NAMESIZE, "%s", text) < IF_NAMESIZE;
}

/* What a device of another section sends is judged there first, and a workload's proxy would not be its own. */
static void check_devices(struct conf_parse *p, const struct yaml_node *map)
{
	const struct conf *c = p->conf;

	for (uint32_t i = 0; i < c->capture.n_devices; i++) {
		const char *name = c->capture.device[i];
		bool is_other = strcmp(name, c->interface) == 0 || strcmp(name, c->underlay.interface) == 0;

		for (uint32_t w = 0; w < c->workloads.n; w++)
			is_other |= strcmp(name, c->workloads.item[w].interface) == 0;
		if (is_other)
			yaml_error(p->doc, yaml_get(map, "devices"), p->d,
				   "'%s' is the overlay's, the underlay's or a workload's", name);
	}
}

static bool is_below(const char *path, const char *of)
{
	size_t len = strlen(of);

	while (len > 1 && of[len - 1] == '/')
		len--;
	return strncmp(path, of, len) == 0 && (path[len] == '/' || !path[len] || len == 1);
}

/* A proxy whose own connections are captured would dial itself. */
static void read_proxy(struct conf_parse *p, const struct yaml_node *map)
{
	struct dp_divert_conf *c = &p->conf->capture;
	const struct yaml_node *at = yaml_get(map, "proxy_cgroup");
	const char *path = conf_text(p, map, "proxy_cgroup", false);

	if (!path)
		return;
	if (path[0] != '/' ||
	    snprintf(c->proxy_cgroup, sizeof(c->proxy_cgroup), "%s", path) >= (int)sizeof(c->proxy_cgroup))
		yaml_error(p->doc, at, p->d, "needs a path of at most %d bytes from / on, found '%.80s'",
			   DP_DIVERT_PATH - 1, path);
	for (uint32_t i = 0; i < c->n_cgroups; i++)
		if (is_below(path, c->cgroup[i]))
			yaml_error(p->doc, at, p->d,
				   "is in the captured cgroup %s: the proxy's own connections would come back to it",
				   c->cgroup[i]);
}

/* --- rules ------------------------------------------------------------------------------------------------- */

/* "10.77.0.0/16", or one address */
static bool read_net(struct conf_parse *p, const struct yaml_node *map, struct dp_divert_rule *r)
{
	const char *text = conf_text(p, map, "net", true);
	struct ip_prefix loop4, loop6;

	if (!text)
		return false;
	if (addr_parse(&r->net.addr, text)) {
		r->net.bits = addr_is_v4(&r->net.addr) ? 32 : 128;
	} else if (!prefix_parse(&r->net, text)) {
		yaml_error(p->doc, yaml_get(map, "net"), p->d,
			   "needs an address or a prefix like 10.77.0.0/16, found '%s'", text);
		return false;
	}
	if (prefix_parse(&loop4, "127.0.0.0/8") && prefix_parse(&loop6, "::1/128") &&
	    ((addr_in_prefix(&r->net.addr, &loop4) && r->net.bits >= 8) ||
	     (addr_in_prefix(&r->net.addr, &loop6) && r->net.bits == 128)))
		yaml_error(p->doc, yaml_get(map, "net"), p->d, "is the loopback, which stays where it is");
	for (unsigned bit = r->net.bits + (addr_is_v4(&r->net.addr) ? 96u : 0u); bit < 128; bit++)
		if (r->net.addr.b[bit / 8] & 0x80 >> bit % 8) {
			yaml_error(p->doc, yaml_get(map, "net"), p->d, "'%s' has bits behind its length", text);
			return false;
		}
	return true;
}

static void read_to(struct conf_parse *p, const struct yaml_node *map, struct dp_divert_rule *r)
{
	const char *via = conf_text(p, map, "via", false), *peer = conf_text(p, map, "peer", false);
	struct ip_endpoint e;

	if (!via == !peer) {
		yaml_error(p->doc, map, p->d,
			   "needed one of 'via', a proxy on this machine, and 'peer', a node's address");
	} else if (via && !endpoint_parse(&e, via)) {
		yaml_error(p->doc, yaml_get(map, "via"), p->d, "needs an endpoint like 127.0.0.1:15001, found '%s'",
			   via);
	} else if (via) {
		r->to = e.addr;
		r->to_port = e.port;
	} else if (!addr_parse(&r->to, peer) || !conf_network_of(p->conf, &r->to)) {
		yaml_error(p->doc, yaml_get(map, "peer"), p->d, "needs an address inside overlay.networks, found '%s'",
			   peer);
	} else {
		r->is_peer = true;
	}
}

static bool same_what(const struct dp_divert_rule *a, const struct dp_divert_rule *b)
{
	return a->l4_proto == b->l4_proto && a->port == b->port && a->net.bits == b->net.bits &&
	       addr_equal(&a->net.addr, &b->net.addr);
}

static void add(struct conf_parse *p, const struct yaml_node *at, struct dp_divert_rule r, uint8_t proto, uint16_t port)
{
	struct dp_divert_conf *c = &p->conf->capture;

	r.l4_proto = proto;
	r.port = port;
	for (uint32_t i = 0; i < c->n_rules; i++)
		if (same_what(&c->rule[i], &r))
			yaml_error(p->doc, at, p->d, "this network and port are captured already");
	if (c->n_rules == DP_DIVERT_RULES)
		yaml_error(p->doc, at, p->d, "all networks times their ports are more than %d", DP_DIVERT_RULES);
	else
		c->rule[c->n_rules++] = r;
}

static void read_port(struct conf_parse *p, const struct yaml_node *at, const struct dp_divert_rule *r)
{
	const char *text = yaml_str(p->doc, at, p->d);
	struct pol_range range = { 0 };
	bool is_udp;

	if (!text)
		return;
	is_udp = strncmp(text, "udp", 3) == 0;
	if (strcmp(text, "tcp") == 0 || strcmp(text, "udp") == 0)
		add(p, at, *r, is_udp ? IPPROTO_UDP : IPPROTO_TCP, 0);
	else if (pol_range_parse(text, &range, NULL) && range.first == range.last && range.last < BY_PORT_ICMP)
		add(p, at, *r, is_udp ? IPPROTO_UDP : IPPROTO_TCP,
		    (uint16_t)(range.first - (is_udp ? BY_PORT_UDP : BY_PORT_TCP)));
	else
		yaml_error(p->doc, at, p->d, "needs one port like tcp/80 or udp/53, or tcp or udp, found '%s'", text);
}

static void read_rule(struct conf_parse *p, const struct yaml_node *map)
{
	static const char *const known[] = { "net", "ports", "via", "peer", NULL };
	const struct yaml_node *ports = yaml_get(map, "ports");
	struct dp_divert_rule r = { 0 };
	size_t before = p->d->n_errors;

	if (map->kind != YAML_MAP) {
		yaml_error(p->doc, map, p->d, "needs a map with net, and via or peer");
		return;
	}
	yaml_known_keys(p->doc, map, known, p->d);
	if (!read_net(p, map, &r))
		return;
	read_to(p, map, &r);
	if (p->d->n_errors == before && addr_is_v4(&r.net.addr) != addr_is_v4(&r.to))
		yaml_error(p->doc, map, p->d, "net and where it goes need to be of one family");
	if (p->d->n_errors > before)
		return;
	if (!ports) {
		add(p, map, r, IPPROTO_TCP, 0);
		add(p, map, r, IPPROTO_UDP, 0);
	} else if (ports->kind != YAML_LIST || !ports->n) {
		yaml_error(p->doc, ports, p->d, "needs a list of at least one port, such as [tcp/80]");
	}
	for (size_t i = 0; ports && ports->kind == YAML_LIST && i < ports->n; i++)
		read_port(p, ports->child[i], &r);
}

void conf_capture(struct conf_parse *p)
{
	static const char *const known[] = { "cgroups", "proxy_cgroup", "devices", "to", NULL };
	const struct yaml_node *map = conf_section(p, "capture", known, false), *list;
	struct dp_divert_conf *c = &p->conf->capture;
	size_t before = p->d->n_errors;

	if (!map)
		return;
	c->n_cgroups =
		conf_list(p, map, "cgroups", false, DP_DIVERT_CGROUPS, "the path of a cgroup, from / on", take_cgroup);
	c->n_devices =
		conf_list(p, map, "devices", false, DP_DIVERT_DEVICES, "the name of a network device", take_device);
	if (p->d->n_errors == before && !c->n_cgroups && !c->n_devices)
		yaml_error(p->doc, map, p->d, "needs cgroups, devices or both: whose connections are captured");
	check_devices(p, map);
	read_proxy(p, map);
	list = yaml_need(p->doc, map, "to", YAML_LIST, p->d);
	if (list && !list->n)
		yaml_error(p->doc, list, p->d, "has 0 entries, needs at least 1");
	for (size_t i = 0; list && i < list->n; i++)
		read_rule(p, list->child[i]);
}
