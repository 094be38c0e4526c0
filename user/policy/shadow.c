// SPDX-License-Identifier: Apache-2.0
/*
 * Rules that can never decide. A rule is a box: points that ask, points that are asked, ports. Other rules win over it
 * in a part of the box each; when the parts fill it, nothing is left to decide. To be exact, the box is cut into cells
 * that no winner tells apart, and each cell is asked for its winner.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model.h"

/* The winners whose boxes meet the rule's, in the order in which they win. */
struct winners {
	const struct pol_rule **rule;
	bool *is_used; /* decides some cell */
	size_t n;
};

/* Rows of one bit for each winner: bit w of a row is set where winner w covers what the row stands for. */
struct rows {
	uint64_t *word;
	size_t n, width; /* rows, words in each */
};

struct shadow {
	const struct pol_model *model;
	struct diags *d;
	uint64_t work;     /* steps so far */
	bool is_exhausted; /* of steps or memory */
};

static bool spend(struct shadow *s, uint64_t steps)
{
	s->work += steps;
	s->is_exhausted |= s->work > POL_WARN_WORK;
	return !s->is_exhausted;
}

/* --- boxes ------------------------------------------------------------------------------------------------- */

static bool sides_meet(const struct pol_side *a, const struct pol_side *b)
{
	const struct pol_side *any = a->is_any ? a : b, *other = a->is_any ? b : a;
	size_t i = 0, j = 0;

	if (any->is_any && other->is_any)
		return any->first < other->end && other->first < any->end;
	if (any->is_any) /* lists are kinds alone or cells alone */
		return other->n && pol_side_has(any, other->point[0]);
	while (i < a->n && j < b->n && a->point[i] != b->point[j]) {
		if (a->point[i] < b->point[j])
			i++;
		else
			j++;
	}
	return i < a->n && j < b->n;
}

static bool ports_meet(const struct pol_rule *a, const struct pol_rule *b)
{
	size_t i = 0, j = 0;

	while (i < a->n_ports && j < b->n_ports) {
		if (a->port[i].last < b->port[j].first)
			i++;
		else if (b->port[j].last < a->port[i].first)
			j++;
		else
			return true;
	}
	return false;
}

static size_t side_size(const struct pol_side *side)
{
	return side->is_any ? side->end - side->first : side->n;
}

static uint32_t side_point(const struct pol_side *side, size_t i)
{
	return side->is_any ? side->first + (uint32_t)i : side->point[i];
}

static bool side_within(const struct pol_side *inner, const struct pol_side *outer)
{
	bool is_within = side_size(inner) <= side_size(outer);

	for (size_t i = 0; is_within && i < side_size(inner); i++)
		is_within = pol_side_has(outer, side_point(inner, i));
	return is_within;
}

static bool ports_within(const struct pol_rule *inner, const struct pol_rule *outer)
{
	size_t j = 0;

	for (size_t i = 0; i < inner->n_ports; i++) {
		while (j < outer->n_ports && outer->port[j].last < inner->port[i].first)
			j++;
		if (j == outer->n_ports || outer->port[j].first > inner->port[i].first ||
		    outer->port[j].last < inner->port[i].last)
			return false;
	}
	return true;
}

static bool is_within(const struct pol_rule *inner, const struct pol_rule *outer)
{
	return ports_within(inner, outer) && side_within(&inner->from, &outer->from) &&
	       side_within(&inner->to, &outer->to);
}

/* Of requests a winner has all that the rule has, or it is left out: what is said is so, and some is not said. */
static bool meets(struct shadow *s, const struct pol_rule *a, const struct pol_rule *b)
{
	spend(s, 1 + a->n_ports + b->n_ports);
	if (!ports_meet(a, b) || !pol_http_within(a, b))
		return false;
	spend(s, a->from.n + b->from.n + a->to.n + b->to.n);
	return sides_meet(&a->from, &b->from) && sides_meet(&a->to, &b->to);
}

/* Whether rule `r` wins over rule `i` where both cover a packet. The ladder of explain.c; but a rule in audit mode is
 * never put down because of what it would do: it wins over others in audit mode alone, of its own action, further down.
 */
static bool wins(const struct pol_rule *all, size_t r, size_t i)
{
	bool is_audit = all[i].flags & BY_RULE_AUDIT;

	if (all[r].flags & BY_RULE_AUDIT)
		return is_audit && all[r].action == all[i].action && r < i;
	if (all[r].action == BY_DENY)
		return all[i].action == BY_ALLOW || is_audit || r < i;
	return all[i].action == BY_ALLOW && (is_audit || r < i);
}

/* In the order in which they win: enforcing denials, enforcing allow rules, those in audit mode. */
static void find_winners(struct shadow *s, size_t i, struct winners *w)
{
	const struct pol_rule *all = s->model->rule;

	for (int rung = 0; rung < 3; rung++) {
		for (size_t r = 0; r < s->model->n_rules && !s->is_exhausted; r++) {
			int own = all[r].flags & BY_RULE_AUDIT ? 2 : all[r].action == BY_ALLOW;

			if (r != i && own == rung && wins(all, r, i) && meets(s, &all[i], &all[r]))
				w->rule[w->n++] = &all[r];
		}
	}
}

/* --- cells ------------------------------------------------------------------------------------------------- */

static bool rows_make(struct shadow *s, struct rows *rows, size_t n, size_t n_winners)
{
	rows->n = n;
	rows->width = (n_winners + 63) / 64;
	rows->word = spend(s, (uint64_t)n * n_winners) ? calloc(n * rows->width + 1, sizeof(*rows->word)) : NULL;
	s->is_exhausted |= !rows->word;
	return rows->word != NULL;
}

static void rows_fini(struct rows *rows)
{
	free(rows->word);
}

static void row_set(struct rows *rows, size_t row, size_t w)
{
	rows->word[row * rows->width + w / 64] |= 1ull << w % 64;
}

static int order_rows(const void *a, const void *b, void *arg)
{
	return memcmp(a, b, *(const size_t *)arg * sizeof(uint64_t));
}

static void rows_unique(struct rows *rows)
{
	size_t size = rows->width * sizeof(*rows->word), kept = 0;

	qsort_r(rows->word, rows->n, size, order_rows, &rows->width);
	for (size_t i = 0; i < rows->n; i++) {
		uint64_t *row = &rows->word[i * rows->width];

		if (kept && memcmp(row, &rows->word[(kept - 1) * rows->width], size) == 0)
			continue;
		memmove(&rows->word[kept++ * rows->width], row, size);
	}
	rows->n = kept;
}

/* A row for each point of the rule's side. */
static bool side_rows(struct shadow *s, const struct pol_side *side, const struct winners *w, bool is_from,
		      struct rows *rows)
{
	size_t n = side_size(side);

	if (!rows_make(s, rows, n, w->n))
		return false;
	for (size_t i = 0; i < n; i++) {
		for (size_t r = 0; r < w->n; r++)
			if (pol_side_has(is_from ? &w->rule[r]->from : &w->rule[r]->to, side_point(side, i)))
				row_set(rows, i, r);
	}
	rows_unique(rows);
	return true;
}

static int order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The least selector of every piece of the rule's ports between two borders of winners; pieces can be said twice. */
static size_t cut_ports(const struct pol_rule *rule, const struct winners *w, uint32_t *cut)
{
	size_t n = 0;

	for (size_t i = 0; i < rule->n_ports; i++)
		cut[n++] = rule->port[i].first;
	for (size_t r = 0; r < w->n; r++) {
		for (size_t j = 0; j < w->rule[r]->n_ports; j++) {
			const struct pol_range *port = &w->rule[r]->port[j];

			if (pol_rule_covers(rule, port->first))
				cut[n++] = port->first;
			if (pol_rule_covers(rule, port->last + 1))
				cut[n++] = port->last + 1;
		}
	}
	qsort(cut, n, sizeof(*cut), order_u32);
	return n;
}

static bool port_rows(struct shadow *s, const struct pol_rule *rule, const struct winners *w, struct rows *rows)
{
	auto_free uint32_t *cut = NULL;
	size_t room = rule->n_ports, n;

	for (size_t r = 0; r < w->n; r++)
		room += 2 * w->rule[r]->n_ports;
	cut = calloc(room, sizeof(*cut));
	if (!cut)
		return false;
	n = cut_ports(rule, w, cut);
	if (!rows_make(s, rows, n, w->n))
		return false;
	for (size_t i = 0; i < n; i++)
		for (size_t r = 0; r < w->n; r++)
			if (pol_rule_covers(w->rule[r], cut[i]))
				row_set(rows, i, r);
	rows_unique(rows);
	return true;
}

/* Notes the first winner of a cell; false: it has none. */
static bool cell_has_winner(const uint64_t *from, const uint64_t *to, const uint64_t *port, size_t width,
			    struct winners *w)
{
	for (size_t i = 0; i < width; i++) {
		uint64_t both = from[i] & to[i] & port[i];

		if (!both)
			continue;
		w->is_used[i * 64 + (size_t)__builtin_ctzll(both)] = true;
		return true;
	}
	return false;
}

static bool cells_have_winners(struct shadow *s, const struct rows *from, const struct rows *to,
			       const struct rows *port, struct winners *w)
{
	size_t width = from->width;

	for (size_t f = 0; f < from->n; f++)
		for (size_t t = 0; t < to->n; t++)
			for (size_t p = 0; p < port->n; p++)
				if (!spend(s, width) || !cell_has_winner(&from->word[f * width], &to->word[t * width],
									 &port->word[p * width], width, w))
					return false;
	return true;
}

static bool fill(struct shadow *s, const struct pol_rule *rule, struct winners *w)
{
	auto_call(rows_fini) struct rows from = { 0 }, to = { 0 }, port = { 0 };

	return side_rows(s, &rule->from, w, true, &from) && side_rows(s, &rule->to, w, false, &to) &&
	       port_rows(s, rule, w, &port) && cells_have_winners(s, &from, &to, &port, w);
}

/* --- words ------------------------------------------------------------------------------------------------- */

static void warn(struct shadow *s, const struct pol_rule *rule, const char *why)
{
	const struct pol_rule *first = rule;
	char path[32];

	while (first > s->model->rule && first[-1].file == rule->file)
		first--;
	snprintf(path, sizeof(path), "rules[%zu]", (size_t)(rule - first));
	diags_warn(s->d, s->model->file[rule->file].name, rule->line, rule->col, path, "rule '%s' can never decide: %s",
		   rule->name, why);
}

static void warn_of_one(struct shadow *s, const struct pol_rule *rule, const struct pol_rule *winner)
{
	char why[192], where[POL_PLACE_MAX];

	snprintf(why, sizeof(why), "rule '%s' %s %s all of it%s", winner->name,
		 pol_place(s->model, rule->file, winner->file, winner->line, where),
		 winner->action == BY_ALLOW ? "allows" : "denies", winner->action == rule->action ? " already" : "");
	warn(s, rule, why);
}

static void warn_of_many(struct shadow *s, const struct pol_rule *rule, const struct winners *w)
{
	char why[1024] = "", where[POL_PLACE_MAX];
	size_t n = 0, len = 0;

	for (size_t i = 0; i < w->n; i++) {
		if (!w->is_used[i] || n++ >= 4)
			continue;
		len += (size_t)snprintf(why + len, sizeof(why) - len, "%srule '%s' %s", len ? ", " : "",
					w->rule[i]->name,
					pol_place(s->model, rule->file, w->rule[i]->file, w->rule[i]->line, where));
	}
	if (n > 4)
		len += (size_t)snprintf(why + len, sizeof(why) - len, " and %zu more", n - 4);
	snprintf(why + len, sizeof(why) - len, " win over all of it together");
	warn(s, rule, why);
}

static void look_at(struct shadow *s, size_t i, struct winners *w)
{
	const struct pol_rule *rule = &s->model->rule[i];

	w->n = 0;
	find_winners(s, i, w);
	for (size_t r = 0; r < w->n && !s->is_exhausted; r++) {
		if (!is_within(rule, w->rule[r]))
			continue;
		warn_of_one(s, rule, w->rule[r]);
		return;
	}
	memset(w->is_used, 0, s->model->n_rules * sizeof(*w->is_used));
	if (w->n > 1 && !s->is_exhausted && fill(s, rule, w))
		warn_of_many(s, rule, w);
}

static void tell_limit(const struct shadow *s, size_t n_seen)
{
	diags_warn(s->d, s->model->file[s->model->rule[0].file].name, s->model->rule[0].line, s->model->rule[0].col,
		   "rules",
		   "rules that can never decide were looked for among the first %zu of %zu only, the rest is too much",
		   n_seen, s->model->n_rules);
}

void pol_warn_rules(const struct pol_model *model, struct diags *d)
{
	auto_free const struct pol_rule **rule = calloc(model->n_rules, sizeof(*rule));
	auto_free bool *is_used = calloc(model->n_rules, sizeof(*is_used));
	struct winners w = { .rule = rule, .is_used = is_used };
	struct shadow s = { .model = model, .d = d };
	size_t i = 0;

	if (!rule || !is_used)
		return;
	if (model->n_rules > POL_WARN_RULES)
		s.is_exhausted = true;
	for (; i < model->n_rules && !s.is_exhausted; i++)
		look_at(&s, i, &w);
	if (s.is_exhausted)
		tell_limit(&s, i ? i - 1 : 0);
}
