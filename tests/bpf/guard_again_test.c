// SPDX-License-Identifier: Apache-2.0
/*
 * The programs that guard a mesh go and come, under relays that are there: the engine tells them of each socket again,
 * when it has seen that they were gone and also when it has not, and what they are told is what stops them.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/cgroup.h"
#include "../lib/guarded.h"
#include "../lib/proxy.h"

#define TRIES   600
#define TRY_MS  50
#define SOCKETS 4 /* of a relay by two engines */
#define FDS_MAX 256

static struct pw w;
static struct {
	int client, backend;
} end;

static bool leg_of(struct mp_peer *peer, struct mp_upstream *up, void *listener_data, const struct sockaddr *from,
		   struct by_leg_set *leg, void *arg)
{
	(void)peer, (void)up, (void)listener_data, (void)from, (void)arg;
	*leg = guarded_leg(DB, 443);
	return true;
}

/* Connected sockets that the kernel was told of. */
static int told(void)
{
	int n = 0;

	for (int fd = 0; fd < FDS_MAX; fd++) {
		struct by_leg_state st = { 0 };
		struct sockaddr_storage at;
		socklen_t len = sizeof(st), at_len = sizeof(at);

		if (getpeername(fd, (struct sockaddr *)&at, &at_len) == 0 &&
		    getsockopt(fd, BY_LEG_LEVEL, BY_LEG_ASK, &st, &len) == 0)
			n += st.is_told == 1;
	}
	return n;
}

static void eventually_told(int n)
{
	for (int i = 0; i < TRIES && told() != n; i++)
		usleep(TRY_MS * 1000);
	assert_int_equal(told(), n);
}

/* By the engines' own count. */
static uint64_t legs(void)
{
	return pw_counters(&w, false).legs + pw_counters(&w, true).legs;
}

static void turn(void)
{
	char got[4];

	pw_send(end.client, "ping");
	assert_true(pw_exactly(end.backend, got, 4));
	pw_send(end.backend, "pong");
	assert_true(pw_exactly(end.client, got, 4));
}

static void go(struct pw *pw, void *arg)
{
	struct err e = ERR_INIT;

	(void)pw, (void)arg;
	dp_guard_close(guarded.g);
	guarded.g = NULL;
	guarded_must(dp_guard_destroy(guarded.w->bpffs, GUARDED_INSTANCE, &e), &e);
	eventually_told(0); /* the kernel takes its time to let go of them */
}

static void come(struct pw *pw, void *arg)
{
	struct err e = ERR_INIT;

	(void)pw, (void)arg;
	guarded_must(dp_guard_open(guarded.w->bpffs, GUARDED_INSTANCE, &guarded.g, &e), &e);
	guarded_must(dp_guard_set(guarded.g, &guarded.conf, &e), &e);
}

/* In the engines' own thread: they see what was before and what is now. */
static void go_and_come(struct pw *pw, void *arg)
{
	go(pw, arg);
	come(pw, arg);
}

static void revoked_is_cut(void)
{
	turn();
	guarded_leaves(DB);
	assert_true(pw_is_reset(end.client));
	assert_true(pw_is_reset(end.backend));
	assert_true(pw_counters(&w, false).guard_cuts + pw_counters(&w, true).guard_cuts >= 1);
}

static void told_again_when_they_come_back(void **state)
{
	(void)state;
	pw_do(&w, go, NULL);
	for (int i = 0; i < TRIES && legs(); i++)
		usleep(TRY_MS * 1000);
	assert_int_equal(legs(), 0);
	turn();
	pw_do(&w, come, NULL);
	eventually_told(SOCKETS);
	assert_int_equal(legs(), SOCKETS);
	revoked_is_cut();
}

static void told_again_when_others_took_their_place(void **state)
{
	(void)state;
	pw_do(&w, go_and_come, NULL);
	eventually_told(SOCKETS);
	assert_int_equal(legs(), SOCKETS);
	revoked_is_cut();
}

static int begin(void **state)
{
	struct pw_conf conf = { .client.ops.leg = leg_of, .server.ops.leg = leg_of };

	guarded_begin(state);
	cgroup2_enter(guarded.mesh);
	pw_start(&w, &conf);
	end.client = pw_dial(&w, PW_TCP);
	end.backend = pw_accept(&w);
	turn();
	eventually_told(SOCKETS);
	return 0;
}

static int finish(void **state)
{
	if (guarded.w) {
		close(end.client);
		close(end.backend);
		pw_stop(&w);
		cgroup2_enter(guarded.outside);
	}
	return guarded_end(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(told_again_when_they_come_back),
		TEST(told_again_when_others_took_their_place),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("guard, again", tests, guarded_setup, guarded_teardown);
}
