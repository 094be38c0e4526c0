// SPDX-License-Identifier: Apache-2.0
/* What an event says: who, what, why, and the rule that comes nearest where there is none. */
#include <netinet/in.h>
#include <stdio.h>

#include "base/text.h"
#include "evidence/files.h"
#include "report_filter.h"
#include "report_json.h"

static const char *const event_name[] = {
	[BY_EVENT_DROP] = "drop", [BY_EVENT_FLOW] = "flow", [BY_EVENT_AUDIT] = "audit"
};

const char *report_proto_name(uint8_t l4_proto, char buf[8])
{
	switch (l4_proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	default:
		snprintf(buf, 8, "%u", l4_proto);
		return buf;
	}
}

json_t *report_side_json(struct parent *p, const struct by_addr *addr, uint16_t port_be)
{
	struct who who = node_who(p, addr);
	char text[ADDR_TEXT];
	json_t *o = json_pack("{s:s}", "addr", addr_print(addr, text));

	if (port_be)
		json_object_set_new(o, "port", json_integer(ntohs(port_be)));
	if (who.node)
		json_object_set_new(o, "node", json_string(who.node));
	if (who.app_id)
		json_object_set_new(o, "app", report_app_json(p, who.app_id));
	return o;
}

/* Between two nodes of the overlay. */
static bool explain_overlay(struct parent *p, const struct dp_question *q, struct pol_answer *a)
{
	const struct id_claims *local = node_who(p, &q->local).claims, *peer = node_who(p, &q->peer).claims;
	struct pol_subject own, other;

	if (!local || !peer)
		return false;
	own = evp_subject(local);
	other = evp_subject(peer);
	pol_explain_nodes(p->model, q->dir == BY_DIR_IN ? &other : &own, q->dir == BY_DIR_IN ? &own : &other,
			  q->selector, a);
	return true;
}

/* Between this host and an address. */
static bool explain_host(struct parent *p, const struct dp_question *q, struct pol_answer *a)
{
	char peer[ADDR_TEXT], on[2 * BY_APP_ID_LEN + 1];
	bool is_in = q->dir == BY_DIR_IN;
	struct pol_question ask = { .from = "host", .to = "host", .on = on, .selector = q->selector };
	struct err e = ERR_INIT;

	*(is_in ? &ask.from : &ask.to) = addr_print(&q->peer, peer);
	hex_print(on, p->self.app_id, BY_APP_ID_LEN);
	return pol_ask(p->model, &ask, a, &e) == 0;
}

void report_nearest(json_t *o, struct parent *p, uint32_t target, const struct dp_question *q)
{
	bool is_host = p->targets[target].kind == TARGET_IS_UNDERLAY;
	struct pol_answer a;
	json_t *near;

	if (!p->model || !(is_host ? explain_host(p, q, &a) : explain_overlay(p, q, &a)) || !a.nearest_rule)
		return;
	near = json_pack("{s:s, s:s, s:i, s:s}", "rule", a.nearest_rule, "file", a.nearest_file, "line",
			 (int)a.nearest_line, "allows", a.nearest_ports);
	if (a.unmet[0] || a.unmet[1])
		json_object_set_new(near, "needs", pol_lacks_json(&a));
	json_object_set_new(o, "nearest", near);
}

static void add_nearest(json_t *o, struct parent *p, const struct msg_event *m)
{
	const struct by_event *ev = &m->event;
	bool is_in = ev->dir == BY_DIR_IN;
	struct dp_question q = { .dir = ev->dir,
				 .local = is_in ? ev->dst : ev->src,
				 .peer = is_in ? ev->src : ev->dst,
				 .selector = selector_of(ev->l4_proto, ev->dst_port_be, ev->icmp_type) };

	report_nearest(o, p, m->target, &q);
}

json_t *report_event_json(struct parent *p, const struct seen_event *seen)
{
	const struct by_event *ev = &seen->m.event;
	char proto[8];
	json_t *o = json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:i}", "at", (json_int_t)seen->at, "event", event_name[ev->type],
		"interface", seen->interface, "dir", ev->dir < BY_DIR_COUNT ? report_dir_name[ev->dir] : "", "proto",
		report_proto_name(ev->l4_proto, proto), "src", report_side_json(p, &ev->src, ev->src_port_be), "dst",
		report_side_json(p, &ev->dst, ev->dst_port_be), "bytes", (int)ev->ip_bytes);

	if (seen->workload[0])
		json_object_set_new(o, "workload", json_string(seen->workload));
	if (ev->l4_proto == IPPROTO_ICMP || ev->l4_proto == IPPROTO_ICMPV6)
		json_object_set_new(o, "icmp_type", json_integer(ev->icmp_type));
	if (ev->type == BY_EVENT_DROP) {
		json_object_set_new(o, "reason", json_string(dp_drop_name(ev->reason)));
		json_object_set_new(o, "text", json_string(dp_drop_text(ev->reason)));
	}
	if (seen->m.rule[0]) {
		json_object_set_new(o, "rule", json_string(seen->m.rule));
		json_object_set_new(o, "where", json_string(seen->m.where));
	} else if (ev->reason == BY_DROP_POLICY_DENY) {
		add_nearest(o, p, &seen->m);
	}
	if (ev->suppressed)
		json_object_set_new(o, "suppressed", json_integer(ev->suppressed));
	return o;
}
