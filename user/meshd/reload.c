// SPDX-License-Identifier: Apache-2.0
/*
 * What a person asks of a running mesh: another configuration, or an end that nobody notices. Who asks for another is
 * answered when each worker judges by it, so that whatever is begun after the answer is judged by nothing else.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "parent.h"

#define PATIENCE_S 10

/* Somebody who waits for APPLY `n` to be in use. */
struct waiting {
	LIST_ENTRY(waiting) link;
	struct md_parent *parent;
	struct evhttp_request *req;
	struct event *deadline;
	uint32_t n;
};

static LIST_HEAD(, waiting) waitings = LIST_HEAD_INITIALIZER(waitings);

static int reload_conf(const struct md_parent *p, struct md_conf *conf, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };

	if (!p->conf.file[0]) {
		*conf = p->conf;
		return 0;
	}
	if (md_conf_load(p->conf.file, conf, &d) < 0)
		return diags_first(&d, e) ? e->code : err_at(e, -EINVAL, p->conf.file, "can not be read");
	if (conf->workers != p->conf.workers || strcmp(conf->user, p->conf.user) != 0 ||
	    strcmp(conf->instance, p->conf.instance) != 0 || strcmp(conf->run, p->conf.run) != 0 ||
	    strcmp(conf->agent, p->conf.agent) != 0 || strcmp(conf->certificate, p->conf.certificate) != 0 ||
	    strcmp(conf->state, p->conf.state) != 0 || strcmp(conf->baileyd, p->conf.baileyd) != 0 ||
	    conf->agent_access != p->conf.agent_access || md_needs_unix(conf) != md_needs_unix(&p->conf) ||
	    conf->no_splice != p->conf.no_splice || conf->no_ktls != p->conf.no_ktls ||
	    memcmp(&conf->limits, &p->conf.limits, sizeof(conf->limits)) != 0)
		return err_at(e, -EINVAL, p->conf.file,
			      "workers, user, instance, run, state, limits, paths, identity's files and agent, "
			      "client.agent, client.baileyd and whether any backend is unix: change with a restart "
			      "only");
	return 0;
}

static int reload(struct md_parent *p, struct md_conf *conf, struct err *e)
{
	struct md_socket socket[MD_SOCKETS_MAX];
	struct md_loaded loaded = { 0 };
	uint32_t n = 0;
	bool has_new_key;
	int ret = reload_conf(p, conf, e);

	if (!ret)
		ret = md_load(conf, &loaded, e);
	if (!ret)
		ret = md_sockets(conf, socket, &n, p->socket, p->n_sockets, e);
	if (!ret)
		ret = trust_read(&p->trust, e);
	if (ret < 0) {
		md_loaded_fini(&loaded);
		return ret;
	}
	has_new_key =
		loaded.key && (strcmp(loaded.key, p->loaded.key) != 0 || strcmp(loaded.cert, p->loaded.cert) != 0);
	md_sockets_close(p->socket, p->n_sockets, socket, n);
	memcpy(p->socket, socket, sizeof(socket));
	p->n_sockets = n;
	md_loaded_fini(&p->loaded);
	p->loaded = loaded;
	p->conf = *conf;
	if (has_new_key)
		md_send_key(p);
	return 0;
}

int md_reload(struct md_parent *p, struct err *e)
{
	auto_free struct md_conf *conf = malloc(sizeof(*conf));
	int ret = conf ? reload(p, conf, e) : -ENOMEM;

	if (ret < 0) {
		p->told.reloads_refused++;
		return ret;
	}
	p->told.reloads++;
	p->applies++;
	trust_retry(&p->trust);
	md_round_begin(p);
	for (uint32_t i = 0; i < p->conf.workers; i++) {
		md_send_all(p, &p->worker[i]);
		md_round_send(p, &p->worker[i]);
	}
	return 0;
}

/* --- who is answered --- */

static bool has_applied(const struct md_worker *w, uint32_t n)
{
	return w->has_applied && (int32_t)(w->applied.n - n) >= 0;
}

static void add(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t size, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, size - len, fmt, ap);
	va_end(ap);
}

/* Each that does not judge by it, and why. */
static int outcome(const struct waiting *a, struct err *e)
{
	const struct md_parent *p = a->parent;
	char late[200] = "", text[600];

	for (uint32_t i = 0; i < p->conf.workers; i++) {
		const struct md_worker *w = &p->worker[i];

		if (!has_applied(w, a->n))
			add(late, sizeof(late), "%s%u (pid %d)", *late ? ", " : "", i, (int)w->proc.pid);
		else if (w->applied.code)
			return err_at(e, -EINVAL, "reload", "worker %u refuses it: %s", i,
				      err_text(&w->applied.err, text, sizeof(text)));
	}
	return *late ? err_at(e, -ETIMEDOUT, "reload",
			      "not yet in use everywhere: after %d s these have not said that they judge by it: worker "
			      "%s",
			      PATIENCE_S, late)
		     : 0;
}

static void answer(struct waiting *a)
{
	struct err e = ERR_INIT;
	int ret = outcome(a, &e);

	if (ret < 0)
		ctl_reply_error(a->req, ret == -ETIMEDOUT ? 504 : 422, &e);
	else
		ctl_reply_json(a->req, 200, json_pack("{s:b}", "reloaded", 1));
	LIST_REMOVE(a, link);
	event_free(a->deadline);
	free(a);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	answer(arg);
}

void md_reload_applied(struct md_parent *p)
{
	struct waiting *a, *next;

	for (a = LIST_FIRST(&waitings); a; a = next) {
		uint32_t i = 0;

		next = LIST_NEXT(a, link);
		while (i < p->conf.workers && has_applied(&p->worker[i], a->n))
			i++;
		if (i == p->conf.workers)
			answer(a);
	}
}

void md_reload_answer(struct md_parent *p, struct evhttp_request *req)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct waiting *a = calloc(1, sizeof(*a));
	struct err e = ERR_INIT;

	if (a)
		a->deadline = evtimer_new(p->base, on_late, a);
	if (!a || !a->deadline || md_reload(p, &e) < 0) {
		if (!e.code)
			err_at(&e, -ENOMEM, "reload", "out of memory");
		if (a && a->deadline)
			event_free(a->deadline);
		free(a);
		ctl_reply_error(req, 422, &e);
		return;
	}
	a->parent = p;
	a->req = req;
	a->n = p->applies;
	LIST_INSERT_HEAD(&waitings, a, link);
	event_add(a->deadline, &patience);
}

void md_reload_close(void)
{
	while (!LIST_EMPTY(&waitings))
		answer(LIST_FIRST(&waitings));
}

void md_drain(struct md_parent *p)
{
	struct md_number m = { .n = p->conf.limits.drain_s * 1000 };
	struct timeval deadline = { .tv_sec = p->conf.limits.drain_s + 1 };

	if (p->is_draining)
		return;
	p->is_draining = true;
	log_info("no new connections; waits up to %u s for those that are there", p->conf.limits.drain_s);
	for (uint32_t i = 0; i < p->n_sockets; i++)
		close_at(&p->socket[i].fd);
	p->n_sockets = 0;
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc)
			ipc_send(p->worker[i].proc.ipc, MD_DRAIN, &m, sizeof(m), -1);
	event_add(p->deadline, &deadline);
}
