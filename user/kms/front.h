/* SPDX-License-Identifier: Apache-2.0 */
/* The front process: connections (front.c) and calls (rpc.c). */
#pragma once

#include <event2/event.h>
#include <event2/http.h>
#include <openssl/ssl.h>
#include <sys/queue.h>

#include "baileyd/ipc.h"
#include "internal.h"

#define FRONT_CALLS_MAX 256
#define FRONT_ASKS_MAX  16 /* the asker takes them one by one */

struct front;

/* One call that waits for the authority or for the keys. */
struct call {
	TAILQ_ENTRY(call) link;
	struct front *front;
	struct evhttp_request *req; /* NULL: the client is gone */
	enum kms_msg_type op;
	bool is_asked; /* waits for the asker */
	struct kms_msg_request m;
	struct out blob;
	struct event *deadline;
};

struct front {
	const struct kms_conf *conf;
	struct evp_files *trust;
	const struct kms_allow *allow;
	struct event_base *base;
	struct evhttp *http;
	int listener;
	SSL_CTX *tls;
	struct ipc *keys, *asker;
	json_t *ready; /* what the key process said at start */
	TAILQ_HEAD(, call) calls;
	size_t n_calls, n_asks;
	uint64_t next_id;
	struct {
		uint64_t attestations, attestations_failed, answered, refused;
	} count;
};

/* One request below /prpc/. Replies, now or later. */
void kms_rpc(struct front *front, struct evhttp_request *req, const char *method);
/* What the other processes answered. */
void kms_rpc_answered(struct front *front, struct ipc_msg *msg);
void kms_rpc_told(struct front *front, const struct kms_msg_told *told);
