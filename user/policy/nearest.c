// SPDX-License-Identifier: Apache-2.0
/* What is near a default deny: the rule that was probably meant, and what keeps it from covering the flow. */
#include <string.h>

#include "base/json.h"
#include "model.h"

enum { FROM, TO };

/* The order of what keeps a rule from covering a flow, the most in the way first; below them, how many claims. */
enum { PORT_OFF = 1 << 9, CLAIM_NAMED = 1 << 7, REQUEST_OFF = 1 << 6 };

/* How far a rule's ports are from a selector. */
static uint32_t gap(const struct pol_rule *rule, uint32_t selector)
{
	uint32_t least = UINT32_MAX;

	for (size_t i = 0; i < rule->n_ports; i++) {
		uint32_t d = selector < rule->port[i].first  ? rule->port[i].first - selector
			     : selector > rule->port[i].last ? selector - rule->port[i].last
							     : 0;

		if (d < least)
			least = d;
	}
	return least;
}

/* --- claims that a side lacks ------------------------------------------------------------------------------ */

static unsigned n_unmet(const struct pol_claim *claim, const struct pol_subject *node)
{
	unsigned n = 0;

	for (int d = 0; d < POL_DIM_COUNT; d++)
		n += pol_dim_met(claim, (enum pol_dim)d, node) != POL_MET;
	return n;
}

/* What a node that an allow rule does not cover needs to be meant by an atom of it; NULL: it is another node. */
static const struct pol_claim *asked_by(const struct pol_model *model, uint32_t atom, const struct pol_kind *kind)
{
	const struct pol_claim *require = kind->app == POL_APP_OTHER ? NULL : model->app[kind->app].require;

	if (atom < model->n_apps)
		return atom == kind->app ? require : NULL;
	atom -= (uint32_t)model->n_apps;
	if (atom < model->n_instances)
		return atom == kind->instance ? require : NULL;
	return &model->claim[atom - model->n_instances];
}

/* An app or instance is meant by its name, a claim may be anybody's: the requirement of the former is nearer. */
static bool is_anybodys(const struct pol_claim *claim)
{
	return claim && claim->name;
}

static unsigned distance(const struct pol_claim *claim, const struct pol_subject *node)
{
	return n_unmet(claim, node) + (is_anybodys(claim) ? CLAIM_NAMED : 0);
}

static const struct pol_claim *nearest_claim(const struct pol_model *model, const struct pol_side *side,
					     const struct pol_asked *who)
{
	const struct pol_claim *best = NULL;
	struct pol_kind kind;

	if (who->point >= model->kinds.n)
		return NULL;
	kind = pol_kind_get(model, who->point);
	for (size_t i = 0; i < side->n_atoms; i++) {
		const struct pol_claim *claim = asked_by(model, side->atom[i], &kind);

		if (claim && (!best || distance(claim, &who->node) < distance(best, &who->node)))
			best = claim;
	}
	return best;
}

/* --- rules ------------------------------------------------------------------------------------------------- */

/* Whether the rule is about these two, or would be if they proved more. */
static bool is_about(const struct pol_model *model, const struct pol_asked who[2], struct pol_nearest *near)
{
	const struct pol_side *side[2] = { &near->rule->from, &near->rule->to };

	for (int s = FROM; s <= TO; s++) {
		if (pol_side_has(side[s], who[s].point))
			continue;
		near->unmet[s] = nearest_claim(model, side[s], &who[s]);
		if (!near->unmet[s])
			return false;
	}
	return true;
}

/* The protocols lie apart in the space, so the own comes first. */
static uint64_t rank_of(const struct pol_nearest *near, const struct pol_asked who[2], uint64_t far, bool has_request)
{
	uint64_t rank = far * PORT_OFF + (has_request ? 0 : REQUEST_OFF);

	for (int s = FROM; s <= TO; s++)
		rank += near->unmet[s] ? distance(near->unmet[s], &who[s].node) : 0;
	return rank;
}

struct pol_nearest pol_nearest(const struct pol_model *model, const struct pol_asked who[2], uint32_t selector,
			       const struct pol_request *request)
{
	struct pol_nearest best = { 0 };
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < model->n_rules; i++) {
		struct pol_nearest near = { .rule = &model->rule[i] };
		uint32_t far = gap(near.rule, selector);
		uint64_t r;

		if (near.rule->action != BY_ALLOW || far > least / PORT_OFF || !is_about(model, who, &near))
			continue;
		if (far && (is_anybodys(near.unmet[FROM]) || is_anybodys(near.unmet[TO])))
			continue;
		r = rank_of(&near, who, far, pol_http_covers(near.rule, request));
		if (r < least) {
			least = r;
			best = near;
		}
	}
	return best;
}

/* --- in words ---------------------------------------------------------------------------------------------- */

static struct pol_lack lack_of(const struct pol_claim *claim, enum pol_dim dim, const struct pol_subject *node)
{
	struct pol_lack lack = { .claim = pol_dim_key[dim] };
	struct pol_value has;
	char value[2 * sizeof(has) + 1];

	for (size_t i = 0; i < claim->dim[dim].n; i++) {
		pol_value_print(dim, &claim->dim[dim].value[i], value, sizeof(value));
		if (!pol_list_append(lack.needed, sizeof(lack.needed), value))
			break;
	}
	if (!pol_subject_get(node, dim, &has))
		return lack;
	if (pol_value_is_unnamed(dim, &has))
		strcpy(lack.has, "another");
	else
		pol_value_print(dim, &has, lack.has, sizeof(lack.has));
	return lack;
}

size_t pol_lacks(const struct pol_answer *answer, struct pol_lack lack[POL_LACKS_MAX])
{
	_Static_assert(POL_LACKS_MAX == 2 * POL_DIM_COUNT, "each claim of both sides");
	size_t n = 0;

	for (int s = FROM; s <= TO; s++) {
		const struct pol_claim *claim = answer->unmet[s];

		for (int d = 0; claim && d < POL_DIM_COUNT; d++) {
			if (pol_dim_met(claim, (enum pol_dim)d, &answer->node[s]) == POL_MET)
				continue;
			lack[n] = lack_of(claim, (enum pol_dim)d, &answer->node[s]);
			lack[n++].is_to = s == TO;
		}
	}
	return n;
}

struct json_t *pol_lacks_json(const struct pol_answer *answer)
{
	struct pol_lack lack[POL_LACKS_MAX];
	size_t n = pol_lacks(answer, lack);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?}", "side", lack[i].is_to ? "to" : "from",
						      "claim", lack[i].claim, "needed", lack[i].needed, "has",
						      lack[i].has[0] ? lack[i].has : NULL));
	return list;
}
