// SPDX-License-Identifier: Apache-2.0
/*
 * The parent: reads the configuration, listens, starts the three and waits. It never has a key. When one of them ends,
 * all do, and the service manager starts anew: a front without keys or keys without a front are good for nothing.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/listen.h"
#include "base/log.h"
#include "baileyd/ipc.h"
#include "identity/collateral.h"
#include "process.h"

#define PROCESSES 3
#define LOOK_S    10

struct run {
	struct kms_conf conf;
	struct evp_files trust;
	struct kms_allow *allow;
	uint64_t collateral_seen;
	pid_t pid[PROCESSES];
};

int kms_process_failed(const char *process, int code, const struct err *e)
{
	char text[600];

	log_err("%s: %s", process, e->code ? err_text(e, text, sizeof(text)) : strerror(-code));
	return 1;
}

int kms_box(const struct kms_conf *conf, int (*box)(uid_t uid, gid_t gid, struct err *e), struct err *e)
{
	uid_t uid;
	gid_t gid;
	int ret = user_find("user", conf->user, &uid, &gid, e);

	if (ret < 0)
		return ret;
	if (geteuid() != 0)
		return err_at(e, -EPERM, "bailey-kms", "is started by root, so that it can become %s", conf->user);
	return box(uid, gid, e);
}

static int load(const char *path, struct run *run, struct err *e)
{
	int ret = kms_conf_load(path, &run->conf, e);

	if (!ret) {
		run->collateral_seen = evp_collateral_look(&run->conf.evidence);
		ret = evp_files_load(&run->conf.evidence, &run->trust, e);
	}
	if (!ret && run->conf.allow[0])
		ret = kms_allow_load(run->conf.allow, &run->allow, e);
	return ret;
}

static void unload(struct run *run)
{
	evp_files_fini(&run->trust);
	kms_allow_free(run->allow);
	run->allow = NULL;
}

/* --- children --- */

static void close_all(int fds[4])
{
	for (size_t i = 0; i < 4; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* keys: [0] is the key process's end, [1] the front's; asker likewise in [2] and [3]. */
static void start_keys(struct run *run, int listener, int fds[4], pid_t parent)
{
	child_begin("bailey-kms[keys]", parent);
	close(listener);
	for (size_t i = 1; i < 4; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	_exit(kms_keys(&run->conf, fds[0]));
}

static void start_front(struct run *run, int listener, int fds[4], pid_t parent)
{
	child_begin("bailey-kms[front]", parent);
	close(fds[0]);
	if (fds[2] >= 0)
		close(fds[2]);
	_exit(kms_front(&run->conf, &run->trust, run->allow, listener, fds[1], fds[3]));
}

static void start_asker(struct run *run, int listener, int fds[4], pid_t parent)
{
	child_begin("bailey-kms[asker]", parent);
	close(listener);
	close(fds[0]);
	close(fds[1]);
	close(fds[3]);
	_exit(kms_asker(&run->conf, fds[2]));
}

static int start_all(struct run *run, int listener, struct err *e)
{
	static void (*const starts[PROCESSES])(struct run * run, int listener, int fds[4],
					       pid_t parent) = { start_keys, start_front, start_asker };
	int fds[4] = { -1, -1, -1, -1 };
	int ret = ipc_pair(fds);
	size_t n = run->conf.webhook[0] ? PROCESSES : PROCESSES - 1;

	if (!ret && n == PROCESSES)
		ret = ipc_pair(fds + 2);
	for (size_t i = 0; i < n && !ret; i++) {
		pid_t parent = getpid(), pid = fork();

		if (!pid)
			starts[i](run, listener, fds, parent);
		run->pid[i] = pid;
		ret = pid < 0 ? -errno : 0;
	}
	close_all(fds);
	return ret < 0 ? err_at(e, ret, "bailey-kms", "can not start its processes: %s", strerror(-ret)) : 0;
}

/* A configuration that can not be read changes nothing. The address stays that of the start. */
static int reload(const char *path, struct run *run, int listener, struct err *e)
{
	struct run next = { 0 };
	struct err why = ERR_INIT;
	char text[600];

	if (load(path, &next, &why) < 0) {
		log_err("reload refused: %s", err_text(&why, text, sizeof(text)));
		unload(&next);
		return 0;
	}
	children_kill(run->pid, PROCESSES);
	unload(run);
	*run = next;
	log_info("configuration read again");
	return start_all(run, listener, e);
}

/* `bailey collateral fetch` was here. The rest of the configuration stays what a person last wanted. */
static int collateral_again(struct run *run, int listener, struct err *e)
{
	uint64_t seen = evp_collateral_look(&run->conf.evidence);
	struct id_collaterals *next;
	struct err why = ERR_INIT;
	char text[600];

	if (seen == run->collateral_seen)
		return 0;
	run->collateral_seen = seen;
	if (evp_collateral_load(&run->conf.evidence, &next, &why) < 0) {
		log_err("new collateral refused: %s", err_text(&why, text, sizeof(text)));
		return 0;
	}
	children_kill(run->pid, PROCESSES);
	id_collaterals_free(run->trust.collaterals);
	run->trust.collaterals = next;
	log_info("collateral read again");
	return start_all(run, listener, e);
}

static int wait_for_end(const char *path, struct run *run, int listener, const sigset_t *signals, struct err *e)
{
	static const char *const names[PROCESSES] = { "keys", "front", "asker" };
	static const struct timespec look = { .tv_sec = LOOK_S };
	int ret = 0;

	while (!ret) {
		int signo = sigtimedwait(signals, NULL, &look);

		if (signo == SIGTERM || signo == SIGINT)
			return 0;
		if (signo == SIGHUP)
			ret = reload(path, run, listener, e);
		else if (signo == SIGCHLD && children_reap(run->pid, names, PROCESSES))
			ret = err_at(e, -ECHILD, "bailey-kms", "a process ended");
		else if (signo < 0)
			ret = collateral_again(run, listener, e);
	}
	return ret;
}

int kms_run(const char *conf_path)
{
	static const int waited[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	struct run run = { 0 };
	struct err e = ERR_INIT;
	sigset_t signals;
	int listener = -1, ret;

	sigemptyset(&signals);
	for (size_t i = 0; i < ARRAY_LEN(waited); i++)
		sigaddset(&signals, waited[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	ret = load(conf_path, &run, &e);
	if (!ret)
		ret = listener = tcp_listen(&run.conf.listen, "listen", &e);
	if (ret >= 0)
		ret = start_all(&run, listener, &e);
	if (!ret)
		ret = wait_for_end(conf_path, &run, listener, &signals, &e);
	children_kill(run.pid, PROCESSES);
	unload(&run);
	if (listener >= 0)
		close(listener);
	return ret < 0 ? kms_process_failed("bailey-kms", ret, &e) : 0;
}
