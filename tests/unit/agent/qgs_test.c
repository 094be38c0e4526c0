// SPDX-License-Identifier: Apache-2.0
/* The exchange with a quoting service, played by a child of the test: what it answers is the host's word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/qgs.h"
#include "base/buf.h"

#define REQUEST_LEN (4 + 16 + 8 + AG_TDREPORT_LEN)

static char path[64];

/* A service for one question: reads it, checks it, sends `n` bytes, hangs up. */
static pid_t service_start(const void *answer, size_t n)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/by-qgs-%d", (int)getpid());
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 1), 0);
	pid = fork();
	if (pid == 0) {
		uint8_t request[REQUEST_LEN];
		int conn = accept(fd, NULL, NULL);
		size_t got = 0;

		while (got < sizeof(request)) {
			ssize_t more = read(conn, request + got, sizeof(request) - got);

			if (more <= 0)
				_exit(2);
			got += (size_t)more;
		}
		/* length big-endian, the rest little-endian; the report is 0x42s */
		if (request[2] != 4 || request[3] != 24 || request[4] != 1 || request[REQUEST_LEN - 1] != 0x42)
			_exit(3);
		if (n && write(conn, answer, n) != (ssize_t)n)
			_exit(4);
		_exit(0);
	}
	close(fd);
	return pid;
}

/* 0 and the quote's length, or the error. */
static int ask(const void *answer, size_t n, size_t *len, struct err *e)
{
	pid_t pid = service_start(answer, n);
	uint8_t report[AG_TDREPORT_LEN], *quote = NULL;
	int status, ret;

	memset(report, 0x42, sizeof(report));
	*e = (struct err)ERR_INIT;
	ret = ag_qgs_quote(path, report, &quote, len, e);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (!ret)
		assert_memory_equal(quote, "QUOTE", 5);
	free(quote);
	unlink(path);
	return ret;
}

struct answer {
	uint32_t type, size, error, id_len, quote_len;
};

static void answer_write(struct out *out, const struct answer *a, uint32_t announced)
{
	out_u32be(out, announced);
	out_u16le(out, 1);
	out_u16le(out, 0);
	out_u32le(out, a->type);
	out_u32le(out, a->size);
	out_u32le(out, a->error);
	out_u32le(out, a->id_len);
	out_u32le(out, a->quote_len);
	out_bytes(out, "idQUOTE", 7);
}

#define RIGHT                                                                                                          \
	{                                                                                                              \
		1, 31, 0, 2, 5                                                                                         \
	}

static void a_quote_comes_back(void **state)
{
	auto_out struct out out = { 0 };
	struct answer a = RIGHT;
	struct err e;
	size_t len;

	(void)state;
	answer_write(&out, &a, 31);
	assert_int_equal(ask(out.data, out.len, &len, &e), 0);
	assert_int_equal(len, 5);
}

static void what_the_host_says_is_bounded(void **state)
{
	static const struct {
		struct answer a;
		uint32_t announced;
		const char *why;
	} cases[] = { { { 1, 31, 0, 2, 6 }, 31, "sizes that do not fit" },
		      { { 1, 31, 0, 0xffffffff, 5 }, 31, "sizes that do not fit" },
		      { { 1, 31, 0, 1, 5 }, 31, "sizes that do not fit" },
		      { { 1, 31, 0, 7, 0 }, 31, "sizes that do not fit" },
		      { { 1, 30, 0, 2, 5 }, 31, "something else than a quote" },
		      { { 0, 31, 0, 2, 5 }, 31, "something else than a quote" },
		      { { 1, 31, 0x12, 2, 5 }, 31, "error 0x12" },
		      { { 1, 31, 0, 2, 5 }, 15, "announces 15 bytes" },
		      { { 1, 31, 0, 2, 5 }, 0xffffffff, "announces 4294967295 bytes" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_out struct out out = { 0 };
		struct err e;
		size_t len;

		answer_write(&out, &cases[i].a, cases[i].announced);
		assert_true(ask(out.data, out.len, &len, &e) < 0);
		if (!strstr(e.msg, cases[i].why))
			fail_msg("case %zu: %s", i, e.msg);
	}
}

static void an_answer_cut_anywhere_is_refused(void **state)
{
	auto_out struct out out = { 0 };
	struct answer a = RIGHT;

	(void)state;
	answer_write(&out, &a, 31);
	for (size_t n = 0; n < out.len; n++) {
		struct err e;
		size_t len;

		assert_true(ask(out.data, n, &len, &e) < 0);
		assert_non_null(strstr(e.msg, "quoting service"));
	}
}

static void addresses_are_checked(void **state)
{
	static const char *const bad[] = { "", "vsock:2", "vsock:2:4050:1", "vsock:x:1", "relative", "host:4050" };
	struct err e = ERR_INIT;

	(void)state;
	assert_true(ag_qgs_is_address("vsock:2:4050", &e));
	assert_true(ag_qgs_is_address("/var/run/tdx-qgs/qgs.socket", &e));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e = (struct err)ERR_INIT;
		assert_false(ag_qgs_is_address(bad[i], &e));
		assert_non_null(strstr(e.msg, "vsock:CID:PORT"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quote_comes_back),
		cmocka_unit_test(what_the_host_says_is_bounded),
		cmocka_unit_test(an_answer_cut_anywhere_is_refused),
		cmocka_unit_test(addresses_are_checked),
	};

	return cmocka_run_group_tests_name("agent/qgs", tests, NULL, NULL);
}
