// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <errno.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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

static bool somebody_listens(const struct sockaddr_un *sun)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0;
}

/* Bound with no rights, opened up when it has its mode: nobody gets in between. */
static int bind_socket(const char *path, unsigned mode, struct err *e)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	mode_t old;
	int ret;

	if (fd < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	if (snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path) >= (int)sizeof(sun.sun_path))
		return err_at(e, -ENAMETOOLONG, path, "is longer than %zu bytes, the limit for a socket",
			      sizeof(sun.sun_path) - 1);
	if (somebody_listens(&sun))
		return err_at(e, -EADDRINUSE, path, "another agent answers there");
	unlink(path);
	old = umask(0777);
	ret = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 64) < 0 || chmod(path, mode) < 0 ? -errno
														: 0;
	umask(old);
	return ret ? err_at(e, ret, path, "%s", strerror(-ret)) : take_fd(&fd);
}

int ag_listen(struct event_base *base, const char *path, unsigned mode, enum ag_service service, struct agent *agent,
	      struct ag_server **server, struct err *e)
{
	struct evconnlistener *listener;
	struct ag_server *made;
	int fd = bind_socket(path, mode, e);

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
