/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of an agent's socket: asks without blocking. */
#pragma once

#include <event2/event.h>
#include <jansson.h>

#include "base/err.h"

/* `answer` is the JSON object that came, borrowed; NULL: `e` says why there is none. Called once, from the loop. */
typedef void (*ag_answer_fn)(const json_t *answer, const struct err *e, void *arg);

struct ag_question {
	const char *path;   /* "/GetQuote" */
	const json_t *args; /* NULL: none */
	unsigned timeout_s;
	ag_answer_fn fn;
	void *arg;
};

struct ag_ask;

/* Takes over `fd`, a connected stream socket, also on failure. The ask frees itself before it calls. */
int ag_ask(struct event_base *base, int fd, const struct ag_question *q, struct ag_ask **ask, struct err *e);
void ag_ask_free(struct ag_ask *ask); /* gives up, without a call; accepts NULL */
