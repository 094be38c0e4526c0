// SPDX-License-Identifier: Apache-2.0
/* An upstream with several addresses: which is dialled when, and what is remembered of those that did not answer. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/proxy.h"

static struct pw w;

/* A port where nobody is. */
static uint16_t refusing_port(void)
{
	uint16_t port = 0;

	close(pw_listen_any(&port));
	return port;
}

static void an_address_that_refuses(void **state)
{
	struct pw_conf conf = { .bad = { refusing_port() } };
	int fd[2], back[2];

	(void)state;
	pw_start(&w, &conf);
	for (int i = 0; i < 2; i++) { /* both are there at once, so that the second dials, too, and knows already */
		fd[i] = pw_dial(&w, PW_HTTP);
		pw_get(fd[i]);
		back[i] = pw_accept(&w);
		assert_non_null(pw_head(back[i]));
		assert_int_equal(pw_counters(&w, true).upstream_redials, 1);
	}
	for (int i = 0; i < 2; i++) {
		pw_answer(back[i]);
		assert_true(pw_is_answered(fd[i]));
		close(fd[i]);
		close(back[i]);
	}
	assert_int_equal(pw_counters(&w, true).upstream_failures, 0);
	pw_stop(&w);
}

/* Its queue is full: what comes is thrown away by the kernel. */
static int silent_listener(uint16_t *port, int fill[4])
{
	int fd = pw_listen_any(port);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(*port) };

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(listen(fd, 0), 0);
	for (int i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&at, sizeof(at));
	}
	usleep(50000);
	return fd;
}

static void an_address_that_is_silent(void **state)
{
	struct pw_conf conf = { .server.connect_ms = 900, .bad = { 0, refusing_port() } };
	int fill[4], silent = silent_listener(&conf.bad[0], fill), fd, back;

	(void)state;
	pw_start(&w, &conf);
	fd = pw_dial(&w, PW_HTTP);
	pw_get(fd);
	back = pw_accept(&w);
	assert_non_null(pw_head(back));
	pw_answer(back);
	assert_true(pw_is_answered(fd));
	assert_int_equal(pw_counters(&w, true).upstream_redials, 2);
	assert_int_equal(pw_counters(&w, true).timeouts, 0);
	close(fd);
	close(back);
	close(silent);
	for (int i = 0; i < 4; i++)
		close(fill[i]);
	pw_stop(&w);
}

static void no_address_answers(void **state)
{
	struct pw_conf conf = { .backend = refusing_port(), .bad = { refusing_port(), refusing_port() } };
	int fd;

	(void)state;
	pw_start(&w, &conf);
	fd = pw_dial(&w, PW_HTTP);
	pw_get(fd);
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 502 "));
	assert_non_null(pw_until(fd, "Connection refused"));
	assert_int_equal(pw_counters(&w, true).upstream_redials, 2);
	close(fd);
	pw_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_that_refuses),
		cmocka_unit_test(an_address_that_is_silent),
		cmocka_unit_test(no_address_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
