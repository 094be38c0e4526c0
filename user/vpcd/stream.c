// SPDX-License-Identifier: Apache-2.0
/*
 * What a node is told. Records go out in the order in which they came, each node at its own pace: a node has a place in
 * that order and a short queue, so what waits for a slow one is a pointer, and a record that is renewed meanwhile is
 * told once. Revocations wait for nothing but the queue.
 */
#include <errno.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "front.h"

#define QUEUE_FULL  (128u << 10) /* bytes; records are added below it, and asked for again at QUEUE_LOW */
#define QUEUE_LOW   (32u << 10)
#define BACKLOG_MAX (16u << 20) /* with revocations that were not read */
#define FORGET_S    600         /* a store that hangs for a moment may still bring a record of one whose lease ended */

static struct evbuffer *output(struct session *s)
{
	return bufferevent_get_output(s->bev);
}

int stream_digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, VPC_DIGEST);
}

static bool has(const struct session *s, const uint8_t digest[VPC_DIGEST])
{
	return s->n_have && bsearch(digest, s->have, s->n_have, VPC_DIGEST, stream_digest_cmp);
}

static void have_forget(struct session *s)
{
	free(s->have);
	s->have = NULL;
	s->n_have = 0;
}

/* --- its state: revoked, or not any more --- */

static void set_send(struct session *s, const struct member *m)
{
	if (m->is_revoked)
		vpc_send_serial(output(s), VPC_REVOKED, m->serial, m->instance_id, BY_INSTANCE_ID_LEN);
	else
		vpc_send_serial(output(s), VPC_ALLOWED, m->lifted, m->instance_id, BY_INSTANCE_ID_LEN);
	s->front->stats.changes_sent++;
}

/* A node that does not read is no member of the stream: it comes again, and is told what it has not. */
static bool is_slow(struct session *s)
{
	struct err e = ERR_INIT;

	if (evbuffer_get_length(output(s)) <= BACKLOG_MAX)
		return false;
	err_at(&e, -ENOBUFS, s->who.from, "%s does not read", s->who.node);
	front_refused(s->front, s->who.from, &e);
	session_free(s);
	return true;
}

/* --- records --- */

static bool is_due(const struct session *s, const struct member *m, int64_t now)
{
	return m != s->member && !m->is_revoked && m->not_after >= now && !has(s, m->digest);
}

/* MARK says that nothing is missing, so it waits until that is so. */
static void mark_send(struct session *s)
{
	if (s->next || !s->owes_mark)
		return;
	vpc_send_serial(output(s), VPC_MARK, s->front->serial, NULL, 0);
	s->owes_mark = false;
	have_forget(s);
}

static void fill(struct session *s)
{
	int64_t now = time(NULL);

	while (s->next && evbuffer_get_length(output(s)) < QUEUE_FULL) {
		struct member *m = s->next;

		s->next = TAILQ_NEXT(m, change);
		if (!is_due(s, m, now))
			continue;
		shared_send(output(s), m->record);
		s->front->stats.changes_sent++;
	}
	mark_send(s);
}

void stream_written(struct bufferevent *bev, void *arg)
{
	(void)bev;
	fill(arg);
}

/* Revocations come first, so that nothing is admitted for a moment. */
void stream_begin(struct session *s)
{
	const struct members *all = &s->front->members;

	for (size_t i = 0; i < all->n; i++)
		if (all->row[i]->is_revoked || all->row[i]->lifted > s->heard)
			set_send(s, all->row[i]);
	s->next = TAILQ_FIRST(&all->changes);
	s->owes_mark = true;
	bufferevent_setwatermark(s->bev, EV_WRITE, QUEUE_LOW, 0);
	fill(s);
}

void stream_mark(struct session *s)
{
	s->owes_mark = true;
	mark_send(s);
}

/* --- to all --- */

void streams_mark(struct front *f)
{
	struct session *s;

	LIST_FOREACH(s, &f->sessions, link)
	if (s->state == SESSION_OPEN)
		stream_mark(s);
}

/* Who stood before it stands before what comes behind it. */
static void step_over(struct front *f, struct member *m)
{
	struct session *s;

	LIST_FOREACH(s, &f->sessions, link)
	if (s->next == m)
		s->next = TAILQ_NEXT(m, change);
}

/* It is the last in order now. */
static void reorder(struct front *f, struct member *m)
{
	step_over(f, m);
	members_list(&f->members, m);
}

void streams_forget(struct front *f)
{
	int64_t before = time(NULL) - FORGET_S;

	for (size_t i = f->members.n; i-- > 0;) {
		struct member *m = f->members.row[i];

		/* a revocation, and one that was lifted, is told to whoever comes */
		if (m->session || m->is_revoked || m->lifted || m->not_after >= before)
			continue;
		step_over(f, m);
		members_drop(&f->members, m);
	}
}

void streams_record(struct front *f, struct member *m)
{
	struct session *s;

	reorder(f, m);
	LIST_FOREACH(s, &f->sessions, link)
	{
		if (s->state != SESSION_OPEN)
			continue;
		if (!s->next)
			s->next = m;
		fill(s);
	}
	front_mark_soon(f);
}

void streams_set(struct front *f, struct member *m)
{
	struct session *s, *next;

	for (s = LIST_FIRST(&f->sessions); s; s = next) {
		next = LIST_NEXT(s, link);
		if (s->state != SESSION_OPEN || s == m->session || is_slow(s))
			continue;
		have_forget(s); /* what it had of this node it has no more */
		set_send(s, m);
	}
	if (!m->is_revoked && m->record)
		streams_record(f, m);
	front_mark_soon(f);
}
