/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket that listens, of a process that may run out of descriptors (or memory), or that serves so many at once and
 * no more. Who comes meanwhile waits in the kernel's queue.
 */
#pragma once

#include <event2/event.h>
#include <event2/listener.h>

#include "err.h"

struct listening {
	/* set by the caller, who keeps this where it is */
	const char *what;                                                 /* for the log; outlives this */
	void (*accepted)(int fd, const struct sockaddr *from, void *arg); /* takes fd over; it does not block */
	void *arg;
	/* to be read */
	uint64_t n_failed; /* times that nobody could be accepted: one a second at most */
	/* its own */
	struct evconnlistener *ev; /* NULL: it does not listen yet */
	struct event *resume;
	bool is_full, is_short; /* short: the last try failed */
};

/* Of a socket that listens already; it is not closed with this. */
int listening_start(struct listening *l, struct event_base *base, int fd, struct err *e);
void listening_full(struct listening *l, bool is_full); /* true: nobody is accepted until it is false again */
void listening_stop(struct listening *l);               /* nothing to do where it was not started */
