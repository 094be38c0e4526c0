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

/* --- what is read --- */

/* What of it changes with a restart only; NULL: nothing else does. */
static const char *fixed_changed(const struct md_conf *a, const struct md_conf *b)
{
	const struct {
		const char *name;
		bool changed;
	} fixed[] = {
		{ "instance", strcmp(a->instance, b->instance) != 0 },
		{ "run", strcmp(a->run, b->run) != 0 },
		{ "state", strcmp(a->state, b->state) != 0 },
		{ "user", strcmp(a->user, b->user) != 0 },
		{ "workers", a->workers != b->workers },
		{ "identity", strcmp(a->agent, b->agent) != 0 || strcmp(a->certificate, b->certificate) != 0 ||
				      strcmp(a->key, b->key) != 0 || strcmp(a->subject, b->subject) != 0 ||
				      a->agent_is_legacy != b->agent_is_legacy || a->agent_life_s != b->agent_life_s ||
				      a->with_quote != b->with_quote },
		{ "trust.fetch", strcmp(a->pcs_url, b->pcs_url) != 0 || strcmp(a->pcs_root_crl, b->pcs_root_crl) != 0 ||
					 strcmp(a->pcs_ca, b->pcs_ca) != 0 },
		{ "client.agent", a->agent_access != b->agent_access },
		{ "client.baileyd", strcmp(a->baileyd, b->baileyd) != 0 },
		{ "server.services: the first 'unix:' backend, or the last", md_needs_unix(a) != md_needs_unix(b) },
		{ "limits", memcmp(&a->limits, &b->limits, sizeof(a->limits)) != 0 },
		{ "paths", a->no_splice != b->no_splice || a->no_ktls != b->no_ktls },
	};

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (fixed[i].changed)
			return fixed[i].name;
	return NULL;
}

static int reload_conf(const struct md_parent *p, struct md_conf *conf, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	const char *fixed;

	if (!p->conf.file[0]) {
		*conf = p->conf;
		return 0;
	}
	if (md_conf_load(p->conf.file, conf, &d) < 0)
		return diags_first(&d, e) ? e->code : err_at(e, -EINVAL, p->conf.file, "can not be read");
	fixed = fixed_changed(conf, &p->conf);
	return fixed ? err_at(e, -EINVAL, p->conf.file, "%s: changes with a restart only", fixed) : 0;
}

static uint32_t concat(struct md_socket *to, const struct md_socket *a, uint32_t n_a, const struct md_socket *b,
		       uint32_t n_b)
{
	memcpy(to, a, n_a * sizeof(*a));
	if (n_b)
		memcpy(to + n_a, b, n_b * sizeof(*b));
	return n_a + n_b;
}

static int read_all(const struct md_parent *p, struct md_setup *made, struct err *e)
{
	struct md_socket open[2 * MD_SOCKETS_MAX];
	uint32_t n = concat(open, p->socket, p->n_sockets, p->before ? p->before->socket : NULL,
			    p->before ? p->before->n_sockets : 0);
	int ret = reload_conf(p, &made->conf, e);

	if (!ret)
		ret = md_load(&made->conf, &made->loaded, e);
	return ret ? ret : md_sockets(&made->conf, made->socket, &made->n_sockets, open, n, e);
}

/* --- what is in use --- */

static void setup_free(struct md_setup *s)
{
	if (s)
		md_loaded_fini(&s->loaded);
	free(s);
}

DEFINE_CLEANUP(setup, struct md_setup, setup_free)

static void swap(void *a, void *b, size_t len)
{
	uint8_t *x = a, *y = b, was;

	for (size_t i = 0; i < len; i++) {
		was = x[i];
		x[i] = y[i];
		y[i] = was;
	}
}

static void exchange(struct md_parent *p, struct md_setup *s)
{
	swap(&p->conf, &s->conf, sizeof(s->conf));
	swap(&p->loaded, &s->loaded, sizeof(s->loaded));
	swap(p->socket, s->socket, sizeof(s->socket));
	swap(&p->n_sockets, &s->n_sockets, sizeof(s->n_sockets));
}

const struct md_loaded *md_reload_in_use(const struct md_parent *p)
{
	return p->before ? &p->before->loaded : &p->loaded;
}

static void send_anew(struct md_parent *p)
{
	p->applies++;
	md_round_begin(p);
	for (uint32_t i = 0; i < p->conf.workers; i++) {
		md_send_all(p, &p->worker[i]);
		md_round_send(p, &p->worker[i]);
	}
}

/* Of a configuration that workers were still looking at when another came nothing is left. */
static void replace(struct md_parent *p, struct md_setup *made)
{
	struct md_socket kept[2 * MD_SOCKETS_MAX];
	uint32_t n;

	exchange(p, made);
	if (!p->before) {
		p->before = made;
		return;
	}
	n = concat(kept, p->socket, p->n_sockets, p->before->socket, p->before->n_sockets);
	md_sockets_close(made->socket, made->n_sockets, kept, n);
	setup_free(made);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void commit(struct md_parent *p)
{
	auto_call(cleanup_setup) struct md_setup *was = take_ptr(p->before);

	p->told.reloads++;
	md_sockets_close(was->socket, was->n_sockets, p->socket, p->n_sockets);
	if (!same_text(was->loaded.key, p->loaded.key) || !same_text(was->loaded.cert, p->loaded.cert))
		md_own_changed(p, take_ptr(was->loaded.key));
}

static void fall_back(struct md_parent *p)
{
	auto_call(cleanup_setup) struct md_setup *refused = take_ptr(p->before);

	p->told.reloads_refused++;
	log_err("reload refused by a worker, the old configuration goes on");
	exchange(p, refused);
	md_sockets_close(refused->socket, refused->n_sockets, p->socket, p->n_sockets);
	send_anew(p);
}

int md_reload(struct md_parent *p, struct err *e)
{
	auto_call(cleanup_setup) struct md_setup *made = calloc(1, sizeof(*made));
	int ret = made ? 0 : err_at(e, -ENOMEM, "reload", "out of memory");

	if (!ret && p->is_draining)
		ret = err_at(e, -ESHUTDOWN, "reload", "it drains, and ends then");
	if (!ret)
		ret = read_all(p, made, e);
	if (ret < 0) {
		p->told.reloads_refused++;
		return ret;
	}
	replace(p, take_ptr(made));
	trust_retry(&p->trust);
	send_anew(p);
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

static bool all_have_applied(const struct md_parent *p, uint32_t n)
{
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (!has_applied(&p->worker[i], n))
			return false;
	return true;
}

static bool is_refused(const struct md_parent *p, uint32_t n)
{
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (has_applied(&p->worker[i], n) && p->worker[i].applied.code)
			return true;
	return false;
}

void md_reload_applied(struct md_parent *p)
{
	bool refused = is_refused(p, p->applies), done = all_have_applied(p, p->applies);
	struct waiting *a, *next;

	if (p->before && !refused && done)
		commit(p);
	for (a = LIST_FIRST(&waitings); a; a = next) {
		next = LIST_NEXT(a, link);
		if (refused || all_have_applied(p, a->n))
			answer(a);
	}
	if (p->before && refused)
		fall_back(p);
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

void md_reload_close(struct md_parent *p)
{
	while (!LIST_EMPTY(&waitings))
		answer(LIST_FIRST(&waitings));
	if (p->before)
		md_sockets_close(p->before->socket, p->before->n_sockets, p->socket, p->n_sockets);
	setup_free(take_ptr(p->before));
}

void md_drain(struct md_parent *p)
{
	struct md_number m = { .n = p->conf.limits.drain_s * 1000 };
	struct timeval deadline = { .tv_sec = p->conf.limits.drain_s + 1 };

	if (p->is_draining)
		return;
	p->is_draining = true;
	if (p->before)
		md_sockets_close(p->before->socket, p->before->n_sockets, p->socket, p->n_sockets);
	if (p->before)
		p->before->n_sockets = 0;
	log_info("no new connections; waits up to %u s for those that are there", p->conf.limits.drain_s);
	for (uint32_t i = 0; i < p->n_sockets; i++)
		close_at(&p->socket[i].fd);
	p->n_sockets = 0;
	for (uint32_t i = 0; i < p->conf.workers; i++)
		if (p->worker[i].proc.ipc)
			ipc_send(p->worker[i].proc.ipc, MD_DRAIN, &m, sizeof(m), -1);
	event_add(p->deadline, &deadline);
}
