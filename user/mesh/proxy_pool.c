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

#define FAILED_MS 10000 /* an address that did not answer is dialled after the others for so long */

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
	TAILQ_INIT(&up->dialling);
	TAILQ_INIT(&up->sessions);
	TAILQ_INSERT_TAIL(&mp->upstreams, up, link);
	return up;
}

void *mp_upstream_data(const struct mp_upstream *up)
{
	return up->conf.data;
}

const struct mp_upstream_conf *mp_upstream_conf_of(const struct mp_upstream *up)
{
	return &up->conf;
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
	h2_pool_close(up);
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

/* The latest that served the same inbound peer: what one peer left in a connection is never another's to find. */
struct conn *pool_take(struct mp_upstream *up, struct mp_peer *owner, bool must_live)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&up->idle); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->owner != owner && !up->conf.allow_shared)
			continue;
		if (peer_ends_by(c->peer, time(NULL) + MP_LAST_S) || (must_live && conn_is_dead(c))) {
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
	if (c->stream || up->is_dropped || up->conf.max_idle == 0 || c->mp->is_draining || c->is_eof || c->is_broken ||
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
	int64_t soon_s = time(NULL) + MP_LAST_S;
	struct mp_upstream *up, *next;
	struct conn *c, *later;

	for (up = TAILQ_FIRST(&mp->upstreams); up; up = next) {
		upstream_ref(up);
		for (c = TAILQ_FIRST(&up->idle); c; c = later) {
			later = TAILQ_NEXT(c, link);
			if (mp->now_ms - c->since_ms >= up->conf.idle_ms || peer_ends_by(c->peer, soon_s) ||
			    peer_ends_by(c->owner, soon_s))
				pool_free(c);
		}
		h2_pool_sweep(up);
		next = TAILQ_NEXT(up, link);
		upstream_unref(up);
	}
}

/* --- dialling --- */

static int socket_to(const struct mp_upstream *up, unsigned i, struct err *e)
{
	const struct sockaddr *at = i ? &up->conf.more[i - 1].sa : (const struct sockaddr *)&up->conf.addr;
	socklen_t len = !i                         ? up->conf.addr_len
			: at->sa_family == AF_INET ? sizeof(struct sockaddr_in)
						   : sizeof(struct sockaddr_in6);
	auto_fd int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return err_at(e, -errno, up->conf.name, "no socket: %s", strerror(errno));
	if (at->sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, at, len) < 0 && errno != EINPROGRESS)
		return err_at(e, -errno, up->conf.name, "%s", strerror(errno));
	return take_fd(&fd);
}

/* In their order, but those that failed lately after all others, the longest ago first. -1: none is left. */
static int addr_next(const struct mp_upstream *up, unsigned tried)
{
	int best = -1;

	for (unsigned i = 0; i <= up->conf.n_more; i++) {
		if (tried & 1u << i)
			continue;
		if (!up->failed_ms[i] || up->mp->now_ms - up->failed_ms[i] >= FAILED_MS)
			return (int)i;
		if (best < 0 || up->failed_ms[i] < up->failed_ms[best])
			best = (int)i;
	}
	return best;
}

/* The next that can be dialled at all. */
static int dial_next(struct mp_upstream *up, unsigned *tried, unsigned *addr, struct err *e)
{
	int fd = -1, next;

	while (fd < 0 && (next = addr_next(up, *tried)) >= 0) {
		*e = ERR_INIT;
		*tried |= 1u << next;
		*addr = (unsigned)next;
		fd = socket_to(up, *addr, e);
		if (fd < 0)
			up->failed_ms[*addr] = up->mp->now_ms;
	}
	return fd;
}

struct conn *upstream_connect(struct mp_upstream *up, struct relay *s, struct err *e)
{
	unsigned tried = 0, addr = 0;
	int fd = dial_next(up, &tried, &addr, e);
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
	c->tried = tried;
	c->addr = addr;
	up->mp->counters.upstream_connects++;
	return c;
}

bool upstream_redial(struct conn *c, struct err *e)
{
	struct err why = *e;
	int fd;

	c->up->failed_ms[c->addr] = c->mp->now_ms;
	fd = dial_next(c->up, &c->tried, &c->addr, e);
	if (fd < 0) {
		*e = why;
		return false;
	}
	c->mp->counters.upstream_redials++;
	return conn_reopen(c, fd);
}

void upstream_connected(struct conn *c)
{
	c->up->failed_ms[c->addr] = 0;
}

unsigned upstream_ms(const struct conn *c)
{
	bool has_more = c->phase == PHASE_CONNECT && addr_next(c->up, c->tried) >= 0;

	return has_more ? c->up->conf.connect_ms / (c->up->conf.n_more + 1) : c->up->conf.connect_ms;
}
