/* SPDX-License-Identifier: Apache-2.0 */
/* What people see of the control plane: part of the store process. */
#pragma once

#include <event2/http.h>
#include <jansson.h>

#include "base/hash.h"
#include "internal.h"

/* Who is connected. */
struct vs_links {
	struct hash by_instance;
};

void vs_links_set(struct vs_links *links, const struct vs_msg_link *m);

struct vs_report {
	const struct vs_conf *conf;
	struct vs_store *store;
	const struct vs_links *links;
	const struct vs_msg_stats *stats;
};

json_t *vs_report_status(const struct vs_report *r);
json_t *vs_report_nodes(const struct vs_report *r);
char *vs_report_metrics(const struct vs_report *r); /* malloc'ed */
int64_t vs_keys_good(struct vs_store *store);       /* pre-auth keys that admit somebody (authkeys.c) */
json_t *vs_report_body(struct evhttp_request *req); /* NULL: it is no JSON */
/* A text member of the request's JSON object; malloc'ed, NULL: there is none. */
char *vs_report_asked(struct evhttp_request *req, const char *key);
