// SPDX-License-Identifier: Apache-2.0
/*
 * The parent: configuration, the listening socket, the way to the guest agent. When one of its processes ends, all do,
 * and the service manager starts anew: what was acknowledged is on disk, and nodes come back by themselves.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/listen.h"
#include "base/log.h"
#include "baileyd/agent_link.h"
#include "baileyd/proc.h"
#include "identity/collateral.h"
#include "internal.h"

#define PROCESSES 2
#define LOOK_S    10

struct run {
	const char *conf_path;
	char **argv;
	struct vs_loaded loaded;
	uint64_t collateral_seen;
	uid_t uid, mesh;
	gid_t gid;
	int api_fd; /* -1: no REST API */
	struct event_base *base;
	struct ipc *front;
	pid_t pid[PROCESSES]; /* front, store */
	int status;
};

int vs_failed(const char *process, int code, const struct err *e)
{
	char text[600];

	log_err("%s: %s%s%s", process, e->reason ? id_reason_name(e->reason) : "", e->reason ? ": " : "",
		e->code ? err_text(e, text, sizeof(text)) : strerror(-code));
	return 1;
}

/* The database is the store process's, which is not root. */
static int dirs_make(const struct run *run, struct err *e)
{
	const struct vs_conf *conf = &run->loaded.conf;
	char sock[PATH_MAX];
	int ret = dir_make(conf->state, 0700, e);

	if (!ret && chown(conf->state, run->uid, run->gid) < 0)
		ret = err_at(e, -errno, conf->state, "%s", strerror(errno));
	if (!ret)
		ret = dir_make(conf->run, 0755, e);
	snprintf(sock, sizeof(sock), "%.*s/ctl.sock", PATH_MAX - 16, conf->run);
	return !ret && unix_is_served(sock) ? err_at(e, -EADDRINUSE, sock, "another bailey-vpc runs here") : ret;
}

/* The mesh's alone: its file says so, and the front process asks the kernel who has connected. */
static int api_listen(struct run *run, struct err *e)
{
	const struct vs_conf *conf = &run->loaded.conf;
	char path[PATH_MAX];
	gid_t gid;
	int ret;

	if (!conf->api.is_on)
		return 0;
	ret = user_find("api.mesh_user", conf->api.mesh_user, &run->mesh, &gid, e);
	snprintf(path, sizeof(path), "%.*s/api.sock", PATH_MAX - 16, conf->run);
	if (!ret)
		ret = run->api_fd = unix_listen(path, 0600, "another bailey-vpc runs here", e);
	if (ret >= 0 && chown(path, run->mesh, (gid_t)-1) < 0)
		ret = err_at(e, -errno, path, "%s", strerror(errno));
	if (ret >= 0 && run->mesh == run->uid)
		log_warn("api.mesh_user: %s is also whom this program's processes run as: a user of the mesh's own is "
			 "better",
			 conf->api.mesh_user);
	return ret < 0 ? ret : 0;
}

/* --- children --- */

/* between: front and store; up: parent and front */
static void front_start(struct run *run, int listener, int between[2], int up[2], pid_t parent)
{
	child_begin("bailey-vpc[front]", parent);
	close(between[1]);
	close(up[0]);
	vs_unload_etcd(&run->loaded.etcd); /* a stranger's process */
	_exit(vs_front(&run->loaded, run->uid, run->gid,
		       &(struct vs_front_fds){ .listener = listener,
					       .store = between[0],
					       .parent = up[1],
					       .api = run->api_fd,
					       .mesh = run->mesh }));
}

static void store_start(struct run *run, int listener, int between[2], int up[2], pid_t parent)
{
	child_begin("bailey-vpc[store]", parent);
	close(listener);
	close_at(&run->api_fd);
	close(between[0]);
	close(up[0]);
	close(up[1]);
	_exit(vs_store_process(&run->loaded, run->uid, run->gid, between[1]));
}

/* *front_fd: the parent's end. */
static int start_all(struct run *run, int listener, int *front_fd, struct err *e)
{
	static void (*const starts[PROCESSES])(struct run * run, int listener, int between[2], int up[2],
					       pid_t parent) = { front_start, store_start };
	int between[2] = { -1, -1 }, up[2] = { -1, -1 }, ret = ipc_pair(between);
	pid_t parent = getpid();

	if (!ret)
		ret = ipc_pair(up);
	for (size_t i = 0; i < PROCESSES && !ret; i++) {
		run->pid[i] = fork();
		if (!run->pid[i])
			starts[i](run, listener, between, up, parent);
		ret = run->pid[i] < 0 ? -errno : 0;
	}
	close_at(&between[0]);
	close_at(&between[1]);
	close_at(&up[1]);
	*front_fd = up[0];
	return ret < 0 ? err_at(e, ret, "bailey-vpc", "can not start its processes: %s", strerror(-ret)) : 0;
}

/* --- the parent's loop --- */

static void end(struct run *run, int status)
{
	run->status = status;
	event_base_loopbreak(run->base);
}

static void on_child(evutil_socket_t sig, short what, void *arg)
{
	static const char *const names[PROCESSES] = { "front", "store" };
	struct run *run = arg;

	(void)sig, (void)what;
	if (children_reap(run->pid, names, PROCESSES))
		end(run, 1);
}

static void on_stop(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what;
	end(arg, 0);
}

static void begin_anew(struct run *run, const char *why)
{
	log_info("%s: starting anew", why);
	children_kill(run->pid, PROCESSES);
	execv("/proc/self/exe", run->argv);
	log_err("can not start anew: %s", strerror(errno));
	end(run, 1);
}

/* `bailey collateral fetch` was here. What is refused changes nothing. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	uint64_t seen = evp_collateral_look(&run->loaded.conf.evidence);
	struct id_collaterals *next = NULL;
	struct err e = ERR_INIT;
	char text[600];

	(void)fd, (void)what;
	if (seen == run->collateral_seen)
		return;
	run->collateral_seen = seen;
	if (evp_collateral_load(&run->loaded.conf.evidence, &next, &e) < 0) {
		log_err("new collateral refused: %s", err_text(&e, text, sizeof(text)));
		return;
	}
	id_collaterals_free(next);
	begin_anew(run, "new collateral");
}

/* A configuration that can not be read changes nothing. */
static void on_hangup(evutil_socket_t sig, short what, void *arg)
{
	struct run *run = arg;
	struct vs_loaded next = { 0 };
	struct err e = ERR_INIT;
	char text[600];
	int ret = vs_load(run->conf_path, &next, &e);

	(void)sig, (void)what;
	vs_unload(&next);
	if (ret < 0) {
		log_err("reload refused: %s", err_text(&e, text, sizeof(text)));
		return;
	}
	begin_anew(run, "configuration read again");
}

static void on_front(struct ipc_msg *msg, void *arg)
{
	struct run *run = arg;
	const struct msg_token *ask = ipc_as(msg, sizeof(*ask));

	if (msg->type == MSG_EDGE_AGENT_ASK && ask)
		link_answer(run->front, ask, run->loaded.conf.agent);
}

static void on_front_down(void *arg)
{
	(void)arg; /* SIGCHLD follows */
}

#define EVENTS 5

static int watch(struct run *run, struct event *events[EVENTS], struct err *e)
{
	static const struct timeval each = { .tv_sec = LOOK_S };
	static const struct proc_signal want[] = {
		{ SIGTERM, on_stop }, { SIGINT, on_stop }, { SIGHUP, on_hangup }, { SIGCHLD, on_child }
	};
	int ret = proc_signals(run->base, want, ARRAY_LEN(want), run, events, e);

	if (ret < 0)
		return ret;
	events[EVENTS - 1] = event_new(run->base, -1, EV_PERSIST, on_look, run);
	if (!events[EVENTS - 1] || event_add(events[EVENTS - 1], &each) < 0)
		return err_at(e, -ENOMEM, "timer", "out of memory");
	on_child(SIGCHLD, 0, run); /* one that has ended already */
	return 0;
}

static int loop(struct run *run, int front_fd, struct err *e)
{
	struct event *events[EVENTS] = { 0 };
	int ret = 0;

	run->base = event_base_new();
	if (!run->base || ipc_new(run->base, front_fd, on_front, on_front_down, run, &run->front) < 0) {
		close(front_fd);
		ret = err_at(e, -ENOMEM, "bailey-vpc", "out of memory");
	}
	if (!ret)
		ret = watch(run, events, e);
	if (!ret)
		event_base_dispatch(run->base);
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i])
			event_free(events[i]);
	ipc_free(run->front);
	if (run->base)
		event_base_free(run->base);
	return ret;
}

int vs_run(const char *conf_path, char **argv)
{
	struct run run = { .conf_path = conf_path, .argv = argv, .api_fd = -1 };
	struct err e = ERR_INIT;
	int listener = -1, front_fd = -1, ret = vs_load(conf_path, &run.loaded, &e);

	run.collateral_seen = evp_collateral_look(&run.loaded.conf.evidence);
	if (!ret)
		ret = user_find("user", run.loaded.conf.user, &run.uid, &run.gid, &e);
	if (!ret && geteuid() != 0)
		ret = err_at(&e, -EPERM, "bailey-vpc", "is started by root, so that it can become %s",
			     run.loaded.conf.user);
	if (!ret)
		ret = vs_make_api(&run.loaded.conf, &run.loaded.shared_key, &e);
	if (!ret)
		ret = dirs_make(&run, &e);
	if (!ret)
		ret = listener = tcp_listen(&run.loaded.conf.listen, "listen", &e);
	if (ret >= 0)
		ret = api_listen(&run, &e);
	if (ret >= 0)
		ret = start_all(&run, listener, &front_fd, &e);
	if (!ret)
		ret = loop(&run, front_fd, &e);
	children_kill(run.pid, PROCESSES);
	vs_unload(&run.loaded);
	close_at(&listener);
	close_at(&run.api_fd);
	return ret < 0 ? vs_failed("bailey-vpc", ret, &e) : run.status;
}
