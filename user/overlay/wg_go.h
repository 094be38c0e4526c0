/* SPDX-License-Identifier: Apache-2.0 */
/* The wireguard-go process of a device: starting it, and waiting until it is gone. */
#pragma once

#include "base/err.h"

/* Returns when its socket answers. The process has its own session and only CAP_NET_ADMIN, and survives us. */
int ov_go_start(const char *name, struct err *e);
/* Waits until the socket is gone, after its link was deleted; removes it where the process died before it could. */
int ov_go_wait_gone(const char *name, struct err *e);
