// SPDX-License-Identifier: Apache-2.0
/*
 * Every port class is painted once by the first rule in file order that covers it, for each rung of the ladder apart.
 * Rules for all peers are painted once for all peer classes. The work is that of the output, not rules times classes.
 */
#include "verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "coat.h"

/* The ladder of explain.c, with what the daemon keeps open above it. */
enum rung { OPENING, DENY, ALLOW, AUDIT_DENY, AUDIT_ALLOW, RUNGS };

struct painter {
	const struct pol_view *view;
	const struct pol_ports *ports;
	enum by_dir dir;
	struct pol_coat any[RUNGS];
	struct pol_coat own[RUNGS];
	uint32_t *hit; /* port classes that have a verdict for the peer class at hand */
	bool *is_hit;
	uint32_t n_hit;
};

static enum rung rung_of(const struct pol_view_item *item)
{
	if (item->opening)
		return OPENING;
	if (item->rule->flags & BY_RULE_AUDIT)
		return item->rule->action == BY_DENY ? AUDIT_DENY : AUDIT_ALLOW;
	return item->rule->action == BY_DENY ? DENY : ALLOW;
}

static void paint_rule(struct painter *p, struct pol_coat *coats, size_t i)
{
	enum rung rung = rung_of(&p->view->item[i]);
	uint32_t first, end;
	size_t n;
	const struct pol_range *port = pol_view_ports(p->view, i, p->dir, &n);

	for (size_t j = 0; j < n; j++) {
		pol_ports_find(p->ports, &port[j], &first, &end);
		pol_coat_paint(&coats[rung], first, end, (uint32_t)i + 1);
	}
}

static void painter_fini(struct painter *p)
{
	for (int rung = 0; rung < RUNGS; rung++) {
		pol_coat_fini(&p->any[rung]);
		pol_coat_fini(&p->own[rung]);
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
	for (int rung = 0; rung < RUNGS; rung++)
		if (pol_coat_init(&p->any[rung], n) < 0 || pol_coat_init(&p->own[rung], n) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < p->view->n; i++)
		if (pol_view_has(p->view, i, p->dir) && pol_view_side(p->view, i, p->dir)->is_any)
			paint_rule(p, p->any, i);
	return 0;
}

static void note_hits(struct painter *p, const struct pol_coat *coat)
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
static uint32_t first_rule(const struct painter *p, enum rung rung, uint32_t c)
{
	uint32_t any = p->any[rung].rule[c], own = p->own[rung].rule[c];

	return !any ? own : !own ? any : any < own ? any : own;
}

static struct by_verdict decide(const struct painter *p, uint32_t c)
{
	uint32_t rule = first_rule(p, OPENING, c), audit = 0;
	enum by_action action = BY_ALLOW;

	if (!rule && (rule = first_rule(p, DENY, c)))
		action = BY_DENY;
	if (!rule && (rule = first_rule(p, ALLOW, c)))
		audit = first_rule(p, AUDIT_DENY, c);
	if (!rule)
		rule = audit = first_rule(p, AUDIT_ALLOW, c);
	return (struct by_verdict){ .rule = rule,
				    .audit = audit,
				    .action = (uint8_t)action,
				    .flags = (uint8_t)p->view->item[rule - 1].rule->flags };
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

	/* what a deny rule in audit mode alone covers is left to the default, as if it were not there */
	for (int rung = 0; rung < RUNGS; rung++) {
		if (rung == AUDIT_DENY)
			continue;
		note_hits(p, &p->any[rung]);
		note_hits(p, &p->own[rung]);
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
	for (int rung = 0; rung < RUNGS; rung++)
		pol_coat_clean(&p->own[rung]);
	return ret;
}

static void paint_peer(struct painter *p, const struct pol_peers *peers, uint32_t peer_class)
{
	uint32_t point = peers->sample[peer_class];

	for (uint32_t i = peers->start[point]; i < peers->start[point + 1]; i++)
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
