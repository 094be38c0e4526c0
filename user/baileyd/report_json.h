/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of the control socket's answers; the keys are a contract (docs/man/baileyd.8). Each is the caller's. */
#pragma once

#include "base/json.h"
#include "parent.h"

/* report.c: of two struct msg_peer, by the key that comes first in them. Those of a report are in it. */
int report_peer_order(const void *a, const void *b);

json_t *report_status_json(struct parent *p);
json_t *report_counters_json(struct parent *p);
char *report_metrics_text(struct parent *p); /* Prometheus text format 0.0.4 */

/* What policy calls the app, or null. */
json_t *report_app_json(const struct parent *p, const uint8_t app_id[BY_APP_ID_LEN]);
extern const char *const report_dir_name[BY_DIR_COUNT];
/* Rule `number` of the image that the target was last given; NULL: it has none of that number. */
const struct by_rule *report_rule(const struct parent *p, uint32_t target, uint32_t number);

/* report_peers.c: endpoints of records, and where they are dialled. */
json_t *report_via_json(const struct conf *c);

json_t *report_drops_json(const struct dp_status *dp);
json_t *report_rules_json(const struct parent *p, uint32_t target);

/* report_event_json.c */
json_t *report_event_json(struct parent *p, const struct seen_event *seen);
/* For a packet that no rule covers: "nearest", the rule of these two that comes nearest, by what they prove now. */
void report_nearest(json_t *o, struct parent *p, uint32_t target, const struct dp_question *q);
/* One end of a packet: address, port (0: none), whose it is. */
json_t *report_side_json(struct parent *p, const struct by_addr *addr, uint16_t port_be);
const char *report_proto_name(uint8_t l4_proto, char buf[8]);

/* report_capture.c */
void report_on_capture(struct evhttp_request *req, void *arg);

/* report_flows.c */
void report_on_flows(struct evhttp_request *req, void *arg);

/* report_ask.c */
void report_on_ask(struct evhttp_request *req, void *arg);

/* report_events.c: handlers; `arg` is the parent. */
void report_on_events(struct evhttp_request *req, void *arg);
void report_on_monitor(struct evhttp_request *req, void *arg);
