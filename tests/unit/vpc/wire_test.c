// SPDX-License-Identifier: Apache-2.0
/* What node and control plane say to each other: every frame of its own side, of its own length, and no other. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "vpc/wire.h"

static struct in text_of(const char *text)
{
	return in_of(text, strlen(text));
}

static void a_hello_comes_back(void **state)
{
	struct vpc_hello out = { .node = "web-1", .serial = 1700000000000001 }, in;
	auto_free char *text = vpc_hello_text(&out);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(vpc_hello_read(text_of(text), &in, &e), 0);
	assert_string_equal(in.node, "web-1");
	assert_true(in.serial == out.serial);
}

static void a_hello_may_have_a_key(void **state)
{
	struct vpc_hello out = { .node = "web-1", .key = "bailey-0123456789" }, in;
	auto_free char *text = vpc_hello_text(&out);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(vpc_hello_read(text_of(text), &in, &e), 0);
	assert_string_equal(in.key, out.key);
	assert_false(vpc_key_ok("") || vpc_key_ok("short") || vpc_key_ok("0123456789 0123456789") ||
		     vpc_key_ok("0123456789\n0123456789"));
}

static void a_grant_comes_back(void **state)
{
	struct vpc_grant out = { .network = { 1, 2, 3 }, .serial = 9, .n_addrs = 2 }, in;
	auto_free char *text = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(addr_parse(&out.addrs[0], "100.64.0.2") && addr_parse(&out.addrs[1], "fdba:11e7::2"));
	text = vpc_grant_text(&out);
	assert_int_equal(vpc_grant_read(text_of(text), &in, &e), 0);
	assert_memory_equal(&in, &out, sizeof(in));
}

static void what_is_no_hello_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"v\":2,\"node\":\"a\",\"serial\":0}",
		"{\"v\":1,\"node\":\"A\",\"serial\":0}",
		"{\"v\":1,\"node\":\"\",\"serial\":0}",
		"{\"v\":1,\"node\":\"a\",\"serial\":-1}",
		"{\"v\":1,\"node\":\"a\",\"serial\":\"0\"}",
		"{\"v\":1,\"node\":\"a\",\"serial\":0,\"more\":1}",
		"{\"v\":1,\"node\":\"a\",\"serial\":0,\"key\":\"\"}",
		"{\"v\":1,\"node\":\"a\",\"serial\":0,\"key\":\"a b c d e f g h i j k\"}",
		"{\"v\":1,\"node\":\"a\",\"serial\":0,\"key\":null}",
		"{\"v\":1,\"node\":\"a\",\"serial\":0,\"key\":17}",
		"{\"v\":1,\"node\":\"a\",\"node\":\"b\",\"serial\":0}",
		"{\"v\":1,\"node\":\"a23456789012345678901234567890123\",\"serial\":0}",
	};
	struct vpc_hello hello = { .serial = 77 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(vpc_hello_read(text_of(bad[i]), &hello, &e), -EBADMSG);
		assert_string_equal(id_reason_name(e.reason), "SERVER_MALFORMED");
		assert_true(hello.serial == 77);
	}
}

#define NET32 "000102030405060708090a0b0c0d0e0f"

static void what_is_no_grant_is_refused(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"v\":1,\"network\":\"00\",\"serial\":0,\"addrs\":[\"100.64.0.2\"]}",
		"{\"v\":1,\"network\":\"" NET32 "\",\"serial\":0,\"addrs\":[]}",
		"{\"v\":1,\"network\":\"" NET32 "\",\"serial\":0,\"addrs\":[1]}",
		"{\"v\":1,\"network\":\"" NET32 "\",\"serial\":0,\"addrs\":[\"100.64.0\"]}",
		"{\"v\":1,\"network\":\"" NET32 "\",\"serial\":-1,\"addrs\":[\"100.64.0.2\"]}",
		"{\"v\":1,\"network\":\"" NET32
		"\",\"serial\":0,\"addrs\":[\"1.0.0.1\",\"1.0.0.2\",\"1.0.0.3\",\"1.0.0.4\","
		"\"1.0.0.5\"]}",
	};
	struct vpc_grant grant = { .n_addrs = 77 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(vpc_grant_read(text_of(bad[i]), &grant, &e), -EBADMSG);
		assert_string_equal(id_reason_name(e.reason), "SERVER_MALFORMED");
		assert_int_equal(grant.n_addrs, 77);
	}
}

static int next(struct evbuffer *buf, bool from_node, enum vpc_frame *type, struct in *in)
{
	struct err e = ERR_INIT;

	return vpc_frame_next(buf, from_node, type, in, &e);
}

static void frames_come_whole(void **state)
{
	struct evbuffer *all = evbuffer_new(), *in = evbuffer_new();
	enum vpc_frame type;
	struct in payload;
	uint64_t serial;
	char byte;

	(void)state;
	vpc_send_serial(all, VPC_CHANGE, 0x0102030405060708, "record", 6);
	while (evbuffer_get_length(all) > 1) {
		evbuffer_remove(all, &byte, 1);
		evbuffer_add(in, &byte, 1);
		assert_int_equal(next(in, false, &type, &payload), 0);
	}
	evbuffer_remove(all, &byte, 1);
	evbuffer_add(in, &byte, 1);
	assert_int_equal(next(in, false, &type, &payload), 1);
	assert_int_equal(type, VPC_CHANGE);
	assert_true(vpc_serial_read(&payload, &serial));
	assert_true(serial == 0x0102030405060708);
	assert_int_equal(payload.left, 6);
	vpc_frame_drop(in, 14);
	assert_int_equal(evbuffer_get_length(in), 0);
	evbuffer_free(all);
	evbuffer_free(in);
}

/* Nobody makes the other side wait for 4 GiB, nor speaks with the other's voice. */
static void frames_have_sides_and_bounds(void **state)
{
	static const struct {
		bool from_node;
		uint8_t type;
		uint32_t len;
		int want;
	} cases[] = {
		{ true, VPC_PING, 0, 1 },
		{ true, VPC_PING, 1, -EBADMSG },
		{ false, VPC_PING, 0, -EBADMSG },
		{ true, VPC_HELLO, 0, -EBADMSG },
		{ true, VPC_HELLO, VPC_HELLO_MAX + 1, -EBADMSG },
		{ true, VPC_HAVE, 0, 1 },
		{ true, VPC_HAVE, 31, -EBADMSG },
		{ true, VPC_HAVE, VPC_HAVE_MAX + 32, -EBADMSG },
		{ true, VPC_RECORD, ID_RECORD_MAX, 0 },
		{ true, VPC_RECORD, ID_RECORD_MAX + 1, -EBADMSG },
		{ true, VPC_GRANT, 10, -EBADMSG },
		{ false, VPC_HELLO, 10, -EBADMSG },
		{ false, VPC_CHANGE, 8, -EBADMSG },
		{ false, VPC_CHANGE, UINT32_MAX, -EBADMSG },
		{ false, VPC_REVOKED, 27, -EBADMSG },
		{ false, VPC_MARK, 9, -EBADMSG },
		{ false, VPC_REFUSED, VPC_REASON_MAX + 1, -EBADMSG },
		{ false, VPC_REFUSED + 1, 4, -EBADMSG },
		{ true, 0, 0, -EBADMSG },
		{ false, 255, 0, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint32_t len = cases[i].len;
		uint8_t head[VPC_HEAD] = { cases[i].type, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
					   (uint8_t)(len >> 8), (uint8_t)len };
		struct evbuffer *in = evbuffer_new();
		enum vpc_frame type;
		struct in payload;

		evbuffer_add(in, head, sizeof(head));
		assert_int_equal(next(in, cases[i].from_node, &type, &payload), cases[i].want);
		evbuffer_free(in);
	}
}

static void only_our_own_reasons_have_numbers(void **state)
{
	(void)state;
	assert_int_equal(id_reason_of("RECORD_REVOKED", 14), ID_RECORD_REVOKED);
	assert_int_equal(id_reason_of("RECORD_REVOKEDX", 15), ID_NONE);
	assert_int_equal(id_reason_of("NONE", 4), ID_NONE);
	assert_int_equal(id_reason_of("", 0), ID_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_comes_back),           cmocka_unit_test(a_hello_may_have_a_key),
		cmocka_unit_test(a_grant_comes_back),           cmocka_unit_test(what_is_no_hello_is_refused),
		cmocka_unit_test(what_is_no_grant_is_refused),  cmocka_unit_test(frames_come_whole),
		cmocka_unit_test(frames_have_sides_and_bounds), cmocka_unit_test(only_our_own_reasons_have_numbers),
	};

	return cmocka_run_group_tests_name("vpc/wire", tests, NULL, NULL);
}
