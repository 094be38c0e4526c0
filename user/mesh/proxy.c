// SPDX-License-Identifier: Apache-2.0
/* The engine's life: listeners, clocks, drain. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy_internal.h"

#define ACCEPTS_A_TURN 64
#define DRAIN_IDLE_MS  2000 /* who is kept alive may have sent a request already, or be about to */

/* --- listeners --- */

static void accept_pause(struct mp *mp)
{
	struct mp_listener *l;

	mp->counters.refused_full++;
	TAILQ_FOREACH(l, &mp->listeners, link)
	if (l->ev && !l->is_paused) {
		event_del(l->ev);
		l->is_paused = true;
	}
}

void accept_resume(struct mp *mp)
{
	struct mp_listener *l;

	if (mp_is_full(mp))
		return;
	TAILQ_FOREACH(l, &mp->listeners, link)
	if (l->ev && l->is_paused) {
		event_add(l->ev, NULL);
		l->is_paused = false;
	}
}

/* At the limit the kernel's queue holds who comes; the next connection that ends, or the sweep, lets them in. */
static void on_accept(int fd, short what, void *arg)
{
	struct mp_listener *l = arg;
	struct mp *mp = l->mp;

	(void)what;
	mp_clock(mp);
	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		int in;

		if (mp_is_full(mp)) {
			accept_pause(mp);
			return;
		}
		in = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (in < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				accept_pause(mp);
			return;
		}
		relay_new(l, in);
	}
}

static void listener_stop(struct mp_listener *l)
{
	if (!l->ev)
		return;
	event_free(l->ev);
	l->ev = NULL;
	close(l->fd);
	l->fd = -1;
}

int mp_listen(struct mp *mp, int fd, const struct mp_listener_conf *conf, struct mp_listener **listener, struct err *e)
{
	auto_fd int own = fd;
	struct mp_listener *l;
	int one = 1;

	if (listen(own, SOMAXCONN) < 0 || evutil_make_socket_nonblocking(own) < 0)
		return err_at(e, -errno, conf->name, "can not listen: %s", strerror(errno));
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_at(e, -ENOMEM, conf->name, "no memory");
	l->refs = 1;
	l->mp = mp;
	l->conf = *conf;
	l->ev = event_new(mp->conf.base, own, EV_READ | EV_PERSIST, on_accept, l);
	if (!l->ev || event_add(l->ev, NULL) < 0) {
		if (l->ev)
			event_free(l->ev);
		free(l);
		return err_at(e, -ENOMEM, conf->name, "no event for the listener");
	}
	/* what is accepted inherits it; other families refuse it, which is no matter */
	setsockopt(own, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	l->fd = take_fd(&own);
	TAILQ_INSERT_TAIL(&mp->listeners, l, link);
	if (listener)
		*listener = l;
	return 0;
}

void listener_unref(struct mp_listener *l)
{
	if (--l->refs == 0)
		free(l);
}

void mp_listener_close(struct mp_listener *l)
{
	listener_stop(l);
	TAILQ_REMOVE(&l->mp->listeners, l, link);
	listener_unref(l);
}

int mp_adopt(struct mp *mp, struct mp_listener *l, int fd, struct err *e)
{
	int one = 1;

	if (mp->is_draining || mp_is_full(mp)) {
		close(fd);
		return err_at(e, -EBUSY, l->conf.name, "no more connections");
	}
	mp_clock(mp);
	evutil_make_socket_nonblocking(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return relay_new(l, fd) ? 0 : err_at(e, -ENOMEM, l->conf.name, "the connection could not be taken over");
}

/* --- clocks --- */

static void sweep_relays(struct mp *mp)
{
	int64_t now_s = time(NULL);
	struct relay *s;

	mp->cursor = TAILQ_FIRST(&mp->relays);
	while ((s = mp->cursor)) {
		mp->cursor = TAILQ_NEXT(s, link);
		if (peer_ends_by(s->in->peer, now_s) || (s->out && peer_ends_by(s->out->peer, now_s))) {
			mp->counters.cuts++;
			relay_free(s, true);
		} else if (s->deadline_ms && mp->now_ms >= s->deadline_ms) {
			relay_late(s);
		}
	}
}

void mp_wake(struct mp *mp)
{
	event_active(mp->sweep, EV_TIMEOUT, 0);
}

static void cut_all(struct mp *mp)
{
	struct relay *s, *next;

	for (s = TAILQ_FIRST(&mp->relays); s; s = next) {
		next = TAILQ_NEXT(s, link);
		relay_free(s, true);
	}
}

static void on_sweep(int fd, short what, void *arg)
{
	struct mp *mp = arg;
	void (*done)(void *arg);

	(void)fd, (void)what;
	mp_clock(mp);
	sweep_relays(mp);
	pool_sweep(mp);
	guard_sweep(mp);
	accept_resume(mp);
	if (!mp->is_draining)
		return;
	if (mp->now_ms >= mp->drain_ms)
		cut_all(mp);
	done = mp->drained;
	if (!done || !TAILQ_EMPTY(&mp->relays))
		return;
	mp->drained = NULL;
	done(mp->drained_arg); /* may free the engine */
}

/* Often enough for the shortest of the clocks, and no oftener than four times a second for the usual ones. */
static struct timeval sweep_every(const struct mp_conf *c)
{
	const unsigned clocks[] = { c->head_ms, c->connect_ms,   c->response_ms,
				    c->idle_ms, c->keepalive_ms, c->upstream_idle_ms };
	unsigned ms = 1000;

	for (size_t i = 0; i < ARRAY_LEN(clocks); i++)
		if (clocks[i] / 4 < ms)
			ms = clocks[i] / 4;
	ms = ms < 250 ? ms : 250;
	ms = ms > 5 ? ms : 5;
	return (struct timeval){ .tv_usec = (suseconds_t)ms * 1000 };
}

/* --- the engine --- */

static void default_to(unsigned *value, unsigned normal)
{
	if (!*value)
		*value = normal;
}

static int conf_complete(struct mp_conf *c, struct err *e)
{
	default_to(&c->max_connections, 8192);
	default_to(&c->max_head, 16384);
	default_to(&c->max_fields, 100);
	default_to(&c->buffer, BUFFER_BYTES);
	default_to(&c->bulk, c->buffer);
	default_to(&c->ktls_after, 1 << 20);
	default_to(&c->sockmap_bound, 65536);
	default_to(&c->head_ms, 10000);
	default_to(&c->connect_ms, 5000);
	default_to(&c->response_ms, 60000);
	default_to(&c->idle_ms, 300000);
	default_to(&c->keepalive_ms, 75000);
	default_to(&c->upstream_idle_ms, 60000);
	if (c->max_head > HTTP_HEAD_MAX || c->max_fields > HTTP_FIELDS_MAX)
		return err_at(e, -EINVAL, "mesh", "a head has at most %d bytes and %d fields", HTTP_HEAD_MAX,
			      HTTP_FIELDS_MAX);
	if (c->buffer < c->max_head || c->buffer < 2 * HTTP_LINE_MAX)
		return err_at(e, -EINVAL, "mesh", "a buffer holds a head and %d bytes at least", 2 * HTTP_LINE_MAX);
	if (!(event_base_get_features(c->base) & EV_FEATURE_ET) ||
	    !(event_base_get_features(c->base) & EV_FEATURE_EARLY_CLOSE))
		return err_at(e, -ENOTSUP, "mesh", "the event base is not epoll's");
	return 0;
}

int mp_new(const struct mp_conf *conf, struct mp **out, struct err *e)
{
	struct mp_conf full = *conf;
	struct timeval every;
	struct mp *mp;
	int rc = conf_complete(&full, e);

	if (rc < 0)
		return rc;
	mp = calloc(1, sizeof(*mp));
	if (!mp)
		return err_at(e, -ENOMEM, "mesh", "no memory");
	mp->conf = full;
	mp->limits = (struct http_limits){ .max_head = full.max_head, .max_fields = full.max_fields };
	TAILQ_INIT(&mp->relays);
	TAILQ_INIT(&mp->listeners);
	TAILQ_INIT(&mp->upstreams);
	mp_clock(mp);
	every = sweep_every(&full);
	mp->sweep = event_new(full.base, -1, EV_PERSIST, on_sweep, mp);
	if (!mp->sweep || event_add(mp->sweep, &every) < 0) {
		if (mp->sweep)
			event_free(mp->sweep);
		free(mp);
		return err_at(e, -ENOMEM, "mesh", "no timer");
	}
	guard_open(mp);
	due_init(mp);
	*out = mp;
	return 0;
}

static void kept_free(struct kept *k)
{
	while (k) {
		struct kept *next = k->next;

		free(k);
		k = next;
	}
}

void mp_free(struct mp *mp)
{
	struct mp_upstream *up;

	if (!mp)
		return;
	mp->is_draining = true; /* nothing is pooled any more */
	mp->drained = NULL;
	while (!TAILQ_EMPTY(&mp->listeners))
		mp_listener_close(TAILQ_FIRST(&mp->listeners));
	cut_all(mp);
	while ((up = TAILQ_FIRST(&mp->upstreams))) {
		upstream_ref(up);
		pool_close(up);
		h2_pool_cut(up);
		TAILQ_REMOVE(&mp->upstreams, up, link);
		up->mp = NULL;
		upstream_unref(up);
	}
	event_free(mp->sweep);
	event_del(&mp->turn_end);
	kept_free(mp->bufs);
	kept_free(mp->heads);
	splice_fini(mp);
	close_at(&mp->guard.fd);
	free(mp);
}

void mp_drain(struct mp *mp, unsigned within_ms, void (*done)(void *arg), void *arg)
{
	const unsigned idle_ms = within_ms / 4 < DRAIN_IDLE_MS ? within_ms / 4 : DRAIN_IDLE_MS;
	struct relay *s;
	struct mp_listener *l;
	struct mp_upstream *up;

	mp_clock(mp);
	mp->is_draining = true;
	mp->drain_ms = mp->now_ms + within_ms;
	mp->drained = done;
	mp->drained_arg = arg;
	if (mp->conf.keepalive_ms > idle_ms)
		mp->conf.keepalive_ms = idle_ms;
	TAILQ_FOREACH(l, &mp->listeners, link)
	listener_stop(l);
	TAILQ_FOREACH(s, &mp->relays, link)
	if (relay_is_idle(s)) {
		s->deadline_ms = mp->now_ms + mp->conf.keepalive_ms;
	} else if (s->in->session) {
		h2_drain(s->in->session);
		s->deadline_ms = mp->now_ms; /* the next sweep goes on */
	}
	TAILQ_FOREACH(up, &mp->upstreams, link)
	pool_close(up);
	mp_wake(mp);
}
