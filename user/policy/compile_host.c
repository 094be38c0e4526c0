// SPDX-License-Identifier: Apache-2.0
/*
 * The image for the underlay. The policy's cells are cut once more by the prefixes of the openings; then openings and
 * host rules are folded as any rules are, with those finer cells for peers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "compile.h"

/* Rules whose networks are finer cells. */
struct finer {
	struct pol_work work;
	struct pol_rule *rule; /* copies: openings, then rules; their sides of networks are owned */
	size_t n;
	uint32_t *start, *cell; /* the policy's cell c is cut into cell[start[c]] .. cell[start[c + 1] - 1] */
};

static void finer_fini(struct finer *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->rule[i].from.point);
		free(f->rule[i].to.point);
	}
	free(f->rule);
	free(f->start);
	free(f->cell);
	pol_work_fini(&f->work);
}

static int check_opening(const struct pol_opening *o, struct err *e)
{
	size_t len = strnlen(o->name, sizeof(o->name));

	if (!len || len == sizeof(o->name) || o->dir >= BY_DIR_COUNT || o->selectors.first > o->selectors.last ||
	    o->selectors.last >= BY_PORT_SPACE || o->net.bits > (addr_is_v4(&o->net.addr) ? 32 : 128))
		return err_at(e, -EINVAL, "openings",
			      "'%.47s' is none: needed a name, a direction, a network and ports", o->name);
	return 0;
}

static int cut_cells(struct finer *f, const struct pol_opening *openings, size_t n, struct err *e)
{
	const struct pol_cells *policy = &f->work.model->cells;
	struct pol_cells *cells = &f->work.cells;
	int ret = 0;

	cells->prefix = calloc(policy->n + n + 2, sizeof(*cells->prefix));
	if (!cells->prefix)
		return -ENOMEM;
	memcpy(cells->prefix, policy->prefix, policy->n * sizeof(*cells->prefix));
	cells->n = policy->n;
	for (size_t i = 0; !ret && i < n; i++) {
		ret = check_opening(&openings[i], e);
		cells->prefix[cells->n++] = pol_prefix_of(&openings[i].net);
	}
	pol_cells_make(cells);
	return ret;
}

/* Which of the finer cells lie in each of the policy's. */
static int list_cuts(struct finer *f)
{
	const struct pol_cells *policy = &f->work.model->cells, *cells = &f->work.cells;
	auto_free uint32_t *outer = calloc(cells->n, sizeof(*outer)), *next = calloc(policy->n, sizeof(*next));

	f->start = calloc(policy->n + 1, sizeof(*f->start));
	f->cell = calloc(cells->n, sizeof(*f->cell));
	if (!outer || !next || !f->start || !f->cell)
		return -ENOMEM;
	for (size_t c = 0; c < cells->n; c++) {
		outer[c] = pol_cell_of(policy, &cells->prefix[c]);
		f->start[outer[c] + 1]++;
	}
	for (size_t c = 0; c < policy->n; c++) {
		f->start[c + 1] += f->start[c];
		next[c] = f->start[c];
	}
	for (uint32_t c = 0; c < cells->n; c++)
		f->cell[next[outer[c]]++] = c;
	return 0;
}

static int order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int cut_side(const struct finer *f, const struct pol_side *side, struct pol_side *cut)
{
	uint32_t first = f->work.model->kinds.n;
	size_t room = 0;

	*cut = (struct pol_side){ .is_any = side->is_any, .end = (uint32_t)f->work.cells.n };
	if (side->is_any)
		return 0;
	for (size_t i = 0; i < side->n; i++)
		room += f->start[side->point[i] - first + 1] - f->start[side->point[i] - first];
	cut->point = calloc(room + 1, sizeof(*cut->point));
	if (!cut->point)
		return -ENOMEM;
	for (size_t i = 0; i < side->n; i++)
		for (uint32_t c = f->start[side->point[i] - first]; c < f->start[side->point[i] - first + 1]; c++)
			cut->point[cut->n++] = f->cell[c];
	qsort(cut->point, cut->n, sizeof(*cut->point), order_u32);
	return 0;
}

static int add_opening(struct finer *f, const struct pol_opening *o)
{
	struct pol_rule *rule = &f->rule[f->n];
	struct pol_side side = { 0 };
	struct pol_prefix prefix = pol_prefix_of(&o->net);

	*rule = (struct pol_rule){ .name = (char *)o->name,
				   .action = BY_ALLOW,
				   .port = (struct pol_range *)&o->selectors,
				   .n_ports = 1,
				   .is_host = true };
	side.point = calloc(f->work.cells.n, sizeof(*side.point));
	if (!side.point)
		return -ENOMEM;
	side.n = pol_cells_within(&f->work.cells, &prefix, side.point);
	*(o->dir == BY_DIR_IN ? &rule->from : &rule->to) = side;
	f->work.view.item[f->n++] = (struct pol_view_item){
		.rule = rule, .opening = o, .is_in = o->dir == BY_DIR_IN, .is_out = o->dir == BY_DIR_OUT
	};
	return 0;
}

static int add_rule(struct finer *f, const struct pol_view_item *item)
{
	struct pol_rule *rule = &f->rule[f->n];
	int ret;

	*rule = *item->rule;
	rule->from = rule->to = (struct pol_side){ 0 };
	ret = item->is_in ? cut_side(f, &item->rule->from, &rule->from) : cut_side(f, &item->rule->to, &rule->to);
	f->work.view.item[f->n] = *item;
	f->work.view.item[f->n++].rule = rule;
	return ret;
}

static int list_rules(struct finer *f, const struct pol_subject *self, const struct pol_opening *openings, size_t n)
{
	auto_call(pol_view_fini) struct pol_view view = { 0 };
	int ret = pol_view_of(f->work.model, pol_kind_of(f->work.model, self), true, &view);

	if (ret)
		return ret;
	f->rule = calloc(n + view.n + 1, sizeof(*f->rule));
	f->work.view.item = calloc(n + view.n + 1, sizeof(*f->work.view.item));
	if (!f->rule || !f->work.view.item)
		return -ENOMEM;
	for (size_t i = 0; !ret && i < n; i++)
		ret = add_opening(f, &openings[i]);
	for (size_t i = 0; !ret && i < view.n; i++)
		ret = add_rule(f, &view.item[i]);
	f->work.view.n = f->n;
	f->work.n_openings = (uint32_t)n;
	return ret;
}

int pol_compile_host(const struct pol_model *model, const struct pol_subject *self, const struct pol_opening *openings,
		     size_t n_openings, struct pol_image **img, struct err *e)
{
	auto_call(finer_fini) struct finer f = { .work = { .model = model } };
	int ret = cut_cells(&f, openings, n_openings, e);

	if (!ret)
		ret = list_cuts(&f);
	if (!ret)
		ret = list_rules(&f, self, openings, n_openings);
	if (!ret)
		ret = pol_work_fold(&f.work, (uint32_t)f.work.cells.n, e);
	if (!ret)
		return pol_work_write(&f.work, img, e);
	return err_at(e, ret, "policy", "%s", strerror(-ret)); /* unless a reason is given already */
}
