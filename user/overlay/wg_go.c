// SPDX-License-Identifier: Apache-2.0
#include "wg_go.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "wg_uapi.h"

#define PROGRAM   "wireguard-go"
#define WAIT_MS   5000
#define PERIOD_MS 10

/* What the started process says before it becomes wireguard-go. */
struct report {
	pid_t pid;
	int code; /* 0: about to execute; else why it could not */
};

/*
 * CAP_NET_ADMIN alone, in every set: the ambient one hands it over where root has no powers of its own
 * (SECBIT_NOROOT) and no_new_privs holds the rest back where the bounding set is not ours to narrow. System calls
 * only: between fork and exec of a process with threads nothing else is safe.
 */
static int keep_net_admin(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { 0 };

	for (int cap = 0; cap <= 63; cap++)
		if (cap != CAP_NET_ADMIN)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	sets[0].effective = sets[0].permitted = sets[0].inheritable = 1u << CAP_NET_ADMIN;
	if (syscall(SYS_capset, &head, sets) < 0)
		return -errno;
	/* refused under SECBIT_NO_CAP_AMBIENT_RAISE, where a plain root still gets it from the inheritable set */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int leave_parent(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || chdir("/") < 0)
		return -errno;
	return close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

/* In the new process. The report's pipe closes with the exec: end of file there means that it runs. */
static void __attribute__((noreturn)) become(char *const argv[], char *const envp[], int pipe_fd)
{
	struct report r = { .pid = getpid() };
	ssize_t sent;

	/* below the descriptors that leave_parent() overwrites nothing of ours may stay */
	pipe_fd = fcntl(pipe_fd, F_DUPFD_CLOEXEC, 3);
	r.code = pipe_fd < 0 ? -errno : leave_parent();
	if (!r.code)
		r.code = keep_net_admin();
	sent = write(pipe_fd, &r, sizeof(r));
	if (!r.code && sent == (ssize_t)sizeof(r)) {
		execvpe(argv[0], argv, envp);
		r.code = -errno;
		sent = write(pipe_fd, &r, sizeof(r));
	}
	_exit(sent == (ssize_t)sizeof(r) ? 1 : 2);
}

/* Twice forked: init, not the caller, collects it, so the caller's SIGCHLD stays its own. */
static int spawn(char *const argv[], char *const envp[], int pipe_fd)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (child == 0) {
		setsid();
		child = fork();
		if (child == 0)
			become(argv, envp, pipe_fd);
		_exit(child < 0);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return errno == ECHILD ? 0 : -errno; /* the caller ignores SIGCHLD */
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EAGAIN;
}

static int read_report(int fd, struct report *r)
{
	ssize_t n;

	do
		n = read(fd, r, sizeof(*r));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == (ssize_t)sizeof(*r) ? 1 : 0;
}

/* 0 and a descriptor of the running process, or why there is none. */
static int start(const char *name, int *pid_fd, struct err *e)
{
	char program[] = PROGRAM, foreground[] = "-f", device[32], level[] = "LOG_LEVEL=error";
	char *const argv[] = { program, foreground, device, NULL };
	char *const envp[] = { level, NULL };
	auto_fd int read_end = -1;
	struct report r = { 0 };
	int fds[2], rc;

	snprintf(device, sizeof(device), "%s", name);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_at(e, -errno, name, "no pipe: %s", strerror(errno));
	read_end = fds[0];
	rc = spawn(argv, envp, fds[1]);
	close(fds[1]);
	if (rc < 0)
		return err_at(e, rc, name, "no process for " PROGRAM ": %s", strerror(-rc));
	rc = read_report(read_end, &r);
	if (rc <= 0)
		return err_at(e, rc ? rc : -ECHILD, name, PROGRAM " was not started");
	*pid_fd = r.code ? -1 : pidfd_open(r.pid, 0);
	read_report(read_end, &r); /* waits for the exec; leaves r where it worked */
	if (r.code == -ENOENT)
		return err_at(e, r.code, name, "no " PROGRAM " in PATH");
	if (r.code)
		return err_at(e, r.code, name, PROGRAM " was not started: %s", strerror(-r.code));
	return 0;
}

static int wait_answer(const char *name, int pid_fd, struct err *e)
{
	struct pollfd p = { .fd = pid_fd, .events = POLLIN };

	for (int waited = 0; waited < WAIT_MS; waited += PERIOD_MS) {
		auto_fd int fd = -1;

		if (!ov_uapi_connect(name, &fd))
			return 0;
		if (poll(&p, 1, PERIOD_MS) > 0)
			return err_at(
				e, -ECHILD, name,
				PROGRAM
				" ended at once; it needs /dev/net/tun, CAP_NET_ADMIN and a writable " OV_UAPI_DIR);
	}
	if (pid_fd >= 0)
		pidfd_send_signal(pid_fd, SIGTERM, NULL, 0);
	return err_at(e, -ETIMEDOUT, name, PROGRAM " made no socket within %d s", WAIT_MS / 1000);
}

int ov_go_start(const char *name, struct err *e)
{
	auto_fd int pid_fd = -1;
	int rc;

	rc = start(name, &pid_fd, e);
	return rc ? rc : wait_answer(name, pid_fd, e);
}

int ov_go_wait_gone(const char *name, struct err *e)
{
	char path[64];

	for (int waited = 0; waited < WAIT_MS; waited += PERIOD_MS) {
		auto_fd int fd = -1;
		int rc = ov_uapi_connect(name, &fd);

		if (rc == -ENOENT)
			return 0;
		if (rc == -ECONNREFUSED && unlink(ov_uapi_path(path, name)) < 0 && errno != ENOENT)
			return err_at(e, -errno, path, "stale socket not removed: %s", strerror(errno));
		if (rc == -ECONNREFUSED)
			return 0;
		poll(NULL, 0, PERIOD_MS);
	}
	return err_at(e, -ETIMEDOUT, name, PROGRAM " still answers %d s after its link was deleted", WAIT_MS / 1000);
}
