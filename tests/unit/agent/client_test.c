// SPDX-License-Identifier: Apache-2.0
/* Asks an agent that answers well, then agents that do not: what they send is whole at once, in drops, or never. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/agent.h"
#include "agent/client.h"

#define OK "HTTP/1.1 200 OK\r\n"

static struct event_base *base;
static unsigned calls;
static struct err last;
static char got[64];

static void on_answer(const json_t *answer, const struct err *e, void *arg)
{
	(void)arg;
	calls++;
	last = *e;
	snprintf(got, sizeof(got), "%s", answer ? json_string_value(json_object_get(answer, "x")) : "");
}

/* What the agent sends; hang_up: it closes behind it. The answer's code. */
static int answered(const void *bytes, size_t len, bool hang_up)
{
	struct ag_question q = { .path = "/Version", .timeout_s = 1, .fn = on_answer };
	struct timeval limit = { .tv_sec = 3 };
	struct ag_ask *ask;
	struct err e = ERR_INIT;
	char request[256];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	calls = 0;
	last = ERR_INIT;
	assert_int_equal(ag_ask(base, pair[0], &q, &ask, &e), 0);
	event_base_loop(base, EVLOOP_NONBLOCK); /* the request goes out */
	assert_true(read(pair[1], request, sizeof(request)) > 0);
	assert_memory_equal(request, "POST /Version HTTP/1.0\r\n", 24);
	assert_int_equal(write(pair[1], bytes, len), (ssize_t)len);
	if (hang_up)
		shutdown(pair[1], SHUT_WR);
	event_base_loopexit(base, &limit);
	while (!calls && event_base_loop(base, EVLOOP_ONCE) == 0)
		;
	close(pair[1]);
	assert_int_equal(calls, 1);
	return last.code;
}

static int text(const char *bytes, bool hang_up)
{
	return answered(bytes, strlen(bytes), hang_up);
}

static void answers_are_read(void **state)
{
	(void)state;
	assert_int_equal(text(OK "Content-Length: 9\r\n\r\n{\"x\":\"y\"}", false), 0);
	assert_string_equal(got, "y");
	assert_int_equal(text(OK "content-length:\t9 \r\nServer: x\r\n\r\n{\"x\":\"y\"}", true), 0);
	assert_int_equal(text(OK "\r\n{\"x\":\"z\"}", true), 0); /* to the end of the connection */
	assert_string_equal(got, "z");
}

static void refusals_are_said(void **state)
{
	(void)state;
	assert_int_equal(text("HTTP/1.0 400 Bad\r\n\r\n{\"error\":\"no key for you\"}", true), -EREMOTEIO);
	assert_non_null(strstr(last.msg, "no key for you"));
	assert_non_null(strstr(last.msg, "400"));
	assert_int_equal(text(OK "\r\n{\"error\":\"but fine\"}", true), -EREMOTEIO);
	assert_int_equal(text("HTTP/1.0 500 Oops\r\n\r\n<html>", true), -EREMOTEIO);
}

static void what_is_no_answer_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		int code;
	} bad[] = {
		{ "", -EBADMSG },
		{ "hello\r\n\r\n", -EBADMSG },
		{ "HTTP/2 200\r\n\r\n{}", -EBADMSG },
		{ "HTTP/1.1 200 OK", -EBADMSG },
		{ OK, -EBADMSG },
		{ OK "\r\n", -EBADMSG },
		{ OK "\r\n[]", -EBADMSG },
		{ OK "\r\n{\"x\":", -EBADMSG },
		{ OK "\r\n{\"x\":\"1\",\"x\":\"2\"}", -EBADMSG },
		{ OK "Content-Length: 10\r\n\r\n{\"x\":\"y\"}", -EBADMSG }, /* one byte short */
		{ OK "Content-Length: -1\r\n\r\n{}", -EBADMSG },
		{ OK "Content-Length: 2x\r\n\r\n{}", -EBADMSG },
		{ OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", -EBADMSG },
		{ OK "Content-Length: 99999999999999999999\r\n\r\n{}", -EBADMSG },
		{ OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(text(bad[i].bytes, true), bad[i].code);
}

static void an_endless_head_is_not_read(void **state)
{
	char *line = malloc(20000);

	(void)state;
	memset(line, 'a', 20000);
	assert_int_equal(answered(line, 20000, false), -EBADMSG);
	free(line);
}

static void silence_ends(void **state)
{
	time_t start = time(NULL);

	(void)state;
	assert_int_equal(text("", false), -ETIMEDOUT);
	assert_int_equal(text(OK "Content-Length: 9\r\n\r\n{\"x\":", false), -ETIMEDOUT);
	assert_true(time(NULL) - start <= 4);
}

/* A byte each tenth of a second: never idle, and over all the same. */
static void drops_end(void **state)
{
	static const char answer[] = OK "Content-Length: 900\r\n\r\n{";
	struct ag_question q = { .path = "/", .timeout_s = 1, .fn = on_answer };
	struct timeval tick = { .tv_usec = 100000 };
	struct ag_ask *ask;
	struct err e = ERR_INIT;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	calls = 0;
	assert_int_equal(ag_ask(base, pair[0], &q, &ask, &e), 0);
	for (size_t i = 0; i < 20 && !calls; i++) {
		assert_int_equal(write(pair[1], &answer[i], 1), 1);
		event_base_loopexit(base, &tick);
		event_base_loop(base, 0);
	}
	close(pair[1]);
	assert_int_equal(calls, 1);
	assert_int_equal(last.code, -ETIMEDOUT);
}

static void giving_up_calls_nobody(void **state)
{
	struct ag_question q = { .path = "/", .timeout_s = 1, .fn = on_answer };
	struct ag_ask *ask;
	struct err e = ERR_INIT;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	calls = 0;
	assert_int_equal(ag_ask(base, pair[0], &q, &ask, &e), 0);
	ag_ask_free(ask);
	close(pair[1]);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(calls, 0);
}

static int set_up(void **state)
{
	(void)state;
	base = event_base_new();
	return base ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_read),
		cmocka_unit_test(refusals_are_said),
		cmocka_unit_test(what_is_no_answer_is_refused),
		cmocka_unit_test(an_endless_head_is_not_read),
		cmocka_unit_test(silence_ends),
		cmocka_unit_test(drops_end),
		cmocka_unit_test(giving_up_calls_nobody),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
