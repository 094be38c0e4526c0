// SPDX-License-Identifier: Apache-2.0
/*
 * The REST API's connections. They come by a Unix socket that is our mesh's: its file is that user's alone, and the
 * kernel says who has connected. So who asks is what the mesh proved, and what a client writes of itself is not heard:
 * the mesh replaces it. One request a connection: what follows it is nobody's next request.
 */
#include "api.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "front.h"

#define CLIENTS_MAX 64
#define BODY_MAX    65536 /* of a request: read, and nothing is done with it */
#define LIFE_S      15    /* of a connection, whatever it does */

#define JSON "application/json; charset=utf-8"
#define TEXT "text/plain; charset=utf-8"

struct client {
	LIST_ENTRY(client) link;
	struct api *api;
	uint64_t id;
	struct bufferevent *bev;
	struct event *end;
	struct http_head head;
	struct http_body body;
	size_t body_len;
	struct vs_api_request r;
	bool is_foreign, has_head, is_head, waits;
	char key[VS_KEY_TEXT]; /* that was made for it */
};

struct api {
	struct front *front;
	struct listening listening;
	uid_t mesh;
	LIST_HEAD(, client) clients;
	unsigned n_clients;
	uint64_t last_id;
};

static void client_free(struct client *c)
{
	struct api *api = c->api;

	LIST_REMOVE(c, link);
	if (api->n_clients-- == CLIENTS_MAX)
		listening_full(&api->listening, false);
	if (c->end)
		event_free(c->end);
	bufferevent_free(c->bev);
	OPENSSL_cleanse(c->key, sizeof(c->key));
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

static const char *phrase(int status)
{
	static const struct {
		int status;
		const char *text;
	} phrases[] = { { 200, "OK" },
			{ 400, "Bad Request" },
			{ 401, "Unauthorized" },
			{ 403, "Forbidden" },
			{ 404, "Not Found" },
			{ 413, "Content Too Large" },
			{ 431, "Request Header Fields Too Large" },
			{ 503, "Service Unavailable" } };

	for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].text;
	return "Internal Server Error";
}

static void reply(struct client *c, int status, const char *type, const char *body, size_t len)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	struct vs_msg_stats *stats = &c->api->front->stats;

	c->waits = false;
	stats->api_requests++;
	stats->api_refused += status == 401 || status == 403;
	bufferevent_disable(c->bev, EV_READ);
	bufferevent_setcb(c->bev, NULL, on_written, on_event, c);
	evbuffer_add_printf(out,
			    "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
			    "Connection: close\r\n\r\n",
			    status, phrase(status), type, len);
	if (!c->is_head)
		evbuffer_add(out, body, len);
}

static void reply_text(struct client *c, int status, const char *text)
{
	reply(c, status, TEXT, text, strlen(text));
}

static void reply_error(struct client *c, int status, const char *what, const char *parameter)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "{\"error\":\"%s%s\"}", parameter ? parameter : "", what);

	reply(c, status, JSON, text, (size_t)n);
}

/* The control plane's own address, where the configuration does not say: through dstack's gateway, which passes TLS
 * on. */
static void server_url(const struct front *f, char url[VS_URL])
{
	const struct vs_conf *conf = &f->loaded->conf;
	char app[2 * BY_APP_ID_LEN + 1];

	hex_print(app, f->self.app_id, BY_APP_ID_LEN);
	if (conf->api.server_url[0])
		snprintf(url, VS_URL, "%s", conf->api.server_url);
	else
		snprintf(url, VS_URL, "https://%s-%us.%s", app, conf->listen.port, conf->api.gateway);
}

static void reply_key(struct client *c)
{
	const struct front *f = c->api->front;
	char url[VS_URL];
	json_t *o;
	char *text;

	server_url(f, url);
	o = json_pack("{s:s, s:s, s:s}", "pre_auth_key", c->key, "shared_key", f->loaded->shared_key, "server_url",
		      url);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (text) {
		log_info("pre-auth key for instance %s (%s)", c->r.node.uuid, c->r.name[0] ? c->r.name : "no name");
		reply(c, 200, JSON, text, strlen(text));
		OPENSSL_cleanse(text, strlen(text));
	} else {
		reply_error(c, 500, "Failed to generate pre-auth key", NULL);
	}
	free(text);
	json_decref(o);
}

void api_done(struct api *api, const struct vs_msg_api_done *m, const char *body, size_t len)
{
	struct client *c;

	LIST_FOREACH(c, &api->clients, link)
	if (c->id == m->id && c->waits)
		break;
	if (!c)
		return; /* it has gone */
	if (c->r.path == VS_API_REGISTER && m->status == 200)
		reply_key(c);
	else
		reply(c, m->status, JSON, body, len);
}

/* --- what is asked --- */

static void ask(struct client *c)
{
	struct vs_msg_api m = { .id = c->id, .path = c->r.path, .who = c->r.caller, .node = c->r.node };
	struct err e = ERR_INIT;

	if (c->r.path == VS_API_REGISTER && vs_key_new(c->key, m.key, &e) < 0) {
		reply_error(c, 500, "Failed to generate pre-auth key", NULL);
		return;
	}
	c->waits = true;
	if (ipc_send(c->api->front->store, VS_API, &m, sizeof(m), -1) < 0)
		client_free(c);
}

/* As dstack-vpc answers, in its order: who are you, are you allowed, what do you want. */
static void take_request(struct client *c)
{
	const struct front *f = c->api->front;
	const struct vs_api_request *r = &c->r;
	struct err e = ERR_INIT;

	if (c->is_foreign)
		reply_error(c, 403, "Forbidden", NULL);
	else if (r->path == VS_API_HEALTH)
		reply_text(c, 200, "OK");
	else if (r->path == VS_API_PING)
		reply_text(c, 200, "pong");
	else if (!r->has_caller)
		reply_error(c, 401, "Unauthorized", NULL);
	else if (!pol_apps_have(&f->loaded->conf.api.apps, r->caller.app_id))
		reply_error(c, 403, "Forbidden", NULL);
	else if (r->path == VS_API_NOWHERE)
		reply_text(c, 404, "404 page not found");
	else if (r->bad)
		reply_error(c, 400, " is malformed", r->bad);
	else if (r->path == VS_API_REGISTER && !r->node.uuid[0])
		reply_error(c, 400, "Missing required parameters", NULL);
	else if (r->path == VS_API_UPDATE && !r->node.uuid[0])
		reply_error(c, 400, "uuid parameter is required", NULL);
	else if (!f->is_told || !f->has_self || front_fresh(f, "REST API", &e) < 0)
		reply_error(c, 503, "Service Unavailable", NULL);
	else
		ask(c);
}

/* --- bytes --- */

static bool read_head(struct client *c, struct evbuffer *in)
{
	static const struct http_limits limits = { .max_head = VS_API_HEAD_MAX, .max_fields = VS_API_FIELDS_MAX };
	size_t len = evbuffer_get_length(in);
	const char *text = (const char *)evbuffer_pullup(in, -1);
	enum http_error error = text ? http_head_parse(&c->head, text, len, &limits) : HTTP_OK;

	if (error) {
		reply_text(c, error == HTTP_E_TOO_LONG || error == HTTP_E_TOO_MANY ? 431 : 400, http_error_text(error));
		return false;
	}
	if (!text || !c->head.len)
		return false;
	c->has_head = true;
	c->is_head = c->head.is_head;
	vs_api_read(&c->head, text, &c->r);
	http_body_init(&c->body, &c->head, NULL);
	if (c->head.expects_continue)
		evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
	evbuffer_drain(in, c->head.len);
	return true;
}

/* Read to its end, so that the answer is not lost with a reset; nothing in it is looked at. */
static void read_body(struct client *c, struct evbuffer *in)
{
	while (!c->body.is_done) {
		size_t len = evbuffer_get_length(in), framing = 0, data = 0;
		const char *p = (const char *)evbuffer_pullup(in, -1);

		if (http_body_next(&c->body, p ? p : "", len, &framing, &data)) {
			reply_text(c, 400, "body");
			return;
		}
		evbuffer_drain(in, framing + data);
		c->body_len += framing + data;
		if (c->body_len > BODY_MAX) {
			reply_text(c, 413, "body");
			return;
		}
		if (!framing && !data)
			break;
	}
	if (!c->body.is_done)
		return;
	bufferevent_disable(c->bev, EV_READ);
	take_request(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct client *c = arg;

	if (!c->has_head && !read_head(c, in))
		return;
	read_body(c, in);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	client_free(arg);
}

/* --- connections --- */

static bool is_mesh(const struct api *api, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || who.uid != api->mesh) {
		log_limited(LOG_WARN, "REST API: a connection of user %ld, who is not the mesh",
			    len == sizeof(who) ? (long)who.uid : -1L);
		return false;
	}
	return true;
}

static void on_accept(int fd, const struct sockaddr *from, void *arg)
{
	static const struct timeval life = { .tv_sec = LIFE_S };
	struct api *api = arg;
	struct client *c = calloc(1, sizeof(*c));

	(void)from;
	if (c)
		c->bev = bufferevent_socket_new(api->front->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c || !c->bev) {
		close(fd);
		free(c);
		return;
	}
	c->api = api;
	c->id = ++api->last_id;
	LIST_INSERT_HEAD(&api->clients, c, link);
	if (++api->n_clients == CLIENTS_MAX)
		listening_full(&api->listening, true);
	c->is_foreign = !is_mesh(api, fd);
	c->end = evtimer_new(api->front->base, on_end, c);
	if (!c->end || event_add(c->end, &life) < 0) {
		client_free(c);
		return;
	}
	http_head_init(&c->head, false);
	bufferevent_setwatermark(c->bev, EV_READ, 0, VS_API_HEAD_MAX + BODY_MAX);
	bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

int api_new(struct front *front, int listener, uid_t mesh, struct api **api, struct err *e)
{
	struct api *made = calloc(1, sizeof(*made));
	int ret;

	if (!made)
		return err_at(e, -ENOMEM, "REST API", "out of memory");
	*made = (struct api){ .front = front, .mesh = mesh };
	made->listening = (struct listening){ .what = "REST API", .accepted = on_accept, .arg = made };
	ret = listening_start(&made->listening, front->base, listener, e);
	if (ret < 0) {
		free(made);
		return ret;
	}
	LIST_INIT(&made->clients);
	*api = made;
	return 0;
}

uint64_t api_accept_failed(const struct api *api)
{
	return api->listening.n_failed;
}

void api_free(struct api *api)
{
	struct client *c;

	if (!api)
		return;
	while ((c = LIST_FIRST(&api->clients)))
		client_free(c);
	listening_stop(&api->listening);
	free(api);
}
