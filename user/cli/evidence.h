/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands about certificates and records share: arguments, files, and one report for people and programs. */
#pragma once

#include "base/err.h"
#include "base/json.h"
#include "identity/eventlog.h"
#include "identity/identity.h"

enum { EV_OK = 0, EV_REFUSED = 1, EV_USAGE = 2 };

/* --root, --allow-simulated, --at, --json */
struct ev_args {
	const char *root; /* path, NULL: nothing can be verified */
	bool allow_simulated;
	bool has_at;
	int64_t at_s;
	bool is_json;
};

/* `COMMAND --help` and `COMMAND SUBCOMMAND --help`; argv[0] is the command. */
bool ev_wants_help(int argc, char **argv);
bool ev_int(const char *text, int64_t min, int64_t max, int64_t *v);
/* Sets `trust`, which borrows *roots (malloc'ed). */
int ev_trust(const struct ev_args *args, struct id_trust *trust, char **roots, struct err *e);
/* A certificate in DER or PEM; of several, the first. *der is malloc'ed. */
int ev_cert_read(const char *path, uint8_t **der, size_t *len, struct err *e);

/* The same of bytes at hand. */
int ev_cert_first(const char *where, const char *data, size_t data_len, uint8_t **der, size_t *len, struct err *e);

json_t *ev_time(int64_t unix_s);
/* What the runtime events say, proved by nothing but their replay. */
json_t *ev_log_identity(const struct id_log *log);
json_t *ev_claims(const struct id_claims *claims, int64_t now);
/* "WHAT_until", "WHAT_days" in the report. */
void ev_until(const char *what, int64_t until, int64_t now, json_t *report);
/* reason and message of a refusal */
json_t *ev_refusal(const struct err *e);

/* Prints and frees the report: an indented list, or JSON. SIMULATED is red on a terminal. */
void ev_print(json_t *report, bool is_json);
/* Prints what went wrong on standard error: EV_REFUSED when a reason was given, else EV_USAGE. */
int ev_fail(const struct err *e);
