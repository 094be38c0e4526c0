// SPDX-License-Identifier: Apache-2.0
/*
 * Follows a running baileyd (GET /v1/peers of its control socket). While it can not be reached the peers that it last
 * named stay: that a daemon is started again says nothing about them, and each of them is verified when it is dialled.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

#define AGAIN_S   1
#define LINE_MAX_ (1u << 20)

DEFINE_CLEANUP(json, json_t, json_decref)

struct md_watch {
	struct md_parent *parent;
	struct bufferevent *bev;
	struct event *again;
	bool has_head, is_whole; /* whole: the list is the parent's */
	bool has_news, has_lost; /* that workers were not told; lost: one that was there */
	struct md_node *list;    /* until it is whole */
	size_t n;
};

static void forget(struct md_watch *w)
{
	if (w->bev)
		bufferevent_free(w->bev);
	w->bev = NULL;
	free(w->list);
	w->list = NULL;
	w->n = 0;
	w->has_head = w->is_whole = false;
}

static void try_again(struct md_watch *w)
{
	struct timeval pause = { .tv_sec = AGAIN_S };

	forget(w);
	event_add(w->again, &pause);
}

/* --- lines --- */

static bool node_read(const json_t *o, struct md_node *node)
{
	const char *app = json_string_value(json_object_get(o, "app_id")),
		   *instance = json_string_value(json_object_get(o, "instance_id"));
	const json_t *list = json_object_get(o, "addresses"), *text;
	size_t i;

	*node = (struct md_node){ 0 };
	json_array_foreach (list, i, text) {
		if (!json_is_string(text) || node->n_addrs == MD_NODE_ADDRS ||
		    !addr_parse(&node->addr[node->n_addrs], json_string_value(text)))
			return false;
		node->n_addrs++;
	}
	return node->n_addrs && app && instance && hex_parse(node->app, sizeof(node->app), app) &&
	       hex_parse(node->instance, sizeof(node->instance), instance);
}

static void list_del(struct md_node *list, size_t *n, const struct md_node *node)
{
	for (size_t i = 0; i < *n; i++)
		if (memcmp(list[i].instance, node->instance, sizeof(node->instance)) == 0)
			list[i--] = list[--*n];
}

static void list_set(struct md_node **list, size_t *n, const struct md_node *node)
{
	struct md_node *grown;

	list_del(*list, n, node);
	grown = realloc(*list, (*n + 1) * sizeof(*grown));
	if (!grown)
		return;
	*list = grown;
	grown[(*n)++] = *node;
}

static bool list_has(const struct md_node *list, size_t n, const struct md_node *node)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&list[i], node, sizeof(*node)) == 0)
			return true;
	return false;
}

static void whole(struct md_watch *w)
{
	struct md_parent *p = w->parent;

	for (size_t i = 0; i < p->n_nodes; i++)
		w->has_lost |= !list_has(w->list, w->n, &p->nodes[i]);
	free(p->nodes);
	p->nodes = take_ptr(w->list);
	p->n_nodes = w->n;
	w->n = 0;
	w->is_whole = w->has_news = true;
}

/* Of a node that is gone the kernel stops the sockets by itself, but those that it shares with others: what carries
 * bytes of several goes on when its worker has heard of it, and said so. */
static void tell(struct md_watch *w)
{
	struct md_parent *p = w->parent;

	if (w->has_lost)
		md_round_begin(p);
	md_send_nodes(p);
	for (uint32_t i = 0; w->has_lost && i < p->conf.workers; i++)
		md_round_send(p, &p->worker[i]);
	w->has_news = w->has_lost = false;
}

/* False: start anew. */
static bool line_read(struct md_watch *w, const char *line)
{
	auto_call(cleanup_json) json_t *o = json_loads(line, 0, NULL);
	const char *event = json_string_value(json_object_get(o, "event"));
	struct md_parent *p = w->parent;
	struct md_node **list = w->is_whole ? &p->nodes : &w->list, node;
	size_t *n = w->is_whole ? &p->n_nodes : &w->n;

	if (!event || strcmp(event, "lost") == 0)
		return false;
	if (strcmp(event, "all") == 0) {
		whole(w);
		return true;
	}
	if (!node_read(o, &node))
		return false;
	w->has_news |= w->is_whole;
	if (strcmp(event, "gone") == 0) {
		list_del(*list, n, &node);
		w->has_lost |= w->is_whole;
	} else {
		list_set(list, n, &node);
	}
	return true;
}

/* False: what comes is not what a baileyd says. */
static bool lines_read(struct md_watch *w, struct evbuffer *in)
{
	char *line;

	while ((line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF))) {
		bool ok = true;

		if (w->has_head)
			ok = line_read(w, line);
		else if (!*line)
			w->has_head = true;
		else if (strncmp(line, "HTTP/", 5) == 0)
			ok = strstr(line, " 200") != NULL;
		free(line);
		if (!ok)
			return false;
	}
	return true;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct md_watch *w = arg;
	bool ok = lines_read(w, in);

	if (w->has_news)
		tell(w);
	if (!ok)
		log_limited(LOG_WARN, "%s: does not tell its peers", w->parent->conf.baileyd);
	if (!ok || evbuffer_get_length(in) > LINE_MAX_)
		try_again(w);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
		try_again(arg);
}

/* --- connection --- */

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	static const char ask[] = "GET /v1/peers HTTP/1.0\r\n\r\n"; /* 1.0: lines, not chunks */
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct md_watch *w = arg;

	(void)fd, (void)what;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%.107s", w->parent->conf.baileyd);
	w->bev = bufferevent_socket_new(w->parent->base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!w->bev)
		return try_again(w);
	bufferevent_setcb(w->bev, on_read, NULL, on_event, w);
	if (bufferevent_socket_connect(w->bev, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return; /* on_event() has been called */
	bufferevent_enable(w->bev, EV_READ | EV_WRITE);
	bufferevent_write(w->bev, ask, sizeof(ask) - 1);
}

int md_watch_new(struct md_parent *p, struct md_watch **watch, struct err *e)
{
	struct timeval at_once = { 0 };
	struct md_watch *w = calloc(1, sizeof(*w));

	if (w) {
		w->parent = p;
		w->again = evtimer_new(p->base, on_again, w);
	}
	if (!w || !w->again || event_add(w->again, &at_once) < 0) {
		free(w);
		return err_at(e, -ENOMEM, "client.baileyd", "out of memory");
	}
	*watch = w;
	return 0;
}

void md_watch_free(struct md_watch *w)
{
	if (!w)
		return;
	forget(w);
	event_free(w->again);
	free(w);
}

bool md_watch_is_there(const struct md_watch *w)
{
	return w && w->is_whole;
}
