// SPDX-License-Identifier: Apache-2.0
/* Policy: the same files as the firewall's, asked for each request (policy/gate.h). */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/gate.h"
#include "policy/sources.h"
#include "worker.h"

DEFINE_CLEANUP(json, json_t, json_decref)

struct md_rules {
	uint64_t number; /* no two have the same: a peer remembers which one told it its classes */
	struct pol_model *model;
	struct pol_gate *in, *out;
	char self[48];
};

static int texts_read(const char *json, struct pol_sources *s, struct err *e)
{
	auto_call(cleanup_json) json_t *list = json_loads(json, JSON_ALLOW_NUL, NULL);
	const json_t *file, *text;
	size_t i;
	int ret = json_is_array(list) ? 0 : err_at(e, -EPROTO, "policy", "did not come whole");

	json_array_foreach (list, i, file) {
		text = json_object_get(file, "text");
		if (!ret)
			ret = pol_sources_add(s, json_string_value(json_object_get(file, "name")),
					      json_string_value(text), json_string_length(text), e);
	}
	return ret;
}

static void name_of(const struct md_rules *rules, const uint8_t app[BY_APP_ID_LEN], char buf[48])
{
	const char *name = pol_app_name(rules->model, app);

	if (name)
		snprintf(buf, 48, "%s", name);
	else
		hex_print(buf, app, BY_APP_ID_LEN);
}

static int make(struct md_rules *made, struct pol_sources *s, const struct pol_subject *self, char digest[65],
		struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };
	uint8_t sum[32];
	int ret = pol_sources_parse(s, false, &made->model, &d);

	if (ret < 0)
		return diags_first(&d, e) ? e->code : err_at(e, ret, "policy", "%s", strerror(-ret));
	ret = pol_sources_digest(s, sum);
	if (!ret)
		ret = pol_gate_make(made->model, self, BY_DIR_IN, &made->in, e);
	if (!ret)
		ret = pol_gate_make(made->model, self, BY_DIR_OUT, &made->out, e);
	if (ret < 0)
		return err_at(e, ret, "policy", "%s", strerror(-ret));
	hex_print(digest, sum, sizeof(sum));
	name_of(made, self->app_id, made->self);
	return 0;
}

int md_rules_new(const char *json, const struct pol_subject *self, struct md_rules **rules, char digest[65],
		 uint32_t *n_rules, struct err *e)
{
	auto_call(pol_sources_fini) struct pol_sources s = { 0 };
	struct md_rules *made = calloc(1, sizeof(*made));
	static uint64_t last;
	int ret = made ? texts_read(json, &s, e) : err_at(e, -ENOMEM, "policy", "out of memory");

	if (!ret)
		ret = make(made, &s, self, digest, e);
	if (ret < 0) {
		md_rules_free(made);
		return ret;
	}
	made->number = ++last;
	*n_rules = (uint32_t)pol_rule_count(made->model);
	*rules = made;
	return 0;
}

void md_rules_free(struct md_rules *rules)
{
	if (!rules)
		return;
	pol_gate_free(rules->in);
	pol_gate_free(rules->out);
	pol_free(rules->model);
	free(rules);
}

bool md_speaks_http(const struct md_rules *rules, uint16_t port)
{
	return rules && pol_gate_has_http(rules->out, port);
}

static void explain(const struct md_rules *rules, const struct md_peer *peer, bool is_out, uint16_t port,
		    const struct pol_gate_answer *a, struct md_decision *d)
{
	char who[48];

	name_of(rules, peer->subject.app_id, who);
	if (a->rule.name)
		snprintf(d->why, sizeof(d->why), "rule %s denies %s to %s tcp/%u", a->rule.name,
			 is_out ? rules->self : who, is_out ? who : rules->self, port);
	else
		snprintf(d->why, sizeof(d->why), "default deny: no rule from %s to %s covers %stcp/%u",
			 is_out ? rules->self : who, is_out ? who : rules->self,
			 a->is_about_http ? "this request on " : "", port);
	if (!a->is_normal && a->why[0])
		snprintf(d->why + strlen(d->why), sizeof(d->why) - strlen(d->why), " (%s)", a->why);
}

void md_decide(struct md_rules *rules, struct md_peer *peer, bool is_out, uint16_t port, const char *method,
	       const char *target, struct md_decision *d)
{
	struct pol_gate_answer a;

	*d = (struct md_decision){ .is_allowed = !rules };
	if (!rules)
		return;
	if (peer->rules != rules->number) {
		peer->in = pol_gate_peer(rules->in, &peer->subject);
		peer->out = pol_gate_peer(rules->out, &peer->subject);
		peer->rules = rules->number;
	}
	pol_gate_ask(is_out ? rules->out : rules->in, is_out ? peer->out : peer->in, port, method, target, &a);
	d->is_allowed = a.action != BY_DENY;
	d->is_audited = a.audit.name;
	d->is_about_http = a.is_about_http;
	snprintf(d->rule, sizeof(d->rule), "%s", a.rule.name ? a.rule.name : "");
	if (!d->is_allowed)
		explain(rules, peer, is_out, port, &a, d);
}
