/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of the control socket, for the CLI. */
#pragma once

#include <jansson.h>
#include <signal.h>

#include "base/err.h"

/* /run/bailey/<instance>/ctl.sock; instance NULL: the only one there is, else an error that names them. */
int ctl_socket_path(const char *instance, char *path, size_t size, struct err *e);
/* The same for a program whose instances are below another directory. */
int ctl_socket_below(const char *dir, const char *program, const char *instance, char *path, size_t size,
		     struct err *e);
/* Any answer that is no 2xx is an error with the daemon's words. `*body` is the caller's. */
int ctl_call(const char *socket, const char *method, const char *url_path, json_t **body, struct err *e);
/* POST with a body; NULL: none. *answer is the caller's, and is set for a refusal, too, when it came as JSON. */
int ctl_post(const char *socket, const char *url_path, const json_t *body, json_t **answer, struct err *e);
/* Calls `line` for each object until it returns false or the daemon ends the stream. */
int ctl_follow(const char *socket, const char *url_path, bool (*line)(const json_t *obj, void *arg), void *arg,
	       struct err *e);
/* Bytes as they come, for `seconds` (0: no limit), until `bytes` returns false, *stop is set, or the daemon ends. */
int ctl_stream(const char *socket, const char *url_path, unsigned seconds, const volatile sig_atomic_t *stop,
	       bool (*bytes)(const void *data, size_t n, void *arg), void *arg, struct err *e);
/* The raw text of an answer (metrics). */
int ctl_text(const char *socket, const char *url_path, char **text, struct err *e);
