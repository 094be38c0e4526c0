// SPDX-License-Identifier: Apache-2.0
/* The store process: the database or the way to etcd, and the control socket. */
#include <errno.h>
#include <event2/http.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "baileyd/box.h"
#include "store_process.h"

#define ENDS_S     10
#define BEAT_TICKS 2 /* seconds; VS_LEASE_S leaves room for some that fail */

void vs_die(struct process *p, const struct err *e)
{
	char text[600];

	log_err("%s", err_text(e, text, sizeof(text)));
	event_base_loopbreak(p->base);
}

/* --- what front asks --- */

static void on_commit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	queue_run(arg);
}

static void on_api(struct process *p, const struct vs_msg_api *m)
{
	if (m->path == VS_API_REGISTER || m->path == VS_API_UPDATE)
		queue_add(p, VS_API, m, sizeof(*m), NULL, 0);
	else
		vs_api_look(p, m);
}

static void on_front(struct ipc_msg *msg, void *arg)
{
	auto_free uint8_t *copy = NULL;
	struct process *p = arg;
	const uint8_t *bytes;
	const void *m;
	size_t len;

	if (msg->type == VS_GRANT && (m = ipc_as(msg, sizeof(struct vs_msg_grant))))
		queue_add(p, VS_GRANT, m, sizeof(struct vs_msg_grant), NULL, 0);
	else if (msg->type == VS_PUBLISH && vs_take(msg, sizeof(struct vs_msg_publish), &bytes, &len, &copy))
		queue_add(p, VS_PUBLISH, msg->data, sizeof(struct vs_msg_publish), bytes, len);
	else if (msg->type == VS_API && (m = ipc_as(msg, sizeof(struct vs_msg_api))))
		on_api(p, m);
	else if (msg->type == VS_STATS && (m = ipc_as(msg, sizeof(p->stats))))
		p->stats = *(const struct vs_msg_stats *)m;
	else if (msg->type == VS_LINK && (m = ipc_as(msg, sizeof(struct vs_msg_link))))
		vs_links_set(&p->links, m);
}

static void row_send(const struct vs_row *row, const void *record, size_t len, void *arg)
{
	struct process *p = arg;

	vs_send(p->front, VS_ROW, row, sizeof(*row), record, row->has_record ? len : 0);
}

/* These were all, up to here; and until when that is good. */
static void ready_send(void *arg)
{
	struct process *p = arg;
	struct vs_msg_ready m = { .serial = vs_store_serial(p->store), .fresh_until = vs_store_fresh_until(p->store) };

	memcpy(m.network, vs_store_network(p->store), sizeof(m.network));
	ipc_send(p->front, VS_READY, &m, sizeof(m), -1);
}

static int tell_all(struct process *p, struct err *e)
{
	int ret = vs_store_each(p->store, row_send, p, e);

	if (!ret)
		ready_send(p);
	return ret;
}

static void resume_do(struct process *p, void *arg)
{
	(void)arg;
	vs_store_resume(p->store, time(NULL));
}

/* Before anything is told. */
static int resume(struct process *p, struct err *e)
{
	int ret = p->is_resumed ? 0 : queue_transact(p, resume_do, NULL, e);

	p->is_resumed |= !ret;
	return ret;
}

/* --- etcd --- */

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	vs_watch_off(p);
	if (vs_store_pump(p->store, 0, &e) < 0)
		vs_die(p, &e);
	vs_watch_on(p);
}

void vs_watch_off(struct process *p)
{
	if (p->watch)
		event_free(take_ptr(p->watch));
}

void vs_watch_on(struct process *p)
{
	int fd = vs_store_is_shared(p->store) ? vs_store_fd(p->store) : -1;

	if (fd < 0)
		return; /* the tick looks */
	p->watch = event_new(p->base, fd, EV_READ | EV_PERSIST, on_watch, p);
	if (p->watch)
		event_add(p->watch, NULL);
}

/* Without an answer front stops to serve when what it heard last is too old; this goes on asking. */
static void beat(struct process *p)
{
	struct err e = ERR_INIT;
	char text[600];
	int ret;

	p->self.sessions = (int64_t)p->stats.sessions;
	ret = resume(p, &e);
	vs_watch_off(p);
	if (!ret)
		ret = vs_store_beat(p->store, &p->self, &e);
	vs_watch_on(p);
	if (ret == -EBADMSG)
		vs_die(p, &e);
	else if (ret < 0)
		log_limited(LOG_WARN, "etcd: %s", err_text(&e, text, sizeof(text)));
	else
		ready_send(p);
}

/* Until etcd answers nothing is served, and it is asked again. <0: it has what this program can not use. */
static int etcd_begin(struct process *p, struct err *e)
{
	char text[600];
	int ret = vs_store_load(p->store, e);

	if (ret < 0 && ret != -EBADMSG) {
		log_limited(LOG_WARN, "waits for etcd: %s", err_text(e, text, sizeof(text)));
		return 0;
	}
	if (!ret)
		beat(p);
	return ret;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;
	struct err e = ERR_INIT;

	if (!vs_store_is_loaded(p->store)) {
		if (etcd_begin(p, &e) < 0)
			vs_die(p, &e);
		return;
	}
	on_watch(fd, what, p);
	if (++p->n_ticks % BEAT_TICKS == 0)
		beat(p);
}

static int etcd_start(struct process *p, struct err *e)
{
	static const struct timeval second = { .tv_sec = 1 };
	struct vs_watcher watcher = { .row = row_send, .caught_up = ready_send, .arg = p };
	uint8_t id[8];

	vs_store_watch(p->store, &watcher);
	p->tick = event_new(p->base, -1, EV_PERSIST, on_tick, p);
	if (!p->tick || event_add(p->tick, &second) < 0 || RAND_bytes(id, sizeof(id)) != 1)
		return err_at(e, -ENOMEM, "store", "out of memory");
	hex_print(p->self.id, id, sizeof(id));
	endpoint_print(&p->conf.listen, p->self.listen);
	p->self.since = time(NULL);
	return etcd_begin(p, e);
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

struct set {
	const char *text;
	bool is_revoked;
	struct vs_msg_set m;
	struct err e;
	int code;
};

static void set_do(struct process *p, void *arg)
{
	struct set *set = arg;

	set->e = ERR_INIT;
	set->m = (struct vs_msg_set){ .is_revoked = set->is_revoked };
	set->code = vs_store_find(p->store, set->text, set->m.instance_id, &set->e);
	if (!set->code)
		set->code = vs_store_set(p->store, set->m.instance_id, set->is_revoked ? VS_REVOKED : VS_MEMBER,
					 time(NULL), &set->m.serial, &set->e);
	if (!set->code)
		queue_answer(p, VS_SET, &set->m, sizeof(set->m));
}

int vs_decide(struct process *p, queue_fn work, void *arg, struct err *e)
{
	struct err why = ERR_INIT;
	int ret = queue_transact(p, work, arg, &why);

	if (!ret)
		return 0;
	if (!vs_store_is_shared(p->store) || ret == -EBADMSG)
		vs_die(p, &why);
	*e = why;
	return ret;
}

static int set_node(struct process *p, struct set *set)
{
	int ret = vs_decide(p, set_do, set, &set->e);

	return ret ? ret : set->code;
}

static void set_reply(struct evhttp_request *req, struct process *p, bool is_revoked)
{
	auto_free char *text = vs_report_asked(req, "node");
	struct set set = { .text = text, .is_revoked = is_revoked };
	int ret = text ? set_node(p, &set) : err_at(&set.e, -EINVAL, "request", "needs {\"node\": ...}");

	if (ret < 0) {
		ctl_reply_error(req, ret == -ENOENT ? 404 : 400, &set.e);
		return;
	}
	log_info("%s: %s", text, is_revoked ? "revoked" : "approved");
	ctl_reply_json(req, 200,
		       json_pack("{s:o, s:I}", "instance_id", json_hex(set.m.instance_id, BY_INSTANCE_ID_LEN), "serial",
				 (json_int_t)set.m.serial));
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
		{ EVHTTP_REQ_GET, "/v1/authkeys", vs_on_keys },
		{ EVHTTP_REQ_POST, "/v1/authkeys/create", vs_on_key_create },
		{ EVHTTP_REQ_POST, "/v1/authkeys/revoke", vs_on_key_revoke },
		{ EVHTTP_REQ_GET, "/metrics", on_metrics },
		{ 0 },
	};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s/ctl.sock", PATH_MAX - 16, p->conf.run);
	return ctl_open(p->base, path, routes, p, &p->ctl, e);
}

/* --- what ends by itself --- */

static void end_do(struct process *p, void *arg)
{
	struct err *e = arg;

	*e = ERR_INIT;
	vs_store_end(p->store, time(NULL), e);
}

static void on_ends(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;
	struct err e = ERR_INIT, failed = ERR_INIT;
	char text[600];

	(void)fd, (void)what;
	if (!vs_store_has_ended(p->store, time(NULL)))
		return;
	if (vs_decide(p, end_do, &failed, &e) < 0 || failed.code)
		log_limited(LOG_WARN, "what has ended stays for now: %s",
			    err_text(failed.code ? &failed : &e, text, sizeof(text)));
}

static int ends_start(struct process *p, struct err *e)
{
	static const struct timeval each = { .tv_sec = ENDS_S };

	p->ends = event_new(p->base, -1, EV_PERSIST, on_ends, p);
	return p->ends && event_add(p->ends, &each) == 0 ? 0 : err_at(e, -ENOMEM, "store", "out of memory");
}

/* --- start --- */

static int store_open(struct process *p, const struct etcd_pems *pems, struct err *e)
{
	char path[PATH_MAX];

	vs_store_path(&p->conf, path);
	return p->conf.etcd.n_endpoints ? vs_store_open_shared(&p->conf.etcd, pems, &p->store, e)
					: vs_store_open(path, &p->store, e);
}

/* With etcd it opens sockets, and parses what etcd says; with a file it does neither. */
static int start(struct process *p, const struct etcd_pems *pems, uid_t uid, gid_t gid, int front_fd, struct err *e)
{
	int ret;

	p->base = event_base_new();
	p->commit = p->base ? evtimer_new(p->base, on_commit, p) : NULL;
	if (!p->commit)
		return err_at(e, -ENOMEM, "store", "out of memory");
	ret = ctl_start(p, e); /* the socket is root's */
	if (!ret)
		ret = p->conf.etcd.n_endpoints ? box_asker(uid, gid, e) : box_store(uid, gid, e);
	if (!ret)
		ret = store_open(p, pems, e);
	if (!ret && ipc_new(p->base, front_fd, on_front, NULL, p, &p->front) < 0)
		ret = err_at(e, -ENOMEM, "store", "out of memory");
	if (!ret)
		ret = ends_start(p, e);
	if (ret < 0)
		return ret;
	if (vs_store_is_shared(p->store))
		return etcd_start(p, e);
	ret = resume(p, e);
	return ret ? ret : tell_all(p, e);
}

int vs_store_process(const struct vs_loaded *loaded, uid_t uid, gid_t gid, int front_fd)
{
	struct process p = { .conf = loaded->conf };
	struct err e = ERR_INIT;
	int ret;

	STAILQ_INIT(&p.requests);
	TAILQ_INIT(&p.answers);
	p.limits = (struct vs_limits){ .numbers = vs_conf_numbers(&p.conf),
				       .max_nodes = p.conf.max_nodes,
				       .approve = p.conf.approve };
	ret = start(&p, &loaded->etcd, uid, gid, front_fd, &e);
	if (ret < 0)
		return vs_failed("store", ret, &e);
	event_base_dispatch(p.base);
	return 1;
}
