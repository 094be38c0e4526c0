// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>

#include "baileyd/conf.h"
#include "cli/node_conf.h"

#define KEY  "cGFzc3dvcmQgb2Ygbm9ib2R5LCB0byBiZSBub3QgdSE="
#define PEER "[Peer]\nPublicKey=MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=\n"
#define HEAD "[Interface]\nPrivateKey=" KEY "\nAddress=10.0.0.1/24\n"

static struct ov_quick q;
static struct err e;

static int parse(const char *text)
{
	e = ERR_INIT;
	ov_quick_fini(&q);
	return ov_quick_parse("wg0.conf", text, strlen(text), &q, &e);
}

static void what_fits_is_taken(void **state)
{
	char text[PREFIX_TEXT], at[ENDPOINT_TEXT];

	(void)state;
	assert_int_equal(
		parse("  # a comment\r\n[interface]\r\nprivatekey = " KEY " # mine\r\n"
		      "Address = 10.0.0.1/24, fd00:10::1/64\r\nListenPort=4711\r\nMTU=1380\r\n"
		      "Table=auto\nSaveConfig=false\nFwMark=off\n" PEER
		      "AllowedIPs=10.0.0.2/32, fd00:10::2\nEndpoint=[2001:db8::2]:51820\nPersistentKeepalive=25"),
		0);
	assert_true(q.has_private_key);
	assert_int_equal(q.listen_port, 4711);
	assert_int_equal(q.mtu, 1380);
	assert_int_equal(q.n_addrs, 2);
	assert_int_equal(q.n_networks, 2);
	assert_string_equal(prefix_print(&q.networks[0], text), "10.0.0.0/24");
	assert_string_equal(prefix_print(&q.networks[1], text), "fd00:10::/64");
	assert_int_equal(q.n_peers, 1);
	assert_string_equal(endpoint_print(&q.peers[0], at), "[2001:db8::2]:51820");
	assert_int_equal(q.n_left_out, 0);
	assert_int_equal(q.n_notes, 1);
	assert_int_equal(q.notes[0].line, 10);
}

static void what_does_not_fit_is_said_with_its_line(void **state)
{
	static const struct {
		const char *rest, *text;
		uint32_t line;
	} cases[] = {
		{ "PostUp=iptables -A FORWARD -j ACCEPT\n", "PostUp: a script", 4 },
		{ "predown=/bin/sh -c 'x'\n", "PreDown: a script", 4 },
		{ "DNS=1.1.1.1\n", "resolv.conf", 4 },
		{ "Table=off\n", "Table:", 4 },
		{ "FwMark=0xca6c\n", "FwMark:", 4 },
		{ "SaveConfig=true\n", "SaveConfig:", 4 },
		{ "MTU=1000\n", "MTU 1000", 4 },
		{ PEER "PresharedKey=" KEY "\n", "no secrets between", 6 },
		{ PEER "Endpoint=db.example:51820\n", "names are not resolved", 6 },
		{ PEER "AllowedIPs=0.0.0.0/0\n", "forwards for nobody", 6 },
		{ PEER "AllowedIPs=10.0.0.0/24\n", "forwards for nobody", 6 },
		{ PEER "AllowedIPs=10.9.0.2/32\n", "outside of the networks", 6 },
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool is_found = false;

		snprintf(text, sizeof(text), HEAD "%s", cases[i].rest);
		assert_int_equal(parse(text), 0);
		assert_int_equal(q.n_left_out, 1);
		for (uint32_t n = 0; n < q.n_notes; n++) {
			assert_null(strstr(q.notes[n].text, KEY));
			is_found |= q.notes[n].is_left_out && q.notes[n].line == cases[i].line &&
				    strstr(q.notes[n].text, cases[i].text);
		}
		assert_true(is_found);
	}
}

static void what_wg_quick_refuses_is_refused(void **state)
{
	static const struct {
		const char *text, *where, *msg;
	} cases[] = {
		{ "PrivateKey=" KEY "\n", "wg0.conf:1", "before [Interface]" },
		{ "[Interface]\nPrivateKey=" KEY "x\n", "wg0.conf:2", "44 characters" },
		{ "[Interface]\nPrivateKey\n", "wg0.conf:2", "Key = value" },
		{ "[Interface]\nPrivateKey=\n", "wg0.conf:2", "has no value" },
		{ "[Interface]\nAddress=10.0.0.1/24\n", "wg0.conf:3", "no PrivateKey" },
		{ "[Interface]\nPrivateKey=" KEY "\n", "wg0.conf:3", "no Address" },
		{ HEAD "Address=10.0.0.300/24\n", "wg0.conf:4", "10.0.0.300" },
		{ HEAD "Address=10.0.0.2/24,10.0.0.3/24,10.0.0.4/24,10.0.0.5/24\n", "wg0.conf:4", "more than 4" },
		{ HEAD "ListenPort=65536\n", "wg0.conf:4", "0 to 65535" },
		{ HEAD "Nonsense=1\n", "wg0.conf:4", "no 'Nonsense'" },
		{ HEAD "[Interface]\n", "wg0.conf:4", "a second" },
		{ HEAD "[Else]\n", "wg0.conf:4", "[Else]" },
		{ HEAD "[Peer]\nAllowedIPs=10.0.0.2/32\n", "wg0.conf:4", "without PublicKey" },
		{ HEAD PEER "AllowedIPs=10.0.0.2/33\n", "wg0.conf:6", "10.0.0.2/33" },
		{ HEAD PEER "Endpoint=nowhere\n", "wg0.conf:6", "address:port" },
		{ HEAD PEER "PersistentKeepalive=65536\n", "wg0.conf:6", "0 to 65535" },
		{ HEAD PEER "PostUp=true\n", "wg0.conf:6", "no 'PostUp'" },
		{ "[Interface]\nPrivateKey=" KEY "\nAddress=10.0.0.1/0\n", "wg0.conf:4", "whole Internet" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].text), -EINVAL);
		assert_string_equal(e.where, cases[i].where);
		assert_non_null(strstr(e.msg, cases[i].msg));
		assert_null(strstr(e.msg, KEY));
		assert_null(q.notes);
	}
	assert_int_equal(ov_quick_parse("wg0.conf", "a\0b", 3, &q, &e), -EINVAL);
}

static void a_flood_is_refused(void **state)
{
	size_t len = OV_QUICK_MAX + 1, at = 0;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, '\n', len);
	e = ERR_INIT;
	assert_int_equal(ov_quick_parse("wg0.conf", text, len, &q, &e), -EFBIG);
	at += (size_t)snprintf(text, len, HEAD);
	while (at + sizeof("DNS=1.1.1.1\n") < len)
		at += (size_t)snprintf(text + at, len - at, "DNS=1.1.1.1\n");
	e = ERR_INIT;
	assert_int_equal(ov_quick_parse("wg0.conf", text, at, &q, &e), -EINVAL);
	assert_string_equal(e.where, "wg0.conf:516");
	memset(text, 'x', len);
	e = ERR_INIT;
	assert_int_equal(ov_quick_parse("wg0.conf", text, 5000, &q, &e), -EINVAL);
	free(text);
}

/* --- what is written --- */

static struct node_conf good(void)
{
	return (struct node_conf){ .name = "wg0",
				   .interface = "wg0",
				   .policy = "p.yaml",
				   .wg_key = "wg0.wgkey",
				   .endpoint = "192.0.2.1:51820",
				   .networks = q.networks,
				   .n_networks = q.n_networks,
				   .addrs = q.addrs,
				   .n_addrs = q.n_addrs,
				   .peers = q.peers,
				   .n_peers = q.n_peers };
}

static void the_daemon_takes_what_is_written(void **state)
{
	auto_out struct out out = { 0 };
	static struct conf conf;
	struct node_conf c;
	struct diags d = { 0 };

	(void)state;
	assert_int_equal(parse(HEAD PEER "AllowedIPs=10.0.0.2/32\nEndpoint=192.0.2.2:51820\n"), 0);
	c = good();
	c.policy = "it's \\ \"here\": # {yes}.yaml";
	c.roots = "root.pem";
	assert_int_equal(node_conf_check(&c, &e), 0);
	node_conf_print(&c, &out);
	assert_true(out_ok(&out));
	assert_int_equal(conf_parse("/etc/bailey/wg0.yaml", (char *)out.data, out.len, &conf, &d), 0);
	assert_string_equal(conf.policy[0], "/etc/bailey/it's \\ \"here\": # {yes}.yaml");
	assert_string_equal(conf.agent, "/var/run/dstack.sock");
	assert_true(conf.allow_simulated);
	assert_int_equal(conf.peers[0].port, 7946);
	assert_int_equal(conf.listen[0].port, 7946);
	assert_int_equal(conf.endpoints[0].port, 51820);
	diags_fini(&d);
}

static void a_wish_that_can_not_be_is_refused(void **state)
{
	struct node_conf c;

	(void)state;
	assert_int_equal(parse(HEAD), 0);
#define refused(member, value, at)                                                                                     \
	c = good();                                                                                                    \
	c.member = (value);                                                                                            \
	e = ERR_INIT;                                                                                                  \
	assert_int_equal(node_conf_check(&c, &e), -EINVAL);                                                            \
	assert_string_equal(e.where, at)
	refused(name, "Web", "--name");
	refused(name, "", "--name");
	refused(interface, "an-interface-too-long", "interface");
	refused(policy, NULL, "--policy");
	refused(policy, "a\nuser: root", "path");
	refused(certificate, "a.pem", "--agent");
	refused(endpoint, "example:1", "--endpoint");
#undef refused
}

static int fini(void **state)
{
	(void)state;
	ov_quick_fini(&q);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits_is_taken),
		cmocka_unit_test(what_does_not_fit_is_said_with_its_line),
		cmocka_unit_test(what_wg_quick_refuses_is_refused),
		cmocka_unit_test(a_flood_is_refused),
		cmocka_unit_test(the_daemon_takes_what_is_written),
		cmocka_unit_test(a_wish_that_can_not_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, fini);
}
