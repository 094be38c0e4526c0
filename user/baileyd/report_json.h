/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of the control socket's answers; the keys are a contract (docs/man/baileyd.8). Each is the caller's. */
#pragma once

#include <jansson.h>

#include "parent.h"

json_t *report_status_json(const struct parent *p);
json_t *report_event_json(const struct parent *p, const struct seen_event *seen);
char *report_metrics_text(const struct parent *p); /* Prometheus text format 0.0.4 */
