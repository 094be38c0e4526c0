/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of the control socket's answers; the keys are a contract (docs/man/baileyd.8). Each is the caller's. */
#pragma once

#include <jansson.h>

#include "parent.h"

json_t *report_status_json(struct parent *p);
json_t *report_event_json(struct parent *p, const struct seen_event *seen);
char *report_metrics_text(struct parent *p); /* Prometheus text format 0.0.4 */

/* report_events.c: handlers; `arg` is the parent. */
void report_on_events(struct evhttp_request *req, void *arg);
void report_on_monitor(struct evhttp_request *req, void *arg);
