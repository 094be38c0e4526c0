// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "base/text.h"
#include "report_json.h"

static void put(struct out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct out *out, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	out_bytes(out, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static void head(struct out *out, const char *name, const char *type, const char *help)
{
	put(out, "# HELP bailey_%s %s\n# TYPE bailey_%s %s\n", name, help, name, type);
}

static void single(struct out *out, const char *name, const char *type, const char *help, uint64_t v)
{
	head(out, name, type, help);
	put(out, "bailey_%s %llu\n", name, (unsigned long long)v);
}

static void packets(struct out *out, const struct dp_status *dp)
{
	static const char *const dir_name[BY_DIR_COUNT] = { "in", "out" };

	head(out, "packets_total", "counter", "Overlay packets by direction and drop reason (NONE: passed).");
	for (int dir = 0; dir < BY_DIR_COUNT; dir++)
		for (unsigned r = 0; r < BY_DROP_COUNT; r++)
			put(out, "bailey_packets_total{dir=\"%s\",reason=\"%s\"} %llu\n", dir_name[dir],
			    dp_drop_name(r), (unsigned long long)dp->stat[dir][r].packets);
}

/* Rule names are [a-z0-9-], so they need no escape. */
static void rules(struct out *out, const struct parent *p)
{
	head(out, "rule_packets_total", "counter",
	     "Packets that a rule decided: first packets of flows, and denials. mode audit: that it would have "
	     "dropped.");
	for (size_t i = 0; i < p->report.n_rules; i++) {
		const struct rule_hits *hits = &p->report.rules[i];
		const struct by_rule *rule = report_rule(p, hits->target, hits->number);

		if (rule)
			put(out, "bailey_rule_packets_total{rule=\"%s\",mode=\"%s\"} %llu\n", rule->name,
			    rule->flags & BY_RULE_AUDIT ? "audit" : "enforce", (unsigned long long)hits->hits.packets);
	}
}

static void evidence(struct out *out, const struct parent *p)
{
	head(out, "evidence_refused_total", "counter", "Refused certificates, quotes and records by reason.");
	for (int r = ID_NONE + 1; r < ID_REASON_COUNT; r++)
		put(out, "bailey_evidence_refused_total{reason=\"%s\"} %llu\n", id_reason_name(r),
		    (unsigned long long)p->refused[r]);
	single(out, "exchange_failed_total", "counter", "Record exchanges that failed before any evidence was judged.",
	       p->refused[ID_NONE]);
}

static void peers(struct out *out, const struct parent *p, int64_t now)
{
	head(out, "record_expires_seconds", "gauge", "Time left of each verified record.");
	for (size_t i = 0; i < p->n_nodes; i++)
		put(out, "bailey_record_expires_seconds{node=\"%s\"} %lld\n", p->nodes[i].id.record.node,
		    (long long)(p->nodes[i].id.record.not_after - now));
}

static void processes(struct out *out, const struct parent *p)
{
	head(out, "process_restarts_total", "counter", "How often a process was started again.");
	put(out, "bailey_process_restarts_total{process=\"net\"} %u\n", p->net.restarts);
	put(out, "bailey_process_restarts_total{process=\"edge\"} %u\n", p->edge.restarts);
}

static void policy(struct out *out, const struct parent *p)
{
	const struct stored *s = life_deciding(p);
	int64_t left = life_seconds_left(p);
	char hex[65];

	hex_print(hex, s->digest, sizeof(s->digest));
	head(out, "policy_info", "gauge", "The policy that decides; always 1.");
	put(out, "bailey_policy_info{digest=\"%s\",origin=\"%s\"} 1\n", hex, s->is_applied ? "applied" : "configured");
	single(out, "policy_confirm_seconds", "gauge",
	       "Time left to confirm the policy that decides; 0: nothing to confirm.", left > 0 ? (uint64_t)left : 0);
}

char *report_metrics_text(struct parent *p)
{
	const struct dp_status *dp = &p->report.counts[TARGET_OVERLAY].dp;
	struct out out = { 0 };
	size_t len;

	single(&out, "up", "gauge", "1: net answered.", p->report.is_known);
	if (p->report.is_known) {
		packets(&out, dp);
		rules(&out, p);
		single(&out, "flows", "gauge", "Tracked flows.", dp->n_flows);
		single(&out, "identities", "gauge", "Attested nodes in the kernel's map, this one included.",
		       dp->n_identities);
		single(&out, "policy_generation", "gauge", "Generation that decides.", dp->gen.gen);
		single(&out, "events_lost_total", "counter", "Events that did not reach a reader.",
		       dp->events_lost + p->report.status.events_held);
	}
	policy(&out, p);
	single(&out, "policy_loads_total", "counter", "Policies loaded.", p->policy_loads);
	single(&out, "policy_refusals_total", "counter", "Policies refused; the old one stayed.", p->policy_refusals);
	single(&out, "policy_rollbacks_total", "counter", "Ways back to the policy before, asked for or not confirmed.",
	       p->life.rollbacks);
	single(&out, "simulated", "gauge", "1: this node's own evidence is simulated.", p->self.is_simulated);
	evidence(&out, p);
	peers(&out, p, time(NULL));
	processes(&out, p);
	out_u8(&out, 0);
	return (char *)out_take(&out, &len);
}
