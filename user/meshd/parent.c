// SPDX-License-Identifier: Apache-2.0
/*
 * The parent reads files, binds sockets, starts the others again and answers on the control socket. It reads no byte of
 * a peer. The private key passes through it where it is in a file; from an agent it goes to the key process alone.
 */
#include "parent.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "baileyd/agent_link.h"
#include "identity/x509.h"
#include "role.h"

#define TICKET_KEY_S (6 * 3600)

static void stop(struct md_parent *p, int status)
{
	p->exit_status = status;
	event_base_loopbreak(p->base);
}

static void log_refused(const char *origin, const struct err *e, void *arg)
{
	struct md_parent *p = arg;
	char text[600];

	p->told.refused = *e;
	snprintf(p->told.origin, sizeof(p->told.origin), "%s", origin);
	log_limited(LOG_WARN, "%s: %s%s%s", origin, e->reason ? id_reason_name(e->reason) : "", e->reason ? ": " : "",
		    err_text(e, text, sizeof(text)));
}

static void on_refused(struct md_parent *p, const struct msg_refused *m)
{
	struct msg_refused copy = *m;

	msg_terminate(copy.origin);
	msg_terminate_err(&copy.err);
	log_refused(copy.origin, &copy.err, p);
}

/* --- to a worker --- */

static void send_text(struct ipc *to, enum md_msg type, const char *text)
{
	if (text)
		ipc_send_blob(to, type, NULL, 0, text, strlen(text));
}

/* One channel between two that never met before: the end that stays here is none. */
static void send_link(struct md_parent *p, struct md_worker *w)
{
	int fds[2];

	if (!p->key.ipc || !w->proc.ipc || ipc_pair(fds) < 0)
		return;
	ipc_send(p->key.ipc, MD_KEY_LINK, NULL, 0, fds[0]);
	ipc_send(w->proc.ipc, MD_LINK, NULL, 0, fds[1]);
	close(fds[0]);
	close(fds[1]);
}

static void send_cert(struct md_parent *p, struct md_worker *w)
{
	if (p->cert.number && w->proc.ipc)
		ipc_send_blob(w->proc.ipc, MD_CERT, &p->cert, sizeof(p->cert), p->chain, strlen(p->chain));
}

/* All that a worker must know; the new replaces the old when APPLY comes. */
void md_send_all(struct md_parent *p, struct md_worker *w)
{
	struct md_number apply = { .n = p->applies };
	struct ipc *to = w->proc.ipc;

	if (!to)
		return;
	ipc_send_blob(to, MD_CONF, NULL, 0, &p->conf, sizeof(p->conf));
	send_text(to, MD_CA, p->loaded.ca);
	send_text(to, MD_PUBLIC_CA, p->loaded.public_ca);
	send_text(to, MD_RULES, p->loaded.rules);
	if (p->loaded.roots)
		ipc_send_blob(to, MSG_EDGE_ROOTS, NULL, 0, p->loaded.roots, strlen(p->loaded.roots));
	ipc_send_blob(to, MSG_EDGE_POLICY, NULL, 0, p->loaded.evidence, sizeof(*p->loaded.evidence));
	trust_send(&p->trust, to);
	ipc_send(to, MD_TICKETS, &p->tickets, sizeof(p->tickets), -1);
	for (uint32_t i = 0; i < p->n_sockets; i++)
		ipc_send(to, MD_LISTEN, &p->socket[i].listen, sizeof(p->socket[i].listen), p->socket[i].fd);
	ipc_send(to, MD_APPLY, &apply, sizeof(apply), -1);
}

static void on_worker_up(void *arg)
{
	struct md_worker *w = arg;
	struct md_parent *p = w->parent;

	w->has_applied = w->has_drained = false;
	send_link(p, w);
	send_cert(p, w);
	md_send_all(p, w);
	if (p->n_nodes)
		ipc_send_blob(w->proc.ipc, MD_NODES, NULL, 0, p->nodes, p->n_nodes * sizeof(*p->nodes));
	md_round_send(p, w);
}

void md_send_nodes(struct md_parent *p)
{
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc)
			ipc_send_blob(p->worker[i].proc.ipc, MD_NODES, NULL, 0, p->nodes,
				      p->n_nodes * sizeof(*p->nodes));
}

/* --- from a worker --- */

static bool all_drained(const struct md_parent *p)
{
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc && !p->worker[i].has_drained)
			return false;
	return true;
}

static bool all_serve(const struct md_parent *p)
{
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (!p->worker[i].has_applied || p->worker[i].applied.code)
			return false;
	return true;
}

/* Who is started later is given what runs: a worker has no app of before to hold another one's certificate against. */
static void on_cert_refused(struct md_parent *p, const struct md_number *m)
{
	struct md_loaded *l = p->before ? &p->before->loaded : &p->loaded;

	if (m->n != p->cert.number || !p->was.chain)
		return;
	if (p->key.ipc)
		ipc_send(p->key.ipc, MD_KEY_FORGET, m, sizeof(*m), -1);
	free(p->chain);
	p->chain = take_ptr(p->was.chain);
	p->cert = p->was.cert;
	if (!p->was.key)
		return;
	free(l->cert);
	l->cert = strdup(p->chain);
	id_secret_free(l->key);
	l->key = take_ptr(p->was.key);
}

static void on_applied(struct md_worker *w, const struct md_applied *m)
{
	char text[600];

	w->applied = *m;
	w->has_applied = true;
	msg_terminate(w->applied.err.where);
	msg_terminate(w->applied.err.msg);
	msg_terminate(w->applied.digest);
	msg_terminate(w->applied.ktls.where);
	msg_terminate(w->applied.ktls.msg);
	if (m->code)
		log_err("worker %u: %s", w->index, err_text(&w->applied.err, text, sizeof(text)));
	else if (m->has_self && m->self.is_simulated && !w->index)
		log_warn("this node's evidence is SIMULATED: it proves nothing about hardware");
	/* what does not work at the start will not work by waiting; later the old goes on */
	if (m->code && !m->n)
		stop(w->parent, 1);
	if (all_serve(w->parent))
		md_takeover_serve(w->parent);
	md_reload_applied(w->parent);
}

static void on_worker_message(struct ipc_msg *msg, void *arg)
{
	struct md_worker *w = arg;
	struct md_parent *p = w->parent;
	const void *m;

	if (msg->type == MD_APPLIED && (m = ipc_as(msg, sizeof(struct md_applied)))) {
		on_applied(w, m);
	} else if (msg->type == MD_COUNTS && (m = ipc_as(msg, sizeof(struct md_counts)))) {
		md_report_counts(p, m);
	} else if (msg->type == MD_FLOW && (m = ipc_as(msg, sizeof(struct md_flow)))) {
		md_report_flow(p, m);
	} else if (msg->type == MD_ASKED && (m = ipc_as(msg, sizeof(struct msg_token)))) {
		md_report_asked(p, m);
	} else if (msg->type == MSG_EDGE_REFUSED && (m = ipc_as(msg, sizeof(struct msg_refused)))) {
		on_refused(p, m);
	} else if (msg->type == MSG_EDGE_WANTS && (m = ipc_as(msg, sizeof(struct id_missed)))) {
		trust_wants(&p->trust, m);
	} else if (msg->type == MSG_EDGE_BUNDLES && (m = ipc_as(msg, sizeof(struct msg_bundles)))) {
		p->trust.bundles = *(const struct msg_bundles *)m;
	} else if (msg->type == MD_CERT_REFUSED && (m = ipc_as(msg, sizeof(struct md_number)))) {
		on_cert_refused(p, m);
	} else if (msg->type == MD_DRAINED) {
		w->has_drained = true;
		if (p->is_draining && all_drained(p))
			stop(p, 0);
	} else {
		log_err("worker: message of unknown type %u", msg->type);
	}
}

static void on_fetched(const char *origin, const char *text, size_t len, void *arg)
{
	struct md_parent *p = arg;

	for (uint32_t i = 0; i < p->conf.workers; i++)
		trust_send_bundle(p->worker[i].proc.ipc, origin, text, len);
}

/* --- the key process --- */

void md_send_key(struct md_parent *p)
{
	struct md_number m = { .n = ++p->last_key };
	const char *key = md_reload_in_use(p)->key;

	if (key && p->key.ipc)
		ipc_send_blob(p->key.ipc, MD_KEY_PEM, &m, sizeof(m), key, strlen(key));
}

void md_own_changed(struct md_parent *p, char *old_key)
{
	id_secret_free(p->was.key);
	p->was.key = old_key;
	md_send_key(p);
}

static void on_key_up(void *arg)
{
	struct md_parent *p = arg;
	struct md_key_conf m = { .last = p->last_key,
				 .has_agent = p->conf.agent[0] && !p->conf.certificate[0],
				 .agent_is_legacy = p->conf.agent_is_legacy,
				 .agent_life_s = p->conf.agent_life_s,
				 .with_quote = p->conf.with_quote };

	memcpy(m.subject, p->conf.subject, sizeof(m.subject));
	ipc_send(p->key.ipc, MD_KEY_CONF, &m, sizeof(m), -1);
	md_send_key(p);
	for (uint32_t i = 0; i < p->conf.workers; i++)
		send_link(p, &p->worker[i]);
}

static void on_key_ready(struct md_parent *p, struct ipc_msg *msg, const struct md_key_ready *m)
{
	const char *cert = md_reload_in_use(p)->cert;
	struct err e = m->err;
	uint8_t *chain = NULL;
	char text[600];
	size_t len;

	msg_terminate_err(&e);
	if (m->number > p->last_key)
		p->last_key = m->number;
	if (!m->code && msg->fd >= 0 && ipc_blob_read(msg->fd, MD_PEM_MAX, &chain, &len) < 0)
		return;
	if (!m->code && !chain)
		chain = cert ? (uint8_t *)strdup(cert) : NULL;
	if (m->code || !chain) {
		log_err("%s", m->code ? err_text(&e, text, sizeof(text)) : "own key: there is no certificate for it");
		if (!p->cert.number)
			stop(p, 1);
		return;
	}
	free(p->was.chain);
	p->was.chain = p->chain;
	p->was.cert = p->cert;
	p->chain = (char *)chain;
	p->cert.number = m->number;
	memcpy(p->cert.spki, m->spki, sizeof(p->cert.spki));
	p->told.certificates++;
	for (uint32_t i = 0; i < p->conf.workers; i++)
		send_cert(p, &p->worker[i]);
}

static void on_key_message(struct ipc_msg *msg, void *arg)
{
	struct md_parent *p = arg;
	const void *m;

	if (msg->type == MD_KEY_READY && (m = ipc_as(msg, sizeof(struct md_key_ready))))
		on_key_ready(p, msg, m);
	else if (msg->type == MSG_EDGE_AGENT_ASK && (m = ipc_as(msg, sizeof(struct msg_token))))
		link_answer(p->key.ipc, m, p->conf.agent);
	else if (msg->type == MSG_EDGE_REFUSED && (m = ipc_as(msg, sizeof(struct msg_refused))))
		on_refused(p, m);
	else
		log_err("key process: message of unknown type %u", msg->type);
}

/* --- session tickets --- */

static int ticket_keys(struct md_parent *p)
{
	p->tickets.key[1] = p->tickets.key[0];
	return RAND_bytes((unsigned char *)&p->tickets.key[0], sizeof(p->tickets.key[0])) == 1 ? 0 : -EIO;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct timeval each = { .tv_sec = TICKET_KEY_S };
	struct md_parent *p = arg;

	(void)fd, (void)what;
	if (ticket_keys(p) < 0)
		return;
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc)
			ipc_send(p->worker[i].proc.ipc, MD_TICKETS, &p->tickets, sizeof(p->tickets), -1);
	event_add(p->turn, &each);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	stop(arg, 0);
}

/* --- signals --- */

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct md_parent *p = arg;
	struct err e = ERR_INIT;
	char text[600];

	(void)what;
	if (sig == SIGTERM)
		md_drain(p);
	else if (sig == SIGINT)
		stop(p, 0);
	else if (md_reload(p, &e) < 0)
		log_err("reload refused, the old configuration goes on: %s", err_text(&e, text, sizeof(text)));
	else
		log_info("configuration read again");
}

static void on_child(evutil_socket_t sig, short what, void *arg)
{
	struct md_parent *p = arg;
	int status;
	pid_t pid;

	(void)sig, (void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		bool known = proc_reaped(&p->key, pid, status);

		for (uint32_t i = 0; i < p->conf.workers && !known; i++)
			known = proc_reaped(&p->worker[i].proc, pid, status);
		if (!known && p->trust.fetch.pid > 0)
			proc_reaped(&p->trust.fetch, pid, status);
	}
	if (p->is_draining && all_drained(p))
		stop(p, 0);
}

static int watch_signals(struct md_parent *p, struct err *e)
{
	static const struct proc_signal want[] = {
		{ SIGTERM, on_signal }, { SIGINT, on_signal }, { SIGHUP, on_signal }, { SIGCHLD, on_child }
	};

	return proc_signals(p->base, want, ARRAY_LEN(want), p, p->signals, e);
}

/* --- start and end --- */

static int start_processes(struct md_parent *p)
{
	int ret = proc_init(&p->key, p->base, "key", on_key_message, on_key_up, p);

	p->key.uid = p->uid;
	p->key.gid = p->gid;
	for (uint32_t i = 0; i < p->conf.workers && !ret; i++) {
		struct md_worker *w = &p->worker[i];

		w->parent = p;
		w->index = i;
		ret = proc_init(&w->proc, p->base, md_needs_unix(&p->conf) ? "worker-unix" : "worker",
				on_worker_message, on_worker_up, w);
		w->proc.uid = p->uid;
		w->proc.gid = p->gid;
	}
	if (!ret)
		ret = proc_start(&p->key);
	for (uint32_t i = 0; i < p->conf.workers && !ret; i++)
		ret = proc_start(&p->worker[i].proc);
	return ret;
}

static void init_trust(struct md_parent *p)
{
	const struct trust_conf conf = { .evidence_policy = "", /* loaded.evidence */
					 .collateral = p->conf.collateral,
					 .state = p->conf.state,
					 .url = p->conf.pcs_url,
					 .root_crl = p->conf.pcs_root_crl,
					 .ca = p->conf.pcs_ca,
					 .refused = log_refused,
					 .fetched = on_fetched,
					 .arg = p };

	trust_init(&p->trust, &conf);
}

static int prepare(struct md_parent *p, struct err *e)
{
	int ret = md_user(&p->conf, &p->uid, &p->gid, e);

	if (!ret)
		ret = md_sockets_check(&p->conf, e);
	return ret ? ret : md_load(&p->conf, &p->loaded, e);
}

static int open_sockets(struct md_parent *p, bool take_over, struct err *e)
{
	struct md_given given = { 0 };
	int ret = md_takeover_new(p, take_over, &given, e);

	if (!ret)
		ret = md_sockets(&p->conf, p->socket, &p->n_sockets, given.socket, given.n, e);
	md_sockets_close(given.socket, given.n, p->socket, p->n_sockets);
	return ret;
}

static int start(struct md_parent *p, bool take_over, struct err *e)
{
	struct timeval each = { .tv_sec = TICKET_KEY_S };
	int ret;

	p->base = event_base_new();
	p->turn = p->base ? evtimer_new(p->base, on_turn, p) : NULL;
	p->deadline = p->base ? evtimer_new(p->base, on_deadline, p) : NULL;
	if (!p->turn || !p->deadline || event_add(p->turn, &each) < 0 || ticket_keys(p) < 0 || ticket_keys(p) < 0)
		return err_at(e, -ENOMEM, "event loop", "out of memory");
	ret = open_sockets(p, take_over, e);
	if (!ret)
		ret = watch_signals(p, e);
	if (!ret)
		ret = md_takeover_open(p, e);
	if (!ret)
		ret = md_round_open(p, e);
	if (!ret)
		ret = md_resolver_new(p, &p->resolver, e);
	if (ret)
		return ret;
	ret = start_processes(p);
	if (ret)
		return err_at(e, ret, "child process", "%s", strerror(-ret));
	ret = trust_start(&p->trust, p->base, p->uid, p->gid, e);
	return ret || !p->conf.baileyd[0] ? ret : md_watch_new(p, &p->watch, e);
}

static void processes_stop(struct md_parent *p)
{
	trust_stop(&p->trust);
	for (uint32_t i = 0; i < p->conf.workers; i++) {
		proc_stop(&p->worker[i].proc);
		proc_fini(&p->worker[i].proc);
	}
	proc_stop(&p->key);
	proc_fini(&p->key);
}

static void parent_free(struct md_parent *p)
{
	md_watch_free(p->watch);
	md_round_close(p);
	md_resolver_free(p->resolver);
	processes_stop(p);
	md_report_close(p);
	md_takeover_free(p->takeover);
	for (size_t i = 0; i < ARRAY_LEN(p->signals); i++)
		if (p->signals[i])
			event_free(p->signals[i]);
	if (p->turn)
		event_free(p->turn);
	if (p->deadline)
		event_free(p->deadline);
	if (p->base)
		event_base_free(p->base);
	for (uint32_t i = 0; i < p->n_sockets; i++)
		close_at(&p->socket[i].fd);
	md_loaded_fini(&p->loaded);
	OPENSSL_cleanse(&p->tickets, sizeof(p->tickets));
	free(p->chain);
	free(p->was.chain);
	id_secret_free(p->was.key);
	free(p->nodes);
	free(p->worker);
	free(p);
}

static struct md_parent *parent_new(const struct md_conf *conf)
{
	struct md_parent *p = calloc(1, sizeof(*p));

	if (p)
		p->worker = calloc(conf->workers, sizeof(*p->worker));
	if (!p || !p->worker) {
		free(p);
		log_err("out of memory");
		return NULL;
	}
	p->conf = *conf;
	p->key.pid = p->guard.fd = -1;
	for (uint32_t i = 0; i < conf->workers; i++)
		p->worker[i].proc.pid = -1;
	init_trust(p);
	return p;
}

int md_parent_check(const struct md_conf *conf)
{
	struct md_parent *p = parent_new(conf);
	struct err e = ERR_INIT;
	char text[600];
	int ret;

	if (!p)
		return 1;
	ret = prepare(p, &e);
	if (ret < 0)
		log_err("%s", err_text(&e, text, sizeof(text)));
	else
		log_info("the configuration is good");
	parent_free(p);
	return ret < 0;
}

int md_parent(const struct md_conf *conf, bool take_over)
{
	struct md_parent *p = parent_new(conf);
	struct err e = ERR_INIT;
	char text[600];
	int status;

	if (!p)
		return 1;
	if (prepare(p, &e) < 0 || start(p, take_over, &e) < 0) {
		log_err("%s", err_text(&e, text, sizeof(text)));
		p->exit_status = 1;
	} else {
		if (p->conf.trust_ca)
			log_warn("peers are believed because a CA vouches for them, not for what they prove");
		if (!p->conf.n_policy)
			log_warn("there is no policy: every peer that is believed may do everything");
		event_base_dispatch(p->base);
	}
	status = p->exit_status;
	parent_free(p);
	return status;
}
