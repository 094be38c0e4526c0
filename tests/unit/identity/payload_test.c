// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "identity/record.h"
#include "world.h"

static const uint8_t cert_sha256[32] = { 0xce };

static struct id_record good(void)
{
	struct id_record r = { .node = "web-1", .epoch = 7, .not_before = NOW, .not_after = NOW + DAY };

	memset(r.app_id, 0xa1, sizeof(r.app_id));
	memset(r.instance_id, 0x11, sizeof(r.instance_id));
	memset(r.wg_key, 0x77, sizeof(r.wg_key));
	assert_true(addr_parse(&r.addrs[0], "100.64.0.2") && addr_parse(&r.addrs[1], "fd00::2"));
	r.n_addrs = 2;
	assert_true(endpoint_parse(&r.endpoints[0], "192.0.2.7:51820") &&
		    endpoint_parse(&r.endpoints[1], "[2001:db8::7]:51820"));
	r.n_endpoints = 2;
	return r;
}

static const char golden[] =
	"{\"addrs\":[\"100.64.0.2\",\"fd00::2\"],\"app_id\":\"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\","
	"\"cert_sha256\":\"ce00000000000000000000000000000000000000000000000000000000000000\","
	"\"endpoints\":[\"192.0.2.7:51820\",\"[2001:db8::7]:51820\"],\"epoch\":7,"
	"\"instance_id\":\"1111111111111111111111111111111111111111\",\"node\":\"web-1\",\"not_after\":1790086400,"
	"\"not_before\":1790000000,\"v\":1,\"wg_key\":\"d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3c=\"}";

static void one_record_is_one_text(void **state)
{
	struct id_record r = good(), back;
	uint8_t payload[ID_RECORD_PAYLOAD_MAX], cert[32];
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	assert_int_equal(id_payload_write(&r, cert_sha256, payload, &len, &e), 0);
	assert_int_equal(len, strlen(golden));
	assert_memory_equal(payload, golden, len);
	memset(&back, 0, sizeof(back));
	assert_int_equal(id_payload_read(payload, len, &back, cert, &e), 0);
	assert_memory_equal(cert, cert_sha256, sizeof(cert));
	assert_string_equal(back.node, r.node);
	assert_int_equal(back.n_addrs, 2);
	assert_true(addr_equal(&back.addrs[1], &r.addrs[1]));
	assert_int_equal(back.endpoints[1].port, 51820);
	assert_int_equal(back.epoch, 7);
}

struct alteration {
	const char *from, *to;
};

/* Each by itself; a record that is refused changes nothing of what is there. */
static void assert_altered_refused(const char *good_text, const struct alteration *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct id_record r = { .epoch = 1234 };
		struct err e = ERR_INIT;
		uint8_t cert[32];
		char text[2048];
		const char *at = strstr(good_text, c[i].from);

		assert_non_null(at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good_text), good_text, c[i].to,
			 at + strlen(c[i].from));
		if (id_payload_read((uint8_t *)text, strlen(text), &r, cert, &e) == 0)
			fail_msg("taken: %s", text);
		assert_reason(e, RECORD_MALFORMED);
		assert_int_equal(r.epoch, 1234);
	}
}

static void refuses_any_other_text(void **state)
{
	static const struct alteration c[] = {
		{ "{\"addrs\"", "{ \"addrs\"" },
		{ "\"v\":1", "\"v\":2" },
		{ "\"v\":1", "\"v\":4294967297" },
		{ "\"v\":1", "\"v\":1,\"v\":1" },
		{ "\"v\":1", "\"v\":1,\"w\":1" },
		{ "\"v\":1,", "" },
		{ "\"epoch\":7", "\"epoch\":7.0" },
		{ "\"epoch\":7", "\"epoch\":07" },
		{ "\"epoch\":7", "\"epoch\":-7" },
		{ "\"epoch\":7", "\"epoch\":0" },
		{ "\"epoch\":7", "\"epoch\":9007199254740992" },
		{ "\"epoch\":7", "\"epoch\":99999999999999999999" },
		{ "\"epoch\":7", "\"epoch\":\"7\"" },
		{ "\"web-1\"", "\"w\\u0065b-1\"" },
		{ "\"web-1\"", "\"WEB-1\"" },
		{ "\"web-1\"", "\"\"" },
		{ "\"web-1\"", "\"web\\u0000\"" },
		{ "\"web-1\"", "\"a-name-that-is-longer-than-31-chars\"" },
		{ "a1a1\",", "A1A1\"," },
		{ "a1a1\",", "a1\"," },
		{ "fd00::2", "FD00::2" },
		{ "fd00::2", "fd00:0::2" },
		{ "fd00::2", "100.64.0.2" }, /* twice */
		{ "100.64.0.2", "::ffff:100.64.0.2" },
		{ "100.64.0.2", "0.0.0.0" },
		{ "100.64.0.2", "127.0.0.1" },
		{ "100.64.0.2", "224.0.0.1" },
		{ "100.64.0.2", "255.255.255.255" },
		{ "fd00::2", "::" },
		{ "fd00::2", "::1" },
		{ "fd00::2", "ff02::1" },
		{ "fd00::2", "fe80::1" },
		{ "[\"100.64.0.2\",\"fd00::2\"]", "[]" },
		{ "[\"100.64.0.2\",\"fd00::2\"]", "[\"1.0.0.1\",\"1.0.0.2\",\"1.0.0.3\",\"1.0.0.4\",\"1.0.0.5\"]" },
		{ "[\"100.64.0.2\",\"fd00::2\"]", "[1]" },
		{ "[\"100.64.0.2\",\"fd00::2\"]", "\"100.64.0.2\"" },
		{ "192.0.2.7:51820", "192.0.2.7:0" },
		{ "192.0.2.7:51820", "192.0.2.7" },
		{ "192.0.2.7:51820", "224.0.0.1:51820" },
		{ "d3c=", "d3d=" }, /* spare bits */
		{ "d3c=", "d3c" },
		{ "1790086400", "1790000000" }, /* ends when it begins */
		{ "\"not_before\":1790000000", "\"not_before\":-1" },
	};

	(void)state;
	assert_altered_refused(golden, c, ARRAY_LEN(c));
}

static void refuses_records_out_of_bounds(void **state)
{
	uint8_t payload[ID_RECORD_PAYLOAD_MAX];
	struct id_record bad[7];
	size_t len = 99;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		bad[i] = good();
	memset(bad[0].node, 'x', sizeof(bad[0].node)); /* no NUL */
	memset(bad[1].wg_key, 0, sizeof(bad[1].wg_key));
	bad[2].n_addrs = 0;
	bad[3].n_addrs = 1000;
	bad[4].n_endpoints = 1000;
	bad[5].epoch = 0;
	bad[6].not_after = bad[6].not_before - 1;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(id_payload_write(&bad[i], cert_sha256, payload, &len, &e), -EBADMSG);
		assert_reason(e, RECORD_MALFORMED);
		assert_int_equal(len, 99);
	}
}

/* Version 2 is version 1 with services; there is one text of it, too. */
static void services_are_version_two(void **state)
{
	static const struct alteration c[] = {
		{ "\"v\":2", "\"v\":1" },
		{ "\"v\":2", "\"v\":3" }, /* which has a key more */
		{ "[\"mongodb/tcp/27017\",\"etcd-2/udp/1\"]", "[]" },
		{ "[\"mongodb/tcp/27017\",\"etcd-2/udp/1\"]", "\"mongodb/tcp/27017\"" },
		{ "etcd-2/udp/1", "mongodb/tcp/27017" }, /* twice */
		{ "etcd-2/udp/1", "etcd-2/udp/0" },
		{ "etcd-2/udp/1", "etcd-2/udp/01" },
		{ "etcd-2/udp/1", "etcd-2/udp/65537" },
		{ "etcd-2/udp/1", "etcd-2/sctp/1" },
		{ "etcd-2/udp/1", "etcd-2/udp" },
		{ "etcd-2/udp/1", "etcd-2/udp/1/2" },
		{ "etcd-2/udp/1", "Etcd/udp/1" },
		{ "etcd-2/udp/1", "/udp/1" },
		{ "etcd-2/udp/1", "a.b/udp/1" },
		{ "etcd-2/udp/1", "a-type-that-is-longer-than-31-chars/udp/1" },
	};
	struct id_record r = good(), back;
	uint8_t payload[ID_RECORD_PAYLOAD_MAX + 1], cert[32];
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	assert_true(id_service_parse(&r.services[0], "mongodb/tcp/27017") &&
		    id_service_parse(&r.services[1], "etcd-2/udp/1"));
	r.n_services = 2;
	assert_int_equal(id_payload_write(&r, cert_sha256, payload, &len, &e), 0);
	assert_int_equal(id_payload_read(payload, len, &back, cert, &e), 0);
	assert_int_equal(back.n_services, 2);
	assert_memory_equal(back.services, r.services, sizeof(r.services));
	payload[len] = 0;
	assert_altered_refused((char *)payload, c, ARRAY_LEN(c));
	r.n_services = ID_MAX_SERVICES + 1;
	assert_int_equal(id_payload_write(&r, cert_sha256, payload, &len, &e), -EBADMSG);
}

/* Version 3 has the key of the second device, and services or none. */
static void a_detour_is_version_three(void **state)
{
	static const struct alteration c[] = {
		{ "\"v\":3", "\"v\":1" },
		{ "\"v\":3", "\"v\":2" },
		{ "\"v\":3", "\"v\":4" },
		{ "\"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\"", "\"\"" },
		{ "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
		{ "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=", "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAh=" },
		{ "\"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\"", "1" },
		{ "192.0.2.7:51820", "192.0.2.7:65535" }, /* no next port */
	};
	struct id_record r = good(), back;
	uint8_t payload[ID_RECORD_PAYLOAD_MAX + 1], cert[32];
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	r.has_detour = true;
	memset(r.detour_key, 8, sizeof(r.detour_key));
	for (r.n_services = 0; r.n_services < 2; r.n_services++) {
		assert_true(id_service_parse(&r.services[0], "mongodb/tcp/27017"));
		memset(&back, 0, sizeof(back));
		assert_int_equal(id_payload_write(&r, cert_sha256, payload, &len, &e), 0);
		assert_int_equal(id_payload_read(payload, len, &back, cert, &e), 0);
		assert_true(back.has_detour && back.n_services == r.n_services);
		assert_memory_equal(back.detour_key, r.detour_key, sizeof(r.detour_key));
	}
	payload[len] = 0;
	assert_altered_refused((char *)payload, c, ARRAY_LEN(c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_record_is_one_text),        cmocka_unit_test(refuses_any_other_text),
		cmocka_unit_test(refuses_records_out_of_bounds), cmocka_unit_test(services_are_version_two),
		cmocka_unit_test(a_detour_is_version_three),
	};

	return cmocka_run_group_tests_name("identity/payload", tests, NULL, NULL);
}
