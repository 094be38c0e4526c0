/* SPDX-License-Identifier: Apache-2.0 */
/* The store process: requests and their commits (store_queue.c), everything else (store_process.c). */
#pragma once

#include <sys/queue.h>

#include "ctl/server.h"
#include "internal.h"
#include "report.h"

struct request;
struct answer;

struct process {
	struct event_base *base;
	struct vs_conf conf;
	struct vs_limits limits;
	struct vs_store *store;
	struct ipc *front;
	struct ctl *ctl;
	struct event *commit, *tick, *ends;
	struct event *watch; /* NULL: a file, or not connected */
	STAILQ_HEAD(, request) requests;
	TAILQ_HEAD(answers, answer) answers;
	struct vs_links links;
	struct vs_msg_stats stats;
	struct vs_server self;
	unsigned n_ticks;
	bool is_resumed;
};

void vs_die(struct process *p, const struct err *e); /* nothing was acknowledged; the service manager starts anew */
/* Around everything that talks to etcd: its watch may be another descriptor afterwards. */
void vs_watch_off(struct process *p);
void vs_watch_on(struct process *p);

/* Sent when the commit under way is done; copied. */
void queue_answer(struct process *p, enum vs_msg_type type, const void *m, size_t len);
/* A request of front's, with a record behind it; copied, and done soon. */
void queue_add(struct process *p, enum vs_msg_type type, const void *head, size_t head_len, const void *bytes,
	       size_t len);
void queue_run(struct process *p);
/* `work` and its commit, again while other servers are first; then the answers go out, or they never do. */
typedef void (*queue_fn)(struct process *p, void *arg);
int queue_transact(struct process *p, queue_fn work, void *arg, struct err *e);
/* The same for what people ask: whatever ends the process ends it. */
int vs_decide(struct process *p, queue_fn work, void *arg, struct err *e);

/* api_store.c: `no`: the answer, whatever is asked. look(): what changes nothing, at once */
void vs_api_decide(struct process *p, const struct vs_msg_api *m, const struct err *no);
void vs_api_look(struct process *p, const struct vs_msg_api *m);

/* authkeys.c: the control socket's part of it */
void vs_on_keys(struct evhttp_request *req, void *arg);
void vs_on_key_create(struct evhttp_request *req, void *arg);
void vs_on_key_revoke(struct evhttp_request *req, void *arg);
