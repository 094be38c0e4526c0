// SPDX-License-Identifier: Apache-2.0
#include "child.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

int user_find(const char *where, const char *name, uid_t *uid, gid_t *gid, struct err *e)
{
	const struct passwd *user = getpwnam(name);

	if (!user || !user->pw_uid)
		return err_at(e, -EINVAL, where, "'%s' is no user without privileges", name);
	*uid = user->pw_uid;
	*gid = user->pw_gid;
	return 0;
}

void child_begin(const char *name, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	log_init(name, LOG_INFO);
}

void children_kill(pid_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
	for (size_t i = 0; i < n; i++) {
		if (pids[i] > 0)
			waitpid(pids[i], NULL, 0);
		pids[i] = 0;
	}
}

bool children_reap(pid_t *pids, const char *const *names, size_t n)
{
	int status;

	for (size_t i = 0; i < n; i++) {
		if (pids[i] <= 0 || waitpid(pids[i], &status, WNOHANG) != pids[i])
			continue;
		pids[i] = 0;
		log_err("%s process ended (%s %d)", names[i], WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		return true;
	}
	return false;
}
