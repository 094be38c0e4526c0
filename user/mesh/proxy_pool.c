// SPDX-License-Identifier: Apache-2.0
/* Upstreams, and connections to them that wait for the next request. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy_internal.h"

struct mp_upstream *mp_upstream_new(struct mp *mp, const struct mp_upstream_conf *conf)
{
	struct mp_upstream *up = calloc(1, sizeof(*up));

	if (!up)
		return NULL;
	up->refs = 1;
	up->mp = mp;
	up->conf = *conf;
	if (!up->conf.connect_ms)
		up->conf.connect_ms = mp->conf.connect_ms;
	if (!up->conf.idle_ms)
		up->conf.idle_ms = mp->conf.upstream_idle_ms;
	TAILQ_INIT(&up->idle);
	TAILQ_INSERT_TAIL(&mp->upstreams, up, link);
	return up;
}

void *mp_upstream_data(const struct mp_upstream *up)
{
	return up->conf.data;
}

struct mp_upstream *upstream_ref(struct mp_upstream *up)
{
	up->refs++;
	return up;
}

void upstream_unref(struct mp_upstream *up)
{
	if (!up || --up->refs > 0)
		return;
	if (up->mp)
		TAILQ_REMOVE(&up->mp->upstreams, up, link);
	if (up->conf.free)
		up->conf.free(up->conf.data);
	free(up);
}

static void pool_remove(struct conn *c)
{
	TAILQ_REMOVE(&c->up->idle, c, link);
	c->up->n_idle--;
	c->mp->counters.pooled--;
}

static void pool_free(struct conn *c)
{
	pool_remove(c);
	conn_shut(c);
	conn_free(c);
}

void pool_cut(struct conn *c)
{
	pool_remove(c);
	conn_reset(c);
}

void pool_close(struct mp_upstream *up)
{
	struct mp_upstream *hold = upstream_ref(up);

	while (!TAILQ_EMPTY(&up->idle))
		pool_free(TAILQ_FIRST(&up->idle));
	upstream_unref(hold);
}

void mp_upstream_drop(struct mp_upstream *up)
{
	if (!up)
		return;
	up->is_dropped = true;
	pool_close(up);
	upstream_unref(up);
}

static bool has_expired(const struct mp_peer *peer, int64_t now_s)
{
	return peer && peer->expires_s && peer->expires_s <= now_s;
}

/* The latest that served the same inbound peer: what one peer left in a connection is never another's to find. */
struct conn *pool_take(struct mp_upstream *up, struct mp_peer *owner, bool must_live)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&up->idle); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->owner != owner && !up->conf.allow_shared)
			continue;
		if (has_expired(c->peer, time(NULL)) || (must_live && conn_is_dead(c))) {
			pool_free(c);
			continue;
		}
		pool_remove(c);
		c->was_pooled = true;
		return c;
	}
	return NULL;
}

void pool_put(struct conn *c, struct mp_peer *owner)
{
	struct mp_upstream *up = c->up;

	c->relay = NULL;
	if (up->is_dropped || up->conf.max_idle == 0 || c->mp->is_draining || c->is_eof || c->is_broken ||
	    c->cannot_write || c->has_shut || c->has_rdhup || buf_len(&c->in) || buf_len(&c->out)) {
		conn_shut(c);
		conn_free(c);
		return;
	}
	if (up->n_idle >= up->conf.max_idle)
		pool_free(TAILQ_LAST(&up->idle, conns));
	if (c->owner != owner) {
		mp_peer_unref(c->owner);
		c->owner = mp_peer_ref(owner);
	}
	buf_drop(c->mp, &c->in);
	buf_drop(c->mp, &c->out);
	c->is_streaming = false;
	c->since_ms = c->mp->now_ms;
	TAILQ_INSERT_HEAD(&up->idle, c, link);
	up->n_idle++;
	c->mp->counters.pooled++;
}

/* Tickets may come to one that waits; anything else ends it. */
void pool_event(struct conn *c)
{
	bool is_over = conn_read(c) > 0 || c->is_eof || c->is_broken || c->has_rdhup;

	buf_drop(c->mp, &c->in);
	if (is_over)
		pool_free(c);
}

void pool_sweep(struct mp *mp)
{
	int64_t now_s = time(NULL);
	struct mp_upstream *up, *next;
	struct conn *c, *later;

	for (up = TAILQ_FIRST(&mp->upstreams); up; up = next) {
		upstream_ref(up);
		for (c = TAILQ_FIRST(&up->idle); c; c = later) {
			later = TAILQ_NEXT(c, link);
			if (mp->now_ms - c->since_ms >= up->conf.idle_ms || has_expired(c->peer, now_s) ||
			    has_expired(c->owner, now_s))
				pool_free(c);
		}
		next = TAILQ_NEXT(up, link);
		upstream_unref(up);
	}
}

static int socket_to(const struct mp_upstream *up, struct err *e)
{
	auto_fd int fd = socket(up->conf.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return err_at(e, -errno, up->conf.name, "no socket: %s", strerror(errno));
	if (up->conf.addr.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)&up->conf.addr, up->conf.addr_len) < 0 && errno != EINPROGRESS)
		return err_at(e, -errno, up->conf.name, "%s", strerror(errno));
	return take_fd(&fd);
}

struct conn *upstream_connect(struct mp_upstream *up, struct relay *s, struct err *e)
{
	int fd = socket_to(up, e);
	struct conn *c;

	if (fd < 0)
		return NULL;
	c = conn_new(up->mp, fd, s);
	if (!c) {
		err_at(e, -ENOMEM, up->conf.name, "no memory for a connection");
		return NULL;
	}
	c->up = upstream_ref(up);
	c->owner = mp_peer_ref(s->in->peer);
	c->phase = PHASE_CONNECT;
	up->mp->counters.upstream_connects++;
	return c;
}
