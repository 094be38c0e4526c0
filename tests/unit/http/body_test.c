// SPDX-License-Identifier: Apache-2.0
/* Bodies: where they end, what of them is data, and what is refused; whole and in pieces of every size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "http/http.h"

static const char *const reserved[] = { "x-dstack-*", NULL };

static const struct {
	const char *text;
	enum http_error error;
	const char *data; /* NULL: it is not whole */
	unsigned rest;    /* bytes behind its end */
} bodies[] = {
	{ "0\r\n\r\n", 0, "", 0 },
	{ "5\r\nhello\r\n0\r\n\r\n", 0, "hello", 0 },
	{ "5\r\nhello\r\n0\r\n\r\nGET /", 0, "hello", 5 },
	{ "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", 0, "abc", 0 },
	{ "a\r\n0123456789\r\n0\r\n\r\n", 0, "0123456789", 0 },
	{ "A\r\n0123456789\r\n0\r\n\r\n", 0, "0123456789", 0 },
	{ "0005\r\nhello\r\n000\r\n\r\n", 0, "hello", 0 },
	{ "2\r\n\r\n\r\n0\r\n\r\n", 0, "\r\n", 0 },
	{ "5;a\r\nhello\r\n0\r\n\r\n", 0, "hello", 0 },
	{ "5;a=b\r\nhello\r\n0;c\r\n\r\n", 0, "hello", 0 },
	{ "5 ; a = b ; c\r\nhello\r\n0\r\n\r\n", 0, "hello", 0 },
	{ "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n", 0, "hello", 0 },
	{ "0\r\nA: b\r\n\r\n", 0, "", 0 },
	{ "0\r\nA: b\r\nC:\r\n\r\nrest", 0, "", 4 },
	{ "", 0, NULL, 0 },
	{ "5", 0, NULL, 0 },
	{ "5\r\nhel", 0, NULL, 0 },
	{ "5\r\nhello", 0, NULL, 0 },
	{ "5\r\nhello\r\n", 0, NULL, 0 },
	{ "0\r\n", 0, NULL, 0 },
	{ "0\r\nA: b\r\n", 0, NULL, 0 },
	{ "\r\n", HTTP_E_CHUNK, NULL, 0 },
	{ "g\r\n", HTTP_E_CHUNK, NULL, 0 },
	{ "-5\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "+5\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ " 5\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5 \r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5\t\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "0x5\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5 5\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5\nhello\r\n0\r\n\r\n", HTTP_E_LINE_END, NULL, 0 },
	{ "5\r\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5\r\nhello\n0\r\n\r\n", HTTP_E_CHUNK, NULL, 0 },
	{ "5\r\nhello0\r\n\r\n", HTTP_E_CHUNK, NULL, 0 },
	{ "5\r\nhello\r0\r\n\r\n", HTTP_E_CHUNK, NULL, 0 },
	{ "4\r\nhello\r\n0\r\n\r\n", HTTP_E_CHUNK, NULL, 0 },
	{ "6\r\nhello\r\n0\r\n\r\n", HTTP_E_CHUNK, NULL, 0 },
	{ "fffffffffffffff\r\nhello", 0, NULL, 0 },
	{ "ffffffffffffffff\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "10000000000000005\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "0000000000000005\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;;a\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;a=\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;=b\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;a=b c\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;a=\"b\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;a=\"b\"c\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;a=\"\\\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;a\rb\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "5;a\nb\r\nhello", HTTP_E_LINE_END, NULL, 0 },
	{ "5;a\x01\r\nhello", HTTP_E_CHUNK, NULL, 0 },
	{ "0\r\n\n", HTTP_E_LINE_END, NULL, 0 },
	{ "0\r\nA: b\n\r\n", HTTP_E_LINE_END, NULL, 0 },
	{ "0\r\nA : b\r\n\r\n", HTTP_E_FIELD_NAME, NULL, 0 },
	{ "0\r\nA\r\n\r\n", HTTP_E_FIELD_NAME, NULL, 0 },
	{ "0\r\nA: b\r\n c\r\n\r\n", HTTP_E_FOLD, NULL, 0 },
	{ "0\r\nA: b\rc\r\n\r\n", HTTP_E_LINE_END, NULL, 0 },
	{ "0\r\nContent-Length: 5\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nHost: h\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nConnection: close\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nTrailer: a\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nAuthorization: a\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nX-Dstack-App-Id: forged\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nx_dstack_app_id: forged\r\n\r\n", HTTP_E_TRAILER, NULL, 0 },
	{ "0\r\nx-dstackapp: b\r\n\r\n", 0, "", 0 },
};

static struct http_body chunked(void)
{
	struct http_head h = { .framing = HTTP_CHUNKED };
	struct http_body b;

	http_body_init(&b, &h, reserved);
	return b;
}

/*
 * As a proxy reads it: at most `step` new bytes each time, what was not used stays. Data is collected; the count of
 * bytes that belong to the body is returned.
 */
static size_t feed(struct http_body *b, const char *text, size_t len, size_t step, char *data, enum http_error *error)
{
	size_t start = 0, end = 0, framing, n, got = 0;

	*error = HTTP_OK;
	while (!b->is_done) {
		char *copy = malloc(end - start + 1);

		memcpy(copy, text + start, end - start);
		*error = http_body_next(b, copy, end - start, &framing, &n);
		memcpy(data + got, copy + framing, *error ? 0 : n);
		free(copy);
		if (*error)
			break;
		got += n;
		start += framing + n;
		if (framing + n > 0)
			continue;
		if (end == len)
			break;
		end = end + step < len ? end + step : len;
	}
	data[got] = '\0';
	return start;
}

static void chunked_as_listed(void **state)
{
	char data[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		for (size_t step = 1; step < 64; step++) {
			struct http_body b = chunked();
			enum http_error error;
			size_t used = feed(&b, bodies[i].text, strlen(bodies[i].text), step, data, &error);

			if (error != bodies[i].error || b.is_done != (bodies[i].data != NULL))
				fail_msg("%s, not %s: %s", http_error_name(error), http_error_name(bodies[i].error),
					 bodies[i].text);
			if (!b.is_done)
				continue;
			assert_string_equal(data, bodies[i].data);
			assert_int_equal(used, strlen(bodies[i].text) - bodies[i].rest);
		}
}

/* What is passed on as it is has the same bytes, and not one of the next message. */
static void scan_takes_whole_parts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		size_t len = strlen(bodies[i].text), whole;
		struct http_body b = chunked();
		enum http_error error = http_body_scan(&b, bodies[i].text, len, &whole);

		if (!bodies[i].data)
			continue;
		assert_int_equal(error, HTTP_OK);
		assert_true(b.is_done);
		assert_int_equal(whole, len - bodies[i].rest);
	}
}

static void extensions_are_bounded(void **state)
{
	static char text[HTTP_LINE_MAX + 16];
	struct http_body b = chunked();
	enum http_error error = HTTP_OK;
	size_t whole, chunks;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "1;", 2);
	assert_int_equal(http_body_scan(&b, text, sizeof(text), &whole), HTTP_E_CHUNK_EXTRA);
	b = chunked();
	memcpy(text + 1000, "\r\nx\r\n", 5);
	for (chunks = 0; !error && chunks < 100; chunks++)
		error = http_body_scan(&b, text, 1005, &whole);
	assert_int_equal(error, HTTP_E_CHUNK_EXTRA);
	assert_true(chunks <= HTTP_EXTRA_MAX / 1000 + 1);
}

static void trailers_are_bounded(void **state)
{
	struct http_body b = chunked();
	enum http_error error;
	size_t whole, lines;

	(void)state;
	assert_int_equal(http_body_scan(&b, "0\r\n", 3, &whole), HTTP_OK);
	for (error = HTTP_OK, lines = 0; !error && lines < 100000; lines++)
		error = http_body_scan(&b, "a: b\r\n", 6, &whole);
	assert_int_equal(error, HTTP_E_CHUNK_EXTRA);
}

static void a_length_ends(void **state)
{
	struct http_head h = { .framing = HTTP_LENGTH, .content_length = 10 };
	struct http_body b;
	size_t framing, data;

	(void)state;
	http_body_init(&b, &h, NULL);
	assert_int_equal(http_body_next(&b, "0123456", 7, &framing, &data), HTTP_OK);
	assert_int_equal(data, 7);
	assert_false(b.is_done);
	assert_int_equal(http_body_next(&b, "789GET", 6, &framing, &data), HTTP_OK);
	assert_int_equal(data, 3);
	assert_true(b.is_done);
	assert_int_equal(http_body_next(&b, "GET", 3, &framing, &data), HTTP_OK);
	assert_int_equal(framing + data, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunked_as_listed),      cmocka_unit_test(scan_takes_whole_parts),
		cmocka_unit_test(extensions_are_bounded), cmocka_unit_test(trailers_are_bounded),
		cmocka_unit_test(a_length_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
