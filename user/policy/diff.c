// SPDX-License-Identifier: Apache-2.0
/*
 * The difference of two models, exact. Apps that the same rules name as `from` are one class. For such a class the
 * rules of both policies that have it are few; they are sorted by the apps that they name as `to`, and for each such
 * app, and once for all that none of them names, the allowed ports of both policies are computed as sets and
 * subtracted. Then what has the same ports becomes one change.
 */
#include "diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model.h"

/* A rule of either policy; its number is that of the old policy's rules and then the new one's. */
struct work {
	const struct pol_model *model[2];
	struct pol_diff *diff;
	uint32_t *own[2];    /* own[m][app of the diff]: the app in model m, or POL_APP_OTHER */
	uint32_t *common[2]; /* common[m][app of model m]: the app of the diff */
	uint32_t *start,
		*name;   /* rules that name app a as from: name[start[a]] .. name[start[a + 1] - 1]; [n_apps]: other */
	uint32_t *order; /* apps, then "other"; those of one class together */
	uint32_t *any;   /* rules whose from is any-attested */
	size_t n_any, room, n_pairs;
};

/* What is at hand for one class of `from`. */
struct part {
	uint32_t *rule; /* that have the class as from */
	size_t n_rules;
	uint64_t *to; /* app of the diff << 32 | rule, for the lists among their `to`; sorted */
	size_t n_to;
	struct pol_range *allow[2], *deny[2], *net[2], *out; /* scratch, room for all their ports */
	size_t first;                                        /* the part's first change */
};

static void work_fini(struct work *w)
{
	for (int m = 0; m < 2; m++) {
		free(w->own[m]);
		free(w->common[m]);
	}
	free(w->start);
	free(w->name);
	free(w->order);
	free(w->any);
}

static void part_fini(struct part *p)
{
	for (int m = 0; m < 2; m++) {
		free(p->allow[m]);
		free(p->deny[m]);
		free(p->net[m]);
	}
	free(p->out);
	free(p->rule);
	free(p->to);
}

static int model_of(const struct work *w, uint32_t rule)
{
	return rule >= w->model[0]->n_rules;
}

static const struct pol_rule *rule_of(const struct work *w, uint32_t rule)
{
	size_t n_old = w->model[0]->n_rules;

	return rule < n_old ? &w->model[0]->rule[rule] : &w->model[1]->rule[rule - n_old];
}

static size_t rules_of_both(const struct work *w)
{
	return w->model[0]->n_rules + w->model[1]->n_rules;
}

static void *room_for(size_t n, size_t size)
{
	return calloc(n ? n : 1, size);
}

/* --- apps of both ------------------------------------------------------------------------------------------ */

static void add_app(struct work *w, int m, uint32_t app)
{
	struct pol_diff_app *a = &w->diff->app[w->diff->n_apps];

	memcpy(a->app_id, w->model[m]->app[app].app_id, sizeof(a->app_id));
	snprintf(a->label, sizeof(a->label), "%s", w->model[m]->app[app].name);
	for (int i = 0; i < 2; i++) {
		uint32_t own = pol_app_by_id(w->model[i], a->app_id);

		w->own[i][w->diff->n_apps] = own;
		if (own != POL_APP_OTHER)
			w->common[i][own] = (uint32_t)w->diff->n_apps;
	}
	w->diff->n_apps++;
}

/* Both lists of apps are walked by rising app-id; the new policy's name is taken where both have the app. */
static void join_apps(struct work *w)
{
	const struct pol_model *old = w->model[0], *new = w->model[1];
	size_t i = 0, j = 0;

	while (i < old->n_apps || j < new->n_apps) {
		int order = i == old->n_apps   ? 1
			    : j == new->n_apps ? -1
					       : memcmp(old->app[old->by_id[i]].app_id, new->app[new->by_id[j]].app_id,
							BY_APP_ID_LEN);

		if (order < 0)
			add_app(w, 0, old->by_id[i]);
		else
			add_app(w, 1, new->by_id[j]);
		i += order <= 0;
		j += order >= 0;
	}
}

/* A name that has another app-id now stands for two apps here: both show which they are. */
static void tell_namesakes_apart(struct work *w)
{
	for (uint32_t a = 0; a < w->diff->n_apps; a++) {
		struct pol_diff_app *app = &w->diff->app[a];
		int m = w->own[1][a] != POL_APP_OTHER;
		const char *name = w->model[m]->app[w->own[m][a]].name;
		uint32_t namesake;
		size_t len = strlen(app->label);

		if (!pol_app_by_name(w->model[!m], name, &namesake) || w->common[!m][namesake] == a)
			continue;
		snprintf(app->label + len, sizeof(app->label) - len, "[%02x%02x%02x%02x]", app->app_id[0],
			 app->app_id[1], app->app_id[2], app->app_id[3]);
	}
}

static int make_apps(struct work *w)
{
	size_t n = w->model[0]->n_apps + w->model[1]->n_apps;

	w->diff->app = room_for(n, sizeof(*w->diff->app));
	for (int m = 0; m < 2; m++) {
		w->own[m] = room_for(n, sizeof(*w->own[m]));
		w->common[m] = room_for(w->model[m]->n_apps, sizeof(*w->common[m]));
	}
	if (!w->diff->app || !w->own[0] || !w->own[1] || !w->common[0] || !w->common[1])
		return -ENOMEM;
	join_apps(w);
	tell_namesakes_apart(w);
	return 0;
}

/* --- classes of from --------------------------------------------------------------------------------------- */

/* With name NULL it counts. */
static void walk_from(const struct work *w, uint32_t *next, uint32_t *name)
{
	for (uint32_t r = 0; r < rules_of_both(w); r++) {
		const struct pol_side *side = &rule_of(w, r)->from;

		for (size_t i = 0; !side->is_any && i < side->n; i++) {
			uint32_t app = w->common[model_of(w, r)][side->app[i]];

			if (name)
				name[next[app]] = r;
			next[app]++;
		}
	}
}

static int compare_from(const struct work *w, uint32_t a, uint32_t b)
{
	uint32_t n_a = w->start[a + 1] - w->start[a], n_b = w->start[b + 1] - w->start[b];

	if (n_a != n_b)
		return n_a < n_b ? -1 : 1;
	return memcmp(&w->name[w->start[a]], &w->name[w->start[b]], n_a * sizeof(*w->name));
}

static int order_from(const void *a, const void *b, void *arg)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int order = compare_from(arg, x, y);

	return order ? order : (x > y) - (x < y);
}

static int make_classes(struct work *w)
{
	uint32_t n = (uint32_t)w->diff->n_apps;
	auto_free uint32_t *next = calloc(n + 1, sizeof(*next));

	w->start = calloc(n + 2, sizeof(*w->start));
	w->order = calloc(n + 1, sizeof(*w->order));
	if (!next || !w->start || !w->order)
		return -ENOMEM;
	walk_from(w, next, NULL);
	for (uint32_t a = 0; a <= n; a++) {
		w->order[a] = a;
		w->start[a + 1] = w->start[a] + next[a];
	}
	w->name = room_for(w->start[n + 1], sizeof(*w->name));
	if (!w->name)
		return -ENOMEM;
	memcpy(next, w->start, (n + 1) * sizeof(*next));
	walk_from(w, next, w->name);
	qsort_r(w->order, n + 1, sizeof(*w->order), order_from, w);
	return 0;
}

/* --- ports ------------------------------------------------------------------------------------------------- */

/* a without b; room for n_a + n_b */
static size_t subtract(const struct pol_range *a, size_t n_a, const struct pol_range *b, size_t n_b,
		       struct pol_range *out)
{
	size_t j = 0, n = 0;

	for (size_t i = 0; i < n_a; i++) {
		uint32_t first = a[i].first;

		while (j < n_b && b[j].last < first)
			j++;
		for (size_t k = j; k < n_b && b[k].first <= a[i].last && first <= a[i].last; k++) {
			if (b[k].first > first)
				out[n++] = (struct pol_range){ first, b[k].first - 1 };
			first = b[k].last + 1;
		}
		if (first <= a[i].last)
			out[n++] = (struct pol_range){ first, a[i].last };
	}
	return n;
}

struct fill {
	size_t n_allow[2], n_deny[2];
};

static void take_ports(const struct work *w, struct part *p, uint32_t r, struct fill *f)
{
	const struct pol_rule *rule = rule_of(w, r);
	int m = model_of(w, r);
	struct pol_range *into = rule->action == BY_DENY ? p->deny[m] : p->allow[m];
	size_t *n = rule->action == BY_DENY ? &f->n_deny[m] : &f->n_allow[m];

	memcpy(&into[*n], rule->port, rule->n_ports * sizeof(*into));
	*n += rule->n_ports;
}

/* What both policies allow to an app that those rules name (to[0..n-1]) and that any-attested has as well. */
static void net_ports(const struct work *w, struct part *p, const uint64_t *to, size_t n, size_t n_net[2])
{
	struct fill f = { 0 };

	for (size_t i = 0; i < n; i++)
		take_ports(w, p, (uint32_t)to[i], &f);
	for (size_t i = 0; i < p->n_rules; i++)
		if (rule_of(w, p->rule[i])->to.is_any)
			take_ports(w, p, p->rule[i], &f);
	for (int m = 0; m < 2; m++) {
		pol_range_merge(p->allow[m], &f.n_allow[m]);
		pol_range_merge(p->deny[m], &f.n_deny[m]);
		n_net[m] = subtract(p->allow[m], f.n_allow[m], p->deny[m], f.n_deny[m], p->net[m]);
	}
}

/* --- changes ----------------------------------------------------------------------------------------------- */

static bool same_ports(const struct pol_change *a, const struct pol_range *port, size_t n)
{
	return a->n_ports == n && memcmp(a->port, port, n * sizeof(*port)) == 0;
}

static struct pol_change *new_change(struct work *w, enum by_action now, const struct pol_range *port, size_t n)
{
	struct pol_diff *diff = w->diff;
	struct pol_change *c = NULL;

	if (diff->n == w->room) {
		size_t room = w->room ? 2 * w->room : 16;

		c = reallocarray(diff->change, room, sizeof(*c));
		if (!c)
			return NULL;
		diff->change = c;
		w->room = room;
	}
	c = &diff->change[diff->n];
	*c = (struct pol_change){ .now = now, .port = room_for(n, sizeof(*port)), .n_ports = n };
	if (!c->port)
		return NULL;
	memcpy(c->port, port, n * sizeof(*port));
	diff->n++;
	return c;
}

/* The part's change of these ports, made when there is none. */
static struct pol_change *change_of(struct work *w, const struct part *p, enum by_action now, size_t n)
{
	for (size_t i = p->first; i < w->diff->n; i++)
		if (w->diff->change[i].now == now && same_ports(&w->diff->change[i], p->out, n))
			return &w->diff->change[i];
	return new_change(w, now, p->out, n);
}

static int side_add(struct work *w, struct pol_diff_side *side, uint32_t app)
{
	uint32_t *grown;

	if (++w->n_pairs > POL_DIFF_PAIRS)
		return -E2BIG;
	if (app == w->diff->n_apps) {
		side->has_other = true;
		return 0;
	}
	if (!(side->n & (side->n - 1))) { /* room is the next power of two */
		grown = reallocarray(side->app, side->n ? 2 * side->n : 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		side->app = grown;
	}
	side->app[side->n++] = app;
	return 0;
}

/* Notes for some apps of `to` what has come and what has gone. */
static int note(struct work *w, struct part *p, const size_t n_net[2], const uint32_t *app, size_t n_apps)
{
	for (int m = 1; m >= 0; m--) {
		size_t n = subtract(p->net[m], n_net[m], p->net[!m], n_net[!m], p->out);
		struct pol_change *change = n ? change_of(w, p, m ? BY_ALLOW : BY_DENY, n) : NULL;
		int ret = n && !change ? -ENOMEM : 0;

		for (size_t i = 0; change && !ret && i < n_apps; i++)
			ret = side_add(w, &change->to, app[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static int note_named(struct work *w, struct part *p)
{
	size_t n_net[2];

	for (size_t i = 0, end; i < p->n_to; i = end) {
		uint32_t app = (uint32_t)(p->to[i] >> 32);
		int ret;

		for (end = i; end < p->n_to && p->to[end] >> 32 == app;)
			end++;
		net_ports(w, p, &p->to[i], end - i, n_net);
		ret = note(w, p, n_net, &app, 1);
		if (ret)
			return ret;
	}
	return 0;
}

/* All apps that no list of these rules names, "other" among them. */
static size_t find_rest(const struct work *w, const struct part *p, uint32_t *rest)
{
	size_t n = 0, at = 0;

	for (uint32_t a = 0; a <= w->diff->n_apps; a++) {
		while (at < p->n_to && p->to[at] >> 32 < a)
			at++;
		if (at == p->n_to || p->to[at] >> 32 != a)
			rest[n++] = a;
	}
	return n;
}

static int note_rest(struct work *w, struct part *p)
{
	auto_free uint32_t *rest = NULL;
	size_t n_net[2];

	net_ports(w, p, NULL, 0, n_net);
	if (n_net[0] == n_net[1] && memcmp(p->net[0], p->net[1], n_net[0] * sizeof(*p->out)) == 0)
		return 0;
	rest = calloc(w->diff->n_apps + 1, sizeof(*rest));
	return rest ? note(w, p, n_net, rest, find_rest(w, p, rest)) : -ENOMEM;
}

/* --- one class of from ------------------------------------------------------------------------------------- */

static int order_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int find_any(struct work *w)
{
	w->any = room_for(rules_of_both(w), sizeof(*w->any));
	if (!w->any)
		return -ENOMEM;
	for (uint32_t r = 0; r < rules_of_both(w); r++)
		if (rule_of(w, r)->from.is_any)
			w->any[w->n_any++] = r;
	return 0;
}

static int find_rules(const struct work *w, uint32_t from, struct part *p)
{
	uint32_t n = w->start[from + 1] - w->start[from];

	p->n_rules = n + w->n_any;
	p->rule = room_for(p->n_rules, sizeof(*p->rule));
	if (!p->rule)
		return -ENOMEM;
	memcpy(p->rule, &w->name[w->start[from]], n * sizeof(*p->rule));
	memcpy(p->rule + n, w->any, w->n_any * sizeof(*p->rule));
	return 0;
}

static int find_to(const struct work *w, struct part *p)
{
	size_t room = 0;

	for (size_t i = 0; i < p->n_rules; i++)
		room += rule_of(w, p->rule[i])->to.n;
	p->to = room_for(room, sizeof(*p->to));
	if (!p->to)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct pol_side *to = &rule_of(w, p->rule[i])->to;

		for (size_t j = 0; j < to->n; j++)
			p->to[p->n_to++] = (uint64_t)w->common[model_of(w, p->rule[i])][to->app[j]] << 32 | p->rule[i];
	}
	qsort(p->to, p->n_to, sizeof(*p->to), order_u64);
	return 0;
}

static int make_scratch(const struct work *w, struct part *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_rules; i++)
		n += rule_of(w, p->rule[i])->n_ports;
	for (int m = 0; m < 2; m++) {
		p->allow[m] = room_for(n, sizeof(*p->out));
		p->deny[m] = room_for(n, sizeof(*p->out));
		p->net[m] = room_for(n, sizeof(*p->out));
		if (!p->allow[m] || !p->deny[m] || !p->net[m])
			return -ENOMEM;
	}
	p->out = room_for(2 * n, sizeof(*p->out));
	return p->out ? 0 : -ENOMEM;
}

/* The class's apps are order[0..n-1]. */
static int compare_class(struct work *w, const uint32_t *apps, size_t n)
{
	auto_call(part_fini) struct part p = { .first = w->diff->n };
	int ret = find_rules(w, apps[0], &p);

	if (!ret)
		ret = find_to(w, &p);
	if (!ret)
		ret = make_scratch(w, &p);
	if (!ret)
		ret = note_named(w, &p);
	if (!ret)
		ret = note_rest(w, &p);
	for (size_t c = p.first; !ret && c < w->diff->n; c++)
		for (size_t i = 0; !ret && i < n; i++)
			ret = side_add(w, &w->diff->change[c].from, apps[i]);
	return ret;
}

static int compare_all(struct work *w)
{
	size_t n = w->diff->n_apps + 1;
	int ret = 0;

	for (size_t i = 0, end; !ret && i < n; i = end) {
		for (end = i + 1; end < n && compare_from(w, w->order[i], w->order[end]) == 0;)
			end++;
		ret = compare_class(w, &w->order[i], end - i);
	}
	return ret;
}

int pol_diff_make(const struct pol_model *old, const struct pol_model *new, struct pol_diff *diff, struct err *e)
{
	struct pol_diff made = { 0 };
	auto_call(work_fini) struct work w = { .model = { old, new }, .diff = &made };
	int ret = make_apps(&w);

	if (!ret)
		ret = make_classes(&w);
	if (!ret)
		ret = find_any(&w);
	if (!ret)
		ret = compare_all(&w);
	if (!ret)
		ret = pol_diff_join(&made);
	if (!ret) {
		*diff = made;
		return 0;
	}
	pol_diff_fini(&made);
	return ret == -E2BIG ? err_at(e, ret, NULL, "more than %u pairs of apps differ", POL_DIFF_PAIRS)
			     : err_at(e, ret, NULL, "%s", strerror(-ret));
}
