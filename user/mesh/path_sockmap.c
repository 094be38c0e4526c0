// SPDX-License-Identifier: Apache-2.0
/*
 * Whole relays that the kernel carries (bpf/relay.bpf.c): TCP without TLS on either side, both ends on this machine. A
 * relay is joined before its first byte, or never. What the kernel does not do is done here: the end of a stream is
 * passed on behind its last byte, and a direction that left at its bound is copied once all that was handed over is
 * out.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/relay.h"
#include "proxy_internal.h"

#define AGAIN_US 1000 /* what was handed over is still on its way */

#define CLOSED 7 /* tcpi_state */

struct joined {
	uint64_t cookie[2]; /* in, out */
	uint64_t seen[2];   /* bytes that were handed over from each */
	struct event again;
};

/* --- joining --- */

static bool same_host(int fd)
{
	struct sockaddr_storage own = { 0 }, peer = { 0 };
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);

	if (getsockname(fd, (struct sockaddr *)&own, &own_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
		return false;
	if (own.ss_family == AF_INET)
		return ((struct sockaddr_in *)&own)->sin_addr.s_addr == ((struct sockaddr_in *)&peer)->sin_addr.s_addr;
	return own.ss_family == AF_INET6 &&
	       memcmp(&((struct sockaddr_in6 *)&own)->sin6_addr, &((struct sockaddr_in6 *)&peer)->sin6_addr, 16) == 0;
}

static bool info_of(int fd, struct tcp_info *ti)
{
	socklen_t len = sizeof(*ti);

	memset(ti, 0, sizeof(*ti));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ti, &len) == 0;
}

static bool may_join(const struct relay *s)
{
	const struct mp_conf *conf = &s->mp->conf;

	return conf->sockmap && !(conf->no_paths & 1u << MP_PATH_SOCKMAP) && s->proto == MP_TCP && !s->in->ssl &&
	       !s->out->ssl && !buf_len(&s->in->in) && !buf_len(&s->out->in) && same_host(s->in->fd) &&
	       same_host(s->out->fd);
}

static void on_again(int fd, short what, void *arg)
{
	struct relay *s = arg;

	(void)fd, (void)what;
	mp_clock(s->mp);
	relay_run(s);
}

void sockmap_begin(struct relay *s)
{
	struct joined *j = may_join(s) ? calloc(1, sizeof(*j)) : NULL;

	if (!j)
		return;
	if (event_assign(&j->again, s->mp->conf.base, -1, 0, on_again, s) < 0 ||
	    dp_relay_join(s->mp->conf.sockmap, s->in->fd, s->out->fd, s->mp->conf.sockmap_bound, j->cookie) < 0) {
		free(j);
		return;
	}
	s->joined = j;
	s->up.is_joined = s->down.is_joined = true;
	s->mp->counters.sockmap_joined++;
}

void sockmap_drop(struct relay *s, bool reset)
{
	struct joined *j = s->joined;

	if (!j)
		return;
	s->joined = NULL;
	event_del(&j->again);
	if (reset)
		dp_relay_cut(s->mp->conf.sockmap, j->cookie);
	dp_relay_leave(s->mp->conf.sockmap, j->cookie);
	free(j);
}

/* --- watching --- */

static enum moved look_again(struct relay *s)
{
	const struct timeval soon = { .tv_usec = AGAIN_US };

	event_add(&s->joined->again, &soon);
	return MOVED_WAIT;
}

/* A stream that ended in good order is closed, too, and may have bytes left: only an error says that it was cut. */
static bool was_cut(int fd, const struct tcp_info *ti)
{
	socklen_t len = sizeof(int);
	int error = 0;

	return ti->tcpi_state == CLOSED && (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error);
}

/* All that was handed over has been given to the other socket's TCP: what is written there comes behind it. */
static bool is_out(const struct tcp_info *dst, uint64_t moved)
{
	return dst->tcpi_bytes_sent - dst->tcpi_bytes_retrans + dst->tcpi_notsent_bytes >= moved;
}

static void count(struct relay *s, struct conn *src, const struct by_relay *dir)
{
	uint64_t *seen = &s->joined->seen[src == s->out];

	flow_moved(s, src, (size_t)(dir->moved - *seen));
	s->mp->counters.bytes_sockmap += dir->moved - *seen;
	*seen = dir->moved;
}

/* ALL: the direction is to be copied from now on. */
enum moved sockmap_watch(struct relay *s, struct conn *src, struct conn *dst, struct flow *f)
{
	const uint64_t *cookie = &s->joined->cookie[src == s->out];
	struct tcp_info from, to;
	struct by_relay dir;

	/* in this order: what it knows of the source is at least what the program has seen */
	if (dp_relay_read(s->mp->conf.sockmap, *cookie, &dir) < 0 || !info_of(src->fd, &from) ||
	    !info_of(dst->fd, &to) || was_cut(src->fd, &from))
		return MOVED_SRC;
	count(s, src, &dir);
	if (to.tcpi_state == CLOSED)
		return MOVED_DST;
	if (dir.state == BY_RELAY_ON && !src->has_rdhup)
		return MOVED_WAIT;
	if (dir.state == BY_RELAY_ON && dir.moved + 1 < from.tcpi_bytes_received) { /* the end counts as one */
		dp_relay_kick(src->fd);
		return look_again(s);
	}
	if (!is_out(&to, dir.moved))
		return look_again(s);
	s->mp->counters.sockmap_left += dir.state == BY_RELAY_LEFT;
	f->is_joined = false;
	src->is_drained = false;
	return MOVED_ALL;
}

/* For lists, and for the clock: nothing told the engine of these bytes. */
void sockmap_count(struct relay *s)
{
	struct by_relay dir;

	for (int i = 0; i < 2 && s->joined; i++)
		if (dp_relay_read(s->mp->conf.sockmap, s->joined->cookie[i], &dir) == 0)
			count(s, i ? s->out : s->in, &dir);
}
