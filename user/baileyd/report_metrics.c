// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/text.h"
#include "report_json.h"

static void head(struct out *out, const char *name, const char *type, const char *help)
{
	out_print(out, "# HELP bailey_%s %s\n# TYPE bailey_%s %s\n", name, help, name, type);
}

static void single(struct out *out, const char *name, const char *type, const char *help, uint64_t v)
{
	head(out, name, type, help);
	out_print(out, "bailey_%s %llu\n", name, (unsigned long long)v);
}

/* One line for each interface that has a policy. */
static void each_target(struct out *out, const struct parent *p, const char *name, const char *type, const char *help,
			uint64_t (*value)(const struct dp_status *dp))
{
	head(out, name, type, help);
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (p->targets[i].kind != TARGET_IS_FREE)
			out_print(out, "bailey_%s{interface=\"%s\"} %llu\n", name, p->targets[i].interface,
				  (unsigned long long)value(&p->report.counts[i].dp));
}

static uint64_t flows_of(const struct dp_status *dp)
{
	return dp->n_flows;
}

static uint64_t generation_of(const struct dp_status *dp)
{
	return dp->gen.gen;
}

static uint64_t losses_of(const struct dp_status *dp)
{
	return dp->events_lost;
}

static void packets(struct out *out, const struct parent *p)
{
	head(out, "packets_total", "counter", "Packets by interface, direction and drop reason (NONE: passed).");
	for (uint32_t i = 0; i < p->n_targets; i++)
		for (int dir = 0; dir < BY_DIR_COUNT; dir++)
			for (unsigned r = 0; r < BY_DROP_COUNT && p->targets[i].kind != TARGET_IS_FREE; r++)
				out_print(out, "bailey_packets_total{interface=\"%s\",dir=\"%s\",reason=\"%s\"} %llu\n",
					  p->targets[i].interface, report_dir_name[dir], dp_drop_name(r),
					  (unsigned long long)p->report.counts[i].dp.stat[dir][r].packets);
}

/* Names of rules are [a-z0-9-], those of openings have an '@' in front: no escape is needed. */
static void rules(struct out *out, const struct parent *p)
{
	head(out, "rule_packets_total", "counter",
	     "Packets that a rule decided: first packets of flows, and denials. mode audit: that it would have "
	     "dropped.");
	for (size_t i = 0; i < p->report.n_rules; i++) {
		const struct rule_hits *hits = &p->report.rules[i];
		const struct by_rule *rule = report_rule(p, hits->target, hits->number);

		if (rule)
			out_print(out, "bailey_rule_packets_total{interface=\"%s\",rule=\"%s\",mode=\"%s\"} %llu\n",
				  p->targets[hits->target].interface, rule->name,
				  rule->flags & BY_RULE_AUDIT ? "audit" : "enforce",
				  (unsigned long long)hits->hits.packets);
	}
}

static void peer_lines(struct out *out, const char *interface, const char *node, const struct by_pair *pair)
{
	static const char *const outcome[BY_OUTCOME_COUNT] = { [BY_PASSED] = "passed", [BY_DROPPED] = "dropped" };

	for (int dir = 0; dir < BY_DIR_COUNT; dir++)
		for (int o = 0; o < BY_OUTCOME_COUNT; o++)
			out_print(out,
				  "bailey_peer_packets_total{interface=\"%s\",node=\"%s\",dir=\"%s\",outcome=\"%s\"} "
				  "%llu\n",
				  interface, node, report_dir_name[dir], outcome[o],
				  (unsigned long long)pair->n[dir][o].packets);
}

/* In the order in which they joined: the same peers each time, however many come after them. */
static void peer_packets(struct out *out, struct parent *p)
{
	uint64_t left_out = 0;

	head(out, "peer_packets_total", "counter", "Packets between this node and a peer, from 0 for each identity.");
	for (size_t i = 0; i < p->report.n_pairs; i++) {
		const struct pair_count *c = &p->report.pairs[i];
		const struct node *peer = node_find(p, c->instance_id);

		if (peer && c->target < p->n_targets)
			peer_lines(out, p->targets[c->target].interface, peer->id.record.node, &c->n);
	}
	for (uint32_t i = 0; i < p->n_targets; i++)
		left_out += p->report.counts[i].pairs_left;
	single(out, "peers_uncounted", "gauge",
	       "Peers that peer_packets_total has no room for: it has the first 256 with packets of each interface.",
	       left_out);
}

/* Names of workloads are [a-z0-9-]. */
static void workload_packets(struct out *out, const char *name, const struct dp_status *dp)
{
	for (int dir = 0; dir < BY_DIR_COUNT; dir++)
		for (unsigned r = 0; r < BY_DROP_COUNT; r++)
			if (r == BY_DROP_NONE || dp->stat[dir][r].packets)
				out_print(out,
					  "bailey_workload_packets_total{workload=\"%s\",dir=\"%s\",reason=\"%s\"} "
					  "%llu\n",
					  name, report_dir_name[dir], dp_drop_name(r),
					  (unsigned long long)dp->stat[dir][r].packets);
}

static void workloads(struct out *out, const struct parent *p)
{
	head(out, "workload_guarded", "gauge", "1: the programs are on the device that leads to the workload.");
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (p->targets[i].kind == TARGET_IS_WORKLOAD)
			out_print(out, "bailey_workload_guarded{workload=\"%s\",interface=\"%s\"} %d\n",
				  p->targets[i].workload.name, p->targets[i].interface,
				  strcmp(p->report.counts[i].attach, "none") != 0);
	head(out, "workload_packets_total", "counter",
	     "Packets of a workload by direction (in: to it) and drop reason (NONE: passed).");
	for (uint32_t i = 0; i < p->n_targets; i++)
		if (p->targets[i].kind == TARGET_IS_WORKLOAD)
			workload_packets(out, p->targets[i].workload.name, &p->report.counts[i].dp);
}

static void evidence(struct out *out, const struct parent *p)
{
	head(out, "evidence_refused_total", "counter", "Refused certificates, quotes and records by reason.");
	for (int r = ID_NONE + 1; r < ID_REASON_COUNT; r++)
		out_print(out, "bailey_evidence_refused_total{reason=\"%s\"} %llu\n", id_reason_name(r),
			  (unsigned long long)p->refused[r]);
	single(out, "exchange_failed_total", "counter", "Record exchanges that failed before any evidence was judged.",
	       p->refused[ID_NONE]);
}

static void collateral(struct out *out, const struct parent *p, int64_t now)
{
	const struct trust *t = &p->trust;

	if (t->bundles.n) {
		head(out, "collateral_expires_seconds", "gauge", "Time left of the collateral that ends first.");
		out_print(out, "bailey_collateral_expires_seconds %lld\n", (long long)(t->bundles.until - now));
	}
	single(out, "collateral_fetched_total", "counter", "Bundles of collateral fetched and verified.", t->fetched);
	single(out, "collateral_fetch_failed_total", "counter", "Fetches that failed or gave what is not Intel's.",
	       t->failed);
}

static void peers(struct out *out, const struct parent *p, int64_t now)
{
	head(out, "record_expires_seconds", "gauge", "Time left of each verified record.");
	for (size_t i = 0; i < p->n_nodes; i++)
		out_print(out, "bailey_record_expires_seconds{node=\"%s\"} %lld\n", p->nodes[i]->id.record.node,
			  (long long)(p->nodes[i]->id.record.not_after - now));
	head(out, "evidence_expires_seconds", "gauge",
	     "Time left of each node's evidence: certificate, collateral or live proof, whichever ends first.");
	for (size_t i = 0; i < p->n_nodes; i++)
		out_print(out, "bailey_evidence_expires_seconds{node=\"%s\"} %lld\n", p->nodes[i]->id.record.node,
			  (long long)(p->nodes[i]->id.claims.not_after - now));
	head(out, "own_evidence_expires_seconds", "gauge", "Time left of this node's own certificate.");
	if (p->has_self)
		out_print(out, "bailey_own_evidence_expires_seconds %lld\n", (long long)(p->self.not_after - now));
}

static void key(struct out *out, const struct parent *p)
{
	single(out, "key_age_seconds", "gauge", "Since the WireGuard key came into use.",
	       (uint64_t)(time(NULL) - p->rotate.key_s));
	single(out, "key_rotation_phase", "gauge", "0 none, 1 traffic leaves the first device, 2 it comes back.",
	       p->rotate.phase);
	single(out, "key_rotations_total", "counter", "Rotations of the WireGuard key that were finished.",
	       p->rotate.done);
	single(out, "key_rotations_forced_total", "counter", "Steps of them that did not wait for a node any more.",
	       p->rotate.forced);
}

static void processes(struct out *out, const struct parent *p)
{
	head(out, "process_restarts_total", "counter", "How often a process was started again.");
	out_print(out, "bailey_process_restarts_total{process=\"net\"} %u\n", p->net.restarts);
	out_print(out, "bailey_process_restarts_total{process=\"edge\"} %u\n", p->edge.restarts);
	if (p->conf.pcs_url[0])
		out_print(out, "bailey_process_restarts_total{process=\"fetch\"} %u\n", p->trust.fetch.restarts);
	if (p->conf.dns.is_on)
		out_print(out, "bailey_process_restarts_total{process=\"dns\"} %u\n", p->dns.proc.restarts);
}

static void dns(struct out *out, const struct msg_dns_stats *n)
{
	static const char *const rcodes[DNS_RCODES] = { "NOERROR",  "FORMERR", "SERVFAIL",
							"NXDOMAIN", "NOTIMP",  "REFUSED" };

	single(out, "dns_names", "gauge", "Nodes that have names, this one included.", n->names);
	single(out, "dns_queries_total", "counter", "Queries, of those who may ask.", n->queries);
	single(out, "dns_dropped_total", "counter", "What was no query, and who may not ask.", n->dropped);
	head(out, "dns_answers_total", "counter", "Answers of this node's own, by their code.");
	for (size_t i = 0; i < DNS_RCODES; i++)
		out_print(out, "bailey_dns_answers_total{rcode=\"%s\"} %llu\n", rcodes[i],
			  (unsigned long long)n->answers[i]);
	single(out, "dns_forwarded_total", "counter", "Queries that other resolvers were asked.", n->forwarded);
	single(out, "dns_forward_failed_total", "counter", "Those of them that nobody answered.", n->forward_failed);
}

static void policy(struct out *out, const struct parent *p)
{
	const struct stored *s = life_deciding(p);
	int64_t left = life_seconds_left(p);
	char hex[65];

	hex_print(hex, s->digest, sizeof(s->digest));
	head(out, "policy_info", "gauge", "The policy that decides; always 1.");
	out_print(out, "bailey_policy_info{digest=\"%s\",origin=\"%s\"} 1\n", hex,
		  s->is_applied ? "applied" : "configured");
	single(out, "policy_confirm_seconds", "gauge",
	       "Time left to confirm the policy that decides; 0: nothing to confirm.", left > 0 ? (uint64_t)left : 0);
}

static void captured(struct out *out, const struct msg_status *s)
{
	static const char *const what[BY_DIVERT_STATS] = { "tcp", "udp", "asked", "unknown" };

	if (!s->is_capturing)
		return;
	single(out, "capture_connections", "gauge", "Captured connections to the proxy.", s->divert.n_origins);
	head(out, "captured_total", "counter",
	     "Dialled and diverted by protocol; origins that a proxy asked for, known and unknown.");
	for (int i = 0; i < BY_DIVERT_STATS; i++)
		out_print(out, "bailey_captured_total{what=\"%s\"} %llu\n", what[i],
			  (unsigned long long)s->divert.count[i]);
}

static void guarded(struct out *out, const struct msg_status *s)
{
	if (!s->is_guarding)
		return;
	single(out, "guard_cgroups", "gauge", "Cgroups of meshes whose sockets the kernel stops.", s->guard.n_cgroups);
	head(out, "guard_dropped_packets_total", "counter",
	     "Packets of a mesh's connections whose peer or rule is gone, by reason.");
	for (int i = 1; i < BY_DROP_COUNT; i++)
		if (s->guard.dropped[i].packets)
			out_print(out, "bailey_guard_dropped_packets_total{reason=\"%s\"} %llu\n",
				  dp_drop_name((uint32_t)i), (unsigned long long)s->guard.dropped[i].packets);
}

char *report_metrics_text(struct parent *p)
{
	const struct dp_status *dp = &p->report.counts[TARGET_OVERLAY].dp;
	struct out out = { 0 };
	size_t len;

	single(&out, "up", "gauge", "1: net answered.", p->report.is_known);
	if (p->report.is_known) {
		packets(&out, p);
		rules(&out, p);
		peer_packets(&out, p);
		workloads(&out, p);
		captured(&out, &p->report.status);
		guarded(&out, &p->report.status);
		each_target(&out, p, "flows", "gauge", "Tracked flows.", flows_of);
		single(&out, "identities", "gauge", "Attested nodes in the kernel's map, this one included.",
		       dp->n_identities);
		each_target(&out, p, "policy_generation", "gauge", "Generation that decides.", generation_of);
		each_target(&out, p, "events_lost_total", "counter", "Events that the kernel did not tell.", losses_of);
		single(&out, "wireguard_peers", "gauge", "Peers that WireGuard has.", p->report.n_peers);
		single(&out, "wireguard_asleep", "gauge",
		       "Nodes that WireGuard is told of when somebody talks to them.", p->report.status.n_asleep);
		single(&out, "wireguard_woken_total", "counter", "Times that one of them was.",
		       p->report.status.n_woken);
		single(&out, "events_unread_total", "counter", "Events that the parent did not take.",
		       p->report.status.events_held);
	}
	policy(&out, p);
	single(&out, "policy_loads_total", "counter", "Policies loaded.", p->policy_loads);
	single(&out, "policy_refusals_total", "counter", "Policies refused; the old one stayed.", p->policy_refusals);
	single(&out, "policy_rollbacks_total", "counter", "Ways back to the policy before, asked for or not confirmed.",
	       p->life.rollbacks);
	single(&out, "simulated", "gauge", "1: this node's own evidence is simulated.", p->self.is_simulated);
	evidence(&out, p);
	collateral(&out, p, time(NULL));
	peers(&out, p, time(NULL));
	if (p->conf.vpc.is_on) {
		single(&out, "vpc_connected", "gauge", "1: the control plane is connected.", p->vpc.is_up);
		single(&out, "vpc_serial", "gauge", "Number of the control plane's last change that was heard.",
		       p->vpc.seen.serial);
		single(&out, "vpc_revoked", "gauge", "Instances that were revoked.", p->vpc.n_revoked);
	}
	if (p->conf.topology == BY_TOPOLOGY_SPOKE)
		single(&out, "hub_known", "gauge", "1: this spoke has verified a hub.", p->hub != NULL);
	if (p->conf.dns.is_on)
		dns(&out, &p->dns.stats);
	key(&out, p);
	processes(&out, p);
	out_u8(&out, 0);
	return (char *)out_take(&out, &len);
}
