// SPDX-License-Identifier: Apache-2.0
/*
 * From local applications: dstack-vpc's headers say where to. Stricter than there: what is not understood is refused,
 * never replaced by a default that goes somewhere else or proves less.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "worker.h"

static bool same(struct mp_text a, const char *b)
{
	return a.len == strlen(b) && strncasecmp(a.p, b, a.len) == 0;
}

/* --- where it is --- */

/* A peer that baileyd knows is dialled on the overlay. */
static bool on_overlay(const struct md_worker_state *w, const struct md_want *want, struct by_addr *addr)
{
	uint8_t app[BY_APP_ID_LEN], instance[BY_INSTANCE_ID_LEN];

	if (!w->n_nodes || !hex_parse(app, sizeof(app), want->app))
		return false;
	if (want->instance[0] && !hex_parse(instance, sizeof(instance), want->instance))
		return false;
	for (size_t i = 0; i < w->n_nodes; i++) {
		const struct md_node *n = &w->nodes[i];

		if (memcmp(n->app, app, sizeof(app)) != 0 ||
		    (want->instance[0] && memcmp(n->instance, instance, sizeof(instance)) != 0))
			continue;
		*addr = n->addr[0];
		return true;
	}
	return false;
}

static bool has_addr(const struct md_node *n, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < n->n_addrs; i++)
		if (addr_equal(&n->addr[i], addr))
			return true;
	return false;
}

/* The node at that address: that there is another of the same app is no comfort. */
bool md_node_is_gone(const struct md_worker_state *w, const struct md_want *want)
{
	uint8_t app[BY_APP_ID_LEN], instance[BY_INSTANCE_ID_LEN];
	struct by_addr addr;

	if (!want->on_overlay || !w->has_nodes)
		return false;
	if (!addr_parse(&addr, want->host) || !hex_parse(app, sizeof(app), want->app) ||
	    (want->instance[0] && !hex_parse(instance, sizeof(instance), want->instance)))
		return true;
	for (size_t i = 0; i < w->n_nodes; i++) {
		const struct md_node *n = &w->nodes[i];

		if (memcmp(n->app, app, sizeof(app)) == 0 && has_addr(n, &addr) &&
		    (!want->instance[0] || memcmp(n->instance, instance, sizeof(instance)) == 0))
			return false;
	}
	return true;
}

static bool place_it(const struct md_worker_state *w, struct md_want *want)
{
	const char *gateway = w->conf->gateway;
	const struct md_place *at = &w->conf->gateway_at;
	struct by_addr addr;

	if (want->way == MD_WAY_MTLS && on_overlay(w, want, &addr)) {
		addr_print(&addr, want->host);
		want->port = want->policy_port;
		want->on_overlay = true;
		return true;
	}
	if (!gateway[0])
		return false;
	want->port = at->port;
	if (strncmp(gateway, "direct/", 7) == 0)
		want->port = want->policy_port;
	else if (strncmp(gateway, "fixed/", 6) != 0)
		return snprintf(want->host, sizeof(want->host), "%s-%u%s.%.180s",
				want->instance[0] ? want->instance : want->app, want->policy_port,
				want->way == MD_WAY_MTLS ? "s" : "", at->host) < (int)sizeof(want->host);
	memcpy(want->host, at->host, sizeof(want->host));
	return true;
}

/* --- what is asked of it: kept until its handshake says who it is --- */

const struct md_asked_for *md_asked_for(const struct md_worker_state *w, uint64_t token)
{
	const struct md_asked_for *a = &w->recent[token % MD_RECENT];

	return a->token == token && a->method ? a : NULL;
}

/* One after the other comes by a connection, with one token: each is judged as itself. */
static void remember(struct md_worker_state *w, const struct mp_request *req)
{
	struct md_asked_for *a = &w->recent[req->token % MD_RECENT];
	const size_t size = req->method.len + req->target.len + 2;

	a->token = req->token;
	a->method = a->target = NULL;
	if (!req->is_http)
		return;
	if (a->size < size) {
		free(a->text);
		a->text = malloc(size);
		a->size = a->text ? size : 0;
	}
	if (!a->text)
		return;
	a->method = a->text;
	a->target = a->text + req->method.len + 1;
	md_copy(a->text, size, req->method);
	md_copy(a->text + req->method.len + 1, req->target.len + 1, req->target);
}

static bool may_ask(struct md_worker_state *w, const struct mp_request *req, struct mp_upstream *up,
		    struct mp_route *route, struct err *e)
{
	const struct md_target *t = mp_upstream_data(up);
	const struct md_asked_for *asked = md_asked_for(w, req->token);
	struct md_decision d;

	if (t->want.way != MD_WAY_MTLS || !t->last_peer)
		return true; /* its handshake decides */
	md_decide(w->rules, t->last_peer, true, t->want.policy_port, asked ? asked->method : NULL,
		  asked ? asked->target : NULL, &d);
	w->counts.audited += d.is_audited;
	memcpy(route->rule, d.rule, sizeof(route->rule));
	if (!d.is_allowed)
		md_refuse(route, MP_ERR_DENIED, e, "%s", d.why);
	return d.is_allowed;
}

enum mp_verdict md_dial(struct md_worker_state *w, const struct mp_request *req, const struct md_want *want,
			struct mp_route *route, struct err *e)
{
	enum mp_verdict v;

	remember(w, req);
	v = md_target_find(w->targets, want, req->token, &route->up, e);
	route->error = MP_ERR_CONNECTION_FAILED;
	return v == MP_GO && !may_ask(w, req, route->up, route, e) ? MP_REFUSE : v;
}

/* --- what the headers say --- */

static enum mp_verdict bad(struct mp_route *route, struct err *e, const char *header, const char *needed)
{
	return md_refuse(route, MP_ERR_BAD_REQUEST, e, "%s: %s", header, needed);
}

/* MP_GO: taken, or not there. */
static enum mp_verdict id_read(const struct mp_request *req, const char *header, char id[MP_ID_TEXT],
			       struct mp_route *route, struct err *e)
{
	unsigned count;
	struct mp_text v = mp_request_field(req, header, &count);

	if (count > 1)
		return bad(route, e, header, "more than one");
	if (v.p && v.len != MP_ID_TEXT - 1)
		return bad(route, e, header, "needs 40 hex digits");
	for (size_t i = 0; v.p && i < v.len; i++) {
		if (!isxdigit((unsigned char)v.p[i]))
			return bad(route, e, header, "needs 40 hex digits");
		id[i] = (char)tolower((unsigned char)v.p[i]);
	}
	return MP_GO;
}

static enum mp_verdict port_read(const struct mp_request *req, uint16_t *port, struct mp_route *route, struct err *e)
{
	static const char header[] = "x-dstack-target-port";
	unsigned count, n = 0;
	struct mp_text v = mp_request_field(req, header, &count);

	if (count > 1)
		return bad(route, e, header, "more than one");
	if (!v.p)
		return MP_GO;
	for (size_t i = 0; i < v.len && n <= 65535; i++)
		n = isdigit((unsigned char)v.p[i]) ? n * 10 + (unsigned)(v.p[i] - '0') : 65536;
	if (!n || n > 65535)
		return bad(route, e, header, "needs a port from 1 to 65535");
	*port = (uint16_t)n;
	return MP_GO;
}

static enum mp_verdict way_read(const struct md_worker_state *w, const struct mp_request *req, enum md_way *way,
				struct mp_route *route, struct err *e)
{
	static const char header[] = "x-dstack-target-use-tls";
	unsigned count;
	struct mp_text v = mp_request_field(req, header, &count);

	if (count > 1)
		return bad(route, e, header, "more than one");
	if (!v.p || same(v, "true") || same(v, "1"))
		return MP_GO;
	if (!same(v, "false") && !same(v, "0"))
		return bad(route, e, header, "needs true or false");
	if (!w->tls.open)
		return md_refuse(route, MP_ERR_BAD_REQUEST, e,
				 "%s: false: client.public_ca does not say whom to believe then", header);
	*way = MD_WAY_PUBLIC;
	return MP_GO;
}

static enum mp_verdict to_target(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
				 struct err *e)
{
	struct md_want want = { .way = MD_WAY_MTLS, .policy_port = w->conf->default_port };
	enum mp_verdict v = id_read(req, "x-dstack-target-app", want.app, route, e);
	unsigned count;

	if (v == MP_GO && mp_request_field(req, "x-dstack-target-instance", &count).len)
		v = id_read(req, "x-dstack-target-instance", want.instance, route, e);
	if (v == MP_GO)
		v = port_read(req, &want.policy_port, route, e);
	if (v == MP_GO)
		v = way_read(w, req, &want.way, route, e);
	if (v != MP_GO)
		return v;
	if (!place_it(w, &want))
		return md_refuse(route, MP_ERR_CONNECTION_FAILED, e,
				 "app %s is no peer that is known here, and there is no gateway", want.app);
	return md_dial(w, req, &want, route, e);
}

/* --- without a target: the guest agent --- */

/* "/get_quote?x" -> "/GetQuote?x": a last segment in snake case; any other stays. */
static void agent_path(struct mp_text target, char *path, size_t size)
{
	size_t end = 0, start = 0, n = 0;
	bool up = true;

	while (end < target.len && target.p[end] != '?') {
		if (target.p[end] == '/')
			start = end + 1;
		end++;
	}
	for (size_t i = start; i < end; i++)
		if (!islower((unsigned char)target.p[i]) && !isdigit((unsigned char)target.p[i]) &&
		    target.p[i] != '_' && target.p[i] != '-')
			start = end;
	for (size_t i = 0; i < target.len && n + 1 < size; i++) {
		bool is_join = i >= start && i < end && (target.p[i] == '_' || target.p[i] == '-');

		if (!is_join)
			path[n++] =
				i >= start && i < end && up ? (char)toupper((unsigned char)target.p[i]) : target.p[i];
		if (i >= start && i < end)
			up = is_join;
	}
	path[n] = '\0';
}

static enum mp_verdict to_agent(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
				struct err *e)
{
	struct md_want want = { .way = MD_WAY_PLAIN };
	static char path[8192];

	if (!w->conf->agent_access)
		return md_refuse(route, MP_ERR_NOT_FOUND, e, "there is no x-dstack-target-app, and no agent here");
	if (!same(req->method, "GET") && !same(req->method, "POST"))
		return md_refuse(route, MP_ERR_NOT_FOUND, e, "the agent knows GET and POST");
	if (req->target.len >= sizeof(path))
		return md_refuse(route, MP_ERR_BAD_REQUEST, e, "the path is too long");
	snprintf(want.host, sizeof(want.host), "%.250s", w->conf->agent);
	agent_path(req->target, path, sizeof(path));
	route->target = path;
	return md_dial(w, req, &want, route, e);
}

static enum mp_verdict gateway(const struct md_worker_state *w, struct mp_route *route)
{
	char body[MD_HOST_LEN + 64];

	snprintf(body, sizeof(body), "{\"gateway_domain\":\"%s\"}", w->conf->gateway);
	return md_respond(route, 200, "application/json", body);
}

enum mp_verdict md_route_client(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
				struct err *e)
{
	unsigned count;
	struct mp_text app = mp_request_field(req, "x-dstack-target-app", &count);

	if (app.p)
		return to_target(w, req, route, e);
	if (same(req->target, "/health"))
		return same(req->method, "GET") || same(req->method, "HEAD")
			       ? md_respond(route, 200, "text/plain", "")
			       : md_refuse(route, MP_ERR_NOT_FOUND, e, "/health is for GET");
	if (same(req->target, "/gateway") && same(req->method, "GET"))
		return gateway(w, route);
	return to_agent(w, req, route, e);
}

enum mp_verdict md_route_tunnel(struct md_worker_state *w, const struct mp_request *req, const struct ip_endpoint *at,
				struct mp_route *route, struct err *e)
{
	struct md_want want = { .way = MD_WAY_MTLS };
	const struct md_tunnel *t = NULL;

	for (uint32_t i = 0; i < w->conf->n_tunnels && !t; i++)
		if (w->conf->tunnel[i].listen.port == at->port &&
		    addr_equal(&w->conf->tunnel[i].listen.addr, &at->addr))
			t = &w->conf->tunnel[i];
	if (!t)
		return md_refuse(route, MP_ERR_NOT_FOUND, e, "no tunnel is here any more");
	hex_print(want.app, t->app, BY_APP_ID_LEN);
	if (t->has_instance)
		hex_print(want.instance, t->instance, BY_INSTANCE_ID_LEN);
	want.policy_port = t->port;
	if (!place_it(w, &want))
		return md_refuse(route, MP_ERR_CONNECTION_FAILED, e,
				 "app %s is no peer that is known here, and there is no gateway", want.app);
	return md_dial(w, req, &want, route, e);
}
