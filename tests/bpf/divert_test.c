// SPDX-License-Identifier: Apache-2.0
/*
 * What applications dial, with real sockets in a network namespace and cgroups of the test's own. The service that is
 * dialled is there, on the very address that is diverted: whoever reaches it came past.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../lib/cgroup.h"
#include "bailey/abi.h"
#include "base/cleanup.h"
#include "datapath/divert.h"

#define INSTANCE     "divert"
#define ORIGINAL_DST 80
#define SERVICE      "10.77.0.5"
#define SERVICE6     "fd77::5"
#define PEER         "10.77.0.6" /* is dialled for NODE */
#define NODE         "127.0.0.2"
#define PROXY_PORT   15001

enum room { OUTSIDE, APP, PROXY };

struct world {
	char bpffs[64], cgroup[160], path[3][200];
	struct dp_divert *d;
	struct dp_divert_conf conf;
	int service, service6, proxy, proxy6, node; /* listening */
};

static struct world w;

static void must(int ret, struct err *e)
{
	char text[512];

	if (ret < 0)
		fail_msg("%s", err_text(e, text, sizeof(text)));
}

/* --- the place --------------------------------------------------------------------------------------------- */

/* A socket is of the cgroup that its maker is in. */
static int socket_in(enum room room, int family, int type, int proto)
{
	struct timeval soon = { .tv_sec = 3 };
	int fd, one = 1;

	cgroup2_enter(w.path[room]);
	fd = socket(family, type | SOCK_CLOEXEC, proto);
	cgroup2_enter(w.path[OUTSIDE]);
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	return fd;
}

struct at {
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

static struct at at(const char *addr, uint16_t port)
{
	struct at a = { .len = sizeof(a.v4) };

	if (inet_pton(AF_INET, addr, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		return a;
	}
	a = (struct at){ .v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) }, .len = sizeof(a.v6) };
	assert_int_equal(inet_pton(AF_INET6, addr, &a.v6.sin6_addr), 1);
	return a;
}

static int listen_in(enum room room, const char *addr, uint16_t port)
{
	struct at a = at(addr, port);
	int fd = socket_in(room, a.sa.sa_family, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, &a.sa, a.len), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void rule(const char *net, uint8_t bits, uint8_t proto, uint16_t port, const char *to, uint16_t to_port,
		 bool is_peer)
{
	struct dp_divert_rule *r = &w.conf.rule[w.conf.n_rules++];

	*r = (struct dp_divert_rule){ .l4_proto = proto, .port = port, .to_port = to_port, .is_peer = is_peer };
	assert_true(addr_parse(&r->net.addr, net) && addr_parse(&r->to, to));
	r->net.bits = bits;
}

static void cgroups_make(void)
{
	static const char *const name[] = { [OUTSIDE] = "outside", [APP] = "app", [PROXY] = "proxy" };
	char mounted[128];

	if (!cgroup2_find(mounted, sizeof(mounted)))
		return;
	snprintf(w.cgroup, sizeof(w.cgroup), "%s/bailey-divert-%d", mounted, getpid());
	assert_int_equal(mkdir(w.cgroup, 0755), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(w.path[i], sizeof(w.path[i]), "%.150s/%s", w.cgroup, name[i]);
		assert_int_equal(mkdir(w.path[i], 0755), 0);
	}
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("ip link set lo up && ip addr add " SERVICE "/32 dev lo && ip addr add " PEER
				"/32 dev lo && ip -6 addr add " SERVICE6 "/128 dev lo nodad"),
			 0);
	cgroups_make();
	if (!w.cgroup[0])
		return 0;
	snprintf(w.bpffs, sizeof(w.bpffs), "/tmp/bailey-divert-XXXXXX");
	assert_non_null(mkdtemp(w.bpffs));
	assert_int_equal(mount("bpf", w.bpffs, "bpf", 0, NULL), 0);
	w.service = listen_in(OUTSIDE, SERVICE, 80);
	w.service6 = listen_in(OUTSIDE, SERVICE6, 80);
	w.node = listen_in(OUTSIDE, NODE, 80);
	w.proxy = listen_in(PROXY, "127.0.0.1", PROXY_PORT);
	w.proxy6 = listen_in(PROXY, "::1", PROXY_PORT);
	rule("10.77.0.0", 16, IPPROTO_TCP, 80, "127.0.0.1", PROXY_PORT, false);
	rule("fd77::", 64, IPPROTO_TCP, 0, "::1", PROXY_PORT, false);
	rule(PEER, 32, IPPROTO_TCP, 80, NODE, 0, true);
	rule("10.77.0.53", 32, IPPROTO_UDP, 53, "127.0.0.1", 5353, false);
	w.conf.n_cgroups = 1;
	snprintf(w.conf.cgroup[0], sizeof(w.conf.cgroup[0]), "%s", w.path[APP]);
	snprintf(w.conf.proxy_cgroup, sizeof(w.conf.proxy_cgroup), "%s", w.path[PROXY]);
	must(dp_divert_open(w.bpffs, INSTANCE, &w.d, &e), &e);
	must(dp_divert_set(w.d, &w.conf, &e), &e);
	return 0;
}

static int teardown(void **state)
{
	char above[sizeof(w.cgroup)];

	(void)state;
	if (!w.cgroup[0])
		return 0;
	dp_divert_close(w.d);
	dp_divert_destroy(w.bpffs, INSTANCE, NULL);
	umount(w.bpffs);
	rmdir(w.bpffs);
	snprintf(above, sizeof(above), "%.*s", (int)(strrchr(w.cgroup, '/') - w.cgroup), w.cgroup);
	cgroup2_enter(above);
	for (int i = 0; i < 3; i++)
		rmdir(w.path[i]);
	rmdir(w.cgroup);
	return 0;
}

static int has_cgroups(void **state)
{
	(void)state;
	if (!w.cgroup[0])
		skip(); /* no cgroups of version 2 here */
	return 0;
}

/* --- dialling ---------------------------------------------------------------------------------------------- */

static int dial_with(int fd, const char *addr, uint16_t port)
{
	struct at a = at(addr, port);

	if (connect(fd, &a.sa, a.len) == 0)
		return fd;
	a.len = (socklen_t)errno;
	close(fd);
	return -(int)a.len;
}

static int dial(enum room room, const char *addr, uint16_t port)
{
	return dial_with(socket_in(room, at(addr, port).sa.sa_family, SOCK_STREAM, 0), addr, port);
}

static bool has_caller(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	return poll(&p, 1, 200) == 1;
}

/* "10.77.0.5:80", of whatever family */
static const char *shown(const struct at *a)
{
	static char text[INET6_ADDRSTRLEN + 8];
	char ip[INET6_ADDRSTRLEN];

	inet_ntop(a->sa.sa_family, a->sa.sa_family == AF_INET ? (const void *)&a->v4.sin_addr : &a->v6.sin6_addr, ip,
		  sizeof(ip));
	snprintf(text, sizeof(text), "%s:%d", ip, ntohs(a->v4.sin_port));
	return text;
}

static const char *peer_of(int fd)
{
	struct at a = { .len = sizeof(a.v6) };

	assert_int_equal(getpeername(fd, &a.sa, &a.len), 0);
	return shown(&a);
}

static const char *origin_of(int fd, int level)
{
	struct at a = { .len = level ? sizeof(a.v6) : sizeof(a.v4) };

	return getsockopt(fd, level, ORIGINAL_DST, &a.sa, &a.len) == 0 ? shown(&a) : "none";
}

/* It is there, it knows where it was meant to go, and the application does not know better. */
static void comes_to_proxy(int fd, int listener, int level, const char *origin)
{
	int accepted;

	if (fd < 0)
		fail_msg("%s: %s", origin, strerror(-fd));
	assert_true(has_caller(listener));
	accepted = accept(listener, NULL, NULL);
	assert_string_equal(origin_of(accepted, level), origin);
	assert_string_equal(peer_of(fd), origin);
	close(fd);
	close(accepted);
}

static void comes_to(int fd, int listener)
{
	if (fd < 0)
		fail_msg("%s", strerror(-fd));
	assert_true(has_caller(listener));
	assert_false(has_caller(w.proxy));
	close(accept(listener, NULL, NULL));
	close(fd);
}

static void an_application_comes_to_the_proxy(void **state)
{
	int fd, accepted;

	has_cgroups(state);
	comes_to_proxy(dial(APP, SERVICE, 80), w.proxy, SOL_IP, SERVICE ":80");
	comes_to_proxy(dial(APP, SERVICE6, 80), w.proxy6, SOL_IPV6, SERVICE6 ":80");
	/* an IPv4 address on an IPv6 socket is the same address */
	fd = dial(APP, "::ffff:" SERVICE, 80);
	assert_true(fd >= 0 && has_caller(w.proxy));
	accepted = accept(w.proxy, NULL, NULL);
	assert_string_equal(origin_of(accepted, SOL_IP), SERVICE ":80");
	assert_string_equal(origin_of(accepted, SOL_IPV6), "::ffff:" SERVICE ":80");
	assert_string_equal(peer_of(fd), "::ffff:" SERVICE ":80");
	close(accepted);
	close(fd);
}

static void ways_to_dial_are_all_taken(void **state)
{
	struct at a = at(SERVICE, 80);
	int fd;

	has_cgroups(state);
	fd = socket_in(APP, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(connect(fd, &a.sa, a.len) == 0 || errno == EINPROGRESS);
	comes_to_proxy(fd, w.proxy, SOL_IP, SERVICE ":80");
	fd = socket_in(APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(sendto(fd, "x", 1, MSG_FASTOPEN, &a.sa, a.len), 1);
	comes_to_proxy(fd, w.proxy, SOL_IP, SERVICE ":80");
	fd = socket_in(APP, AF_INET, SOCK_STREAM, 262); /* MPTCP, which asks no program for the peer's name */
	if (fd >= 0) {
		int accepted;

		assert_int_equal(dial_with(fd, SERVICE, 80), fd);
		assert_true(has_caller(w.proxy));
		accepted = accept(w.proxy, NULL, NULL);
		assert_string_equal(origin_of(accepted, SOL_IP), SERVICE ":80");
		close(accepted);
		close(fd);
	}
	assert_false(has_caller(w.service));
}

static void others_are_left_alone(void **state)
{
	struct at a = at(SERVICE, 81);
	int fd;

	has_cgroups(state);
	comes_to(dial(OUTSIDE, SERVICE, 80), w.service);
	comes_to(dial(OUTSIDE, SERVICE6, 80), w.service6);
	comes_to(dial(PROXY, SERVICE, 80), w.service); /* which would come to itself for ever */
	fd = socket_in(APP, AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, &a.sa, a.len), -1); /* a port that nobody captures, and nobody listens on */
	assert_int_equal(errno, ECONNREFUSED);
	close(fd);
	assert_false(has_caller(w.proxy));
}

/* The service is there; an application gets to it by the proxy or not at all. */
static void without_a_proxy_it_is_refused(void **state)
{
	has_cgroups(state);
	close(w.proxy);
	assert_int_equal(dial(APP, SERVICE, 80), -ECONNREFUSED);
	assert_false(has_caller(w.service));
	w.proxy = listen_in(PROXY, "127.0.0.1", PROXY_PORT);
	comes_to_proxy(dial(APP, SERVICE, 80), w.proxy, SOL_IP, SERVICE ":80");
}

static void a_node_is_dialled_straight(void **state)
{
	int fd, accepted;

	has_cgroups(state);
	fd = dial(APP, PEER, 80);
	assert_true(fd >= 0 && has_caller(w.node));
	accepted = accept(w.node, NULL, NULL);
	assert_string_equal(peer_of(fd), PEER ":80");
	assert_string_equal(origin_of(accepted, SOL_IP), "none");
	close(accepted);
	close(fd);
}

static void datagrams_go_and_come(void **state)
{
	struct at dns = at("10.77.0.53", 53), resolver = at("127.0.0.1", 5353), from = { .len = sizeof(from.v6) };
	int fd, other;
	char c;

	has_cgroups(state);
	other = socket_in(PROXY, AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(other, &resolver.sa, resolver.len), 0);
	for (int is_connected = 0; is_connected < 2; is_connected++) {
		struct at back = { .len = sizeof(back.v6) };

		fd = socket_in(APP, AF_INET, SOCK_DGRAM, 0);
		if (is_connected)
			assert_int_equal(connect(fd, &dns.sa, dns.len), 0);
		assert_int_equal(is_connected ? send(fd, "q", 1, 0) : sendto(fd, "q", 1, 0, &dns.sa, dns.len), 1);
		assert_int_equal(recvfrom(other, &c, 1, 0, &from.sa, &from.len), 1);
		assert_int_equal(sendto(other, "a", 1, 0, &from.sa, from.len), 1);
		assert_int_equal(recvfrom(fd, &c, 1, 0, &back.sa, &back.len), 1);
		assert_string_equal(shown(&back), "10.77.0.53:53");
		close(fd);
	}
	/* what another one sends is not shown as the resolver's */
	fd = socket_in(APP, AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(sendto(fd, "q", 1, 0, &dns.sa, dns.len), 1);
	assert_int_equal(recvfrom(other, &c, 1, 0, &from.sa, &from.len), 1);
	close(other);
	other = socket_in(OUTSIDE, AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(sendto(other, "a", 1, 0, &from.sa, from.len), 1);
	from.len = sizeof(from.v6);
	assert_int_equal(recvfrom(fd, &c, 1, 0, &from.sa, &from.len), 1);
	assert_null(strstr(shown(&from), "10.77"));
	close(fd);
	close(other);
}

/* --- origins ----------------------------------------------------------------------------------------------- */

static uint32_t n_origins(void)
{
	struct dp_divert_status st;
	struct err e = ERR_INIT;

	must(dp_divert_status(w.d, &st, &e), &e);
	return st.n_origins;
}

static void origins_are_of_live_connections_alone(void **state)
{
	struct linger reset = { .l_onoff = 1 };
	int fd, accepted;

	has_cgroups(state);
	assert_int_equal(n_origins(), 0);
	fd = dial(APP, SERVICE, 80);
	accepted = accept(w.proxy, NULL, NULL);
	assert_int_equal(n_origins(), 1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	assert_int_equal(n_origins(), 0);
	assert_string_equal(origin_of(accepted, SOL_IP), "none");
	close(accepted);
}

/* Somebody who dials the proxy itself has no origin, and gets none by what its socket dialled before. */
static void an_origin_can_not_be_feigned(void **state)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct linger reset = { .l_onoff = 1 };
	int fd, accepted;

	has_cgroups(state);
	fd = dial(APP, "127.0.0.1", PROXY_PORT);
	accepted = accept(w.proxy, NULL, NULL);
	assert_string_equal(origin_of(accepted, SOL_IP), "none");
	close(accepted);
	close(fd);
	fd = dial(APP, SERVICE6, 80);
	accepted = accept(w.proxy6, NULL, NULL);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	assert_int_equal(connect(fd, &none, sizeof(none)), 0);
	close(accepted);
	fd = dial_with(fd, "::ffff:127.0.0.1", PROXY_PORT);
	assert_true(fd >= 0);
	accepted = accept(w.proxy, NULL, NULL);
	assert_string_equal(origin_of(accepted, SOL_IP), "none");
	assert_string_equal(peer_of(fd), "::ffff:127.0.0.1:15001");
	close(accepted);
	close(fd);
}

/* Whoever is not in the proxy's cgroup is told nothing. */
static void origins_are_told_the_proxy_alone(void **state)
{
	int fd, accepted;

	has_cgroups(state);
	close(w.proxy);
	w.proxy = listen_in(OUTSIDE, "127.0.0.1", PROXY_PORT);
	fd = dial(APP, SERVICE, 80);
	accepted = accept(w.proxy, NULL, NULL);
	assert_string_equal(origin_of(accepted, SOL_IP), "none");
	close(accepted);
	close(fd);
	close(w.proxy);
	w.proxy = listen_in(PROXY, "127.0.0.1", PROXY_PORT);
}

/* --- life -------------------------------------------------------------------------------------------------- */

static void pins_go_on_alone(void **state)
{
	struct dp_divert_status st;
	struct err e = ERR_INIT;
	int fd, accepted;

	has_cgroups(state);
	fd = dial(APP, SERVICE, 80);
	dp_divert_close(w.d); /* as when its process is killed */
	w.d = NULL;
	comes_to_proxy(dial(APP, SERVICE6, 80), w.proxy6, SOL_IPV6, SERVICE6 ":80");
	must(dp_divert_open(w.bpffs, INSTANCE, &w.d, &e), &e);
	comes_to_proxy(dial(APP, SERVICE6, 80), w.proxy6, SOL_IPV6, SERVICE6 ":80");
	must(dp_divert_set(w.d, &w.conf, &e), &e);
	must(dp_divert_status(w.d, &st, &e), &e);
	assert_true(st.n_rules == 4 && st.n_cgroups == 1 && st.n_origins == 1);
	assert_true(st.count[BY_DIVERT_TCP] > 5 && st.count[BY_DIVERT_UDP] > 1 && st.count[BY_DIVERT_ASKED] > 5);
	accepted = accept(w.proxy, NULL, NULL);
	assert_string_equal(origin_of(accepted, SOL_IP), SERVICE ":80"); /* from before */
	close(accepted);
	close(fd);
}

static void what_is_not_named_goes(void **state)
{
	struct dp_divert_conf less = w.conf;
	struct err e = ERR_INIT;

	has_cgroups(state);
	less.rule[0] = less.rule[1];
	less.n_rules = 1;
	must(dp_divert_set(w.d, &less, &e), &e);
	comes_to(dial(APP, SERVICE, 80), w.service);
	comes_to_proxy(dial(APP, SERVICE6, 80), w.proxy6, SOL_IPV6, SERVICE6 ":80");
	less.n_cgroups = 0;
	must(dp_divert_set(w.d, &less, &e), &e);
	comes_to(dial(APP, SERVICE6, 80), w.service6);
	must(dp_divert_set(w.d, &w.conf, &e), &e);
	comes_to_proxy(dial(APP, SERVICE, 80), w.proxy, SOL_IP, SERVICE ":80");
}

static void bad_places_are_refused(void **state)
{
	struct dp_divert_conf bad = w.conf;
	struct err e = ERR_INIT;

	has_cgroups(state);
	snprintf(bad.cgroup[0], sizeof(bad.cgroup[0]), "/tmp");
	assert_int_equal(dp_divert_set(w.d, &bad, &e), -EINVAL);
	assert_string_equal(e.msg, "is no cgroup of version 2");
	snprintf(bad.cgroup[0], sizeof(bad.cgroup[0]), "%.150s/nobody", w.cgroup);
	e = ERR_INIT;
	assert_int_equal(dp_divert_set(w.d, &bad, &e), -ENOENT);
	bad = w.conf;
	assert_true(addr_parse(&bad.rule[0].to, "::1"));
	e = ERR_INIT;
	assert_int_equal(dp_divert_set(w.d, &bad, &e), -EINVAL);
	/* and what was set goes on */
	comes_to_proxy(dial(APP, SERVICE6, 80), w.proxy6, SOL_IPV6, SERVICE6 ":80");
}

/* A daemon of another version had its programs on the same cgroups. */
static void another_version_gives_way(void **state)
{
	struct err e = ERR_INIT;
	char own[160], other[160];

	has_cgroups(state);
	snprintf(own, sizeof(own), "%s/bailey/" INSTANCE "/v%d", w.bpffs, BY_ABI_VERSION);
	snprintf(other, sizeof(other), "%s/bailey/" INSTANCE "/v%d", w.bpffs, BY_ABI_VERSION + 1);
	dp_divert_close(w.d);
	assert_int_equal(rename(own, other), 0);
	comes_to_proxy(dial(APP, SERVICE, 80), w.proxy, SOL_IP, SERVICE ":80");
	must(dp_divert_open(w.bpffs, INSTANCE, &w.d, &e), &e);
	must(dp_divert_set(w.d, &w.conf, &e), &e);
	strcat(other, "/divert");
	assert_int_equal(access(other, F_OK), -1);
	*strrchr(other, '/') = '\0';
	rmdir(other);
	comes_to_proxy(dial(APP, SERVICE, 80), w.proxy, SOL_IP, SERVICE ":80");
}

static void destroyed_it_is_gone(void **state)
{
	struct err e = ERR_INIT;

	has_cgroups(state);
	must(dp_divert_destroy(w.bpffs, INSTANCE, &e), &e); /* though a process holds it */
	comes_to(dial(APP, SERVICE, 80), w.service);
	dp_divert_close(w.d);
	must(dp_divert_open(w.bpffs, INSTANCE, &w.d, &e), &e);
	must(dp_divert_set(w.d, &w.conf, &e), &e);
	comes_to_proxy(dial(APP, SERVICE, 80), w.proxy, SOL_IP, SERVICE ":80");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_application_comes_to_the_proxy),
		cmocka_unit_test(ways_to_dial_are_all_taken),
		cmocka_unit_test(others_are_left_alone),
		cmocka_unit_test(without_a_proxy_it_is_refused),
		cmocka_unit_test(a_node_is_dialled_straight),
		cmocka_unit_test(datagrams_go_and_come),
		cmocka_unit_test(origins_are_of_live_connections_alone),
		cmocka_unit_test(an_origin_can_not_be_feigned),
		cmocka_unit_test(origins_are_told_the_proxy_alone),
		cmocka_unit_test(pins_go_on_alone),
		cmocka_unit_test(what_is_not_named_goes),
		cmocka_unit_test(bad_places_are_refused),
		cmocka_unit_test(another_version_gives_way),
		cmocka_unit_test(destroyed_it_is_gone),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("bpf/divert", tests, setup, teardown);
}
