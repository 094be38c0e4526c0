// SPDX-License-Identifier: Apache-2.0
/* A difference once it is made: joined, asked, in words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "diff.h"
#include "diff_boxes.h"
#include "model.h"

static void change_fini(struct pol_change *c)
{
	free(c->from.point);
	free(c->to.point);
	free(c->port);
}

void pol_diff_fini(struct pol_diff *diff)
{
	for (size_t i = 0; i < diff->n_changes; i++)
		change_fini(&diff->change[i]);
	free(diff->change);
	free(diff->rule);
	pol_diff_points_fini(diff);
	*diff = (struct pol_diff){ 0 };
}

/* --- joining ----------------------------------------------------------------------------------------------- */

static int order_bytes(const void *a, size_t n_a, const void *b, size_t n_b)
{
	if (n_a != n_b)
		return n_a < n_b ? -1 : 1;
	return n_a ? memcmp(a, b, n_a) : 0;
}

static int order_side(const struct pol_diff_side *a, const struct pol_diff_side *b)
{
	return order_bytes(a->point, a->n * sizeof(*a->point), b->point, b->n * sizeof(*b->point));
}

/* All but `from`, of which only nodes or networks counts. */
static int order_what(const void *a, const void *b, void *diff)
{
	const struct pol_change *x = a, *y = b;
	int order = x->is_http - y->is_http;

	if (!order)
		order = (x->now == BY_DENY) - (y->now == BY_DENY);
	if (!order)
		order = pol_diff_side_is_net(diff, &x->from) - pol_diff_side_is_net(diff, &y->from);
	if (!order)
		order = order_bytes(x->port, x->n_ports * sizeof(*x->port), y->port, y->n_ports * sizeof(*y->port));
	return order ? order : order_side(&x->to, &y->to);
}

static uint32_t first_of(const struct pol_diff_side *side)
{
	return side->n ? side->point[0] : UINT32_MAX;
}

/* For people: allowed first, then by the first point of each side and the first port. No two are equal. */
static int order_shown(const void *a, const void *b, void *diff)
{
	const struct pol_change *x = a, *y = b;
	const uint32_t key[][2] = { { x->is_http, y->is_http },
				    { x->now == BY_DENY, y->now == BY_DENY },
				    { first_of(&x->from), first_of(&y->from) },
				    { first_of(&x->to), first_of(&y->to) },
				    { x->port[0].first, y->port[0].first } };

	for (size_t i = 0; i < ARRAY_LEN(key); i++)
		if (key[i][0] != key[i][1])
			return key[i][0] < key[i][1] ? -1 : 1;
	return order_what(a, b, diff);
}

static int order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void side_sort(struct pol_diff_side *side)
{
	if (side->n)
		qsort(side->point, side->n, sizeof(*side->point), order_u32);
}

static int side_join(struct pol_diff_side *into, const struct pol_diff_side *from)
{
	uint32_t *grown = reallocarray(into->point, into->n + from->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	into->point = grown;
	if (from->n)
		memcpy(&into->point[into->n], from->point, from->n * sizeof(*grown));
	into->n += from->n;
	return 0;
}

/* Classes of `from` for which the same has changed become one. */
int pol_diff_join(struct pol_diff *diff)
{
	struct pol_change *c = diff->change;
	size_t n = 0;
	int ret = 0;

	if (!diff->n_changes)
		return 0;
	for (size_t i = 0; i < diff->n_changes; i++)
		side_sort(&c[i].to);
	qsort_r(c, diff->n_changes, sizeof(*c), order_what, diff);
	for (size_t i = 0; i < diff->n_changes; i++) {
		if (!n || order_what(&c[n - 1], &c[i], diff) != 0) {
			c[n++] = c[i];
			continue;
		}
		if (side_join(&c[n - 1].from, &c[i].from) < 0)
			ret = -ENOMEM;
		change_fini(&c[i]);
	}
	diff->n_changes = n;
	for (size_t i = 0; i < n; i++)
		side_sort(&c[i].from);
	qsort_r(c, n, sizeof(*c), order_shown, diff);
	return ret;
}

/* --- asking ------------------------------------------------------------------------------------------------ */

/* Points that are the same one in both policies are in the same changes, so any of them will do. */
static bool side_has(const struct pol_diff *diff, const struct pol_diff_side *side, const uint32_t own[2])
{
	for (size_t i = 0; i < side->n; i++)
		if (memcmp(diff->point[side->point[i]].own, own, sizeof(diff->point[0].own)) == 0)
			return true;
	return false;
}

const struct pol_change *pol_diff_get(const struct pol_diff *diff, const uint32_t from[2], const uint32_t to[2],
				      uint32_t selector)
{
	for (size_t i = 0; i < diff->n_changes; i++) {
		const struct pol_change *c = &diff->change[i];

		for (size_t p = 0; !c->is_http && p < c->n_ports; p++)
			if (c->port[p].first <= selector && selector <= c->port[p].last &&
			    side_has(diff, &c->from, from) && side_has(diff, &c->to, to))
				return c;
	}
	return NULL;
}

bool pol_diff_side_is_net(const struct pol_diff *diff, const struct pol_diff_side *side)
{
	return side->n && side->point[0] >= diff->n_kinds;
}

bool pol_diff_side_is_any(const struct pol_diff *diff, const struct pol_diff_side *side)
{
	return side->n == (pol_diff_side_is_net(diff, side) ? diff->cells.n : diff->n_kinds);
}

/* --- words ------------------------------------------------------------------------------------------------- */

struct walk {
	const struct pol_diff *diff;
	const struct pol_diff_side *side;
	void (*take)(void *arg, const char *text, const struct pol_diff_app *app);
	void *arg;
};

static bool has(const struct walk *w, uint32_t point)
{
	return bsearch(&point, w->side->point, w->side->n, sizeof(point), order_u32) != NULL;
}

static bool place_has(const struct walk *w, const struct pol_diff_app *app, uint32_t place, uint32_t box)
{
	return has(w, app->first + place * app->n_boxes + box);
}

/* Every place of the app has the box in the side. */
static bool is_common(const struct walk *w, const struct pol_diff_app *app, uint32_t box)
{
	for (uint32_t place = 0; place < app->n_places; place++)
		if (!place_has(w, app, place, box))
			return false;
	return true;
}

#define ALL_PLACES UINT32_MAX

struct kind {
	const struct walk *w;
	const struct pol_diff_app *app;
	uint32_t place;
};

static void tell_kind(void *arg, const char *claims)
{
	const struct kind *k = arg;
	const char *name = NULL;
	char text[4096];
	int n;

	if (k->place != ALL_PLACES)
		name = k->place ? k->w->diff->instance[k->app->instance[k->place]].name : "other";
	n = snprintf(text, sizeof(text), "%s%s%s", k->app->label, name ? "#" : "", name ? name : "");
	if (claims[0])
		snprintf(text + n, sizeof(text) - (size_t)n, "{%s}", claims);
	k->w->take(k->w->arg, text, k->app);
}

/* The boxes of a place that not all places have, or those that all have. */
static int walk_boxes(const struct walk *w, const struct pol_diff_app *app, uint32_t place)
{
	auto_free uint32_t *box = calloc(app->n_boxes, sizeof(*box));
	struct kind kind = { w, app, place };
	size_t n = 0;

	if (!box)
		return -ENOMEM;
	for (uint32_t b = 0; b < app->n_boxes; b++)
		if (place == ALL_PLACES ? is_common(w, app, b) : place_has(w, app, place, b) && !is_common(w, app, b))
			box[n++] = b;
	return pol_diff_boxes_tell(app->boxes, box, n, tell_kind, &kind);
}

static int walk_app(const struct walk *w, const struct pol_diff_app *app)
{
	uint32_t n_points = app->n_places * app->n_boxes, n = 0;
	int ret = walk_boxes(w, app, ALL_PLACES);

	for (uint32_t p = 0; p < n_points; p++)
		n += has(w, app->first + p);
	for (uint32_t place = 0; !ret && n < n_points && place < app->n_places; place++)
		ret = walk_boxes(w, app, place);
	return ret;
}

static bool has_all_within(const struct walk *w, size_t cell)
{
	const struct pol_cells *cells = &w->diff->cells;

	for (size_t c = cell; c < cells->n; c++)
		if (pol_prefix_has(&cells->prefix[cell], &cells->prefix[c]) &&
		    !has(w, (uint32_t)(w->diff->n_kinds + c)))
			return false;
	return true;
}

/* A prefix with all that is in it, or what is left of it. */
static void walk_nets(const struct walk *w)
{
	const struct pol_cells *cells = &w->diff->cells;
	const struct pol_prefix *told = NULL;
	char prefix[64], text[80];

	for (size_t i = 0; i < w->side->n; i++) {
		size_t cell = w->side->point[i] - w->diff->n_kinds;
		const struct pol_prefix *p = &cells->prefix[cell];
		bool is_whole = has_all_within(w, cell);

		if (told && pol_prefix_has(told, p))
			continue;
		pol_prefix_print(p, prefix, sizeof(prefix));
		snprintf(text, sizeof(text), "%s%s", is_whole ? "" : "rest of ", prefix);
		w->take(w->arg, text, NULL);
		if (is_whole)
			told = p;
	}
}

int pol_diff_side_walk(const struct pol_diff *diff, const struct pol_diff_side *side,
		       void (*take)(void *arg, const char *text, const struct pol_diff_app *app), void *arg)
{
	struct walk w = { .diff = diff, .side = side, .take = take, .arg = arg };
	int ret = 0;

	if (pol_diff_side_is_net(diff, side)) {
		walk_nets(&w);
		return 0;
	}
	for (size_t i = 0; !ret && i < side->n;) {
		const struct pol_diff_app *app = &diff->app[diff->point[side->point[i]].app];

		ret = walk_app(&w, app);
		while (i < side->n && side->point[i] < app->first + app->n_places * app->n_boxes)
			i++;
	}
	return ret;
}

struct printer {
	FILE *out;
	const char *comma;
};

static void print_one(void *arg, const char *text, const struct pol_diff_app *app)
{
	struct printer *p = arg;

	(void)app;
	fprintf(p->out, "%s%s", p->comma, text);
	p->comma = ", ";
}

static int side_print(const struct pol_diff *diff, const struct pol_diff_side *side, const struct pol_diff_side *other,
		      FILE *out)
{
	bool is_net = pol_diff_side_is_net(diff, side), is_host = pol_diff_side_is_net(diff, other);
	struct printer p = { .out = out, .comma = is_host ? POL_HOST " on " : "" };

	if (!pol_diff_side_is_any(diff, side))
		return pol_diff_side_walk(diff, side, print_one, &p);
	fputs(is_net ? POL_WORLD : is_host ? POL_HOST : POL_ANY, out);
	return 0;
}

static void rule_print(const struct pol_diff_rule *r, FILE *out)
{
	fprintf(out, "~ rule %s (%s:%u) is %s: %s HTTP %s\n", r->rule.name, r->rule.file, r->rule.line,
		r->is_new ? "new" : "gone", r->action == BY_ALLOW ? "allows" : "denies", r->http);
}

int pol_diff_print(const struct pol_diff *diff, FILE *out)
{
	char text[256];
	int ret = 0;

	for (size_t i = 0; !ret && i < diff->n_changes; i++) {
		const struct pol_change *c = &diff->change[i];

		fputs(c->now == BY_ALLOW ? "+ " : "- ", out);
		ret = side_print(diff, &c->from, &c->to, out);
		fputs(" -> ", out);
		if (!ret)
			ret = side_print(diff, &c->to, &c->from, out);
		for (size_t p = 0; p < c->n_ports; p++) {
			pol_ranges_print(&c->port[p], 1, text, sizeof(text));
			fprintf(out, "%s%s", p ? ", " : ": ", text);
		}
		fputs(c->is_http ? ", some HTTP requests\n" : "\n", out);
	}
	for (size_t i = 0; !ret && i < diff->n_rules; i++)
		rule_print(&diff->rule[i], out);
	return ret;
}
