// SPDX-License-Identifier: Apache-2.0
#include "conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "baileyd/conf_read.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#define DAY_S 86400u

void md_conf_defaults(struct md_conf *conf)
{
	*conf = (struct md_conf){ .instance = "mesh",
				  .run = "/run/bailey-mesh",
				  .user = "nobody",
				  .workers = 1,
				  .subject = "localhost",
				  .with_quote = true,
				  .agent_life_s = DAY_S,
				  .verdict_s = DAY_S,
				  .auth_port = 443,
				  .default_port = 443,
				  .limits = { .connections = 8192,
					      .head_bytes = 16384,
					      .fields = 100,
					      .head_s = 10,
					      .connect_s = 5,
					      .response_s = 60,
					      .idle_s = 300,
					      .keepalive_s = 75,
					      .drain_s = 30 } };
}

/* --- values --- */

static bool is_host(const char *s, size_t len)
{
	return len && len < MD_HOST_LEN &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:") >= len;
}

static bool port_of(const char *text, uint16_t *port)
{
	char *end;
	unsigned long v = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;

	if (!v || v > 65535 || *end)
		return false;
	*port = (uint16_t)v;
	return true;
}

bool md_place_parse(struct md_place *place, const char *text, uint16_t port)
{
	const char *colon = *text == '[' ? strstr(text, "]:") : strrchr(text, ':');
	size_t skip = *text == '[', len;

	if (*text == '[' && !colon)
		return false;
	len = colon ? (size_t)(colon - text) - skip : strlen(text);
	if (colon && !port_of(colon + 1 + skip, &port))
		return false;
	/* more than one colon is an address, and that has brackets */
	if (!port || !is_host(text + skip, len) || (!skip && memchr(text, ':', len)))
		return false;
	snprintf(place->host, sizeof(place->host), "%.*s", (int)len, text + skip);
	place->port = port;
	return true;
}

bool md_unix_parse(struct md_place *place, const char *text)
{
	struct sockaddr_un sun;

	if (strncmp(text, "unix:/", 6) != 0 || strlen(text + 5) >= sizeof(sun.sun_path))
		return false;
	snprintf(place->host, sizeof(place->host), "%s", text + 5);
	place->port = 0;
	return true;
}

bool md_needs_unix(const struct md_conf *conf)
{
	for (uint32_t i = 0; i < conf->n_services; i++)
		if (conf->service[i].backend.host[0] == '/')
			return true;
	return conf->agent_access;
}

bool md_gateway_parse(const char *gateway, struct md_place *at)
{
	if (strncmp(gateway, "direct/", 7) == 0)
		return md_place_parse(at, gateway + 7, 1) && at->port == 1;
	return md_place_parse(at, strncmp(gateway, "fixed/", 6) == 0 ? gateway + 6 : gateway, 443);
}

static void endpoint_read(struct conf_parse *p, const struct yaml_node *at, struct ip_endpoint *to)
{
	const char *s = at ? yaml_str(p->doc, at, p->d) : NULL;

	if (s && !endpoint_parse(to, s))
		yaml_error(p->doc, at, p->d, "needs ADDRESS:PORT, found '%.100s'", s);
}

static uint32_t endpoints_read(struct conf_parse *p, const struct yaml_node *map, const char *key,
			       struct ip_endpoint to[MD_LISTEN_MAX])
{
	const struct yaml_node *list = yaml_get(map, key);
	uint32_t n = 0;

	if (!list || !(list = yaml_need(p->doc, map, key, YAML_LIST, p->d)))
		return 0;
	if (list->n > MD_LISTEN_MAX)
		yaml_error(p->doc, list, p->d, "has %zu entries, the limit is %d", list->n, MD_LISTEN_MAX);
	for (; n < list->n && n < MD_LISTEN_MAX; n++)
		endpoint_read(p, list->child[n], &to[n]);
	return n;
}

static void flag_read(struct conf_parse *p, const struct yaml_node *map, const char *key, bool *to)
{
	const struct yaml_node *node = yaml_get(map, key);

	if (node)
		yaml_bool(p->doc, node, to, p->d);
}

static bool id_read(struct conf_parse *p, const struct yaml_node *map, const char *key, bool required, uint8_t id[20])
{
	const char *s = conf_text(p, map, key, required);

	if (s && !hex_parse(id, 20, s))
		yaml_error(p->doc, yaml_get(map, key), p->d, "needs 40 hex digits, found '%.100s'", s);
	return s;
}

static void text_read(struct conf_parse *p, const struct yaml_node *map, const char *key, bool required, char *to,
		      size_t size)
{
	const char *s = conf_text(p, map, key, required);

	if (s && strlen(s) >= size)
		yaml_error(p->doc, yaml_get(map, key), p->d, "is longer than %zu bytes", size - 1);
	else if (s)
		strcpy(to, s);
}

/* --- sections --- */

static void identity_read(struct conf_parse *p, struct md_conf *c)
{
	static const char *const known[] = { "certificate", "key",     "agent", "legacy",
					     "lifetime_h",  "subject", "quote", NULL };
	const struct yaml_node *map = conf_section(p, "identity", known, true);

	if (!map)
		return;
	conf_path(p, map, "agent", c->agent, "");
	conf_path(p, map, "certificate", c->certificate, c->agent[0] ? "" : NULL);
	conf_path(p, map, "key", c->key, c->certificate[0] ? NULL : "");
	flag_read(p, map, "legacy", &c->agent_is_legacy);
	flag_read(p, map, "quote", &c->with_quote);
	c->agent_life_s = (uint32_t)conf_number(p, map, "lifetime_h", 1, 87600, 24) * 3600;
	text_read(p, map, "subject", false, c->subject, sizeof(c->subject));
	if (c->certificate[0] && yaml_get(map, "lifetime_h"))
		yaml_error(p->doc, yaml_get(map, "lifetime_h"), p->d, "is of certificates that the agent gives");
}

static void fetch_read(struct conf_parse *p, const struct yaml_node *trust, struct md_conf *c)
{
	static const char *const known[] = { "url", "root_crl", "ca", NULL };
	const struct yaml_node *map =
		yaml_get(trust, "fetch") ? yaml_need(p->doc, trust, "fetch", YAML_MAP, p->d) : NULL;

	if (!map || !yaml_known_keys(p->doc, map, known, p->d))
		return;
	text_read(p, map, "url", true, c->pcs_url, sizeof(c->pcs_url));
	text_read(p, map, "root_crl", false, c->pcs_root_crl, sizeof(c->pcs_root_crl));
	conf_path(p, map, "ca", c->pcs_ca, "");
}

static void trust_read(struct conf_parse *p, struct md_conf *c)
{
	static const char *const known[] = {
		"ca", "ca_without_keycertsign", "policy", "simulated_roots", "collateral", "fetch", "verdict_h", NULL
	};
	const struct yaml_node *map = conf_section(p, "trust", known, true);
	const char *ca;

	if (!map)
		return;
	ca = conf_text(p, map, "ca", false);
	c->trust_ca = ca;
	if (ca && strcmp(ca, "agent") != 0)
		conf_path(p, map, "ca", c->ca, NULL);
	flag_read(p, map, "ca_without_keycertsign", &c->ca_without_keycertsign);
	if (c->ca_without_keycertsign && !ca)
		yaml_error(p->doc, yaml_get(map, "ca_without_keycertsign"), p->d, "is about 'ca', which is missing");
	conf_path(p, map, "policy", c->evidence_policy, "");
	conf_path(p, map, "simulated_roots", c->simulated_roots, "");
	conf_path(p, map, "collateral", c->collateral, "");
	fetch_read(p, map, c);
	c->verdict_s = (uint32_t)conf_number(p, map, "verdict_h", 1, 720, 24) * 3600;
	if (ca && (c->evidence_policy[0] || c->simulated_roots[0] || c->collateral[0] || c->pcs_url[0]))
		yaml_error(p->doc, map, p->d,
			   "has 'ca', whose word is taken without evidence, beside keys about "
			   "evidence: keep one of the two");
	if (ca && strcmp(ca, "agent") == 0 && !c->agent[0])
		yaml_error(p->doc, yaml_get(map, "ca"), p->d, "agent: needs identity.agent");
}

static void policy_read(struct conf_parse *p, const struct yaml_node *root, struct md_conf *c)
{
	const struct yaml_node *node = yaml_get(root, "policy");
	const char *s;

	if (!node)
		yaml_need(p->doc, root, "policy", YAML_LIST, p->d);
	else if (node->kind == YAML_SCALAR && (s = yaml_str(p->doc, node, p->d)) && strcmp(s, "any-attested") != 0)
		conf_take_path(p, node, s, c->policy[c->n_policy++]);
	if (!node || node->kind == YAML_SCALAR)
		return;
	node = yaml_need(p->doc, root, "policy", YAML_LIST, p->d);
	if (node && (!node->n || node->n > MD_POLICY_MAX))
		yaml_error(p->doc, node, p->d, "has %zu entries, needs 1 to %d", node->n, MD_POLICY_MAX);
	for (size_t i = 0; node && i < node->n && i < MD_POLICY_MAX; i++)
		if ((s = yaml_str(p->doc, node->child[i], p->d)))
			conf_take_path(p, node->child[i], s, c->policy[c->n_policy++]);
}

static void tunnel_read(struct conf_parse *p, const struct yaml_node *map, struct md_tunnel *t)
{
	static const char *const known[] = { "name", "listen", "app", "instance", "port", NULL };

	if (map->kind != YAML_MAP) {
		yaml_error(p->doc, map, p->d, "needs a map");
		return;
	}
	if (!yaml_known_keys(p->doc, map, known, p->d))
		return;
	conf_name(p, map, "name", t->name, sizeof(t->name));
	endpoint_read(p, yaml_need(p->doc, map, "listen", YAML_SCALAR, p->d), &t->listen);
	id_read(p, map, "app", true, t->app);
	t->has_instance = id_read(p, map, "instance", false, t->instance);
	if (yaml_need(p->doc, map, "port", YAML_SCALAR, p->d))
		t->port = (uint16_t)conf_number(p, map, "port", 1, 65535, 0);
}

static void tunnels_read(struct conf_parse *p, const struct yaml_node *client, struct md_conf *c)
{
	const struct yaml_node *list =
		yaml_get(client, "tunnels") ? yaml_need(p->doc, client, "tunnels", YAML_LIST, p->d) : NULL;

	if (list && list->n > MD_TUNNELS_MAX)
		yaml_error(p->doc, list, p->d, "has %zu entries, the limit is %d", list->n, MD_TUNNELS_MAX);
	for (size_t i = 0; list && i < list->n && i < MD_TUNNELS_MAX; i++)
		tunnel_read(p, list->child[i], &c->tunnel[c->n_tunnels++]);
}

static void client_read(struct conf_parse *p, struct md_conf *c)
{
	static const char *const known[] = { "listen",    "captured", "gateway", "agent", "baileyd",
					     "public_ca", "tunnels",  "port",    NULL };
	const struct yaml_node *map = conf_section(p, "client", known, false);

	if (!map)
		return;
	c->n_client = endpoints_read(p, map, "listen", c->client);
	c->n_captured = endpoints_read(p, map, "captured", c->captured);
	text_read(p, map, "gateway", false, c->gateway, sizeof(c->gateway));
	if (c->gateway[0] && !md_gateway_parse(c->gateway, &c->gateway_at))
		yaml_error(p->doc, yaml_get(map, "gateway"), p->d,
			   "needs DOMAIN[:PORT], fixed/HOST[:PORT] or direct/HOST, found '%.100s'", c->gateway);
	c->default_port = (uint16_t)conf_number(p, map, "port", 1, 65535, c->default_port);
	flag_read(p, map, "agent", &c->agent_access);
	if (c->agent_access && !c->agent[0])
		yaml_error(p->doc, yaml_get(map, "agent"), p->d, "needs identity.agent");
	conf_path(p, map, "baileyd", c->baileyd, "");
	conf_path(p, map, "public_ca", c->public_ca, "");
	tunnels_read(p, map, c);
}

static void tells_read(struct conf_parse *p, const struct yaml_node *map, struct md_service *s)
{
	const struct yaml_node *list =
		yaml_get(map, "headers") ? yaml_need(p->doc, map, "headers", YAML_LIST, p->d) : NULL;

	for (size_t i = 0; list && i < list->n; i++) {
		const char *word = yaml_str(p->doc, list->child[i], p->d);

		if (word && strcmp(word, "instance") == 0)
			s->tell_instance = true;
		else if (word && strcmp(word, "claims") == 0)
			s->tell_claims = true;
		else if (word && strcmp(word, "verified") == 0)
			s->tell_verified = true;
		else if (word)
			yaml_error(p->doc, list->child[i], p->d, "needs instance, claims or verified, found '%s'",
				   word);
	}
}

static void backend_read(struct conf_parse *p, const struct yaml_node *map, struct md_service *s)
{
	static const char *const keys[] = { "http", "h2", "tcp" };
	const char *place = NULL, *key = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const char *found = conf_text(p, map, keys[i], false);

		if (!found)
			continue;
		place = found;
		key = keys[i];
		n++;
	}
	s->is_tcp = n && strcmp(key, "tcp") == 0;
	s->is_h2 = n && strcmp(key, "h2") == 0;
	if (n != 1)
		yaml_error(p->doc, map, p->d, "needs one of http, h2 and tcp");
	else if (!md_unix_parse(&s->backend, place) && !md_place_parse(&s->backend, place, 0))
		yaml_error(p->doc, yaml_get(map, key), p->d, "needs HOST:PORT or unix:/PATH, found '%.100s'", place);
	if (s->is_tcp && (s->host[0] || s->tell_instance || s->tell_claims || s->tell_verified))
		yaml_error(p->doc, map, p->d, "tcp: has no requests, so no host and no headers");
}

static void service_read(struct conf_parse *p, const struct yaml_node *map, struct md_service *s)
{
	static const char *const known[] = { "name", "listen", "http", "h2", "tcp", "host", "port", "headers", NULL };

	if (map->kind != YAML_MAP) {
		yaml_error(p->doc, map, p->d, "needs a map");
		return;
	}
	if (!yaml_known_keys(p->doc, map, known, p->d))
		return;
	conf_name(p, map, "name", s->name, sizeof(s->name));
	endpoint_read(p, yaml_need(p->doc, map, "listen", YAML_SCALAR, p->d), &s->listen);
	text_read(p, map, "host", false, s->host, sizeof(s->host));
	tells_read(p, map, s);
	backend_read(p, map, s);
	s->port = (uint16_t)conf_number(p, map, "port", 1, 65535, s->listen.port);
}

static void server_read(struct conf_parse *p, struct md_conf *c)
{
	static const char *const known[] = { "services", "auth", "auth_port", NULL };
	const struct yaml_node *map = conf_section(p, "server", known, false), *list;

	if (!map)
		return;
	c->n_auth = endpoints_read(p, map, "auth", c->auth);
	c->auth_port = (uint16_t)conf_number(p, map, "auth_port", 1, 65535, c->auth_port);
	list = yaml_get(map, "services") ? yaml_need(p->doc, map, "services", YAML_LIST, p->d) : NULL;
	if (list && list->n > MD_SERVICES_MAX)
		yaml_error(p->doc, list, p->d, "has %zu entries, the limit is %d", list->n, MD_SERVICES_MAX);
	for (size_t i = 0; list && i < list->n && i < MD_SERVICES_MAX; i++)
		service_read(p, list->child[i], &c->service[c->n_services++]);
}

static void limits_read(struct conf_parse *p, struct md_limits *l)
{
	static const char *const known[] = { "connections", "head_bytes", "fields",      "head_s",  "connect_s",
					     "response_s",  "idle_s",     "keepalive_s", "drain_s", NULL };
	const struct yaml_node *map = conf_section(p, "limits", known, false);

	if (!map)
		return;
	l->connections = (uint32_t)conf_number(p, map, "connections", 1, 1000000, l->connections);
	l->head_bytes = (uint32_t)conf_number(p, map, "head_bytes", 1024, 65536, l->head_bytes);
	l->fields = (uint32_t)conf_number(p, map, "fields", 8, 100, l->fields);
	l->head_s = (uint32_t)conf_number(p, map, "head_s", 1, 3600, l->head_s);
	l->connect_s = (uint32_t)conf_number(p, map, "connect_s", 1, 600, l->connect_s);
	l->response_s = (uint32_t)conf_number(p, map, "response_s", 1, 86400, l->response_s);
	l->idle_s = (uint32_t)conf_number(p, map, "idle_s", 1, 86400, l->idle_s);
	l->keepalive_s = (uint32_t)conf_number(p, map, "keepalive_s", 1, 86400, l->keepalive_s);
	l->drain_s = (uint32_t)conf_number(p, map, "drain_s", 0, 3600, l->drain_s);
}

static void paths_read(struct conf_parse *p, struct md_conf *c)
{
	static const char *const known[] = { "splice", "ktls", NULL };
	const struct yaml_node *map = conf_section(p, "paths", known, false);
	bool splice = true, ktls = true;

	if (!map)
		return;
	flag_read(p, map, "splice", &splice);
	flag_read(p, map, "ktls", &ktls);
	c->no_splice = !splice;
	c->no_ktls = !ktls;
}

static void root_read(struct conf_parse *p, struct md_conf *c)
{
	static const char *const known[] = { "version", "instance", "run",    "state",  "user",   "workers", "identity",
					     "trust",   "policy",   "client", "server", "limits", "paths",   NULL };
	const struct yaml_node *root = yaml_root(p->doc);

	if (!yaml_known_keys(p->doc, root, known, p->d))
		return;
	conf_version(p);
	if (yaml_get(root, "instance"))
		conf_name(p, root, "instance", c->instance, sizeof(c->instance));
	conf_path(p, root, "run", c->run, "/run/bailey-mesh");
	conf_path(p, root, "state", c->state, "");
	text_read(p, root, "user", false, c->user, sizeof(c->user));
	c->workers = (uint32_t)conf_number(p, root, "workers", 1, MD_WORKERS_MAX, 1);
	identity_read(p, c);
	trust_read(p, c);
	policy_read(p, root, c);
	client_read(p, c);
	server_read(p, c);
	limits_read(p, &c->limits);
	paths_read(p, c);
}

/* --- all of it --- */

static bool same_listen(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
	return a->port == b->port && addr_equal(&a->addr, &b->addr);
}

static int services_check(const struct md_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->n_services; i++) {
		for (uint32_t j = 0; j < i; j++) {
			const struct md_service *a = &c->service[j], *b = &c->service[i];

			if (strcmp(a->name, b->name) == 0)
				return err_at(e, -EINVAL, b->name, "two services have this name");
			if (!same_listen(&a->listen, &b->listen))
				continue;
			if (a->is_tcp || b->is_tcp || strcasecmp(a->host, b->host) == 0)
				return err_at(e, -EINVAL, b->name,
					      "has the address of %s: only HTTP services of different hosts share one",
					      a->name);
		}
	}
	return 0;
}

static bool is_wildcard(const struct by_addr *a)
{
	static const struct by_addr any6, any4 = { .b = { [10] = 0xff, [11] = 0xff } };

	return addr_equal(a, &any6) || addr_equal(a, &any4);
}

int md_conf_check(const struct md_conf *c, struct err *e)
{
	char at[ENDPOINT_TEXT];
	const char *where = c->file[0] ? c->file : "environment";

	if (!c->n_client && !c->n_captured && !c->n_tunnels && !c->n_services && !c->n_auth)
		return err_at(e, -EINVAL, where, "there is nothing to serve: no client, no tunnel, no service");
	if (c->n_captured && !c->baileyd[0])
		return err_at(e, -EINVAL, where,
			      "client.captured needs client.baileyd, which knows whose the captured addresses are");
	for (uint32_t i = 0; i < c->n_captured; i++)
		if (is_wildcard(&c->captured[i].addr))
			return err_at(e, -EINVAL, endpoint_print(&c->captured[i], at),
				      "client.captured needs one address: it tells what was captured from what was "
				      "dialled here");
	if (c->n_tunnels && !c->gateway[0] && !c->baileyd[0])
		return err_at(e, -EINVAL, where, "tunnels need client.gateway or client.baileyd to find their targets");
	return services_check(c, e);
}

int md_conf_parse(const char *file, const char *text, size_t len, struct md_conf *conf, struct diags *d)
{
	auto_free struct md_conf *made = calloc(1, sizeof(*made));
	struct yaml_doc *doc = NULL;
	struct conf_parse p = { .d = d };
	const char *slash = strrchr(file, '/');
	struct err e = ERR_INIT;
	int ret = made ? yaml_parse(file, text, len, &doc, d) : -ENOMEM;

	if (ret)
		return ret;
	md_conf_defaults(made);
	p.doc = doc;
	snprintf(p.dir, sizeof(p.dir), "%.*s", slash ? (int)(slash - file) : 1, slash ? file : ".");
	root_read(&p, made);
	snprintf(made->file, sizeof(made->file), "%s", file);
	if (!d->n_errors && md_conf_check(made, &e) < 0)
		yaml_error(doc, yaml_root(doc), d, "%s: %s", e.where, e.msg);
	ret = d->n_errors ? -EINVAL : 0;
	yaml_free(doc);
	if (!ret)
		*conf = *made;
	return ret;
}

int md_conf_load(const char *file, struct md_conf *conf, struct diags *d)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (file_read(file, MD_CONF_FILE_MAX, &text, &len, &e) < 0) {
		diags_add(d, file, 0, 0, "", "%s", e.msg);
		return e.code;
	}
	return md_conf_parse(file, text, len, conf, d);
}
