/* SPDX-License-Identifier: Apache-2.0 */
/* What both ways of `bailey up` share. */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

/* cmd_up.c: where baileyd is; what it says of itself (NULL: nothing), and whether that is a node that has joined */
int up_daemon_find(char path[PATH_MAX], struct err *e);
json_t *up_ask(const char *socket);
bool up_has_joined(const json_t *status);

/* up_env.c: by dstack-vpc's variables. The exit status; where all went well it does not return: baileyd it is then. */
int up_env(void);
