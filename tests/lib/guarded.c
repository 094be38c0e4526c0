// SPDX-License-Identifier: Apache-2.0
#include "guarded.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "cgroup.h"

struct guarded guarded;

void guarded_must(int ret, struct err *e)
{
	char text[512];

	if (ret < 0)
		fail_msg("%s", err_text(e, text, sizeof(text)));
}

/* --- the place --------------------------------------------------------------------------------------------- */

static void cgroups_make(void)
{
	char mounted[128];

	if (!cgroup2_find(mounted, sizeof(mounted)))
		return;
	snprintf(guarded.top, sizeof(guarded.top), "%s/bailey-guard-%d", mounted, getpid());
	snprintf(guarded.mesh, sizeof(guarded.mesh), "%s/mesh", guarded.top);
	snprintf(guarded.outside, sizeof(guarded.outside), "%s/outside", guarded.top);
	assert_int_equal(mkdir(guarded.top, 0755) | mkdir(guarded.mesh, 0755) | mkdir(guarded.outside, 0755), 0);
}

int guarded_setup(void **state)
{
	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("ip link set lo up"), 0);
	cgroups_make();
	return 0;
}

int guarded_teardown(void **state)
{
	char above[sizeof(guarded.top)];

	(void)state;
	if (!guarded.top[0])
		return 0;
	snprintf(above, sizeof(above), "%.*s", (int)(strrchr(guarded.top, '/') - guarded.top), guarded.top);
	cgroup2_enter(above);
	return rmdir(guarded.mesh) | rmdir(guarded.outside) | rmdir(guarded.top);
}

/* WEB is this node, DB a peer that may come to tcp/443, EVE one that policy allows nothing. */
int guarded_begin(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (!guarded.top[0])
		skip(); /* no cgroups of version 2 here */
	guarded.w = world_open(0);
	world_cast(guarded.w);
	world_allow(guarded.w, BY_DIR_IN, BY_PORT_TCP + 443, BY_PORT_TCP + 443);
	guarded.conf = (struct dp_guard_conf){ .n_cgroups = 1 };
	snprintf(guarded.conf.cgroup[0], sizeof(guarded.conf.cgroup[0]), "%s", guarded.mesh);
	guarded_must(dp_guard_open(guarded.w->bpffs, GUARDED_INSTANCE, &guarded.g, &e), &e);
	guarded_must(dp_guard_set(guarded.g, &guarded.conf, &e), &e);
	return 0;
}

int guarded_end(void **state)
{
	(void)state;
	if (!guarded.w)
		return 0;
	dp_guard_close(guarded.g);
	world_close(guarded.w); /* the guard's pins go with those of the instance */
	guarded.w = NULL;
	guarded.g = NULL;
	return 0;
}

/* --- what is told -------------------------------------------------------------------------------------------- */

struct by_leg_set guarded_leg(int n, uint16_t port)
{
	struct by_leg_set set = { .dir = BY_DIR_IN, .port = port };
	char text[ADDR_TEXT];

	snprintf(text, sizeof(text), "100.64.0.%d", n);
	assert_true(addr_parse(&set.addr, text));
	memset(set.instance_id, n, sizeof(set.instance_id));
	return set;
}

int guarded_tell(int fd, struct by_leg_set set)
{
	return setsockopt(fd, BY_LEG_LEVEL, BY_LEG_SET, &set, sizeof(set)) < 0 ? -errno : 0;
}

void guarded_leaves(int n)
{
	struct dp_identity id = world_node(n, 0);
	struct err e = ERR_INIT;

	guarded_must(dp_identity_remove(guarded.w->dp, id.instance_id, &e), &e);
}
