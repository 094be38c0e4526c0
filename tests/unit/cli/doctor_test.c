// SPDX-License-Identifier: Apache-2.0
/* What other firewalls' tools print, and what doctor makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli/doctor.h"

static struct doctor d;

static void begin(void)
{
	json_decref(d.findings);
	d = (struct doctor){ .findings = json_array(),
			     .ports = { { true, 51820, "WireGuard", false }, { false, 7946, "records", false } },
			     .n_ports = 2 };
}

static bool said(const char *text)
{
	const json_t *o;
	size_t i;

	json_array_foreach (d.findings, i, o)
		if (strstr(json_string_value(json_object_get(o, "text")), text))
			return true;
	return false;
}

static void nft(const char *expr)
{
	char text[1024];
	json_t *o;

	begin();
	snprintf(text, sizeof(text),
		 "{\"nftables\":[{\"rule\":{\"family\":\"ip\",\"table\":\"t\",\"chain\":\"c\",\"expr\":[%s]}}]}", expr);
	o = json_loads(text, 0, NULL);
	assert_non_null(o);
	doctor_nft(&d, o);
	json_decref(o);
}

#define MATCH(proto, right)                                                                                            \
	"{\"match\":{\"op\":\"==\",\"left\":{\"payload\":{\"protocol\":\"" proto                                       \
	"\",\"field\":\"dport\"}},\"right\":" right "}}"

static void rules_of_nft_are_judged(void **state)
{
	static const struct {
		const char *expr;
		unsigned wrong;
	} cases[] = {
		{ MATCH("udp", "51820") ",{\"drop\":null}", 1 },
		{ MATCH("udp", "51820") ",{\"accept\":null}", 0 },
		{ MATCH("tcp", "51820") ",{\"drop\":null}", 0 },
		{ MATCH("udp", "51821") ",{\"drop\":null}", 0 },
		{ MATCH("th", "51820") ",{\"drop\":null}", 1 },
		{ MATCH("udp", "{\"range\":[51000,52000]}") ",{\"reject\":{}}", 1 },
		{ MATCH("udp", "{\"range\":[51000,51819]}") ",{\"reject\":{}}", 0 },
		{ MATCH("tcp", "{\"set\":[22,{\"range\":[7900,8000]}]}") ",{\"dnat\":{}}", 1 },
		{ MATCH("tcp", "{\"set\":[22,80]}") ",{\"dnat\":{}}", 0 },
		{ MATCH("tcp", "\"@names\"") ",{\"drop\":null}", 0 },
		{ "{\"drop\":null}", 0 },
		{ "{\"mangle\":{\"key\":{\"meta\":{\"key\":\"mark\"}},\"value\":3121676289}}", 1 },
		{ "{\"match\":{\"op\":\"==\",\"left\":{\"meta\":{\"key\":\"mark\"}},\"right\":1}}", 0 },
		{ "7, \"text\", null", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		nft(cases[i].expr);
		assert_int_equal(d.n[DOC_WRONG], cases[i].wrong);
	}
}

/* A chain that drops the rest; the port is one that only this machine dials. */
static unsigned look_of_loopback(const char *expr, bool is_loopback)
{
	char text[1024];
	json_t *o;

	begin();
	d.ports[0].is_loopback = is_loopback;
	d.n_ports = 1;
	snprintf(text, sizeof(text),
		 "{\"nftables\":[{\"chain\":{\"family\":\"ip\",\"table\":\"t\",\"name\":\"c\",\"hook\":\"input\","
		 "\"policy\":\"drop\"}},{\"rule\":{\"family\":\"ip\",\"table\":\"t\",\"chain\":\"c\",\"expr\":[%s]}}]}",
		 expr);
	o = json_loads(text, 0, NULL);
	assert_non_null(o);
	doctor_nft(&d, o);
	json_decref(o);
	return d.n[DOC_LOOK];
}

#define IIF(op, name)                                                                                                  \
	"{\"match\":{\"op\":\"" op "\",\"left\":{\"meta\":{\"key\":\"iif\"}},\"right\":\"" name "\"}},{\"accept\":"    \
	"null}"

static void what_the_loopback_accepts_lets_in_what_is_dialled_there(void **state)
{
	(void)state;
	assert_int_equal(look_of_loopback(IIF("==", "lo"), true), 0);
	assert_int_equal(look_of_loopback(IIF("==", "lo"), false), 1);
	assert_int_equal(look_of_loopback(IIF("!=", "lo"), true), 1);
	assert_int_equal(look_of_loopback(IIF("==", "eth0"), true), 1);
}

/* A socket of loopback, and its port. */
static int taken(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

static void via(const char *dialled, int own)
{
	json_t *overlay = json_pack("{s:i, s:{s:s}}", "listen_port", own, "via", "192.0.2.1:51820", dialled);

	begin();
	doctor_via(&d, overlay);
	json_decref(overlay);
}

static void what_nobody_takes_is_told(void **state)
{
	uint16_t port, last;
	char text[40];
	int fd = taken(&port), other = taken(&last);

	(void)state;
	snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	via(text, 1);
	assert_true(said("and taken there"));
	assert_int_equal(d.n[DOC_WRONG], 0);
	assert_int_equal(d.ports[2].port, port);
	assert_true(d.ports[2].is_loopback);
	close(fd);
	close(other);
	via(text, 1);
	assert_true(said("where nothing listens"));
	assert_int_equal(d.n[DOC_WRONG], 1);
	assert_int_equal(d.n_ports, 4); /* and the port behind it */
	via(text, port);
	assert_true(said("which is this node's WireGuard's own"));
	via(text, port + 1);
	assert_true(said("is WireGuard's own, and where"));
	via("127.0.0.1:65535", 1);
	assert_true(said("there is no port for key rotations"));
	via("192.0.2.7:51831", 1); /* another machine's: nobody here can tell */
	assert_int_equal(d.n[DOC_WRONG] + d.n[DOC_LOOK] + d.n[DOC_WELL], 0);
	via("nowhere", 1);
	assert_int_equal(d.n[DOC_WRONG] + d.n[DOC_LOOK], 0);
}

static void iptables(const char *line)
{
	char text[512];

	begin();
	snprintf(text, sizeof(text), "*filter\n:INPUT ACCEPT [0:0]\n%s\nCOMMIT\n", line);
	doctor_iptables(&d, "iptables-save", text);
}

static void rules_of_iptables_are_judged(void **state)
{
	static const struct {
		const char *line;
		unsigned wrong;
	} cases[] = {
		{ "-A INPUT -p udp -m udp --dport 51820 -j DROP", 1 },
		{ "-A INPUT -p udp -m udp --dport 51820 -j ACCEPT", 0 },
		{ "-A INPUT -p tcp -m tcp --dport 51820 -j DROP", 0 },
		{ "-A INPUT -p udp -m udp ! --dport 51820 -j DROP", 0 },
		{ "-A INPUT -p tcp -m tcp --dport 7000:8000 -j REJECT --reject-with tcp-reset", 1 },
		{ "-A INPUT -p tcp -m multiport --dports 22,7946 -j DROP", 1 },
		{ "-A INPUT -p tcp -m multiport --dports 22,80 -j DROP", 0 },
		{ "-A PREROUTING -p udp -m udp --dport 51820 -j REDIRECT --to-ports 9", 1 },
		{ "-A INPUT -p udp --dport", 0 },
		{ "-A INPUT -p udp -m udp --dport x -j DROP", 0 },
		{ "-A OUTPUT -j MARK --set-xmark 0xba110001/0xffffffff", 1 },
		{ "-j DROP --dport 51820 -p udp ", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		iptables(cases[i].line);
		assert_int_equal(d.n[DOC_WRONG], cases[i].wrong);
	}
	iptables(cases[0].line);
	assert_true(said("51820 -j DROP' (WireGuard)"));
}

static void without_a_daemon_the_default_port_is_looked_at(void **state)
{
	(void)state;
	json_decref(d.findings);
	d = (struct doctor){ .findings = json_array() };
	doctor_daemon(&d, NULL);
	assert_int_equal(d.n_ports, 1);
	assert_int_equal(d.ports[0].port, 51820);
	assert_int_equal(d.n[DOC_WRONG], 0);
}

static void evidence_that_ends_is_told(void **state)
{
	static const struct {
		const char *status, *text;
		unsigned wrong, look;
	} cases[] = {
		{ "{\"ready\":true,\"evidence_expires_in_s\":-5}", "ended 5 s ago", 1, 0 },
		{ "{\"ready\":true,\"evidence_expires_in_s\":60}", "ends in 60 s", 0, 1 },
		{ "{\"ready\":true,\"evidence_expires_in_s\":864000}", "10.0 days left", 0, 0 },
		{ "{\"ready\":true,\"collateral\":{\"bundles\":1,\"days\":-2}}", "out of date for 2 days", 1, 0 },
		{ "{\"ready\":true,\"collateral\":{\"bundles\":1,\"days\":3}}", "3 days left", 0, 1 },
		{ "{\"ready\":true,\"collateral\":{\"bundles\":0}}", "there is none yet", 0, 1 },
		{ "{\"ready\":false}", "is not ready", 1, 0 },
		{ "{\"ready\":true,\"processes\":{\"edge\":{\"running\":false}}}", "process edge does not run", 1, 0 },
		{ "{\"ready\":true,\"vpc\":{\"connected\":false,\"server\":\"x\"}}", "x is not connected", 0, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *s = json_loads(cases[i].status, 0, NULL);

		assert_non_null(s);
		begin();
		doctor_daemon(&d, s);
		json_decref(s);
		assert_true(said(cases[i].text));
		assert_int_equal(d.n[DOC_WRONG], cases[i].wrong);
		assert_int_equal(d.n[DOC_LOOK], cases[i].look);
	}
}

static int fini(void **state)
{
	(void)state;
	json_decref(d.findings);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_of_nft_are_judged),
		cmocka_unit_test(rules_of_iptables_are_judged),
		cmocka_unit_test(what_the_loopback_accepts_lets_in_what_is_dialled_there),
		cmocka_unit_test(what_nobody_takes_is_told),
		cmocka_unit_test(without_a_daemon_the_default_port_is_looked_at),
		cmocka_unit_test(evidence_that_ends_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, fini);
}
