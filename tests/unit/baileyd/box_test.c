// SPDX-License-Identifier: Apache-2.0
/* Attacks from inside: a child enters the box and tries what code execution there would try. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "baileyd/box.h"

#define NOBODY 65534

struct box_case {
	const char *what;
	int (*attempt)(void); /* 0 when it worked, else errno */
	int expect;           /* errno, 0 for what must go on working */
};

enum box { EDGE, NET, SIGNER, RELAY, RELAY_AGENT, DNS };

static int enter(enum box box, struct err *e)
{
	switch (box) {
	case EDGE:
		return box_edge(NOBODY, NOBODY, e);
	case SIGNER:
		return box_signer(NOBODY, NOBODY, e);
	case DNS:
		return box_dns(NOBODY, NOBODY, e);
	case RELAY:
	case RELAY_AGENT:
		return box_relay(NOBODY, NOBODY, box == RELAY_AGENT, e);
	default:
		return box_net(e);
	}
}

/* Runs one attempt in a child inside the box; the exit status is its errno. 200: the box itself failed. */
static int inside(enum box box, int (*attempt)(void))
{
	struct err e = ERR_INIT;
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (enter(box, &e) < 0)
			_exit(200);
		_exit(attempt());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void run_cases(enum box box, const struct box_case *c, size_t n)
{
	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < n; i++) {
		int got = inside(box, c[i].attempt);

		if (got != c[i].expect)
			fail_msg("%s: expected %s, got %s", c[i].what, strerror(c[i].expect),
				 got == 200 ? "a box that does not close" : strerror(got));
	}
}

static int result(long ret)
{
	return ret < 0 ? errno : 0;
}

static int try_bpf(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };

	return result(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int try_open(void)
{
	return result(open("/etc/passwd", O_RDONLY));
}

static int try_exec(void)
{
	return result(execl("/bin/true", "true", (char *)NULL));
}

static int try_fork(void)
{
	return result(syscall(SYS_fork));
}

static int try_netlink(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int try_unix(void)
{
	return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_udp(void)
{
	return result(socket(AF_INET, SOCK_DGRAM, 0));
}

static int try_tcp(void)
{
	return result(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static int try_ptrace(void)
{
	return result(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int try_executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int try_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? 200 : result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int try_become_root(void)
{
	return result(setuid(0));
}

static int try_kill_parent(void)
{
	return result(kill(getppid(), 0));
}

static int try_memory(void)
{
	return malloc(1 << 20) ? 0 : errno;
}

static int try_mount(void)
{
	return result(syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL));
}

static int try_read_foreign_file(void)
{
	/* root's uid without CAP_DAC_OVERRIDE: files of others with 0600 are closed */
	int fd = open("/tmp/by-box-test", O_RDONLY);

	return fd < 0 ? errno : 0;
}

static int try_raise_capability(void)
{
	char line[256];
	FILE *f;

	/* exec as uid 0 normally brings all capabilities back */
	f = popen("grep CapEff /proc/self/status", "r");
	if (!f || !fgets(line, sizeof(line), f))
		return 200;
	pclose(f);
	return strtoull(strchr(line, ':') + 1, NULL, 16) == 0 ? EPERM : 0;
}

static int try_packet_socket(void)
{
	return result(socket(AF_PACKET, SOCK_RAW, 0)); /* needs CAP_NET_RAW */
}

static void the_edge_can_do_its_work_and_nothing_else(void **state)
{
	static const struct box_case cases[] = {
		{ "TCP socket", try_tcp, 0 },
		{ "memory", try_memory, 0 },
		{ "bpf()", try_bpf, EPERM },
		{ "open()", try_open, EPERM },
		{ "execve()", try_exec, EPERM },
		{ "fork()", try_fork, EPERM },
		{ "netlink socket", try_netlink, EPERM },
		{ "unix socket", try_unix, EPERM },
		{ "UDP socket", try_udp, EPERM },
		{ "ptrace()", try_ptrace, EPERM },
		{ "mmap(PROT_EXEC)", try_executable_memory, EPERM },
		{ "mprotect(PROT_EXEC)", try_make_executable, EPERM },
		{ "setuid(0)", try_become_root, EPERM },
		{ "kill()", try_kill_parent, EPERM },
		{ "mount()", try_mount, EPERM },
	};

	(void)state;
	run_cases(EDGE, cases, sizeof(cases) / sizeof(cases[0]));
}

static void net_keeps_bpf_and_gains_nothing(void **state)
{
	static const struct box_case cases[] = {
		{ "bpf()", try_bpf, 0 },
		{ "netlink socket", try_netlink, 0 },
		{ "mount()", try_mount, EPERM },
		{ "packet socket", try_packet_socket, EPERM },
		{ "another user's file", try_read_foreign_file, EACCES },
		{ "capabilities by exec", try_raise_capability, EPERM },
	};
	int fd;

	(void)state;
	if (geteuid() != 0)
		skip();
	unlink("/tmp/by-box-test");
	fd = open("/tmp/by-box-test", O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0 && fchown(fd, NOBODY, NOBODY) == 0);
	close(fd);
	run_cases(NET, cases, sizeof(cases) / sizeof(cases[0]));
	unlink("/tmp/by-box-test");
}

static int try_splice(void)
{
	int from[2], to[2];

	if (pipe2(from, O_CLOEXEC) < 0 || pipe2(to, O_CLOEXEC) < 0 || write(from[1], "x", 1) != 1)
		return errno;
	return result(splice(from[0], NULL, to[1], NULL, 1, 0));
}

static int try_bind(void)
{
	struct sockaddr sa = { .sa_family = AF_INET };

	return result(bind(socket(AF_INET, SOCK_STREAM, 0), &sa, 16));
}

#define NOTHING_ELSE                                                                                                   \
	{ "bpf()", try_bpf, EPERM }, { "open()", try_open, EPERM }, { "execve()", try_exec, EPERM },                   \
		{ "fork()", try_fork, EPERM }, { "netlink socket", try_netlink, EPERM },                               \
		{ "ptrace()", try_ptrace, EPERM }, { "mmap(PROT_EXEC)", try_executable_memory, EPERM },                \
		{ "mprotect(PROT_EXEC)", try_make_executable, EPERM }, { "setuid(0)", try_become_root, EPERM },        \
		{ "kill()", try_kill_parent, EPERM }, { "mount()", try_mount, EPERM },                                 \
	{                                                                                                              \
		"bind()", try_bind, EPERM                                                                              \
	}

static void the_mesh_signs_without_a_socket(void **state)
{
	static const struct box_case cases[] = {
		{ "memory", try_memory, 0 },
		{ "TCP socket", try_tcp, EPERM },
		{ "UDP socket", try_udp, EPERM },
		{ "unix socket", try_unix, EPERM },
		NOTHING_ELSE,
	};

	(void)state;
	run_cases(SIGNER, cases, sizeof(cases) / sizeof(cases[0]));
}

static void the_mesh_relays_and_nothing_else(void **state)
{
	static const struct box_case cases[] = {
		{ "memory", try_memory, 0 },   { "TCP socket", try_tcp, 0 },       { "UDP socket", try_udp, 0 },
		{ "splice()", try_splice, 0 }, { "unix socket", try_unix, EPERM }, NOTHING_ELSE,
	};
	static const struct box_case dns[] = { { "TCP socket", try_tcp, 0 },
					       { "UDP socket", try_udp, 0 },
					       { "splice()", try_splice, EPERM },
					       { "unix socket", try_unix, EPERM },
					       NOTHING_ELSE };
	static const struct box_case with_agent[] = { { "unix socket", try_unix, 0 }, NOTHING_ELSE };

	(void)state;
	run_cases(DNS, dns, sizeof(dns) / sizeof(dns[0]));
	run_cases(RELAY, cases, sizeof(cases) / sizeof(cases[0]));
	run_cases(RELAY_AGENT, with_agent, sizeof(with_agent) / sizeof(with_agent[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_edge_can_do_its_work_and_nothing_else),
		cmocka_unit_test(net_keeps_bpf_and_gains_nothing),
		cmocka_unit_test(the_mesh_signs_without_a_socket),
		cmocka_unit_test(the_mesh_relays_and_nothing_else),
	};

	return cmocka_run_group_tests_name("baileyd/box", tests, NULL, NULL);
}
