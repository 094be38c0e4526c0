// SPDX-License-Identifier: Apache-2.0
/* A difference once it is made: joined, asked, in words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "diff.h"
#include "model.h"

static void change_fini(struct pol_change *c)
{
	free(c->from.app);
	free(c->to.app);
	free(c->port);
}

void pol_diff_fini(struct pol_diff *diff)
{
	for (size_t i = 0; i < diff->n; i++)
		change_fini(&diff->change[i]);
	free(diff->change);
	free(diff->app);
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
	if (a->has_other != b->has_other)
		return a->has_other ? 1 : -1;
	return order_bytes(a->app, a->n * sizeof(*a->app), b->app, b->n * sizeof(*b->app));
}

/* All but `from`. */
static int order_what(const void *a, const void *b)
{
	const struct pol_change *x = a, *y = b;
	int order = (x->now == BY_DENY) - (y->now == BY_DENY);

	if (!order)
		order = order_bytes(x->port, x->n_ports * sizeof(*x->port), y->port, y->n_ports * sizeof(*y->port));
	return order ? order : order_side(&x->to, &y->to);
}

static uint32_t first_of(const struct pol_diff_side *side)
{
	return side->n ? side->app[0] : UINT32_MAX;
}

/* For people: allowed first, then by the first app of each side and the first port. No two are equal. */
static int order_shown(const void *a, const void *b)
{
	const struct pol_change *x = a, *y = b;
	const uint32_t key[][2] = { { x->now == BY_DENY, y->now == BY_DENY },
				    { first_of(&x->from), first_of(&y->from) },
				    { first_of(&x->to), first_of(&y->to) },
				    { x->port[0].first, y->port[0].first } };

	for (size_t i = 0; i < ARRAY_LEN(key); i++)
		if (key[i][0] != key[i][1])
			return key[i][0] < key[i][1] ? -1 : 1;
	return order_what(a, b);
}

static int order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void side_sort(struct pol_diff_side *side)
{
	if (side->n)
		qsort(side->app, side->n, sizeof(*side->app), order_u32);
}

static int side_join(struct pol_diff_side *into, const struct pol_diff_side *from)
{
	uint32_t *grown = reallocarray(into->app, into->n + from->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	into->app = grown;
	if (from->n)
		memcpy(&into->app[into->n], from->app, from->n * sizeof(*grown));
	into->n += from->n;
	into->has_other |= from->has_other;
	return 0;
}

/* Classes of `from` for which the same has changed become one. */
int pol_diff_join(struct pol_diff *diff)
{
	size_t n = 0;
	int ret = 0;

	if (!diff->n)
		return 0;
	for (size_t i = 0; i < diff->n; i++)
		side_sort(&diff->change[i].to);
	qsort(diff->change, diff->n, sizeof(*diff->change), order_what);
	for (size_t i = 0; i < diff->n; i++) {
		if (!n || order_what(&diff->change[n - 1], &diff->change[i]) != 0) {
			diff->change[n++] = diff->change[i];
			continue;
		}
		if (side_join(&diff->change[n - 1].from, &diff->change[i].from) < 0)
			ret = -ENOMEM;
		change_fini(&diff->change[i]);
	}
	diff->n = n;
	for (size_t i = 0; i < n; i++)
		side_sort(&diff->change[i].from);
	qsort(diff->change, n, sizeof(*diff->change), order_shown);
	return ret;
}

/* --- asking ------------------------------------------------------------------------------------------------ */

static int order_id(const void *id, const void *app)
{
	return memcmp(id, ((const struct pol_diff_app *)app)->app_id, BY_APP_ID_LEN);
}

static bool side_has(const struct pol_diff *diff, const struct pol_diff_side *side, const uint8_t id[BY_APP_ID_LEN])
{
	const struct pol_diff_app *app =
		diff->n_apps ? bsearch(id, diff->app, diff->n_apps, sizeof(*app), order_id) : NULL;
	uint32_t i = app ? (uint32_t)(app - diff->app) : 0;

	if (!app)
		return side->has_other;
	return side->n && bsearch(&i, side->app, side->n, sizeof(i), order_u32);
}

const struct pol_change *pol_diff_get(const struct pol_diff *diff, const uint8_t from[BY_APP_ID_LEN],
				      const uint8_t to[BY_APP_ID_LEN], uint32_t selector)
{
	for (size_t i = 0; i < diff->n; i++) {
		const struct pol_change *c = &diff->change[i];

		for (size_t p = 0; p < c->n_ports; p++)
			if (c->port[p].first <= selector && selector <= c->port[p].last &&
			    side_has(diff, &c->from, from) && side_has(diff, &c->to, to))
				return c;
	}
	return NULL;
}

bool pol_diff_side_is_any(const struct pol_diff *diff, const struct pol_diff_side *side)
{
	return side->has_other && side->n == diff->n_apps;
}

/* --- words ------------------------------------------------------------------------------------------------- */

static void side_print(const struct pol_diff *diff, const struct pol_diff_side *side, FILE *out)
{
	if (pol_diff_side_is_any(diff, side)) {
		fputs(POL_ANY, out);
		return;
	}
	for (size_t i = 0; i < side->n; i++)
		fprintf(out, "%s%s", i ? ", " : "", diff->app[side->app[i]].label);
	if (side->has_other)
		fprintf(out, "%sany other app", side->n ? ", " : "");
}

void pol_diff_print(const struct pol_diff *diff, FILE *out)
{
	char text[256];

	for (size_t i = 0; i < diff->n; i++) {
		const struct pol_change *c = &diff->change[i];

		fputs(c->now == BY_ALLOW ? "+ " : "- ", out);
		side_print(diff, &c->from, out);
		fputs(" -> ", out);
		side_print(diff, &c->to, out);
		for (size_t p = 0; p < c->n_ports; p++) {
			pol_ranges_print(&c->port[p], 1, text, sizeof(text));
			fprintf(out, "%s%s", p ? ", " : ": ", text);
		}
		fputc('\n', out);
	}
}
