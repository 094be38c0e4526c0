/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader wants to see of events and flows: the query of a request on the control socket. */
#pragma once

#include "parent.h"

enum filter_key {
	FILTER_DROPS = 1 << 0, /* drops=1: events of these kinds, of any when neither is asked for */
	FILTER_AUDIT = 1 << 1,
	FILTER_FROM = 1 << 2, /* a node, an app of the policy, an address or a prefix */
	FILTER_TO = 1 << 3,
	FILTER_PORT = 1 << 4,      /* tcp/22, icmp/8 */
	FILTER_REASON = 1 << 5,    /* of a drop */
	FILTER_INTERFACE = 1 << 6, /* of a target */
	FILTER_LIMIT = 1 << 7,
	FILTER_HOST = 1 << 8, /* no key: `host` can be a side */
	FILTER_SIDES = FILTER_FROM | FILTER_TO | FILTER_PORT | FILTER_INTERFACE,
};

struct filter_side {
	bool is_set, is_host, is_prefix, has_app;
	struct ip_prefix prefix;
	char node[BY_NODE_NAME_LEN];
	uint8_t app_id[BY_APP_ID_LEN];
};

struct filter {
	uint32_t types; /* bit per enum by_event_type; 0: any */
	struct filter_side from, to;
	bool has_port, has_target;
	uint32_t selector, target;
	uint32_t reason; /* enum by_drop; 0: any */
	uint64_t limit;  /* 0: none */
};

/* What is held against a filter. */
struct filter_item {
	uint32_t target;
	uint8_t type; /* enum by_event_type */
	uint8_t reason;
	uint32_t selector; /* BY_PORT_* */
	const struct by_addr *src, *dst;
};

/* `takes`: the keys that this request knows. Everything else is refused, with the word that was probably meant. */
int filter_parse(struct parent *p, struct evhttp_request *req, unsigned takes, struct filter *f, struct err *e);
bool filter_takes(struct parent *p, const struct filter *f, const struct filter_item *item);
struct filter_item filter_item_of(const struct msg_event *m);

/* Index of by_port that a flow with this destination port asks for. */
uint32_t selector_of(uint8_t l4_proto, uint16_t dst_port_be, uint8_t icmp_type);
