// SPDX-License-Identifier: Apache-2.0
#include "listening.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"

#define PAUSE_S 1 /* the socket stays readable: without one the loop would do nothing else */

static void settle(struct listening *l)
{
	if (l->is_full || evtimer_pending(l->resume, NULL))
		evconnlistener_disable(l->ev);
	else
		evconnlistener_enable(l->ev);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	settle(arg);
}

static void on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	struct listening *l = arg;

	(void)ev, (void)len;
	if (l->is_short)
		log_info("%s: accepts again", l->what);
	l->is_short = false;
	l->accepted(fd, from, l->arg);
}

static void on_error(struct evconnlistener *ev, void *arg)
{
	static const struct timeval pause = { .tv_sec = PAUSE_S };
	struct listening *l = arg;
	int code = EVUTIL_SOCKET_ERROR();

	(void)ev;
	l->n_failed++;
	if (!l->is_short)
		log_warn("%s: can not accept, tries again each second: %s", l->what, strerror(code));
	l->is_short = true;
	event_add(l->resume, &pause);
	settle(l);
}

int listening_start(struct listening *l, struct event_base *base, int fd, struct err *e)
{
	l->resume = evtimer_new(base, on_resume, l);
	/* backlog 0: it listens already */
	l->ev = l->resume ? evconnlistener_new(base, on_accept, l, LEV_OPT_CLOSE_ON_EXEC, 0, fd) : NULL;
	if (!l->ev) {
		listening_stop(l);
		return err_at(e, -ENOMEM, l->what, "out of memory");
	}
	evconnlistener_set_error_cb(l->ev, on_error);
	settle(l);
	return 0;
}

void listening_full(struct listening *l, bool is_full)
{
	l->is_full = is_full;
	if (l->ev)
		settle(l);
}

void listening_stop(struct listening *l)
{
	if (l->ev)
		evconnlistener_free(take_ptr(l->ev));
	if (l->resume)
		event_free(take_ptr(l->resume));
}
