// SPDX-License-Identifier: Apache-2.0
/*
 * A worker process: what the parent says becomes contexts, doors and rules. What comes before APPLY is kept beside what
 * is in use; APPLY takes all of it into use, or nothing, and whoever is connected by the old and would not be by the
 * new is cut.
 */
#include "role.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "baileyd/box.h"
#include "baileyd/proc.h"
#include "identity/x509.h"
#include "worker.h"

#define TEXT_MAX (48u << 20) /* a policy in JSON */

static void take_text(const struct ipc_msg *msg, char **text)
{
	uint8_t *data;
	size_t len;

	if (ipc_blob_read(msg->fd, TEXT_MAX, &data, &len) < 0)
		return;
	free(*text);
	*text = (char *)data;
}

static void tell_refused(struct md_worker_state *w, const char *origin, const struct err *err)
{
	struct msg_refused m = { .err = *err };

	snprintf(m.origin, sizeof(m.origin), "%s", origin);
	ipc_send(w->parent, MSG_EDGE_REFUSED, &m, sizeof(m), -1);
}

/* --- the own certificate --- */

static bool same_node(const struct id_claims *a, const struct id_claims *b)
{
	return memcmp(a->app_id, b->app_id, BY_APP_ID_LEN) == 0 &&
	       memcmp(a->instance_id, b->instance_id, BY_INSTANCE_ID_LEN) == 0;
}

/* CA: "agent" means whoever signed our own certificate: the last of the chain, as dstack-vpc has it. */
static void ca_from_chain(struct md_worker_state *w)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	const char *at = strstr(w->chain, begin), *last = at;

	if (!w->conf->trust_ca || w->conf->ca[0])
		return;
	while (at) {
		last = at;
		at = strstr(at + 1, begin);
	}
	free(w->judge.ca);
	w->judge.ca = last ? strdup(last) : NULL;
	md_judge_settle(&w->judge);
}

static int leaf_is_of(const char *chain, const uint8_t spki[ID_SPKI_LEN], struct err *e)
{
	X509 *x509[16] = { 0 };
	int n = id_x509_from_pem(chain, strlen(chain), x509, ARRAY_LEN(x509));
	uint8_t own[ID_SPKI_LEN];
	bool ok = n > 0 && id_p256_spki(X509_get0_pubkey(x509[0]), own) && memcmp(own, spki, sizeof(own)) == 0;

	for (int i = 0; i < n; i++)
		X509_free(x509[i]);
	return ok ? 0 : err_at(e, -EINVAL, "own key", "is not the key of the certificate");
}

/* New contexts for the certificate that is there; the old ones end with their last connection. */
static int identity_apply(struct md_worker_state *w, struct err *e)
{
	struct md_verdict self;
	EVP_PKEY *key = NULL;
	struct md_tls tls;
	int ret;

	ca_from_chain(w);
	ret = md_judge_self(&w->judge, w->chain, &self, e);
	if (!ret && w->has_self && !same_node(&self.claims, &w->self.claims))
		ret = err_at(e, -EPERM, "own certificate", "is of another app or instance than before: restart");
	if (!ret)
		ret = leaf_is_of(w->chain, w->cert.spki, e);
	if (!ret)
		ret = sign_client_key(w->signer, w->cert.number, w->cert.spki, &key, e);
	if (!ret)
		ret = md_tls_new(w, w->chain, key, w->public_ca, &tls, e);
	EVP_PKEY_free(key);
	if (ret < 0)
		return ret;
	md_tls_fini(&w->tls);
	w->tls = tls;
	w->self = self;
	w->has_self = true;
	return 0;
}

/* --- what holds of those that are connected --- */

static bool side_gone(struct md_worker_state *w, const struct mp_peer *mp)
{
	const struct md_peer *peer = (const struct md_peer *)mp;

	return mp && (peer->verdict.by_issuer != w->conf->trust_ca || peer->verdict.until <= time(NULL) ||
		      memcmp(peer->verdict.meaning, w->judge.meaning, sizeof(w->judge.meaning)) != 0);
}

/* A request is judged when it comes, a tunnel goes on for ever: what its rule said once is asked again. */
static bool is_gone(const struct mp_relay *relay, void *arg)
{
	const struct md_target *target = relay->up ? mp_upstream_data(relay->up) : NULL;
	struct md_worker_state *w = arg;
	const struct md_door *door = relay->listener_data;
	struct md_decision d;

	if (side_gone(w, relay->in) || side_gone(w, relay->out))
		return true;
	if (relay->in && door && relay->is_active && !md_still_may(w, relay, &door->listen.at))
		return true;
	if (!relay->out || !target)
		return false;
	if (md_node_is_gone(w, &target->want))
		return true;
	if (!w->rules_changed || !relay->is_active)
		return false;
	md_decide(w->rules, (struct md_peer *)relay->out, true, target->want.policy_port, NULL, NULL, &d);
	return !d.is_allowed;
}

static unsigned recheck(struct md_worker_state *w)
{
	return mp_cut(w->mp, is_gone, w);
}

/* --- apply --- */

static void swap(char **now, char **next)
{
	free(*now);
	*now = take_ptr(*next);
}

static int rules_apply(struct md_worker_state *w, struct err *e)
{
	const struct pol_subject self = evp_subject(&w->self.claims);
	struct md_rules *made = NULL;
	char before[sizeof(w->applied.digest)];

	memcpy(before, w->applied.digest, sizeof(before));
	w->applied.digest[0] = '\0';
	w->applied.n_rules = 0;
	if (w->rules_json && md_rules_new(w->rules_json, &self, &made, w->applied.digest, &w->applied.n_rules, e) < 0)
		return e->code;
	md_rules_free(w->rules);
	w->rules = made;
	w->rules_changed = strcmp(before, w->applied.digest) != 0;
	return 0;
}

static int apply(struct md_worker_state *w, struct err *e)
{
	int ret = identity_apply(w, e);

	if (!ret)
		ret = rules_apply(w, e);
	if (!ret)
		ret = md_doors_apply(w, e);
	if (ret < 0)
		return ret;
	md_targets_forget(w->targets);
	w->applied.cut = recheck(w);
	return 0;
}

static struct mp_conf engine_conf(struct md_worker_state *w)
{
	const struct md_limits *l = &w->conf->limits;
	const unsigned no_paths =
		(w->conf->no_splice ? 1u << MP_PATH_SPLICED : 0) | (w->conf->no_ktls ? 1u << MP_PATH_KTLS : 0);

	return (struct mp_conf){ .base = w->base,
				 .ops = md_ops,
				 .arg = w,
				 .max_connections = l->connections,
				 .max_head = l->head_bytes,
				 .max_fields = l->fields,
				 .head_ms = l->head_s * 1000,
				 .connect_ms = l->connect_s * 1000,
				 .response_ms = l->response_s * 1000,
				 .idle_ms = l->idle_s * 1000,
				 .keepalive_ms = l->keepalive_s * 1000,
				 .ktls = w->applied.ktls.code == 0,
				 .no_paths = no_paths };
}

static void tell_applied(struct md_worker_state *w, int code, const struct err *e)
{
	w->applied.code = code;
	w->applied.err = *e;
	w->applied.self = w->self.claims;
	w->applied.has_self = w->has_self;
	ipc_send(w->parent, MD_APPLIED, &w->applied, sizeof(w->applied), -1);
}

static int apply_now(struct md_worker_state *w)
{
	struct mp_conf conf = engine_conf(w);
	struct err e = ERR_INIT;
	int ret = w->mp ? 0 : mp_new(&conf, &w->mp, &e);

	if (!ret)
		ret = apply(w, &e);
	if (w->mp)
		mp_renew(w->mp, w->round); /* of a new engine; else it goes on as before, until ROUND comes */
	tell_applied(w, ret, &e);
	return ret;
}

static void exchange_text(char **a, char **b)
{
	char *was = *a;

	*a = *b;
	*b = was;
}

/* What is in use, and what came for the next APPLY. */
static void exchange(struct md_worker_state *w)
{
	struct md_conf *was = w->conf;

	w->conf = w->next_conf;
	w->next_conf = was;
	w->judge.conf = w->conf;
	exchange_text(&w->judge.ca, &w->next_ca);
	exchange_text(&w->judge.roots, &w->next_roots);
	exchange_text(&w->public_ca, &w->next_public_ca);
	exchange_text(&w->rules_json, &w->next_rules);
	edge_trust_exchange(w->judge.evidence, &w->next_evidence);
	md_judge_settle(&w->judge);
}

static void next_forget(struct md_worker_state *w)
{
	char *none = NULL;

	free(take_ptr(w->next_conf));
	swap(&w->next_ca, &none);
	swap(&w->next_public_ca, &none);
	swap(&w->next_roots, &none);
	swap(&w->next_rules, &none);
	free(take_ptr(w->next_evidence));
}

static void on_apply(struct md_worker_state *w, const struct md_number *m)
{
	bool had_applied = w->has_applied;

	if (!m || !w->next_conf)
		return;
	exchange(w);
	w->applied.n = m->n;
	w->has_applied = true;
	/* without a certificate it is done with that: until then clients wait in the backlog */
	if (w->chain && apply_now(w) < 0 && had_applied) {
		exchange(w);
		md_doors_forget(w);
	}
	next_forget(w);
}

static void on_cert(struct md_worker_state *w, struct ipc_msg *msg)
{
	const struct md_cert *m = ipc_as(msg, sizeof(*m));
	struct err e = ERR_INIT;
	struct md_cert old = w->cert;
	char *old_chain = w->chain;
	struct md_number refused;

	if (!m || msg->fd < 0)
		return;
	w->chain = NULL;
	take_text(msg, &w->chain);
	w->cert = *m;
	refused.n = m->number;
	if (!w->has_applied || !w->chain) {
		free(old_chain);
		return;
	}
	if (!w->has_self) {
		free(old_chain);
		apply_now(w);
		return;
	}
	if (identity_apply(w, &e) < 0) { /* the old one goes on */
		tell_refused(w, "own certificate", &e);
		ipc_send(w->parent, MD_CERT_REFUSED, &refused, sizeof(refused), -1);
		free(w->chain);
		w->chain = old_chain;
		w->cert = old;
		return;
	}
	free(old_chain);
	md_targets_forget(w->targets); /* peers that know the old one end it with its connections */
}

/* --- answers --- */

static void each_flow(const struct mp_relay *r, void *arg)
{
	const struct md_ask *ask = ((void **)arg)[1];
	struct md_worker_state *w = ((void **)arg)[0];
	struct md_flow m = { .token = ask->token,
			     .path = r->path,
			     .is_active = r->is_active,
			     .is_tunnel = r->is_tunnel,
			     .is_stream = r->is_stream,
			     .is_session = r->is_session,
			     .streams = r->streams,
			     .is_pooled = r->is_pooled,
			     .age_ms = r->age_ms,
			     .idle_ms = r->idle_ms,
			     .bytes_up = r->bytes_up,
			     .bytes_down = r->bytes_down,
			     .requests = r->requests };

	snprintf(m.listener, sizeof(m.listener), "%s", r->listener_name ? r->listener_name : "");
	snprintf(m.upstream, sizeof(m.upstream), "%s", r->upstream_name ? r->upstream_name : "");
	snprintf(m.rule, sizeof(m.rule), "%s", r->rule ? r->rule : "");
	if (r->in) {
		memcpy(m.in_app, r->in->app, sizeof(m.in_app));
		memcpy(m.in_instance, r->in->instance, sizeof(m.in_instance));
	}
	if (r->out) {
		memcpy(m.out_app, r->out->app, sizeof(m.out_app));
		memcpy(m.out_instance, r->out->instance, sizeof(m.out_instance));
	}
	if (r->from)
		endpoint_from_sockaddr(&m.from, r->from);
	if (r->to)
		endpoint_from_sockaddr(&m.to, r->to);
	ipc_send(w->parent, MD_FLOW, &m, sizeof(m), -1);
}

static void on_ask(struct md_worker_state *w, const struct md_ask *ask)
{
	const struct msg_token done = { .token = ask->token };
	void *arg[2] = { w, (void *)ask };

	w->counts.token = ask->token;
	if (w->mp)
		mp_counters(w->mp, &w->counts.engine);
	ipc_send(w->parent, MD_COUNTS, &w->counts, sizeof(w->counts), -1);
	if (ask->with_flows && w->mp)
		mp_each_relay(w->mp, each_flow, arg);
	ipc_send(w->parent, MD_ASKED, &done, sizeof(done), -1);
}

static void on_drained(void *arg)
{
	struct md_worker_state *w = arg;

	ipc_send(w->parent, MD_DRAINED, NULL, 0, -1);
}

static void on_drain(struct md_worker_state *w, const struct md_number *m)
{
	if (m && w->mp)
		mp_drain(w->mp, m->n, on_drained, w);
	else
		on_drained(w);
}

static void on_nodes(struct md_worker_state *w, struct ipc_msg *msg)
{
	uint8_t *data;
	size_t len;

	if (ipc_blob_read(msg->fd, TEXT_MAX, &data, &len) < 0)
		return;
	if (len % sizeof(*w->nodes)) {
		free(data);
		return;
	}
	free(w->nodes);
	w->nodes = (struct md_node *)(void *)data;
	w->n_nodes = len / sizeof(*w->nodes);
	w->has_nodes = true;
	if (w->mp)
		recheck(w);
}

/* --- messages --- */

static void on_conf(struct md_worker_state *w, struct ipc_msg *msg)
{
	uint8_t *data;
	size_t len;

	if (ipc_blob_read(msg->fd, sizeof(*w->conf), &data, &len) < 0)
		return;
	if (len != sizeof(*w->conf)) {
		free(data);
		return;
	}
	next_forget(w); /* of the new configuration is what comes after it, and nothing from before */
	md_doors_forget(w);
	w->next_conf = (struct md_conf *)(void *)data;
}

static void take_evidence(struct md_worker_state *w, const struct ipc_msg *msg)
{
	uint8_t *data;
	size_t len;

	if (ipc_blob_read(msg->fd, sizeof(*w->next_evidence), &data, &len) < 0)
		return;
	free(w->next_evidence);
	w->next_evidence = (struct id_evidence_policy *)(void *)data;
	if (len != sizeof(*w->next_evidence))
		free(take_ptr(w->next_evidence));
}

static void on_collateral(struct md_worker_state *w, struct ipc_msg *msg)
{
	char origin[MSG_ORIGIN_LEN];
	struct err e = ERR_INIT;

	if (edge_trust_collateral(w->judge.evidence, msg, origin, &e) < 0)
		tell_refused(w, origin, &e);
	if (w->has_applied)
		md_judge_settle(&w->judge);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	struct md_worker_state *w = arg;
	const void *m;

	switch (msg->type) {
	case MD_CONF:
		on_conf(w, msg);
		break;
	case MD_CA:
		take_text(msg, &w->next_ca);
		break;
	case MD_PUBLIC_CA:
		take_text(msg, &w->next_public_ca);
		break;
	case MSG_EDGE_ROOTS:
		take_text(msg, &w->next_roots);
		break;
	case MD_RULES:
		take_text(msg, &w->next_rules);
		break;
	case MSG_EDGE_POLICY:
		take_evidence(w, msg);
		break;
	case MSG_EDGE_COLLATERAL:
		on_collateral(w, msg);
		break;
	case MD_CERT:
		on_cert(w, msg);
		break;
	case MD_LINK:
		if (msg->fd >= 0)
			sign_client_use(w->signer, take_fd(&msg->fd));
		break;
	case MD_TICKETS:
		if ((m = ipc_as(msg, sizeof(w->tickets))))
			w->tickets = *(const struct md_tickets *)m;
		break;
	case MD_LISTEN:
		md_on_listen(w, msg);
		break;
	case MD_APPLY:
		on_apply(w, ipc_as(msg, sizeof(struct md_number)));
		break;
	case MD_NODES:
		on_nodes(w, msg);
		break;
	case MD_ASK:
		if ((m = ipc_as(msg, sizeof(struct md_ask))))
			on_ask(w, m);
		break;
	case MD_ROUND:
		md_on_round(w, ipc_as(msg, sizeof(struct md_number)));
		break;
	case MD_RESOLVER:
		md_resolver_take(w, msg);
		break;
	case MD_DRAIN:
		on_drain(w, ipc_as(msg, sizeof(struct md_number)));
		break;
	default:
		log_err("message of unknown type %u", msg->type);
	}
}

/* --- the process --- */

static int open_all(struct md_worker_state *w, struct err *e)
{
	int ret;

	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	w->base = event_base_new();
	/* reads resolv.conf and hosts, which can not be opened any more in the box */
	w->dns = w->base ? evdns_base_new(w->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE)
			 : NULL;
	w->peers = md_peers_new();
	if (!w->dns || !w->peers)
		return -ENOMEM;
	mp_ktls_probe(&w->applied.ktls); /* binds a socket, which the box does not let it */
	evdns_base_set_option(w->dns, "timeout", "2");
	evdns_base_set_option(w->dns, "attempts", "2");
	ret = ipc_new(w->base, IPC_CHILD_FD, on_message, NULL, w, &w->parent);
	if (!ret)
		ret = sign_client_new(&w->signer, e);
	if (!ret)
		ret = edge_trust_new(w->base, w->parent, &w->judge.evidence, e);
	return ret ? ret : md_targets_new(w, &w->targets, e);
}

int md_role_worker(uid_t uid, gid_t gid, bool with_agent)
{
	struct md_worker_state *w = calloc(1, sizeof(*w));
	struct err e = ERR_INIT;
	int ret = w ? 0 : -ENOMEM;

	for (size_t i = 0; w && i < ARRAY_LEN(w->door); i++)
		w->door[i].fd = -1;
	if (!ret)
		ret = open_all(w, &e);
	if (!ret)
		ret = box_relay(uid, gid, with_agent, &e);
	ret = proc_serve(w ? w->base : NULL, ret, &e);
	/* the process ends: what it holds ends with it */
	return ret;
}
