// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/listen.h"

#define BODY_MAX       (40u << 20) /* a policy as JSON; only root may send it */
#define HEADERS_MAX    8192
#define IDLE_S         30
#define STREAM_BACKLOG (1 << 20) /* bytes that a slow monitor may leave unread before lines are left out */

struct ctl {
	struct evhttp *http;
	const struct ctl_route *routes;
	void *arg;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void on_request(struct evhttp_request *req, void *arg)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	struct ctl *ctl = arg;
	struct err e = ERR_INIT;

	for (const struct ctl_route *r = ctl->routes; r->path; r++) {
		if (!path || strcmp(path, r->path))
			continue;
		if (evhttp_request_get_command(req) == r->method) {
			r->handle(req, ctl->arg);
			return;
		}
		err_at(&e, -EINVAL, path, "needs another method");
		ctl_reply_error(req, 405, &e);
		return;
	}
	err_at(&e, -ENOENT, path, "no such path");
	ctl_reply_error(req, 404, &e);
}

int ctl_open(struct event_base *base, const char *path, const struct ctl_route *routes, void *arg, struct ctl **ctl,
	     struct err *e)
{
	struct evconnlistener *listener;
	struct ctl *made;
	int fd = unix_listen(path, 0600, "another baileyd runs this instance", e);

	if (fd < 0)
		return fd;
	made = calloc(1, sizeof(*made));
	listener = evconnlistener_new(base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (made)
		made->http = evhttp_new(base);
	if (!made || !listener || !made->http || !evhttp_bind_listener(made->http, listener)) {
		free(made);
		close(fd);
		return err_at(e, -ENOMEM, path, "out of memory");
	}
	made->routes = routes;
	made->arg = arg;
	snprintf(made->path, sizeof(made->path), "%s", path);
	evhttp_set_gencb(made->http, on_request, made);
	evhttp_set_max_body_size(made->http, BODY_MAX);
	evhttp_set_max_headers_size(made->http, HEADERS_MAX);
	evhttp_set_timeout(made->http, IDLE_S);
	evhttp_set_allowed_methods(made->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
	*ctl = made;
	return 0;
}

void ctl_close(struct ctl *ctl)
{
	if (!ctl)
		return;
	unlink(ctl->path);
	evhttp_free(ctl->http);
	free(ctl);
}

static void reply(struct evhttp_request *req, int status, const char *type, const char *text)
{
	struct evbuffer *body = evhttp_request_get_output_buffer(req);

	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
	evbuffer_add(body, text, strlen(text));
	evhttp_send_reply(req, status, NULL, NULL);
}

void ctl_reply_json(struct evhttp_request *req, int status, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_INDENT(2)) : NULL;

	if (text)
		reply(req, status, "application/json", text);
	else
		evhttp_send_error(req, 500, "out of memory");
	free(text);
	json_decref(body);
}

void ctl_reply_error(struct evhttp_request *req, int status, const struct err *e)
{
	ctl_reply_json(req, status, json_pack("{s:s, s:s}", "where", e->where, "error", e->msg));
}

void ctl_reply_text(struct evhttp_request *req, const char *type, const char *text)
{
	reply(req, 200, type, text);
}

struct stream {
	void (*gone)(struct evhttp_request *req, void *arg);
	void *arg;
	struct evhttp_request *req;
};

static void on_stream_close(struct evhttp_connection *conn, void *arg)
{
	struct stream *s = arg;

	(void)conn;
	s->gone(s->req, s->arg);
	free(s);
}

void ctl_stream_start(struct evhttp_request *req, void (*gone)(struct evhttp_request *req, void *arg), void *arg)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(req);
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		evhttp_send_error(req, 500, "out of memory");
		gone(req, arg);
		return;
	}
	*s = (struct stream){ .gone = gone, .arg = arg, .req = req };
	evhttp_connection_set_closecb(conn, on_stream_close, s);
	evhttp_connection_set_timeout(conn, 0x7fffffff); /* a quiet network is no reason to hang up */
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/x-ndjson");
	evhttp_send_reply_start(req, 200, "OK");
}

bool ctl_stream_line(struct evhttp_request *req, const json_t *line)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(req));
	auto_free char *text = json_dumps(line, JSON_COMPACT);
	struct evbuffer *chunk;

	/* a reader that does not read loses lines, not our memory */
	if (!text || evbuffer_get_length(bufferevent_get_output(bev)) > STREAM_BACKLOG)
		return false;
	chunk = evbuffer_new();
	if (!chunk)
		return false;
	evbuffer_add_printf(chunk, "%s\n", text);
	evhttp_send_reply_chunk(req, chunk);
	evbuffer_free(chunk);
	return true;
}
