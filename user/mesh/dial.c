// SPDX-License-Identifier: Apache-2.0
/* Whom we dial and when again, who dials us and how many at once. */
#include <errno.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define RETRY_MAX_S 60

/* Dialled sessions count, too, and are never put off: there may be more than the limit. */
void accept_settle(struct mx *mx)
{
	struct listener *l;

	SLIST_FOREACH(l, &mx->listeners, link)
	{
		listening_full(&l->on, mx->n_sessions >= MX_SESSIONS_MAX);
	}
}

/* 1, 2, 4 .. RETRY_MAX_S seconds. */
static unsigned retry_s(unsigned failures)
{
	unsigned s = failures > 6 ? RETRY_MAX_S : 1u << (failures - 1);

	return s < RETRY_MAX_S ? s : RETRY_MAX_S;
}

void dial_later(struct dial *d, bool went_well)
{
	struct timeval pause = { 0 };

	d->session = NULL;
	d->failures = went_well ? 0 : d->failures + 1;
	pause.tv_sec = went_well ? d->refresh_s : retry_s(d->failures);
	pause.tv_usec = rand() % 500000; /* peers that started together shall not stay together */
	event_add(d->timer, &pause);
}

/* --- listening --- */

static void on_accept(int fd, const struct sockaddr *sa, void *arg)
{
	struct mx *mx = arg;
	struct ip_endpoint peer;

	if (!mx->own || !endpoint_from_sockaddr(&peer, sa)) {
		close(fd);
		return;
	}
	session_new(mx, NULL, fd, &peer);
}

static void listener_free(struct mx *mx, struct listener *l)
{
	SLIST_REMOVE(&mx->listeners, l, listener, link);
	listening_stop(&l->on);
	close(l->fd);
	free(l);
}

int mx_listen(struct mx *mx, int fd, struct err *e)
{
	struct listener *l = calloc(1, sizeof(*l));
	int ret;

	if (!l) {
		close(fd);
		return err_at(e, -ENOMEM, "record exchange", "out of memory");
	}
	l->fd = fd;
	l->on = (struct listening){ .what = "record exchange", .accepted = on_accept, .arg = mx };
	SLIST_INSERT_HEAD(&mx->listeners, l, link);
	ret = listening_start(&l->on, mx->conf.base, fd, e);
	if (ret < 0)
		listener_free(mx, l);
	return ret;
}

/* --- dialling --- */

static void on_dial(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&d->to, &ss);

	(void)fd, (void)what;
	if (d->session || !d->mx->own)
		return;
	d->session = session_new(d->mx, d, -1, &d->to);
	if (!d->session)
		return; /* session_free() has set the timer */
	if (bufferevent_socket_connect(d->session->bev, (struct sockaddr *)&ss, (int)len) < 0)
		session_free(d->session);
}

int mx_dial(struct mx *mx, const struct ip_endpoint *to, unsigned refresh_s, struct err *e)
{
	struct timeval at_once = { 0 };
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return err_at(e, -ENOMEM, "record exchange", "out of memory");
	*d = (struct dial){ .mx = mx, .to = *to, .refresh_s = refresh_s };
	d->timer = evtimer_new(mx->conf.base, on_dial, d);
	if (!d->timer || event_add(d->timer, &at_once) < 0) {
		free(d);
		return err_at(e, -ENOMEM, "record exchange", "out of memory");
	}
	SLIST_INSERT_HEAD(&mx->dials, d, link);
	return 0;
}

/* --- the end --- */

void dials_free(struct mx *mx)
{
	struct dial *d;

	while ((d = SLIST_FIRST(&mx->dials))) {
		SLIST_REMOVE_HEAD(&mx->dials, link);
		event_free(d->timer);
		free(d);
	}
}

void listeners_free(struct mx *mx)
{
	while (!SLIST_EMPTY(&mx->listeners))
		listener_free(mx, SLIST_FIRST(&mx->listeners));
}
