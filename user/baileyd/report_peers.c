// SPDX-License-Identifier: Apache-2.0
/*
 * GET /v1/peers: who is known, one line for each, then {"event":"all"}, and a line whenever somebody comes, changes or
 * goes, until the client ends it. For programs that follow: the mesh closes what it has with a peer that is gone.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "parent.h"
#include "report_json.h"

#define FOLLOWERS_MAX 16

DEFINE_CLEANUP(json, json_t, json_decref)

json_t *report_via_json(const struct conf *c)
{
	char recorded[ENDPOINT_TEXT], dialled[ENDPOINT_TEXT];
	json_t *o = json_object();

	for (uint32_t i = 0; i < c->n_via; i++)
		json_object_set_new(o, endpoint_print(&c->via[i].recorded, recorded),
				    json_string(endpoint_print(&c->via[i].dialled, dialled)));
	return o;
}

struct follower {
	struct follower *next;
	struct evhttp_request *req;
	bool is_lost; /* it did not read: what it knows is not all any more */
};

static json_t *peer_json(const char *event, const struct id_node *id)
{
	char app[2 * BY_APP_ID_LEN + 1], instance[2 * BY_INSTANCE_ID_LEN + 1], text[ADDR_TEXT];
	json_t *addrs = json_array();

	hex_print(app, id->record.app_id, BY_APP_ID_LEN);
	hex_print(instance, id->record.instance_id, BY_INSTANCE_ID_LEN);
	for (uint32_t i = 0; i < id->record.n_addrs; i++)
		json_array_append_new(addrs, json_string(addr_print(&id->record.addrs[i], text)));
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "event", event, "node", id->record.node, "app_id", app,
			 "instance_id", instance, "addresses", addrs);
}

/* Who missed a line is told to come again: a peer that is gone must not stay because nobody read of it. */
static void tell(struct follower *f, const json_t *line)
{
	if (!f->is_lost && !ctl_stream_line(f->req, line))
		f->is_lost = true;
}

void report_peer(struct parent *p, const struct id_node *id, bool is_gone)
{
	auto_call(cleanup_json) json_t *line = p->followers ? peer_json(is_gone ? "gone" : "peer", id) : NULL;

	for (struct follower *f = p->followers; f; f = f->next)
		tell(f, line);
}

/* Each second. */
void report_peers_tick(struct parent *p)
{
	auto_call(cleanup_json) json_t *line = json_pack("{s:s}", "event", "lost");

	for (struct follower *f = p->followers; f; f = f->next)
		if (f->is_lost && ctl_stream_line(f->req, line))
			f->is_lost = false;
}

static void on_gone(struct evhttp_request *req, void *arg)
{
	struct parent *p = arg;

	for (struct follower **at = &p->followers; *at; at = &(*at)->next) {
		struct follower *f = *at;

		if (f->req != req)
			continue;
		*at = f->next;
		free(f);
		return;
	}
}

static void tell_all(struct parent *p, struct follower *f)
{
	auto_call(cleanup_json) json_t *end = json_pack("{s:s}", "event", "all");

	for (size_t i = 0; i < p->n_nodes; i++) {
		auto_call(cleanup_json) json_t *line = peer_json("peer", &p->nodes[i]->id);

		tell(f, line);
	}
	tell(f, end);
}

void report_on_peers(struct evhttp_request *req, void *arg)
{
	struct follower *f = calloc(1, sizeof(*f));
	struct parent *p = arg;
	struct err e = ERR_INIT;
	size_t n = 0;

	for (struct follower *other = p->followers; other; other = other->next)
		n++;
	if (!f || n >= FOLLOWERS_MAX) {
		free(f);
		err_at(&e, -EBUSY, "peers", "%d programs follow already", FOLLOWERS_MAX);
		ctl_reply_error(req, 503, &e);
		return;
	}
	if (!p->is_loaded) { /* whoever is not verified again yet would be taken for gone */
		free(f);
		err_at(&e, -EAGAIN, "peers", "the stored records are being verified");
		ctl_reply_error(req, 503, &e);
		return;
	}
	f->req = req;
	f->next = p->followers;
	p->followers = f;
	ctl_stream_start(req, on_gone, p);
	tell_all(p, f);
}
