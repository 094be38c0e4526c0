// SPDX-License-Identifier: Apache-2.0
/* dstack's JSON event log -> list of events. Compressed logs (magic "ELGZv1") are not expanded: no writer makes them.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "eventlog.h"

#define WHERE "event log"

DEFINE_CLEANUP(json, json_t, json_decref)

/* What is decoded is never longer than its JSON text, so one block of that size holds all. */
struct arena {
	uint8_t *p;
	size_t left;
};

static bool text_take(struct arena *arena, const char *text, struct in *taken)
{
	size_t len = text ? strlen(text) : 0;

	if (!text || len > arena->left)
		return false;
	memcpy(arena->p, text, len);
	*taken = in_of(arena->p, len);
	arena->p += len;
	arena->left -= len;
	return true;
}

static bool hex_take(struct arena *arena, const char *hex, struct in *taken)
{
	size_t len = hex ? strlen(hex) / 2 : 0;

	if (!hex || len > arena->left || !hex_parse(arena->p, len, hex))
		return false;
	*taken = in_of(arena->p, len);
	arena->p += len;
	arena->left -= len;
	return true;
}

static bool read_uint(const json_t *object, const char *key, json_int_t max, json_int_t *v)
{
	const json_t *member = json_object_get(object, key);

	if (!json_is_integer(member) || json_integer_value(member) < 0 || json_integer_value(member) > max)
		return false;
	*v = json_integer_value(member);
	return true;
}

/* Hex; absent, null and "" mean that it is not given. */
static bool read_optional(const json_t *object, const char *key, struct arena *arena, struct in *taken)
{
	const json_t *member = json_object_get(object, key);

	if (!member || json_is_null(member))
		return true;
	return json_is_string(member) &&
	       (!json_string_length(member) || hex_take(arena, json_string_value(member), taken));
}

static bool event_read(const json_t *object, struct arena *arena, struct id_event *event)
{
	json_int_t rtmr, type, version = 1;
	struct in digest = { 0 };

	if (json_object_get(object, "version") && (!read_uint(object, "version", 2, &version) || version < 1))
		return false;
	if (!read_uint(object, "imr", ID_RTMRS - 1, &rtmr) || !read_uint(object, "event_type", UINT32_MAX, &type) ||
	    !text_take(arena, json_string_value(json_object_get(object, "event")), &event->name) ||
	    !hex_take(arena, json_string_value(json_object_get(object, "event_payload")), &event->payload) ||
	    !read_optional(object, "preimage", arena, &event->preimage) ||
	    !read_optional(object, "digest", arena, &digest) || (digest.p && digest.left != ID_MR_LEN))
		return false;
	event->rtmr = (unsigned)rtmr;
	event->type = (uint32_t)type;
	event->version = (unsigned)version;
	event->digest = digest.p;
	return true;
}

static int events_read(const json_t *array, struct arena arena, struct id_events *events, struct err *e)
{
	size_t i;
	json_t *object;

	json_array_foreach (array, i, object) {
		struct id_event *event = id_events_add(events);
		char where[64];

		snprintf(where, sizeof(where), WHERE "[%zu]", i);
		if (!event)
			return err_at(e, -ENOMEM, where, "out of memory");
		if (!event_read(object, &arena, event))
			return err_reason(e, ID_EVENTLOG_MALFORMED, where,
					  "imr 0..3, event_type, digest, event and event_payload (hex) are needed");
	}
	return 0;
}

int id_events_from_json(const char *json, size_t len, struct id_events *events, struct err *e)
{
	auto_call(id_events_fini) struct id_events made = { 0 };
	auto_call(cleanup_json) json_t *array = NULL;
	json_error_t why;
	int ret;

	if (len > ID_EVENTLOG_MAX)
		return err_reason(e, ID_EVENTLOG_MALFORMED, WHERE, "%zu bytes, at most %d are read", len,
				  ID_EVENTLOG_MAX);
	array = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
	if (!array)
		return err_reason(e, ID_EVENTLOG_MALFORMED, WHERE, "%s", why.text);
	if (!json_is_array(array) || json_array_size(array) > ID_EVENTS_MAX)
		return err_reason(e, ID_EVENTLOG_MALFORMED, WHERE, "a JSON array of at most %d events is needed",
				  ID_EVENTS_MAX);
	made.bytes = malloc(len);
	if (!made.bytes)
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	ret = events_read(array, (struct arena){ made.bytes, len }, &made, e);
	if (ret < 0)
		return ret;
	*events = made;
	made = (struct id_events){ 0 };
	return 0;
}
