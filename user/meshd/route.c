// SPDX-License-Identifier: Apache-2.0
/* The engine's questions: who is it, where to, what went wrong. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "worker.h"

enum mp_verdict md_respond(struct mp_route *route, int status, const char *type, const char *body)
{
	route->status = status;
	route->content_type = type;
	route->body = strdup(body);
	route->body_len = route->body ? strlen(body) : 0;
	return MP_RESPOND;
}

enum mp_verdict md_refuse(struct mp_route *route, enum mp_error error, struct err *e, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_at(e, -EINVAL, "request", "%s", text);
	route->error = error;
	return MP_REFUSE;
}

static const struct md_door *door_of(const struct mp_request *req)
{
	return req->listener_data;
}

static enum mp_verdict route(const struct mp_request *req, struct mp_route *to, struct err *e, void *arg)
{
	struct md_worker_state *w = arg;
	const struct md_door *door = door_of(req);

	switch (door->listen.kind) {
	case MD_LISTEN_CLIENT:
		return md_route_client(w, req, to, e);
	case MD_LISTEN_TUNNEL:
		return md_route_tunnel(w, req, &door->listen.at, to, e);
	case MD_LISTEN_SERVICE:
		return md_route_service(w, req, &door->listen.at, to, e);
	case MD_LISTEN_CAPTURED:
		return md_route_captured(w, req, to, e);
	case MD_LISTEN_AUTH:
		return md_route_auth(w, req, to, e);
	default:
		return md_refuse(to, MP_ERR_NOT_FOUND, e, "nothing is here");
	}
}

static SSL *tls_client(struct mp_upstream *up, struct err *e, void *arg)
{
	return md_tls_client(arg, mp_upstream_data(up), e);
}

static SSL *tls_server(const struct mp_listener *listener, void *data, struct err *e, void *arg)
{
	const struct md_door *door = data;

	(void)listener;
	return md_tls_server(arg, !door->is_tcp, e);
}

/* --- who is it --- */

/* The one that was asked for, and one that we may ask. */
static enum mp_verdict expected(struct md_worker_state *w, const struct md_want *want, uint64_t token,
				struct md_peer *peer, enum mp_error *error, struct err *e)
{
	const struct md_asked_for *asked = md_asked_for(w, token);
	struct md_decision d;

	*error = MP_ERR_VERIFICATION_FAILED;
	if (strcmp(peer->mp.app, want->app) != 0) {
		err_at(e, -EACCES, "peer", "is app %s, not %s", peer->mp.app, want->app);
		return MP_REFUSE;
	}
	if (want->instance[0] && strcmp(peer->mp.instance, want->instance) != 0) {
		err_at(e, -EACCES, "peer", "is instance %s, not %s",
		       peer->mp.instance[0] ? peer->mp.instance : "unknown", want->instance);
		return MP_REFUSE;
	}
	md_decide(w->rules, peer, true, want->policy_port, asked ? asked->method : NULL, asked ? asked->target : NULL,
		  &d);
	if (d.is_allowed)
		return MP_GO;
	*error = MP_ERR_DENIED;
	err_at(e, -EACCES, "policy", "%s", d.why);
	return MP_REFUSE;
}

static enum mp_verdict peer(SSL *ssl, struct mp_upstream *up, uint64_t token, struct mp_peer **out,
			    enum mp_error *error, struct err *e, void *arg)
{
	struct md_target *target = up ? mp_upstream_data(up) : NULL;
	const struct md_verdict *v = md_shake_verdict(ssl);
	struct md_worker_state *w = arg;
	enum mp_verdict verdict = MP_GO;
	struct md_peer *known = NULL;

	*out = NULL;
	*error = MP_ERR_VERIFICATION_FAILED;
	if (v && !(known = md_peer_get(w->peers, v))) {
		err_at(e, -ENOMEM, "peer", "out of memory");
		return MP_REFUSE;
	}
	if (target && target->want.way == MD_WAY_MTLS && !known) {
		err_at(e, -EACCES, "peer", "proved nothing");
		return MP_REFUSE;
	}
	if (target && target->want.way == MD_WAY_MTLS)
		verdict = expected(w, &target->want, token, known, error, e);
	if (target && known && verdict == MP_GO)
		md_target_met(target, known);
	md_shake_done(ssl, verdict == MP_GO ? known : NULL);
	if (known && verdict == MP_GO)
		*out = &known->mp;
	else if (known)
		mp_peer_unref(&known->mp);
	return verdict;
}

static enum mp_error tls_failed(SSL *ssl, struct mp_upstream *up, struct err *e, void *arg)
{
	(void)up, (void)arg;
	return md_shake_error(ssl, e);
}

static void refused(const struct mp_request *req, enum mp_error error, const struct err *e, void *arg)
{
	struct msg_refused m = { .err = *e };
	struct md_worker_state *w = arg;

	if (error < MP_ERR_COUNT)
		w->counts.error[error]++;
	if (error == MP_ERR_DENIED || error == MP_ERR_VERIFICATION_FAILED) {
		snprintf(m.origin, sizeof(m.origin), "%s", req && req->peer ? req->peer->app : "mesh");
		ipc_send(w->parent, MSG_EDGE_REFUSED, &m, sizeof(m), -1);
	}
}

const struct mp_ops md_ops = { .route = route,
			       .tls_client = tls_client,
			       .tls_server = tls_server,
			       .peer = peer,
			       .tls_failed = tls_failed,
			       .leg = md_leg,
			       .refused = refused };
