// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a policy, or as several files with 0x1e between them: what is accepted compiles to images that pass
 * their check and agree with explain. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/diff.h"
#include "policy/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void compare(const struct pol_model *model, const struct pol_image *img, const struct pol_subject *self)
{
	uint32_t self_kind = pol_kind_of(model, self);

	for (size_t i = 0; i < model->n_names && i < 8; i++) {
		struct pol_subject peer = { 0 };
		uint32_t class;

		if (pol_subject_named(model, model->name[i].text, NULL, &peer, NULL) < 0)
			continue; /* a group, a network */
		must(pol_classify(model, img, &peer, &class) == 0);
		for (uint32_t s = 0; s < BY_PORT_SPACE; s += 509) {
			struct pol_decision d = pol_decide(model, pol_kind_of(model, &peer), self_kind, s, NULL);
			struct by_verdict v = pol_image_lookup(img, BY_DIR_IN, class, s);

			must(v.action == d.action && !v.rule == !d.rule && !v.audit == !d.audit);
		}
	}
}

static void compile(const struct pol_model *model, const struct pol_subject *self)
{
	struct pol_image *img = NULL;

	if (pol_compile(model, self, self, 1, &img, NULL) < 0)
		return; /* a limit */
	must(pol_image_check(img, img->size, NULL) == 0);
	compare(model, img, self);
	free(img);
}

/* The same for the underlay: the first address of each cell. */
static void compile_host(const struct pol_model *model, const struct pol_subject *self)
{
	struct pol_image *img = NULL;
	uint32_t self_kind = pol_kind_of(model, self);

	if (pol_compile_host(model, self, NULL, 0, &img, NULL) < 0)
		return;
	must(pol_image_check(img, img->size, NULL) == 0);
	for (uint32_t c = 0; c < model->cells.n && c < 8; c++) {
		const struct by_addr *addr = &model->cells.prefix[c].addr;
		struct pol_prefix at = { .addr = *addr, .bits = 128, .is_v4 = addr_is_v4(addr) };
		uint32_t class = pol_image_net_lookup(img, addr);
		uint32_t point = pol_point_of_cell(model, pol_cell_of(&model->cells, &at));

		for (uint32_t s = 0; s < BY_PORT_SPACE; s += 509) {
			struct pol_decision in = pol_decide(model, point, self_kind, s, NULL);
			struct pol_decision out = pol_decide(model, self_kind, point, s, NULL);

			must(pol_image_lookup(img, BY_DIR_IN, class, s).action == in.action);
			must(pol_image_lookup(img, BY_DIR_OUT, class, s).action == out.action);
		}
	}
	free(img);
}

/* A policy differs from itself in nothing. */
static void compare_with_itself(const struct pol_model *model)
{
	struct pol_diff diff = { 0 };

	struct err e = ERR_INIT;

	must(pol_diff_make(model, model, &diff, &e) == 0 ? !diff.n_changes && !diff.n_rules : e.code == -E2BIG);
	pol_diff_fini(&diff);
}

#define FILES_MAX 10

struct files {
	const char *text[FILES_MAX];
	size_t len[FILES_MAX], n;
};

static struct files cut(const char *data, size_t size)
{
	struct files f = { 0 };
	const char *end = data;

	for (; end && f.n < FILES_MAX; data = end ? end + 1 : NULL) {
		size_t left = size - (size_t)(data - (f.n ? f.text[0] : data));

		end = left ? memchr(data, 0x1e, left) : NULL;
		f.text[f.n] = data;
		f.len[f.n++] = end ? (size_t)(end - data) : left;
	}
	return f;
}

/* "0.yaml", "1.yaml", ... */
static int get(void *arg, const char *path, size_t max, struct file_found *found, struct err *e)
{
	const struct files *f = arg;
	size_t i = (size_t)path[0] - '0';

	*found = (struct file_found){ 0 };
	if (i >= f->n || strcmp(path + 1, ".yaml") != 0)
		return err_at(e, -ENOENT, path, "No such file or directory");
	must(max >= f->len[i]);
	found->id[0] = i;
	found->len = f->len[i];
	found->text = malloc(found->len + 1);
	memcpy(found->text, f->text[i], found->len);
	found->text[found->len] = '\0';
	return 0;
}

static int parse(const uint8_t *data, size_t size, struct pol_model **model, struct diags *d)
{
	struct files f = cut((const char *)data, size);
	struct pol_sources s = { 0 };
	const char *path = "0.yaml";
	struct err e = ERR_INIT;
	int ret;

	if (f.n < 2)
		return pol_parse_warn("fuzz.yaml", (const char *)data, size, model, d);
	ret = pol_sources_load(&s, &path, 1, get, &f, d, &e);
	if (!ret)
		ret = pol_sources_parse(&s, true, model, d);
	must(ret == 0 || (ret == -EINVAL && !e.code) || s.bytes == 0);
	pol_sources_fini(&s);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pol_subject self = { .app_id = { 1 } };
	struct pol_model *model = NULL;
	struct diags d = { 0 };
	size_t n_tests;

	if (parse(data, size, &model, &d) == 0) {
		compile(model, &self);
		compile_host(model, &self);
		if (model->n_apps) {
			pol_subject_named(model, model->app[0].name, NULL, &self, NULL);
			compile(model, &self);
		}
		compare_with_itself(model);
		pol_run_tests(model, &d, &n_tests);
	} else {
		must(!model && d.n_errors);
	}
	pol_free(model);
	diags_fini(&d);
	return 0;
}
