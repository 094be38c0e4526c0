// SPDX-License-Identifier: Apache-2.0
/* What people see: the control socket's answers, collected from the parent's own state and net's report. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "parent.h"
#include "report_json.h"

#define NET_ANSWER_S     2
#define METRIC_PEERS_MAX 256 /* with lines of their own, of each interface: they stay few, whoever joins */

/* A control request that waits until net has answered, or until it is clear that it will not. */
struct waiting {
	struct waiting *next;
	struct parent *p;
	struct evhttp_request *req;
	uint64_t token;
	void (*answer)(struct parent *p, struct evhttp_request *req);
	struct event *deadline;
};

static void waiting_unlink(struct waiting *w)
{
	for (struct waiting **at = &w->p->waiting; *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	event_free(w->deadline);
}

static void waiting_answer(struct waiting *w)
{
	struct evhttp_connection *conn = w->req ? evhttp_request_get_connection(w->req) : NULL;

	if (conn)
		evhttp_connection_set_closecb(conn, NULL, NULL);
	waiting_unlink(w);
	w->answer(w->p, w->req);
	free(w);
}

static void on_client_gone(struct evhttp_connection *conn, void *arg)
{
	(void)conn;
	waiting_unlink(arg);
	free(arg);
}

static void on_no_answer(evutil_socket_t fd, short what, void *arg)
{
	struct waiting *w = arg;

	(void)fd, (void)what;
	w->p->report.is_known = false;
	waiting_answer(w);
}

static void answer_all(struct parent *p)
{
	while (p->waiting)
		waiting_answer(p->waiting);
}

/* Each question has an answer of its own: one may have asked for more than another. */
static void answer_token(struct parent *p, uint64_t token)
{
	struct waiting *w = p->waiting;

	while (w && w->token != token)
		w = w->next;
	if (w)
		waiting_answer(w);
}

void report_ask_net(struct parent *p, struct evhttp_request *req, uint32_t pairs,
		    void (*answer)(struct parent *p, struct evhttp_request *req))
{
	struct timeval deadline = { .tv_sec = NET_ANSWER_S };
	struct msg_ask_status ask = { .token = ++p->last_token, .pairs = pairs };
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w) {
		if (req)
			evhttp_send_error(req, 500, "out of memory");
		return;
	}
	*w = (struct waiting){ .next = p->waiting, .p = p, .req = req, .token = ask.token, .answer = answer };
	w->deadline = evtimer_new(p->base, on_no_answer, w);
	if (!w->deadline) {
		free(w);
		if (req)
			evhttp_send_error(req, 500, "out of memory");
		return;
	}
	p->waiting = w;
	if (req)
		evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_client_gone, w);
	event_add(w->deadline, &deadline);
	if (!p->net.ipc || ipc_send(p->net.ipc, MSG_NET_STATUS, &ask, sizeof(ask), -1) < 0)
		report_net_down(p);
}

/* --- net's report --- */

static void report_free(struct net_report *r)
{
	free(r->rules);
	free(r->pairs);
	free(r->peers);
	*r = (struct net_report){ 0 };
}

/* Grows by one; the array doubles at powers of two. */
static void *append(void *array, size_t *n, size_t size, const void *item)
{
	if ((*n & (*n - 1)) == 0) {
		void *grown = realloc(array, (*n ? 2 * *n : 1) * size);

		if (!grown)
			return array;
		array = grown;
	}
	memcpy((char *)array + (*n)++ * size, item, size);
	return array;
}

static void take_rules(struct net_report *r, const struct ipc_msg *msg)
{
	const struct msg_rules *m = msg->data;

	if (msg->len < sizeof(m->n) || m->n > PAGE_ITEMS || msg->len != msg_page_size(*m, m->n))
		return;
	for (uint32_t i = 0; i < m->n; i++)
		r->rules = append(r->rules, &r->n_rules, sizeof(*r->rules), &m->item[i]);
}

static void take_pairs(struct net_report *r, const struct ipc_msg *msg)
{
	const struct msg_pairs *m = msg->data;

	if (msg->len < sizeof(m->n) || m->n > PAGE_ITEMS || msg->len != msg_page_size(*m, m->n))
		return;
	for (uint32_t i = 0; i < m->n; i++)
		r->pairs = append(r->pairs, &r->n_pairs, sizeof(*r->pairs), &m->item[i]);
}

static void take_counts(struct net_report *r, const struct msg_counts *m)
{
	if (!m || m->target >= TARGETS_MAX)
		return;
	r->counts[m->target] = *m;
	msg_terminate(r->counts[m->target].attach);
	msg_terminate(r->counts[m->target].host.not_better);
	msg_terminate(r->counts[m->target].host.no_cookies);
	msg_terminate(r->counts[m->target].trouble);
}

int report_peer_order(const void *a, const void *b)
{
	return memcmp(a, b, OV_KEY_LEN);
}

void report_net_message(struct parent *p, const struct ipc_msg *msg)
{
	struct net_report *c = &p->collecting;
	const struct msg_status *status = ipc_as(msg, sizeof(*status));

	if (msg->type == MSG_NET_RULES)
		take_rules(c, msg);
	if (msg->type == MSG_NET_PAIRS)
		take_pairs(c, msg);
	if (msg->type == MSG_NET_PEER && ipc_as(msg, sizeof(*c->peers)))
		c->peers = append(c->peers, &c->n_peers, sizeof(*c->peers), msg->data);
	if (msg->type == MSG_NET_COUNTS)
		take_counts(c, ipc_as(msg, sizeof(*c->counts)));
	if (msg->type != MSG_NET_STATUS_REPLY || !status)
		return;
	c->status = *status;
	msg_terminate(c->status.backend);
	if (c->n_peers)
		qsort(c->peers, c->n_peers, sizeof(*c->peers), report_peer_order);
	c->is_known = p->net_ok && c->counts[TARGET_OVERLAY].code == 0;
	report_free(&p->report);
	p->report = *c;
	*c = (struct net_report){ 0 };
	answer_token(p, p->report.status.token);
}

void report_net_down(struct parent *p)
{
	report_free(&p->collecting);
	report_free(&p->report);
	answer_all(p);
	report_flows_end(p);
	report_asks_end(p);
}

/* --- refusals --- */

static struct refusal *refusal_find(struct parent *p, const char *origin, const struct err *e)
{
	for (size_t i = 0; i < p->n_refusals; i++)
		if (p->refusals[i].err.reason == e->reason && strcmp(p->refusals[i].origin, origin) == 0)
			return &p->refusals[i];
	return NULL;
}

/* The newest comes first; the same reason from the same origin is one line that counts. */
void report_refused(struct parent *p, const char *origin, const struct err *e)
{
	struct refusal *known = refusal_find(p, origin, e), moved = { 0 };
	size_t at;

	if (known)
		moved = *known;
	else if (p->n_refusals < REFUSALS_KEPT)
		known = &p->refusals[p->n_refusals++];
	else
		known = &p->refusals[REFUSALS_KEPT - 1];
	at = (size_t)(known - p->refusals);
	memmove(&p->refusals[1], &p->refusals[0], at * sizeof(*known));
	moved.at = time(NULL);
	moved.times++;
	moved.err = *e;
	snprintf(moved.origin, sizeof(moved.origin), "%s", origin);
	p->refusals[0] = moved;
	p->refused[e->reason > 0 && e->reason < ID_REASON_COUNT ? e->reason : ID_NONE]++;
	log_limited(LOG_WARN, "refused: %s%s%s: %s", e->where, e->reason ? ": " : "",
		    e->reason ? id_reason_name(e->reason) : "", e->msg);
}

/* --- the control socket --- */

static void answer_status(struct parent *p, struct evhttp_request *req)
{
	ctl_reply_json(req, 200, report_status_json(p));
}

static void answer_metrics(struct parent *p, struct evhttp_request *req)
{
	auto_free char *text = report_metrics_text(p);

	ctl_reply_text(req, "text/plain; version=0.0.4", text ? text : "");
}

static void on_status(struct evhttp_request *req, void *arg)
{
	report_ask_net(arg, req, 0, answer_status);
}

static void on_metrics(struct evhttp_request *req, void *arg)
{
	report_ask_net(arg, req, METRIC_PEERS_MAX, answer_metrics);
}

static void answer_counters(struct parent *p, struct evhttp_request *req)
{
	if (p->report.is_known)
		ctl_reply_json(req, 200, report_counters_json(p));
	else
		evhttp_send_error(req, 503, "net does not answer");
}

static void on_counters(struct evhttp_request *req, void *arg)
{
	report_ask_net(arg, req, UINT32_MAX, answer_counters);
}

int report_open(struct parent *p, struct err *e)
{
	static const struct ctl_route routes[] = {
		{ EVHTTP_REQ_GET, "/v1/status", on_status },
		{ EVHTTP_REQ_GET, "/v1/events", report_on_events },
		{ EVHTTP_REQ_GET, "/v1/monitor", report_on_monitor },
		{ EVHTTP_REQ_GET, "/v1/peers", report_on_peers },
		{ EVHTTP_REQ_GET, "/metrics", on_metrics },
		{ EVHTTP_REQ_GET, "/v1/flows", report_on_flows },
		{ EVHTTP_REQ_GET, "/v1/counters", on_counters },
		{ EVHTTP_REQ_GET, "/v1/capture", report_on_capture },
		{ EVHTTP_REQ_GET, "/v1/policy/ask", report_on_ask },
		{ EVHTTP_REQ_POST, "/v1/reload", report_on_reload },
		{ EVHTTP_REQ_POST, "/v1/vpc/reload", report_on_vpc_reload },
		{ EVHTTP_REQ_POST, "/v1/key/rotate", report_on_rotate },
		{ EVHTTP_REQ_POST, "/v1/records/add", report_on_record_add },
		{ EVHTTP_REQ_POST, "/v1/records/remove", report_on_record_remove },
		{ EVHTTP_REQ_POST, "/v1/records/readmit", report_on_record_readmit },
		{ EVHTTP_REQ_GET, "/v1/workloads", report_on_workloads },
		{ EVHTTP_REQ_POST, "/v1/workloads/add", report_on_workload_add },
		{ EVHTTP_REQ_POST, "/v1/workloads/remove", report_on_workload_remove },
		{ EVHTTP_REQ_POST, "/v1/policy/apply", report_on_apply },
		{ EVHTTP_REQ_POST, "/v1/policy/confirm", report_on_confirm },
		{ EVHTTP_REQ_POST, "/v1/policy/rollback", report_on_rollback },
		{ 0 },
	};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s/ctl.sock", PATH_MAX - 16, p->conf.run);
	return ctl_open(p->base, path, routes, p, &p->ctl, e);
}

void report_close(struct parent *p)
{
	report_net_down(p);
	report_records_end(p);
	ctl_close(p->ctl);
	p->ctl = NULL;
}
