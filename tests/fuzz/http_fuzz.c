// SPDX-License-Identifier: Apache-2.0
/*
 * A message from a stranger: the same answer however it is cut; offsets within the head; and what is passed on is read
 * by the same rules as a message with the same framing, without a field that is reserved.
 */
#include <stdlib.h>
#include <string.h>

#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = { .max_head = 16384, .max_fields = 100 };
static const char *const reserved[] = { "x-dstack-target-*", "x-dstack-app-id", NULL };

static enum http_error parse(struct http_head *h, bool is_response, const char *p, size_t len, size_t step)
{
	enum http_error error;
	size_t n = 0;

	http_head_init(h, is_response);
	do {
		n = n + step < len ? n + step : len;
		error = http_head_parse(h, p, n, &limits);
	} while (!error && !h->len && n < len);
	if (!error && h->len && is_response)
		error = http_head_answers(h, false, false);
	return error;
}

static void must(bool good)
{
	if (!good)
		abort();
}

static void check_forward(const struct http_head *h, const char *p)
{
	struct http_forward f = { .reserved = reserved, .headers = "x-dstack-app-id: 1\r\n", .headers_len = 20 };
	static char out[32768];
	struct http_head again;
	unsigned count;
	size_t n = http_forward(h, p, &f, out, sizeof(out));

	must(n > 0);
	/* added fields can be one more than are allowed */
	if (h->n_fields + 4u > limits.max_fields || n > limits.max_head)
		return;
	must(parse(&again, h->is_response, out, n, n) == HTTP_OK && again.len == n);
	must(again.framing == h->framing &&
	     again.content_length == (h->framing == HTTP_LENGTH ? h->content_length : again.content_length));
	must(again.expects_continue == h->expects_continue && again.minor == 1);
	must(h->is_response || (http_head_find(&again, out, "X-Dstack-App-Id", &count) && count == 1));
	must(h->is_response || !http_head_find(&again, out, "x-dstack-target-app", &count));
	must(h->is_response || http_head_find(&again, out, "host", &count));
}

static void check_body(const struct http_head *h, const char *p, size_t len)
{
	struct http_body whole, pieces;
	size_t used = 0, at = 0, end = 0, framing, data;
	enum http_error error, error_p = HTTP_OK;

	http_body_init(&whole, h, reserved);
	pieces = whole;
	error = http_body_scan(&whole, p, len, &used);
	must(used <= len);
	while (!pieces.is_done && !error_p) {
		error_p = http_body_next(&pieces, p + at, end - at, &framing, &data);
		at += error_p ? 0 : framing + data;
		if (framing + data == 0 && !error_p && end++ == len)
			break;
	}
	must(error == error_p && whole.is_done == pieces.is_done);
	must(error || at == used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head h, cut;
	bool is_response;
	const char *p = (const char *)data + 1;

	if (size < 1)
		return 0;
	size--;
	is_response = data[0] & 1;
	if (data[0] & 2) {
		h = (struct http_head){ .framing = HTTP_CHUNKED };
		check_body(&h, p, size);
		return 0;
	}
	if (parse(&h, is_response, p, size, size) != parse(&cut, is_response, p, size, 1) || h.len != cut.len)
		abort();
	if (parse(&h, is_response, p, size, size) || !h.len)
		return 0;
	for (unsigned i = 0; i < h.n_fields; i++)
		must(h.fields[i].end < h.len && h.fields[i].value.at + h.fields[i].value.len < h.fields[i].end);
	check_forward(&h, p);
	check_body(&h, p + h.len, size - h.len);
	return 0;
}
