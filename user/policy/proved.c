// SPDX-License-Identifier: Apache-2.0
/* What a node is said to prove, in questions and tests: "tcb=OutOfDate,simulated=true", or a map in YAML or JSON. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model.h"

bool pol_subject_set_map(const struct yaml_doc *doc, const struct yaml_node *map, struct pol_subject *subject,
			 struct diags *d)
{
	bool is_good = true;

	if (!yaml_known_keys(doc, map, pol_keys_claim, d))
		return false;
	for (size_t i = 0; i < map->n; i++) {
		const char *text = yaml_str(doc, map->child[i], d);
		struct err e = ERR_INIT;

		if (text && !pol_subject_set_text(subject, map->child[i]->key, text, &e))
			yaml_error(doc, map->child[i], d, "%s", e.msg);
		is_good &= text && !e.code;
	}
	return is_good;
}

bool pol_claims_are_words(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '=';
}

static bool set_words(struct pol_subject *subject, const char *claims, struct err *e)
{
	auto_free char *copy = strdup(claims);
	char *rest = NULL;

	if (!copy) {
		err_at(e, -ENOMEM, NULL, "out of memory");
		return false;
	}
	for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
		char *value = strchr(item, '=');

		if (!value) {
			err_at(e, -EINVAL, NULL, "found '%.60s', needed claims such as tcb=OutOfDate,simulated=true",
			       item);
			return false;
		}
		*value++ = '\0';
		if (!pol_subject_set_text(subject, item, value, e))
			return false;
	}
	return true;
}

int pol_claims_read(const char *file, const char *text, size_t len, struct pol_subject *subject, struct diags *d)
{
	struct yaml_doc *doc = NULL;
	bool is_good;

	if (yaml_parse(file, text, len, &doc, d) < 0)
		return -EINVAL;
	is_good = pol_subject_set_map(doc, yaml_root(doc), subject, d);
	yaml_doc_free(doc);
	return is_good ? 0 : -EINVAL;
}

bool pol_subject_parse(struct pol_subject *subject, const char *claims, struct err *e)
{
	auto_call(diags_fini) struct diags d = { 0 };

	/* Without a map's marks words were meant: what is wrong with them is said of words. */
	if (pol_claims_are_words(claims) || !strpbrk(claims, ":{"))
		return set_words(subject, claims, e);
	if (pol_claims_read("claims", claims, strlen(claims), subject, &d) == 0)
		return true;
	diags_first(&d, e);
	return false;
}
