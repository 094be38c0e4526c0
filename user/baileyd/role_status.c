// SPDX-License-Identifier: Apache-2.0
/*
 * The status process: GET /status and /health for whoever may reach its port, from what the parent says of the node. It
 * has no key, no file and no capability, and it can not ask for anything but that one answer.
 */
#include "role.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/listening.h"
#include "base/log.h"
#include "box.h"
#include "http/http.h"
#include "proc.h"
#include "msg.h"

#define CLIENTS_MAX 64
#define HEAD_MAX    4096
#define LIFE_S      5 /* of a connection, whatever it does */
#define FRESH_MS    1000
#define ANSWER_MS   3000 /* that the parent may take */

struct client {
	struct client *next, **at;
	struct status *s;
	struct bufferevent *bev;
	struct event *end;
	struct http_head head;
	bool waits; /* for the parent */
	bool wants_health;
};

struct status {
	struct event_base *base;
	struct ipc *parent;
	struct listening listening[CONF_MAX_LISTEN];
	unsigned n_listeners, n_clients;
	struct client *clients;
	bool is_asked; /* the parent was, and has not answered */
	int64_t asked_ms, known_ms;
	char *text; /* NULL: the parent never answered */
	bool is_healthy;
};

static void all_full(struct status *s, bool is_full)
{
	for (unsigned i = 0; i < s->n_listeners; i++)
		listening_full(&s->listening[i], is_full);
}

static void client_free(struct client *c)
{
	struct status *s = c->s;

	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	if (s->n_clients-- == CLIENTS_MAX)
		all_full(s, false);
	event_free(c->end);
	bufferevent_free(c->bev);
	free(c);
}

/* --- answers --- */

static void on_written(struct bufferevent *bev, void *arg)
{
	(void)bev;
	client_free(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev, (void)what;
	client_free(arg);
}

static void reply(struct client *c, const char *line, const char *type, const char *body)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	c->waits = false;
	bufferevent_disable(c->bev, EV_READ);
	bufferevent_setcb(c->bev, NULL, on_written, on_event, c);
	evbuffer_add_printf(out,
			    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
			    "Connection: close\r\n%s\r\n",
			    line, type, strlen(body), strncmp(line, "405", 3) == 0 ? "Allow: GET, HEAD\r\n" : "");
	if (!c->head.is_head)
		evbuffer_add(out, body, strlen(body));
}

static void refuse(struct client *c, const char *line)
{
	reply(c, line, "text/plain", "");
}

static void answer(struct client *c)
{
	struct status *s = c->s;
	bool is_known = s->text && clock_ms(CLOCK_MONOTONIC) - s->known_ms < ANSWER_MS;

	if (c->wants_health)
		reply(c, is_known && s->is_healthy ? "200 OK" : "503 Service Unavailable", "text/plain",
		      is_known && s->is_healthy ? "OK\n" : "not ready\n");
	else if (is_known)
		reply(c, "200 OK", "application/json", s->text);
	else
		refuse(c, "503 Service Unavailable");
}

static void answer_all(struct status *s)
{
	for (struct client *c = s->clients; c; c = c->next)
		if (c->waits)
			answer(c);
}

/* What is a second old is asked for anew, once however many wait. */
static void want(struct client *c)
{
	struct status *s = c->s;
	int64_t now = clock_ms(CLOCK_MONOTONIC);

	if (s->text && now - s->known_ms < FRESH_MS) {
		answer(c);
		return;
	}
	c->waits = true;
	if (s->is_asked && now - s->asked_ms < ANSWER_MS)
		return;
	s->is_asked = true;
	s->asked_ms = now;
	ipc_send(s->parent, MSG_STATUS_ASK, NULL, 0, -1);
}

/* --- requests --- */

static bool is_path(const struct client *c, const char *text, const char *path)
{
	return c->head.path.len == strlen(path) && memcmp(text + c->head.path.at, path, strlen(path)) == 0;
}

static bool is_get(const struct client *c, const char *text)
{
	return c->head.is_head || (c->head.method.len == 3 && memcmp(text + c->head.method.at, "GET", 3) == 0);
}

static void take_request(struct client *c, const char *text)
{
	c->wants_health = is_path(c, text, "/health");
	if (!is_get(c, text))
		refuse(c, "405 Method Not Allowed");
	else if (c->head.framing != HTTP_NONE)
		refuse(c, "413 Content Too Large");
	else if (c->wants_health || is_path(c, text, "/status"))
		want(c);
	else
		refuse(c, "404 Not Found");
}

static void on_read(struct bufferevent *bev, void *arg)
{
	static const struct http_limits limits = { .max_head = HEAD_MAX, .max_fields = 64 };
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len = evbuffer_get_length(in);
	const char *text = (const char *)evbuffer_pullup(in, -1);
	struct client *c = arg;
	enum http_error error;

	if (c->waits || !text)
		return;
	error = http_head_parse(&c->head, text, len, &limits);
	if (error == HTTP_E_TOO_LONG || error == HTTP_E_TOO_MANY)
		refuse(c, "431 Request Header Fields Too Large");
	else if (error)
		refuse(c, "400 Bad Request");
	else if (c->head.len) {
		bufferevent_disable(bev, EV_READ); /* one request a connection */
		take_request(c, text);
	}
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd, (void)what;
	if (c->waits)
		answer(c);
	else
		client_free(c);
}

static void on_accept(int fd, const struct sockaddr *from, void *arg)
{
	struct timeval life = { .tv_sec = LIFE_S };
	struct status *s = arg;
	struct client *c = calloc(1, sizeof(*c));

	(void)from;
	if (c) {
		c->s = s;
		c->end = event_new(s->base, -1, EV_PERSIST, on_end, c);
		c->bev = c->end ? bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
	}
	if (!c || !c->bev) {
		close(fd);
		if (c && c->end)
			event_free(c->end);
		free(c);
		return;
	}
	c->next = s->clients;
	c->at = &s->clients;
	if (c->next)
		c->next->at = &c->next;
	s->clients = c;
	if (++s->n_clients == CLIENTS_MAX)
		all_full(s, true);
	http_head_init(&c->head, false);
	bufferevent_setwatermark(c->bev, EV_READ, 0, HEAD_MAX + 1);
	bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	event_add(c->end, &life);
}

/* --- the parent --- */

static void take_listener(struct status *s, struct ipc_msg *msg)
{
	struct listening *l = &s->listening[s->n_listeners];
	struct err e = ERR_INIT;

	if (msg->fd < 0 || s->n_listeners == CONF_MAX_LISTEN)
		return;
	*l = (struct listening){ .what = "status", .accepted = on_accept, .arg = s };
	if (listening_start(l, s->base, msg->fd, &e) < 0)
		return;
	take_fd(&msg->fd);
	s->n_listeners++;
}

static void take_snapshot(struct status *s, struct ipc_msg *msg)
{
	const struct msg_snapshot *m = ipc_as(msg, sizeof(*m));
	uint8_t *text;
	size_t len;

	if (!m || ipc_blob_read(msg->fd, STATUS_TEXT_MAX, &text, &len) < 0)
		return;
	free(s->text);
	s->text = (char *)text;
	s->is_healthy = m->is_healthy;
	s->known_ms = clock_ms(CLOCK_MONOTONIC);
	s->is_asked = false;
	answer_all(s);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	if (msg->type == MSG_STATUS_LISTEN)
		take_listener(arg, msg);
	else if (msg->type == MSG_STATUS_SNAPSHOT)
		take_snapshot(arg, msg);
}

int role_status(uid_t uid, gid_t gid)
{
	struct status s = { .base = event_base_new() };
	struct err e = ERR_INIT;
	int ret = s.base ? ipc_new(s.base, IPC_CHILD_FD, on_message, NULL, &s, &s.parent) : -ENOMEM;

	if (!ret)
		ret = box_edge(uid, gid, &e);
	ret = proc_serve(s.base, ret, &e);
	while (s.clients)
		client_free(s.clients);
	for (unsigned i = 0; i < s.n_listeners; i++)
		listening_stop(&s.listening[i]);
	free(s.text);
	ipc_free(s.parent);
	if (s.base)
		event_base_free(s.base);
	return ret;
}
