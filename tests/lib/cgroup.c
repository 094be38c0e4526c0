// SPDX-License-Identifier: Apache-2.0
#include "cgroup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

bool cgroup2_find(char *path, size_t size)
{
	char line[512], mounted[128];
	bool is_found = false;
	FILE *f = fopen("/proc/mounts", "r");

	while (!is_found && fgets(line, sizeof(line), f))
		is_found = sscanf(line, "%*s %127s", mounted) == 1 && strstr(line, " cgroup2 ");
	fclose(f);
	return is_found && snprintf(path, size, "%s", mounted) < (int)size;
}

void cgroup2_enter(const char *cgroup)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0 && dprintf(fd, "%d", getpid()) > 0);
	close(fd);
}
