// SPDX-License-Identifier: Apache-2.0
/*
 * What is TLS's own when the kernel has taken it over: new keys, an end without close_notify, records that nobody sent,
 * and a kernel that does not take it. The streams themselves are proxy_modes_test's.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../lib/proxy.h"

static struct pw w;
static bool has_ktls;

/* A TLS client of the test's own, through the server's side. */
struct pair {
	int client, backend;
	SSL *ssl;
};

static struct pair dial(void)
{
	SSL_CTX *ctx = pw_client_ctx(&w, PW_CLIENT);
	struct pair p = { .client = pw_dial(&w, PW_TLS_TCP), .ssl = SSL_new(ctx) };

	SSL_CTX_free(ctx);
	SSL_set_fd(p.ssl, p.client);
	assert_int_equal(SSL_connect(p.ssl), 1);
	p.backend = pw_accept(&w);
	return p;
}

static void say(struct pair *p, const char *text)
{
	char got[64];
	int len = (int)strlen(text);

	assert_int_equal(SSL_write(p->ssl, text, len), len);
	assert_true(pw_exactly(p->backend, got, (size_t)len) && memcmp(got, text, (size_t)len) == 0);
}

static void answer(struct pair *p, const char *text)
{
	char got[64];
	int len = (int)strlen(text);

	pw_send(p->backend, text);
	assert_int_equal(SSL_read(p->ssl, got, sizeof(got)), len);
	assert_memory_equal(got, text, (size_t)len);
}

static void end(struct pair *p)
{
	SSL_free(p->ssl);
	close(p->client);
	close(p->backend);
}

static void start(bool by_kernel)
{
	struct pw_conf conf = { .server = { .ktls = by_kernel, .ktls_after = 1 } };

	pw_start(&w, &conf);
}

/* A ticket that is sent late, an alert and new keys are all records that are not data. */
static void new_keys_by_openssl(void **state)
{
	struct pair p;

	(void)state;
	start(false);
	p = dial();
	say(&p, "hello");
	assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	say(&p, "again");
	answer(&p, "there");
	end(&p);
	pw_stop(&w);
}

/* The kernel can not take new keys: the connection ends, and nobody gets what was not said. */
static void new_keys_by_the_kernel(void **state)
{
	struct pair p;
	char got[8];

	(void)state;
	if (!has_ktls)
		skip();
	start(true);
	p = dial();
	say(&p, "hello");
	answer(&p, "there");
	assert_int_equal(pw_counters(&w, true).ktls_directions, 2);
	assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	SSL_write(p.ssl, "again", 5);
	assert_true(pw_is_reset(p.backend));
	assert_true(SSL_read(p.ssl, got, sizeof(got)) <= 0);
	assert_int_equal(pw_counters(&w, true).ktls_rekeys, 1);
	end(&p);
	pw_stop(&w);
}

/* Without close_notify somebody else may have ended it: that is told as a reset. With one it is an end. */
static void ends_are_told_apart(void **state)
{
	(void)state;
	start(has_ktls);
	for (int in_order = 0; in_order < 2; in_order++) {
		struct pair p = dial();

		say(&p, "hello");
		if (in_order)
			SSL_shutdown(p.ssl);
		shutdown(p.client, SHUT_WR);
		assert_true(in_order ? pw_is_eof(p.backend) : pw_is_reset(p.backend));
		end(&p);
	}
	pw_stop(&w);
}

/* Somebody on the way puts bytes in that have no key. */
static void forged_records_end_it(void **state)
{
	static const char forged[] = "\x17\x03\x03\x00\x20"
				     "0123456789abcdef0123456789abcdef";

	(void)state;
	start(has_ktls);
	for (int plain = 0; plain < 2; plain++) {
		struct pair p = dial();

		say(&p, "hello");
		if (plain)
			pw_send(p.client, "this is no TLS at all, and long enough for a record");
		else
			pw_send_bytes(p.client, forged, sizeof(forged) - 1);
		assert_true(pw_is_reset(p.backend));
		end(&p);
	}
	pw_stop(&w);
}

/* All that comes on the wire, to its end. */
static bool has_seen(int fd, const char *text)
{
	static char all[65536];
	size_t n = 0;
	ssize_t got;

	while (n < sizeof(all) && (got = recv(fd, all + n, sizeof(all) - n, 0)) > 0)
		n += (size_t)got;
	return memmem(all, n, text, strlen(text));
}

/* A kernel that takes nobody's keys: what would come next would be plain text, so nothing does. */
static void a_failed_hand_over_ends_it(void **state)
{
	struct pair p;

	(void)state;
	if (has_ktls)
		skip();
	start(true);
	p = dial();
	say(&p, "hello");
	assert_true(pw_is_reset(p.backend));
	end(&p);
	p = dial();
	pw_send(p.backend, "secret one");
	usleep(20000);
	pw_send(p.backend, "secret two");
	assert_false(has_seen(p.client, "secret"));
	assert_int_equal(pw_counters(&w, true).ktls_failed, 2);
	assert_int_equal(pw_counters(&w, true).ktls_directions, 0);
	end(&p);
	pw_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_keys_by_openssl),        cmocka_unit_test(new_keys_by_the_kernel),
		cmocka_unit_test(ends_are_told_apart),        cmocka_unit_test(forged_records_end_it),
		cmocka_unit_test(a_failed_hand_over_ends_it),
	};
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	has_ktls = mp_ktls_probe(&e) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
