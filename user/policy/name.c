// SPDX-License-Identifier: Apache-2.0
/* What a name stands for in questions and tests. */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "model.h"
#include "near.h"

const char *pol_atom_name(const struct pol_model *model, uint32_t atom)
{
	if (atom < model->n_apps)
		return model->app[atom].name;
	atom -= (uint32_t)model->n_apps;
	return atom < model->n_instances ? model->instance[atom].name : model->claim[atom - model->n_instances].name;
}

/* A node in good standing of an app that the policy does not name, none of whose measurements the policy lists (unless
 * somebody lists ones alone). */
static void set_unnamed(struct pol_subject *s)
{
	*s = (struct pol_subject){ .tcb = POL_TCB_UP_TO_DATE,
				   .has_compose_hash = true,
				   .has_os_image_hash = true,
				   .has_mrtd = true,
				   .has_rtmr = { true, true, true, true },
				   .key_provider = "?" };
	memset(s->compose_hash, 0xff, sizeof(s->compose_hash));
	memset(s->os_image_hash, 0xff, sizeof(s->os_image_hash));
	memset(s->mrtd, 0xff, sizeof(s->mrtd));
	memset(s->rtmr, 0xff, sizeof(s->rtmr));
}

bool pol_value_is_unnamed(enum pol_dim dim, const struct pol_value *value)
{
	struct pol_subject s;
	struct pol_value unnamed;

	if (dim == POL_DIM_TCB || dim == POL_DIM_SIMULATED)
		return false;
	set_unnamed(&s);
	pol_subject_get(&s, dim, &unnamed);
	return pol_value_order(value, &unnamed) == 0;
}

void pol_subject_of_newcomer(const struct pol_model *model, struct pol_subject *s)
{
	set_unnamed(s);
	for (uint32_t n = 0; pol_app_by_id(model, s->app_id) != POL_APP_OTHER; n++)
		memcpy(s->app_id, &n, sizeof(n));
}

/* The first value of each list. */
static void satisfy(struct pol_subject *s, const struct pol_claim *claim)
{
	for (int d = 0; claim && d < POL_DIM_COUNT; d++)
		if (claim->dim[d].n)
			pol_subject_set(s, (enum pol_dim)d, &claim->dim[d].value[0]);
}

static void be_of_app(const struct pol_model *model, uint32_t app, struct pol_subject *s)
{
	memcpy(s->app_id, model->app[app].app_id, sizeof(s->app_id));
	satisfy(s, model->app[app].require);
}

void pol_subject_of_atom(const struct pol_model *model, uint32_t atom, struct pol_subject *subject)
{
	const struct pol_instance *instance;

	pol_subject_of_newcomer(model, subject);
	if (atom < model->n_apps) {
		be_of_app(model, atom, subject);
		return;
	}
	atom -= (uint32_t)model->n_apps;
	if (atom >= model->n_instances) {
		satisfy(subject, &model->claim[atom - model->n_instances]);
		return;
	}
	instance = &model->instance[atom];
	memcpy(subject->instance_id, instance->instance_id, sizeof(subject->instance_id));
	if (instance->app != POL_APP_OTHER)
		be_of_app(model, instance->app, subject);
}

int pol_name_unknown(const struct pol_model *model, const char *name, struct err *e)
{
	struct near near = NEAR_INIT(name);

	if (strcmp(name, POL_ANY) == 0)
		return err_at(e, -ENOENT, NULL,
			      "'%s' is every node; needed one: an app, an instance, a claim or 40 hex digits that no "
			      "app has",
			      name);
	for (size_t i = 0; i < model->n_names; i++)
		near_offer(&near, model->name[i].text);
	if (near.best)
		return err_at(e, -ENOENT, NULL, "unknown app '%s'; did you mean '%s'?", name, near.best);
	return err_at(
		e, -ENOENT, NULL,
		"unknown app '%s'; needed an app, an instance or a claim of the policy, or an app-id of 40 hex digits",
		name);
}

static int no_node(const struct pol_model *model, const struct pol_name *name, struct err *e)
{
	const struct pol_group *group = name->what == POL_NAME_GROUP ? &model->group[name->i] : NULL;

	if (!group)
		return err_at(e, -ENOENT, NULL,
			      "'%s' is a network and has no identity; an address can be the other side of host",
			      name->text);
	return err_at(e, -ENOENT, NULL, "'%s' is a group; needed one app, such as '%s'", name->text,
		      group->n ? pol_atom_name(model, group->atom[0]) : "web");
}

int pol_app_id(const struct pol_model *model, const char *name, uint8_t app_id[BY_APP_ID_LEN], struct err *e)
{
	const struct pol_name *found = pol_name_find(model, name);

	if (found && found->what == POL_NAME_APP)
		memcpy(app_id, model->app[found->i].app_id, BY_APP_ID_LEN);
	else if (found && found->what == POL_NAME_GROUP)
		return no_node(model, found, e);
	else if (found)
		return err_at(e, -ENOENT, NULL, "'%s' is a name for a %s; needed an app", name,
			      pol_what_text(found->what));
	else if (!hex_parse(app_id, BY_APP_ID_LEN, name))
		return pol_name_unknown(model, name, e);
	return 0;
}

int pol_subject_named(const struct pol_model *model, const char *name, const char *claims, struct pol_subject *subject,
		      struct err *e)
{
	const struct pol_name *found = pol_name_find(model, name);
	struct pol_subject s;

	pol_subject_of_newcomer(model, &s);
	if (found && (found->what == POL_NAME_GROUP || found->what == POL_NAME_NETWORK))
		return no_node(model, found, e);
	if (found)
		pol_subject_of_atom(model,
				    found->what == POL_NAME_APP        ? found->i
				    : found->what == POL_NAME_INSTANCE ? pol_atom_of_instance(model, found->i)
								       : pol_atom_of_claim(model, found->i),
				    &s);
	else if (pol_prefix_is_text(name))
		return err_at(e, -ENOENT, NULL, "'%s' has no identity; it can only be the other side of " POL_HOST,
			      name);
	else if (hex_parse(s.app_id, sizeof(s.app_id), name)) {
		uint32_t app = pol_app_by_id(model, s.app_id);

		if (app != POL_APP_OTHER)
			satisfy(&s, model->app[app].require);
	} else
		return pol_name_unknown(model, name, e);
	if (claims && !pol_subject_parse(&s, claims, e))
		return -EINVAL;
	*subject = s;
	return 0;
}
