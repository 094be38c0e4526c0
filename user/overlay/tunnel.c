// SPDX-License-Identifier: Apache-2.0
#include "tunnel.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/listen.h"
#include "base/listening.h"
#include "base/log.h"

#define HEAD         2
#define AT_ONCE      64 /* datagrams, so that one socket does not hold up the others */
#define SENDER_S     30 /* of silence, and somebody else may send: a WireGuard that was started again has another port */
#define AGAIN_S      1  /* between two tries to connect */
#define USER_TIMEOUT 15000 /* ms without an acknowledgement */

struct tunnel {
	struct event_base *base;
	struct ip_endpoint to;
	int udp; /* that listens; -1: TCP does */
	struct event *on_udp;
	struct sockaddr_storage sender; /* to the socket that listens */
	socklen_t sender_len;           /* 0: nobody yet */
	time_t sender_seen, tried;
	LIST_HEAD(links, link) links;
	size_t n_links;
};

struct link {
	LIST_ENTRY(link) next;
	struct tunnel *t;
	struct bufferevent *bev;
	int udp;              /* the listening one, or this link's own, connected */
	struct event *on_udp; /* NULL: the tunnel's */
};

/* --- one connection --- */

static void link_end(struct link *l)
{
	LIST_REMOVE(l, next);
	l->t->n_links--;
	if (l->on_udp) {
		event_free(l->on_udp);
		close(l->udp);
	}
	bufferevent_free(l->bev);
	free(l);
}

/* What does not fit is dropped: a datagram that waits long is worth less than none. */
static void frame_put(struct link *l, const uint8_t *datagram, size_t len)
{
	struct evbuffer *out = bufferevent_get_output(l->bev);
	const uint8_t head[HEAD] = { (uint8_t)(len >> 8), (uint8_t)len };

	if (evbuffer_get_length(out) + HEAD + len > OV_TUNNEL_QUEUE)
		log_limited(LOG_WARN, "tunnel: the connection is slower than what is sent: datagrams are dropped");
	else if (evbuffer_expand(out, HEAD + len) == 0) {
		evbuffer_add(out, head, HEAD);
		evbuffer_add(out, datagram, len);
	}
}

static void datagram_send(const struct link *l, const uint8_t *datagram, size_t len)
{
	const struct tunnel *t = l->t;

	if (l->on_udp)
		send(l->udp, datagram, len, 0); /* nobody there: as on a network */
	else if (t->sender_len)
		sendto(l->udp, datagram, len, 0, (const struct sockaddr *)&t->sender, t->sender_len);
}

static void on_tcp(struct bufferevent *bev, void *arg)
{
	struct link *l = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	uint8_t head[HEAD];

	while (evbuffer_copyout(in, head, HEAD) == HEAD) {
		size_t len = (size_t)head[0] << 8 | head[1];
		const uint8_t *frame;

		if (len > OV_TUNNEL_DATAGRAM) {
			log_limited(LOG_WARN, "tunnel: a connection has a frame of %zu bytes, which no datagram has",
				    len);
			link_end(l);
			return;
		}
		if (evbuffer_get_length(in) < HEAD + len || !(frame = evbuffer_pullup(in, (ssize_t)(HEAD + len))))
			return;
		datagram_send(l, frame + HEAD, len);
		evbuffer_drain(in, HEAD + len);
	}
}

static void on_tcp_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & BEV_EVENT_CONNECTED)
		return;
	log_limited(LOG_INFO, "tunnel: a connection has ended: %s",
		    what & BEV_EVENT_TIMEOUT ? "silence"
		    : what & BEV_EVENT_ERROR ? evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR())
					     : "closed there");
	link_end(arg);
}

/* `fd` is taken over, also when this fails. -1: still to be connected. */
static struct link *link_new(struct tunnel *t, int fd, int udp)
{
	static const struct timeval silence = { .tv_sec = OV_TUNNEL_SILENCE_S };
	struct link *l = calloc(1, sizeof(*l));

	if (l)
		l->bev = bufferevent_socket_new(t->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!l || !l->bev) {
		free(l);
		close_at(&fd);
		return NULL;
	}
	l->t = t;
	l->udp = udp;
	LIST_INSERT_HEAD(&t->links, l, next);
	t->n_links++;
	bufferevent_setcb(l->bev, on_tcp, NULL, on_tcp_event, l);
	bufferevent_setwatermark(l->bev, EV_READ, 0, OV_TUNNEL_QUEUE);
	bufferevent_set_timeouts(l->bev, &silence, NULL);
	bufferevent_enable(l->bev, EV_READ | EV_WRITE);
	return l;
}

static void options_set(int fd)
{
	int one = 1, ms = USER_TIMEOUT;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

static ssize_t datagram_take(int fd, uint8_t buf[static OV_TUNNEL_DATAGRAM], struct sockaddr_storage *from,
			     socklen_t *from_len)
{
	*from_len = sizeof(*from);
	return recvfrom(fd, buf, OV_TUNNEL_DATAGRAM, MSG_DONTWAIT, (struct sockaddr *)from, from_len);
}

/* --- from UDP into one connection --- */

static bool sender_is(struct tunnel *t, const struct sockaddr_storage *from, socklen_t len)
{
	time_t now = clock_s(CLOCK_MONOTONIC);

	if (t->sender_len && (t->sender_len != len || memcmp(&t->sender, from, len) != 0) &&
	    now - t->sender_seen < SENDER_S)
		return false;
	t->sender = *from;
	t->sender_len = len;
	t->sender_seen = now;
	return true;
}

/* NULL: not now, and the datagram is lost. */
static struct link *link_wanted(struct tunnel *t)
{
	struct link *l = LIST_FIRST(&t->links);
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&t->to, &ss);
	time_t now = clock_s(CLOCK_MONOTONIC);

	if (l || now - t->tried < AGAIN_S)
		return l;
	t->tried = now;
	l = link_new(t, -1, t->udp);
	if (!l)
		return NULL;
	if (bufferevent_socket_connect(l->bev, (struct sockaddr *)&ss, (int)len) < 0)
		return LIST_FIRST(&t->links); /* on_tcp_event may have ended it */
	options_set(bufferevent_getfd(l->bev));
	return l;
}

static void on_listener_udp(evutil_socket_t fd, short what, void *arg)
{
	struct tunnel *t = arg;
	struct sockaddr_storage from;
	uint8_t buf[OV_TUNNEL_DATAGRAM];
	socklen_t from_len;
	ssize_t n = 0;

	(void)what;
	for (int i = 0; i < AT_ONCE && (n = datagram_take(fd, buf, &from, &from_len)) >= 0; i++) {
		struct link *l = n && sender_is(t, &from, from_len) ? link_wanted(t) : NULL;

		if (l)
			frame_put(l, buf, (size_t)n);
	}
}

/* --- from connections, each to a socket of its own --- */

static void on_link_udp(evutil_socket_t fd, short what, void *arg)
{
	struct link *l = arg;
	struct sockaddr_storage from;
	uint8_t buf[OV_TUNNEL_DATAGRAM];
	socklen_t from_len;
	ssize_t n;

	(void)what;
	for (int i = 0; i < AT_ONCE && (n = datagram_take(fd, buf, &from, &from_len)) >= 0; i++)
		if (n)
			frame_put(l, buf, (size_t)n);
}

static int udp_connected(const struct ip_endpoint *to)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&ss, len) < 0)
		close_at(&fd);
	return fd;
}

static void on_accept(int fd, const struct sockaddr *from, void *arg)
{
	struct tunnel *t = arg;
	int udp = t->n_links < OV_TUNNEL_LINKS ? udp_connected(&t->to) : -1;
	struct link *l;

	(void)from;
	if (udp < 0) {
		log_limited(LOG_WARN, "tunnel: a connection was refused: %zu are open", t->n_links);
		close(fd);
		return;
	}
	options_set(fd);
	l = link_new(t, fd, udp);
	if (l)
		l->on_udp = event_new(t->base, udp, EV_READ | EV_PERSIST, on_link_udp, l);
	if (l && l->on_udp) {
		event_add(l->on_udp, NULL);
		return;
	}
	close(udp);
	if (l)
		link_end(l);
}

/* --- the whole --- */

static void on_stop(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what;
	event_base_loopbreak(arg);
}

static int loop(struct tunnel *t, const char *way, const struct ip_endpoint *at, struct err *e)
{
	struct event *stops[] = { evsignal_new(t->base, SIGTERM, on_stop, t->base),
				  evsignal_new(t->base, SIGINT, on_stop, t->base) };
	char from[ENDPOINT_TEXT], to[ENDPOINT_TEXT];
	int ret = 0;

	for (size_t i = 0; i < ARRAY_LEN(stops); i++)
		if (!stops[i] || event_add(stops[i], NULL) < 0)
			ret = err_at(e, -ENOMEM, "tunnel", "out of memory");
	if (!ret) {
		log_info("tunnel: %s: %s to %s", way, endpoint_print(at, from), endpoint_print(&t->to, to));
		event_base_dispatch(t->base);
	}
	for (size_t i = 0; i < ARRAY_LEN(stops); i++)
		if (stops[i])
			event_free(stops[i]);
	while (!LIST_EMPTY(&t->links))
		link_end(LIST_FIRST(&t->links));
	return ret;
}

static int udp_listen(const struct ip_endpoint *at, struct err *e)
{
	char text[ENDPOINT_TEXT];
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(at, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0)
		return fd;
	err_at(e, -errno, endpoint_print(at, text), "%s", strerror(errno));
	close_at(&fd);
	return e->code;
}

int ov_tunnel_from_udp(const struct ip_endpoint *udp, const struct ip_endpoint *tcp, struct err *e)
{
	struct tunnel t = { .to = *tcp, .udp = udp_listen(udp, e), .tried = -AGAIN_S, .base = event_base_new() };
	int ret = t.udp < 0 ? t.udp : 0;

	signal(SIGPIPE, SIG_IGN);
	if (!ret && t.base)
		t.on_udp = event_new(t.base, t.udp, EV_READ | EV_PERSIST, on_listener_udp, &t);
	if (!ret && (!t.on_udp || event_add(t.on_udp, NULL) < 0))
		ret = err_at(e, -ENOMEM, "tunnel", "out of memory");
	if (!ret)
		ret = loop(&t, "udp in tcp", udp, e);
	if (t.on_udp)
		event_free(t.on_udp);
	if (t.base)
		event_base_free(t.base);
	close_at(&t.udp);
	return ret;
}

int ov_tunnel_from_tcp(const struct ip_endpoint *tcp, const struct ip_endpoint *udp, struct err *e)
{
	struct tunnel t = { .to = *udp, .udp = -1, .base = event_base_new() };
	struct listening listening = { .what = "tunnel", .accepted = on_accept, .arg = &t };
	int ret, fd = ret = tcp_listen(tcp, "--listen", e);

	signal(SIGPIPE, SIG_IGN);
	if (fd >= 0)
		ret = t.base ? listening_start(&listening, t.base, fd, e)
			     : err_at(e, -ENOMEM, "tunnel", "out of memory");
	if (ret >= 0)
		ret = loop(&t, "tcp with udp", tcp, e);
	listening_stop(&listening);
	close_at(&fd);
	if (t.base)
		event_base_free(t.base);
	return ret;
}
