// SPDX-License-Identifier: Apache-2.0
/* One question to the guest agent, waited for: at start there is nothing else to do. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/client.h"
#include "internal.h"

#define TIMEOUT_S 60

DEFINE_CLEANUP(base, struct event_base, event_base_free)

struct waiting {
	json_t *answer;
	struct err err;
};

static void on_answer(const json_t *answer, const struct err *e, void *arg)
{
	struct waiting *w = arg;

	if (answer)
		w->answer = json_deep_copy(answer);
	else
		w->err = *e;
}

static int connect_to(const char *path, struct err *e)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path) >= (int)sizeof(sun.sun_path))
		return err_at(e, -ENAMETOOLONG, path, "is longer than %zu bytes, the limit for a socket",
			      sizeof(sun.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || evutil_make_socket_nonblocking(fd) < 0)
		return err_at(e, -errno, path, "agent does not answer: %s", strerror(errno));
	return take_fd(&fd);
}

int kms_agent_ask(const char *agent, const char *path, const json_t *args, json_t **answer, struct err *e)
{
	auto_call(cleanup_base) struct event_base *base = event_base_new();
	struct waiting w = { 0 };
	struct ag_question q = { .path = path, .args = args, .timeout_s = TIMEOUT_S, .fn = on_answer, .arg = &w };
	struct ag_ask *ask;
	int fd = connect_to(agent, e), ret;

	if (fd < 0)
		return fd;
	if (!base) {
		close(fd);
		return err_at(e, -ENOMEM, agent, "out of memory");
	}
	ret = ag_ask(base, fd, &q, &ask, e);
	if (ret < 0)
		return ret;
	event_base_dispatch(base); /* until the ask is over */
	if (!w.answer)
		return err_at(e, w.err.code ? w.err.code : -EIO, agent, "%s", w.err.code ? w.err.msg : "no answer");
	*answer = w.answer;
	return 0;
}
