/* SPDX-License-Identifier: Apache-2.0 */
/* A child process of the daemon: this binary executed anew as a role, its channel, its restarts. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "ipc.h"

struct proc {
	const char *role; /* "net", "edge"; given to the program as --role=, with --user=uid:gid */
	uid_t uid;        /* that the child is told to become */
	gid_t gid;
	struct event_base *base;
	ipc_fn fn;
	void (*up)(void *arg); /* a new child is there: send it all it needs */
	void *arg;
	pid_t pid;       /* -1: none */
	struct ipc *ipc; /* NULL: none */
	struct event *retry;
	unsigned failures, restarts;
	int64_t started_s;
	bool stopping;
};

int proc_init(struct proc *p, struct event_base *base, const char *role, ipc_fn fn, void (*up)(void *), void *arg);
int proc_start(struct proc *p);
/* For the SIGCHLD handler: true when it was this child, which is then started again after a pause. */
bool proc_reaped(struct proc *p, pid_t pid, int status);
void proc_stop(struct proc *p);  /* asks, waits a second, ends it */
void proc_again(struct proc *p); /* ends it; it starts again at once */
void proc_fini(struct proc *p);

struct proc_signal {
	int sig;
	event_callback_fn fn;
};
/* What a parent hears of, and SIGPIPE is ignored. event[i] is of want[i], the caller's to free, after an error too. */
int proc_signals(struct event_base *base, const struct proc_signal *want, size_t n, void *arg, struct event **event,
		 struct err *e);

/*
 * What a child ends with, once it is set up (ret 0) or could not be (negative; why is `e`'s, where it says so): serves
 * until its loop ends. base: NULL only with a ret that is not 0. The exit status.
 */
int proc_serve(struct event_base *base, int ret, const struct err *e);
