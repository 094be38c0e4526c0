// SPDX-License-Identifier: Apache-2.0
/*
 * A request of dstack-vpc's REST API: path, parameters of the query, and who asks. All that a stranger can vary is read
 * here; bodies mean nothing, as there. Values are printable and without blanks, or the request is refused.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "base/cleanup.h"
#include "base/text.h"

struct span {
	const char *p;
	size_t len;
};

static bool is_text(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

/* Percent-decoded. false: it is none, too long, or not printable. */
static bool decode(struct span s, char *dst, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		int c = (unsigned char)s.p[i];

		if (c == '%') {
			int high = i + 2 < s.len ? hex_value(s.p[i + 1]) : -1,
			    low = high < 0 ? -1 : hex_value(s.p[i + 2]);

			if (low < 0)
				return false;
			c = high << 4 | low;
			i += 2;
		} else if (c == '+') {
			c = ' ';
		}
		if (c <= ' ' || c > '~' || n + 1 >= size)
			return false;
		dst[n++] = (char)c;
	}
	dst[n] = '\0';
	return true;
}

/* The first of that name, as dstack-vpc takes it; "" without one. */
static bool parameter(struct span query, const char *name, char *dst, size_t size)
{
	while (query.len) {
		const char *amp = memchr(query.p, '&', query.len);
		struct span one = { query.p, amp ? (size_t)(amp - query.p) : query.len };
		const char *is = memchr(one.p, '=', one.len);
		struct span key = { one.p, is ? (size_t)(is - one.p) : one.len };

		if (is_text(key, name))
			return decode((struct span){ is ? is + 1 : "", is ? one.len - key.len - 1 : 0 }, dst, size);
		query.p += one.len + (amp != NULL);
		query.len -= one.len + (amp != NULL);
	}
	dst[0] = '\0';
	return true;
}

static void parameters(struct span query, struct vs_api_request *r)
{
	const struct {
		const char *name;
		char *dst;
		size_t size;
	} want[] = {
		{ "uuid", r->node.uuid, sizeof(r->node.uuid) },
		{ "node_type", r->node.type, sizeof(r->node.type) },
		{ "tailscale_ip", r->node.ip, sizeof(r->node.ip) },
		{ "hostname", r->node.hostname, sizeof(r->node.hostname) },
	};
	struct by_addr addr;

	for (size_t i = 0; i < ARRAY_LEN(want) && !r->bad; i++)
		if (!parameter(query, want[i].name, want[i].dst, want[i].size))
			r->bad = want[i].name;
	if (!r->bad && r->node.ip[0] && !addr_parse(&addr, r->node.ip))
		r->bad = "tailscale_ip";
}

static void registration(struct span query, struct vs_api_request *r)
{
	uint8_t id[BY_INSTANCE_ID_LEN];

	if (!parameter(query, "instance_id", r->node.uuid, sizeof(r->node.uuid)) ||
	    (r->node.uuid[0] && !hex_parse(id, sizeof(id), r->node.uuid)))
		r->bad = "instance_id";
	if (!parameter(query, "node_name", r->name, sizeof(r->name)))
		r->name[0] = '\0'; /* it is for the log alone */
}

static void route(struct span method, struct span path, struct span query, struct vs_api_request *r)
{
	static const char discover[] = "/api/discover/";
	bool is_get = is_text(method, "GET");
	size_t n = strlen(discover);

	if (is_text(path, "/health") && (is_get || is_text(method, "HEAD"))) {
		r->path = VS_API_HEALTH;
	} else if (is_get && is_text(path, "/api/ping")) {
		r->path = VS_API_PING;
	} else if (is_get && is_text(path, "/api/register")) {
		r->path = VS_API_REGISTER;
		registration(query, r);
	} else if (is_text(method, "POST") && is_text(path, "/api/nodes/update")) {
		r->path = VS_API_UPDATE;
		parameters(query, r);
	} else if (is_get && is_text(path, "/api/nodes")) {
		r->path = VS_API_NODES;
	} else if (is_get && path.len > n && memcmp(path.p, discover, n) == 0 &&
		   !memchr(path.p + n, '/', path.len - n)) {
		r->path = VS_API_DISCOVER;
		if (!decode((struct span){ path.p + n, path.len - n }, r->node.type, sizeof(r->node.type)))
			r->bad = "node_type";
	}
}

/* 40 hex digits in a field that is there once. 0: it is not there, -1: it is there, and wrong. */
static int id_field(const struct http_head *h, const char *text, const char *name, uint8_t id[20])
{
	unsigned count = 0;
	const struct http_field *f = http_head_find(h, text, name, &count);
	char hex[41];

	if (!count)
		return 0;
	if (count != 1 || f->value.len != 40)
		return -1;
	memcpy(hex, text + f->value.at, 40);
	hex[40] = '\0';
	return hex_parse(id, 20, hex) ? 1 : -1;
}

void vs_api_read(const struct http_head *h, const char *text, struct vs_api_request *r)
{
	struct span method = { text + h->method.at, h->method.len }, path = { text + h->path.at, h->path.len };
	const char *mark = memchr(path.p, '?', path.len);
	struct span query = { mark ? mark + 1 : "", mark ? path.len - (size_t)(mark - path.p) - 1 : 0 };
	int app, instance;

	*r = (struct vs_api_request){ .path = VS_API_NOWHERE };
	app = id_field(h, text, "x-dstack-app-id", r->caller.app_id);
	instance = id_field(h, text, "x-dstack-instance-id", r->caller.instance_id);
	r->has_caller = app > 0 && instance >= 0;
	r->caller.has_instance = instance > 0;
	path.len = mark ? (size_t)(mark - path.p) : path.len;
	route(method, path, query, r);
}
