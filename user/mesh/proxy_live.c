// SPDX-License-Identifier: Apache-2.0
/* What is alive, for lists, counters and for cutting it. */
#include <stdlib.h>
#include <time.h>

#include "proxy_internal.h"

/* --- peers and errors --- */

struct mp_peer *mp_peer_ref(struct mp_peer *peer)
{
	if (peer)
		peer->refs++;
	return peer;
}

void mp_peer_unref(struct mp_peer *peer)
{
	if (!peer || --peer->refs > 0)
		return;
	if (peer->free)
		peer->free(peer);
	else
		free(peer);
}

int mp_error_status(enum mp_error error)
{
	static const int statuses[] = { 500,
#define X(name, status, type) status,
					MP_ERRORS(X)
#undef X
	};
	return (unsigned)error < MP_ERR_COUNT ? statuses[error] : 500;
}

const char *mp_error_type(enum mp_error error)
{
	static const char *const types[] = { "NONE",
#define X(name, status, type) type,
					     MP_ERRORS(X)
#undef X
	};
	return (unsigned)error < MP_ERR_COUNT ? types[error] : "UNKNOWN";
}

/* --- relays --- */

static enum mp_path path_of(const struct relay *s)
{
	if (s->up.is_joined || s->down.is_joined)
		return MP_PATH_SOCKMAP;
	if (ktls_has(s->in, true) || ktls_has(s->in, false) ||
	    (s->out && (ktls_has(s->out, true) || ktls_has(s->out, false))))
		return MP_PATH_KTLS;
	return s->up.is_bulk || s->up.piped || s->down.is_bulk || s->down.piped ? MP_PATH_SPLICED : MP_PATH_PROXIED;
}

void relay_of(const struct relay *s, struct mp_relay *r)
{
	*r = (struct mp_relay){ .listener = s->listener,
				.listener_data = s->listener->conf.data,
				.listener_name = s->listener->conf.name,
				.upstream_name = s->out ? s->out->up->conf.name : "",
				.up = s->out ? s->out->up : NULL,
				.in = s->in->peer,
				.out = s->out ? s->out->peer : NULL,
				.rule = s->rule,
				.rule_id = s->rule_id,
				.path = path_of(s),
				.from = &s->from.sa,
				.to = s->to.sa.sa_family ? &s->to.sa : NULL,
				.is_active = s->stage >= STAGE_ROUTE && s->stage <= STAGE_TUNNEL,
				.is_tunnel = s->stage == STAGE_TUNNEL,
				.is_stream = s->is_stream,
				.is_session = s->in->session,
				.streams = h2_streams(s->in),
				.age_ms = (uint64_t)(s->mp->now_ms - s->born_ms),
				.idle_ms = (uint64_t)(s->mp->now_ms - s->moved_ms),
				.bytes_up = s->bytes_up,
				.bytes_down = s->bytes_down,
				.requests = s->requests };
}

static void relay_of_pooled(const struct conn *c, struct mp_relay *r)
{
	*r = (struct mp_relay){ .listener_name = "",
				.upstream_name = c->up->conf.name,
				.up = c->up,
				.in = c->owner,
				.out = c->peer,
				.rule = "",
				.is_pooled = true,
				.is_session = c->session,
				.streams = h2_streams(c),
				.idle_ms = (uint64_t)(c->mp->now_ms - c->since_ms),
				.requests = c->requests };
}

struct walk {
	void (*each)(const struct mp_relay *relay, void *arg);
	bool (*gone)(const struct mp_relay *relay, void *arg);
	void *arg;
	unsigned n;
};

static void show_session(struct conn *socket, void *arg)
{
	struct walk *walk = arg;
	struct mp_relay relay;

	relay_of_pooled(socket, &relay);
	walk->each(&relay, walk->arg);
}

static void cut_session(struct conn *socket, void *arg)
{
	struct walk *walk = arg;
	struct mp_relay relay;

	relay_of_pooled(socket, &relay);
	if (!walk->gone(&relay, walk->arg))
		return;
	conn_reset(socket);
	walk->n++;
}

void mp_each_relay(struct mp *mp, void (*each)(const struct mp_relay *relay, void *arg), void *arg)
{
	struct walk walk = { .each = each, .arg = arg };
	struct mp_upstream *up;
	struct mp_relay relay;
	struct relay *s;
	struct conn *c;

	mp_clock(mp);
	TAILQ_FOREACH(s, &mp->relays, link)
	{
		sockmap_count(s);
		relay_of(s, &relay);
		each(&relay, arg);
	}
	TAILQ_FOREACH(up, &mp->upstreams, link)
	TAILQ_FOREACH(c, &up->idle, link)
	{
		relay_of_pooled(c, &relay);
		each(&relay, arg);
	}
	TAILQ_FOREACH(up, &mp->upstreams, link)
	h2_each(up, show_session, &walk);
}

static unsigned cut_pooled(struct mp *mp, bool (*gone)(const struct mp_relay *relay, void *arg), void *arg)
{
	struct walk walk = { .gone = gone, .arg = arg };
	struct mp_upstream *up, *later;
	struct mp_relay relay;
	struct conn *c, *next;
	unsigned n = 0;

	/* an upstream with idle connections is held by them and by whoever made it, so the list stays as it is */
	TAILQ_FOREACH(up, &mp->upstreams, link)
	for (c = TAILQ_FIRST(&up->idle); c; c = next) {
		next = TAILQ_NEXT(c, link);
		relay_of_pooled(c, &relay);
		if (!gone(&relay, arg))
			continue;
		pool_cut(c);
		n++;
	}
	for (up = TAILQ_FIRST(&mp->upstreams); up; up = later) {
		upstream_ref(up); /* a session may be the last that holds it */
		h2_each(up, cut_session, &walk);
		later = TAILQ_NEXT(up, link);
		upstream_unref(up);
	}
	return n + walk.n;
}

unsigned mp_cut(struct mp *mp, bool (*gone)(const struct mp_relay *relay, void *arg), void *arg)
{
	struct relay *s, *next;
	struct mp_relay relay;
	unsigned n = 0;

	mp_clock(mp);
	for (s = TAILQ_FIRST(&mp->relays); s; s = next) {
		next = TAILQ_NEXT(s, link);
		relay_of(s, &relay);
		if (!gone(&relay, arg))
			continue;
		guard_gone(s, NULL);
		relay_free(s, true);
		n++;
	}
	n += cut_pooled(mp, gone, arg);
	mp->counters.cuts += n;
	return n;
}

void mp_counters(const struct mp *mp, struct mp_counters *counters)
{
	const struct relay *s;

	*counters = mp->counters;
	TAILQ_FOREACH(s, &mp->relays, link)
	counters->active += s->stage >= STAGE_ROUTE && s->stage <= STAGE_TUNNEL;
	counters->buffers_kept = mp->n_bufs;
}
