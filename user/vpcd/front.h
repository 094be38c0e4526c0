/* SPDX-License-Identifier: Apache-2.0 */
/* The front process: its own identity and the store's messages (front.c), nodes' connections (session.c), members. */
#pragma once

#include <event2/event.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/listening.h"
#include "baileyd/source.h"
#include "internal.h"
#include "mesh/ratls.h"

struct front;
struct session;

/* A record as the frame that all are sent: it goes when the last has written it. */
struct shared {
	unsigned refs;
	size_t len;
	uint8_t bytes[];
};

struct member {
	struct hash_item item;
	size_t pos; /* in members.row */
	uint8_t instance_id[BY_INSTANCE_ID_LEN];
	bool is_revoked;
	uint64_t serial, lifted;
	int64_t not_after;
	uint8_t digest[VPC_DIGEST];
	struct shared *record;      /* NULL: none */
	struct session *session;    /* NULL: not connected */
	TAILQ_ENTRY(member) change; /* where it has a record */
	bool is_listed;
};

struct members {
	struct hash by_instance;
	struct member **row;
	size_t n, cap;
	TAILQ_HEAD(, member) changes; /* those with a record, as they came by it; the last one is the newest */
};

struct member *member_get(struct members *all,
			  const uint8_t instance_id[BY_INSTANCE_ID_LEN]); /* made; NULL: no memory */
int member_record(struct member *m, const uint8_t *bytes, size_t len);    /* with the member's serial */
void members_list(struct members *all, struct member *m);                 /* its record is the newest */
void members_drop(struct members *all, struct member *m); /* nobody points at it: see streams_forget() */
void members_fini(struct members *all);
/* A copy that costs nothing: the frame is not freed before `out` has written it. */
void shared_send(struct evbuffer *out, struct shared *frame);

enum session_state { SESSION_NEW, SESSION_ASKED, SESSION_OPEN, SESSION_ENDING };

struct session {
	LIST_ENTRY(session) link;
	struct hash_item item; /* by id */
	struct front *front;
	uint64_t id;
	enum session_state state;
	struct bufferevent *bev;
	struct event *deadline;
	struct ip_endpoint from;
	struct vs_who who;
	uint64_t heard; /* serial of the node's hello */
	uint8_t *have;  /* sorted digests */
	size_t n_have;
	bool has_hello, is_new; /* it was never open */
	uint32_t number;
	struct member *member; /* when open */
	/* stream.c */
	struct member *next; /* of members.changes: the first that it has not been told; NULL: it knows all */
	bool owes_mark;
	/* a record that the store has yet to take; one at a time */
	uint8_t *record;
	size_t record_len;
	struct vs_record meta;
};

struct front {
	struct vs_loaded *loaded;
	struct event_base *base;
	struct ipc *store, *parent;
	int listener_fd;
	struct listening listening;
	struct event *each_second, *mark, *stale;
	struct agent_link *link;
	struct source *source;
	struct ratls judge, tls; /* judge: what contexts point at; tls: the current one */
	struct id_claims self;
	bool has_self, is_told; /* the store has told all */
	uint32_t selector;      /* tcp and the port, for the admission policy */
	uint8_t network[VPC_NETWORK];
	uint64_t serial;
	int64_t fresh_until; /* the store has said so; nobody is served later */
	struct members members;
	struct hash by_id;
	LIST_HEAD(, session) sessions;
	size_t n_new; /* sessions that are not open */
	uint64_t last_id;
	struct vs_msg_stats stats;
	unsigned n_seconds;
	struct api *api; /* NULL: none */
};

/* session.c */
void session_new(struct front *f, int fd, const struct ip_endpoint *from);
void session_free(struct session *s);
void session_granted(struct front *f, const struct vs_msg_granted *m);
void session_published(struct front *f, const struct vs_msg_published *m);
void session_set(struct front *f, const struct vs_msg_set *m); /* somebody was revoked, or allowed */
/* Another server changed it: what it was, and whether it has another record. */
void session_row(struct front *f, const struct member *was, struct member *m, bool is_new);
/* The store may be behind: they hear why, and go to another server. */
void sessions_end(struct front *f);

/* stream.c */
int stream_digest_cmp(const void *a, const void *b);
void stream_begin(struct session *s); /* all that it has not */
void stream_mark(struct session *s);  /* as soon as it has been told all */
void stream_written(struct bufferevent *bev, void *session);
/* To all: a record that is new, a node that was revoked or allowed, how far they have been told. */
void streams_record(struct front *f, struct member *m);
void streams_set(struct front *f, struct member *m);
void streams_mark(struct front *f);
/* Nodes whose lease ended a while ago and that are not connected: nobody is told of them any more. */
void streams_forget(struct front *f);

/* front.c */
void front_refused(struct front *f, const char *from, const struct err *e);
void front_mark_soon(struct front *f);
/* SERVER_STALE where what is known may be behind what other servers know. */
int front_fresh(const struct front *f, const char *from, struct err *e);
