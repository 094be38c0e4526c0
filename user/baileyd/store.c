// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define STORE_VERSION 1
#define STORE_MAX     (5u * POL_TEXT_MAX) /* two policies, each character escaped by one more; and names */

DEFINE_CLEANUP(json, json_t, json_decref)
DEFINE_CLEANUP(stored, struct stored, stored_drop)

#define auto_json auto_call(cleanup_json)

struct stored *stored_new(struct pol_sources *sources, bool is_applied, int64_t at)
{
	struct stored *s = calloc(1, sizeof(*s));

	if (!s || pol_sources_digest(sources, s->digest) < 0) {
		free(s);
		return NULL;
	}
	s->users = 1;
	s->is_applied = is_applied;
	s->at = at;
	s->sources = *sources;
	*sources = (struct pol_sources){ 0 };
	return s;
}

struct stored *stored_use(struct stored *s)
{
	if (s)
		s->users++;
	return s;
}

void stored_drop(struct stored *s)
{
	if (!s || --s->users)
		return;
	pol_sources_fini(&s->sources);
	free(s);
}

struct store store_copy(const struct store *s)
{
	stored_use(s->current);
	stored_use(s->previous);
	return *s;
}

void store_fini(struct store *s)
{
	stored_drop(s->current);
	stored_drop(s->previous);
	*s = (struct store){ 0 };
}

/* --- writing ----------------------------------------------------------------------------------------------- */

static json_t *digest_json(const uint8_t digest[32])
{
	char hex[65];

	hex_print(hex, digest, 32);
	return json_string(hex);
}

static json_t *stored_json(const struct stored *s)
{
	json_t *files = json_array();

	if (!s) {
		json_decref(files);
		return json_null();
	}
	for (size_t i = 0; i < s->sources.n; i++) {
		const struct pol_text *t = &s->sources.text[i];
		json_t *file = json_pack("{s:s, s:s%}", "name", t->name, "text", t->text, t->len);

		if (!file || json_array_append_new(files, file) < 0) {
			json_decref(files);
			return NULL;
		}
	}
	return json_pack("{s:s, s:I, s:o, s:o}", "origin", s->is_applied ? "applied" : "configured", "at",
			 (json_int_t)s->at, "digest", digest_json(s->digest), "files", files);
}

int store_write(const char *path, const struct store *s, struct err *e)
{
	json_t *current = stored_json(s->current), *previous = stored_json(s->previous);
	json_t *trial = s->trial_until ? json_pack("{s:I, s:o}", "until", (json_int_t)s->trial_until, "digest",
						   digest_json(s->trial_digest))
				       : json_null();
	auto_json json_t *all =
		json_pack("{s:i, s:o, s:o, s:o, s:o}", "version", STORE_VERSION, "configured",
			  digest_json(s->configured), "trial", trial, "current", current, "previous", previous);
	auto_free char *text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;

	/* only what was accepted is stored, and that is UTF-8: memory is all that can fail */
	if (!text)
		return err_at(e, -ENOMEM, path, "out of memory");
	return file_write(path, text, strlen(text), 0600, e);
}

/* --- reading ----------------------------------------------------------------------------------------------- */

static bool digest_read(const json_t *o, const char *key, uint8_t digest[32])
{
	const char *hex = json_string_value(json_object_get(o, key));

	return hex && hex_parse(digest, 32, hex);
}

static int sources_read(const json_t *files, struct pol_sources *s, struct err *e)
{
	const json_t *file;
	size_t i;
	int ret = json_array_size(files) ? 0 : -EBADMSG;

	json_array_foreach (files, i, file) {
		const json_t *name = json_object_get(file, "name"), *text = json_object_get(file, "text");

		if (!json_is_string(name) || !json_is_string(text))
			ret = -EBADMSG;
		if (!ret)
			ret = pol_sources_add(s, json_string_value(name), json_string_value(text),
					      json_string_length(text), e);
	}
	return ret;
}

/* The digest is that of the texts, or the file is not what was written. */
static int stored_read(const json_t *o, struct stored **stored, struct err *e)
{
	auto_call(pol_sources_fini) struct pol_sources sources = { 0 };
	auto_call(cleanup_stored) struct stored *made = NULL;
	const json_t *at = json_object_get(o, "at");
	const char *origin = json_string_value(json_object_get(o, "origin"));
	uint8_t digest[32];
	int ret;

	if (json_is_null(o))
		return 0;
	if (!origin || !json_is_integer(at) || !digest_read(o, "digest", digest))
		return -EBADMSG;
	ret = sources_read(json_object_get(o, "files"), &sources, e);
	if (ret)
		return ret;
	made = stored_new(&sources, strcmp(origin, "applied") == 0, json_integer_value(at));
	if (!made)
		return -ENOMEM;
	if (memcmp(made->digest, digest, sizeof(digest)) != 0)
		return -EBADMSG;
	*stored = take_ptr(made);
	return 0;
}

static int all_read(const json_t *o, struct store *s, struct err *e)
{
	const json_t *trial = json_object_get(o, "trial"), *until = json_object_get(trial, "until");
	int ret;

	if (json_integer_value(json_object_get(o, "version")) != STORE_VERSION ||
	    !digest_read(o, "configured", s->configured))
		return -EBADMSG;
	if (!json_is_null(trial) && (!json_is_integer(until) || !digest_read(trial, "digest", s->trial_digest)))
		return -EBADMSG;
	s->trial_until = json_integer_value(until);
	ret = stored_read(json_object_get(o, "current"), &s->current, e);
	return ret ? ret : stored_read(json_object_get(o, "previous"), &s->previous, e);
}

int store_read(const char *path, struct store *s, struct err *e)
{
	auto_call(store_fini) struct store made = { 0 };
	auto_json json_t *all = NULL;
	auto_free char *text = NULL;
	json_error_t why;
	size_t len;
	int ret = file_read(path, STORE_MAX, &text, &len, e);

	if (ret)
		return ret;
	all = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!all)
		return err_at(e, -EBADMSG, path, "is not JSON: %s", why.text);
	ret = all_read(all, &made, e);
	if (!ret && !made.current)
		ret = -EBADMSG;
	if (ret)
		return err_at(e, ret, path, ret == -ENOMEM ? "out of memory" : "is not what baileyd wrote");
	*s = made;
	made = (struct store){ 0 };
	return 0;
}
