// SPDX-License-Identifier: Apache-2.0
#include "box.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* uid 0 means nothing any more: an exec can not bring capabilities back. */
static int lock_root(void)
{
	unsigned long bits =
		SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED;

	return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0 ? -errno : 0;
}

static int no_new_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int box_root(const int *keep, size_t n, const char *who, struct err *e)
{
	int ret = lock_root();

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < n; i++)
		/* inheritable, so that wireguard-go can be given CAP_NET_ADMIN as an ambient capability */
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE | CAPNG_BOUNDING_SET,
			     (unsigned)keep[i]);
	if (!ret && capng_apply(CAPNG_SELECT_BOTH) < 0)
		ret = -EPERM;
	if (!ret)
		ret = no_new_privileges();
	return ret ? err_at(e, ret, who, "can not drop capabilities: %s", strerror(-ret)) : 0;
}

int box_net(struct err *e)
{
	static const int keep[] = { CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON };

	return box_root(keep, ARRAY_LEN(keep), "net process", e);
}

int box_dispatcher(struct err *e)
{
	static const int keep[] = { CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN };

	return box_root(keep, ARRAY_LEN(keep), "dispatcher process", e);
}

/*
 * The edge's system calls. What is missing answers EPERM. Arguments are compared where a call has a harmless
 * and a harmful half: sockets are TCP only, memory is never executable.
 */
static const int edge_calls[] = {
	/* talk on descriptors that it has */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(pread64),
	SCMP_SYS(shutdown),
	SCMP_SYS(close),
	SCMP_SYS(lseek),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(fcntl),
	SCMP_SYS(ioctl),
	/* TCP */
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	/* the event loop */
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(eventfd2),
	/* blobs to the parent: sealed memory files */
	SCMP_SYS(memfd_create),
	/* memory, time, threads' locks, randomness, the end */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(tgkill),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(sched_yield),
};

/* What a process needs that signs, appends to files that are open, and talks on descriptors that it has. */
static const int keys_calls[] = {
	SCMP_SYS(read),          SCMP_SYS(write),           SCMP_SYS(writev),       SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),       SCMP_SYS(pread64),         SCMP_SYS(pwrite64),     SCMP_SYS(fdatasync),
	SCMP_SYS(ftruncate),     SCMP_SYS(close),           SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
	SCMP_SYS(fcntl),         SCMP_SYS(epoll_ctl),       SCMP_SYS(epoll_wait),   SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),  SCMP_SYS(memfd_create),    SCMP_SYS(brk),          SCMP_SYS(munmap),
	SCMP_SYS(mremap),        SCMP_SYS(madvise),         SCMP_SYS(futex),        SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),    SCMP_SYS(time),         SCMP_SYS(getpid),
	SCMP_SYS(gettid),        SCMP_SYS(geteuid),         SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),  SCMP_SYS(restart_syscall), SCMP_SYS(sigaltstack),  SCMP_SYS(tgkill),
	SCMP_SYS(exit),          SCMP_SYS(exit_group),      SCMP_SYS(sched_yield),
};

static int allow_memory(scmp_filter_ctx ctx)
{
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	return ret ? ret
		   : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static int allow_with_arguments(scmp_filter_ctx ctx)
{
	int ret = 0;

	for (size_t i = 0; i < 2 && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
				       SCMP_A0(SCMP_CMP_EQ, i ? AF_INET6 : AF_INET),
				       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM));
	return ret ? ret : allow_memory(ctx);
}

static int filter(const int *calls, size_t n, int (*more)(scmp_filter_ctx ctx))
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int ret = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	if (!ret)
		ret = more(ctx);
	if (!ret)
		ret = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return ret;
}

static int filter_edge(void)
{
	return filter(edge_calls, ARRAY_LEN(edge_calls), allow_with_arguments);
}

static int filter_keys(void)
{
	return filter(keys_calls, ARRAY_LEN(keys_calls), allow_memory);
}

/* The edge's, and UDP. */
static int allow_datagrams(scmp_filter_ctx ctx)
{
	static const int calls[] = { SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg) };
	int ret = allow_with_arguments(ctx);

	for (size_t i = 0; i < ARRAY_LEN(calls) && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	for (size_t i = 0; i < 2 && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
				       SCMP_A0(SCMP_CMP_EQ, i ? AF_INET6 : AF_INET),
				       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_DGRAM));
	return ret;
}

static int filter_dns(void)
{
	return filter(edge_calls, ARRAY_LEN(edge_calls), allow_datagrams);
}

/* TLS and HTTP for many: the edge's calls, and those of relays (pipes, splice) and of a resolver (UDP). */
static int allow_relays(scmp_filter_ctx ctx)
{
	static const int calls[] = { SCMP_SYS(splice), SCMP_SYS(pipe2),      SCMP_SYS(sendfile), SCMP_SYS(listen),
				     SCMP_SYS(dup),    SCMP_SYS(socketpair), SCMP_SYS(sysinfo) };
	int ret = allow_datagrams(ctx);

	for (size_t i = 0; i < ARRAY_LEN(calls) && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	return ret;
}

static int allow_relays_and_agent(scmp_filter_ctx ctx)
{
	int ret = allow_relays(ctx);

	return ret ? ret
		   : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
				      SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM));
}

static int filter_relay(void)
{
	return filter(edge_calls, ARRAY_LEN(edge_calls), allow_relays);
}

static int filter_relay_agent(void)
{
	return filter(edge_calls, ARRAY_LEN(edge_calls), allow_relays_and_agent);
}

/* A connection that it was given, to a guest agent: it may open none. */
static int allow_agent(scmp_filter_ctx ctx)
{
	static const int calls[] = { SCMP_SYS(readv),      SCMP_SYS(recvfrom),    SCMP_SYS(sendto),
				     SCMP_SYS(shutdown),   SCMP_SYS(ioctl),       SCMP_SYS(setsockopt),
				     SCMP_SYS(getsockopt), SCMP_SYS(getpeername), SCMP_SYS(clock_getres) };
	int ret = allow_memory(ctx);

	for (size_t i = 0; i < ARRAY_LEN(calls) && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	return ret;
}

static int filter_signer(void)
{
	return filter(keys_calls, ARRAY_LEN(keys_calls), allow_agent);
}

static int become(uid_t uid, gid_t gid)
{
	if (geteuid() == uid && uid) /* started without root: there is nobody else to become */
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

static int box_unprivileged(uid_t uid, gid_t gid, int (*load)(void), const char *who, struct err *e)
{
	int ret;

	/* the bounding set first: dropping it needs CAP_SETPCAP, which goes with the uid */
	capng_clear(CAPNG_SELECT_BOTH);
	ret = geteuid() == 0 && capng_apply(CAPNG_SELECT_BOUNDS) < 0 ? -EPERM : 0;
	if (!ret)
		ret = become(uid, gid);
	if (!ret)
		ret = capng_apply(CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
	if (!ret && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) /* it holds a private key */
		ret = -errno;
	if (!ret)
		ret = no_new_privileges();
	if (!ret)
		ret = load();
	return ret ? err_at(e, ret, who, "can not drop privileges: %s", strerror(-ret)) : 0;
}

int box_edge(uid_t uid, gid_t gid, struct err *e)
{
	return box_unprivileged(uid, gid, filter_edge, "edge process", e);
}

int box_dns(uid_t uid, gid_t gid, struct err *e)
{
	return box_unprivileged(uid, gid, filter_dns, "dns process", e);
}

int box_keys(uid_t uid, gid_t gid, struct err *e)
{
	return box_unprivileged(uid, gid, filter_keys, "key process", e);
}

int box_signer(uid_t uid, gid_t gid, struct err *e)
{
	return box_unprivileged(uid, gid, filter_signer, "key process", e);
}

int box_relay(uid_t uid, gid_t gid, bool with_agent, struct err *e)
{
	return box_unprivileged(uid, gid, with_agent ? filter_relay_agent : filter_relay, "worker process", e);
}

/* What neither a resolver nor a database does; the uid keeps them from the rest. */
static int filter_refusing(const int *more, size_t n_more)
{
	static const int refused[] = { SCMP_SYS(execve),
				       SCMP_SYS(execveat),
				       SCMP_SYS(ptrace),
				       SCMP_SYS(process_vm_readv),
				       SCMP_SYS(process_vm_writev),
				       SCMP_SYS(kill),
				       SCMP_SYS(tkill),
				       SCMP_SYS(bpf),
				       SCMP_SYS(perf_event_open),
				       SCMP_SYS(userfaultfd),
				       SCMP_SYS(keyctl),
				       SCMP_SYS(add_key),
				       SCMP_SYS(unshare),
				       SCMP_SYS(setns),
				       SCMP_SYS(mount),
				       SCMP_SYS(io_uring_setup) };
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int ret = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_LEN(refused) && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	for (size_t i = 0; i < n_more && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), more[i], 0);
	if (!ret)
		ret = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return ret;
}

static int filter_asker(void)
{
	return filter_refusing(NULL, 0);
}

static int filter_store(void)
{
	static const int refused[] = { SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect) };

	return filter_refusing(refused, ARRAY_LEN(refused));
}

int box_asker(uid_t uid, gid_t gid, struct err *e)
{
	return box_unprivileged(uid, gid, filter_asker, "asking process", e);
}

int box_store(uid_t uid, gid_t gid, struct err *e)
{
	return box_unprivileged(uid, gid, filter_store, "store process", e);
}
