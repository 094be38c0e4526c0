/* SPDX-License-Identifier: Apache-2.0 */
/* The front process: its own identity and the store's messages (front.c), nodes' connections (session.c), members. */
#pragma once

#include <event2/event.h>
#include <event2/listener.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "baileyd/source.h"
#include "internal.h"
#include "mesh/ratls.h"

struct front;
struct session;

/* A record as it is sent to many: it goes when the last has it. */
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
	struct shared *record;   /* NULL: none */
	struct session *session; /* NULL: not connected */
};

struct members {
	struct hash by_instance;
	struct member **row;
	size_t n, cap;
};

struct member *member_get(struct members *all,
			  const uint8_t instance_id[BY_INSTANCE_ID_LEN]); /* made; NULL: no memory */
int member_record(struct member *m, const uint8_t *bytes, size_t len);
void members_fini(struct members *all);
/* A copy that costs nothing: the record is not freed before `out` has written it. */
void shared_send(struct evbuffer *out, struct shared *record, uint64_t serial);
void shared_drop(struct shared *record); /* accepts NULL */

enum session_state { SESSION_NEW, SESSION_ASKED, SESSION_OPEN };

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
	bool has_hello;
	uint32_t number;
	struct member *member; /* when open */
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
	struct evconnlistener *listener;
	struct event *resume, *each_second, *mark;
	struct agent_link *link;
	struct source *source;
	struct ratls judge, tls; /* judge: what contexts point at; tls: the current one */
	struct id_claims self;
	bool has_self, is_told; /* the store has told all */
	uint32_t selector;      /* tcp and the port, for the admission policy */
	uint8_t network[VPC_NETWORK];
	uint64_t serial;
	struct members members;
	struct hash by_id;
	LIST_HEAD(, session) sessions;
	size_t n_new; /* sessions that are not open */
	uint64_t last_id;
	struct vs_msg_stats stats;
};

/* session.c */
void session_new(struct front *f, int fd, const struct ip_endpoint *from);
void session_free(struct session *s);
void session_granted(struct front *f, const struct vs_msg_granted *m);
void session_published(struct front *f, const struct vs_msg_published *m);
/* One more revocation, or one that was taken back: to all, at once. */
void sessions_set(struct front *f, const struct vs_msg_set *m);
void sessions_mark(struct front *f);

/* front.c */
void front_refused(struct front *f, const char *from, const struct err *e);
void front_pause(struct front *f, bool pause);
void front_mark_soon(struct front *f);
