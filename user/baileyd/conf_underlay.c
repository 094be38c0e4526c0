// SPDX-License-Identifier: Apache-2.0
/*
 * The `underlay` section: the host's own network device, and what stays open there whatever the policy says. What the
 * daemon itself needs is derived from the other sections, so that nobody locks himself out by forgetting it.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf_read.h"

#define RATE_MAX 100000000u
#define SSH      "tcp/22"

static const struct dp_limit default_handshakes = { 20, 40 }, default_total = { 2000, 4000 },
			     default_syns = { 1000, 2000 };

/* --- openings ------------------------------------------------------------------------------------------------------
 */

/* Where it was written; its number makes its name differ from others of its kind, '@' from every rule of a policy. */
static void open_port(struct conf_parse *p, const char *kind, const struct yaml_node *at, enum by_dir dir,
		      const struct ip_prefix *net, uint32_t selector)
{
	struct conf_underlay *u = &p->conf->underlay;
	struct pol_opening *o = &u->openings[u->n_openings];
	const char *file = yaml_file(p->doc), *slash = strrchr(file, '/');
	uint32_t n = 1;

	if (u->n_openings == CONF_MAX_OPENINGS)
		return;
	for (uint32_t i = 0; i < u->n_openings; i++)
		n += strncmp(u->openings[i].name + 1, kind, strlen(kind)) == 0;
	*o = (struct pol_opening){ .dir = dir, .net = *net, .selectors = { selector, selector } };
	snprintf(o->name, sizeof(o->name), "@%s-%u", kind, n);
	snprintf(o->where, sizeof(o->where), "%.64s:%u", slash ? slash + 1 : file, at->line);
	u->n_openings++;
}

static void open_to_all(struct conf_parse *p, const char *kind, const struct yaml_node *at, enum by_dir dir,
			const char *net, uint32_t selector)
{
	struct ip_prefix prefix;

	if (prefix_parse(&prefix, net))
		open_port(p, kind, at, dir, &prefix, selector);
}

static const struct yaml_node *exchange_list(struct conf_parse *p, const char *key)
{
	const struct yaml_node *map = yaml_get(yaml_root(p->doc), "exchange");

	return map && map->kind == YAML_MAP ? yaml_get(map, key) : NULL;
}

/* WireGuard's port needs none: the programs know what belongs there (wg.h). */
static void open_exchange(struct conf_parse *p)
{
	static const struct by_addr any;
	const struct conf *c = p->conf;

	for (uint32_t i = 0; i < c->n_listen; i++) {
		const struct ip_endpoint *at = &c->listen[i];
		bool is_v4 = addr_is_v4(&at->addr);

		if (!is_v4)
			open_to_all(p, "exchange-in", exchange_list(p, "listen"), BY_DIR_IN, "::/0",
				    BY_PORT_TCP + at->port);
		if (is_v4 || addr_equal(&at->addr, &any)) /* a socket of [::] takes both */
			open_to_all(p, "exchange-in", exchange_list(p, "listen"), BY_DIR_IN, "0.0.0.0/0",
				    BY_PORT_TCP + at->port);
	}
	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct by_addr *addr = &c->peers[i].addr;
		struct ip_prefix one = { .addr = *addr, .bits = addr_is_v4(addr) ? 32 : 128 };

		open_port(p, "exchange-out", exchange_list(p, "peers"), BY_DIR_OUT, &one,
			  BY_PORT_TCP + c->peers[i].port);
	}
}

/* A host that can not renew its address is gone some hours later. */
static void open_dhcp(struct conf_parse *p, const struct yaml_node *map)
{
	const struct yaml_node *wanted = yaml_get(map, "dhcp"), *at = wanted ? wanted : map;
	bool is_on = true;

	if (wanted && !yaml_bool(p->doc, wanted, &is_on, p->d))
		return;
	if (!is_on)
		return;
	open_to_all(p, "dhcp", at, BY_DIR_OUT, "0.0.0.0/0", BY_PORT_UDP + 67);
	open_to_all(p, "dhcp", at, BY_DIR_IN, "0.0.0.0/0", BY_PORT_UDP + 68);
	open_to_all(p, "dhcp", at, BY_DIR_OUT, "ff02::/16", BY_PORT_UDP + 547);
	open_to_all(p, "dhcp", at, BY_DIR_IN, "fe80::/10", BY_PORT_UDP + 546);
}

/* --- what cannot be locked out -------------------------------------------------------------------------------------
 */

static bool network_of(const char *text, struct ip_prefix *net)
{
	if (!addr_parse(&net->addr, text))
		return prefix_parse(net, text);
	net->bits = addr_is_v4(&net->addr) ? 32 : 128;
	return true;
}

static void open_failsafe(struct conf_parse *p, const struct yaml_node *at, const struct ip_prefix *net,
			  const struct yaml_node *ports)
{
	for (size_t i = 0; i < (ports ? ports->n : 1); i++) {
		struct err e = ERR_INIT;
		uint32_t selector;
		const char *text = ports ? yaml_str(p->doc, ports->child[i], p->d) : SSH;

		if (text && !pol_selector_parse(text, &selector, &e))
			yaml_error(p->doc, ports->child[i], p->d, "%s", e.msg);
		else if (text)
			open_port(p, "failsafe", at, BY_DIR_IN, net, selector);
	}
}

/* NULL with an error said, or absent. */
static const struct yaml_node *short_list(struct conf_parse *p, const struct yaml_node *map, const char *key)
{
	const struct yaml_node *list = yaml_need(p->doc, map, key, YAML_LIST, p->d);

	if (!list || (list->n && list->n <= CONF_MAX_FAILSAFE))
		return list;
	yaml_error(p->doc, list, p->d, "has %zu entries, needs 1 to %d", list->n, CONF_MAX_FAILSAFE);
	return NULL;
}

/* It must be said: a firewall without a way back in is a decision, not something to forget. */
static void read_failsafe(struct conf_parse *p, const struct yaml_node *map)
{
	static const char *const known[] = { "from", "ports", NULL };
	const struct yaml_node *node = yaml_get(map, "failsafe"), *from, *ports = NULL;

	if (node && node->kind == YAML_SCALAR && strcmp(node->text, "none") == 0)
		return;
	if (!node || node->kind != YAML_MAP) {
		yaml_error(p->doc, node ? node : map, p->d,
			   "failsafe: needs { from: [addresses], ports: [" SSH
			   "] }, what stays reachable whatever the policy says, or none");
		return;
	}
	if (!yaml_known_keys(p->doc, node, known, p->d))
		return;
	from = short_list(p, node, "from");
	if (yaml_get(node, "ports") && !(ports = short_list(p, node, "ports")))
		return;
	for (size_t i = 0; from && i < from->n; i++) {
		const char *text = yaml_str(p->doc, from->child[i], p->d);
		struct ip_prefix net;

		if (text && network_of(text, &net))
			open_failsafe(p, from->child[i], &net, ports);
		else if (text)
			yaml_error(p->doc, from->child[i], p->d,
				   "needs an address or a prefix like 192.0.2.0/24, found '%s'", text);
	}
}

/* --- limits --------------------------------------------------------------------------------------------------------
 */

static void read_limit(struct conf_parse *p, const struct yaml_node *limits, const char *key, struct dp_limit *limit)
{
	static const char *const known[] = { "rate", "burst", NULL };
	const struct yaml_node *map = limits ? yaml_get(limits, key) : NULL;

	if (!map)
		return;
	map = yaml_need(p->doc, limits, key, YAML_MAP, p->d);
	if (!map || !yaml_known_keys(p->doc, map, known, p->d) || !yaml_need(p->doc, map, "rate", YAML_SCALAR, p->d))
		return;
	limit->rate = (uint32_t)conf_number(p, map, "rate", 0, RATE_MAX, 0);
	limit->burst = (uint32_t)conf_number(p, map, "burst", 1, RATE_MAX, limit->rate);
}

static void read_limits(struct conf_parse *p, const struct yaml_node *map)
{
	static const char *const known[] = { "flows", "handshakes", "handshakes_total", "syns", NULL };
	struct dp_host_options *o = &p->conf->underlay.host;
	const struct yaml_node *limits = yaml_get(map, "limits"), *cookies = yaml_get(map, "syn_cookies");
	bool has_cookies = true;

	o->handshakes = default_handshakes;
	o->handshakes_total = default_total;
	o->syns = default_syns;
	if (limits) {
		limits = yaml_need(p->doc, map, "limits", YAML_MAP, p->d);
		if (!limits || !yaml_known_keys(p->doc, limits, known, p->d))
			return;
	}
	read_limit(p, limits, "flows", &o->flows);
	read_limit(p, limits, "handshakes", &o->handshakes);
	read_limit(p, limits, "handshakes_total", &o->handshakes_total);
	read_limit(p, limits, "syns", &o->syns);
	if (!cookies || !yaml_bool(p->doc, cookies, &has_cookies, p->d) || has_cookies)
		return;
	o->syns = (struct dp_limit){ 0 };
	if (limits && yaml_get(limits, "syns"))
		yaml_error(p->doc, yaml_get(limits, "syns"), p->d,
			   "is the rate above which SYNs get cookies, and syn_cookies is false");
}

/* --- the section ---------------------------------------------------------------------------------------------------
 */

static void read_attach(struct conf_parse *p, const struct yaml_node *map)
{
	static const char *const mode[] = { [DP_HOST_AUTO] = "auto",
					    [DP_HOST_NATIVE] = "native",
					    [DP_HOST_GENERIC] = "generic",
					    [DP_HOST_TC] = "tc",
					    [DP_HOST_DISPATCHER] = "dispatcher" };
	const char *s = conf_text(p, map, "attach", false);

	for (size_t i = 0; s && i < ARRAY_LEN(mode); i++) {
		if (strcmp(s, mode[i]) == 0) {
			p->conf->underlay.host.mode = (enum dp_host_mode)i;
			return;
		}
	}
	if (s)
		yaml_error(p->doc, yaml_get(map, "attach"), p->d,
			   "needs auto, dispatcher, native, generic or tc, found '%s'", s);
}

static void read_interface(struct conf_parse *p, const struct yaml_node *map)
{
	char *dst = p->conf->underlay.interface;
	const char *s = conf_text(p, map, "interface", true);

	if (!s)
		return;
	if (!*s || strlen(s) >= IF_NAMESIZE || strpbrk(s, "/ \t:") || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		yaml_error(p->doc, yaml_get(map, "interface"), p->d, "needs the name of a network device, found '%s'",
			   s);
	else if (strcmp(s, p->conf->interface) == 0)
		yaml_error(p->doc, yaml_get(map, "interface"), p->d, "'%s' is the overlay's own device", s);
	else
		snprintf(dst, IF_NAMESIZE, "%s", s);
}

void conf_underlay(struct conf_parse *p)
{
	static const char *const known[] = { "interface", "attach", "failsafe", "dhcp", "syn_cookies", "limits", NULL };
	const struct yaml_node *map = conf_section(p, "underlay", known, false);

	if (!map)
		return;
	read_interface(p, map);
	read_attach(p, map);
	read_limits(p, map);
	p->conf->underlay.host.wg_port = p->conf->wg_port;
	read_failsafe(p, map);
	open_exchange(p);
	open_dhcp(p, map);
}
