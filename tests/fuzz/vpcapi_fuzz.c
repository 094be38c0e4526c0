// SPDX-License-Identifier: Apache-2.0
/*
 * A request of the control plane's REST API. Invariants: who asks is one app, told once; what is accepted is printable,
 * without blanks, and ends within its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "vpcd/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_ok(const char *text, size_t size)
{
	size_t n = strnlen(text, size);

	if (n == size)
		abort();
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http_limits limits = { .max_head = VS_API_HEAD_MAX, .max_fields = VS_API_FIELDS_MAX };
	const char *text = (const char *)data;
	struct vs_api_request r;
	struct http_head h;
	unsigned count = 0;

	http_head_init(&h, false);
	if (http_head_parse(&h, text, size, &limits) != HTTP_OK || !h.len)
		return 0;
	vs_api_read(&h, text, &r);
	if (r.has_caller && (!http_head_find(&h, text, "x-dstack-app-id", &count) || count != 1))
		abort();
	if (r.bad)
		return 0;
	text_ok(r.node.uuid, sizeof(r.node.uuid));
	text_ok(r.node.type, sizeof(r.node.type));
	text_ok(r.node.ip, sizeof(r.node.ip));
	text_ok(r.node.hostname, sizeof(r.node.hostname));
	text_ok(r.name, sizeof(r.name));
	return 0;
}
