// SPDX-License-Identifier: Apache-2.0
#include "sources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "model.h"

void pol_sources_fini(struct pol_sources *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->text[i].name);
		free(s->text[i].text);
		yaml_free(s->text[i].doc);
	}
	free(s->text);
	*s = (struct pol_sources){ 0 };
}

/* Takes text over, also on failure. */
static int add(struct pol_sources *s, const char *name, char *text, size_t len, struct err *e)
{
	auto_free char *owned = text;
	struct pol_text *grown;

	if (s->n == POL_FILES_MAX)
		return err_at(e, -E2BIG, name, "more than %u files in one policy", POL_FILES_MAX);
	if (len > POL_TEXT_MAX - s->bytes)
		return err_at(e, -E2BIG, name, "the files of one policy have more than %u bytes", POL_TEXT_MAX);
	grown = realloc(s->text, (s->n + 1) * sizeof(*grown));
	if (grown)
		s->text = grown;
	if (!grown || !(grown[s->n].name = strdup(name)))
		return err_at(e, -ENOMEM, name, "out of memory");
	grown[s->n] = (struct pol_text){ .name = grown[s->n].name, .text = take_ptr(owned), .len = len };
	s->n++;
	s->bytes += len;
	return 0;
}

int pol_sources_add(struct pol_sources *s, const char *name, const char *text, size_t len, struct err *e)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return err_at(e, -ENOMEM, name, "out of memory");
	memcpy(copy, text, len);
	copy[len] = '\0';
	return add(s, name, copy, len, e);
}

/* --- what is included -------------------------------------------------------------------------------------- */

static bool leads_out(const char *path)
{
	for (const char *part = path; part; part = strchr(part, '/')) {
		part += *part == '/';
		if (strncmp(part, "..", 2) == 0 && (!part[2] || part[2] == '/'))
			return true;
	}
	return false;
}

const char *pol_include_path(const char *from, const char *item, char path[POL_PATH_MAX])
{
	const char *slash = strrchr(from, '/');
	int len;

	for (const char *p = item; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "has a control character";
	if (!item[0])
		return "is empty";
	if (item[0] == '/')
		return "begins with /; needed a path below the folder of this file";
	if (leads_out(item))
		return "leads out of the folder of this file";
	while (strncmp(item, "./", 2) == 0)
		item += 2 + (item[2] == '/');
	len = snprintf(path, POL_PATH_MAX, "%.*s%s", slash ? (int)(slash - from) + 1 : 0, from, item);
	if (len >= (int)POL_PATH_MAX)
		return "is too long";
	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	return len ? NULL : "is empty";
}

bool pol_sources_has(const struct pol_sources *s, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < s->n; i++)
		if (strncmp(s->text[i].name, path, len) == 0 && (!s->text[i].name[len] || s->text[i].name[len] == '/'))
			return true;
	return false;
}

/* --- reading ----------------------------------------------------------------------------------------------- */

/* A file or folder that was met, so that none is read twice. */
struct seen {
	uint64_t id[2];
	char *path;
	bool is_open; /* what it includes is being read */
};

struct load {
	struct pol_sources *s;
	file_get_fn get;
	void *arg;
	struct diags *d;
	struct seen *seen;
	size_t n_seen;
	unsigned depth;
};

/* A place of an include; NULL where a person named the path. */
typedef const struct yaml_node *at_t;

static int load_path(struct load *l, at_t at, const char *path, struct err *e);

static int refuse(struct load *l, at_t at, const char *path, const char *why)
{
	if (at)
		yaml_error(NULL, at, l->d, "%s: %s", path, why);
	else
		diags_add(l->d, path, 0, 0, "", "%s", why);
	return -EINVAL;
}

/* "a.yaml -> b.yaml -> a.yaml" */
static int refuse_cycle(struct load *l, at_t at, const char *path, size_t first)
{
	char way[512] = "includes itself: ";
	size_t len = strlen(way);

	for (size_t i = first; i < l->n_seen && len < sizeof(way); i++)
		if (l->seen[i].is_open)
			len += (size_t)snprintf(way + len, sizeof(way) - len, "%s -> ", l->seen[i].path);
	if (len < sizeof(way))
		snprintf(way + len, sizeof(way) - len, "%s", l->seen[first].path);
	return refuse(l, at, path, way);
}

/* Whether the path leads to something new, which is noted. */
static int note(struct load *l, at_t at, const char *path, const struct file_found *f)
{
	struct seen *grown;
	char why[POL_PATH_MAX + 64];

	for (size_t i = 0; i < l->n_seen; i++) {
		if (memcmp(l->seen[i].id, f->id, sizeof(f->id)) != 0)
			continue;
		if (l->seen[i].is_open)
			return refuse_cycle(l, at, path, i);
		snprintf(why, sizeof(why), "is part of the policy already, as %s", l->seen[i].path);
		return refuse(l, at, path, why);
	}
	grown = realloc(l->seen, (l->n_seen + 1) * sizeof(*grown));
	if (grown)
		l->seen = grown;
	if (!grown || !(grown[l->n_seen].path = strdup(path)))
		return refuse(l, at, path, "out of memory");
	memcpy(grown[l->n_seen].id, f->id, sizeof(f->id));
	grown[l->n_seen++].is_open = true;
	return 0;
}

static int load_folder(struct load *l, at_t at, const char *folder, const struct file_found *f, struct err *e)
{
	size_t len = strlen(folder), n_yaml = 0;
	char path[POL_PATH_MAX];
	int ret = 0, one;

	while (len > 1 && folder[len - 1] == '/')
		len--;
	for (size_t i = 0; i < f->n; i++) {
		const char *dot = strrchr(f->name[i], '.');

		if (!dot || strcmp(dot, ".yaml") != 0)
			continue;
		n_yaml++;
		if (snprintf(path, sizeof(path), "%.*s%s%s", (int)len, folder, folder[len - 1] == '/' ? "" : "/",
			     f->name[i]) >= (int)sizeof(path))
			return refuse(l, at, folder, "its path is too long");
		one = load_path(l, at, path, e);
		if (one && one != -EINVAL)
			return one;
		ret = one ? one : ret;
	}
	return n_yaml ? ret : refuse(l, at, folder, "has no file whose name ends in .yaml");
}

static int load_include(struct load *l, at_t item, const char *from)
{
	const char *fault;
	char path[POL_PATH_MAX];
	struct err e = ERR_INIT;
	int ret;

	if (item->kind != YAML_SCALAR)
		return 0; /* said when the file is judged */
	fault = pol_include_path(from, item->text, path);
	if (fault)
		return refuse(l, item, item->text, fault);
	ret = load_path(l, item, path, &e);
	return ret && ret != -EINVAL ? refuse(l, item, path, e.msg) : ret;
}

static int load_includes(struct load *l, const struct yaml_doc *doc, const char *from)
{
	const struct yaml_node *list = yaml_get(yaml_root(doc), "include");
	int ret = 0;

	for (size_t i = 0; list && list->kind == YAML_LIST && i < list->n; i++)
		if (load_include(l, list->child[i], from))
			ret = -EINVAL;
	return ret;
}

/* The name is copied: the array of texts moves while what the file includes is added. */
static int load_text(struct load *l, const char *path, struct file_found *f, struct err *e)
{
	size_t i = l->s->n;
	const char *name = strcmp(path, "-") == 0 ? "<stdin>" : path;
	int ret = add(l->s, name, take_ptr(f->text), f->len, e);

	if (ret)
		return ret;
	diags_file(l->d, name);
	if (yaml_parse_max(name, l->s->text[i].text, l->s->text[i].len, POL_TEXT_MAX, &l->s->text[i].doc, l->d) < 0)
		return -EINVAL;
	return load_includes(l, l->s->text[i].doc, name);
}

static int load_path(struct load *l, at_t at, const char *path, struct err *e)
{
	auto_call(file_found_fini) struct file_found f = { 0 };
	size_t mine = l->n_seen;
	int ret;

	if (l->depth == POL_INCLUDE_MAX)
		return refuse(l, at, path, "files include each other too deep");
	ret = l->get(l->arg, path, POL_TEXT_MAX, &f, e);
	if (ret == -EINVAL)
		return refuse(l, at, path, e->msg);
	if (!ret)
		ret = note(l, at, path, &f);
	if (ret)
		return ret;
	l->depth++;
	ret = f.is_dir ? load_folder(l, at, path, &f, e) : load_text(l, path, &f, e);
	l->depth--;
	l->seen[mine].is_open = false;
	return ret;
}

int pol_sources_load(struct pol_sources *s, const char *const *paths, size_t n, file_get_fn get, void *arg,
		     struct diags *d, struct err *e)
{
	struct load l = { .s = s, .get = get, .arg = arg, .d = d };
	int ret = 0, one;

	for (size_t i = 0; i < n && (!ret || ret == -EINVAL); i++) {
		one = load_path(&l, NULL, paths[i], e);
		ret = one ? one : ret;
	}
	for (size_t i = 0; i < l.n_seen; i++)
		free(l.seen[i].path);
	free(l.seen);
	return ret;
}

/* --- what names the policy --------------------------------------------------------------------------------- */

DEFINE_CLEANUP(model, struct pol_model, pol_free)

static int digest_of_list(const struct pol_sources *s, const struct pol_model *names, uint8_t digest[32])
{
	auto_free char *lines = NULL;
	uint8_t one[32];
	char hex[65];
	size_t size;
	FILE *to = open_memstream(&lines, &size);
	int ret = 0;

	for (size_t i = 0; to && i < s->n && !ret; i++) {
		ret = pol_sha256(s->text[i].text, s->text[i].len, one);
		hex_print(hex, one, sizeof(one));
		fprintf(to, "%s  %s\n", hex, names->file[i].shown);
	}
	if (!to || fclose(to) != 0)
		return -ENOMEM;
	return ret ? ret : pol_sha256(lines, size, digest);
}

int pol_sources_digest(const struct pol_sources *s, uint8_t digest[32])
{
	auto_call(cleanup_model) struct pol_model *names = NULL;

	if (s->n == 1)
		return pol_sha256(s->text[0].text, s->text[0].len, digest);
	names = calloc(1, sizeof(*names));
	if (!names || pol_model_name_files(names, s->text, s->n) < 0)
		return -ENOMEM;
	return digest_of_list(s, names, digest);
}

void pol_sources_settle(struct pol_sources *s)
{
	for (size_t i = 0; i < s->n; i++) {
		yaml_free(s->text[i].doc);
		s->text[i].doc = NULL;
	}
}
