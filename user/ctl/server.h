/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: HTTP on a Unix socket, mode 0600, so that curl and the CLI speak the same. Room prefix ctl_.
 * Paths and answers are in docs/man/baileyd.8.
 */
#pragma once

#include <event2/event.h>
#include <event2/http.h>
#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct ctl;

struct ctl_route {
	enum evhttp_cmd_type method;
	const char *path;
	void (*handle)(struct evhttp_request *req, void *arg);
};

/* routes: ended by a path of NULL; kept by reference. Replaces a socket that nobody listens on. */
int ctl_open(struct event_base *base, const char *path, const struct ctl_route *routes, void *arg, struct ctl **ctl,
	     struct err *e);
void ctl_close(struct ctl *ctl); /* accepts NULL; removes the socket */

/* Each answers `req` and takes over `body`. */
void ctl_reply_json(struct evhttp_request *req, int status, json_t *body);
void ctl_reply_error(struct evhttp_request *req, int status, const struct err *e);
void ctl_reply_text(struct evhttp_request *req, const char *type, const char *text);

/* One JSON object a line, until the client goes; `gone` is called once then. A line that a client which does not read
 * has no room for is left out: false. */
void ctl_stream_start(struct evhttp_request *req, void (*gone)(struct evhttp_request *req, void *arg), void *arg);
bool ctl_stream_line(struct evhttp_request *req, const json_t *line);
