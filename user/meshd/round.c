// SPDX-License-Identifier: Apache-2.0
/*
 * New rules begin a round in the kernel (bailey/guard.h): what a worker has not judged again after ROUND_MS stops
 * there, whatever the worker does. It says with each connection in which round it judged it; only the parent says which
 * it is.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parent.h"

#define ROUND_MS 60
#define WATCH_S  1

static bool ask(const struct md_parent *p, struct by_leg_state *st)
{
	socklen_t len = sizeof(*st);

	return p->guard.fd >= 0 && getsockopt(p->guard.fd, BY_LEG_LEVEL, BY_LEG_ASK, st, &len) == 0;
}

void md_round_begin(struct md_parent *p)
{
	struct by_leg_state st;
	uint32_t ms = ROUND_MS;

	if (p->guard.fd >= 0 && setsockopt(p->guard.fd, BY_LEG_LEVEL, BY_LEG_ROUND, &ms, sizeof(ms)) == 0 &&
	    ask(p, &st))
		p->guard.round = st.round;
}

void md_round_send(struct md_parent *p, struct md_worker *w)
{
	struct md_number m = { .n = p->guard.round };

	if (w->proc.ipc)
		ipc_send(w->proc.ipc, MD_ROUND, &m, sizeof(m), -1);
}

/* A daemon came, or somebody else in the same cgroup began one. What the workers have are the rules of now. */
static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct md_parent *p = arg;
	struct by_leg_state st;

	(void)fd, (void)what;
	if (p->is_draining || !ask(p, &st) || st.round == p->guard.round)
		return;
	p->guard.round = st.round;
	for (uint32_t i = 0; i < p->conf.workers; i++)
		md_round_send(p, &p->worker[i]);
}

int md_round_open(struct md_parent *p, struct err *e)
{
	struct timeval each = { .tv_sec = WATCH_S };
	struct by_leg_state st;

	p->guard.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	p->guard.watch = event_new(p->base, -1, EV_PERSIST, on_watch, p);
	if (p->guard.fd < 0 || !p->guard.watch || event_add(p->guard.watch, &each) < 0)
		return err_at(e, -ENOMEM, "guard", "no socket or timer");
	if (ask(p, &st))
		p->guard.round = st.round;
	return 0;
}

void md_round_close(struct md_parent *p)
{
	if (p->guard.watch)
		event_free(p->guard.watch);
	if (p->guard.fd >= 0)
		close(p->guard.fd);
}
