// SPDX-License-Identifier: Apache-2.0
/*
 * For each class of peers and of ports the rules that can decide there, in the order of the ladder. Of rules without
 * `http:` a rung needs the first alone, and of those with `http:` what stands before it. Rules for any-attested are
 * listed once, under class 0.
 */
#include "gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "coat.h"
#include "fold.h"

enum rung { DENY, ALLOW, AUDIT_DENY, AUDIT_ALLOW, RUNGS };

#define ANY_CLASS 0u

struct entry {
	uint32_t peer_class, rule; /* index in the view */
	uint16_t port_class;
	uint16_t rung;
};

struct pol_gate {
	const struct pol_model *model;
	struct pol_view view;
	struct pol_ports ports;
	struct pol_peers peers;
	enum by_dir dir;
	struct entry *entry; /* sorted by peer class, port class, rung, rule */
	size_t n, room;
	bool *has_http; /* by port class */
};

void pol_gate_free(struct pol_gate *gate)
{
	if (!gate)
		return;
	pol_view_fini(&gate->view);
	pol_ports_fini(&gate->ports);
	pol_peers_fini(&gate->peers);
	free(gate->entry);
	free(gate->has_http);
	free(gate);
}

/* --- making ------------------------------------------------------------------------------------------------ */

static enum rung rung_of(const struct pol_rule *rule)
{
	if (rule->flags & BY_RULE_AUDIT)
		return rule->action == BY_DENY ? AUDIT_DENY : AUDIT_ALLOW;
	return rule->action == BY_DENY ? DENY : ALLOW;
}

static int add(struct pol_gate *g, const struct entry *entry)
{
	struct entry *grown;

	if (g->n == POL_GATE_ENTRIES)
		return -E2BIG;
	if (g->n == g->room) {
		g->room = g->room ? 2 * g->room : 64;
		grown = reallocarray(g->entry, g->room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		g->entry = grown;
	}
	g->entry[g->n++] = *entry;
	return 0;
}

/* Port classes that an earlier rule of the rung, one without `http:`, has already are left to it. */
static int list_rule(struct pol_gate *g, uint32_t peer_class, uint32_t i, struct pol_coat *coats)
{
	const struct pol_rule *rule = g->view.item[i].rule;
	enum rung rung = rung_of(rule);
	int ret = 0;

	for (size_t r = 0; r < rule->n_ports; r++) {
		struct pol_coat *coat = &coats[rung];
		uint32_t first, end;

		pol_ports_find(&g->ports, &rule->port[r], &first, &end);
		for (uint32_t c = pol_coat_bare(coat, first); !ret && c < end; c = pol_coat_bare(coat, c + 1))
			ret = add(g, &(struct entry){ peer_class, i, (uint16_t)c, (uint16_t)rung });
		if (!rule->n_http)
			pol_coat_paint(coat, first, end, i + 1);
	}
	return ret;
}

static int list_any(struct pol_gate *g, struct pol_coat *coats)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < g->view.n; i++)
		if (pol_view_has(&g->view, i, g->dir) && pol_view_side(&g->view, i, g->dir)->is_any)
			ret = list_rule(g, ANY_CLASS, i, coats);
	return ret;
}

static int list_class(struct pol_gate *g, uint32_t class, struct pol_coat *coats)
{
	uint32_t point = g->peers.sample[class];
	int ret = 0;

	for (uint32_t i = g->peers.start[point]; !ret && i < g->peers.start[point + 1]; i++)
		if (g->peers.side[i] % 2 == (uint32_t)g->dir)
			ret = list_rule(g, class, g->peers.side[i] / 2, coats);
	return ret;
}

static int order_entry(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	const uint32_t key[][2] = { { x->peer_class, y->peer_class },
				    { x->port_class, y->port_class },
				    { x->rung, y->rung },
				    { x->rule, y->rule } };

	for (size_t i = 0; i < ARRAY_LEN(key); i++)
		if (key[i][0] != key[i][1])
			return key[i][0] < key[i][1] ? -1 : 1;
	return 0;
}

static void coats_fini(struct pol_coat (*coats)[RUNGS])
{
	for (int r = 0; r < RUNGS; r++)
		pol_coat_fini(&(*coats)[r]);
}

static int list_all(struct pol_gate *g)
{
	auto_call(coats_fini) struct pol_coat coats[RUNGS] = { 0 };
	int ret = 0;

	for (int r = 0; !ret && r < RUNGS; r++)
		ret = pol_coat_init(&coats[r], g->ports.n);
	if (!ret)
		ret = list_any(g, coats);
	for (uint32_t c = POL_CLASS_OTHER + 1; !ret && c <= g->peers.n; c++) {
		for (int r = 0; r < RUNGS; r++)
			pol_coat_clean(&coats[r]);
		ret = list_class(g, c, coats);
	}
	if (g->n)
		qsort(g->entry, g->n, sizeof(*g->entry), order_entry);
	return ret;
}

static int mark_http(struct pol_gate *g)
{
	g->has_http = calloc(g->ports.n + 1, sizeof(*g->has_http));
	for (size_t i = 0; g->has_http && i < g->n; i++)
		if (g->view.item[g->entry[i].rule].rule->n_http)
			g->has_http[g->entry[i].port_class] = true;
	return g->has_http ? 0 : -ENOMEM;
}

int pol_gate_make(const struct pol_model *model, const struct pol_subject *self, enum by_dir dir,
		  struct pol_gate **gate, struct err *e)
{
	struct pol_gate *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return err_at(e, -ENOMEM, "policy", "%s", strerror(ENOMEM));
	g->model = model;
	g->dir = dir;
	ret = pol_view_of(model, pol_kind_of(model, self), false, &g->view);
	if (!ret)
		ret = pol_ports_fold(&g->view, dir, model->digest, &g->ports, e);
	if (!ret)
		ret = pol_peers_fold(&g->view, model->kinds.n, &g->peers);
	if (!ret)
		ret = list_all(g);
	if (!ret)
		ret = mark_http(g);
	if (!ret) {
		*gate = g;
		return 0;
	}
	pol_gate_free(g);
	if (ret == -E2BIG)
		return err_at(e, ret, "policy", "this node's mesh needs more than %u entries (peers, ports, rules)",
			      POL_GATE_ENTRIES);
	return err_at(e, ret, "policy", "%s", strerror(-ret));
}

/* --- asking ------------------------------------------------------------------------------------------------ */

uint32_t pol_gate_peer(const struct pol_gate *gate, const struct pol_subject *peer)
{
	return gate->peers.class_of[pol_kind_of(gate->model, peer)];
}

bool pol_gate_has_http(const struct pol_gate *gate, uint16_t port)
{
	return gate->has_http[gate->ports.class_at[BY_PORT_TCP + port]];
}

struct run {
	const struct entry *at, *end;
};

/* The first entry that is not below (peer class, port class). */
static const struct entry *entry_from(const struct pol_gate *g, uint32_t peer_class, uint32_t port_class)
{
	size_t low = 0, high = g->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct entry *m = &g->entry[mid];

		if (m->peer_class < peer_class || (m->peer_class == peer_class && m->port_class < port_class))
			low = mid + 1;
		else
			high = mid;
	}
	return g->entry + low;
}

static struct run run_of(const struct pol_gate *g, uint32_t peer_class, uint32_t port_class)
{
	if (!g->n)
		return (struct run){ NULL, NULL };
	return (struct run){ entry_from(g, peer_class, port_class), entry_from(g, peer_class, port_class + 1) };
}

static void take(const struct pol_gate *g, const struct run *run, const struct pol_request *request,
		 const struct pol_rule **first, bool *is_about_http)
{
	for (const struct entry *at = run->at; at < run->end; at++) {
		const struct pol_rule *rule = g->view.item[at->rule].rule;

		*is_about_http |= rule->n_http > 0;
		if ((!first[at->rung] || rule < first[at->rung]) && pol_http_covers(rule, request))
			first[at->rung] = rule;
	}
}

static struct pol_named named(const struct pol_gate *g, const struct pol_rule *rule)
{
	if (!rule)
		return (struct pol_named){ 0 };
	return (struct pol_named){ rule->name, g->model->file[rule->file].shown, rule->line };
}

/* The ladder of explain.c. */
static void decide(const struct pol_gate *g, const struct pol_rule *const first[RUNGS], struct pol_gate_answer *a)
{
	const struct pol_rule *rule = first[DENY], *audit = NULL;

	if (!rule && (rule = first[ALLOW]))
		audit = first[AUDIT_DENY];
	if (!rule)
		rule = audit = first[AUDIT_ALLOW];
	a->action = rule ? rule->action : BY_DENY;
	a->rule = named(g, rule);
	a->audit = named(g, audit);
	a->flags = rule ? rule->flags : 0;
}

void pol_gate_ask(const struct pol_gate *gate, uint32_t peer, uint16_t port, const char *method, const char *target,
		  struct pol_gate_answer *answer)
{
	uint32_t port_class = gate->ports.class_at[BY_PORT_TCP + port];
	const struct pol_rule *first[RUNGS] = { 0 };
	struct pol_request request;
	struct err e = ERR_INIT;
	struct run run[] = { run_of(gate, ANY_CLASS, port_class), run_of(gate, peer, port_class) };

	*answer = (struct pol_gate_answer){ 0 };
	answer->is_normal = method && target && pol_request_read(method, target, &request, &e) == 0;
	if (method && !answer->is_normal)
		snprintf(answer->why, sizeof(answer->why), "%.95s", target ? e.msg : "request has no target");
	for (size_t i = 0; i < ARRAY_LEN(run) && port_class; i++)
		take(gate, &run[i], answer->is_normal ? &request : NULL, first, &answer->is_about_http);
	decide(gate, first, answer);
}
