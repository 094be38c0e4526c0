// SPDX-License-Identifier: Apache-2.0
/* HTTP through both sides: bodies of every framing, every early or missing end, and what must never reach a backend. */
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

#define TO  "x-dstack-target-app: " PW_APP_SERVER "\r\n"
#define APP "X-Dstack-App-Id: " PW_APP_CLIENT "\r\n"

static struct pw w;
static int back = -1; /* the backend's connection of this test */

static int ask(const char *text)
{
	int fd = pw_dial(&w, PW_HTTP);

	pw_send(fd, text);
	return fd;
}

static char *backend_head(void)
{
	back = pw_accept(&w);
	assert_true(back >= 0);
	return pw_head(back);
}

/* A close could be half of one, and the request go on; a reset ends it. */
static void done(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	for (int i = 0; i < 1000 && pw_counters(&w, false).active + pw_counters(&w, true).active > 0; i++)
		usleep(1000);
	assert_int_equal(pw_counters(&w, false).active + pw_counters(&w, true).active, 0);
	if (back >= 0)
		close(back);
	back = -1;
}

static void assert_gets(int fd, const char *text)
{
	char got[4096] = "";

	assert_true(pw_exactly(fd, got, strlen(text)));
	assert_string_equal(got, text);
}

/* Nothing more comes to either end for a while. */
static void assert_silent(int fd)
{
	struct timeval t = { .tv_usec = 100000 };
	char c;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	assert_true(recv(fd, &c, 1, 0) < 0);
	t = (struct timeval){ .tv_sec = PW_TIMEOUT };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static void chunks_and_trailers_both_ways(void **state)
{
	static const char body[] = "5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n";
	int fd = ask("POST /up HTTP/1.1\r\nHost: h\r\n" TO
		     "Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n");

	(void)state;
	assert_string_equal(backend_head(),
			    "POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nVia: 1.1 bailey-mesh\r\n"
			    "TE: trailers\r\nConnection: TE\r\nVia: 1.1 bailey-mesh\r\n" APP "\r\n");
	/* a byte at a time: what is whole goes on, nothing waits for the end */
	for (const char *p = body; *p; p++)
		pw_send_bytes(fd, p, 1);
	assert_gets(back, body);
	pw_send(back, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: C\r\n\r\n");
	assert_string_equal(pw_head(fd), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: C\r\n\r\n");
	pw_send(back, "3\r\nabc\r\n");
	assert_gets(fd, "3\r\nabc\r\n");
	pw_send(back, "0\r\nC: d\r\n\r\n");
	assert_gets(fd, "0\r\nC: d\r\n\r\n");
	/* the same connections go on */
	pw_send(fd, "GET /again HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
	assert_non_null(strstr(pw_head(back), "GET /again "));
	done(fd);
}

static void continue_is_passed_on(void **state)
{
	int fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");

	(void)state;
	assert_non_null(strstr(backend_head(), "Expect: 100-continue\r\n"));
	assert_silent(back);
	pw_send(back, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_gets(fd, "HTTP/1.1 100 Continue\r\n\r\n");
	pw_send(fd, "hello");
	assert_gets(back, "hello");
	pw_send(back, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	assert_gets(fd, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	done(fd);
}

static void answers_without_a_body(void **state)
{
	static const char *const cases[][3] = {
		{ "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" },
		{ "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
		{ "GET", "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n" },
		{ "GET", "HTTP/1.1 304 No\r\nContent-Length: 99\r\n\r\n",
		  "HTTP/1.1 304 No\r\nContent-Length: 99\r\n\r\n" },
		{ "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
	};
	int fd = pw_dial(&w, PW_HTTP);
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: h\r\n" TO "\r\n", cases[i][0]);
		pw_send(fd, text);
		assert_non_null(i ? pw_head(back) : backend_head());
		pw_send(back, cases[i][1]);
		assert_gets(fd, cases[i][2]);
	}
	done(fd);
}

static void an_answer_until_the_end(void **state)
{
	int fd = ask("GET / HTTP/1.1\r\nHost: h\r\n" TO "\r\n");

	(void)state;
	assert_non_null(backend_head());
	pw_send(back, "HTTP/1.1 200 OK\r\n\r\nall of it");
	close(back);
	back = -1;
	assert_string_equal(pw_head(fd), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	assert_gets(fd, "all of it");
	assert_true(pw_is_eof(fd));
	done(fd);
}

/* An HTTP/1.0 client knows neither chunks nor 1xx. */
static void old_clients_get_what_they_know(void **state)
{
	int fd = ask("GET / HTTP/1.0\r\nHost: h\r\n" TO "\r\n");

	(void)state;
	assert_non_null(strstr(backend_head(), "GET / HTTP/1.1\r\n"));
	pw_send(back, "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
		      "chunked\r\n\r\n3\r\nabc\r\n4;x\r\ndefg\r\n"
		      "0\r\nA: b\r\n\r\n");
	assert_string_equal(pw_head(fd), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	assert_gets(fd, "abcdefg");
	assert_true(pw_is_eof(fd));
	done(fd);
	fd = ask("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n" TO "\r\n");
	assert_non_null(backend_head());
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	assert_string_equal(pw_head(fd), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n");
	done(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	int fd = ask("GET /1 HTTP/1.1\r\nHost: h\r\n" TO "\r\nPOST /2 HTTP/1.1\r\nHost: h\r\n" TO
		     "Content-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: h\r\n" TO "Connection: close\r\n\r\n");

	(void)state;
	assert_non_null(strstr(backend_head(), "GET /1 "));
	assert_silent(back);
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
	assert_non_null(strstr(pw_head(back), "POST /2 "));
	assert_gets(back, "abc");
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
	assert_non_null(strstr(pw_head(back), "GET /3 "));
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3");
	assert_gets(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n3");
	assert_true(pw_is_eof(fd));
	done(fd);
}

/* The answer comes while the body is still sent: it arrives, and then the connection ends. */
static void an_early_answer_arrives(void **state)
{
	int fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: 1000000\r\n\r\nsome");

	(void)state;
	assert_non_null(backend_head());
	assert_gets(back, "some");
	pw_send(back, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 413 Too Large\r\n"));
	assert_gets(fd, "much");
	assert_true(pw_is_eof(fd));
	done(fd);
}

/* The same without an announced end: the rest of the request still goes where its beginning went. */
static void a_request_may_outlast_its_answer(void **state)
{
	int fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: 8\r\n\r\nhalf");

	(void)state;
	assert_non_null(backend_head());
	assert_gets(back, "half");
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	assert_gets(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	pw_send(fd, "restGET /next HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
	assert_gets(back, "rest");
	assert_non_null(strstr(pw_head(back), "GET /next HTTP/1.1\r\n"));
	done(fd);
}

/* Who waits for 100 and gets an answer instead sends no body: the next bytes must not be taken for it. */
static void no_body_after_a_refused_expectation(void **state)
{
	int fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: 500\r\nExpect: 100-continue\r\n\r\n");

	(void)state;
	assert_non_null(backend_head());
	pw_send(back, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
	assert_gets(fd, "HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
	pw_send(fd, "GET /evil HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
	assert_true(pw_is_eof(fd));
	assert_true(pw_until(back, "evil") == NULL);
	done(fd);
}

static void ends_in_the_middle_are_no_ends(void **state)
{
	static const char *const halves[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
		int fd = ask("GET / HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
		char c;

		assert_non_null(backend_head());
		pw_send(back, halves[i]);
		close(back);
		back = -1;
		while (recv(fd, &c, 1, 0) == 1)
			;
		assert_true(pw_is_reset(fd) || recv(fd, &c, 1, 0) <= 0);
		done(fd);
	}
}

static void half_a_request_is_no_request(void **state)
{
	int fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: 10\r\n\r\nhalf");

	(void)state;
	assert_non_null(backend_head());
	assert_gets(back, "half");
	close(fd);
	assert_true(pw_is_reset(back));
	done(pw_dial(&w, PW_HTTP));
}

static void a_dead_backend_is_told(void **state)
{
	int fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
	char *head;

	(void)state;
	assert_non_null(backend_head());
	close(back);
	back = -1;
	head = pw_head(fd);
	assert_non_null(strstr(head, "HTTP/1.1 502 Bad Gateway\r\n"));
	assert_non_null(strstr(pw_until(fd, "}"), "{\"error\":\"CONNECTION_FAILED: backend"));
	done(fd);
}

static void a_malformed_answer_is_told(void **state)
{
	int fd = ask("GET / HTTP/1.1\r\nHost: h\r\n" TO "\r\n");

	(void)state;
	assert_non_null(backend_head());
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 502 "));
	assert_non_null(strstr(pw_until(fd, "}"), "BAD_RESPONSE"));
	assert_int_equal(pw_counters(&w, true).malformed_responses, 1);
	done(fd);
}

/* A connection that the backend gave up while it was idle: what can be repeated is, once, and the client sees nothing.
 */
static void a_stale_connection_is_replaced(void **state)
{
	uint64_t before = pw_counters(&w, true).upstream_retries;
	int fd = ask("GET /1 HTTP/1.1\r\nHost: h\r\n" TO "\r\n");

	(void)state;
	assert_non_null(backend_head());
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_non_null(pw_head(fd));
	pw_send(fd, "GET /2 HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
	assert_non_null(pw_head(back));
	close(back); /* after the request, so that it could not be seen before */
	assert_non_null(strstr(backend_head(), "GET /2 "));
	pw_send(back, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 200 OK\r\n"));
	assert_gets(fd, "ok");
	assert_int_equal(pw_counters(&w, true).upstream_retries, before + 1);
	/* one that is not idempotent is never repeated */
	pw_send(fd, "POST /3 HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: 1\r\n\r\nx");
	assert_non_null(pw_head(back));
	close(back);
	back = -1;
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 502 "));
	assert_int_equal(pw_counters(&w, true).upstream_retries, before + 1);
	done(fd);
}

/* What two readers could understand differently gets 400 here and not a byte behind it goes on. */
static void smuggling_ends_here(void **state)
{
	static const char *const attacks[] = {
		"POST / HTTP/1.1\r\nHost: h\r\n" TO
		"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil ",
		"POST / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcdGET /evil ",
		"POST / HTTP/1.1\r\nHost: h\r\n" TO "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /evil ",
		"POST / HTTP/1.1\r\nHost: h\r\n" TO "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /evil ",
		"POST / HTTP/1.1\r\nHost: h\r\n" TO "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil ",
		"POST / HTTP/1.1\r\nHost: h\r\n" TO "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil ",
		"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n" TO "\r\nGET /evil ",
		"GET /\tx HTTP/1.1\r\nHost: h\r\n" TO "\r\nGET /evil ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		uint64_t before = pw_counters(&w, true).requests;
		int fd = ask(attacks[i]);
		char *head = pw_head(fd);

		assert_true(strstr(head, "HTTP/1.1 400 ") || strstr(head, "HTTP/1.1 501 "));
		assert_non_null(pw_until(fd, "}"));
		assert_true(pw_is_eof(fd));
		assert_int_equal(pw_counters(&w, true).requests, before);
		done(fd);
	}
}

/* A body whose framing breaks: what was whole is there, the rest is not, and the request never looks finished. */
static void a_broken_chunk_ends_the_request(void **state)
{
	int fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "Transfer-Encoding: chunked\r\n\r\n");

	(void)state;
	assert_non_null(backend_head());
	pw_send(fd, "5\r\nhelloX0\r\n\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 400 "));
	assert_true(pw_until(back, "X") == NULL);
	done(fd);
	fd = ask("POST / HTTP/1.1\r\nHost: h\r\n" TO "Transfer-Encoding: chunked\r\n\r\n");
	assert_non_null(backend_head());
	pw_send(fd, "0\r\nX-Dstack-App-Id: forged\r\n\r\n");
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 400 "));
	assert_true(pw_until(back, "forged") == NULL);
	done(fd);
}

static void long_heads_are_refused(void **state)
{
	static char text[20000];
	int fd;

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	memcpy(text, "GET /", 5);
	fd = ask(text);
	assert_non_null(strstr(pw_head(fd), "HTTP/1.1 431 "));
	done(fd);
}

struct upload {
	int fd;
	size_t len;
};

static void *upload(void *arg)
{
	static __thread char block[65536];
	struct upload *u = arg;

	for (size_t sent = 0; sent < u->len; sent += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i += 8)
			memcpy(block + i, &(uint64_t){ sent + i }, 8);
		pw_send_bytes(u->fd, block, sizeof(block));
	}
	return NULL;
}

static void *download(void *arg)
{
	static __thread char block[65536];
	struct upload *d = arg;

	for (size_t got = 0; got < d->len; got += sizeof(block)) {
		if (!pw_exactly(d->fd, block, sizeof(block)))
			return NULL;
		for (size_t i = 0; i < sizeof(block); i += 8)
			if (memcmp(block + i, &(uint64_t){ got + i }, 8) != 0)
				return NULL;
	}
	return d;
}

/* More than any buffer, both ways at once, as an echo would. */
static void large_bodies_stream(void **state)
{
	const size_t len = 16 << 20;
	struct upload up = { .len = len }, down = { .len = len };
	pthread_t sends, answers, takes;
	void *good;
	char text[256];

	(void)state;
	snprintf(text, sizeof(text), "PUT / HTTP/1.1\r\nHost: h\r\n" TO "Content-Length: %zu\r\n\r\n", len);
	up.fd = ask(text);
	assert_non_null(backend_head());
	down.fd = back;
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
	pw_send(back, text);
	assert_non_null(pw_head(up.fd));
	pthread_create(&sends, NULL, upload, &up);
	pthread_create(&answers, NULL, upload, &down);
	pthread_create(&takes, NULL, download, &up);
	assert_ptr_equal(download(&down), &down);
	pthread_join(takes, &good);
	assert_ptr_equal(good, &up);
	pthread_join(sends, NULL);
	pthread_join(answers, NULL);
	/* and both connections are good for more */
	pw_send(up.fd, "GET /more HTTP/1.1\r\nHost: h\r\n" TO "\r\n");
	assert_non_null(strstr(pw_head(back), "GET /more "));
	done(up.fd);
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
		cmocka_unit_test(chunks_and_trailers_both_ways),
		cmocka_unit_test(continue_is_passed_on),
		cmocka_unit_test(answers_without_a_body),
		cmocka_unit_test(an_answer_until_the_end),
		cmocka_unit_test(old_clients_get_what_they_know),
		cmocka_unit_test(pipelined_requests_are_answered_in_order),
		cmocka_unit_test(an_early_answer_arrives),
		cmocka_unit_test(a_request_may_outlast_its_answer),
		cmocka_unit_test(no_body_after_a_refused_expectation),
		cmocka_unit_test(ends_in_the_middle_are_no_ends),
		cmocka_unit_test(half_a_request_is_no_request),
		cmocka_unit_test(a_dead_backend_is_told),
		cmocka_unit_test(a_malformed_answer_is_told),
		cmocka_unit_test(a_stale_connection_is_replaced),
		cmocka_unit_test(smuggling_ends_here),
		cmocka_unit_test(a_broken_chunk_ends_the_request),
		cmocka_unit_test(long_heads_are_refused),
		cmocka_unit_test(large_bodies_stream),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
