// SPDX-License-Identifier: Apache-2.0
#include "dns_forward.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dns/dns.h"

#define ASKS_MAX   512
#define TRIES      3
#define TRY_MS     1500
#define ANSWER_MAX 4096 /* by UDP; we ask for less */

struct ask {
	LIST_ENTRY(ask) link;
	struct dns_forward *f;
	struct dns_client client;
	uint8_t id[2];  /* the client's */
	uint8_t *query; /* ours */
	size_t len;
	unsigned tries;
	int fd;
	struct event *readable, *deadline;
	struct bufferevent *bev; /* TCP */
};

struct dns_forward {
	struct event_base *base;
	dns_forwarded_fn fn;
	void *arg;
	struct msg_dns_forward servers;
	LIST_HEAD(, ask) asks;
	size_t n;
};

struct dns_forward *dns_forward_new(struct event_base *base, dns_forwarded_fn fn, void *arg)
{
	struct dns_forward *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	*f = (struct dns_forward){ .base = base, .fn = fn, .arg = arg };
	LIST_INIT(&f->asks);
	return f;
}

void dns_forward_servers(struct dns_forward *f, const struct msg_dns_forward *servers)
{
	f->servers = *servers;
	if (f->servers.n > CONF_DNS_FORWARD)
		f->servers.n = 0;
}

/* --- one question --- */

static void try_end(struct ask *a)
{
	if (a->readable)
		event_free(a->readable);
	a->readable = NULL;
	close_at(&a->fd);
	a->fd = -1;
	if (a->bev)
		bufferevent_free(a->bev);
	a->bev = NULL;
}

static void ask_free(struct ask *a)
{
	try_end(a);
	if (a->deadline)
		event_free(a->deadline);
	LIST_REMOVE(a, link);
	a->f->n--;
	free(a->query);
	free(a);
}

static void ask_end(struct ask *a, uint8_t *answer, size_t len, bool is_failure)
{
	memcpy(answer, a->id, 2);
	a->f->fn(&a->client, answer, len, is_failure, a->f->arg);
	ask_free(a);
}

static void ask_fail(struct ask *a)
{
	size_t len;
	auto_free uint8_t *answer = dns_failure(a->query, a->len, &len);

	if (answer)
		ask_end(a, answer, len, true);
	else
		ask_free(a);
}

static bool is_for(const struct ask *a, const uint8_t *answer, size_t len)
{
	return dns_is_answer(a->query, a->len, answer, len);
}

/* What does not belong to the question is not looked at: somebody may be guessing. */
static void on_datagram(evutil_socket_t fd, short what, void *arg)
{
	uint8_t answer[ANSWER_MAX];
	struct ask *a = arg;
	ssize_t n;

	(void)what;
	while ((n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
		if (!is_for(a, answer, (size_t)n))
			continue;
		ask_end(a, answer, (size_t)n, false);
		return;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR) /* nobody is there: the next one */
		event_active(a->deadline, EV_TIMEOUT, 0);
}

static bool try_udp(struct ask *a, const struct sockaddr *to, socklen_t len)
{
	a->fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0 || connect(a->fd, to, len) < 0 || send(a->fd, a->query, a->len, 0) != (ssize_t)a->len)
		return false;
	a->readable = event_new(a->f->base, a->fd, EV_READ | EV_PERSIST, on_datagram, a);
	return a->readable && event_add(a->readable, NULL) == 0;
}

static void on_stream(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct ask *a = arg;
	uint8_t head[2], *answer;
	size_t len;

	if (evbuffer_copyout(in, head, 2) != 2)
		return;
	len = (size_t)head[0] << 8 | head[1];
	if (evbuffer_get_length(in) < len + 2)
		return;
	answer = evbuffer_pullup(in, (ssize_t)len + 2);
	if (answer && is_for(a, answer + 2, len))
		ask_end(a, answer + 2, len, false);
	else
		event_active(a->deadline, EV_TIMEOUT, 0);
}

static void on_stream_event(struct bufferevent *bev, short what, void *arg)
{
	struct ask *a = arg;

	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		event_active(a->deadline, EV_TIMEOUT, 0);
}

static bool try_tcp(struct ask *a, const struct sockaddr *to, socklen_t len)
{
	uint8_t head[2] = { (uint8_t)(a->len >> 8), (uint8_t)a->len };

	a->bev = bufferevent_socket_new(a->f->base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!a->bev)
		return false;
	bufferevent_setcb(a->bev, on_stream, NULL, on_stream_event, a);
	bufferevent_write(a->bev, head, sizeof(head));
	bufferevent_write(a->bev, a->query, a->len);
	bufferevent_enable(a->bev, EV_READ | EV_WRITE);
	return bufferevent_socket_connect(a->bev, to, (int)len) == 0;
}

/* The next resolver, under another id. */
static void try_next(struct ask *a)
{
	static const struct timeval patience = { .tv_usec = TRY_MS % 1000 * 1000, .tv_sec = TRY_MS / 1000 };
	struct msg_dns_forward *s = &a->f->servers;
	struct sockaddr_storage to;
	socklen_t len;
	bool ok = false;

	while (!ok && s->n && a->tries < TRIES) {
		try_end(a);
		len = endpoint_to_sockaddr(&s->server[a->tries++ % s->n], &to);
		ok = getrandom(a->query, 2, 0) == 2 && (a->client.conn ? try_tcp(a, (struct sockaddr *)&to, len)
								       : try_udp(a, (struct sockaddr *)&to, len));
	}
	if (!ok || event_add(a->deadline, &patience) < 0)
		ask_fail(a);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	try_next(arg);
}

static void refuse(struct dns_forward *f, const struct dns_client *client, const uint8_t *query, size_t len)
{
	size_t failure_len;
	auto_free uint8_t *failure = dns_failure(query, len, &failure_len);

	if (failure)
		f->fn(client, failure, failure_len, true, f->arg);
}

void dns_forward_ask(struct dns_forward *f, const struct dns_client *client, const uint8_t *query, size_t len)
{
	struct ask *a = f->n < ASKS_MAX && f->servers.n ? calloc(1, sizeof(*a)) : NULL;

	if (!a) {
		refuse(f, client, query, len);
		return;
	}
	*a = (struct ask){ .f = f, .client = *client, .fd = -1 };
	memcpy(a->id, query, sizeof(a->id));
	LIST_INSERT_HEAD(&f->asks, a, link);
	f->n++;
	a->query = dns_query_again(query, len, 0, client->conn != 0, &a->len);
	a->deadline = evtimer_new(f->base, on_deadline, a);
	if (a->query && a->deadline) {
		try_next(a);
	} else {
		refuse(f, client, query, len);
		ask_free(a);
	}
}

void dns_forward_free(struct dns_forward *f)
{
	if (!f)
		return;
	while (!LIST_EMPTY(&f->asks))
		ask_free(LIST_FIRST(&f->asks));
	free(f);
}
