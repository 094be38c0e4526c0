/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that talk to a running baileyd share: options, the call, errors. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct daemon_args {
	const char *instance;
	bool json;
	bool drops_only;
	char socket[256];
};

/* Parses --instance NAME, --socket PATH, --json, --help (and --drops). Returns -1 to go on, else the exit status. */
int daemon_args(int argc, char **argv, const char *usage, struct daemon_args *a);
/* GET or POST; prints the error. NULL: failed. */
json_t *daemon_call(const struct daemon_args *a, const char *method, const char *path);

/* Members of answers, with a harmless value where one is missing. */
const char *js(const json_t *o, const char *key);
long long ji(const json_t *o, const char *key);
/* Red, on a terminal that wants colours. */
const char *red(void);
const char *plain(void);
