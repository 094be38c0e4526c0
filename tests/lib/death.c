// SPDX-License-Identifier: Apache-2.0
#include "death.h"

#include <linux/bpf.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYSCALL_STOP (SIGTRAP | 0x80)

static const struct {
	int nr;
	const char *name;
} changes[] = {
	{ SYS_bpf, "bpf" },           { SYS_mmap, "mmap" },
	{ SYS_mkdir, "mkdir" },       { SYS_rmdir, "rmdir" },
	{ SYS_rename, "rename" },     { SYS_unlink, "unlink" },
	{ SYS_unlinkat, "unlinkat" }, { SYS_membarrier, "membarrier" },
	{ SYS_sendto, "sendto" },     { SYS_sendmsg, "sendmsg" },
};

/* bpf(2) commands that only read: a step more for each would be the same state again. */
static const int reads[] = { BPF_MAP_LOOKUP_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_BATCH, BPF_OBJ_GET,
			     BPF_OBJ_GET_INFO_BY_FD };

static const char *change_name(uint64_t nr, uint64_t arg)
{
	for (size_t i = 0; nr == SYS_bpf && i < sizeof(reads) / sizeof(reads[0]); i++)
		if ((uint64_t)reads[i] == arg)
			return NULL;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		if ((uint64_t)changes[i].nr == nr)
			return changes[i].name;
	return NULL;
}

static pid_t traced(deed_fn deed, void *arg)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(deed(arg) != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
	return pid;
}

/* To the next step. false: it ended. *inside is the call that it is in, across steps. */
static bool to_step(pid_t pid, const char **inside)
{
	int status, signal = 0;

	for (;;) {
		struct __ptrace_syscall_info info;

		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, signal), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status)) {
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
			return false;
		}
		signal = WSTOPSIG(status) == SYSCALL_STOP ? 0 : WSTOPSIG(status);
		if (signal)
			continue;
		assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0);
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			*inside = change_name(info.entry.nr, info.entry.args[0]);
		if (*inside)
			return true;
	}
}

static void killed(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

bool death_at(deed_fn deed, void *arg, unsigned at, const char **call)
{
	pid_t pid = traced(deed, arg);
	const char *inside = NULL;

	for (unsigned step = 0; to_step(pid, &inside); step++) {
		if (step != at)
			continue;
		*call = inside;
		killed(pid);
		return true;
	}
	return false;
}

unsigned death_steps(deed_fn deed, void *arg)
{
	pid_t pid = traced(deed, arg);
	const char *inside = NULL;
	unsigned n = 0;

	while (to_step(pid, &inside))
		n++;
	return n;
}

bool death_after(deed_fn deed, void *arg, unsigned us)
{
	const struct timespec wait = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000l };
	int status, end[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(end), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (write(end[1], "", 1) != 1) /* ready: what follows is the deed */
			_exit(1);
		_exit(deed(arg) != 0);
	}
	assert_int_equal(read(end[0], &byte, 1), 1);
	nanosleep(&wait, NULL);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(end[0]);
	close(end[1]);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}
