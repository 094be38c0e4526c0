// SPDX-License-Identifier: Apache-2.0
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define BACKOFF_MAX_S 30
#define STABLE_S      60 /* a child that lived this long starts again at once */

/* In the child. The descriptor lands on a fixed number; all others are close-on-exec. */
static void exec_role(const struct proc *p, int fd, pid_t parent)
{
	char role[32], user[48];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		_exit(125);
	if (fd == IPC_CHILD_FD) {
		if (fcntl(fd, F_SETFD, 0) < 0)
			_exit(125);
	} else if (dup2(fd, IPC_CHILD_FD) < 0) {
		_exit(125);
	}
	snprintf(role, sizeof(role), "--role=%s", p->role);
	snprintf(user, sizeof(user), "--user=%u:%u", p->uid, p->gid);
	execl("/proc/self/exe", program_invocation_short_name, role, user, (char *)NULL);
	_exit(126);
}

static void on_down(void *arg)
{
	struct proc *p = arg;

	/* SIGCHLD follows; a child that only closed its channel is of no use either */
	ipc_free(p->ipc);
	p->ipc = NULL;
	if (p->pid > 0)
		kill(p->pid, SIGTERM);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	struct proc *p = arg;

	p->fn(msg, p->arg);
}

int proc_start(struct proc *p)
{
	pid_t parent = getpid(), pid;
	int fds[2], ret = ipc_pair(fds);

	if (ret < 0)
		return ret;
	pid = fork();
	if (pid < 0) {
		ret = -errno;
		close(fds[0]);
		close(fds[1]);
		return ret;
	}
	if (!pid)
		exec_role(p, fds[1], parent);
	close(fds[1]);
	p->pid = pid;
	p->started_s = clock_s(CLOCK_MONOTONIC);
	ret = ipc_new(p->base, fds[0], on_message, on_down, p, &p->ipc);
	if (ret < 0)
		return ret;
	p->up(p->arg);
	return 0;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg;
	int ret;

	(void)fd;
	(void)what;
	p->restarts++;
	ret = proc_start(p);
	if (ret < 0)
		log_err("%s process: can not start: %s", p->role, strerror(-ret));
}

int proc_init(struct proc *p, struct event_base *base, const char *role, ipc_fn fn, void (*up)(void *), void *arg)
{
	*p = (struct proc){ .role = role, .base = base, .fn = fn, .up = up, .arg = arg, .pid = -1 };
	p->retry = evtimer_new(base, on_retry, p);
	return p->retry ? 0 : -ENOMEM;
}

bool proc_reaped(struct proc *p, pid_t pid, int status)
{
	struct timeval pause = { 0 };

	if (p->pid != pid)
		return false;
	p->pid = -1;
	ipc_free(p->ipc);
	p->ipc = NULL;
	if (p->stopping)
		return true;
	p->failures = clock_s(CLOCK_MONOTONIC) - p->started_s >= STABLE_S ? 0 : p->failures + 1;
	pause.tv_sec = p->failures > 5 ? BACKOFF_MAX_S : (1 << p->failures) - 1;
	pause.tv_usec = 100000;
	log_err("%s process ended (%s %d); starts again in %ld s", p->role, WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), (long)pause.tv_sec);
	event_add(p->retry, &pause);
	return true;
}

void proc_stop(struct proc *p)
{
	p->stopping = true;
	ipc_free(p->ipc);
	p->ipc = NULL;
	if (p->pid <= 0)
		return;
	kill(p->pid, SIGTERM);
	for (int i = 0; i < 100; i++) {
		if (waitpid(p->pid, NULL, WNOHANG) == p->pid) {
			p->pid = -1;
			return;
		}
		usleep(10000);
	}
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	p->pid = -1;
}

void proc_again(struct proc *p)
{
	if (p->pid > 0)
		kill(p->pid, SIGTERM);
}

void proc_fini(struct proc *p)
{
	if (p->retry)
		event_free(p->retry);
	p->retry = NULL;
}

int proc_signals(struct event_base *base, const struct proc_signal *want, size_t n, void *arg, struct event **event,
		 struct err *e)
{
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < n; i++) {
		event[i] = evsignal_new(base, want[i].sig, want[i].fn, arg);
		if (!event[i] || event_add(event[i], NULL) < 0)
			return err_at(e, -ENOMEM, "signals", "out of memory");
	}
	return 0;
}

int proc_serve(struct event_base *base, int ret, const struct err *e)
{
	char text[600];

	if (ret) {
		log_err("%s", e->code ? err_text(e, text, sizeof(text)) : strerror(-ret));
		return 1;
	}
	event_base_dispatch(base);
	return 0;
}
