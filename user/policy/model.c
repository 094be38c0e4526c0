// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "near.h"

static void rule_fini(struct pol_rule *rule)
{
	free(rule->name);
	free(rule->from.point);
	free(rule->from.atom);
	free(rule->to.point);
	free(rule->to.atom);
	free(rule->port);
	for (size_t i = 0; i < rule->n_http; i++)
		pol_http_fini(&rule->http[i]);
	free(rule->http);
}

static void end_fini(struct pol_end *end)
{
	free(end->name);
	free(end->point);
	free(end->atom);
}

static void require_free(struct pol_claim *require)
{
	if (require)
		pol_claim_fini(require);
	free(require);
}

static void names_fini(struct pol_model *model)
{
	for (size_t i = 0; i < model->n_apps; i++) {
		free(model->app[i].name);
		require_free(model->app[i].require);
	}
	for (size_t i = 0; i < model->n_instances; i++)
		free(model->instance[i].name);
	for (size_t i = 0; i < model->n_claims; i++)
		pol_claim_fini(&model->claim[i]);
	for (size_t i = 0; i < model->n_networks; i++) {
		free(model->network[i].name);
		free(model->network[i].prefix);
	}
	for (size_t i = 0; i < model->n_groups; i++) {
		free(model->group[i].name);
		free(model->group[i].atom);
	}
	for (size_t i = 0; i < model->n_port_sets; i++) {
		free(model->port_set[i].name);
		free(model->port_set[i].port);
	}
	free(model->app);
	free(model->by_id);
	free(model->instance);
	free(model->claim);
	free(model->network);
	free(model->group);
	free(model->name);
	free(model->port_set);
}

void pol_free(struct pol_model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->n_rules; i++)
		rule_fini(&model->rule[i]);
	for (size_t i = 0; i < model->n_tests; i++) {
		end_fini(&model->test[i].from);
		end_fini(&model->test[i].to);
		free(model->test[i].http);
	}
	pol_kinds_fini(&model->kinds); /* looks at the apps */
	names_fini(model);
	free(model->cells.prefix);
	free(model->rule);
	free(model->test);
	for (size_t i = 0; i < model->n_files; i++)
		free(model->file[i].name);
	free(model->file);
	free(model);
}

size_t pol_rule_count(const struct pol_model *model)
{
	return model->n_rules;
}

size_t pol_app_count(const struct pol_model *model)
{
	return model->n_apps;
}

/* Equal ids are an error of the policy; file order makes the message about it the same each time. */
static int order_id(const void *a, const void *b, void *arg)
{
	const struct pol_model *model = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = memcmp(model->app[i].app_id, model->app[j].app_id, BY_APP_ID_LEN);

	return order ? order : (i > j) - (i < j);
}

void pol_apps_index(struct pol_model *model)
{
	for (uint32_t i = 0; i < model->n_apps; i++)
		model->by_id[i] = i;
	if (model->n_apps)
		qsort_r(model->by_id, model->n_apps, sizeof(*model->by_id), order_id, model);
}

static int text_of_name(const void *text, const void *name)
{
	return strcmp(text, ((const struct pol_name *)name)->text);
}

const struct pol_name *pol_name_find(const struct pol_model *model, const char *name)
{
	return model->n_names ? bsearch(name, model->name, model->n_names, sizeof(*model->name), text_of_name) : NULL;
}

const struct pol_group *pol_group_by_name(const struct pol_model *model, const char *name)
{
	const struct pol_name *found = pol_name_find(model, name);

	return found && found->what == POL_NAME_GROUP ? &model->group[found->i] : NULL;
}

const char *pol_what_text(enum pol_what what)
{
	static const char *const text[] = { [POL_NAME_APP] = "app",
					    [POL_NAME_INSTANCE] = "instance",
					    [POL_NAME_CLAIM] = "claim",
					    [POL_NAME_NETWORK] = "network",
					    [POL_NAME_GROUP] = "group" };

	return text[what];
}

uint32_t pol_app_by_id(const struct pol_model *model, const uint8_t app_id[BY_APP_ID_LEN])
{
	size_t low = 0, high = model->n_apps;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = memcmp(app_id, model->app[model->by_id[mid]].app_id, BY_APP_ID_LEN);

		if (order == 0)
			return model->by_id[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return POL_APP_OTHER;
}

const char *pol_app_name(const struct pol_model *model, const uint8_t app_id[BY_APP_ID_LEN])
{
	uint32_t app = pol_app_by_id(model, app_id);

	return app == POL_APP_OTHER ? NULL : model->app[app].name;
}

static int name_of_set(const void *name, const void *set)
{
	return strcmp(name, ((const struct pol_port_set *)set)->name);
}

const struct pol_port_set *pol_port_set_by_name(const struct pol_model *model, const char *name)
{
	if (!model->n_port_sets)
		return NULL;
	return bsearch(name, model->port_set, model->n_port_sets, sizeof(*model->port_set), name_of_set);
}

bool pol_side_has(const struct pol_side *side, uint32_t point)
{
	size_t low = 0, high = side->n;

	if (side->is_any)
		return side->first <= point && point < side->end;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (side->point[mid] == point)
			return true;
		if (side->point[mid] < point)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

bool pol_has_host_rules(const struct pol_model *model)
{
	for (size_t i = 0; i < model->n_rules; i++)
		if (model->rule[i].is_host)
			return true;
	return false;
}

bool pol_rule_covers(const struct pol_rule *rule, uint32_t selector)
{
	size_t low = 0, high = rule->n_ports;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (rule->port[mid].last < selector)
			low = mid + 1;
		else
			high = mid;
	}
	return low < rule->n_ports && rule->port[low].first <= selector;
}

/* Whether another file's name ends in this, too. */
static bool is_shared(const struct pol_model *model, size_t i, const char *end)
{
	size_t len = strlen(end);

	for (size_t j = 0; j < model->n_files; j++) {
		const char *name = model->file[j].name;
		size_t n = strlen(name);

		if (j != i && n >= len && strcmp(name + n - len, end) == 0 && (n == len || name[n - len - 1] == '/'))
			return true;
	}
	return false;
}

static const char *shown_of(const struct pol_model *model, size_t i)
{
	const char *name = model->file[i].name, *at = strrchr(name, '/');

	at = at ? at + 1 : name;
	while (at > name && is_shared(model, i, at))
		for (at--; at > name && at[-1] != '/';)
			at--;
	return at;
}

int pol_model_name_files(struct pol_model *model, const struct pol_text *text, size_t n)
{
	model->file = calloc(n, sizeof(*model->file));
	for (size_t i = 0; model->file && i < n; i++, model->n_files++)
		if (!(model->file[i].name = strdup(text[i].name)))
			return -ENOMEM;
	for (size_t i = 0; i < model->n_files; i++)
		model->file[i].shown = shown_of(model, i);
	return model->file ? 0 : -ENOMEM;
}

/* A long name is cut, one of several parts in front; the line never is. */
static void print_place(const struct pol_model *model, unsigned file, unsigned line, char *buf, size_t size)
{
	const char *shown = model->file[file].shown;
	size_t len = strlen(shown);

	snprintf(buf, size, "%.64s:%u", shown + (len > 64 && strchr(shown, '/') ? len - 64 : 0), line);
	for (char *p = buf; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

const char *pol_place(const struct pol_model *model, unsigned here, unsigned file, unsigned line,
		      char buf[POL_PLACE_MAX])
{
	if (here == file) {
		snprintf(buf, POL_PLACE_MAX, "on line %u", line);
	} else {
		memcpy(buf, "at ", 3);
		print_place(model, file, line, buf + 3, POL_PLACE_MAX - 3);
	}
	return buf;
}

void pol_rule_where(const struct pol_model *model, const struct pol_rule *rule, char *buf, size_t size)
{
	print_place(model, rule->file, rule->line, buf, size);
}

int pol_sha256(const void *data, size_t len, uint8_t digest[32])
{
	return SHA256(data, len, digest) ? 0 : -EIO;
}

int pol_shake256(const void *data, size_t len, void *out, size_t out_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool is_made = ctx && EVP_DigestInit_ex(ctx, EVP_shake256(), NULL) && EVP_DigestUpdate(ctx, data, len) &&
		       EVP_DigestFinalXOF(ctx, out, out_len);

	EVP_MD_CTX_free(ctx);
	return is_made ? 0 : -EIO;
}
