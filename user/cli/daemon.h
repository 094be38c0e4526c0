/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that talk to a running baileyd share: options, the call, errors. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Options beside --instance, --socket, --json and --help. The first four are filters: they go to the daemon as
 * they are, which knows the names. */
enum daemon_takes {
	TAKES_DROPS = 1 << 0,
	TAKES_AUDIT = 1 << 1,
	TAKES_SIDES = 1 << 2, /* --from, --to, --port, --interface */
	TAKES_REASON = 1 << 3,
	TAKES_LIMIT = 1 << 4,
	TAKES_COUNT = 1 << 5,
	TAKES_SECONDS = 1 << 6,
	TAKES_ONCE = 1 << 7,
	TAKES_WRITE = 1 << 8,   /* -w FILE */
	TAKES_MESH = 1 << 10,   /* --mesh SOCKET */
	TAKES_CAPTURE = 1 << 9, /* --drops, --interface: what to capture, not a filter */
};

struct daemon_args {
	const char *instance;
	bool json, once, drops;
	unsigned count, seconds, limit; /* 0: not given */
	const char *write, *mesh;
	char query[768]; /* the filters: "" or "?drops=1&..." */
	char socket[256];
};

/* A filter of the command's own, after the options are parsed. False: too long. */
bool query_add(struct daemon_args *a, const char *name, const char *value);
/* Parses the common options and those that `takes` names. Returns -1 to go on, else the exit status. */
int daemon_args_take(int argc, char **argv, const char *usage, unsigned takes, struct daemon_args *a);
int daemon_args(int argc, char **argv, const char *usage, struct daemon_args *a);
/* GET or POST; prints the error. NULL: failed. */
json_t *daemon_call(const struct daemon_args *a, const char *method, const char *path);
/* GET path with the filters; `line` for each object, until it returns false or the daemon ends. The exit status. */
int daemon_follow(const struct daemon_args *a, const char *path, bool (*line)(const json_t *obj, void *arg), void *arg);

/* Members of answers, with a harmless value where one is missing. */
const char *js(const json_t *o, const char *key);
long long ji(const json_t *o, const char *key);
/* Red, on a terminal that wants colours. */
const char *red(void);
const char *plain(void);

/* cmd_mesh.c: connections of this mesh (NULL: of all on this machine). The exit status. */
int mesh_flows(const char *socket, bool json);

/* cmd_monitor.c: one end of a packet or flow, "web (100.64.0.2) 5432"; which rule, or which is nearest; one line. */
void side_text(const json_t *side, char *buf, size_t size);
void rule_text(const json_t *ev, char *buf, size_t size);
/* "nearest RULE FILE:LINE allows tcp/443, but the sender's tcb is OutOfDate"; "": no rule comes near. */
void nearest_text(const json_t *ev, char *buf, size_t size);
void event_text(const json_t *ev, char *buf, size_t size);
