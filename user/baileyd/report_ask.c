// SPDX-License-Identifier: Apache-2.0
/*
 * GET /v1/policy/ask?from=&to=&port=: what the loaded programs say to the first packet between this node and another,
 * or between its host and an address. The parent finds whose addresses are meant, net runs the programs, and the rule's
 * words come from the maps.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report_filter.h"
#include "report_json.h"

#define ANSWER_S 2

/* A request that waits for net. */
struct asker {
	struct asker *next;
	struct parent *p;
	struct evhttp_request *req;
	struct event *deadline;
	struct msg_ask ask;
	uint64_t n_more; /* questions that one message has no room for */
};

static void asker_drop(struct asker *a)
{
	for (struct asker **at = &a->p->askers; *at; at = &(*at)->next) {
		if (*at == a) {
			*at = a->next;
			break;
		}
	}
	if (a->deadline)
		event_free(a->deadline);
	free(a);
}

static void on_asker_gone(struct evhttp_connection *conn, void *arg)
{
	(void)conn;
	asker_drop(arg);
}

static void asker_fail(struct asker *a)
{
	struct err e = ERR_INIT;

	err_at(&e, -EAGAIN, "net", "does not answer");
	evhttp_connection_set_closecb(evhttp_request_get_connection(a->req), NULL, NULL);
	ctl_reply_error(a->req, 503, &e);
	asker_drop(a);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	asker_fail(arg);
}

void report_asks_end(struct parent *p)
{
	while (p->askers)
		asker_fail(p->askers);
}

/* --- the questions ----------------------------------------------------------------------------------------- */

static bool is_room(struct asker *a)
{
	if (a->ask.n < ASK_MAX)
		return true;
	a->n_more++;
	return false;
}

/* The pair of addresses of one family that is asked about; false: there is none in that direction. */
static bool ask_pair(struct asker *a, const struct filter *f, enum by_dir dir, const struct by_addr *local,
		     const struct by_addr *peer)
{
	bool is_ip4 = addr_is_v4(local), is_in = dir == BY_DIR_IN;
	struct filter_item item = { .target = TARGET_OVERLAY,
				    .selector = f->selector,
				    .src = is_in ? peer : local,
				    .dst = is_in ? local : peer };
	bool is_v6_only = f->selector >= BY_PORT_ICMPV6 && f->selector < BY_PORT_OTHER;
	bool is_v4_only = f->selector >= BY_PORT_ICMP && f->selector < BY_PORT_ICMPV6;

	if (is_ip4 != addr_is_v4(peer) || (is_ip4 ? is_v6_only : is_v4_only) || !filter_takes(a->p, f, &item))
		return false;
	if (is_room(a))
		a->ask.question[a->ask.n++] =
			(struct dp_question){ .dir = dir, .local = *local, .peer = *peer, .selector = f->selector };
	return true;
}

/* One question a direction: the class of a node is that of all its addresses. */
static void ask_node(struct asker *a, const struct filter *f, const struct by_addr *addrs, uint32_t n)
{
	const struct id_record *self = &a->p->record;

	for (int dir = 0; dir < BY_DIR_COUNT; dir++) {
		bool is_asked = false;

		for (uint32_t l = 0; l < self->n_addrs && !is_asked; l++)
			for (uint32_t i = 0; i < n && !is_asked; i++)
				is_asked = ask_pair(a, f, (enum by_dir)dir, &self->addrs[l], &addrs[i]);
	}
}

static bool is_address(const struct filter_side *side)
{
	return side->is_prefix && side->prefix.bits == (addr_is_v4(&side->prefix.addr) ? 32 : 128);
}

/* An address that no node has is a question, too. */
static void ask_stranger(struct asker *a, const struct filter *f, const struct filter_side *side)
{
	if (is_address(side) && !node_who(a->p, &side->prefix.addr).node)
		ask_node(a, f, &side->prefix.addr, 1);
}

static int ask_overlay(struct asker *a, const struct filter *f, struct err *e)
{
	a->ask.target = TARGET_OVERLAY;
	for (size_t i = 0; i < a->p->n_nodes; i++)
		ask_node(a, f, a->p->nodes[i]->id.record.addrs, a->p->nodes[i]->id.record.n_addrs);
	ask_stranger(a, f, &f->from);
	ask_stranger(a, f, &f->to);
	if (a->ask.n)
		return 0;
	return err_at(e, -EINVAL, "question",
		      "one side must be this node (%.64s), the other one a node that it knows, or an address",
		      a->p->conf.node);
}

/* Which of its addresses the host has in a packet decides nothing, but without one it has no packets. */
static int own_address(const char *interface, bool is_ip4, struct by_addr *addr, struct err *e)
{
	struct ip_endpoint at;
	struct ifaddrs *list;
	bool is_found = false;

	if (getifaddrs(&list) < 0)
		return err_at(e, -errno, interface, "its addresses can not be read: %s", strerror(errno));
	for (const struct ifaddrs *i = list; i && !is_found; i = i->ifa_next) {
		if (!i->ifa_addr || strcmp(i->ifa_name, interface) != 0 || !endpoint_from_sockaddr(&at, i->ifa_addr))
			continue;
		is_found = addr_is_v4(&at.addr) == is_ip4;
		*addr = at.addr;
	}
	freeifaddrs(list);
	return is_found ? 0 : err_at(e, -EINVAL, "question", "%s has no IPv%d address", interface, is_ip4 ? 4 : 6);
}

static int ask_host(struct asker *a, const struct filter *f, struct err *e)
{
	const struct filter_side *peer = f->from.is_host ? &f->to : &f->from;
	struct dp_question *q = &a->ask.question[0];
	uint32_t n = 0;
	int ret;

	if (!is_address(peer))
		return err_at(e, -EINVAL, "question", "the other side of host is one address such as 203.0.113.7");
	while (n < a->p->n_targets && a->p->targets[n].kind != TARGET_IS_UNDERLAY)
		n++;
	if (n == a->p->n_targets)
		return err_at(e, -EINVAL, "question",
			      "the host of %.64s is not judged: its configuration has no 'underlay'", a->p->conf.node);
	*q = (struct dp_question){ .dir = f->from.is_host ? BY_DIR_OUT : BY_DIR_IN,
				   .peer = peer->prefix.addr,
				   .selector = f->selector };
	ret = own_address(a->p->targets[n].interface, addr_is_v4(&q->peer), &q->local, e);
	if (ret < 0)
		return ret;
	a->ask.target = n;
	a->ask.n = 1;
	return 0;
}

static int find_questions(struct asker *a, struct evhttp_request *req, struct err *e)
{
	struct filter f = { 0 };
	int ret = filter_parse(a->p, req, FILTER_FROM | FILTER_TO | FILTER_PORT | FILTER_HOST, &f, e);

	if (ret < 0)
		return ret;
	if (!f.from.is_set || !f.to.is_set || !f.has_port)
		return err_at(e, -EINVAL, "question", "needed 'from', 'to' and 'port'");
	return f.from.is_host || f.to.is_host ? ask_host(a, &f, e) : ask_overlay(a, &f, e);
}

/* --- the answers ------------------------------------------------------------------------------------------- */

static json_t *rule_json(const struct asked_rule *rule)
{
	return rule->name[0] ? json_pack("{s:s, s:s}", "name", rule->name, "where", rule->where) : json_null();
}

/* Of a program that was not run: most of all that it judges nothing. */
static const char *no_answer(int code)
{
	return code == -ENODEV   ? "it is not judged: no program is on it"
	       : code == -EINVAL ? "no packet of this family asks for that"
				 : strerror(-code);
}

static json_t *answer_json(struct parent *p, uint32_t target, const struct dp_question *q, struct asked *a)
{
	bool is_in = q->dir == BY_DIR_IN;
	char port[32];
	json_t *o;

	msg_terminate(a->rule.name);
	msg_terminate(a->rule.where);
	msg_terminate(a->audit.name);
	msg_terminate(a->audit.where);
	pol_selector_print(q->selector, port, sizeof(port));
	o = json_pack("{s:s, s:s, s:o, s:o, s:s}", "interface", p->targets[target].interface, "dir",
		      report_dir_name[q->dir], "src", report_side_json(p, is_in ? &q->peer : &q->local, 0), "dst",
		      report_side_json(p, is_in ? &q->local : &q->peer, 0), "port", port);
	if (a->code) {
		json_object_set_new(o, "error", json_string(no_answer(a->code)));
		return o;
	}
	json_object_set_new(o, "action", json_string(a->dp.reason == BY_DROP_NONE ? "allow" : "deny"));
	json_object_set_new(o, "rule", rule_json(&a->rule));
	json_object_set_new(o, "audit", rule_json(&a->audit));
	json_object_set_new(o, "generation", json_integer(a->dp.gen.gen));
	if (a->dp.reason != BY_DROP_NONE) {
		json_object_set_new(o, "reason", json_string(dp_drop_name(a->dp.reason)));
		json_object_set_new(o, "text", json_string(dp_drop_text(a->dp.reason)));
	}
	if (a->dp.reason == BY_DROP_POLICY_DENY && !a->rule.name[0])
		report_nearest(o, p, target, q);
	return o;
}

/* The image that net was last told to load says which policy it is. */
static json_t *reply_json(struct asker *a, struct msg_asked *m)
{
	const struct pol_image *img = a->p->targets[a->ask.target].image;
	json_t *list = json_array();
	char digest[2 * sizeof(img->digest) + 1] = "";

	if (img)
		hex_print(digest, img->digest, sizeof(img->digest));
	for (uint32_t i = 0; i < m->n; i++)
		json_array_append_new(list, answer_json(a->p, a->ask.target, &a->ask.question[i], &m->answer[i]));
	return json_pack("{s:s, s:s, s:I, s:o}", "policy", digest, "node", a->p->conf.node, "more",
			 (json_int_t)a->n_more, "answers", list);
}

void report_asked(struct parent *p, const struct msg_asked *message)
{
	struct msg_asked m;
	struct asker *a = p->askers;

	while (message && a && a->ask.token != message->token)
		a = a->next;
	if (!message || !a || message->n != a->ask.n)
		return;
	m = *message;
	evhttp_connection_set_closecb(evhttp_request_get_connection(a->req), NULL, NULL);
	ctl_reply_json(a->req, 200, reply_json(a, &m));
	asker_drop(a);
}

void report_on_ask(struct evhttp_request *req, void *arg)
{
	struct timeval deadline = { .tv_sec = ANSWER_S };
	struct asker *a = calloc(1, sizeof(*a));
	struct parent *p = arg;
	struct err e = ERR_INIT;

	if (!a) {
		evhttp_send_error(req, 500, "out of memory");
		return;
	}
	*a = (struct asker){ .p = p, .req = req, .ask = { .token = ++p->last_token } };
	if (find_questions(a, req, &e) < 0) {
		ctl_reply_error(req, 400, &e);
		asker_drop(a);
		return;
	}
	a->next = p->askers;
	p->askers = a;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_asker_gone, a);
	a->deadline = evtimer_new(p->base, on_deadline, a);
	if (!a->deadline || event_add(a->deadline, &deadline) < 0 || !p->net.ipc ||
	    ipc_send(p->net.ipc, MSG_NET_ASK, &a->ask, sizeof(a->ask), -1) < 0)
		asker_fail(a);
}
