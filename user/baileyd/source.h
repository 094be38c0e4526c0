/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the node's own identity comes from when it is not in files: a certificate and its key from a guest agent, asked
 * for again before they end. Part of the edge: the key goes nowhere else.
 */
#pragma once

#include "agent_link.h"

struct source_conf {
	struct event_base *base;
	struct agent_link *link;
	const char *subject; /* kept by reference */
	bool is_legacy;      /* Tappd's calls */
	bool without_quote;  /* the certificate carries none */
	uint32_t life_s;
	/* PEM texts, malloc'ed; taken over on success. *until: unix seconds, when they end. */
	int (*take)(char *cert, char *key, int64_t *until, struct err *e, void *arg);
	void (*failed)(const struct err *e, void *arg); /* it is tried again by itself */
	void *arg;
};

struct source;

int source_new(const struct source_conf *conf, struct source **source, struct err *e);
void source_free(struct source *source); /* accepts NULL */
