// SPDX-License-Identifier: Apache-2.0
/*
 * A relay of the mesh's engine is cut by the kernel on each path that it can take, with bytes waiting in both
 * directions, while its process is stopped and can do nothing, and when it goes on and has heard of nothing. The engine
 * is in a process of the mesh's cgroup; both ends are here, and count.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/cgroup.h"
#include "../lib/guarded.h"
#include "../lib/proxy.h"
#include "datapath/relay.h"

#define PATIENCE   20000 /* ms */
#define SILENT_MS  300
#define FULL_MS    500
#define MUCH       (2u << 20) /* that waits, each way, between an end that sends and one that does not take it */
#define ROUND_LONG 600000

/* A path, and the entry of the proxy whose relays take it. */
struct way {
	const char *name;
	enum mp_path path;
	enum pw_entry entry;
	struct mp_conf conf;
};

static const struct way ways[] = {
	{ "copied", MP_PATH_PROXIED, PW_PLAIN, { .no_paths = ~0u } },
	{ "spliced", MP_PATH_SPLICED, PW_PLAIN, { .bulk = 1 } },
	{ "sockmap", MP_PATH_SOCKMAP, PW_PLAIN, { .no_paths = 1u << MP_PATH_SPLICED, .sockmap_bound = ~0u } },
	{ "ktls", MP_PATH_KTLS, PW_TCP, { .ktls = true, .ktls_after = 1, .bulk = 1 } },
};

static struct {
	const struct way *way;
	struct dp_relays *sockmap;
	pid_t engine;
	int ask; /* of the engine's process */
	int listener, end[2];
	uint64_t sent[2], came[2]; /* by whom; at whom */
} t;

/* --- the engine's process ------------------------------------------------------------------------------------ */

static int path_is_taken;

static void see_path(const struct mp_relay *r, void *arg)
{
	(void)arg;
	path_is_taken |= r->path == t.way->path;
}

static void look(struct pw *w, void *arg)
{
	mp_each_relay(w->client, see_path, arg);
}

/* Each connected socket of TCP: of this relay there is no other. */
static int tell_all(void)
{
	struct sockaddr_storage at;
	int told = 0;

	for (int fd = 0; fd < 256; fd++) {
		socklen_t len = sizeof(at);

		if (getpeername(fd, (struct sockaddr *)&at, &len) == 0 && at.ss_family == AF_INET)
			told += guarded_tell(fd, guarded_leg(DB, 443)) == 0;
	}
	return told;
}

static void engine_run(int asked, uint16_t backend)
{
	struct pw_conf conf = { .client = t.way->conf, .server = t.way->conf, .backend = backend };
	static struct pw w;
	int answer;
	char what;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	conf.client.sockmap = t.sockmap;
	pw_start(&w, &conf);
	answer = w.port[t.way->entry];
	while (send(asked, &answer, sizeof(answer), 0) > 0 && recv(asked, &what, 1, 0) == 1) {
		path_is_taken = 0;
		if (what == 'p')
			pw_do(&w, look, NULL);
		answer = what == 't' ? tell_all() : path_is_taken;
	}
	_exit(0);
}

static int answer_to(char what)
{
	int answer;

	assert_true(!what || send(t.ask, &what, 1, 0) == 1);
	assert_int_equal(recv(t.ask, &answer, sizeof(answer), 0), sizeof(answer));
	return answer;
}

static void engine_start(void)
{
	int pair[2], least = 4096;
	uint16_t backend = 0;

	t.listener = pw_listen_any(&backend);
	setsockopt(t.listener, SOL_SOCKET, SO_RCVBUF, &least,
		   sizeof(least)); /* the ends': most of it waits on its way */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	cgroup2_enter(guarded.mesh);
	t.engine = fork();
	if (t.engine == 0)
		engine_run(pair[1], backend);
	cgroup2_enter(guarded.outside);
	close(pair[1]);
	t.ask = pair[0];
}

static void engine_signal(int sig)
{
	int status;

	assert_int_equal(kill(t.engine, sig), 0);
	if (sig != SIGCONT)
		assert_int_equal(waitpid(t.engine, &status, WUNTRACED), t.engine);
}

/* --- both ends ------------------------------------------------------------------------------------------------ */

static void ends_open(void)
{
	int port = answer_to(0), least = 4096;

	t.end[0] = pw_dial_port((uint16_t)port);
	setsockopt(t.end[0], SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	t.end[1] = accept4(t.listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(t.end[1] >= 0);
	for (int i = 0; i < 2; i++) {
		fcntl(t.end[i], F_SETFL, O_NONBLOCK);
		t.sent[i] = t.came[i] = 0;
	}
}

/* Until it is there, or nobody takes more. */
static void fill(void)
{
	static const char bytes[65536];

	for (int i = 0; i < 2; i++) {
		struct pollfd p = { .fd = t.end[i], .events = POLLOUT };

		while (t.sent[i] < MUCH && poll(&p, 1, FULL_MS) == 1) {
			ssize_t n = send(t.end[i], bytes, sizeof(bytes), MSG_NOSIGNAL);

			assert_true(n > 0 || errno == EAGAIN);
			t.sent[i] += n > 0 ? (uint64_t)n : 0;
		}
	}
}

static bool has_more(int i, int ms)
{
	static char bytes[2048];
	struct pollfd p = { .fd = t.end[i], .events = POLLIN };
	ssize_t n = poll(&p, 1, ms) == 1 ? recv(t.end[i], bytes, sizeof(bytes), 0) : 0;

	t.came[i] += n > 0 ? (uint64_t)n : 0;
	return n > 0;
}

/* What an end has, taken or not. */
static uint64_t has_come(int i)
{
	int waiting = 0;

	assert_int_equal(ioctl(t.end[i], FIONREAD, &waiting), 0);
	return t.came[i] + (uint64_t)waiting;
}

static void comes_to_both(uint64_t bytes)
{
	for (int i = 0; i < 2; i++)
		for (uint64_t until = t.came[i] + bytes; t.came[i] < until;)
			assert_true(has_more(i, PATIENCE));
}

static void nothing_comes(const uint64_t had[2])
{
	for (int i = 0; i < 2; i++) {
		while (has_more(i, SILENT_MS))
			;
		assert_int_equal(t.came[i], had[i]);
	}
}

/* --- what ends it --------------------------------------------------------------------------------------------- */

static void peer_is_gone(void)
{
	guarded_leaves(DB);
}

static void rule_is_gone(void)
{
	world_allow(guarded.w, BY_DIR_IN, BY_PORT_TCP + 444, BY_PORT_TCP + 444);
}

/* The mesh's parent has new rules, and its worker does not say that the relay may go on. */
static void judgement_is_late(void)
{
	uint32_t ms = 60;
	int fd;

	cgroup2_enter(guarded.mesh);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(fd, BY_LEG_LEVEL, BY_LEG_ROUND, &ms, sizeof(ms)), 0);
	cgroup2_enter(guarded.outside);
	close(fd);
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void is_cut(void (*revoke)(void))
{
	uint64_t had[2];

	engine_start();
	ends_open();
	pw_send(t.end[0], "x");
	assert_true(has_more(1, PATIENCE)); /* it is there, whole */
	assert_true(answer_to('t') >= 2);
	fill();
	assert_true(answer_to('p'));
	engine_signal(SIGSTOP);
	comes_to_both(20000); /* without the process: the kernel has them */
	revoke();
	usleep(100000);
	for (int i = 0; i < 2; i++) {
		had[i] = has_come(i);
		assert_true(had[i] < t.sent[!i]);
	}
	nothing_comes(had);
	engine_signal(SIGCONT);
	nothing_comes(had);
	printf("# %s: %llu of %llu and %llu of %llu bytes had come\n", t.way->name, (unsigned long long)had[0],
	       (unsigned long long)t.sent[1], (unsigned long long)had[1], (unsigned long long)t.sent[0]);
}

static void when_its_peer_is_gone(void **state)
{
	(void)state;
	is_cut(peer_is_gone);
}

static void when_its_rule_is_gone(void **state)
{
	(void)state;
	is_cut(rule_is_gone);
}

static void when_it_is_not_judged_again(void **state)
{
	(void)state;
	is_cut(judgement_is_late);
}

static int begin(void **state)
{
	t.engine = 0;
	t.listener = t.ask = t.end[0] = t.end[1] = -1;
	return guarded_begin(state);
}

static int end(void **state)
{
	const int fds[] = { t.listener, t.ask, t.end[0], t.end[1] };

	if (t.engine > 0) {
		kill(t.engine, SIGKILL);
		waitpid(t.engine, NULL, 0);
	}
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return guarded_end(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

/* With a name: that way alone. */
int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST(when_its_peer_is_gone),
		TEST(when_its_rule_is_gone),
		TEST(when_it_is_not_judged_again),
	};
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct CMUnitTest named[sizeof(tests) / sizeof(tests[0])];
		char names[sizeof(tests) / sizeof(tests[0])][80];

		t.way = &ways[i];
		if ((argc > 1 && strcmp(argv[1], t.way->name) != 0) ||
		    !pw_has_path(t.way->path, t.way->name, &t.sockmap))
			continue;
		for (size_t n = 0; n < sizeof(tests) / sizeof(tests[0]); n++) {
			named[n] = tests[n];
			snprintf(names[n], sizeof(names[n]), "%s: %s", t.way->name, tests[n].name);
			named[n].name = names[n];
		}
		failed += cmocka_run_group_tests(named, guarded_setup, guarded_teardown);
		dp_relays_close(t.sockmap);
	}
	return failed;
}
