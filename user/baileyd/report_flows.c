// SPDX-License-Identifier: Apache-2.0
/*
 * GET /v1/flows: tracked flows as they are read. net is asked for one page of a table at a time, and for the next only
 * when this one has gone out to the client, so that neither process holds a table and a slow client costs nothing.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "report_filter.h"
#include "report_json.h"

#define READERS_MAX 4

struct flow_reader {
	struct flow_reader *next;
	struct parent *p;
	struct evhttp_request *req;
	struct filter filter;
	struct msg_ask_flows ask; /* the page that is waited for */
	uint64_t sent;
};

static void reader_drop(struct flow_reader *r)
{
	for (struct flow_reader **at = &r->p->flow_readers; *at; at = &(*at)->next) {
		if (*at == r) {
			*at = r->next;
			break;
		}
	}
	free(r);
}

static void on_reader_gone(struct evhttp_connection *conn, void *arg)
{
	(void)conn;
	reader_drop(arg);
}

static void reader_end(struct flow_reader *r)
{
	evhttp_connection_set_closecb(evhttp_request_get_connection(r->req), NULL, NULL);
	evhttp_send_reply_end(r->req);
	reader_drop(r);
}

/* A list that lacks something must not look whole. */
static void reader_fail(struct flow_reader *r)
{
	json_t *o = json_pack("{s:s}", "error", "net ended before all flows were read");

	ctl_stream_line(r->req, o);
	json_decref(o);
	reader_end(r);
}

static void reader_ask(struct flow_reader *r)
{
	r->ask.token = ++r->p->last_token;
	if (!r->p->net.ipc || ipc_send(r->p->net.ipc, MSG_NET_FLOWS, &r->ask, sizeof(r->ask), -1) < 0)
		reader_fail(r);
}

/* --- a flow in words --- */

static const char *state_name(uint8_t state)
{
	static const char *const name[] = {
		[BY_CT_NEW] = "new", [BY_CT_ESTABLISHED] = "established", [BY_CT_CLOSING] = "closing"
	};

	return state <= BY_CT_CLOSING ? name[state] : "";
}

static struct filter_item item_of(uint32_t target, const struct dp_flow *f)
{
	bool is_in = f->ct.dir == BY_DIR_IN;

	return (struct filter_item){
		.target = target,
		.selector = selector_of(f->key.l4_proto, is_in ? f->key.local_port_be : f->key.peer_port_be,
					f->key.l4_proto == IPPROTO_ICMP ? 8 : 128), /* echo requests alone open one */
		.src = is_in ? &f->key.peer : &f->key.local,
		.dst = is_in ? &f->key.local : &f->key.peer,
	};
}

static json_t *flow_json(struct parent *p, const struct filter_item *item, const struct dp_flow *f)
{
	bool is_in = f->ct.dir == BY_DIR_IN;
	const struct by_rule *rule = f->is_judged ? report_rule(p, item->target, f->ct.rule) : NULL;
	char proto[8];
	json_t *o =
		json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:f, s:f}", "interface", p->targets[item->target].interface,
			  "dir", report_dir_name[is_in ? BY_DIR_IN : BY_DIR_OUT], "proto",
			  report_proto_name(f->key.l4_proto, proto), "state", state_name(f->ct.state), "src",
			  report_side_json(p, item->src, is_in ? f->key.peer_port_be : f->key.local_port_be), "dst",
			  report_side_json(p, item->dst, is_in ? f->key.local_port_be : f->key.peer_port_be), "age_s",
			  (double)f->age_ms / 1000, "idle_s", (double)f->idle_ms / 1000);

	if (rule) {
		json_object_set_new(o, "rule", json_string(rule->name));
		json_object_set_new(o, "where", json_string(rule->where));
	}
	if (p->targets[item->target].kind == TARGET_IS_WORKLOAD)
		json_object_set_new(o, "workload", json_string(p->targets[item->target].workload.name));
	if (!f->is_judged) /* its next packet is, by the policy that decides now */
		json_object_set_new(o, "stale", json_true());
	return o;
}

/* What a captured application dialled, and comes to the proxy. */
static json_t *captured_json(struct parent *p, const struct filter_item *item, const struct dp_flow *f)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:f}", "interface", "capture", "path", "proxy", "dir",
			 report_dir_name[BY_DIR_OUT], "proto", "tcp", "state", "established", "src",
			 report_side_json(p, item->src, f->key.local_port_be), "dst",
			 report_side_json(p, item->dst, f->key.peer_port_be), "age_s", (double)f->age_ms / 1000);
}

/* --- pages --- */

static bool is_enough(const struct flow_reader *r)
{
	return r->filter.limit && r->sent >= r->filter.limit;
}

static void put_page(struct flow_reader *r, const struct msg_flow_page *page, struct evbuffer *buf)
{
	for (uint32_t i = 0; i < page->n && !is_enough(r); i++) {
		bool is_captured = r->ask.target == TARGET_DIVERT;
		struct filter_item item = item_of(is_captured ? TARGET_OVERLAY : r->ask.target, &page->item[i]);
		char *text;
		json_t *o;

		if (page->item[i].is_over || !filter_takes(r->p, &r->filter, &item))
			continue;
		o = (is_captured ? captured_json : flow_json)(r->p, &item, &page->item[i]);
		text = json_dumps(o, JSON_COMPACT);
		if (text)
			evbuffer_add_printf(buf, "%s\n", text);
		free(text);
		json_decref(o);
		r->sent++;
	}
}

static void on_written(struct evhttp_connection *conn, void *arg)
{
	(void)conn;
	reader_ask(arg);
}

/* To the next table when this one is over; false: there is none. */
static bool reader_moves(struct flow_reader *r)
{
	if (!r->ask.at.is_over)
		return true;
	if (r->filter.has_target || r->ask.target == TARGET_DIVERT)
		return false;
	r->ask.at = (struct dp_place){ 0 };
	if (++r->ask.target == r->p->n_targets)
		r->ask.target = TARGET_DIVERT;
	return true;
}

static void reader_take(struct flow_reader *r, const struct msg_flow_page *page)
{
	struct evbuffer *buf = evbuffer_new();
	bool goes_on;

	if (!buf || page->code) {
		if (buf)
			evbuffer_free(buf);
		reader_fail(r);
		return;
	}
	put_page(r, page, buf);
	r->ask.at = page->at;
	goes_on = reader_moves(r) && !is_enough(r);
	if (!goes_on || !evbuffer_get_length(buf)) {
		evhttp_send_reply_chunk(r->req, buf);
		if (goes_on)
			reader_ask(r);
		else
			reader_end(r);
	} else {
		evhttp_send_reply_chunk_with_cb(r->req, buf, on_written, r);
	}
	evbuffer_free(buf);
}

void report_flow_page(struct parent *p, const struct ipc_msg *msg)
{
	const struct msg_flow_page *page = msg->data;
	struct flow_reader *r = p->flow_readers;

	if (msg->len < offsetof(struct msg_flow_page, item) || page->n > PAGE_ITEMS ||
	    msg->len != msg_page_size(*page, page->n))
		return;
	while (r && r->ask.token != page->token)
		r = r->next;
	if (r)
		reader_take(r, page);
}

void report_flows_end(struct parent *p)
{
	while (p->flow_readers)
		reader_fail(p->flow_readers);
}

static struct flow_reader *reader_add(struct parent *p, struct evhttp_request *req, struct err *e)
{
	struct flow_reader *r;
	size_t n = 0;

	for (r = p->flow_readers; r; r = r->next)
		n++;
	if (n >= READERS_MAX || !p->net.ipc) {
		err_at(e, -EBUSY, "flows", n ? "%d readers are at it already" : "net does not answer", READERS_MAX);
		return NULL;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		err_at(e, -ENOMEM, "flows", "out of memory");
		return NULL;
	}
	*r = (struct flow_reader){ .p = p, .req = req };
	if (filter_parse(p, req, FILTER_SIDES | FILTER_LIMIT, &r->filter, e) < 0) {
		free(r);
		return NULL;
	}
	r->ask.target = r->filter.has_target ? r->filter.target : 0;
	r->next = p->flow_readers;
	p->flow_readers = r;
	return r;
}

void report_on_flows(struct evhttp_request *req, void *arg)
{
	struct err e = ERR_INIT;
	struct flow_reader *r = reader_add(arg, req, &e);

	if (!r) {
		ctl_reply_error(req, e.code == -EINVAL ? 400 : 503, &e);
		return;
	}
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_reader_gone, r);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/x-ndjson");
	evhttp_send_reply_start(req, 200, "OK");
	reader_ask(r);
}
