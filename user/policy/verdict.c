// SPDX-License-Identifier: Apache-2.0
/*
 * Every port class is painted once by the first rule in file order that covers it, denies and allows apart. Rules for
 * any-attested are painted once for all peer classes. The work is that of the output, not rules times classes.
 */
#include "verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct coat {
	uint32_t *rule; /* by port class: the rule's number, 0: bare */
	uint32_t *next; /* where the next bare class may be: a disjoint-set forest that points upwards */
	uint32_t *done; /* classes that are painted */
	uint32_t n_done;
};

struct painter {
	const struct pol_view *view;
	const struct pol_ports *ports;
	enum by_dir dir;
	struct coat any[2]; /* by enum by_action */
	struct coat own[2];
	uint32_t *hit; /* port classes that have a verdict for the peer class at hand */
	bool *is_hit;
	uint32_t n_hit;
};

static void coat_fini(struct coat *coat)
{
	free(coat->rule);
	free(coat->next);
	free(coat->done);
}

static int coat_init(struct coat *coat, uint32_t n)
{
	coat->rule = calloc(n + 2, sizeof(*coat->rule));
	coat->next = calloc(n + 2, sizeof(*coat->next));
	coat->done = calloc(n + 2, sizeof(*coat->done));
	if (!coat->rule || !coat->next || !coat->done)
		return -ENOMEM;
	for (uint32_t c = 0; c < n + 2; c++)
		coat->next[c] = c;
	return 0;
}

static void coat_clean(struct coat *coat)
{
	while (coat->n_done) {
		uint32_t c = coat->done[--coat->n_done];

		coat->rule[c] = 0;
		coat->next[c] = c;
	}
}

static uint32_t bare_from(struct coat *coat, uint32_t c)
{
	while (coat->next[c] != c) {
		coat->next[c] = coat->next[coat->next[c]];
		c = coat->next[c];
	}
	return c;
}

static void coat_paint(struct coat *coat, uint32_t first, uint32_t end, uint32_t number)
{
	for (uint32_t c = bare_from(coat, first); c < end; c = bare_from(coat, c + 1)) {
		coat->rule[c] = number;
		coat->next[c] = c + 1;
		coat->done[coat->n_done++] = c;
	}
}

static void paint_rule(struct painter *p, struct coat *coats, size_t i)
{
	const struct pol_rule *rule = p->view->item[i].rule;
	uint32_t first, end;

	for (size_t j = 0; j < rule->n_ports; j++) {
		pol_ports_find(p->ports, &rule->port[j], &first, &end);
		coat_paint(&coats[rule->action], first, end, (uint32_t)i + 1);
	}
}

static void painter_fini(struct painter *p)
{
	for (int action = 0; action < 2; action++) {
		coat_fini(&p->any[action]);
		coat_fini(&p->own[action]);
	}
	free(p->hit);
	free(p->is_hit);
}

static int painter_init(struct painter *p)
{
	uint32_t n = p->ports->n;

	p->hit = calloc(n + 2, sizeof(*p->hit));
	p->is_hit = calloc(n + 2, sizeof(*p->is_hit));
	if (!p->hit || !p->is_hit)
		return -ENOMEM;
	for (int action = 0; action < 2; action++)
		if (coat_init(&p->any[action], n) < 0 || coat_init(&p->own[action], n) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < p->view->n; i++)
		if (pol_view_has(p->view, i, p->dir) && pol_view_side(p->view, i, p->dir)->is_any)
			paint_rule(p, p->any, i);
	return 0;
}

static void note_hits(struct painter *p, const struct coat *coat)
{
	for (uint32_t i = 0; i < coat->n_done; i++) {
		uint32_t c = coat->done[i];

		if (!p->is_hit[c])
			p->hit[p->n_hit++] = c;
		p->is_hit[c] = true;
	}
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Of the two painted rules the one that comes first in the file. */
static uint32_t first_rule(const struct painter *p, enum by_action action, uint32_t c)
{
	uint32_t any = p->any[action].rule[c], own = p->own[action].rule[c];

	return !any ? own : !own ? any : any < own ? any : own;
}

static struct by_verdict decide(const struct painter *p, uint32_t c)
{
	uint32_t deny = first_rule(p, BY_DENY, c);

	if (deny)
		return (struct by_verdict){ .rule = deny, .action = BY_DENY };
	return (struct by_verdict){ .rule = first_rule(p, BY_ALLOW, c), .action = BY_ALLOW };
}

static int verdicts_grow(struct pol_verdicts *verdicts, size_t more, struct err *e)
{
	size_t need = verdicts->n + more, cap = verdicts->cap ? verdicts->cap : 64;
	struct pol_verdict *grown;

	if (need > BY_MAX_VERDICTS / BY_SLOTS)
		return err_at(e, -E2BIG, "policy",
			      "this node needs more than %d verdicts (peer class, ports, direction)",
			      BY_MAX_VERDICTS / BY_SLOTS);
	if (need <= verdicts->cap)
		return 0;
	while (cap < need)
		cap *= 2;
	grown = realloc(verdicts->item, cap * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	verdicts->item = grown;
	verdicts->cap = cap;
	return 0;
}

/* Hands over what the coats say for one peer class, and takes its own paint off again. */
static int emit(struct painter *p, uint32_t peer_class, struct pol_verdicts *verdicts, struct err *e)
{
	int ret;

	for (int action = 0; action < 2; action++) {
		note_hits(p, &p->any[action]);
		note_hits(p, &p->own[action]);
	}
	ret = verdicts_grow(verdicts, p->n_hit, e);
	qsort(p->hit, p->n_hit, sizeof(*p->hit), by_number);
	for (uint32_t i = 0; i < p->n_hit; i++) {
		p->is_hit[p->hit[i]] = false;
		if (!ret)
			verdicts->item[verdicts->n++] = (struct pol_verdict){ .dir = (uint8_t)p->dir,
									      .port_class = (uint16_t)p->hit[i],
									      .peer_class = peer_class,
									      .verdict = decide(p, p->hit[i]) };
	}
	p->n_hit = 0;
	coat_clean(&p->own[BY_ALLOW]);
	coat_clean(&p->own[BY_DENY]);
	return ret;
}

static void paint_peer(struct painter *p, const struct pol_peers *peers, uint32_t peer_class)
{
	uint32_t app = peers->sample[peer_class];

	for (uint32_t i = peers->start[app]; i < peers->start[app + 1]; i++)
		if (peers->side[i] % 2 == (uint32_t)p->dir)
			paint_rule(p, p->own, peers->side[i] / 2);
}

int pol_verdicts_add(const struct pol_view *view, enum by_dir dir, const struct pol_ports *ports,
		     const struct pol_peers *peers, struct pol_verdicts *verdicts, struct err *e)
{
	auto_call(painter_fini) struct painter p = { .view = view, .ports = ports, .dir = dir };
	int ret = painter_init(&p);

	for (uint32_t c = POL_CLASS_OTHER; !ret && c <= peers->n; c++) {
		if (c != POL_CLASS_OTHER)
			paint_peer(&p, peers, c);
		ret = emit(&p, c, verdicts, e);
	}
	return ret;
}
