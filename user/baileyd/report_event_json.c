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

/* Between two nodes of the overlay, by what they prove now. */
static bool ask_overlay(struct parent *p, const struct by_event *ev, struct pol_answer *a)
{
	const struct id_claims *src = node_who(p, &ev->src).claims, *dst = node_who(p, &ev->dst).claims;
	struct pol_subject from, to;

	if (!src || !dst)
		return false;
	from = evp_subject(src);
	to = evp_subject(dst);
	pol_explain_nodes(p->model, &from, &to, selector_of(ev->l4_proto, ev->dst_port_be, ev->icmp_type), a);
	return true;
}

/* Between this host and an address. */
static bool ask_host(struct parent *p, const struct by_event *ev, struct pol_answer *a)
{
	bool is_in = ev->dir == BY_DIR_IN;
	char peer[ADDR_TEXT], on[2 * BY_APP_ID_LEN + 1];
	struct pol_question q = { .from = is_in ? addr_print(&ev->src, peer) : "host",
				  .to = is_in ? "host" : addr_print(&ev->dst, peer),
				  .on = on,
				  .selector = selector_of(ev->l4_proto, ev->dst_port_be, ev->icmp_type) };
	struct err e = ERR_INIT;

	hex_print(on, p->self.app_id, BY_APP_ID_LEN);
	return pol_ask(p->model, &q, a, &e) == 0;
}

/* For a packet that no rule covers: the rule of these two that comes nearest. */
static void add_nearest(json_t *o, struct parent *p, const struct msg_event *m)
{
	bool is_host = p->targets[m->target].kind == TARGET_IS_UNDERLAY;
	struct pol_answer a;
	json_t *near;

	if (!p->model || !(is_host ? ask_host(p, &m->event, &a) : ask_overlay(p, &m->event, &a)) || !a.nearest_rule)
		return;
	near = json_pack("{s:s, s:s, s:i, s:s}", "rule", a.nearest_rule, "file", a.nearest_file, "line",
			 (int)a.nearest_line, "allows", a.nearest_ports);
	if (a.unmet[0] || a.unmet[1])
		json_object_set_new(near, "needs", pol_lacks_json(&a));
	json_object_set_new(o, "nearest", near);
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
