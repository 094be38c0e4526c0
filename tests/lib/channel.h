/* SPDX-License-Identifier: Apache-2.0 */
/* A channel of the daemon's processes of which the test has the far end: what is said there is all that comes of it. */
#pragma once

#include "baileyd/ipc.h"

/* Each end is freed by its owner. The near one hears nothing; what it says is `takes`' with `arg`. */
void channel_open(struct event_base *base, struct ipc **near, struct ipc **far, ipc_fn takes, void *arg);
