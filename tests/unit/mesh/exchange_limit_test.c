// SPDX-License-Identifier: Apache-2.0
/* Who connects to the record exchange and says nothing: how many of them are held at once. */
#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "identity/sim.h"
#include "mesh/exchange.h"

static struct event_base *base;
static struct mx *mx;
static struct ip_endpoint mx_at;

/* Nobody here says a word of TLS. */
static void trust(struct id_trust *t, void *arg)
{
	(void)t, (void)arg;
	fail_msg("somebody was judged");
}

static void on_refused(const char *origin, const struct err *e, bool is_remote, void *arg)
{
	(void)origin, (void)e, (void)is_remote, (void)arg;
}

/* On loopback; fills `at`. */
static int listening(struct ip_endpoint *at)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(sin);

	assert_true(bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 && listen(fd, 8) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	assert_true(endpoint_from_sockaddr(at, (struct sockaddr *)&sin));
	return fd;
}

static int set_up(void **state)
{
	struct id_sim_request req = { .common_name = "a",
				      .not_before = time(NULL) - 60,
				      .not_after = time(NULL) + 3600 };
	struct mx_conf conf = { .trust = trust, .refused = on_refused };
	struct id_sim_root root;
	struct err e = ERR_INIT;
	char *cert, *key;

	(void)state;
	conf.base = base = event_base_new();
	assert_int_equal(id_sim_root_new(time(NULL), &root, &e), 0);
	assert_int_equal(id_sim_issue(&root, &req, &cert, &key, &e), 0);
	conf.cert_pem = cert, conf.key_pem = key;
	assert_int_equal(mx_new(&conf, &mx, &e), 0);
	assert_int_equal(mx_set_record(mx, (const uint8_t *)"nobody asks for it", 18), 0);
	assert_int_equal(mx_listen(mx, listening(&mx_at), &e), 0);
	id_sim_root_fini(&root);
	free(cert);
	free(key);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mx_free(mx);
	event_base_free(base);
	return 0;
}

/* Of the process: those of the sessions are among them. */
static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void turn(void)
{
	struct timeval while_idle = { .tv_usec = 100000 };

	event_base_loopexit(base, &while_idle);
	event_base_loop(base, 0);
}

/* Until so many are open: on a busy machine a turn may be over before what is under way is. */
static void settles_at(unsigned n)
{
	for (unsigned tries = 0; tries < 100 && open_files() != n; tries++)
		turn();
	assert_int_equal(open_files(), n);
}

/* The loop accepts it if it does at all. */
static int knock(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sin.sin_port = htons(mx_at.port);
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	return fd;
}

/* One that is dialled takes the last place: who knocks then waits in the kernel's queue. */
static void dialled_sessions_do_not_lift_the_limit(void **state)
{
	int client[MX_SESSIONS_MAX + 4], silent;
	struct ip_endpoint silent_at;
	struct err e = ERR_INIT;
	unsigned before, n;

	(void)state;
	silent = listening(&silent_at);
	before = open_files();
	for (n = 0; n < MX_SESSIONS_MAX - 1; n++)
		client[n] = knock();
	assert_int_equal(mx_dial(mx, &silent_at, 60, &e), 0);
	settles_at(before + 2 * (MX_SESSIONS_MAX - 1) + 1);
	for (; n < MX_SESSIONS_MAX + 4; n++)
		client[n] = knock();
	turn();
	settles_at(before + MX_SESSIONS_MAX + 4 + MX_SESSIONS_MAX);
	while (n)
		close(client[--n]);
	close(silent);
	settles_at(before - 1); /* those that waited were accepted, and are gone, too */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(dialled_sessions_do_not_lift_the_limit, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("mesh/exchange_limit", tests, NULL, NULL);
}
