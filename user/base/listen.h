/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "addr.h"
#include "err.h"

/* A listening TCP socket that does not block, or -errno; `where` is the setting that names the address. */
int tcp_listen(const struct ip_endpoint *at, const char *where, struct err *e);
