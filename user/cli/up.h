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

/* up_authkey.c */
/* "KEY" or "file:PATH": the file that has it, from the root. That of a KEY is `keep`, once it is kept there. */
int up_authkey(const char *given, const char *keep, char path[PATH_MAX], struct err *e);
int up_authkey_keep(const char *given, const char *path, struct err *e); /* a KEY is written, for root alone */
int up_authkey_check(const char *path, struct err *e);                   /* the file has a key */
/* Of an argument or a variable: a KEY is nothing that others shall see, or children inherit. Accepts NULL. */
void up_authkey_forget(char *value);

/* up_env.c: by dstack-vpc's variables. The exit status; where all went well it does not return: baileyd it is then. */
int up_env(void);
