// SPDX-License-Identifier: Apache-2.0
#include "agent_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

struct asking {
	LIST_ENTRY(asking) entry;
	struct agent_link *link;
	uint64_t token;
	char *path;
	json_t *args;
	struct ag_question q;
	struct ag_ask *ask; /* NULL: the socket has not come yet */
};

struct agent_link {
	struct event_base *base;
	struct ipc *parent;
	LIST_HEAD(, asking) asks;
	unsigned n_asks;
	uint64_t last_token;
};

int link_new(struct event_base *base, struct ipc *parent, struct agent_link **link, struct err *e)
{
	struct agent_link *made = calloc(1, sizeof(*made));

	if (!made)
		return err_at(e, -ENOMEM, "agent", "out of memory");
	made->base = base;
	made->parent = parent;
	*link = made;
	return 0;
}

static void asking_free(struct asking *a)
{
	LIST_REMOVE(a, entry);
	a->link->n_asks--;
	ag_ask_free(a->ask);
	json_decref(a->args);
	free(a->path);
	free(a);
}

void link_free(struct agent_link *link)
{
	struct asking *a;

	if (!link)
		return;
	while ((a = LIST_FIRST(&link->asks)))
		asking_free(a);
	free(link);
}

int link_ask(struct agent_link *link, const struct ag_question *q, struct err *e)
{
	struct msg_token m;
	struct asking *a;

	if (link->n_asks == LINK_ASKS_MAX)
		return err_at(e, -EBUSY, "agent", "is asked %d things already", LINK_ASKS_MAX);
	a = calloc(1, sizeof(*a));
	if (a)
		a->path = strdup(q->path);
	if (!a || !a->path) {
		free(a);
		return err_at(e, -ENOMEM, "agent", "out of memory");
	}
	a->link = link;
	a->q = *q;
	a->args = json_incref((json_t *)q->args);
	m.token = a->token = ++link->last_token;
	LIST_INSERT_HEAD(&link->asks, a, entry);
	link->n_asks++;
	if (ipc_send(link->parent, MSG_EDGE_AGENT_ASK, &m, sizeof(m), -1) < 0) {
		asking_free(a);
		return err_at(e, -EIO, "agent", "the parent can not be asked for its socket");
	}
	return 0;
}

static void answered(const json_t *answer, const struct err *e, void *arg)
{
	struct asking *a = arg;
	struct ag_question q = a->q;

	a->ask = NULL; /* it has freed itself */
	asking_free(a);
	q.fn(answer, e, q.arg);
}

void link_socket(struct agent_link *link, const struct msg_agent *m, int *fd)
{
	struct err e = m->err;
	struct asking *a;

	LIST_FOREACH(a, &link->asks, entry)
	if (a->token == m->token)
		break;
	if (!a || a->ask)
		return;
	msg_terminate_err(&e);
	a->q.path = a->path;
	a->q.args = a->args;
	if (*fd >= 0) {
		struct ag_question q = a->q;

		q.fn = answered;
		q.arg = a;
		e = ERR_INIT;
		if (ag_ask(link->base, take_fd(fd), &q, &a->ask, &e) == 0)
			return;
	}
	if (!e.code)
		err_at(&e, -EPROTO, "agent", "no socket to it came");
	answered(NULL, &e, a);
}

/* Does not wait: an agent whose queue is full counts as one that is not there, and the asker comes again. */
static int agent_connect(const char *path, struct err *e)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (fd < 0)
		return err_at(e, -errno, path, "%s", strerror(errno));
	if (snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path) >= (int)sizeof(sun.sun_path))
		return err_at(e, -ENAMETOOLONG, path, "is too long for a socket");
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return err_at(e, -errno, path, "the agent's socket: %s", strerror(errno));
	return take_fd(&fd);
}

void link_answer(struct ipc *asker, const struct msg_token *ask, const char *path)
{
	struct msg_agent m = { .token = ask->token };
	auto_fd int fd = -1;

	if (path[0])
		fd = agent_connect(path, &m.err);
	else
		err_at(&m.err, -ENOENT, "identity.agent", "is not configured");
	ipc_send(asker, MSG_EDGE_AGENT, &m, sizeof(m), fd);
}
