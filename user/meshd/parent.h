/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent: parent.c (processes, messages), prepare.c (files and sockets), takeover.c (sockets of the process
 * before), report.c (control socket).
 */
#pragma once

#include <event2/event.h>
#include <jansson.h>

#include "baileyd/proc.h"
#include "baileyd/trust.h"
#include "ctl/server.h"
#include "identity/evidence_policy.h"
#include "msg.h"

#define MD_SOCKETS_MAX (MD_LISTEN_MAX * 3 + MD_TUNNELS_MAX + MD_SERVICES_MAX)
#define MD_PEM_MAX     (1 << 20)

struct md_parent;

struct md_worker {
	struct md_parent *parent;
	struct proc proc;
	unsigned index;
	struct md_applied applied; /* what it last said */
	bool has_applied, has_drained;
};

struct md_socket {
	struct md_listen listen;
	int fd;
};

/* Listening sockets that were open before this process. */
struct md_given {
	struct md_socket socket[MD_SOCKETS_MAX];
	uint32_t n;
};

/* What is read from files, all of it or nothing. */
struct md_loaded {
	char *cert, *key; /* from files; NULL with an agent */
	char *ca, *public_ca, *roots;
	char *rules;                         /* JSON; NULL: no policy */
	struct id_evidence_policy *evidence; /* the strict one without a file */
};

/* What was in use before the configuration that workers are looking at. */
struct md_setup {
	struct md_conf conf;
	struct md_loaded loaded;
	struct md_socket socket[MD_SOCKETS_MAX];
	uint32_t n_sockets;
};

struct md_parent {
	struct md_conf conf; /* with `loaded` and `socket`: what workers are sent */
	struct event_base *base;
	uid_t uid;
	gid_t gid;
	struct md_loaded loaded;
	struct md_socket socket[MD_SOCKETS_MAX];
	uint32_t n_sockets;
	struct md_setup *before; /* comes back when a worker refuses that; NULL: all judge by it */
	struct trust trust;
	struct proc key;
	struct md_worker *worker;
	char *chain; /* of the certificate in use; its number is 0 when there is none yet */
	struct md_cert cert;
	struct {
		char *chain, *key; /* key: PEM, where it is from a file */
		struct md_cert cert;
	} was; /* comes back when a worker refuses `cert` */
	uint32_t last_key, applies;
	struct md_tickets tickets;
	struct md_node *nodes;
	size_t n_nodes;
	struct event *signals[4], *turn, *deadline;
	struct ctl *ctl;
	struct md_watch *watch;
	struct md_takeover *takeover;
	struct {
		int fd; /* any socket of this cgroup */
		struct event *watch;
		uint32_t round;
	} guard;
	struct md_resolver *resolver;
	uint64_t last_token;
	bool is_draining;
	int exit_status;
	struct {
		uint64_t reloads, reloads_refused, certificates;
		struct err refused; /* the last that a process told */
		char origin[MSG_ORIGIN_LEN];
	} told;
};

/* prepare.c */
int md_load(const struct md_conf *conf, struct md_loaded *loaded, struct err *e);
void md_loaded_fini(struct md_loaded *loaded);
int md_sockets_check(const struct md_conf *conf, struct err *e); /* that no address is named for two things */
/* Sockets of `conf`: those that are open already are taken over from the old ones, others are bound. */
int md_sockets(const struct md_conf *conf, struct md_socket *socket, uint32_t *n, const struct md_socket *old,
	       uint32_t n_old, struct err *e);
/* Closes those of `old` that are not used any more. */
void md_sockets_close(struct md_socket *old, uint32_t n_old, const struct md_socket *now, uint32_t n_now);
int md_user(const struct md_conf *conf, uid_t *uid, gid_t *gid, struct err *e);

/* parent.c */
void md_send_all(struct md_parent *p, struct md_worker *w);
void md_send_key(struct md_parent *p);
void md_own_changed(struct md_parent *p, char *old_key); /* what is in files; takes the key of before, NULL: none */
void md_send_nodes(struct md_parent *p);

/* reload.c */
int md_reload(struct md_parent *p, struct err *e); /* sent to the workers: when it is in use, they say */
/* The same, and an answer when each worker judges by it, or says that it does not, or has said nothing for long. */
void md_reload_answer(struct md_parent *p, struct evhttp_request *req);
/* A worker has said something of it. It is in use when all judge by it; when one refuses it, what was before is sent to
 * all, and to whoever is started later. */
void md_reload_applied(struct md_parent *p);
const struct md_loaded *md_reload_in_use(const struct md_parent *p);
void md_reload_close(struct md_parent *p); /* whoever waits is answered */
void md_drain(struct md_parent *p);

/* takeover.c */
/* Sockets of the service manager; from_old: and of the process that runs this instance, which goes on until
 * md_takeover_serve(). */
int md_takeover_new(struct md_parent *p, bool from_old, struct md_given *given, struct err *e);
int md_takeover_open(struct md_parent *p, struct err *e); /* control socket, and the one for who comes after */
void md_takeover_serve(struct md_parent *p);              /* all workers do */
void md_takeover_free(struct md_takeover *takeover);      /* accepts NULL */

/* round.c: which rules the kernel lets connections go on by */
int md_round_open(struct md_parent *p, struct err *e);
void md_round_close(struct md_parent *p);
void md_round_begin(struct md_parent *p);                     /* before new rules are sent */
void md_round_send(struct md_parent *p, struct md_worker *w); /* after them */

/* resolver.c */
int md_resolver_new(struct md_parent *p, struct md_resolver **resolver, struct err *e);
void md_resolver_free(struct md_resolver *resolver); /* accepts NULL */

/* report.c */
int md_report_open(struct md_parent *p, struct err *e);
void md_report_close(struct md_parent *p);
void md_report_counts(struct md_parent *p, const struct md_counts *m);
void md_report_flow(struct md_parent *p, const struct md_flow *m);
void md_report_asked(struct md_parent *p, const struct msg_token *m);

/* watch.c: a running baileyd, whose peers are to be reached by their overlay addresses */
int md_watch_new(struct md_parent *p, struct md_watch **watch, struct err *e);
void md_watch_free(struct md_watch *watch); /* accepts NULL */
bool md_watch_is_there(const struct md_watch *watch);
