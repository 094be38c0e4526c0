// SPDX-License-Identifier: Apache-2.0
/* From peers: policy decides, for each request anew, and the backend is told who asks. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "worker.h"

static bool same(struct mp_text a, const char *b)
{
	return a.len == strlen(b) && strncasecmp(a.p, b, a.len) == 0;
}

/* The name in a Host field, without its port. */
static struct mp_text name_of(struct mp_text host)
{
	size_t n = host.len;

	while (n && isdigit((unsigned char)host.p[n - 1]))
		n--;
	if (n && n < host.len + 1 && host.p[n - 1] == ':')
		host.len = n - 1;
	return host;
}

static bool is_at(const struct md_service *s, const struct ip_endpoint *at)
{
	return s->listen.port == at->port && addr_equal(&s->listen.addr, &at->addr);
}

static const struct md_service *service_of(const struct md_worker_state *w, const struct mp_request *req,
					   const struct ip_endpoint *at)
{
	struct mp_text name = name_of(req->host);
	const struct md_service *any = NULL;

	for (uint32_t i = 0; i < w->conf->n_services; i++) {
		const struct md_service *s = &w->conf->service[i];

		if (!is_at(s, at))
			continue;
		if (!s->host[0])
			any = s;
		else if (req->is_http && name.p && same(name, s->host))
			return s;
	}
	return any;
}

/* --- what the backend is told --- */

/* One more line, and where the next one starts. What finds no room is left out. */
static size_t put(struct md_worker_state *w, size_t at, const char *name, const char *value)
{
	const size_t name_len = strlen(name), len = strlen(value), whole = name_len + len + 4;
	char *p = w->headers + at;

	if (whole > sizeof(w->headers) - at)
		return at;
	p = mempcpy(p, name, name_len);
	p = mempcpy(p, ": ", 2);
	p = mempcpy(p, value, len);
	memcpy(p, "\r\n", 2);
	return at + whole;
}

void md_tell(struct md_worker_state *w, const struct md_service *s, struct md_peer *peer, struct mp_route *route)
{
	const char *claims = s->tell_claims ? md_peer_claims(peer) : NULL;
	size_t n = put(w, 0, "X-Dstack-App-Id", peer->mp.app);

	if (s->tell_instance && peer->mp.instance[0])
		n = put(w, n, "X-Dstack-Instance-Id", peer->mp.instance);
	/* "issuer": a CA vouches for it; only evidence is a proof */
	if (s->tell_verified)
		n = put(w, n, "X-Dstack-Verified",
			peer->verdict.by_issuer             ? "issuer"
			: peer->verdict.claims.is_simulated ? "simulated"
							    : "true");
	if (claims)
		n = put(w, n, "X-Dstack-Claims", claims);
	route->headers = w->headers;
	route->headers_len = n;
}

/* --- may it --- */

/*
 * Of a request that is under way only the port is kept. So it is asked as a connection that may say anything: where
 * rules about requests are in play the answer is no, and the client asks again.
 */
bool md_still_may(struct md_worker_state *w, const struct mp_relay *relay, const struct ip_endpoint *at)
{
	struct md_decision d;
	bool is_there = false;

	for (uint32_t i = 0; i < w->conf->n_services; i++)
		is_there |= is_at(&w->conf->service[i], at) && w->conf->service[i].port == relay->rule_id;
	if (!is_there || !w->rules_changed)
		return is_there;
	md_decide(w->rules, (struct md_peer *)relay->in, false, (uint16_t)relay->rule_id, NULL, NULL, &d);
	return d.is_allowed;
}

static bool may(struct md_worker_state *w, const struct mp_request *req, const struct md_service *s,
		struct md_peer *peer, struct mp_route *route, struct err *e)
{
	static char target[65536];
	char method[64];
	struct md_decision d;

	md_copy(method, sizeof(method), req->method);
	md_copy(target, sizeof(target), req->target);
	md_decide(w->rules, peer, false, s->port, req->is_http ? method : NULL, req->is_http ? target : NULL, &d);
	w->counts.audited += d.is_audited;
	memcpy(route->rule, d.rule, sizeof(route->rule));
	route->rule_id = s->port;
	if (!d.is_allowed)
		md_refuse(route, MP_ERR_DENIED, e, "%s", d.why);
	return d.is_allowed;
}

static enum mp_verdict to_backend(struct md_worker_state *w, const struct mp_request *req, const struct md_service *s,
				  struct mp_route *route, struct err *e)
{
	struct md_want want = { .way = MD_WAY_PLAIN, .port = s->backend.port, .is_h2 = s->is_h2 };
	enum mp_verdict v;

	memcpy(want.host, s->backend.host, sizeof(want.host));
	v = md_target_find(w->targets, &want, req->token, &route->up, e);
	route->error = MP_ERR_CONNECTION_FAILED;
	return v;
}

enum mp_verdict md_route_service(struct md_worker_state *w, const struct mp_request *req, const struct ip_endpoint *at,
				 struct mp_route *route, struct err *e)
{
	const struct md_service *s = service_of(w, req, at);
	struct md_peer *peer = req->peer ? (struct md_peer *)req->peer : NULL;

	/* who shows no certificate may ask whether somebody is here, as in dstack-vpc, and nothing else */
	if (!peer && req->is_http && same(req->target, "/health") && same(req->method, "GET"))
		return md_respond(route, 200, "text/plain", "healthy\n");
	if (!peer)
		return md_refuse(route, MP_ERR_UNAUTHORIZED, e, "a client certificate is needed");
	if (!s)
		return md_refuse(route, MP_ERR_NOT_FOUND, e, "no service has this host name");
	if (!may(w, req, s, peer, route, e))
		return MP_REFUSE;
	if (req->is_http)
		md_tell(w, s, peer, route);
	return to_backend(w, req, s, route, e);
}
