// SPDX-License-Identifier: Apache-2.0
/* A request and its answer through both sides of the proxy, and what each side does with heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/proxy.h"

static struct pw w;

#define TO "x-dstack-target-app: " PW_APP_SERVER "\r\n"

static void answers_health(void **state)
{
	int fd = pw_dial(&w, PW_HTTP);

	(void)state;
	pw_send(fd, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 200 OK\r\n"));
	assert_string_equal(pw_until(fd, "\n"), "well\n");
	/* and keeps the connection */
	pw_send(fd, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 200 OK\r\n"));
	close(fd);
}

static void passes_a_request(void **state)
{
	int fd = pw_dial(&w, PW_HTTP), back;
	char *head;

	(void)state;
	for (int i = 0; i < 3; i++) {
		pw_send(fd, "GET /hello?a=b HTTP/1.1\r\nHost: x\r\n" TO
			    "X-Dstack-App-Id: forged\r\nx_dstack_app_id: forged\r\nA: b\r\n\r\n");
		if (i == 0)
			back = pw_accept(&w);
		assert_true(back >= 0);
		head = pw_head(back);
		assert_non_null(head);
		assert_string_equal(head, "GET /hello?a=b HTTP/1.1\r\nHost: x\r\nA: b\r\nVia: 1.1 bailey-mesh\r\n"
					  "Via: 1.1 bailey-mesh\r\nX-Dstack-App-Id: " PW_APP_CLIENT "\r\n\r\n");
		pw_send(back, "HTTP/1.1 201 Made\r\nContent-Length: 5\r\nB: c\r\n\r\nhello");
		assert_string_equal(pw_head(fd), "HTTP/1.1 201 Made\r\nContent-Length: 5\r\nB: c\r\n\r\n");
		assert_string_equal(pw_until(fd, "hello"), "hello");
	}
	assert_int_equal(pw_counters(&w, false).upstream_connects, 1);
	assert_int_equal(pw_counters(&w, false).upstream_reuses, 2);
	assert_int_equal(pw_counters(&w, true).upstream_reuses, 2);
	close(fd);
	close(back);
}

static void refuses_another_app(void **state)
{
	int fd = pw_dial(&w, PW_HTTP);

	(void)state;
	pw_send(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nx-dstack-target-app: " PW_APP_OTHER
		    "\r\n\r\nsecret");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 526 "));
	assert_non_null(strstr(pw_until(fd, "}"), "{\"error\":\"SSL_VERIFICATION_FAILED: it is app " PW_APP_SERVER));
	/* the server saw no byte of it */
	assert_int_equal(pw_counters(&w, true).requests, 3);
	close(fd);
}

static void names_the_rule_that_denied(void **state)
{
	int fd = pw_dial(&w, PW_HTTP);

	(void)state;
	pw_send(fd, "GET /deny HTTP/1.1\r\nHost: x\r\n" TO "\r\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 403 Forbidden\r\n"));
	assert_non_null(strstr(pw_until(fd, "}"), "DENIED: denied by rule \\\"none\\\""));
	close(fd);
}

static int start(void **state)
{
	struct pw_conf conf = { 0 };

	(void)state;
	pw_start(&w, &conf);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	pw_stop(&w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_health),
		cmocka_unit_test(passes_a_request),
		cmocka_unit_test(refuses_another_app),
		cmocka_unit_test(names_the_rule_that_denied),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
