// SPDX-License-Identifier: Apache-2.0
/* The REST API's listener in a process that has run out of descriptors: it waits, counts, and serves again. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vpcd/api.h"
#include "vpcd/front.h"

#define SPARE    64 /* descriptors that the limit leaves, to be taken */
#define CLIENTS  3
#define PAUSE_MS 900 /* of the second between two tries; the loop's clock may be behind */

static struct vs_loaded loaded;
static struct front front = { .loaded = &loaded };
static struct api *api;
static int taken[SPARE], n_taken;

static const char request[] = "GET /health HTTP/1.1\r\nHost: vpc-server\r\n\r\n";

static int listener_made(struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	at->sun_family = AF_UNIX; /* a name of its own choice, in no file system */
	assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static int client(int listener)
{
	struct sockaddr_un at;
	socklen_t len = sizeof(at);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	return fd;
}

static void take_all(void)
{
	struct rlimit few;
	int next = dup(0);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &few), 0);
	close(next);
	few.rlim_cur = (rlim_t)next + SPARE;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (n_taken < SPARE && (taken[n_taken] = dup(0)) >= 0)
		n_taken++;
	assert_int_equal(dup(0), -1);
}

static void turns_until_failed(uint64_t wanted)
{
	while (api_accept_failed(api) < wanted)
		event_base_loop(front.base, EVLOOP_ONCE);
}

static bool is_answered(int fd)
{
	char text[512];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	return n > 0 && strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0;
}

static void it_waits_and_serves_again(void **state)
{
	struct sockaddr_un at = { 0 };
	struct err e = ERR_INIT;
	int listener = listener_made(&at), fd[CLIENTS], n_answered = 0;
	int64_t first_ms;

	(void)state;
	alarm(300); /* a listener that tries for ever without a word */
	front.base = event_base_new();
	assert_int_equal(api_new(&front, listener, getuid(), &api, &e), 0);
	for (int i = 0; i < CLIENTS; i++)
		fd[i] = client(listener);
	take_all();
	turns_until_failed(1);
	first_ms = clock_ms(CLOCK_MONOTONIC);
	turns_until_failed(3); /* it does not die of them, and between two it does nothing */
	assert_true(clock_ms(CLOCK_MONOTONIC) - first_ms >= 2 * PAUSE_MS);
	for (int i = 0; i < CLIENTS; i++)
		assert_false(is_answered(fd[i]));

	while (n_taken)
		close(taken[--n_taken]);
	while (n_answered < CLIENTS) {
		event_base_loop(front.base, EVLOOP_ONCE);
		for (int i = 0; i < CLIENTS; i++)
			n_answered += is_answered(fd[i]);
	}
	assert_int_equal(api_accept_failed(api), 3);
	assert_int_equal(front.stats.api_requests, CLIENTS);
	api_free(api);
	for (int i = 0; i < CLIENTS; i++)
		close(fd[i]);
	close(listener);
	event_base_free(front.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(it_waits_and_serves_again) };

	return cmocka_run_group_tests_name("vpcd/api_accept", tests, NULL, NULL);
}
