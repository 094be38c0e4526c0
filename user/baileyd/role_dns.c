// SPDX-License-Identifier: Apache-2.0
/*
 * The dns process: what applications and other nodes ask is read here and nowhere else. It has the names that the
 * parent told it, sockets that the parent bound, and no capability, file or key.
 */
#include "role.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/listening.h"
#include "base/log.h"
#include "box.h"
#include "dns/dns.h"
#include "dns_forward.h"
#include "ipc.h"
#include "msg.h"

#define BATCH       32 /* datagrams a system call */
#define ROUNDS      8  /* of them before others have their turn */
#define CONNS_MAX   128
#define IDLE_S      10
#define UNSENT_MAX  (256 * 1024) /* of one connection; more is not made before it has read */
#define KEEP        (1 << 20)    /* bytes of freed memory: giving them back at once costs a call a query */
#define SOCKETS_MAX (4 * (CONF_DNS_LISTEN + ID_MAX_ADDRS))

struct sock {
	struct dns *dns;
	enum dns_from from;
	int fd;
	struct event *readable;  /* UDP */
	struct listening accept; /* TCP */
};

struct conn {
	LIST_ENTRY(conn) link;
	struct dns *dns;
	uint64_t number;
	struct bufferevent *bev;
	bool may_forward;
	unsigned n_waiting; /* for other resolvers */
};

struct datagrams {
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage from[BATCH];
	uint8_t bytes[BATCH][DNS_QUERY_MAX];
};

struct dns {
	struct event_base *base;
	struct ipc *parent;
	struct msg_dns_conf conf;
	struct dns_names *names;
	struct dns_forward *forward;
	bool has_forward;
	struct sock sock[SOCKETS_MAX];
	size_t n_socks;
	LIST_HEAD(, conn) conns;
	uint64_t last_conn;
	struct datagrams in;
	struct mmsghdr out[BATCH];
	struct iovec out_iov[BATCH];
	uint32_t turn;
	struct msg_dns_stats stats, told;
	struct event *each_second;
};

/* --- who may ask what --- */

enum may { MAY_NOTHING, MAY_NAMES, MAY_ALL };

static bool is_own(const struct dns *d, const struct by_addr *addr)
{
	for (uint32_t i = 0; i < d->conf.n_own; i++)
		if (addr_equal(&d->conf.own[i], addr))
			return true;
	return false;
}

static bool is_in(const struct by_addr *addr, const struct ip_prefix *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (addr_in_prefix(addr, &list[i]))
			return true;
	return false;
}

/* A packet of ours that was told to leave by the overlay's device comes back as from there. */
static enum may may_ask(const struct dns *d, enum dns_from from, const struct sockaddr *sa)
{
	struct ip_endpoint at;

	if (from == DNS_FROM_LOCAL)
		return MAY_ALL;
	if (!endpoint_from_sockaddr(&at, sa))
		return MAY_NOTHING;
	if (from == DNS_FROM_CLIENTS)
		return is_in(&at.addr, d->conf.clients, d->conf.n_clients) ? MAY_ALL : MAY_NOTHING;
	if (is_own(d, &at.addr))
		return MAY_ALL;
	return d->conf.members && is_in(&at.addr, d->conf.zone.networks, d->conf.zone.n_networks) ? MAY_NAMES
												  : MAY_NOTHING;
}

/* --- one query --- */

static enum dns_do answer(struct dns *d, bool may_forward, bool is_tcp, const uint8_t *query, size_t len,
			  struct dns_reply *reply)
{
	struct dns_asker asker = {
		.may_forward = may_forward && d->has_forward, .is_tcp = is_tcp, .now = time(NULL), .turn = d->turn++
	};
	enum dns_do what = dns_answer(d->names, &d->conf.zone, &asker, query, len, reply);

	d->stats.queries++;
	if (what == DNS_REPLY && reply->rcode < DNS_RCODES)
		d->stats.answers[reply->rcode]++;
	d->stats.dropped += what == DNS_DROP;
	d->stats.forwarded += what == DNS_FORWARD;
	return what;
}

/* --- UDP --- */

static bool serve(struct dns *d, struct sock *s, unsigned i, struct iovec *out)
{
	const struct mmsghdr *m = &d->in.msg[i];
	struct dns_client client = { .fd = s->fd, .from_len = m->msg_hdr.msg_namelen };
	enum may may = may_ask(d, s->from, m->msg_hdr.msg_name);
	struct dns_reply reply;
	enum dns_do what;

	if (may == MAY_NOTHING || m->msg_hdr.msg_flags & MSG_TRUNC) {
		d->stats.dropped++;
		return false;
	}
	what = answer(d, may == MAY_ALL, false, d->in.bytes[i], m->msg_len, &reply);
	if (what == DNS_FORWARD) {
		client.from = d->in.from[i];
		dns_forward_ask(d->forward, &client, d->in.bytes[i], m->msg_len);
	}
	*out = (struct iovec){ .iov_base = reply.bytes, .iov_len = reply.len };
	return what == DNS_REPLY;
}

static void serve_all(struct dns *d, struct sock *s, unsigned n)
{
	unsigned n_out = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!serve(d, s, i, &d->out_iov[n_out]))
			continue;
		d->out[n_out].msg_hdr = (struct msghdr){ .msg_name = &d->in.from[i],
							 .msg_namelen = d->in.msg[i].msg_hdr.msg_namelen,
							 .msg_iov = &d->out_iov[n_out],
							 .msg_iovlen = 1 };
		n_out++;
	}
	for (unsigned sent = 0; sent < n_out;) { /* one that can not be sent is left out */
		int now = sendmmsg(s->fd, d->out + sent, n_out - sent, MSG_DONTWAIT);

		sent += now > 0 ? (unsigned)now : 1;
	}
	for (unsigned i = 0; i < n_out; i++)
		free(d->out_iov[i].iov_base);
}

static void on_datagrams(evutil_socket_t fd, short what, void *arg)
{
	struct sock *s = arg;
	struct dns *d = s->dns;
	int n = BATCH;

	(void)what;
	for (unsigned round = 0; round < ROUNDS && n == BATCH; round++) {
		for (unsigned i = 0; i < BATCH; i++) {
			d->in.iov[i] = (struct iovec){ .iov_base = d->in.bytes[i], .iov_len = DNS_QUERY_MAX };
			d->in.msg[i].msg_hdr = (struct msghdr){ .msg_name = &d->in.from[i],
								.msg_namelen = sizeof(d->in.from[i]),
								.msg_iov = &d->in.iov[i],
								.msg_iovlen = 1 };
		}
		n = recvmmsg(fd, d->in.msg, BATCH, MSG_DONTWAIT, NULL);
		if (n > 0)
			serve_all(d, s, (unsigned)n);
	}
}

/* --- TCP --- */

static void conn_free(struct conn *c)
{
	LIST_REMOVE(c, link);
	c->dns->stats.connections--;
	bufferevent_free(c->bev);
	free(c);
}

static void conn_write(struct conn *c, const uint8_t *bytes, size_t len)
{
	uint8_t head[2] = { (uint8_t)(len >> 8), (uint8_t)len };

	bufferevent_write(c->bev, head, sizeof(head));
	bufferevent_write(c->bev, bytes, len);
}

/* false: the connection has no use any more. */
static bool conn_query(struct conn *c, const uint8_t *query, size_t len)
{
	struct dns_client client = { .conn = c->number, .fd = -1 };
	struct dns *d = c->dns;
	struct dns_reply reply;
	enum dns_do what = answer(d, c->may_forward, true, query, len, &reply);

	if (what == DNS_REPLY)
		conn_write(c, reply.bytes, reply.len);
	free(reply.bytes);
	if (what == DNS_FORWARD) {
		c->n_waiting++;
		dns_forward_ask(d->forward, &client, query, len);
	}
	return what != DNS_DROP;
}

static bool has_room(const struct conn *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev)) < UNSENT_MAX && c->n_waiting < BATCH;
}

static void on_stream(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct conn *c = arg;
	uint8_t head[2];

	while (has_room(c) && evbuffer_copyout(in, head, 2) == 2) {
		size_t len = (size_t)head[0] << 8 | head[1];
		const uint8_t *bytes;

		if (len > DNS_QUERY_MAX) {
			conn_free(c);
			return;
		}
		if (evbuffer_get_length(in) < len + 2)
			return;
		bytes = evbuffer_pullup(in, (ssize_t)len + 2);
		if (!bytes || !conn_query(c, bytes + 2, len)) {
			conn_free(c);
			return;
		}
		evbuffer_drain(in, len + 2);
	}
}

static void on_stream_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
		conn_free(arg);
}

static void on_accept(int fd, const struct sockaddr *sa, void *arg)
{
	static const struct timeval idle = { .tv_sec = IDLE_S };
	struct sock *s = arg;
	enum may may = may_ask(s->dns, s->from, sa);
	struct conn *c = may != MAY_NOTHING && s->dns->stats.connections < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (c)
		c->bev = bufferevent_socket_new(s->dns->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c || !c->bev) {
		s->dns->stats.dropped++;
		free(c);
		close(fd);
		return;
	}
	c->dns = s->dns;
	c->number = ++s->dns->last_conn;
	c->may_forward = may == MAY_ALL;
	LIST_INSERT_HEAD(&s->dns->conns, c, link);
	s->dns->stats.connections++;
	bufferevent_setcb(c->bev, on_stream, on_stream, on_stream_event, c);
	bufferevent_set_timeouts(c->bev, &idle, &idle);
	bufferevent_setwatermark(c->bev, EV_READ, 0, DNS_QUERY_MAX + 2);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* --- answers of others --- */

static void on_forwarded(const struct dns_client *client, const uint8_t *bytes, size_t len, bool is_failure, void *arg)
{
	struct dns *d = arg;
	struct conn *c = LIST_FIRST(&d->conns);

	d->stats.forward_failed += is_failure;
	if (!client->conn) {
		sendto(client->fd, bytes, len, MSG_DONTWAIT, (const struct sockaddr *)&client->from, client->from_len);
		return;
	}
	while (c && c->number != client->conn)
		c = LIST_NEXT(c, link);
	if (!c)
		return;
	c->n_waiting--;
	conn_write(c, bytes, len);
	bufferevent_trigger(c->bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS); /* there may be room for more */
}

/* --- what the parent says --- */

static void on_forward(struct dns *d, const struct msg_dns_forward *m)
{
	dns_forward_servers(d->forward, m);
	d->has_forward = m->n > 0;
}

static void on_conf(struct dns *d, const struct msg_dns_conf *m)
{
	d->conf = *m;
	msg_terminate(d->conf.zone.suffix);
	msg_terminate(d->conf.zone.self);
	if (d->conf.zone.n_networks > 4 || d->conf.n_own > ID_MAX_ADDRS || d->conf.n_clients > CONF_DNS_CLIENTS)
		event_base_loopbreak(d->base);
}

static void on_listen(struct dns *d, const struct msg_dns_listen *m, struct ipc_msg *msg)
{
	struct sock *s = &d->sock[d->n_socks];
	struct err e = ERR_INIT;
	int ret;

	if (msg->fd < 0 || d->n_socks == SOCKETS_MAX)
		return;
	*s = (struct sock){ .dns = d, .from = (enum dns_from)m->from, .fd = take_fd(&msg->fd) };
	s->accept = (struct listening){ .what = "names over TCP", .accepted = on_accept, .arg = s };
	if (!m->is_tcp)
		s->readable = event_new(d->base, s->fd, EV_READ | EV_PERSIST, on_datagrams, s);
	ret = m->is_tcp     ? listening_start(&s->accept, d->base, s->fd, &e)
	      : s->readable ? event_add(s->readable, NULL)
			    : -1;
	if (ret < 0) {
		log_err("out of memory");
		event_base_loopbreak(d->base);
		return;
	}
	d->n_socks++;
}

static void on_node(struct dns *d, const struct dns_node *m)
{
	struct dns_node node = *m;

	msg_terminate(node.node);
	msg_terminate(node.app);
	for (uint32_t i = 0; i < ID_MAX_SERVICES; i++)
		msg_terminate(node.services[i].type);
	if (dns_names_set(d->names, &node) < 0)
		log_limited(LOG_ERR, "%s has no name: out of memory", node.node);
}

static void on_message(struct ipc_msg *msg, void *arg)
{
	struct dns *d = arg;
	const void *m;

	if (msg->type == MSG_DNS_CONF && (m = ipc_as(msg, sizeof(struct msg_dns_conf))))
		on_conf(d, m);
	else if (msg->type == MSG_DNS_FORWARD && (m = ipc_as(msg, sizeof(struct msg_dns_forward))))
		on_forward(d, m);
	else if (msg->type == MSG_DNS_LISTEN && (m = ipc_as(msg, sizeof(struct msg_dns_listen))))
		on_listen(d, m, msg);
	else if (msg->type == MSG_DNS_NODE && (m = ipc_as(msg, sizeof(struct dns_node))))
		on_node(d, m);
	else if (msg->type == MSG_DNS_GONE && (m = ipc_as(msg, sizeof(struct msg_instance))))
		dns_names_del(d->names, ((const struct msg_instance *)m)->instance_id);
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct dns *d = arg;

	(void)fd, (void)what;
	d->stats.names = (uint32_t)dns_names_count(d->names);
	if (memcmp(&d->stats, &d->told, sizeof(d->stats)) == 0)
		return;
	d->told = d->stats;
	ipc_send(d->parent, MSG_DNS_STATS, &d->stats, sizeof(d->stats), -1);
}

static int start(struct dns *d, uid_t uid, gid_t gid, struct err *e)
{
	static const struct timeval second = { .tv_sec = 1 };

	mallopt(M_TRIM_THRESHOLD, KEEP);
	LIST_INIT(&d->conns);
	d->base = event_base_new();
	d->names = dns_names_new();
	d->forward = d->base ? dns_forward_new(d->base, on_forwarded, d) : NULL;
	d->each_second = d->base ? event_new(d->base, -1, EV_PERSIST, on_second, d) : NULL;
	if (!d->names || !d->forward || !d->each_second || event_add(d->each_second, &second) < 0 ||
	    ipc_new(d->base, IPC_CHILD_FD, on_message, NULL, d, &d->parent) < 0)
		return err_at(e, -ENOMEM, "dns process", "out of memory");
	return box_dns(uid, gid, e);
}

/* The end of the process frees what it had. */
int role_dns(uid_t uid, gid_t gid)
{
	struct dns *d = calloc(1, sizeof(*d));
	struct err e = ERR_INIT;
	char text[600];

	if (!d || start(d, uid, gid, &e) < 0) {
		log_err("%s", d ? err_text(&e, text, sizeof(text)) : "out of memory");
		return 1;
	}
	event_base_dispatch(d->base);
	return 0;
}
