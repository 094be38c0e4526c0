// SPDX-License-Identifier: Apache-2.0
/* JSON of etcd's gateway: bytes are base64 and 64-bit numbers strings; what is zero, false or empty may be left out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "etcd.h"

#define WHERE   "etcd"
#define KEY_MAX 512
#define KVS_MAX 65536

DEFINE_CLEANUP(json, json_t, json_decref)

/* --- reading --- */

static bool int_read(const json_t *map, const char *name, int64_t *v)
{
	const json_t *at = json_object_get(map, name);
	char *end;

	*v = 0;
	if (!at)
		return true;
	if (json_is_integer(at)) {
		*v = json_integer_value(at);
		return *v >= 0;
	}
	if (!json_is_string(at) || !json_string_length(at) || json_string_length(at) > 20)
		return false;
	errno = 0;
	*v = strtoll(json_string_value(at), &end, 10);
	return !*end && !errno && *v >= 0;
}

/* malloc'ed, with a NUL beyond the end; NULL: none, or no base64. */
static uint8_t *bytes_read(const json_t *map, const char *name, size_t max, size_t *len)
{
	const json_t *at = json_object_get(map, name);
	size_t text_len = json_string_length(at), cap = text_len / 4 * 3;
	uint8_t *bytes;

	*len = 0;
	if ((at && !json_is_string(at)) || cap > max + 2)
		return NULL;
	bytes = calloc(1, cap + 1);
	if (bytes && at && !base64_parse(bytes, cap, len, json_string_value(at), text_len))
		free(take_ptr(bytes));
	return bytes;
}

static bool is_printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return len > 0;
}

static int kv_read(const json_t *map, bool is_deleted, struct etcd_answer *a, struct err *e)
{
	struct etcd_kv *grown, kv = { .is_deleted = is_deleted };
	size_t key_len;

	if (a->n >= KVS_MAX)
		return err_at(e, -EBADMSG, WHERE, "answers with more than %d keys", KVS_MAX);
	grown = realloc(a->kv, (a->n + 1) * sizeof(*grown));
	if (!grown)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	a->kv = grown;
	kv.key = (char *)bytes_read(map, "key", KEY_MAX, &key_len);
	if (!kv.key || !is_printable(kv.key, key_len)) {
		free(kv.key);
		return err_at(e, -EBADMSG, WHERE, "answers with a key that can not be read");
	}
	kv.value = bytes_read(map, "value", ETCD_BODY_MAX, &kv.len);
	if (!kv.value || !int_read(map, "mod_revision", &kv.revision)) {
		err_at(e, -EBADMSG, kv.key, "value or revision can not be read");
		free(kv.key);
		free(kv.value);
		return e->code;
	}
	a->kv[a->n++] = kv;
	return 0;
}

static int kvs_read(const json_t *range, struct etcd_answer *a, struct err *e)
{
	const json_t *kvs = json_object_get(range, "kvs");

	a->is_more = a->is_more || json_is_true(json_object_get(range, "more"));
	for (size_t i = 0; i < json_array_size(kvs); i++)
		if (kv_read(json_array_get(kvs, i), false, a, e) < 0)
			return e->code;
	return 0;
}

static int events_read(const json_t *events, struct etcd_answer *a, struct err *e)
{
	for (size_t i = 0; i < json_array_size(events); i++) {
		const json_t *ev = json_array_get(events, i);
		const char *type = json_string_value(json_object_get(ev, "type"));

		if (kv_read(json_object_get(ev, "kv"), type && strcmp(type, "DELETE") == 0, a, e) < 0)
			return e->code;
	}
	return 0;
}

static int parts_read(const json_t *o, struct etcd_answer *a, struct err *e)
{
	const json_t *responses = json_object_get(o, "responses");
	int ret = kvs_read(o, a, e);

	for (size_t i = 0; i < json_array_size(responses) && !ret; i++)
		ret = kvs_read(json_object_get(json_array_get(responses, i), "response_range"), a, e);
	return ret ? ret : events_read(json_object_get(o, "events"), a, e);
}

static int heads_read(const json_t *o, struct etcd_answer *a, struct err *e)
{
	if (!int_read(json_object_get(o, "header"), "revision", &a->revision) ||
	    !int_read(o, "compact_revision", &a->oldest) || !int_read(o, "ID", &a->lease) ||
	    !int_read(o, "TTL", &a->ttl))
		return err_at(e, -EBADMSG, WHERE, "answers with a number that can not be read");
	a->is_met = json_is_true(json_object_get(o, "succeeded"));
	a->is_over = json_is_true(json_object_get(o, "canceled"));
	return 0;
}

/* What is streamed comes as {"result": ...}; a refusal as {"error": ...}, a text or again a map with one. */
static int refusal_read(const json_t *root, struct err *e)
{
	const json_t *at = json_object_get(root, "error"), *message = json_object_get(root, "message");

	if (!at)
		return 0;
	if (json_is_object(at))
		message = json_object_get(at, "message");
	else if (!message)
		message = at;
	return err_at(e, -EPROTO, WHERE, "%.200s", json_is_string(message) ? json_string_value(message) : "refuses");
}

int etcd_answer_read(const char *text, size_t len, struct etcd_answer *a, struct err *e)
{
	auto_call(cleanup_json) json_t *root = json_loadb(text, len, 0, NULL);
	const json_t *o = root, *result = json_object_get(root, "result");
	int ret;

	*a = (struct etcd_answer){ 0 };
	if (!json_is_object(root) || (result && !json_is_object(result)))
		return err_at(e, -EBADMSG, WHERE, "answers with what is no JSON object");
	ret = refusal_read(root, e);
	if (result)
		o = result;
	if (!ret)
		ret = heads_read(o, a, e);
	if (!ret)
		ret = parts_read(o, a, e);
	if (ret < 0)
		etcd_answer_fini(a);
	return ret;
}

void etcd_answer_fini(struct etcd_answer *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->kv[i].key);
		free(a->kv[i].value);
	}
	free(take_ptr(a->kv));
	a->n = 0;
}

const struct etcd_kv *etcd_answer_find(const struct etcd_answer *a, const char *key)
{
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->kv[i].key, key) == 0)
			return &a->kv[i];
	return NULL;
}

/* --- asking --- */

static json_t *b64(const void *bytes, size_t len)
{
	auto_free char *text = malloc(BASE64_LEN(len));

	if (!text)
		return NULL;
	base64_print(text, bytes, len);
	return json_string(text);
}

static json_t *key_json(const char *key)
{
	return b64(key, strlen(key));
}

json_t *etcd_compare_revision(const char *key, int64_t revision)
{
	if (!revision) /* 0 is the gateway's default, and the default of a oneof is not sent on */
		return json_pack("{s:s, s:s, s:o, s:s}", "target", "VERSION", "result", "EQUAL", "key", key_json(key),
				 "version", "0");
	return json_pack("{s:s, s:s, s:o, s:I}", "target", "MOD", "result", "EQUAL", "key", key_json(key),
			 "mod_revision", (json_int_t)revision);
}

json_t *etcd_put(const char *key, const void *value, size_t len, int64_t lease)
{
	return json_pack("{s:{s:o, s:o, s:I}}", "request_put", "key", key_json(key), "value", b64(value, len), "lease",
			 (json_int_t)lease);
}

json_t *etcd_delete(const char *key)
{
	return json_pack("{s:{s:o}}", "request_delete_range", "key", key_json(key));
}

json_t *etcd_range(const char *key, const char *end, int64_t revision, int64_t limit)
{
	json_t *o = json_pack("{s:o, s:I, s:I}", "key", key_json(key), "revision", (json_int_t)revision, "limit",
			      (json_int_t)limit);

	if (end && json_object_set_new(o, "range_end", key_json(end)) < 0) {
		json_decref(o);
		return NULL;
	}
	return json_pack("{s:o}", "request_range", o);
}
