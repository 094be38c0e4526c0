// SPDX-License-Identifier: Apache-2.0
#include "report_filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/near.h"

uint32_t selector_of(uint8_t l4_proto, uint16_t dst_port_be, uint8_t icmp_type)
{
	switch (l4_proto) {
	case IPPROTO_TCP:
		return BY_PORT_TCP + ntohs(dst_port_be);
	case IPPROTO_UDP:
		return BY_PORT_UDP + ntohs(dst_port_be);
	case IPPROTO_ICMP:
		return BY_PORT_ICMP + icmp_type;
	case IPPROTO_ICMPV6:
		return BY_PORT_ICMPV6 + icmp_type;
	default:
		return BY_PORT_OTHER + l4_proto;
	}
}

static int refuse(struct err *e, const char *key, const char *found, const char *needed, const char *near)
{
	if (near)
		return err_at(e, -EINVAL, key, "found '%.64s', needed %s; did you mean '%s'?", found, needed, near);
	return err_at(e, -EINVAL, key, "found '%.64s', needed %s", found, needed);
}

static int read_flag(const char *key, const char *value, uint32_t *types, enum by_event_type type, struct err *e)
{
	if (strcmp(value, "1") != 0)
		return refuse(e, key, value, "1", NULL);
	*types |= 1u << type;
	return 0;
}

/* A bare address is a prefix of its whole length. */
static bool parse_prefix(const char *text, struct ip_prefix *prefix)
{
	if (prefix_parse(prefix, text))
		return true;
	if (!addr_parse(&prefix->addr, text))
		return false;
	prefix->bits = addr_is_v4(&prefix->addr) ? 32 : 128;
	return true;
}

/* A node and an app may have the same name: either is meant then. */
static int read_name(const struct parent *p, const char *key, const char *name, struct filter_side *side, struct err *e)
{
	struct near near = NEAR_INIT(name);
	struct err why = ERR_INIT;

	near_offer(&near, p->conf.node);
	for (size_t i = 0; i < p->n_nodes; i++)
		near_offer(&near, p->nodes[i]->id.record.node);
	side->has_app = p->model && pol_app_id(p->model, name, side->app_id, &why) == 0;
	if (near.best && strcmp(near.best, name) == 0)
		snprintf(side->node, sizeof(side->node), "%s", name);
	else if (!side->has_app)
		return near.best || !why.code
			       ? refuse(e, key, name, "a node, an app, an address or a prefix", near.best)
			       : err_at(e, -EINVAL, key, "no node has this name, and %s", why.msg);
	return 0;
}

static int read_side(const struct parent *p, unsigned takes, const char *key, const char *value,
		     struct filter_side *side, struct err *e)
{
	side->is_set = true;
	side->is_host = takes & FILTER_HOST && strcmp(value, "host") == 0;
	if (side->is_host)
		return 0;
	side->is_prefix = parse_prefix(value, &side->prefix);
	return side->is_prefix ? 0 : read_name(p, key, value, side, e);
}

static int read_port(const char *key, const char *value, struct filter *f, struct err *e)
{
	struct err why = ERR_INIT;

	f->has_port = true;
	if (pol_selector_parse(value, &f->selector, &why))
		return 0;
	return err_at(e, -EINVAL, key, "%s", why.msg);
}

static int read_reason(const char *key, const char *value, struct filter *f, struct err *e)
{
	struct near near = NEAR_INIT(value);

	for (unsigned r = BY_DROP_NONE + 1; r < BY_DROP_COUNT; r++) {
		near_offer(&near, dp_drop_name(r));
		if (strcmp(value, dp_drop_name(r)) == 0) {
			f->reason = r;
			return 0;
		}
	}
	return refuse(e, key, value, "a drop reason", near.best);
}

static int read_interface(const struct parent *p, const char *key, const char *value, struct filter *f, struct err *e)
{
	struct near near = NEAR_INIT(value);

	f->has_target = true;
	for (f->target = 0; f->target < p->n_targets; f->target++) {
		if (p->targets[f->target].kind == TARGET_IS_FREE)
			continue;
		if (strcmp(p->targets[f->target].interface, value) == 0)
			return 0;
		near_offer(&near, p->targets[f->target].interface);
	}
	return refuse(e, key, value, "an interface of this node", near.best);
}

static int read_limit(const char *key, const char *value, struct filter *f, struct err *e)
{
	char *end;

	errno = 0;
	f->limit = strtoull(value, &end, 10);
	if (errno || *end || !f->limit || *value == '-')
		return refuse(e, key, value, "a number from 1 on", NULL);
	return 0;
}

static const struct {
	const char *name;
	enum filter_key key;
} keys[] = {
	{ "drops", FILTER_DROPS }, { "audit", FILTER_AUDIT },         { "from", FILTER_FROM },
	{ "to", FILTER_TO },       { "port", FILTER_PORT },           { "reason", FILTER_REASON },
	{ "limit", FILTER_LIMIT }, { "interface", FILTER_INTERFACE },
};

static int read_key(const struct parent *p, unsigned takes, const char *name, const char *value, struct filter *f,
		    struct err *e)
{
	struct near near = NEAR_INIT(name);
	unsigned key = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!(keys[i].key & takes))
			continue;
		near_offer(&near, keys[i].name);
		if (strcmp(keys[i].name, name) == 0)
			key = keys[i].key;
	}
	switch (key) {
	case FILTER_DROPS:
		return read_flag(name, value, &f->types, BY_EVENT_DROP, e);
	case FILTER_AUDIT:
		return read_flag(name, value, &f->types, BY_EVENT_AUDIT, e);
	case FILTER_FROM:
		return read_side(p, takes, name, value, &f->from, e);
	case FILTER_TO:
		return read_side(p, takes, name, value, &f->to, e);
	case FILTER_PORT:
		return read_port(name, value, f, e);
	case FILTER_REASON:
		return read_reason(name, value, f, e);
	case FILTER_INTERFACE:
		return read_interface(p, name, value, f, e);
	case FILTER_LIMIT:
		return read_limit(name, value, f, e);
	default:
		return refuse(e, "filter", name, "a filter that this request knows", near.best);
	}
}

int filter_parse(struct parent *p, struct evhttp_request *req, unsigned takes, struct filter *f, struct err *e)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
	struct evkeyvalq pairs = { 0 };
	struct evkeyval *pair;
	int ret = 0;

	*f = (struct filter){ 0 };
	if (!query || !*query)
		return 0;
	if (evhttp_parse_query_str(query, &pairs) < 0)
		return err_at(e, -EINVAL, "filter", "'%.64s' is no query", query);
	for (pair = pairs.tqh_first; pair && !ret; pair = pair->next.tqe_next)
		ret = read_key(p, takes, pair->key, pair->value, f, e);
	evhttp_clear_headers(&pairs);
	if (!ret && f->reason && (f->types & ~(1u << BY_EVENT_DROP)))
		ret = err_at(e, -EINVAL, "reason", "only drops have one");
	return ret;
}

static bool side_takes(struct parent *p, const struct filter_side *side, const struct by_addr *addr)
{
	struct who who;

	if (!side->is_set)
		return true;
	if (side->is_prefix)
		return addr_in_prefix(addr, &side->prefix);
	who = node_who(p, addr);
	return (who.node && strcmp(who.node, side->node) == 0) ||
	       (side->has_app && who.app_id && memcmp(who.app_id, side->app_id, BY_APP_ID_LEN) == 0);
}

bool filter_takes(struct parent *p, const struct filter *f, const struct filter_item *item)
{
	return (!f->types || f->types & 1u << item->type) && (!f->reason || f->reason == item->reason) &&
	       (!f->has_port || f->selector == item->selector) && (!f->has_target || f->target == item->target) &&
	       side_takes(p, &f->from, item->src) && side_takes(p, &f->to, item->dst);
}

struct filter_item filter_item_of(const struct msg_event *m)
{
	const struct by_event *ev = &m->event;

	return (struct filter_item){ .target = m->target,
				     .type = ev->type < 32 ? ev->type : 0,
				     .reason = ev->reason,
				     .selector = selector_of(ev->l4_proto, ev->dst_port_be, ev->icmp_type),
				     .src = &ev->src,
				     .dst = &ev->dst };
}
