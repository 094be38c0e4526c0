/* SPDX-License-Identifier: Apache-2.0 */
/* dstack's calls over HTTP in their JSON form: what server sides share. */
#pragma once

#include <event2/http.h>
#include <jansson.h>

#include "base/err.h"

/* The arguments: an object. NULL: neither a GET nor JSON, or broken. */
json_t *prpc_args(struct evhttp_request *req, struct err *e);
void prpc_reply(struct evhttp_request *req, int status, const json_t *body);
/* Status 400. dstack's clients compare some texts, so an error whose place is "request" goes without its place. */
void prpc_reply_error(struct evhttp_request *req, const struct err *e);
