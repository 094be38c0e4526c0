// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel is told whose bytes each socket carries (bailey/guard.h), and stops it when that peer or its rule is gone:
 * at once, and while this process does something else, or nothing. The engine finds out afterwards and closes it.
 *
 * An application's connection of HTTP/2 may have streams to several peers. While all that is on it is of one, it is
 * told as that one's; else what they have in common, down to nothing but the round, which the mesh's parent begins for
 * a peer that is gone, too. One that had waiting bytes when a stream was cut of it is cut whole: they may be that
 * stream's.
 */
#include <errno.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bailey/event.h"
#include "base/addr.h"
#include "proxy_internal.h"

static bool ask(int fd, struct by_leg_state *st)
{
	socklen_t len = sizeof(*st);

	return getsockopt(fd, BY_LEG_LEVEL, BY_LEG_ASK, st, &len) == 0 && len == sizeof(*st);
}

/* Programs that have not heard this of the engine's own socket have heard nothing of any. */
static void mark(struct mp *mp)
{
	const struct by_leg_set nobody = { 0 };

	setsockopt(mp->guard.fd, BY_LEG_LEVEL, BY_LEG_SET, &nobody, sizeof(nobody));
}

void guard_open(struct mp *mp)
{
	struct by_leg_state st;

	mp->guard.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mp->guard.is_there = mp->conf.ops.leg && mp->guard.fd >= 0 && ask(mp->guard.fd, &st);
	if (!mp->guard.is_there)
		return;
	mp->guard.gen = st.gen;
	mark(mp);
}

void guard_forget(struct conn *c)
{
	c->mp->counters.legs -= c->has_leg;
	c->has_leg = false;
}

/* --- telling ----------------------------------------------------------------------------------------------- */

/* False: the kernel knows that this node is gone, or can not remember. */
static bool tell(struct conn *c, const struct by_leg_set *leg, bool for_life)
{
	struct by_leg_set set = *leg;

	if (!c || c->stream)
		return true;
	set.is_for_life = for_life;
	set.round = c->mp->guard.round;
	if (c->has_leg && memcmp(&c->leg, &set, sizeof(set)) == 0)
		return true;
	if (setsockopt(c->fd, BY_LEG_LEVEL, BY_LEG_SET, &set, sizeof(set)) < 0) {
		c->mp->counters.guard_missed++;
		return errno != ENOENT && errno != EPERM && errno != ENOMEM; /* others: nobody answers on it */
	}
	c->mp->counters.legs += !c->has_leg;
	c->has_leg = true;
	c->leg = set;
	return true;
}

static void clear(struct conn *c)
{
	if (setsockopt(c->fd, BY_LEG_LEVEL, BY_LEG_CLEAR, &(int){ 0 }, sizeof(int)) == 0)
		guard_forget(c);
}

/* Written, and not known to have arrived. */
static bool has_waiting(const struct conn *c)
{
	int queued = 0;

	return buf_len(&c->out) || ioctl(c->fd, SIOCOUTQ, &queued) < 0 || queued;
}

/* Of the connection with the peer, which is asked about once. */
static bool leg_of(const struct relay *s, struct conn *c, struct by_leg_set *leg)
{
	struct conn *socket = h2_socket(c);

	*leg = (struct by_leg_set){ 0 };
	if (!c->peer || !socket)
		return false;
	if (socket->has_leg) {
		*leg = socket->leg;
		return true;
	}
	return c->mp->conf.ops.leg(c->peer, c->up, s ? s->listener->conf.data : NULL, s ? &s->from.sa : NULL, leg,
				   c->mp->conf.arg);
}

/* --- an application's connection of HTTP/2 --- */

static bool is_same_node(const struct by_leg_set *a, const struct by_leg_set *b)
{
	return addr_equal(&a->addr, &b->addr) && memcmp(a->instance_id, b->instance_id, sizeof(a->instance_id)) == 0;
}

static bool is_same_leg(const struct by_leg_set *a, const struct by_leg_set *b)
{
	return is_same_node(a, b) && a->port == b->port && a->dir == b->dir;
}

/* What both have in common: the node, or nothing. */
static void leg_join(struct by_leg_set *leg, const struct by_leg_set *other)
{
	if (is_same_leg(leg, other))
		return;
	if (is_same_node(leg, other))
		leg->port = 0, leg->dir = 0;
	else
		*leg = (struct by_leg_set){ 0 };
}

struct joining {
	struct by_leg_set *leg;
	const struct by_leg_set *before;
};

static void join_stream(struct relay *s, void *arg)
{
	const struct conn *out = s && s->out ? h2_socket(s->out) : NULL;
	struct joining *j = arg;

	if (!s) /* its relay is gone, its bytes are not */
		leg_join(j->leg, j->before);
	else if (out && out->peer && out->has_leg)
		leg_join(j->leg, &out->leg);
}

/* What a socket was stopped for is not let go for the sake of others. */
static bool is_stopped(const struct conn *c)
{
	struct by_leg_state st;

	return ask(c->fd, &st) && st.is_told && st.reason != BY_DROP_NONE && st.reason != BY_DROP_RELAY_STALE;
}

static bool tell_shared(struct conn *c, const struct by_leg_set *leg)
{
	struct by_leg_set all = *leg;
	struct joining j = { &all, &c->leg };

	if (!c->has_leg || is_same_leg(&c->leg, leg))
		return tell(c, leg, false);
	h2_each_relay(c, join_stream, &j);
	if (has_waiting(c)) {
		leg_join(&all, &c->leg);
		if (!is_same_leg(&c->leg, &all) && is_stopped(c))
			return false;
	}
	return tell(c, &all, false);
}

static bool tell_application(struct relay *s, const struct by_leg_set *leg)
{
	struct conn *socket = h2_socket(s->in);

	return s->in->stream ? !socket || tell_shared(socket, leg) : tell(s->in, leg, s->is_tunnel_route);
}

/* --- both ends of a relay --- */

bool guard_relay(struct relay *s)
{
	struct by_leg_set leg;
	bool ok = h2_socket(s->in); /* who came is gone with it: what goes on of his is still told as his */

	if (!s->mp->guard.is_there)
		return true;
	if (leg_of(s, s->in, &leg)) {
		ok = tell(s->in, &leg, true);
		if (s->out && !s->out->peer)
			ok &= tell(h2_socket(s->out), &leg, s->is_tunnel_route);
	}
	if (s->out && leg_of(s, s->out, &leg)) {
		ok &= tell(s->out, &leg, true);
		if (!s->in->peer)
			ok &= tell_application(s, &leg);
	}
	return ok;
}

bool guard_is_same(struct conn *socket, struct relay *s)
{
	const struct by_leg_set *a = &socket->leg, *b;
	const struct conn *in = h2_socket(s->in);

	if (socket->peer || !in || !in->peer || !socket->has_leg || !in->has_leg)
		return true;
	b = &in->leg;
	return addr_equal(&a->addr, &b->addr) && a->port == b->port && a->dir == b->dir;
}

void guard_gone(struct relay *s, void *arg)
{
	struct conn *socket = s && s->in->stream ? h2_socket(s->in) : NULL;

	(void)arg;
	if (socket)
		socket->has_gone = true;
}

/* --- all that there are ------------------------------------------------------------------------------------- */

/* s NULL: pooled, or a session's. True: it is to be cut. */
typedef bool (*leg_fn)(struct relay *s, struct conn *c);

struct walk {
	leg_fn fn;
	unsigned n;
};

static void walk_session(struct conn *socket, void *arg)
{
	struct walk *w = arg;

	if (!w->fn(NULL, socket))
		return;
	h2_each_relay(socket, guard_gone, NULL);
	conn_reset(socket);
	w->n++;
}

static void walk_pools(struct mp *mp, struct walk *w)
{
	struct mp_upstream *up, *later;
	struct conn *c, *next;

	for (up = TAILQ_FIRST(&mp->upstreams); up; up = later) {
		upstream_ref(up); /* what is cut may be the last that holds it */
		for (c = TAILQ_FIRST(&up->idle); c; c = next) {
			next = TAILQ_NEXT(c, link);
			if (!w->fn(NULL, c))
				continue;
			pool_cut(c);
			w->n++;
		}
		h2_each(up, walk_session, w);
		later = TAILQ_NEXT(up, link);
		upstream_unref(up);
	}
}

static unsigned walk(struct mp *mp, leg_fn fn)
{
	struct walk w = { .fn = fn };
	struct relay *s;

	mp->cursor = TAILQ_FIRST(&mp->relays);
	while ((s = mp->cursor)) {
		mp->cursor = TAILQ_NEXT(s, link);
		if (!fn(s, s->in) && (!s->out || !fn(s, s->out)))
			continue;
		guard_gone(s, NULL);
		relay_free(s, true);
		w.n++;
	}
	walk_pools(mp, &w);
	mp->counters.cuts += w.n;
	return w.n;
}

/* An application's connection between two requests: what it was told for is over. */
static bool is_left(const struct relay *s, const struct conn *c)
{
	return s && c == s->in && !c->peer && !h2_streams(c) && (!s->out || !s->out->peer);
}

/* --- after changes ------------------------------------------------------------------------------------------ */

/* Of HTTP/2, none of its streams is left, and what waits in the kernel may be of one that was cut: it is not sent. */
static bool is_deserted(const struct conn *c)
{
	struct relay *s;

	if (!c->has_cut || !has_waiting(c))
		return false;
	TAILQ_FOREACH(s, &c->mp->relays, link)
	if ((s->in->stream && h2_socket(s->in) == c) || (s->out && s->out->stream && h2_socket(s->out) == c))
		return false;
	return true;
}

/* An application's, of which a stream was cut since the round before. */
static bool is_tainted(struct conn *c)
{
	bool had_gone = c->has_gone;

	c->has_gone = false;
	return had_gone && !c->peer && !c->up && has_waiting(c);
}

static bool renew(struct relay *s, struct conn *c)
{
	struct by_leg_set leg;

	if (c->fd < 0 && !c->stream)
		return false;
	if (is_deserted(c) || is_tainted(c))
		return true;
	if (c->has_leg && is_left(s, c)) {
		clear(c);
		return false;
	}
	if (c->has_leg)
		return !tell(c, &c->leg, c->leg.is_for_life);
	if (s && c == s->in)
		return c->phase == PHASE_OPEN && !guard_relay(s);
	return !s && leg_of(NULL, c, &leg) && !tell(c, &leg, true);
}

void mp_renew(struct mp *mp, uint32_t round)
{
	mp->guard.round = round;
	if (mp->guard.is_there)
		walk(mp, renew);
}

static bool has_stopped(struct relay *s, struct conn *c)
{
	struct by_leg_state st;

	if (!c->has_leg || !ask(c->fd, &st))
		return false;
	if (!st.is_told) { /* the programs went and came */
		guard_forget(c);
		return !is_left(s, c) && !tell(c, &c->leg, c->leg.is_for_life);
	}
	if (st.reason == BY_DROP_NONE || st.reason == BY_DROP_RELAY_STALE) /* stale: its rules are on their way */
		return false;
	if (!is_left(s, c) || has_waiting(c))
		return true;
	clear(c);
	return false;
}

static bool forget(struct relay *s, struct conn *c)
{
	(void)s;
	guard_forget(c);
	return false;
}

void guard_sweep(struct mp *mp)
{
	struct by_leg_state st = { 0 };
	bool was_there = mp->guard.is_there;

	mp->guard.is_there = mp->conf.ops.leg && mp->guard.fd >= 0 && ask(mp->guard.fd, &st);
	mp->counters.guarded = mp->guard.is_there;
	if (was_there && !st.is_told)
		walk(mp, forget);
	if (mp->guard.is_there && !st.is_told)
		mark(mp);
	if (mp->guard.is_there && (!was_there || !st.is_told))
		walk(mp, renew);
	else if (st.gen != mp->guard.gen)
		mp->counters.guard_cuts += walk(mp, has_stopped);
	mp->guard.gen = st.gen;
}
