/* SPDX-License-Identifier: Apache-2.0 */
/* What exchange.c (sessions) and dial.c (whom we dial, who dials us) share. */
#pragma once

#include <sys/queue.h>

#include "base/listening.h"
#include "exchange.h"
#include "fresh.h"
#include "ratls.h"

struct dial {
	SLIST_ENTRY(dial) link;
	struct mx *mx;
	struct ip_endpoint to;
	unsigned refresh_s, failures;
	struct event *timer;
	struct session *session; /* under way, or NULL */
};

/* A record and the certificate that signed it go together: a session keeps both as they were when it began. */
struct own_record {
	unsigned refs;
	size_t len;
	uint8_t bytes[];
};

struct session {
	LIST_ENTRY(session) link;
	struct mx *mx;
	struct own_record *own;
	struct bufferevent *bev;
	struct event *deadline;
	struct dial *dial; /* NULL: the peer dialled us */
	char origin[MX_ORIGIN_LEN];
	uint64_t token;                         /* names it to whoever makes a quote for it */
	uint8_t challenge[FRESH_CHALLENGE_LEN]; /* ours */
	struct fresh own_fresh;                 /* what we prove */
	bool was_challenged, has_proved;        /* we, to the peer */
	bool is_fresh;                          /* the peer's proof was good */
	bool has_sent;                          /* our record */
	bool is_done;                           /* only the rest of our output is to be written */
	bool went_well;
};

struct listener {
	SLIST_ENTRY(listener) link;
	struct listening on;
	int fd;
};

struct mx {
	struct mx_conf conf;
	struct ratls ratls;
	struct ratls next; /* in use from the next record on; ctx NULL: none */
	struct own_record *own;
	LIST_HEAD(, session) sessions;
	SLIST_HEAD(, dial) dials;
	SLIST_HEAD(, listener) listeners;
	unsigned n_sessions;
	uint64_t last_token;
};

/* exchange.c; NULL: `fd` (if any) was closed. */
struct session *session_new(struct mx *mx, struct dial *dial, int fd, const struct ip_endpoint *peer);
void session_free(struct session *s);

/* dial.c */
void accept_settle(struct mx *mx); /* the listeners accept, or not, as the number of sessions allows */
void dial_later(struct dial *d, bool went_well);
void dials_free(struct mx *mx);
void listeners_free(struct mx *mx);
