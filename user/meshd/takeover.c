// SPDX-License-Identifier: Apache-2.0
/*
 * Listening sockets that were open before this process: of a service manager, or of the mesh that runs already and is
 * to be replaced. Both sides have the same sockets then, with one queue each, so that whoever waits in it is served by
 * one or the other. The old one drains when the new one has said that it serves; one that does not come so far changes
 * nothing.
 *
 *   new                     old
 *   connects         ->
 *                    <-     SOCKET, for each; ALL
 *   serves; OVER     ->     closes its control socket
 *                    <-     GONE, and drains
 *
 * The two are of different versions when the program is upgraded: messages have numbers that stay, and no content but
 * the socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/listen.h"
#include "base/log.h"
#include "parent.h"

#define WHERE      "takeover"
#define PATIENCE_S 5 /* for the list of a process that runs */
#define MANAGER_FD 3 /* the first that a service manager leaves (sd_listen_fds) */

enum { TAKE_SOCKET = 1, TAKE_ALL = 2, TAKE_OVER = 3, TAKE_GONE = 4 };

struct md_takeover {
	struct md_parent *parent;
	int listener; /* for the one that comes after; -1: none */
	struct event *accept;
	struct ipc *peer; /* the one after, or the one before; NULL: none */
	struct md_given *given;
	bool has_all, is_gone; /* of the one before */
	bool was_told;         /* that we serve */
};

static struct md_takeover *takeover_new(struct md_parent *p)
{
	struct md_takeover *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->parent = p;
	t->listener = -1;
	return t;
}

static void path_print(const struct md_parent *p, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/%s/takeover.sock", PATH_MAX - 64, p->conf.run, p->conf.instance);
}

static void drop_peer(struct md_takeover *t)
{
	ipc_free(take_ptr(t->peer));
}

/* --- the old one --- */

static void door_close(struct md_takeover *t)
{
	char path[PATH_MAX];

	if (t->listener < 0)
		return;
	if (t->accept)
		event_free(t->accept);
	close_at(&t->listener);
	t->listener = -1;
	path_print(t->parent, path);
	unlink(path);
}

static void on_successor(struct ipc_msg *msg, void *arg)
{
	struct md_takeover *t = arg;

	if (msg->type != TAKE_OVER || t->parent->is_draining)
		return;
	log_info("another process serves now");
	md_report_close(t->parent);
	door_close(t);
	ipc_send(t->peer, TAKE_GONE, NULL, 0, -1);
	md_drain(t->parent);
}

static void on_successor_down(void *arg)
{
	struct md_takeover *t = arg;

	if (!t->parent->is_draining)
		log_warn("another process was to serve, and ended before it did: this one goes on");
	drop_peer(t);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	auto_fd int in = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct md_takeover *t = arg;
	const struct md_parent *p = t->parent;

	(void)what;
	/* one at a time: the next finds the door closed */
	if (in < 0 || t->peer || p->is_draining)
		return;
	if (ipc_new(p->base, in, on_successor, on_successor_down, t, &t->peer) < 0)
		return;
	take_fd(&in);
	for (uint32_t i = 0; i < p->n_sockets; i++)
		ipc_send(t->peer, TAKE_SOCKET, NULL, 0, p->socket[i].fd);
	ipc_send(t->peer, TAKE_ALL, NULL, 0, -1);
}

static int door_open(struct md_takeover *t, struct err *e)
{
	char path[PATH_MAX];

	path_print(t->parent, path);
	t->listener = unix_listen_packets(path, 0600, "another bailey-mesh runs this instance", e);
	if (t->listener < 0)
		return t->listener;
	t->accept = event_new(t->parent->base, t->listener, EV_READ | EV_PERSIST, on_accept, t);
	if (!t->accept || event_add(t->accept, NULL) < 0)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	return 0;
}

/* --- the new one --- */

static void give(struct md_given *given, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int is_listening = 0;
	socklen_t size = sizeof(is_listening);

	if (given->n == ARRAY_LEN(given->socket) || getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0 || !is_listening ||
	    !endpoint_from_sockaddr(&given->socket[given->n].listen.at, (struct sockaddr *)&ss)) {
		log_warn("%s: descriptor %d is no listening socket of TCP: closed", WHERE, fd);
		close(fd);
		return;
	}
	given->socket[given->n++].fd = fd;
}

/* Both sockets of the instance are free, or their owner is no more. */
static void doors_take(struct md_takeover *t)
{
	struct err e = ERR_INIT;
	char text[600];

	if (md_report_open(t->parent, &e) < 0 || door_open(t, &e) < 0)
		log_err("serves, but can not be asked: %s", err_text(&e, text, sizeof(text)));
	else
		log_info("serves in the place of the process before");
}

static void on_predecessor(struct ipc_msg *msg, void *arg)
{
	struct md_takeover *t = arg;

	if (msg->type == TAKE_SOCKET && msg->fd >= 0 && !t->has_all) {
		give(t->given, take_fd(&msg->fd));
	} else if (msg->type == TAKE_ALL) {
		t->has_all = true;
	} else if (msg->type == TAKE_GONE && t->was_told) {
		drop_peer(t);
		doors_take(t);
	}
}

static void on_predecessor_down(void *arg)
{
	struct md_takeover *t = arg;

	t->is_gone = true;
	drop_peer(t);
	if (t->was_told)
		doors_take(t);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	((struct md_takeover *)arg)->is_gone = true;
}

/* Waits: nothing else is there yet that could. */
static int list_wait(struct md_takeover *t, struct err *e)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct event *late = evtimer_new(t->parent->base, on_late, t);
	int ret = late && event_add(late, &patience) == 0 ? 0 : -ENOMEM;

	while (!ret && !t->has_all && !t->is_gone)
		if (event_base_loop(t->parent->base, EVLOOP_ONCE) < 0)
			ret = -EIO;
	if (late)
		event_free(late);
	if (ret)
		return err_at(e, ret, WHERE, "%s", strerror(-ret));
	return t->has_all ? 0
			  : err_at(e, -ETIMEDOUT, WHERE,
				   "the process that runs does not hand over its sockets: it ends, drains, or hands "
				   "them to another");
}

static int take_from_old(struct md_takeover *t, struct err *e)
{
	char path[PATH_MAX];
	int fd, ret;

	path_print(t->parent, path);
	fd = unix_connect(path, SOCK_SEQPACKET);
	if (fd < 0) {
		log_info("no process of this instance to take over from");
		return 0;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	ret = ipc_new(t->parent->base, fd, on_predecessor, on_predecessor_down, t, &t->peer);
	if (ret < 0) {
		close(fd);
		return err_at(e, ret, WHERE, "%s", strerror(-ret));
	}
	return list_wait(t, e);
}

static unsigned long number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

/* As a service manager leaves them: meant for this very process, the first is MANAGER_FD. */
static void take_from_manager(struct md_given *given)
{
	unsigned long n = number_of("LISTEN_PID") == (unsigned long)getpid() ? number_of("LISTEN_FDS") : 0;

	for (unsigned long i = 0; i < n && i < MD_SOCKETS_MAX; i++) {
		fcntl(MANAGER_FD + (int)i, F_SETFD, FD_CLOEXEC);
		fcntl(MANAGER_FD + (int)i, F_SETFL, O_NONBLOCK);
		give(given, MANAGER_FD + (int)i);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int md_takeover_new(struct md_parent *p, bool from_old, struct md_given *given, struct err *e)
{
	p->takeover = takeover_new(p);
	if (!p->takeover)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	take_from_manager(given);
	p->takeover->given = given;
	return from_old ? take_from_old(p->takeover, e) : 0;
}

int md_takeover_open(struct md_parent *p, struct err *e)
{
	struct md_takeover *t = p->takeover;
	int ret;

	if (t->has_all)
		return 0; /* when the old one has closed its own */
	ret = md_report_open(p, e);
	return ret ? ret : door_open(t, e);
}

void md_takeover_serve(struct md_parent *p)
{
	struct md_takeover *t = p->takeover;

	if (!t->has_all || t->was_told)
		return;
	t->was_told = true;
	if (t->peer)
		ipc_send(t->peer, TAKE_OVER, NULL, 0, -1);
	else
		doors_take(t); /* it ended by itself */
}

void md_takeover_free(struct md_takeover *t)
{
	if (!t)
		return;
	door_close(t);
	drop_peer(t);
	free(t);
}
