// SPDX-License-Identifier: Apache-2.0
#include "life_change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "parent.h"

void life_path(const struct parent *p, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/" STORE_FILE, PATH_MAX - 32, p->conf.state);
}

int life_save(const struct parent *p, const struct store *s, struct err *e)
{
	char path[PATH_MAX];

	life_path(p, path);
	return store_write(path, s, e);
}

const struct stored *life_deciding(const struct parent *p)
{
	return p->life.trial ? p->life.trial : p->life.store.current;
}

int64_t life_seconds_left(const struct parent *p)
{
	int64_t left = p->life.deadline_s - clock_s(CLOCK_MONOTONIC);

	return !p->life.trial ? -1 : left > 0 ? left : 0;
}

void life_arm(struct parent *p, unsigned seconds)
{
	struct timeval soon = { .tv_sec = seconds };

	p->life.deadline_s = clock_s(CLOCK_MONOTONIC) + seconds;
	event_add(p->life.timer, &soon);
}

/* --- a change: net commits it for every target, or none keeps it ------------------------------------------- */

void change_free(struct change *c)
{
	for (size_t i = 0; i < ARRAY_LEN(c->target); i++)
		free(c->target[i].image);
	pol_free(c->model);
	store_fini(&c->store);
	stored_drop(c->trial);
	free(c);
}

void life_say(const struct parent *p)
{
	const struct stored *s = life_deciding(p);
	char hex[65];

	hex_print(hex, s->digest, sizeof(s->digest));
	log_info("policy %.12s decides: %zu rules, %s%s", hex, pol_rule_count(p->model), s->sources.text[0].name,
		 s->sources.n > 1 ? " and others" : "");
}

static void land(struct parent *p, struct change *c)
{
	struct life *l = &p->life;

	p->policy_loads++;
	p->policy_err = ERR_INIT;
	if (c->what == TRIAL) {
		l->trial = take_ptr(c->trial);
		l->back = take_ptr(c->model);
		life_arm(p, c->confirm_s);
	} else if (c->what == TRIAL_ENDS) {
		stored_drop(l->trial);
		l->trial = NULL;
	}
	l->rollbacks += c->what == ROLLBACK || c->what == TRIAL_ENDS;
	life_say(p);
	dns_names_again(p);
}

/* The model of a change that failed. The one before a trial is needed again. */
static void model_keep(struct parent *p, const struct change *c, struct pol_model *model)
{
	if (c->what != TRIAL_ENDS) {
		pol_free(model);
		return;
	}
	p->life.back = model;
	life_arm(p, GO_BACK_AGAIN_S);
}

/* What net took already it is told to undo: all targets have the new policy, or none has. */
static void take_back(struct parent *p, struct change *c)
{
	struct pol_model *failed = p->model;
	struct err e = ERR_INIT;

	p->model = take_ptr(c->model);
	model_keep(p, c, failed);
	store_fini(&p->life.store);
	p->life.store = c->store;
	c->store = (struct store){ 0 };
	if (life_save(p, &p->life.store, &e) < 0)
		log_err("%s: %s", e.where, e.msg);
	for (uint32_t i = 0; i < p->n_targets; i++) {
		if (c->target[i].answer == NOT_ASKED)
			continue;
		free(p->targets[i].image);
		p->targets[i].image = take_ptr(c->target[i].image);
		if (c->target[i].answer == COMMITTED && p->targets[i].image)
			plan_send_policy(p, i);
	}
}

/* Once every target has answered. The peers' classes are those of the image that is in force now. */
static int settle(struct parent *p, struct err *e)
{
	struct change *c = p->life.change;
	bool has_failed = false, was_asked = false;
	int ret;

	for (uint32_t i = 0; i < p->n_targets; i++) {
		if (c->target[i].answer == WAITING)
			return LIFE_WAITS;
		has_failed |= c->target[i].answer == FAILED;
		was_asked |= c->target[i].answer != NOT_ASKED;
	}
	p->life.change = NULL;
	if (has_failed)
		take_back(p, c);
	else
		land(p, c);
	if (was_asked)
		plan_send_nodes(p);
	ret = has_failed ? c->err.code : 0;
	if (ret && e)
		*e = c->err;
	change_free(c);
	return ret;
}

static void hand_over(struct parent *p, struct change *c, struct pol_image *imgs[TARGETS_MAX])
{
	for (uint32_t i = 0; i < p->n_targets; i++) {
		struct pol_image *old = p->targets[i].image;

		/* the same text again is no new generation: counters and flows go on */
		if (imgs[i] && old && memcmp(imgs[i]->digest, old->digest, sizeof(old->digest)) == 0) {
			free(imgs[i]);
			continue;
		}
		if (!imgs[i])
			continue;
		c->target[i].image = old;
		c->target[i].answer = WAITING;
		p->targets[i].image = imgs[i];
		if (p->net.ipc && plan_send_image(p, i) < 0) {
			c->target[i].answer = FAILED;
			err_at(&c->err, -EIO, "policy", "can not be handed to net");
		}
	}
}

int change_begin(struct parent *p, struct change *c, struct pol_model *model, struct store *next, struct err *e)
{
	struct pol_image *imgs[TARGETS_MAX] = { 0 };
	struct err disk = ERR_INIT;
	int ret = p->is_loaded ? plan_compile(p, model, imgs, e) : 0;

	if (!ret && life_save(p, next, &disk) < 0) {
		if (c->what == TRIAL_ENDS)
			log_err("%s: %s", disk.where, disk.msg);
		else
			ret = err_at(e, disk.code, disk.where, "%s", disk.msg);
	}
	if (ret) {
		for (uint32_t i = 0; i < p->n_targets; i++)
			free(imgs[i]);
		model_keep(p, c, model);
		change_free(c);
		return ret;
	}
	c->model = p->model;
	c->store = p->life.store;
	p->model = model;
	p->life.store = *next;
	*next = (struct store){ 0 };
	p->life.change = c;
	hand_over(p, c, imgs);
	return settle(p, e);
}

struct change *change_new(enum what what, struct err *e)
{
	struct change *c = calloc(1, sizeof(*c));

	if (!c)
		err_at(e, -ENOMEM, "policy", "out of memory");
	else
		c->what = what;
	return c;
}

void life_sent(struct parent *p, uint32_t target)
{
	struct change *c = p->life.change;

	if (c && c->target[target].answer == WAITING && !c->target[target].is_sent) {
		c->target[target].is_sent = true;
		c->target[target].skip = p->life.unanswered[target];
	}
	p->life.unanswered[target]++;
}

int life_refused(struct parent *p, int ret, const struct err *e)
{
	if (ret < 0 && ret != -EBUSY && ret != -EAGAIN && ret != -ENODATA) {
		p->policy_refusals++;
		p->policy_err = *e;
	}
	return ret;
}

static void tell_done(struct parent *p, int ret, const struct err *e)
{
	void (*done)(struct parent * p, int ret, const struct err *e, void *arg) = p->life.done;

	p->life.done = NULL;
	if (done)
		done(p, ret, e, p->life.done_arg);
}

void life_answered(struct parent *p, uint32_t target, int code, const struct err *e)
{
	struct change *c = p->life.change;
	struct err why = ERR_INIT;
	int ret;

	if (target >= p->n_targets || !p->life.unanswered[target])
		return;
	p->life.unanswered[target]--;
	if (!c || c->target[target].answer != WAITING || !c->target[target].is_sent) {
		if (code) {
			p->policy_refusals++;
			p->policy_err = *e;
		}
		return;
	}
	if (c->target[target].skip) {
		c->target[target].skip--;
		return;
	}
	c->target[target].answer = code ? FAILED : COMMITTED;
	if (code && !c->err.code)
		c->err = *e;
	ret = settle(p, &why);
	if (ret != LIFE_WAITS)
		tell_done(p, life_refused(p, ret, &why), &why);
}

/* A new net process gets every image again. */
void life_net_down(struct parent *p)
{
	memset(p->life.unanswered, 0, sizeof(p->life.unanswered));
	for (uint32_t i = 0; p->life.change && i < p->n_targets; i++)
		p->life.change->target[i].is_sent = false;
}
