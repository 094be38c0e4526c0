// SPDX-License-Identifier: Apache-2.0
/*
 * For those who keep nginx: auth_request as dstack-vpc's auth service answers it. nginx says whether its handshake
 * proved the certificate's key (x-client-verify) and hands the certificate over; here it is judged again, by evidence
 * or by the issuer's extensions, and by policy. Nothing of what nginx says is good for more than the key: it can not be
 * believed that its list of CAs is ours.
 */
#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "identity/issuer_chain.h"
#include "identity/x509.h"
#include "worker.h"

static bool same(struct mp_text a, const char *b)
{
	return a.len == strlen(b) && memcmp(a.p, b, a.len) == 0;
}

/* NULL: broken, or with a NUL inside. */
static char *unescape(struct mp_text in)
{
	auto_free char *out = malloc(in.len + 1);
	size_t n = 0;

	for (size_t i = 0; out && i < in.len; i++) {
		char c = in.p[i];

		if (c == '%') {
			if (i + 2 >= in.len || hex_value(in.p[i + 1]) < 0 || hex_value(in.p[i + 2]) < 0)
				return NULL;
			c = (char)(hex_value(in.p[i + 1]) * 16 + hex_value(in.p[i + 2]));
			i += 2;
		}
		if (!c)
			return NULL;
		out[n++] = c;
	}
	if (out)
		out[n] = '\0';
	return take_ptr(out);
}

static int certificates(const struct mp_request *req, STACK_OF(X509) * chain, struct err *e)
{
	X509 *x509[ID_CHAIN_MAX] = { 0 };
	auto_free char *pem = NULL;
	unsigned count;
	struct mp_text field = mp_request_field(req, "x-client-cert", &count);
	int n;

	if (!field.p || count != 1)
		return err_at(e, -EBADMSG, "x-client-cert", "is there %u times, not once", count);
	pem = unescape(field);
	n = pem ? id_x509_from_pem(pem, strlen(pem), x509, ID_CHAIN_MAX) : -1;
	for (int i = 0; i < n; i++)
		sk_X509_push(chain, x509[i]);
	return n > 0 ? 0 : err_at(e, -EBADMSG, "x-client-cert", "is no URL-encoded PEM certificate");
}

static struct md_peer *peer_of(struct md_worker_state *w, const struct mp_request *req, struct err *e)
{
	unsigned count;
	struct mp_text verify = mp_request_field(req, "x-client-verify", &count);
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct md_peer *peer = NULL;
	struct md_verdict verdict;
	unsigned char *der = NULL;
	int len = 0;

	if (count != 1 || !verify.p || !same(verify, "SUCCESS"))
		err_at(e, -EACCES, "x-client-verify", "is not SUCCESS");
	else if (chain && certificates(req, chain, e) == 0)
		len = i2d_X509(sk_X509_value(chain, 0), &der);
	if (len > 0 && md_judge_peer(&w->judge, der, (size_t)len, chain, &verdict, e) == 0)
		peer = md_peer_get(w->peers, &verdict);
	OPENSSL_free(der);
	sk_X509_pop_free(chain, X509_free);
	return peer;
}

/* What nginx was asked, where it says so: proxy_set_header X-Original-Method $request_method, X-Original-URI. */
static bool may(struct md_worker_state *w, const struct mp_request *req, struct md_peer *peer, struct err *e)
{
	unsigned n_method, n_uri;
	struct mp_text method = mp_request_field(req, "x-original-method", &n_method),
		       uri = mp_request_field(req, "x-original-uri", &n_uri);
	bool is_told = n_method == 1 && n_uri == 1 && method.len < 64 && uri.len < 32768;
	static char m[64], u[32768];
	struct md_decision d;

	md_copy(m, sizeof(m), method);
	md_copy(u, sizeof(u), uri);
	md_decide(w->rules, peer, false, w->conf->auth_port, is_told ? m : NULL, is_told ? u : NULL, &d);
	w->counts.audited += d.is_audited;
	if (!d.is_allowed)
		err_at(e, -EACCES, "policy", "%s", d.why);
	return d.is_allowed;
}

enum mp_verdict md_route_auth(struct md_worker_state *w, const struct mp_request *req, struct mp_route *route,
			      struct err *e)
{
	const struct md_service all = { .tell_instance = true, .tell_verified = true };
	struct md_peer *peer;
	enum mp_verdict v;

	if (!same(req->method, "GET"))
		return md_refuse(route, MP_ERR_NOT_FOUND, e, "only GET is known here");
	if (same(req->target, "/health"))
		return md_respond(route, 200, "text/plain", "");
	if (!same(req->target, "/auth"))
		return md_refuse(route, MP_ERR_NOT_FOUND, e, "only /auth and /health are here");
	peer = peer_of(w, req, e);
	if (!peer) {
		route->error = MP_ERR_UNAUTHORIZED;
		return MP_REFUSE;
	}
	route->error = MP_ERR_DENIED;
	v = may(w, req, peer, e) ? md_respond(route, 200, "text/plain", "") : MP_REFUSE;
	if (v == MP_RESPOND)
		md_tell(w, &all, peer, route);
	mp_peer_unref(&peer->mp);
	return v;
}
