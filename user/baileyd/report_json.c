// SPDX-License-Identifier: Apache-2.0
#include "report_json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

#define AUDIT_NAMED 100 /* rules in audit mode that status names */

const char *const report_dir_name[BY_DIR_COUNT] = { "in", "out" };

static json_t *key_text(const uint8_t key[OV_KEY_LEN])
{
	char text[BASE64_LEN(OV_KEY_LEN)];

	base64_print(text, key, OV_KEY_LEN);
	return json_string(text);
}

static json_t *addr_list(const struct by_addr *addrs, uint32_t n)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(addr_print(&addrs[i], text)));
	return list;
}

json_t *report_app_json(const struct parent *p, const uint8_t app_id[BY_APP_ID_LEN])
{
	const char *name = p->model ? pol_app_name(p->model, app_id) : NULL;

	return name ? json_string(name) : json_null();
}

static json_t *process(const struct proc *proc)
{
	return json_pack("{s:b, s:i, s:i}", "running", proc->ipc != NULL, "pid", (int)proc->pid, "restarts",
			 (int)proc->restarts);
}

static json_t *stored_part(const struct stored *s)
{
	const struct pol_sources *src = &s->sources;

	return json_pack("{s:s, s:s, s:I, s:I, s:o}", "file", src->text[0].name, "origin",
			 s->is_applied ? "applied" : "configured", "files", (json_int_t)src->n, "at", (json_int_t)s->at,
			 "digest", json_hex(s->digest, sizeof(s->digest)));
}

/* Rules in audit mode of what net was told to load, and how many there are: those of workloads are the overlay's. */
static json_t *audit_part(const struct parent *p, size_t *n)
{
	json_t *list = json_array();

	*n = 0;
	for (uint32_t t = 0; t < p->n_targets; t++) {
		const struct pol_image *img = p->targets[t].kind == TARGET_IS_WORKLOAD ? NULL : p->targets[t].image;

		for (uint32_t i = 0; img && i < img->n_rules; i++) {
			const struct by_rule *rule = &pol_image_rules(img)[i];

			if (rule->flags & BY_RULE_AUDIT && ++*n <= AUDIT_NAMED)
				json_array_append_new(
					list, json_pack("{s:s, s:s}", "name", rule->name, "where", rule->where));
		}
	}
	return list;
}

/* Of the policy that decides; beside it what a rollback goes back to, and what becomes of one that is not confirmed. */
static json_t *policy_part(const struct parent *p)
{
	json_t *o = stored_part(life_deciding(p));
	int64_t left = life_seconds_left(p);
	size_t n_audit;

	json_object_set_new(o, "audit", audit_part(p, &n_audit));
	json_object_set_new(o, "audit_rules", json_integer((json_int_t)n_audit));
	json_object_set_new(o, "rules", json_integer((json_int_t)pol_rule_count(p->model)));
	json_object_set_new(o, "loads", json_integer(p->policy_loads));
	json_object_set_new(o, "refusals", json_integer(p->policy_refusals));
	json_object_set_new(o, "rollbacks", json_integer(p->life.rollbacks));
	if (left >= 0)
		json_object_set_new(o, "confirm_in_s", json_integer(left));
	if (p->life.trial)
		json_object_set_new(o, "previous", stored_part(p->life.store.current));
	else if (p->life.store.previous)
		json_object_set_new(o, "previous", stored_part(p->life.store.previous));
	if (p->report.is_known)
		json_object_set_new(o, "generation", json_integer(p->report.counts[TARGET_OVERLAY].dp.gen.gen));
	if (p->policy_err.code)
		json_object_set_new(o, "last_refusal", json_sprintf("%s: %s", p->policy_err.where, p->policy_err.msg));
	return o;
}

json_t *report_drops_json(const struct dp_status *dp)
{
	json_t *list = json_array();

	for (int dir = 0; dir < BY_DIR_COUNT; dir++)
		for (int r = BY_DROP_NONE + 1; r < BY_DROP_COUNT; r++)
			if (dp->stat[dir][r].packets)
				json_array_append_new(list,
						      json_pack("{s:s, s:s, s:I, s:I, s:s}", "reason",
								dp_drop_name((unsigned)r), "dir", report_dir_name[dir],
								"packets", (json_int_t)dp->stat[dir][r].packets,
								"bytes", (json_int_t)dp->stat[dir][r].bytes, "text",
								dp_drop_text((unsigned)r)));
	return list;
}

/* What every datapath has. */
static json_t *counts_part(const struct msg_counts *m)
{
	const struct dp_status *dp = &m->dp;
	json_t *o = json_pack("{s:s, s:I, s:I, s:I}", "attach", m->attach, "flows", (json_int_t)dp->n_flows,
			      "generation", (json_int_t)dp->gen.gen, "events_lost", (json_int_t)dp->events_lost);

	for (int dir = 0; dir < BY_DIR_COUNT; dir++)
		json_object_set_new(o, dir ? "passed_out" : "passed_in",
				    json_integer((json_int_t)dp->stat[dir][BY_DROP_NONE].packets));
	json_object_set_new(o, "drops", report_drops_json(dp));
	return o;
}

static json_t *datapath_part(const struct net_report *r)
{
	const struct dp_status *dp = &r->counts[TARGET_OVERLAY].dp;
	json_t *o;

	if (!r->is_known)
		return json_null();
	o = counts_part(&r->counts[TARGET_OVERLAY]);
	json_object_set_new(o, "identities", json_integer((json_int_t)dp->n_identities));
	json_object_set_new(o, "addresses", json_integer((json_int_t)dp->n_addrs));
	json_object_set_new(o, "events_lost", json_integer((json_int_t)(dp->events_lost + r->status.events_held)));
	return o;
}

const struct by_rule *report_rule(const struct parent *p, uint32_t target, uint32_t number)
{
	const struct pol_image *img = target < p->n_targets ? p->targets[target].image : NULL;

	return img && number && number <= img->n_rules ? &pol_image_rules(img)[number - 1] : NULL;
}

json_t *report_rules_json(const struct parent *p, uint32_t target)
{
	const struct net_report *r = &p->report;
	json_t *list = json_array(), *o;

	for (size_t i = 0; i < r->n_rules; i++) {
		const struct by_rule *rule = report_rule(p, r->rules[i].target, r->rules[i].number);

		if (!rule || r->rules[i].target != target)
			continue;
		o = json_pack("{s:s, s:s, s:I, s:I}", "name", rule->name, "where", rule->where, "packets",
			      (json_int_t)r->rules[i].hits.packets, "bytes", (json_int_t)r->rules[i].hits.bytes);
		if (rule->flags & BY_RULE_AUDIT)
			json_object_set_new(o, "mode", json_string("audit"));
		json_array_append_new(list, o);
	}
	return list;
}

/* null: the configuration has no underlay; without counters when net does not know them. */
static json_t *underlay_part(const struct parent *p)
{
	uint32_t n = 0;
	const struct msg_counts *m;
	json_t *o;

	while (n < p->n_targets && p->targets[n].kind != TARGET_IS_UNDERLAY)
		n++;
	if (n == p->n_targets)
		return json_null();
	m = &p->report.counts[n];
	o = p->report.is_known && m->code == 0 ? counts_part(m) : json_object();
	json_object_set_new(o, "interface", json_string(p->targets[n].interface));
	if (!json_object_get(o, "attach"))
		return o;
	json_object_set_new(o, "not_better", json_string(m->host.not_better));
	json_object_set_new(o, "syn_cookies", json_boolean(!m->host.no_cookies[0]));
	json_object_set_new(o, "no_cookies", json_string(m->host.no_cookies));
	json_object_set_new(o, "rules", report_rules_json(p, n));
	return o;
}

/* null: nothing is captured, or net does not say. */
static json_t *capture_part(const struct parent *p)
{
	const struct dp_divert_status *d = &p->report.status.divert;

	if (!p->report.is_known || !p->report.status.is_capturing)
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "cgroups", (int)d->n_cgroups, "devices",
			 (int)d->n_devices, "networks", (int)d->n_rules, "connections", (int)d->n_origins, "tcp",
			 (json_int_t)d->count[BY_DIVERT_TCP], "udp", (json_int_t)d->count[BY_DIVERT_UDP], "asked",
			 (json_int_t)d->count[BY_DIVERT_ASKED], "unknown", (json_int_t)d->count[BY_DIVERT_UNKNOWN]);
}

/* null: no mesh is guarded, or net does not say. */
static json_t *guard_part(const struct parent *p)
{
	const struct dp_guard_status *g = &p->report.status.guard;
	json_t *o;

	if (!p->report.is_known || !p->report.status.is_guarding)
		return json_null();
	o = json_object();
	for (int i = 0; i < BY_DROP_COUNT; i++)
		if (g->dropped[i].packets)
			json_object_set_new(o, dp_drop_name((uint32_t)i),
					    json_pack("{s:I, s:I}", "packets", (json_int_t)g->dropped[i].packets,
						      "bytes", (json_int_t)g->dropped[i].bytes));
	return json_pack("{s:i, s:o}", "cgroups", (int)g->n_cgroups, "dropped", o);
}

static const struct msg_peer *session_of(const struct parent *p, const struct node *n)
{
	const struct net_report *r = &p->report;

	return r->n_peers ? bsearch(n->id.record.wg_key, r->peers, r->n_peers, sizeof(*r->peers), report_peer_order)
			  : NULL;
}

static void add_session(json_t *o, const struct msg_peer *s, int64_t now)
{
	char text[ENDPOINT_TEXT];

	if (!s)
		return;
	if (s->has_endpoint)
		json_object_set_new(o, "endpoint", json_string(endpoint_print(&s->endpoint, text)));
	if (s->last_handshake_s)
		json_object_set_new(o, "handshake_age_s", json_integer(now - s->last_handshake_s));
	json_object_set_new(o, "rx_bytes", json_integer((json_int_t)s->rx_bytes));
	json_object_set_new(o, "tx_bytes", json_integer((json_int_t)s->tx_bytes));
}

/* By which node a packet to it goes; NULL: by none, or by nothing that is known. */
static const struct node *way_to(const struct parent *p, const struct node *n)
{
	return p->conf.topology == BY_TOPOLOGY_SPOKE && !plan_is_hub(p, &n->id.claims) ? p->hub : NULL;
}

static json_t *peer_part(const struct parent *p, const struct node *n, int64_t now)
{
	const struct node *via = way_to(p, n);
	const struct id_record *r = &n->id.record;
	json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:b, s:o, s:o, s:I, s:I, s:s}", "node", r->node, "app",
			      report_app_json(p, r->app_id), "app_id", json_hex(r->app_id, sizeof(r->app_id)),
			      "instance_id", json_hex(r->instance_id, sizeof(r->instance_id)), "simulated",
			      n->id.claims.is_simulated, "addresses", addr_list(r->addrs, r->n_addrs), "public_key",
			      key_text(r->wg_key), "epoch", (json_int_t)r->epoch, "expires_in_s",
			      (json_int_t)(r->not_after - now), "origin", n->origin);

	json_object_set_new(o, "evidence_expires_in_s", json_integer(n->id.claims.not_after - now));
	if (n->id.claims.tcb_status)
		json_object_set_new(o, "tcb", json_string(id_tcb_status_name(n->id.claims.tcb_status)));
	json_object_set_new(o, "freshness", json_string(id_fresh_name(n->id.claims.fresh)));
	if (n->id.claims.fresh)
		json_object_set_new(o, "proved_s_ago", json_integer(now - n->id.claims.fresh_at));
	json_object_set_new(o, "configured", json_boolean(session_of(p, n) != NULL));
	if (via)
		json_object_set_new(o, "via", json_string(via->id.record.node));
	add_session(o, session_of(p, n), now);
	return o;
}

static json_t *refusals_part(const struct parent *p, int64_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->n_refusals; i++) {
		const struct refusal *r = &p->refusals[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "origin", r->origin, "reason",
						      r->err.reason ? id_reason_name(r->err.reason) : "", "where",
						      r->err.where, "text", r->err.msg, "times", (json_int_t)r->times,
						      "age_s", (json_int_t)(now - r->at)));
	}
	return list;
}

static json_t *overlay_part(const struct parent *p)
{
	json_t *networks = json_array(), *o;
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; i < p->conf.n_networks; i++)
		json_array_append_new(networks, json_string(prefix_print(&p->conf.networks[i], text)));
	o = json_pack("{s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:s, s:o, s:o}", "interface", p->conf.interface, "backend",
		      p->report.is_known ? p->report.status.backend : "", "listen_port", p->conf.wg_port, "mtu",
		      (int)p->conf.mtu, "addresses", addr_list(p->conf.addrs, p->conf.n_addrs), "networks", networks,
		      "public_key", key_text(p->wg_public), "topology", conf_topology_name[p->conf.topology], "hub",
		      p->hub ? json_string(p->hub->id.record.node) : json_null(), "key", rotate_json(p, time(NULL)));
	if (p->conf.n_via)
		json_object_set_new(o, "via", report_via_json(&p->conf));
	json_object_set_new(o, "wireguard",
			    json_pack("{s:i, s:i, s:b, s:I}", "configured", (int)p->report.n_peers, "asleep",
				      (int)p->report.status.n_asleep, "lazy", p->report.status.is_lazy, "woken",
				      (json_int_t)p->report.status.n_woken));
	return o;
}

/* Where records are exchanged. */
static json_t *listens_part(const struct parent *p)
{
	json_t *list = json_array();
	char text[ENDPOINT_TEXT];

	for (uint32_t i = 0; i < p->conf.n_listen; i++)
		json_array_append_new(list, json_string(endpoint_print(&p->conf.listen[i], text)));
	return list;
}

/* What real evidence is judged by; null where only simulated evidence can be. */
static json_t *collateral_part(const struct parent *p, int64_t now)
{
	const struct trust *t = &p->trust;
	json_t *o;

	if (!p->conf.collateral[0] && !p->conf.pcs_url[0] && !t->bundles.n)
		return json_null();
	o = json_pack("{s:I, s:I, s:I}", "bundles", (json_int_t)t->bundles.n, "fetched", (json_int_t)t->fetched,
		      "failed", (json_int_t)t->failed);
	if (t->bundles.n) {
		json_object_set_new(o, "until", json_integer(t->bundles.until));
		json_object_set_new(o, "days", json_integer((t->bundles.until - now) / 86400));
	}
	if (p->conf.pcs_url[0])
		json_object_set_new(o, "service", json_string(p->conf.pcs_url));
	if (t->last.code)
		json_object_set_new(o, "last_failure", json_sprintf("%s: %s", t->last.where, t->last.msg));
	return o;
}

/* null: there is no control plane. */
/* null: the configuration has no dns. */
static json_t *dns_part(const struct parent *p)
{
	static const char *const resolvers[] = { [CONF_RESOLVER_NONE] = "none",
						 [CONF_RESOLVER_RESOLVED] = "systemd-resolved",
						 [CONF_RESOLVER_FILE] = "resolv.conf" };
	const struct msg_dns_stats *n = &p->dns.stats;
	json_t *o, *list = json_array();
	char text[ENDPOINT_TEXT];

	if (!p->conf.dns.is_on) {
		json_decref(list);
		return json_null();
	}
	for (uint32_t i = 0; i < p->dns.forward.n; i++)
		json_array_append_new(list, json_string(endpoint_print(&p->dns.forward.server[i], text)));
	o = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "suffix", p->conf.dns.suffix, "running",
		      p->dns.proc.ipc != NULL, "names", (json_int_t)n->names, "queries", (json_int_t)n->queries,
		      "dropped", (json_int_t)n->dropped, "forwarded", (json_int_t)n->forwarded, "forward_failed",
		      (json_int_t)n->forward_failed, "forward", list);
	json_object_set_new(o, "resolver",
			    json_string(resolvers[p->dns.resolver ? p->dns.resolver : CONF_RESOLVER_NONE]));
	if (p->dns.err.code)
		json_object_set_new(o, "error", json_sprintf("%s: %s", p->dns.err.where, p->dns.err.msg));
	return o;
}

static json_t *vpc_part(const struct parent *p, int64_t now)
{
	char server[ENDPOINT_TEXT];
	json_t *o;

	if (!p->conf.vpc.is_on)
		return json_null();
	o = json_pack("{s:s, s:b, s:o, s:I, s:I}", "server", endpoint_print(&p->conf.vpc.server[p->vpc.server], server),
		      "connected", p->vpc.is_up, "network", json_hex(p->vpc.seen.network, VPC_NETWORK), "serial",
		      (json_int_t)p->vpc.seen.serial, "revoked", (json_int_t)p->vpc.n_revoked);
	if (p->vpc.since_s)
		json_object_set_new(o, "since_s", json_integer(now - p->vpc.since_s));
	return o;
}

static json_t *processes_part(const struct parent *p)
{
	json_t *o = json_pack("{s:o, s:o}", "net", process(&p->net), "edge", process(&p->edge));

	if (p->conf.pcs_url[0])
		json_object_set_new(o, "fetch", process(&p->trust.fetch));
	if (p->conf.n_status)
		json_object_set_new(o, "status", process(&p->status));
	if (p->conf.dns.is_on)
		json_object_set_new(o, "dns", process(&p->dns.proc));
	return o;
}

json_t *report_status_json(struct parent *p)
{
	int64_t now = time(NULL);
	json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o, s:b, s:b}", "instance", p->conf.instance, "node", p->conf.node,
			      "app", report_app_json(p, p->self.app_id), "app_id",
			      json_hex(p->self.app_id, sizeof(p->self.app_id)), "instance_id",
			      json_hex(p->self.instance_id, sizeof(p->self.instance_id)), "simulated",
			      p->self.is_simulated, "ready", p->is_synced);
	json_t *peers = json_array();

	if (p->has_self)
		json_object_set_new(o, "evidence_expires_in_s", json_integer(p->self.not_after - now));
	json_object_set_new(o, "freshness_demanded", json_string(id_fresh_name(p->conf.fresh)));
	json_object_set_new(o, "overlay", overlay_part(p));
	json_object_set_new(o, "listens", listens_part(p));
	json_object_set_new(o, "policy", policy_part(p));
	json_object_set_new(o, "datapath", datapath_part(&p->report));
	json_object_set_new(o, "rules", report_rules_json(p, TARGET_OVERLAY));
	json_object_set_new(o, "underlay", underlay_part(p));
	json_object_set_new(o, "capture", capture_part(p));
	json_object_set_new(o, "mesh", guard_part(p));
	for (size_t i = 0; i < p->n_nodes; i++)
		json_array_append_new(peers, peer_part(p, p->nodes[i], now));
	json_object_set_new(o, "peers", peers);
	json_object_set_new(o, "workloads", report_workloads_json(p));
	json_object_set_new(o, "refusals", refusals_part(p, now));
	json_object_set_new(o, "collateral", collateral_part(p, now));
	json_object_set_new(o, "vpc", vpc_part(p, now));
	json_object_set_new(o, "dns", dns_part(p));
	json_object_set_new(o, "processes", processes_part(p));
	return o;
}

/* --- counters, to be sampled --- */

static json_t *counter(const struct by_counter *n)
{
	return json_pack("{s:I, s:I}", "packets", (json_int_t)n->packets, "bytes", (json_int_t)n->bytes);
}

static json_t *pairs_part(struct parent *p, uint32_t target)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->report.n_pairs; i++) {
		const struct pair_count *c = &p->report.pairs[i];
		const struct node *n = node_find(p, c->instance_id);
		bool is_self = memcmp(c->instance_id, p->self.instance_id, sizeof(c->instance_id)) == 0;

		if (c->target != target || (!n && !is_self))
			continue;
		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "node",
						      n ? n->id.record.node : p->conf.node, "instance_id",
						      json_hex(c->instance_id, sizeof(c->instance_id)), "in",
						      counter(&c->n.n[BY_DIR_IN][BY_PASSED]), "out",
						      counter(&c->n.n[BY_DIR_OUT][BY_PASSED]), "dropped_in",
						      counter(&c->n.n[BY_DIR_IN][BY_DROPPED]), "dropped_out",
						      counter(&c->n.n[BY_DIR_OUT][BY_DROPPED])));
	}
	return list;
}

/* What bailey top takes two samples of. */
json_t *report_counters_json(struct parent *p)
{
	json_t *targets = json_array();

	for (uint32_t i = 0; i < p->n_targets; i++) {
		const struct dp_status *dp = &p->report.counts[i].dp;

		if (p->targets[i].kind == TARGET_IS_FREE)
			continue;
		json_array_append_new(targets, json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "interface",
							 p->targets[i].interface, "flows", (json_int_t)dp->n_flows,
							 "in", counter(&dp->stat[BY_DIR_IN][BY_DROP_NONE]), "out",
							 counter(&dp->stat[BY_DIR_OUT][BY_DROP_NONE]), "drops",
							 report_drops_json(dp), "rules", report_rules_json(p, i),
							 "pairs", pairs_part(p, i)));
	}
	return json_pack("{s:I, s:o}", "at_ms", (json_int_t)clock_ms(CLOCK_MONOTONIC), "targets", targets);
}
