// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void nothing_taken(struct ipc_msg *msg, void *arg)
{
	(void)msg, (void)arg;
}

static void nobody_left(void *arg)
{
	(void)arg;
}

void channel_open(struct event_base *base, struct ipc **near, struct ipc **far, ipc_fn takes, void *arg)
{
	int fds[2];

	assert_int_equal(ipc_pair(fds), 0);
	assert_int_equal(ipc_new(base, fds[0], nothing_taken, nobody_left, NULL, near), 0);
	assert_int_equal(ipc_new(base, fds[1], takes, nobody_left, arg, far), 0);
}
