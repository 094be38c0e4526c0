// SPDX-License-Identifier: Apache-2.0
/*
 * The control socket. What is asked about live things goes to all workers; the answer is sent when each has answered,
 * or after a second, and says then how many did not.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define FLOWS_MAX 100000

enum kind { STATUS, METRICS, FLOWS };

struct asking {
	LIST_ENTRY(asking) link;
	struct md_parent *parent;
	struct evhttp_request *req;
	struct event *deadline;
	enum kind kind;
	uint64_t token;
	unsigned waits;
	struct md_counts sum;
	json_t *flows;
};

static LIST_HEAD(, asking) askings = LIST_HEAD_INITIALIZER(askings);

/* --- JSON --- */

static json_t *process(const struct proc *p)
{
	return json_pack("{s:b, s:i, s:i}", "running", p->pid > 0, "pid", (int)(p->pid > 0 ? p->pid : 0), "restarts",
			 (int)p->restarts);
}

static json_t *identity(const struct md_parent *p)
{
	const struct md_applied *a = &p->worker[0].applied;
	char app[41], instance[41];
	json_t *o;

	if (!p->worker[0].has_applied || !a->has_self)
		return json_null();
	hex_print(app, a->self.app_id, BY_APP_ID_LEN);
	hex_print(instance, a->self.instance_id, BY_INSTANCE_ID_LEN);
	o = json_pack("{s:s, s:b, s:I, s:I}", "app_id", app, "simulated", a->self.is_simulated, "until",
		      (json_int_t)a->self.not_after, "certificates", (json_int_t)p->told.certificates);
	json_object_set_new(o, "instance_id", a->self.has_instance_id ? json_string(instance) : json_null());
	return o;
}

static json_t *trust_json(const struct md_parent *p)
{
	return json_pack(
		"{s:s, s:b, s:s, s:b, s:i}", "by", p->conf.trust_ca ? "issuer" : "evidence", "weaker", p->conf.trust_ca,
		"says",
		p->conf.trust_ca ? "a CA vouches for peers; what they run is not proved" : "peers prove what they run",
		"ca_without_keycertsign", p->conf.ca_without_keycertsign, "collateral", (int)p->trust.bundles.n);
}

/* What relays can be let go to; by which one each goes is in the flows. */
static json_t *paths_json(const struct md_parent *p)
{
	const struct md_worker *w = &p->worker[0];
	const struct err *e = &w->applied.ktls;
	const char *splice = p->conf.no_splice ? "paths.splice is false" : "",
		   *ktls = p->conf.no_ktls   ? "paths.ktls is false"
			   : !w->has_applied ? "no worker has said"
			   : e->code         ? e->msg
					     : "";

	return json_pack("{s:{s:b, s:s}, s:{s:b, s:s}, s:{s:b, s:s}}", "spliced", "available", !*splice, "why_not",
			 splice, "ktls", "available", !*ktls, "why_not", ktls, "sockmap", "available", 0, "why_not",
			 "every TCP relay here has TLS on one side");
}

/* What stops in the kernel, whatever the workers do. */
static json_t *guard_json(const struct asking *a)
{
	const struct md_parent *p = a->parent;
	bool all = a->sum.engine.guarded == p->conf.workers;
	const char *why = all        ? ""
			  : a->waits ? "a worker does not answer"
				     : "no baileyd guards this cgroup (its configuration: mesh.cgroups)";

	return json_pack("{s:b, s:s, s:b, s:I}", "available", all, "why_not", why, "identities",
			 all && p->conf.baileyd[0], "sockets", (json_int_t)a->sum.engine.legs);
}

static json_t *policy_json(const struct md_parent *p)
{
	const struct md_applied *a = &p->worker[0].applied;

	if (!p->conf.n_policy)
		return json_pack("{s:b, s:s}", "any", 1, "says", "every peer that is believed may do everything");
	return json_pack("{s:b, s:s, s:i}", "any", 0, "sha256", a->digest, "rules", (int)a->n_rules);
}

static json_t *errors_json(const struct md_counts *c)
{
	json_t *o = json_object();

	for (int i = 1; i < MP_ERR_COUNT; i++)
		if (c->error[i])
			json_object_set_new(
				o, mp_error_type((enum mp_error)i),
				json_integer((json_int_t)c->error[i] +
					     json_integer_value(json_object_get(o, mp_error_type((enum mp_error)i)))));
	return o;
}

static json_t *counts_json(const struct md_counts *c)
{
	json_t *o = json_object();

#define X(name, help) json_object_set_new(o, #name, json_integer((json_int_t)c->engine.name));
	MP_COUNTERS(X)
#undef X
	json_object_set_new(o, "connections", json_integer((json_int_t)c->engine.connections));
	json_object_set_new(o, "streams", json_integer((json_int_t)c->engine.streams));
	json_object_set_new(o, "sessions", json_integer((json_int_t)c->engine.sessions));
	json_object_set_new(o, "active", json_integer((json_int_t)c->engine.active));
	json_object_set_new(o, "pooled", json_integer((json_int_t)c->engine.pooled));
	json_object_set_new(o, "peers_verified", json_integer((json_int_t)c->verified));
	json_object_set_new(o, "peers_refused", json_integer((json_int_t)c->refused));
	json_object_set_new(o, "tickets_refused", json_integer((json_int_t)c->tickets_refused));
	json_object_set_new(o, "audited", json_integer((json_int_t)c->audited));
	return o;
}

static json_t *doors_json(const struct md_parent *p)
{
	json_t *list = json_array();
	char at[ENDPOINT_TEXT];

	for (uint32_t i = 0; i < p->n_sockets; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "kind", md_listen_name(p->socket[i].listen.kind),
						      "listen", endpoint_print(&p->socket[i].listen.at, at)));
	return list;
}

static json_t *status_json(const struct asking *a)
{
	const struct md_parent *p = a->parent;
	json_t *o = json_pack("{s:s, s:s, s:b, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "program", "bailey-mesh",
			      "instance", p->conf.instance, "draining", p->is_draining, "silent_workers", (int)a->waits,
			      "identity", identity(p), "trust", trust_json(p), "policy", policy_json(p), "listen",
			      doors_json(p), "counters", counts_json(&a->sum), "errors", errors_json(&a->sum), "key",
			      process(&p->key));
	json_t *workers = json_array();

	for (uint32_t i = 0; i < p->conf.workers; i++)
		json_array_append_new(workers, process(&p->worker[i].proc));
	json_object_set_new(o, "workers", workers);
	json_object_set_new(o, "paths", paths_json(p));
	json_object_set_new(o, "pid", json_integer(getpid()));
	json_object_set_new(o, "guard", guard_json(a));
	json_object_set_new(o, "reloads", json_integer((json_int_t)p->told.reloads));
	json_object_set_new(o, "reloads_refused", json_integer((json_int_t)p->told.reloads_refused));
	if (p->conf.baileyd[0])
		json_object_set_new(
			o, "baileyd",
			json_pack("{s:b, s:i}", "connected", md_watch_is_there(p->watch), "peers", (int)p->n_nodes));
	if (p->told.refused.code)
		json_object_set_new(o, "last_refused",
				    json_pack("{s:s, s:s}", "what", p->told.origin, "why", p->told.refused.msg));
	return o;
}

/* --- metrics --- */

static void counter(struct evbuffer *out, const char *name, const char *help, uint64_t v)
{
	evbuffer_add_printf(out,
			    "# HELP bailey_mesh_%s_total %s\n# TYPE bailey_mesh_%s_total counter\n"
			    "bailey_mesh_%s_total %llu\n",
			    name, help, name, name, (unsigned long long)v);
}

static void gauge(struct evbuffer *out, const char *name, const char *help, long long v)
{
	evbuffer_add_printf(out, "# HELP bailey_mesh_%s %s\n# TYPE bailey_mesh_%s gauge\nbailey_mesh_%s %lld\n", name,
			    help, name, name, v);
}

static void errors_metric(struct evbuffer *out, const struct md_counts *c)
{
	static const char *const names[] = {
#define X(name, status, type) [MP_ERR_##name] = #name,
		MP_ERRORS(X)
#undef X
	};

	evbuffer_add_printf(out, "# HELP bailey_mesh_errors_total requests that got an error of the mesh\n"
				 "# TYPE bailey_mesh_errors_total counter\n");
	for (int i = 1; i < MP_ERR_COUNT; i++)
		evbuffer_add_printf(out, "bailey_mesh_errors_total{error=\"%s\"} %llu\n", names[i],
				    (unsigned long long)c->error[i]);
}

static void reply_metrics(const struct asking *a)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(a->req);
	const struct md_parent *p = a->parent;
	const struct md_counts *c = &a->sum;

#define X(name, help) counter(out, #name, help, c->engine.name);
	MP_COUNTERS(X)
#undef X
	errors_metric(out, c);
	counter(out, "peers_verified", "certificates of peers that were believed", c->verified);
	counter(out, "peers_refused", "certificates of peers that were refused", c->refused);
	counter(out, "tickets_refused", "session tickets whose verdict does not hold any more", c->tickets_refused);
	counter(out, "audited", "requests that an audit rule would have denied", c->audited);
	counter(out, "names_unresolved", "names of targets that could not be resolved", c->unresolved);
	counter(out, "resolver_changes", "times that a worker was given a resolv.conf that had changed", c->resolvers);
	counter(out, "reloads", "configurations taken into use", p->told.reloads);
	counter(out, "reloads_refused", "configurations that were refused", p->told.reloads_refused);
	counter(out, "certificates", "own certificates taken into use", p->told.certificates);
	gauge(out, "connections", "inbound connections", (long long)c->engine.connections);
	gauge(out, "streams", "inbound HTTP/2 streams", (long long)c->engine.streams);
	gauge(out, "h2_sessions", "HTTP/2 connections, inbound and outbound", (long long)c->engine.sessions);
	gauge(out, "active", "requests and tunnels under way", (long long)c->engine.active);
	gauge(out, "pooled", "idle upstream connections", (long long)c->engine.pooled);
	gauge(out, "guarded_workers", "workers whose sockets the kernel stops", (long long)c->engine.guarded);
	gauge(out, "guarded_sockets", "sockets that the kernel was told of", (long long)c->engine.legs);
	gauge(out, "silent_workers", "workers that did not answer", a->waits);
	gauge(out, "trust_by_issuer", "1: peers are believed on a CA's word", p->conf.trust_ca);
	if (p->worker[0].applied.has_self)
		gauge(out, "certificate_until_seconds", "end of the own certificate, unix time",
		      (long long)p->worker[0].applied.self.not_after);
	evhttp_add_header(evhttp_request_get_output_headers(a->req), "Content-Type", "text/plain; version=0.0.4");
	evhttp_send_reply(a->req, 200, NULL, NULL);
}

/* --- asking the workers --- */

static void finish(struct asking *a)
{
	LIST_REMOVE(a, link);
	if (a->kind == STATUS)
		ctl_reply_json(a->req, 200, status_json(a));
	else if (a->kind == METRICS)
		reply_metrics(a);
	else
		ctl_reply_json(
			a->req, 200,
			json_pack("{s:i, s:o}", "silent_workers", (int)a->waits, "flows", json_incref(a->flows)));
	json_decref(a->flows);
	event_free(a->deadline);
	free(a);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	finish(arg);
}

static struct asking *find(uint64_t token)
{
	struct asking *a;

	LIST_FOREACH(a, &askings, link)
	if (a->token == token)
		break;
	return a;
}

static void ask(struct evhttp_request *req, struct md_parent *p, enum kind kind)
{
	struct timeval second = { .tv_sec = 1 };
	struct asking *a = calloc(1, sizeof(*a));
	struct md_ask m = { .with_flows = kind == FLOWS };

	if (a)
		a->deadline = evtimer_new(p->base, on_deadline, a);
	if (!a || !a->deadline) {
		free(a);
		evhttp_send_error(req, 500, "out of memory");
		return;
	}
	a->parent = p;
	a->req = req;
	a->kind = kind;
	a->flows = json_array();
	m.token = a->token = ++p->last_token;
	LIST_INSERT_HEAD(&askings, a, link);
	event_add(a->deadline, &second);
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc && ipc_send(p->worker[i].proc.ipc, MD_ASK, &m, sizeof(m), -1) == 0)
			a->waits++;
	if (!a->waits)
		finish(a);
}

void md_report_counts(struct md_parent *p, const struct md_counts *m)
{
	const uint64_t *from = (const uint64_t *)m;
	struct asking *a = find(m->token);
	uint64_t *to;

	(void)p;
	if (!a)
		return;
	to = (uint64_t *)&a->sum;
	_Static_assert(sizeof(*m) % sizeof(uint64_t) == 0, "nothing but 64-bit counters: they are added like an array");
	for (size_t i = 1; i < sizeof(*m) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

static void put_peer(json_t *o, const char *name, const char *app, const char *instance)
{
	if (!app[0])
		return;
	json_object_set_new(o, name, json_pack("{s:s, s:s}", "app_id", app, "instance_id", instance));
}

void md_report_flow(struct md_parent *p, const struct md_flow *m)
{
	static const char *const paths[] = { "copied", "spliced", "sockmap", "ktls" };
	struct asking *a = find(m->token);
	struct md_flow f = *m;
	char from[ENDPOINT_TEXT] = "", to[ENDPOINT_TEXT];
	json_t *o;

	(void)p;
	if (!a || json_array_size(a->flows) >= FLOWS_MAX)
		return;
	msg_terminate(f.listener);
	msg_terminate(f.upstream);
	msg_terminate(f.rule);
	msg_terminate(f.in_app);
	msg_terminate(f.in_instance);
	msg_terminate(f.out_app);
	msg_terminate(f.out_instance);
	if (f.from.port)
		endpoint_print(&f.from, from);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I}", "listener", f.listener,
		      "upstream", f.upstream, "rule", f.rule, "from", from, "path",
		      f.path < ARRAY_LEN(paths) ? paths[f.path] : "unknown", "active", f.is_active, "tunnel",
		      f.is_tunnel, "pooled", f.is_pooled, "age_ms", (json_int_t)f.age_ms, "idle_ms",
		      (json_int_t)f.idle_ms, "bytes_up", (json_int_t)f.bytes_up, "bytes_down", (json_int_t)f.bytes_down,
		      "requests", (json_int_t)f.requests);
	json_object_set_new(o, "stream", json_boolean(f.is_stream));
	if (f.is_session)
		json_object_set_new(o, "streams", json_integer(f.streams));
	if (f.to.port)
		json_object_set_new(o, "captured", json_string(endpoint_print(&f.to, to)));
	put_peer(o, "peer", f.in_app, f.in_instance);
	put_peer(o, "target", f.out_app, f.out_instance);
	json_array_append_new(a->flows, o);
}

void md_report_asked(struct md_parent *p, const struct msg_token *m)
{
	struct asking *a = find(m->token);

	(void)p;
	if (a && !--a->waits)
		finish(a);
}

/* --- the socket --- */

static void get_status(struct evhttp_request *req, void *arg)
{
	ask(req, arg, STATUS);
}

static void get_metrics(struct evhttp_request *req, void *arg)
{
	ask(req, arg, METRICS);
}

static void get_flows(struct evhttp_request *req, void *arg)
{
	ask(req, arg, FLOWS);
}

static void post_reload(struct evhttp_request *req, void *arg)
{
	md_reload_answer(arg, req);
}

static void post_drain(struct evhttp_request *req, void *arg)
{
	md_drain(arg);
	ctl_reply_json(req, 200, json_pack("{s:b}", "draining", 1));
}

static const struct ctl_route routes[] = {
	{ EVHTTP_REQ_GET, "/v1/status", get_status }, { EVHTTP_REQ_GET, "/metrics", get_metrics },
	{ EVHTTP_REQ_GET, "/v1/flows", get_flows },   { EVHTTP_REQ_POST, "/v1/reload", post_reload },
	{ EVHTTP_REQ_POST, "/v1/drain", post_drain }, { 0 },
};

int md_report_open(struct md_parent *p, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s/%s", PATH_MAX - 64, p->conf.run, p->conf.instance);
	snprintf(path, sizeof(path), "%.*s/ctl.sock", PATH_MAX - 16, dir);
	if (dir_make(dir, 0700, e) < 0)
		return e->code;
	return ctl_open(p->base, path, routes, p, &p->ctl, e);
}

void md_report_close(struct md_parent *p)
{
	struct asking *a;

	md_reload_close(p);
	while ((a = LIST_FIRST(&askings)))
		finish(a);
	ctl_close(p->ctl);
	p->ctl = NULL;
}
