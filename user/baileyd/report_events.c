// SPDX-License-Identifier: Apache-2.0
/* Events on their way to people: kept for those who ask later, streamed to those who watch, logged where a rule says
 * so. What does not arrive is counted and said. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "report_filter.h"
#include "report_json.h"

#define MONITORS_MAX  16
#define LOG_LINES_MAX 50 /* a second, of rules that log; more are counted */

struct monitor {
	struct monitor *next;
	struct evhttp_request *req;
	struct filter filter;
	uint64_t unread; /* lines left out since the last that fitted */
};

/* --- monitors --- */

static void monitor_line(struct monitor *m, const json_t *line)
{
	json_t *loss;

	if (m->unread) {
		loss = json_pack("{s:I, s:s, s:I}", "at", (json_int_t)time(NULL), "event", "loss", "unread",
				 (json_int_t)m->unread);
		if (ctl_stream_line(m->req, loss))
			m->unread = 0;
		json_decref(loss);
	}
	if (!ctl_stream_line(m->req, line))
		m->unread++;
}

static void on_monitor_gone(struct evhttp_request *req, void *arg)
{
	struct parent *p = arg;

	for (struct monitor **at = &p->monitors; *at; at = &(*at)->next) {
		struct monitor *m = *at;

		if (m->req != req)
			continue;
		*at = m->next;
		free(m);
		return;
	}
}

static int monitor_add(struct parent *p, struct evhttp_request *req, struct err *e)
{
	struct monitor *m;
	size_t n = 0;

	for (m = p->monitors; m; m = m->next)
		n++;
	if (n >= MONITORS_MAX)
		return err_at(e, -EBUSY, "monitor", "%d monitors watch already", MONITORS_MAX);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_at(e, -ENOMEM, "monitor", "out of memory");
	m->req = req;
	if (filter_parse(p, req, FILTER_SIDES | FILTER_DROPS | FILTER_AUDIT | FILTER_REASON, &m->filter, e) < 0) {
		free(m);
		return e->code;
	}
	m->next = p->monitors;
	p->monitors = m;
	return 0;
}

void report_on_monitor(struct evhttp_request *req, void *arg)
{
	struct err e = ERR_INIT;

	if (monitor_add(arg, req, &e) == 0)
		ctl_stream_start(req, on_monitor_gone, arg);
	else
		ctl_reply_error(req, e.code == -EINVAL ? 400 : 503, &e);
}

/* --- the log --- */

/* "web -> db tcp/22" */
static void flow_text(struct parent *p, const struct by_event *ev, char *buf, size_t size)
{
	struct who src = node_who(p, &ev->src), dst = node_who(p, &ev->dst);
	char from[ADDR_TEXT], to[ADDR_TEXT], port[32];

	pol_selector_print(selector_of(ev->l4_proto, ev->dst_port_be, ev->icmp_type), port, sizeof(port));
	snprintf(buf, size, "%s -> %s %s", src.node ? src.node : addr_print(&ev->src, from),
		 dst.node ? dst.node : addr_print(&ev->dst, to), port);
}

static void log_event(struct parent *p, const struct msg_event *m)
{
	const struct by_event *ev = &m->event;
	const char *did = ev->type == BY_EVENT_FLOW ? "allowed" : "dropped";
	const struct target *t = &p->targets[m->target];
	char flow[160], on[IF_NAMESIZE + WORKLOAD_NAME_LEN + 24] = "";

	if (p->log_lines >= LOG_LINES_MAX) {
		p->log_held++;
		return;
	}
	p->log_lines++;
	flow_text(p, ev, flow, sizeof(flow));
	if (m->target != TARGET_OVERLAY)
		snprintf(on, sizeof(on), " on %s%s%s", t->interface, t->workload.name[0] ? ", workload " : "",
			 t->workload.name);
	log_info("%s: rule %s (%s) %s %s%s", ev->type == BY_EVENT_AUDIT ? "audit" : "rule", m->rule, m->where,
		 ev->type == BY_EVENT_AUDIT ? "would drop" : did, flow, on);
}

void report_tick(struct parent *p)
{
	if (p->log_held)
		log_warn("%u lines of rules that log or audit were held back in a second; bailey monitor shows more",
			 p->log_held);
	p->log_lines = p->log_held = 0;
}

/* --- events --- */

static struct event_log *log_of(struct parent *p, const struct msg_event *m)
{
	if (m->target >= p->n_targets || m->event.reason >= BY_DROP_COUNT)
		return NULL;
	switch (m->event.type) {
	case BY_EVENT_FLOW:
		return &p->events[0];
	case BY_EVENT_AUDIT:
		return &p->events[1];
	case BY_EVENT_DROP:
		return &p->events[2 + m->event.reason];
	default:
		return NULL;
	}
}

void report_event(struct parent *p, const struct msg_event *m)
{
	struct event_log *log = log_of(p, m);
	struct seen_event *seen;
	struct filter_item item;
	json_t *line = NULL;

	if (!log)
		return;
	seen = &log->event[log->n++ % EVENTS_KEPT];
	*seen = (struct seen_event){ .at = time(NULL), .number = p->n_events++, .m = *m };
	memcpy(seen->interface, p->targets[m->target].interface, sizeof(seen->interface));
	memcpy(seen->workload, p->targets[m->target].workload.name, sizeof(seen->workload));
	msg_terminate(seen->m.rule);
	msg_terminate(seen->m.where);
	if (m->event.type == BY_EVENT_AUDIT || m->event.flags & BY_RULE_LOG)
		log_event(p, &seen->m);
	item = filter_item_of(&seen->m);
	for (struct monitor *mon = p->monitors; mon; mon = mon->next) {
		if (!filter_takes(p, &mon->filter, &item))
			continue;
		if (!line)
			line = report_event_json(p, seen);
		monitor_line(mon, line);
	}
	json_decref(line);
}

void report_loss(struct parent *p, const struct msg_loss *m)
{
	uint64_t kernel, held;
	struct loss *had;
	json_t *line;

	if (m->target >= p->n_targets)
		return;
	had = &p->losses[m->target];
	kernel = had->is_known ? m->kernel - had->kernel : 0; /* what was lost before this daemon began is no news */
	held = m->held >= p->events_held ? m->held - p->events_held : m->held; /* a new net counts from 0 */
	*had = (struct loss){ .is_known = true, .kernel = m->kernel };
	p->events_held = m->held;
	if (!kernel && !held)
		return;
	line = json_pack("{s:I, s:s, s:s, s:I, s:I}", "at", (json_int_t)time(NULL), "event", "loss", "interface",
			 p->targets[m->target].interface, "kernel", (json_int_t)kernel, "net", (json_int_t)held);
	for (struct monitor *mon = p->monitors; mon; mon = mon->next)
		monitor_line(mon, line);
	json_decref(line);
}

/* The oldest event that is not behind `at`, which holds a place in each log, and moves that place on. */
static const struct seen_event *next_event(const struct parent *p, uint64_t at[EVENT_KINDS])
{
	const struct seen_event *next = NULL;
	size_t of = 0;

	for (size_t i = 0; i < ARRAY_LEN(p->events); i++) {
		const struct seen_event *ev = &p->events[i].event[at[i] % EVENTS_KEPT];

		if (at[i] < p->events[i].n && (!next || ev->number < next->number)) {
			next = ev;
			of = i;
		}
	}
	if (next)
		at[of]++;
	return next;
}

/* In the order in which they came. */
void report_on_events(struct evhttp_request *req, void *arg)
{
	uint64_t at[EVENT_KINDS];
	const struct seen_event *next;
	struct parent *p = arg;
	json_t *list = json_array();
	struct filter_item item;
	struct err e = ERR_INIT;
	struct filter f;

	if (filter_parse(p, req, FILTER_SIDES | FILTER_DROPS | FILTER_AUDIT | FILTER_REASON, &f, &e) < 0) {
		json_decref(list);
		ctl_reply_error(req, 400, &e);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		at[i] = p->events[i].n > EVENTS_KEPT ? p->events[i].n - EVENTS_KEPT : 0;
	while ((next = next_event(p, at))) {
		item = filter_item_of(&next->m);
		if (filter_takes(p, &f, &item))
			json_array_append_new(list, report_event_json(p, next));
	}
	ctl_reply_json(req, 200, list);
}
