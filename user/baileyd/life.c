// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "life_change.h"
#include "parent.h"

/* --- reading and judging ----------------------------------------------------------------------------------- */

static int read_configured(const struct parent *p, struct pol_sources *s, struct diags *d, struct err *e)
{
	const char *path[CONF_MAX_POLICY];
	int ret;

	for (uint32_t i = 0; i < p->conf.n_policy; i++)
		path[i] = p->conf.policy[i];
	ret = pol_sources_load(s, path, p->conf.n_policy, file_get, NULL, d, e);
	return ret == -EINVAL ? diags_first(d, e) : ret;
}

/* Checked, and its tests hold. */
static int judge(struct pol_sources *s, struct pol_model **model, struct diags *d, struct err *e)
{
	struct pol_model *made;
	size_t n_tests;

	if (pol_sources_parse(s, false, &made, d) < 0)
		return diags_first(d, e);
	pol_sources_settle(s);
	if (pol_run_tests(made, d, &n_tests)) {
		pol_free(made);
		return diags_first(d, e);
	}
	*model = made;
	return 0;
}

static void log_diags(const struct diags *d)
{
	for (size_t i = 0; i < d->n; i++)
		log_at(d->item[i].is_warning ? LOG_WARN : LOG_ERR, "%s:%u:%u: %s: %s", d->item[i].file, d->item[i].line,
		       d->item[i].col, d->item[i].path, d->item[i].msg);
}

/* Zeros where the files are not good: whatever they become is then newer. */
static void configured_now(const struct parent *p, uint8_t digest[32])
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	auto_call(diags_fini) struct diags d = { 0 };

	if (read_configured(p, &s, &d, NULL) < 0 || pol_sources_digest(&s, digest) < 0)
		memset(digest, 0, 32);
}

/* --- what a person may do ---------------------------------------------------------------------------------- */

static int is_busy(const struct parent *p, struct err *e)
{
	if (p->life.change)
		return err_at(e, -EBUSY, "policy", "another one is being loaded; try again");
	if (!p->is_loaded)
		return err_at(e, -EAGAIN, "policy", "baileyd is starting; try again");
	return 0;
}

/* The store once `s` is the current policy: what decided before is the previous one. */
static struct store succeeded(const struct store *now, struct stored *s)
{
	struct store next = store_copy(now);

	if (memcmp(s->digest, now->current->digest, sizeof(s->digest)) != 0) {
		stored_drop(next.previous);
		next.previous = next.current;
	} else {
		stored_drop(next.current);
	}
	next.current = stored_use(s);
	return next;
}

static int load_for_good(struct parent *p, struct stored *s, struct pol_model *model, struct err *e)
{
	struct store next = succeeded(&p->life.store, s);
	struct change *c = change_new(LOAD, e);
	int ret = -ENOMEM;

	configured_now(p, next.configured);
	if (c)
		ret = change_begin(p, c, model, &next, e);
	else
		pol_free(model);
	store_fini(&next);
	return ret;
}

static int load_on_trial(struct parent *p, struct stored *s, struct pol_model *model, unsigned confirm_s, struct err *e)
{
	struct store next = store_copy(&p->life.store);
	struct change *c = change_new(TRIAL, e);
	int ret = -ENOMEM;

	next.trial_until = time(NULL) + confirm_s;
	memcpy(next.trial_digest, s->digest, sizeof(s->digest));
	if (c) {
		c->trial = stored_use(s);
		c->confirm_s = confirm_s;
		ret = change_begin(p, c, model, &next, e);
	} else {
		pol_free(model);
	}
	store_fini(&next);
	return ret;
}

static int apply(struct parent *p, struct pol_sources *sources, bool is_applied, unsigned confirm_s, struct diags *d,
		 struct err *e)
{
	struct pol_model *model = NULL;
	struct stored *s;
	int ret = judge(sources, &model, d, e);

	if (ret)
		return ret;
	s = stored_new(sources, is_applied, time(NULL));
	if (!s) {
		pol_free(model);
		ret = err_at(e, -ENOMEM, "policy", "out of memory");
	} else if (confirm_s)
		ret = load_on_trial(p, s, model, confirm_s, e);
	else
		ret = load_for_good(p, s, model, e);
	stored_drop(s);
	return ret;
}

int life_apply(struct parent *p, struct pol_sources *sources, unsigned confirm_s, struct diags *d, struct err *e)
{
	auto_call(pol_sources_fini) struct pol_sources s = sources ? *sources : (struct pol_sources){ 0 };
	int ret = is_busy(p, e);

	if (sources)
		*sources = (struct pol_sources){ 0 };
	if (!ret && p->life.trial)
		ret = err_at(e, -EBUSY, "policy", "one waits to be confirmed: confirm it or roll back first");
	if (ret)
		return ret;
	if (!sources)
		ret = read_configured(p, &s, d, e);
	if (!ret)
		ret = apply(p, &s, sources != NULL, confirm_s, d, e);
	return life_refused(p, ret, e);
}

static int end_trial(struct parent *p, struct err *e)
{
	struct store next = store_copy(&p->life.store);
	struct change *c = change_new(TRIAL_ENDS, e);
	int ret = -ENOMEM;

	next.trial_until = 0;
	configured_now(p, next.configured); /* what was on trial may be in the files: it is no newer choice */
	event_del(p->life.timer);
	if (c)
		ret = change_begin(p, c, take_ptr(p->life.back), &next, e);
	else
		life_arm(p, GO_BACK_AGAIN_S);
	store_fini(&next);
	return ret;
}

static int swap_with_previous(struct parent *p, struct diags *d, struct err *e)
{
	struct stored *s = p->life.store.previous;
	struct pol_model *model = NULL;
	struct change *c;
	struct store next;
	int ret;

	if (!s)
		return err_at(e, -ENODATA, "policy", "there is no previous one to go back to");
	ret = judge(&s->sources, &model, d, e);
	if (ret)
		return ret;
	c = change_new(ROLLBACK, e);
	if (!c) {
		pol_free(model);
		return -ENOMEM;
	}
	next = store_copy(&p->life.store);
	next.previous = next.current;
	next.current = s;
	configured_now(p, next.configured);
	ret = change_begin(p, c, model, &next, e);
	if (ret >= 0)
		s->at = time(NULL);
	store_fini(&next);
	return ret;
}

int life_rollback(struct parent *p, struct diags *d, struct err *e)
{
	int ret = is_busy(p, e);

	if (ret)
		return ret;
	return life_refused(p, p->life.trial ? end_trial(p, e) : swap_with_previous(p, d, e), e);
}

int life_confirm(struct parent *p, struct err *e)
{
	struct store next;
	int ret = is_busy(p, e);

	if (ret)
		return ret;
	if (!p->life.trial)
		return err_at(e, -ENODATA, "policy", "none waits to be confirmed");
	next = succeeded(&p->life.store, p->life.trial);
	next.trial_until = 0;
	configured_now(p, next.configured);
	ret = life_save(p, &next, e);
	if (ret < 0) {
		store_fini(&next);
		return ret;
	}
	event_del(p->life.timer);
	store_fini(&p->life.store);
	p->life.store = next;
	stored_drop(p->life.trial);
	p->life.trial = NULL;
	pol_free(take_ptr(p->life.back));
	log_info("policy confirmed");
	return 0;
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;
	struct err e = ERR_INIT;
	char text[600];

	(void)fd, (void)what;
	if (!p->life.trial)
		return;
	if (p->life.change) { /* the way back is under way */
		life_arm(p, GO_BACK_AGAIN_S);
		return;
	}
	log_warn("policy was not confirmed in time: back to the one before");
	if (end_trial(p, &e) < 0)
		log_err("the way back fails and is tried again: %s", err_text(&e, text, sizeof(text)));
}

/* --- start and end ----------------------------------------------------------------------------------------- */

int life_check(struct parent *p, struct err *e)
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	auto_call(diags_fini) struct diags d = { 0 };
	int ret = read_configured(p, &s, &d, e);

	if (!ret)
		ret = judge(&s, &p->model, &d, e);
	log_diags(&d);
	return ret;
}

/* Whether the stored policy decides; says why. c_ret: what became of the configured files. */
static bool is_store_chosen(const struct store *s, const struct stored *configured, int c_ret, const struct err *c_err)
{
	char text[600];

	if (s->trial_until) {
		log_warn("a policy was not confirmed before baileyd ended: back to the one before");
		return true;
	}
	if (c_ret < 0) {
		log_err("the configured policy is refused, the one that decided before goes on: %s",
			err_text(c_err, text, sizeof(text)));
		return true;
	}
	if (memcmp(s->configured, configured->digest, sizeof(s->configured)) == 0)
		return true;
	log_warn("the configured policy has changed since the last one was chosen: it decides now");
	return false;
}

static void start_with(struct parent *p, struct store *old, struct stored *configured, struct pol_model *model)
{
	struct store next;
	struct err e = ERR_INIT;

	next = old->current ? succeeded(old, configured) : (struct store){ .current = stored_use(configured) };
	memcpy(next.configured, configured->digest, sizeof(next.configured));
	next.trial_until = 0;
	p->model = model;
	store_fini(old);
	p->life.store = next;
	if (life_save(p, &next, &e) < 0)
		log_err("%s: %s", e.where, e.msg);
}

static int start_with_stored(struct parent *p, struct store *old, const struct stored *configured)
{
	auto_call(diags_fini) struct diags d = { 0 };
	struct err e = ERR_INIT;
	char text[600];
	int ret = judge(&old->current->sources, &p->model, &d, &e);

	if (ret) {
		log_diags(&d);
		log_err("the stored policy is refused: %s", err_text(&e, text, sizeof(text)));
		return ret;
	}
	if (old->trial_until) {
		old->trial_until = 0;
		if (configured) /* what was on trial may be in the files: it is no newer choice */
			memcpy(old->configured, configured->digest, sizeof(old->configured));
		if (life_save(p, old, &e) < 0)
			log_err("%s: %s", e.where, e.msg);
	}
	p->life.store = *old;
	*old = (struct store){ 0 };
	return 0;
}

static void read_store(const struct parent *p, struct store *old)
{
	struct err e = ERR_INIT;
	char path[PATH_MAX], text[600];

	life_path(p, path);
	if (store_read(path, old, &e) < 0 && e.code != -ENOENT)
		log_err("the policies of before are lost: %s", err_text(&e, text, sizeof(text)));
}

int life_start(struct parent *p, struct err *e)
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	auto_call(diags_fini) struct diags d = { 0 };
	struct stored *configured = NULL;
	struct pol_model *model = NULL;
	struct store old = { 0 };
	int ret = read_configured(p, &s, &d, e);

	if (!ret)
		ret = judge(&s, &model, &d, e);
	if (!ret && !(configured = stored_new(&s, false, time(NULL))))
		ret = err_at(e, -ENOMEM, "policy", "out of memory");
	log_diags(&d);
	read_store(p, &old);
	if (old.current && is_store_chosen(&old, configured, ret, e) && start_with_stored(p, &old, configured) == 0) {
		pol_free(model);
		if (ret)
			life_refused(p, ret, e);
		ret = 0;
		*e = ERR_INIT;
	} else if (!ret) {
		start_with(p, &old, configured, model);
	}
	stored_drop(configured);
	store_fini(&old);
	if (!ret)
		life_say(p);
	return ret;
}

int life_timer(struct parent *p, struct err *e)
{
	p->life.timer = evtimer_new(p->base, on_deadline, p);
	return p->life.timer ? 0 : err_at(e, -ENOMEM, "event loop", "out of memory");
}

void life_fini(struct parent *p)
{
	if (p->life.timer)
		event_free(p->life.timer);
	if (p->life.change)
		change_free(p->life.change);
	stored_drop(p->life.trial);
	pol_free(p->life.back);
	store_fini(&p->life.store);
}
