// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <errno.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/listen.h"
#include "internal.h"
#include "prpc.h"

#define BODY_MAX    (4u << 20)
#define HEADERS_MAX 8192
#define IDLE_S      30

struct ag_server {
	struct evhttp *http;
	struct agent *agent;
	enum ag_service service;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* --- requests --- */

/* "/GetKey", "/prpc/Tappd.DeriveKey": what is behind the mount. NULL: not below it. */
static const char *method_of(const struct ag_server *server, struct evhttp_request *req)
{
	const char *mount = server->service == AG_TAPPD ? "/prpc/" : "/";
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));

	return path && strncmp(path, mount, strlen(mount)) == 0 ? path + strlen(mount) : NULL;
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct ag_server *server = arg;
	const char *method = method_of(server, req);
	auto_json json_t *args = NULL, *answer = NULL;
	struct err e = ERR_INIT;

	if (!method)
		err_at(&e, -ENOENT, "request", "Service not found: the methods of this socket are below /prpc/");
	else
		args = prpc_args(req, &e);
	if (args && ag_call(server->agent, server->service, method, args, &answer, &e) == 0)
		prpc_reply(req, 200, answer);
	else
		prpc_reply_error(req, &e);
}

/* --- the socket --- */

int ag_listen(struct event_base *base, const char *path, unsigned mode, enum ag_service service, struct agent *agent,
	      struct ag_server **server, struct err *e)
{
	struct evconnlistener *listener;
	struct ag_server *made;
	int fd = unix_listen(path, mode, "another agent answers there", e);

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
	made->agent = agent;
	made->service = service;
	snprintf(made->path, sizeof(made->path), "%s", path);
	evhttp_set_gencb(made->http, on_request, made);
	evhttp_set_max_body_size(made->http, BODY_MAX);
	evhttp_set_max_headers_size(made->http, HEADERS_MAX);
	evhttp_set_timeout(made->http, IDLE_S);
	evhttp_set_allowed_methods(made->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
	*server = made;
	return 0;
}

void ag_server_close(struct ag_server *server)
{
	if (!server)
		return;
	unlink(server->path);
	evhttp_free(server->http);
	free(server);
}
