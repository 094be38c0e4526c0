// SPDX-License-Identifier: Apache-2.0
/*
 * Asks an agent, ours or dstack's, over a socket that somebody else has connected: who asks may have no right to open
 * one. One request for each connection, in HTTP/1.0, so that an answer comes whole and never in chunks.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "client.h"

DEFINE_CLEANUP(json, json_t, json_decref)

#define WHERE    "agent"
#define HEAD_MAX 8192 /* bytes of one header line, and of all that is read before the body */

enum part { PART_STATUS, PART_HEADERS, PART_BODY };

struct ag_ask {
	struct bufferevent *bev;
	struct event *deadline; /* for all of it: an agent that drips is as bad as a silent one */
	ag_answer_fn fn;
	void *arg;
	enum part part;
	unsigned status;
	bool has_length;
	size_t length; /* of the body; without Content-Length it ends with the connection */
};

void ag_ask_free(struct ag_ask *ask)
{
	if (!ask)
		return;
	if (ask->bev)
		bufferevent_free(ask->bev);
	if (ask->deadline)
		event_free(ask->deadline);
	free(ask);
}

/* The end of `ask`: the caller hears of it once. */
static void ask_end(struct ag_ask *ask, const json_t *answer, const struct err *e)
{
	ag_answer_fn fn = ask->fn;
	void *arg = ask->arg;

	ag_ask_free(ask);
	fn(answer, e, arg);
}

static void ask_fail(struct ag_ask *ask, int code, const char *why)
{
	struct err e = ERR_INIT;

	err_at(&e, code, WHERE, "%s", why);
	ask_end(ask, NULL, &e);
}

/* --- reading --- */

static void body_read(struct ag_ask *ask, const char *text, size_t len)
{
	auto_call(cleanup_json) json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_string_value(json_object_get(value, "error"));
	struct err e = ERR_INIT;

	if (error || ask->status != 200)
		err_at(&e, -EREMOTEIO, WHERE, "refuses: %.200s (HTTP %u)", error ? error : "no reason given",
		       ask->status);
	else if (!json_is_object(value))
		err_at(&e, -EBADMSG, WHERE, "answers no JSON object");
	ask_end(ask, e.code ? NULL : value, &e);
}

static bool status_read(struct ag_ask *ask, const char *line)
{
	unsigned minor;

	return sscanf(line, "HTTP/1.%1u %3u", &minor, &ask->status) == 2 && ask->status >= 100;
}

static bool header_read(struct ag_ask *ask, const char *line)
{
	static const char length[] = "Content-Length:", coding[] = "Transfer-Encoding:";
	char *end;

	if (strncasecmp(line, coding, strlen(coding)) == 0)
		return false;
	if (strncasecmp(line, length, strlen(length)) != 0)
		return true;
	line += strlen(length) + strspn(line + strlen(length), " \t");
	if (ask->has_length || *line < '0' || *line > '9')
		return false;
	ask->has_length = true;
	ask->length = strtoul(line, &end, 10);
	return end[strspn(end, " \t")] == '\0' && ask->length <= AG_ANSWER_MAX;
}

/* 1: the body comes next; 0: more must come first; -EBADMSG: no HTTP that is understood here. */
static int head_read(struct ag_ask *ask, struct evbuffer *in)
{
	while (ask->part != PART_BODY) {
		auto_free char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF);
		bool ok;

		if (!line)
			return evbuffer_get_length(in) > HEAD_MAX ? -EBADMSG : 0;
		if (!*line && ask->part == PART_HEADERS) {
			ask->part = PART_BODY;
			break;
		}
		ok = ask->part == PART_STATUS ? status_read(ask, line) : header_read(ask, line);
		if (!ok)
			return -EBADMSG;
		ask->part = PART_HEADERS;
	}
	return 1;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct ag_ask *ask = arg;
	int ret = head_read(ask, in);

	if (ret < 0)
		ask_fail(ask, ret, "answers no HTTP that is understood here");
	else if (ret && evbuffer_get_length(in) > AG_ANSWER_MAX)
		ask_fail(ask, -EFBIG, "answers more than is read");
	else if (ret && ask->has_length && evbuffer_get_length(in) >= ask->length)
		body_read(ask, (const char *)evbuffer_pullup(in, -1), ask->length);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct ag_ask *ask = arg;

	if (!(what & BEV_EVENT_EOF))
		ask_fail(ask, -ECONNRESET, "breaks the connection");
	else if (ask->part != PART_BODY || ask->has_length)
		ask_fail(ask, -EBADMSG, "ends its answer too early");
	else
		body_read(ask, (const char *)evbuffer_pullup(in, -1), evbuffer_get_length(in));
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	ask_fail(arg, -ETIMEDOUT, "does not answer in time");
}

/* --- asking --- */

static void request_write(struct evbuffer *out, const char *path, const char *body)
{
	evbuffer_add_printf(out,
			    "POST %s HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
			    "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
			    path, strlen(body), body);
}

int ag_ask(struct event_base *base, int fd, const struct ag_question *q, struct ag_ask **ask, struct err *e)
{
	struct timeval limit = { .tv_sec = q->timeout_s };
	struct ag_ask *made = calloc(1, sizeof(*made));
	auto_free char *body = q->args ? json_dumps(q->args, JSON_COMPACT) : strdup("{}");

	if (!made || !body) {
		free(made);
		close(fd);
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	}
	made->fn = q->fn;
	made->arg = q->arg;
	made->bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!made->bev)
		close(fd);
	made->deadline = made->bev ? evtimer_new(base, on_deadline, made) : NULL;
	if (!made->deadline || event_add(made->deadline, &limit) < 0) {
		ag_ask_free(made);
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	}
	bufferevent_setcb(made->bev, on_read, NULL, on_event, made);
	request_write(bufferevent_get_output(made->bev), q->path, body);
	bufferevent_enable(made->bev, EV_READ | EV_WRITE);
	*ask = made;
	return 0;
}
