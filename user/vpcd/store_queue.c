// SPDX-License-Identifier: Apache-2.0
/*
 * What front asks for is done in the order in which it came, many at a time in one commit, and answered when the commit
 * is done. With etcd another server may have been first: then all of it is decided again, so requests stay until then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store_process.h"

#define TRY_MS   5000 /* for one commit against other servers' */
#define APART_US 3000 /* so that two servers do not go in step */

struct request {
	STAILQ_ENTRY(request) link;
	enum vs_msg_type type;
	size_t head_len, len; /* of what follows the head */
	uint8_t bytes[];
};

struct answer {
	TAILQ_ENTRY(answer) link;
	enum vs_msg_type type;
	size_t len;
	uint8_t bytes[];
};

/* --- answers --- */

void queue_answer(struct process *p, enum vs_msg_type type, const void *m, size_t len)
{
	struct answer *a = malloc(sizeof(*a) + len);
	struct err e = ERR_INIT;

	if (!a) {
		err_at(&e, -ENOMEM, "store", "out of memory");
		vs_die(p, &e);
		return;
	}
	a->type = type;
	a->len = len;
	memcpy(a->bytes, m, len);
	TAILQ_INSERT_TAIL(&p->answers, a, link);
}

static void answers_end(struct process *p, bool is_done)
{
	struct answer *a;

	while ((a = TAILQ_FIRST(&p->answers))) {
		TAILQ_REMOVE(&p->answers, a, link);
		if (is_done)
			ipc_send(p->front, a->type, a->bytes, a->len, -1);
		free(a);
	}
}

/* --- one request --- */

static void grant(struct process *p, const struct vs_msg_grant *m, const struct err *no)
{
	struct vs_msg_granted a = { .id = m->id };
	struct vs_who who = m->who;

	who.node[sizeof(who.node) - 1] = who.from[sizeof(who.from) - 1] = '\0';
	if (no)
		a.err = *no, a.code = no->code;
	else
		a.code = vs_store_grant(p->store, &who, &p->limits, time(NULL), &a.number, &a.err);
	queue_answer(p, VS_GRANTED, &a, sizeof(a));
}

static void publish(struct process *p, const struct request *r, const struct err *no)
{
	const struct vs_msg_publish *m = (const void *)r->bytes;
	struct vs_msg_published a = { .id = m->id };

	if (no)
		a.err = *no, a.code = no->code;
	else
		a.code = vs_store_publish(p->store, &m->record, r->bytes + r->head_len, r->len, time(NULL), &a.serial,
					  &a.err);
	queue_answer(p, VS_PUBLISHED, &a, sizeof(a));
}

/* no: the answer, whatever it is. */
static void request_do(struct process *p, const struct request *r, const struct err *no)
{
	if (r->type == VS_GRANT)
		grant(p, (const void *)r->bytes, no);
	else if (r->type == VS_API)
		vs_api_decide(p, (const void *)r->bytes, no);
	else
		publish(p, r, no);
}

static void answer_undo(struct process *p)
{
	struct answer *a = TAILQ_LAST(&p->answers, answers);

	TAILQ_REMOVE(&p->answers, a, link);
	free(a);
}

/* --- one commit --- */

int queue_transact(struct process *p, queue_fn work, void *arg, struct err *e)
{
	int64_t end = vs_clock_ms() + TRY_MS;
	int ret;

	vs_watch_off(p);
	do {
		answers_end(p, false);
		ret = vs_store_begin(p->store, e);
		if (ret < 0)
			break;
		work(p, arg);
		ret = vs_store_commit(p->store, e);
		if (ret == -EAGAIN)
			usleep((useconds_t)(rand() % APART_US));
	} while (ret == -EAGAIN && vs_clock_ms() < end);
	if (ret == -EAGAIN)
		err_at(e, ret, "store", "other servers were first for %d ms", TRY_MS);
	vs_watch_on(p);
	answers_end(p, !ret);
	return ret;
}

struct batch {
	size_t n; /* requests that were done */
};

static void batch_do(struct process *p, void *arg)
{
	struct batch *b = arg;
	struct request *r;
	struct err e = ERR_INIT;

	b->n = 0;
	STAILQ_FOREACH(r, &p->requests, link)
	{
		if (vs_store_mark(p->store, &e) < 0)
			break;
		request_do(p, r, NULL);
		if (!vs_store_fits(p->store)) {
			answer_undo(p);
			break;
		}
		b->n++;
	}
	if (b->n || !(r = STAILQ_FIRST(&p->requests)))
		return;
	err_at(&e, -E2BIG, "store", "is more than etcd takes at once");
	request_do(p, r, &e);
	b->n = 1;
}

static void requests_end(struct process *p, size_t n)
{
	struct request *r;

	while (n-- && (r = STAILQ_FIRST(&p->requests))) {
		STAILQ_REMOVE_HEAD(&p->requests, link);
		free(r);
	}
}

/* Nobody answers for the store now: nodes do better at another server. */
static void requests_refuse(struct process *p, const struct err *e)
{
	struct request *r;
	struct err no = ERR_INIT;
	char text[600];

	err_reason(&no, ID_SERVER_STALE, "store", "%.250s", err_text(e, text, sizeof(text)));
	STAILQ_FOREACH(r, &p->requests, link)
	request_do(p, r, &no);
	requests_end(p, SIZE_MAX);
	answers_end(p, true);
}

static void run_soon(struct process *p)
{
	static const struct timeval at_once = { 0 };

	if (!STAILQ_EMPTY(&p->requests) && !event_pending(p->commit, EV_TIMEOUT, NULL))
		event_add(p->commit, &at_once);
}

void queue_run(struct process *p)
{
	struct batch b = { 0 };
	struct err e = ERR_INIT;
	int ret = queue_transact(p, batch_do, &b, &e);

	if (!ret)
		requests_end(p, b.n);
	else if (vs_store_is_shared(p->store) && ret != -EBADMSG)
		requests_refuse(p, &e);
	else
		vs_die(p, &e);
	run_soon(p);
}

void queue_add(struct process *p, enum vs_msg_type type, const void *head, size_t head_len, const void *bytes,
	       size_t len)
{
	struct request *r = malloc(sizeof(*r) + head_len + len);
	struct err e = ERR_INIT;

	if (!r) {
		err_at(&e, -ENOMEM, "store", "out of memory");
		vs_die(p, &e);
		return;
	}
	*r = (struct request){ .type = type, .head_len = head_len, .len = len };
	memcpy(r->bytes, head, head_len);
	if (len)
		memcpy(r->bytes + head_len, bytes, len);
	STAILQ_INSERT_TAIL(&p->requests, r, link);
	run_soon(p);
}
