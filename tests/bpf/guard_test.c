// SPDX-License-Identifier: Apache-2.0
/*
 * Sockets of a mesh, told whose bytes they carry: real connections in a network namespace and cgroups of the test's
 * own, with the very maps that decide on the overlay. Who is to hear nothing listens for a while; who is to hear
 * something has all the time that it needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/cgroup.h"
#include "../lib/guarded.h"
#include "bailey/event.h"
#include "base/addr.h"
#include "datapath/relay.h"

#define PATIENCE  10000 /* ms */
#define SILENT_MS 300

/* --- connections ------------------------------------------------------------------------------------------- */

/* Of the mesh and of whom it speaks with. */
struct link {
	int mesh, other;
};

static struct link connected(int family)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at = { .sa.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_INET ? sizeof(at.v4) : sizeof(at.v6);
	struct link l = { .mesh = -1 };
	int listener, one = 1;

	if (family == AF_INET)
		at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		at.v6.sin6_addr = in6addr_loopback;
	cgroup2_enter(guarded.mesh); /* what is accepted is of the cgroup that its listener was made in */
	listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cgroup2_enter(guarded.outside);
	assert_int_equal(bind(listener, &at.sa, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, &at.sa, &len), 0);
	l.other = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(l.other, &at.sa, len), 0);
	l.mesh = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(l.mesh >= 0);
	setsockopt(l.mesh, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(l.other, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(listener);
	return l;
}

static void ended(struct link *l)
{
	close(l->mesh);
	close(l->other);
}

static bool has_come(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static void takes(int fd, const char *text)
{
	char got[64] = "";

	assert_true(has_come(fd, PATIENCE));
	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), strlen(text));
	assert_string_equal(got, text);
}

static void passes(const struct link *l)
{
	assert_int_equal(send(l->mesh, "out", 3, 0), 3);
	takes(l->other, "out");
	assert_int_equal(send(l->other, "in", 2, 0), 2);
	takes(l->mesh, "in");
}

static void is_silent(const struct link *l)
{
	assert_int_equal(send(l->mesh, "out", 3, 0), 3);
	assert_int_equal(send(l->other, "in", 2, 0), 2);
	assert_false(has_come(l->other, SILENT_MS));
	assert_false(has_come(l->mesh, 1));
}

static struct link told(int n, uint16_t port)
{
	struct link l = connected(AF_INET);

	assert_int_equal(guarded_tell(l.mesh, guarded_leg(n, port)), 0);
	return l;
}

static struct by_leg_state asked(int fd)
{
	struct by_leg_state st = { 0 };
	socklen_t len = sizeof(st);

	assert_int_equal(getsockopt(fd, BY_LEG_LEVEL, BY_LEG_ASK, &st, &len), 0);
	assert_int_equal(len, sizeof(st));
	return st;
}

static uint64_t dropped(enum by_drop reason)
{
	struct dp_guard_status st;
	struct err e = ERR_INIT;

	guarded_must(dp_guard_status(guarded.g, &st, &e), &e);
	return st.dropped[reason].packets;
}

/* --- tests -------------------------------------------------------------------------------------------------- */

static void nobody_answers_elsewhere(void **state)
{
	struct link l = connected(AF_INET);
	struct by_leg_state st;
	socklen_t len = sizeof(st);

	(void)state;
	assert_int_equal(guarded_tell(l.other, guarded_leg(DB, 443)), -ENOPROTOOPT);
	assert_int_equal(getsockopt(l.other, BY_LEG_LEVEL, BY_LEG_ASK, &st, &len), -1);
	ended(&l);
}

static void only_what_is_told_is_looked_at(void **state)
{
	struct link l = connected(AF_INET);
	int bytes = 12345;

	(void)state;
	guarded_leaves(DB);
	passes(&l);
	assert_false(asked(l.mesh).is_told);
	assert_int_equal(setsockopt(l.mesh, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	ended(&l);
}

static void a_peer_that_is_gone(void **state)
{
	static const int family[] = { AF_INET, AF_INET6 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct link db = connected(family[i]), eve = told(EVE, 0);
		uint64_t before;

		assert_int_equal(guarded_tell(db.mesh, guarded_leg(DB, 0)), 0);
		passes(&db);
		before = dropped(BY_DROP_NO_IDENTITY);
		guarded_leaves(DB);
		is_silent(&db);
		assert_true(dropped(BY_DROP_NO_IDENTITY) >= before + 2);
		assert_int_equal(asked(db.mesh).reason, BY_DROP_NO_IDENTITY);
		passes(&eve);
		world_join(guarded.w, DB, CLASS_DB);
		ended(&db);
		ended(&eve);
	}
}

/* Bytes that were written before, and not taken: they are the kernel's, and go no further. */
static void what_is_queued_stays(void **state)
{
	static char big[1 << 20], got[1 << 16];
	struct link db = connected(AF_INET);
	ssize_t sent = 0, n, taken = 0;
	int least = 4096;

	(void)state;
	setsockopt(db.other, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	assert_int_equal(guarded_tell(db.mesh, guarded_leg(DB, 0)), 0);
	fcntl(db.mesh, F_SETFL, O_NONBLOCK);
	while ((n = send(db.mesh, big, sizeof(big), 0)) > 0)
		sent += n;
	usleep(SILENT_MS * 1000);
	guarded_leaves(DB);
	while (has_come(db.other, SILENT_MS) && (n = recv(db.other, got, sizeof(got), 0)) > 0)
		taken += n;
	printf("# %zd of %zd bytes were with the receiver already\n", taken, sent);
	assert_true(taken < sent / 2);
	ended(&db);
}

static void a_rule_that_is_gone(void **state)
{
	struct link ruled = told(DB, 443), other = told(DB, 0);

	(void)state;
	passes(&ruled);
	world_allow(guarded.w, BY_DIR_IN, BY_PORT_TCP + 444, BY_PORT_TCP + 444);
	is_silent(&ruled);
	assert_true(dropped(BY_DROP_POLICY_DENY) >= 2);
	passes(&other); /* that came another way: the overlay's rules are not about it */
	world_allow(guarded.w, BY_DIR_IN, BY_PORT_TCP + 443, BY_PORT_TCP + 443);
	assert_int_equal(asked(ruled.mesh).reason, BY_DROP_NONE);
	takes(ruled.other, "out"); /* TCP asks again: nothing was lost but time */
	ended(&ruled);
	ended(&other);
}

static void a_rule_is_of_its_direction(void **state)
{
	struct by_leg_set set = guarded_leg(DB, 443);
	struct link l = connected(AF_INET);

	(void)state;
	set.dir = BY_DIR_OUT;
	assert_int_equal(guarded_tell(l.mesh, set), 0);
	is_silent(&l);
	ended(&l);
}

static void an_address_that_is_another_node_s(void **state)
{
	struct link l = told(DB, 0);
	struct dp_identity id = world_node(7, 0);
	struct err e = ERR_INIT;
	uint32_t number;

	(void)state;
	guarded_leaves(DB);
	id.n_addrs = 1;
	assert_true(addr_parse(&id.addrs[0], DB4));
	guarded_must(dp_identity_set(guarded.w->dp, &id, &number, &e), &e);
	is_silent(&l);
	assert_int_equal(guarded_tell(l.mesh, guarded_leg(DB, 0)), -ENOENT); /* nor is it told by that address again */
	ended(&l);
}

static void what_can_not_be_told(void **state)
{
	struct link l = connected(AF_INET);
	struct by_leg_set set = guarded_leg(99, 0), life = guarded_leg(DB, 443);

	(void)state;
	assert_int_equal(guarded_tell(l.mesh, set), -ENOENT);
	set = guarded_leg(DB, 0);
	set.instance_id[19] ^= 1;
	assert_int_equal(guarded_tell(l.mesh, set), -ENOENT);
	assert_int_equal(guarded_tell(l.mesh, guarded_leg(WEB, 0)), -ENOENT);
	set = guarded_leg(DB, 0);
	set.dir = BY_DIR_COUNT;
	assert_int_equal(guarded_tell(l.mesh, set), -EINVAL);
	assert_true(setsockopt(l.mesh, BY_LEG_LEVEL, BY_LEG_SET, &set, sizeof(set) - 1) < 0 && errno == EINVAL);
	assert_true(setsockopt(l.mesh, BY_LEG_LEVEL, 99, &set, sizeof(set)) < 0 && errno == EINVAL);
	assert_false(asked(l.mesh).is_told);

	assert_int_equal(guarded_tell(l.mesh, guarded_leg(DB, 0)), 0);
	assert_int_equal(guarded_tell(l.mesh, guarded_leg(EVE, 0)), 0);
	assert_int_equal(setsockopt(l.mesh, BY_LEG_LEVEL, BY_LEG_CLEAR, &(int){ 0 }, sizeof(int)), 0);
	assert_false(asked(l.mesh).is_told);

	life.is_for_life = 1;
	assert_int_equal(guarded_tell(l.mesh, life), 0);
	assert_int_equal(guarded_tell(l.mesh, guarded_leg(EVE, 0)), -EPERM);
	assert_int_equal(guarded_tell(l.mesh, guarded_leg(DB, 0)), -EPERM); /* without its port */
	assert_int_equal(guarded_tell(l.mesh, (struct by_leg_set){ 0 }), -EPERM);
	assert_true(setsockopt(l.mesh, BY_LEG_LEVEL, BY_LEG_CLEAR, &(int){ 0 }, sizeof(int)) < 0 && errno == EPERM);
	assert_int_equal(guarded_tell(l.mesh, life), 0);
	guarded_leaves(DB);
	is_silent(&l);
	assert_int_equal(guarded_tell(l.mesh, life), -ENOENT);
	ended(&l);
}

static void begin(int fd, uint32_t ms)
{
	assert_int_equal(setsockopt(fd, BY_LEG_LEVEL, BY_LEG_ROUND, &ms, sizeof(ms)), 0);
}

static void a_round_that_was_missed(void **state)
{
	struct by_leg_set old = guarded_leg(DB, 443), nobody = { 0 };
	struct link db = connected(AF_INET), stranger = connected(AF_INET);

	(void)state;
	old.round = nobody.round = asked(db.mesh).round;
	assert_int_equal(guarded_tell(db.mesh, old), 0);
	assert_int_equal(guarded_tell(stranger.mesh, nobody), 0); /* no node: its rules alone */
	begin(db.mesh, 600000);
	passes(&db); /* there is time */
	begin(db.mesh, 600000);
	is_silent(&db); /* two rounds ago */
	is_silent(&stranger);
	assert_int_equal(asked(db.mesh).reason, BY_DROP_RELAY_STALE);
	old.round += 2;
	assert_int_equal(guarded_tell(db.mesh, old), 0);
	takes(db.other, "out");
	takes(db.mesh, "in");
	begin(db.mesh, 1);
	usleep(20000);
	is_silent(&db);
	assert_true(dropped(BY_DROP_RELAY_STALE) >= 4);
	ended(&db);
	ended(&stranger);
}

/* The other end is told that it is over: a reset passes, an end does not. */
static void a_reset_passes(void **state)
{
	struct linger now = { .l_onoff = 1 };
	struct link db = told(DB, 0), second = told(DB, 0);
	char byte;

	(void)state;
	guarded_leaves(DB);
	shutdown(second.mesh, SHUT_WR);
	assert_false(has_come(second.other, SILENT_MS));
	setsockopt(db.mesh, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(db.mesh);
	assert_true(has_come(db.other, PATIENCE));
	assert_int_equal(recv(db.other, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(db.other);
	ended(&second);
}

/* What the kernel carries from socket to socket is stopped as well. */
static void a_sockmap_relay(void **state)
{
	struct link peer = told(DB, 0), backend = told(DB, 0);
	struct dp_relays *relays;
	struct err e = ERR_INIT;
	uint64_t cookie[2];

	(void)state;
	guarded_must(dp_relays_open(&relays, &e), &e);
	assert_int_equal(dp_relay_join(relays, peer.mesh, backend.mesh, 65536, cookie), 0);
	assert_int_equal(send(peer.other, "ask", 3, 0), 3);
	takes(backend.other, "ask");
	assert_int_equal(send(backend.other, "answer", 6, 0), 6);
	takes(peer.other, "answer");
	guarded_leaves(DB);
	assert_int_equal(send(peer.other, "ask", 3, 0), 3);
	assert_int_equal(send(backend.other, "answer", 6, 0), 6);
	assert_false(has_come(backend.other, SILENT_MS));
	assert_false(has_come(peer.other, 1));
	dp_relay_leave(relays, cookie);
	ended(&peer);
	ended(&backend);
	dp_relays_close(relays);
}

static void another_daemon_goes_on(void **state)
{
	struct link db = told(DB, 443);
	struct err e = ERR_INIT;

	(void)state;
	dp_guard_close(guarded.g);
	world_reopen(guarded.w);
	guarded_must(dp_guard_open(guarded.w->bpffs, GUARDED_INSTANCE, &guarded.g, &e), &e);
	guarded_must(dp_guard_set(guarded.g, &guarded.conf, &e), &e);
	passes(&db);
	dp_guard_close(guarded.g);
	guarded.g = NULL;
	guarded_leaves(DB);
	is_silent(&db); /* by the pins alone */
	guarded_must(dp_guard_open(guarded.w->bpffs, GUARDED_INSTANCE, &guarded.g, &e), &e);
	guarded_must(dp_guard_set(guarded.g, &guarded.conf, &e), &e);
	is_silent(&db);
	ended(&db);
}

static void a_cgroup_comes_and_goes(void **state)
{
	struct dp_guard_status st;
	struct err e = ERR_INIT;

	(void)state;
	snprintf(guarded.conf.cgroup[guarded.conf.n_cgroups++], DP_GUARD_PATH, "%.180s/later", guarded.top);
	guarded_must(dp_guard_set(guarded.g, &guarded.conf, &e), &e);
	assert_true(dp_guard_is_placed(guarded.g, &guarded.conf));
	guarded_must(dp_guard_status(guarded.g, &st, &e), &e);
	assert_int_equal(st.n_cgroups, 1);
	assert_int_equal(mkdir(guarded.conf.cgroup[1], 0755), 0);
	assert_false(dp_guard_is_placed(guarded.g, &guarded.conf));
	guarded_must(dp_guard_set(guarded.g, &guarded.conf, &e), &e);
	assert_true(dp_guard_is_placed(guarded.g, &guarded.conf));
	assert_int_equal(rmdir(guarded.conf.cgroup[1]), 0);
	assert_false(dp_guard_is_placed(guarded.g, &guarded.conf));
	guarded_must(dp_guard_set(guarded.g, &guarded.conf, &e), &e);
	assert_true(dp_guard_is_placed(guarded.g, &guarded.conf));

	snprintf(guarded.conf.cgroup[1], DP_GUARD_PATH, "/proc");
	assert_int_equal(dp_guard_set(guarded.g, &guarded.conf, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "is no cgroup of version 2"));
}

static void what_is_not_named_goes(void **state)
{
	struct dp_guard_conf none = { 0 };
	struct link db = told(DB, 0);
	struct err e = ERR_INIT;

	(void)state;
	guarded_leaves(DB);
	guarded_must(dp_guard_set(guarded.g, &none, &e), &e);
	passes(&db);
	ended(&db);
	guarded_must(dp_guard_destroy(guarded.w->bpffs, GUARDED_INSTANCE, &e), &e);
	assert_false(world_has_pin(guarded.w, "guard"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guarded_begin, guarded_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_answers_elsewhere),
		TEST(only_what_is_told_is_looked_at),
		TEST(a_peer_that_is_gone),
		TEST(what_is_queued_stays),
		TEST(a_rule_that_is_gone),
		TEST(a_rule_is_of_its_direction),
		TEST(an_address_that_is_another_node_s),
		TEST(what_can_not_be_told),
		TEST(a_round_that_was_missed),
		TEST(a_reset_passes),
		TEST(a_sockmap_relay),
		TEST(another_daemon_goes_on),
		TEST(a_cgroup_comes_and_goes),
		TEST(what_is_not_named_goes),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("bpf/guard", tests, guarded_setup, guarded_teardown);
}
