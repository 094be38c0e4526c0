// SPDX-License-Identifier: Apache-2.0
#include "etcd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define TRIES 20

static char data[64];
static pid_t pid;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

bool etcd_is_installed(void)
{
	return access("/usr/bin/etcd", X_OK) == 0;
}

static void etcd_is_tested(void **state)
{
	(void)state;
	print_message("etcd is not installed (package etcd-server)\n");
	skip();
}

int etcd_run_none(const char *name)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(etcd_is_tested) };

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 || getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		die("no port for etcd");
	close(fd);
	return ntohs(sa.sin_port);
}

static void run(const char *client, const char *peer)
{
	char cluster[96];
	int null = open("/dev/null", O_WRONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 1);
	dup2(null, 2);
	snprintf(cluster, sizeof(cluster), "default=%s", peer);
	execl("/usr/bin/etcd", "etcd", "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls",
	      client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
	      NULL);
	_exit(127);
}

static bool answers(const struct etcd_conf *conf)
{
	struct etcd_pems none = { 0 };
	struct etcd_answer a;
	struct etcd *etcd;
	struct err e;
	bool ok;

	if (etcd_new(conf, &none, &etcd, &e) < 0)
		return false;
	ok = etcd_txn(etcd, NULL, NULL, NULL, &a, &e) == 0;
	if (ok)
		etcd_answer_fini(&a);
	etcd_free(etcd);
	return ok;
}

static void prefix_new(struct etcd_conf *conf)
{
	static int n;

	snprintf(conf->prefix, sizeof(conf->prefix), "/test/%d", ++n);
}

void etcd_start(struct etcd_conf *conf)
{
	static struct etcd_conf made;
	char peer[64];
	int tries = 0;

	if (!pid) {
		snprintf(data, sizeof(data), "/tmp/by-etcd-XXXXXX");
		if (!mkdtemp(data))
			die(data);
		made.n_endpoints = 1;
		snprintf(made.endpoint[0], ETCD_URL, "http://127.0.0.1:%d", free_port());
		snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", free_port());
		pid = fork();
		if (!pid)
			run(made.endpoint[0], peer);
		while (pid < 0 || !answers(&made)) {
			if (pid < 0 || ++tries > TRIES)
				die("etcd does not start");
			usleep(500000);
		}
	}
	*conf = made;
	prefix_new(conf);
}

int etcd_stop(void **state)
{
	char command[128];

	(void)state;
	if (!pid)
		return 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pid = 0;
	snprintf(command, sizeof(command), "rm -rf '%s'", data);
	if (system(command) != 0)
		die(command);
	return 0;
}

void etcd_pause(bool pause)
{
	kill(pid, pause ? SIGSTOP : SIGCONT);
	if (pause && waitpid(pid, NULL, WUNTRACED) != pid) /* all of its threads have stopped then, and not before */
		die("etcd does not stop");
}

bool etcd_is_late(int ret)
{
	return ret == -EAGAIN || ret == -EHOSTUNREACH || ret == -EREMOTEIO || ret == -ETIMEDOUT;
}
