// SPDX-License-Identifier: Apache-2.0
/*
 * The store process: the database and the control socket. What front asks for is done in the order in which it came,
 * many at a time between two commits, and answered when the disk has it.
 */
#include <errno.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "baileyd/box.h"
#include "ctl/server.h"
#include "internal.h"
#include "report.h"

struct answer {
	STAILQ_ENTRY(answer) link;
	enum vs_msg_type type;
	size_t len;
	uint8_t bytes[];
};

struct process {
	struct event_base *base;
	struct vs_conf conf;
	struct vs_limits limits;
	struct vs_store *store;
	struct ipc *front;
	struct ctl *ctl;
	struct event *commit;
	bool is_changing;
	STAILQ_HEAD(, answer) answers;
	struct vs_links links;
	struct vs_msg_stats stats;
};

static void die(struct process *p, const struct err *e)
{
	char text[600];

	log_err("%s", err_text(e, text, sizeof(text)));
	event_base_loopbreak(p->base); /* nothing was acknowledged; the service manager starts anew */
}

/* --- one commit for what came together --- */

static void answer(struct process *p, enum vs_msg_type type, const void *m, size_t len)
{
	struct answer *a = malloc(sizeof(*a) + len);
	struct err e = ERR_INIT;

	if (!a) {
		err_at(&e, -ENOMEM, "store", "out of memory");
		die(p, &e);
		return;
	}
	a->type = type;
	a->len = len;
	memcpy(a->bytes, m, len);
	STAILQ_INSERT_TAIL(&p->answers, a, link);
}

static int change_begin(struct process *p, struct err *e)
{
	static const struct timeval at_once = { 0 };
	int ret = p->is_changing ? 0 : vs_store_begin(p->store, e);

	if (!ret && !p->is_changing)
		event_add(p->commit, &at_once);
	p->is_changing = p->is_changing || !ret;
	return ret;
}

static void answers_send(struct process *p, bool is_done)
{
	struct answer *a;

	while ((a = STAILQ_FIRST(&p->answers))) {
		STAILQ_REMOVE_HEAD(&p->answers, link);
		if (is_done)
			ipc_send(p->front, a->type, a->bytes, a->len, -1);
		free(a);
	}
}

static int change_end(struct process *p, struct err *e)
{
	int ret = p->is_changing ? vs_store_commit(p->store, e) : 0;

	p->is_changing = false;
	event_del(p->commit);
	answers_send(p, !ret);
	return ret;
}

static void on_commit(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	if (change_end(p, &e) < 0)
		die(p, &e);
}

/* --- what front asks --- */

static void on_grant(struct process *p, const struct vs_msg_grant *m)
{
	struct vs_msg_granted a = { .id = m->id };
	struct vs_who who = m->who;

	who.node[sizeof(who.node) - 1] = who.from[sizeof(who.from) - 1] = '\0';
	a.code = change_begin(p, &a.err);
	if (!a.code)
		a.code = vs_store_grant(p->store, &who, &p->limits, time(NULL), &a.number, &a.err);
	answer(p, VS_GRANTED, &a, sizeof(a));
}

static void on_publish(struct process *p, const struct vs_msg_publish *m, const uint8_t *bytes, size_t len)
{
	struct vs_msg_published a = { .id = m->id };

	a.code = change_begin(p, &a.err);
	if (!a.code)
		a.code = vs_store_publish(p->store, &m->record, bytes, len, time(NULL), &a.serial, &a.err);
	answer(p, VS_PUBLISHED, &a, sizeof(a));
}

static void on_front(struct ipc_msg *msg, void *arg)
{
	auto_free uint8_t *copy = NULL;
	struct process *p = arg;
	const uint8_t *bytes;
	const void *m;
	size_t len;

	if (msg->type == VS_GRANT && (m = ipc_as(msg, sizeof(struct vs_msg_grant))))
		on_grant(p, m);
	else if (msg->type == VS_PUBLISH && vs_take(msg, sizeof(struct vs_msg_publish), &bytes, &len, &copy))
		on_publish(p, msg->data, bytes, len);
	else if (msg->type == VS_STATS && (m = ipc_as(msg, sizeof(p->stats))))
		p->stats = *(const struct vs_msg_stats *)m;
	else if (msg->type == VS_LINK && (m = ipc_as(msg, sizeof(struct vs_msg_link))))
		vs_links_set(&p->links, m);
}

static void on_down(void *arg)
{
	struct process *p = arg;

	event_base_loopbreak(p->base);
}

static void row_send(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	struct process *p = arg;

	vs_send(p->front, VS_ROW, row, sizeof(*row), record, row->has_record ? len : 0);
}

static int tell_all(struct process *p, struct err *e)
{
	struct vs_msg_ready m = { .serial = vs_store_serial(p->store) };
	int ret = vs_store_each(p->store, row_send, p, e);

	memcpy(m.network, vs_store_network(p->store), sizeof(m.network));
	return ret ? ret : ipc_send(p->front, VS_READY, &m, sizeof(m), -1);
}

/* --- what people ask --- */

static struct vs_report report_of(struct process *p)
{
	return (struct vs_report){ .conf = &p->conf, .store = p->store, .links = &p->links, .stats = &p->stats };
}

static void on_status(struct evhttp_request *req, void *arg)
{
	struct vs_report r = report_of(arg);

	ctl_reply_json(req, 200, vs_report_status(&r));
}

static void on_nodes(struct evhttp_request *req, void *arg)
{
	struct vs_report r = report_of(arg);

	ctl_reply_json(req, 200, vs_report_nodes(&r));
}

static void on_metrics(struct evhttp_request *req, void *arg)
{
	struct vs_report r = report_of(arg);
	auto_free char *text = vs_report_metrics(&r);

	ctl_reply_text(req, "text/plain; version=0.0.4", text ? text : "");
}

static int set_node(struct process *p, const char *text, bool is_revoked, struct vs_msg_set *m, struct err *e)
{
	int ret = change_begin(p, e);

	*m = (struct vs_msg_set){ .is_revoked = is_revoked };
	if (!ret)
		ret = vs_store_find(p->store, text, m->instance_id, e);
	if (!ret)
		ret = vs_store_set(p->store, m->instance_id, is_revoked ? VS_REVOKED : VS_MEMBER, time(NULL),
				   &m->serial, e);
	if (!ret)
		answer(p, VS_SET, m, sizeof(*m));
	return ret;
}

static void set_reply(struct evhttp_request *req, struct process *p, bool is_revoked)
{
	auto_free char *text = vs_report_asked(req, "node");
	struct err e = ERR_INIT;
	struct vs_msg_set m;
	int ret =
		text ? set_node(p, text, is_revoked, &m, &e) : err_at(&e, -EINVAL, "request", "needs {\"node\": ...}");

	if (!ret)
		ret = change_end(p, &e);
	if (ret < 0) {
		ctl_reply_error(req, ret == -ENOENT ? 404 : 400, &e);
		return;
	}
	log_info("%s: %s", text, is_revoked ? "revoked" : "approved");
	ctl_reply_json(req, 200,
		       json_pack("{s:o, s:I}", "instance_id", json_hex(m.instance_id, BY_INSTANCE_ID_LEN), "serial",
				 (json_int_t)m.serial));
}

static void on_revoke(struct evhttp_request *req, void *arg)
{
	set_reply(req, arg, true);
}

static void on_approve(struct evhttp_request *req, void *arg)
{
	set_reply(req, arg, false);
}

static int ctl_start(struct process *p, struct err *e)
{
	static const struct ctl_route routes[] = {
		{ EVHTTP_REQ_GET, "/v1/status", on_status },
		{ EVHTTP_REQ_GET, "/v1/nodes", on_nodes },
		{ EVHTTP_REQ_POST, "/v1/nodes/revoke", on_revoke },
		{ EVHTTP_REQ_POST, "/v1/nodes/approve", on_approve },
		{ EVHTTP_REQ_GET, "/metrics", on_metrics },
		{ 0 },
	};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s/ctl.sock", PATH_MAX - 16, p->conf.run);
	return ctl_open(p->base, path, routes, p, &p->ctl, e);
}

/* --- start --- */

static int start(struct process *p, uid_t uid, gid_t gid, int front_fd, struct err *e)
{
	char path[PATH_MAX];
	int ret;

	p->base = event_base_new();
	p->commit = p->base ? evtimer_new(p->base, on_commit, p) : NULL;
	if (!p->commit)
		return err_at(e, -ENOMEM, "store", "out of memory");
	ret = ctl_start(p, e); /* the socket is root's */
	if (!ret)
		ret = box_store(uid, gid, e);
	vs_store_path(&p->conf, path);
	if (!ret)
		ret = vs_store_open(path, &p->store, e);
	if (!ret && ipc_new(p->base, front_fd, on_front, on_down, p, &p->front) < 0)
		ret = err_at(e, -ENOMEM, "store", "out of memory");
	return ret ? ret : tell_all(p, e);
}

int vs_store_process(const struct vs_conf *conf, uid_t uid, gid_t gid, int front_fd)
{
	struct process p = { .conf = *conf };
	struct err e = ERR_INIT;
	int ret;

	STAILQ_INIT(&p.answers);
	p.limits = (struct vs_limits){ .numbers = vs_conf_numbers(conf),
				       .max_nodes = conf->max_nodes,
				       .approve = conf->approve };
	ret = start(&p, uid, gid, front_fd, &e);
	if (ret < 0)
		return vs_failed("store", ret, &e);
	event_base_dispatch(p.base);
	return 1;
}
