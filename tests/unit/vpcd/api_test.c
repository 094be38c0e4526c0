// SPDX-License-Identifier: Apache-2.0
/* What a request of the REST API asks, and who asks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "vpcd/api.h"

#define APP "x-dstack-app-id: a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\r\n"
#define OWN "X-Dstack-Instance-Id: 1111111111111111111111111111111111111111\r\n"

static struct vs_api_request r;

/* fields: lines, each with its end */
static void ask_as(const char *line, const char *fields)
{
	static const struct http_limits limits = { .max_head = VS_API_HEAD_MAX, .max_fields = VS_API_FIELDS_MAX };
	static struct http_head h;
	char text[VS_API_HEAD_MAX];
	int n = snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: vpc-server\r\n%s\r\n", line, fields);

	http_head_init(&h, false);
	assert_int_equal(http_head_parse(&h, text, (size_t)n, &limits), HTTP_OK);
	assert_int_equal(h.len, n);
	vs_api_read(&h, text, &r);
}

static void ask(const char *line)
{
	ask_as(line, APP OWN);
}

static void paths_are_dstack_vpcs(void **state)
{
	static const struct {
		const char *line;
		enum vs_api_path path;
	} cases[] = {
		{ "GET /health", VS_API_HEALTH },
		{ "HEAD /health", VS_API_HEALTH },
		{ "POST /health", VS_API_NOWHERE },
		{ "GET /api/ping", VS_API_PING },
		{ "GET /api/register?instance_id=1", VS_API_REGISTER },
		{ "POST /api/register?instance_id=1", VS_API_NOWHERE },
		{ "POST /api/nodes/update?uuid=u", VS_API_UPDATE },
		{ "GET /api/nodes/update?uuid=u", VS_API_NOWHERE },
		{ "GET /api/nodes", VS_API_NODES },
		{ "GET /api/nodes?x=y", VS_API_NODES },
		{ "GET /api/nodes/", VS_API_NOWHERE },
		{ "GET /api/discover/mongodb", VS_API_DISCOVER },
		{ "GET /api/discover/", VS_API_NOWHERE },
		{ "GET /api/discover/a/b", VS_API_NOWHERE },
		{ "GET /API/nodes", VS_API_NOWHERE },
		{ "GET /api/../api/nodes", VS_API_NOWHERE },
		{ "GET /%61pi/nodes", VS_API_NOWHERE },
		{ "GET http://vpc-server/api/nodes", VS_API_NODES },
		{ "GET /", VS_API_NOWHERE },
		{ "OPTIONS *", VS_API_NOWHERE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask(cases[i].line);
		if (r.path != cases[i].path)
			fail_msg("%s: %d instead of %d", cases[i].line, r.path, cases[i].path);
	}
}

static void who_asks_is_told_once_and_whole(void **state)
{
	(void)state;
	ask_as("GET /api/nodes", APP OWN);
	assert_true(r.has_caller && r.caller.has_instance);
	assert_int_equal(r.caller.app_id[19], 0xa1);
	assert_int_equal(r.caller.instance_id[19], 0x11);
	ask_as("GET /api/nodes", APP);
	assert_true(r.has_caller && !r.caller.has_instance);
	ask_as("GET /api/nodes", "");
	assert_false(r.has_caller);
	ask_as("GET /api/nodes", OWN);
	assert_false(r.has_caller);
	ask_as("GET /api/nodes", APP APP); /* of two the first is no better than the second */
	assert_false(r.has_caller);
	ask_as("GET /api/nodes", APP OWN OWN);
	assert_false(r.has_caller);
	ask_as("GET /api/nodes", "x-dstack-app-id: any\r\n");
	assert_false(r.has_caller);
	ask_as("GET /api/nodes", APP "x-dstack-instance-id: 11\r\n");
	assert_false(r.has_caller);
	ask_as("GET /api/nodes", "x_dstack_app_id: a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\r\n");
	assert_false(r.has_caller);
	ask_as("GET /api/nodes", "x-dstack-app-id: a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1, b\r\n");
	assert_false(r.has_caller);
}

static void parameters_are_decoded(void **state)
{
	(void)state;
	ask("POST /api/nodes/update?uuid=u%2D1&node_type=mongodb&tailscale_ip=100.64.0.1&hostname=db%2d0&more=%zz");
	assert_null(r.bad);
	assert_string_equal(r.node.uuid, "u-1");
	assert_string_equal(r.node.type, "mongodb");
	assert_string_equal(r.node.ip, "100.64.0.1");
	assert_string_equal(r.node.hostname, "db-0");
	ask("POST /api/nodes/update?uuid=first&uuid=second&xuuid=no");
	assert_string_equal(r.node.uuid, "first");
	ask("POST /api/nodes/update?&&uuid&hostname=");
	assert_null(r.bad);
	assert_string_equal(r.node.uuid, "");
	ask("POST /api/nodes/update");
	assert_string_equal(r.node.uuid, "");
	ask("GET /api/discover/mongo%64b");
	assert_string_equal(r.node.type, "mongodb");
	ask("GET /api/register?node_name=web-1&instance_id=1111111111111111111111111111111111111111");
	assert_null(r.bad);
	assert_string_equal(r.name, "web-1");
	ask("GET /api/register?instance_id=1111111111111111111111111111111111111111&node_name=a+very%0along%20one");
	assert_null(r.bad); /* it is for the log alone, and not for that */
	assert_string_equal(r.name, "");
}

static void is_bad(const char *line, const char *what)
{
	ask(line);
	if (!r.bad || strcmp(r.bad, what) != 0)
		fail_msg("%s: '%s' instead of '%s'", line, r.bad ? r.bad : "good", what);
}

static void what_can_not_be_is_refused(void **state)
{
	char line[400] = "POST /api/nodes/update?uuid=";

	(void)state;
	is_bad("POST /api/nodes/update?uuid=%00", "uuid");
	is_bad("POST /api/nodes/update?uuid=a%0d%0ab", "uuid");
	is_bad("POST /api/nodes/update?uuid=a+b", "uuid");
	is_bad("POST /api/nodes/update?uuid=%", "uuid");
	is_bad("POST /api/nodes/update?uuid=%4", "uuid");
	is_bad("POST /api/nodes/update?uuid=%g0", "uuid");
	is_bad("POST /api/nodes/update?uuid=%c3%a4", "uuid");
	is_bad("POST /api/nodes/update?uuid=u&tailscale_ip=100.64.0.256", "tailscale_ip");
	is_bad("POST /api/nodes/update?uuid=u&tailscale_ip=100.64.0.0/10", "tailscale_ip");
	is_bad("GET /api/register?instance_id=1", "instance_id");
	is_bad("GET /api/register?instance_id=111111111111111111111111111111111111111g", "instance_id");
	is_bad("GET /api/discover/%20", "node_type");
	memset(line + strlen(line), 'u', VS_API_UUID - 1);
	ask(line);
	assert_null(r.bad);
	line[strlen(line)] = 'u';
	is_bad(line, "uuid");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_dstack_vpcs),
		cmocka_unit_test(who_asks_is_told_once_and_whole),
		cmocka_unit_test(parameters_are_decoded),
		cmocka_unit_test(what_can_not_be_is_refused),
	};

	return cmocka_run_group_tests_name("vpcd/api", tests, NULL, NULL);
}
