// SPDX-License-Identifier: Apache-2.0
/* The `dns` section, and `services`, which it makes names of. */
#include <string.h>

#include "conf_read.h"

#define DNS_PORT 53

/* An address, with a port where it is not 53. */
static bool take_server(struct ip_endpoint *at, const char *text)
{
	at->port = DNS_PORT;
	return addr_parse(&at->addr, text) || endpoint_parse(at, text);
}

static bool take_listen(struct conf *conf, uint32_t i, const char *text)
{
	return take_server(&conf->dns.listen[i], text);
}

static bool take_forward(struct conf *conf, uint32_t i, const char *text)
{
	return take_server(&conf->dns.forward[i], text);
}

/* Everybody is no answer to who may ask. */
static bool take_client(struct conf *conf, uint32_t i, const char *text)
{
	return prefix_parse(&conf->dns.clients[i], text) && conf->dns.clients[i].bits;
}

static bool take_service(struct conf *conf, uint32_t i, const char *text)
{
	return id_service_parse(&conf->services[i], text);
}

/* A record that says one twice is refused by every node. */
static void read_services(struct conf_parse *p, const struct yaml_node *root)
{
	struct conf *c = p->conf;

	c->n_services = conf_list(p, root, "services", false, ID_MAX_SERVICES, "a service like mongodb/tcp/27017",
				  take_service);
	for (uint32_t i = 0; i < c->n_services; i++)
		for (uint32_t j = 0; j < i; j++)
			if (memcmp(&c->services[i], &c->services[j], sizeof(c->services[i])) == 0) {
				char text[ID_SERVICE_TEXT];

				yaml_error(p->doc, yaml_get(root, "services"), p->d, "has '%s' twice",
					   id_service_print(&c->services[i], text));
			}
}

static void read_resolver(struct conf_parse *p, const struct yaml_node *map)
{
	static const char *const names[] = { [CONF_RESOLVER_AUTO] = "auto",
					     [CONF_RESOLVER_NONE] = "none",
					     [CONF_RESOLVER_RESOLVED] = "systemd-resolved",
					     [CONF_RESOLVER_FILE] = "resolv.conf" };
	const char *s = conf_text(p, map, "resolver", false);
	size_t i = 0;

	conf_path(p, map, "resolv_conf", p->conf->dns.resolv_conf, "/etc/resolv.conf");
	if (!s)
		return;
	while (i < sizeof(names) / sizeof(names[0]) && strcmp(names[i], s) != 0)
		i++;
	if (i == sizeof(names) / sizeof(names[0]))
		yaml_error(p->doc, yaml_get(map, "resolver"), p->d,
			   "needs auto, none, systemd-resolved or resolv.conf, found '%s'", s);
	else
		p->conf->dns.resolver = (enum conf_resolver)i;
}

static void read_suffix(struct conf_parse *p, const struct yaml_node *map)
{
	const char *s = conf_text(p, map, "suffix", false);

	if (!s)
		s = "dstack.internal";
	if (!dns_suffix_ok(s))
		yaml_error(p->doc, yaml_get(map, "suffix"), p->d,
			   "needs a name like dstack.internal: [a-z0-9-] and dots, at most 100, found '%s'", s);
	else
		snprintf(p->conf->dns.suffix, sizeof(p->conf->dns.suffix), "%s", s);
}

void conf_dns(struct conf_parse *p)
{
	static const char *const known[] = { "suffix",  "ttl",      "listen",      "members", "clients",
					     "forward", "resolver", "resolv_conf", NULL };
	static const char server[] = "an address like 127.0.0.66, [::1]:5353 or 192.0.2.1:5353";
	const struct yaml_node *root = yaml_root(p->doc), *map = conf_section(p, "dns", known, false);
	struct conf *c = p->conf;

	read_services(p, root);
	if (!map)
		return;
	c->dns.is_on = true;
	read_suffix(p, map);
	c->dns.ttl = (uint32_t)conf_number(p, map, "ttl", 0, 3600, 5);
	c->dns.n_listen = conf_list(p, map, "listen", false, CONF_DNS_LISTEN, server, take_listen);
	if (yaml_get(map, "members"))
		yaml_bool(p->doc, yaml_get(map, "members"), &c->dns.members, p->d);
	c->dns.n_clients = conf_list(p, map, "clients", false, CONF_DNS_CLIENTS,
				     "a network like 172.17.0.0/16, and not all addresses", take_client);
	c->dns.has_forward = yaml_get(map, "forward");
	c->dns.n_forward = conf_list(p, map, "forward", false, CONF_DNS_FORWARD, server, take_forward);
	read_resolver(p, map);
}
