// SPDX-License-Identifier: Apache-2.0
/*
 * A log is a stranger's JSON; the quote proves only digests. So a runtime event's digest is always recomputed from its
 * name and payload, and a name that would make the version 1 digest ambiguous (":") is refused.
 */
#include "eventlog.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "crypto.h"

#define WHERE "event log"

DEFINE_CLEANUP(json, json_t, json_decref)

struct event {
	unsigned imr, version;
	uint32_t type;
	const char *name, *preimage; /* preimage: NULL when not given */
	uint8_t *payload;
	size_t payload_len;
	uint8_t digest[ID_MR_LEN]; /* as given */
	bool has_digest;
};

static void event_fini(struct event *event)
{
	free(event->payload);
	event->payload = NULL;
}

/* {"name":"app-id","payload":"5bb4...","type":134217729}: RFC 8785 needs no escapes for these names and hex. */
static bool preimage_v2(struct out *out, const char *name, const void *payload, size_t len)
{
	char type[32];
	auto_free char *hex = malloc(2 * len + 1);

	if (!hex)
		return false;
	hex_print(hex, payload, len);
	snprintf(type, sizeof(type), "\",\"type\":%u}", ID_EVENT_RUNTIME);
	out_bytes(out, "{\"name\":\"", strlen("{\"name\":\""));
	out_bytes(out, name, strlen(name));
	out_bytes(out, "\",\"payload\":\"", strlen("\",\"payload\":\""));
	out_bytes(out, hex, 2 * len);
	out_bytes(out, type, strlen(type));
	return out_ok(out);
}

static bool preimage_v1(struct out *out, const char *name, const void *payload, size_t len)
{
	out_u32le(out, ID_EVENT_RUNTIME);
	out_u8(out, ':');
	out_bytes(out, name, strlen(name));
	out_u8(out, ':');
	out_bytes(out, payload, len);
	return out_ok(out);
}

bool id_event_digest(unsigned version, const char *name, const void *payload, size_t len, uint8_t digest[ID_MR_LEN])
{
	auto_out struct out out = { 0 };
	bool ok = version == 2 ? preimage_v2(&out, name, payload, len) : preimage_v1(&out, name, payload, len);

	return ok && id_hash(EVP_sha384(), digest, out.data, out.len, NULL, 0);
}

bool id_rtmr_extend(uint8_t mr[ID_MR_LEN], const uint8_t digest[ID_MR_LEN])
{
	return id_hash(EVP_sha384(), mr, mr, ID_MR_LEN, digest, ID_MR_LEN);
}

static bool is_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= ID_EVENT_NAME_MAX &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static bool read_uint(const json_t *object, const char *key, json_int_t max, json_int_t *v)
{
	const json_t *member = json_object_get(object, key);

	if (!json_is_integer(member) || json_integer_value(member) < 0 || json_integer_value(member) > max)
		return false;
	*v = json_integer_value(member);
	return true;
}

static bool read_payload(const char *hex, struct event *event)
{
	size_t len = strlen(hex) / 2;

	event->payload = malloc(len + 1);
	event->payload_len = len;
	return event->payload && hex_parse(event->payload, len, hex);
}

static bool read_version(const json_t *object, struct event *event)
{
	const json_t *preimage = json_object_get(object, "preimage");
	json_int_t version = 1;

	if (json_object_get(object, "version") && (!read_uint(object, "version", 2, &version) || version < 1))
		return false;
	if (preimage && !json_is_string(preimage) && !json_is_null(preimage))
		return false;
	event->version = (unsigned)version;
	event->preimage = json_string_value(preimage);
	return true;
}

/* Strings point into `object`. */
static bool event_read(const json_t *object, struct event *event)
{
	const char *digest = json_string_value(json_object_get(object, "digest"));
	const char *payload = json_string_value(json_object_get(object, "event_payload"));
	json_int_t imr, type;

	event->name = json_string_value(json_object_get(object, "event"));
	if (!digest || !payload || !event->name || !read_uint(object, "imr", 3, &imr) ||
	    !read_uint(object, "event_type", UINT32_MAX, &type) || !read_version(object, event))
		return false;
	event->imr = (unsigned)imr;
	event->type = (uint32_t)type;
	event->has_digest = digest[0] != '\0';
	return (!event->has_digest || hex_parse(event->digest, ID_MR_LEN, digest)) && read_payload(payload, event);
}

static bool preimage_matches(const struct event *event)
{
	auto_out struct out out = { 0 };

	return !event->preimage ||
	       (preimage_v2(&out, event->name, event->payload, event->payload_len) &&
		strlen(event->preimage) == out.len && memcmp(event->preimage, out.data, out.len) == 0);
}

static int event_extend(const struct event *event, const char *where, struct id_log *log, struct err *e)
{
	uint8_t digest[ID_MR_LEN];

	if (event->type != ID_EVENT_RUNTIME || !is_name(event->name))
		return err_reason(e, ID_EVENTLOG_MALFORMED, where,
				  "not a runtime event (type 0x%08x) with a name of [A-Za-z0-9._-]", ID_EVENT_RUNTIME);
	if (!id_event_digest(event->version, event->name, event->payload, event->payload_len, digest))
		return err_at(e, -ENOMEM, where, "out of memory");
	if ((event->has_digest && memcmp(digest, event->digest, ID_MR_LEN) != 0) ||
	    (event->version == 2 && !preimage_matches(event)))
		return err_reason(e, ID_EVENTLOG_REPLAY, where, "given digest is not that of %s and its payload",
				  event->name);
	if (!id_rtmr_extend(log->rtmr3, digest))
		return err_at(e, -ENOMEM, where, "out of memory");
	log->n_runtime++;
	return 0;
}

/* A name that may occur once, and where its payload goes. */
struct field {
	const char *name;
	uint8_t *dst;
	size_t len;
	bool may_be_empty;
	bool *has; /* set when it came with a payload */
	bool seen;
};

static int field_set(struct field *field, const struct event *event, const char *where, struct err *e)
{
	if (field->seen)
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "second %s before system-ready", field->name);
	field->seen = true;
	if (!event->payload_len && field->may_be_empty)
		return 0;
	if (event->payload_len != field->len)
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "%s has %zu bytes, %zu are needed", field->name,
				  event->payload_len, field->len);
	memcpy(field->dst, event->payload, field->len);
	if (field->has)
		*field->has = true;
	return 0;
}

/* {"name":"kms","id":"..."} */
static int key_provider_set(struct id_log *log, const struct event *event, const char *where, struct err *e)
{
	auto_call(cleanup_json) json_t *object =
		json_loadb((const char *)event->payload, event->payload_len, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(object, "name"));

	if (log->key_provider[0])
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "second key-provider before system-ready");
	if (!name || !is_name(name) || strlen(name) >= sizeof(log->key_provider))
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "key-provider is not JSON with a name");
	strcpy(log->key_provider, name);
	return 0;
}

enum { APP_ID, COMPOSE_HASH, INSTANCE_ID, OS_IMAGE_HASH, FIELDS };

struct reader {
	struct id_log log;
	struct field fields[FIELDS];
	bool is_ready; /* system-ready was seen */
};

static void reader_init(struct reader *r)
{
	*r = (struct reader){ 0 };
	r->fields[APP_ID] = (struct field){ "app-id", r->log.app_id, BY_APP_ID_LEN, false, NULL, false };
	r->fields[COMPOSE_HASH] =
		(struct field){ "compose-hash", r->log.compose_hash, ID_HASH_LEN, false, NULL, false };
	r->fields[INSTANCE_ID] = (struct field){ "instance-id", r->log.instance_id,      BY_INSTANCE_ID_LEN,
						 true,          &r->log.has_instance_id, false };
	r->fields[OS_IMAGE_HASH] = (struct field){ "os-image-hash", r->log.os_image_hash,      ID_HASH_LEN,
						   false,           &r->log.has_os_image_hash, false };
}

static int identity_take(struct reader *r, const struct event *event, const char *where, struct err *e)
{
	if (strcmp(event->name, "system-ready") == 0)
		r->is_ready = true;
	if (r->is_ready)
		return 0;
	if (strcmp(event->name, "key-provider") == 0)
		return key_provider_set(&r->log, event, where, e);
	for (size_t i = 0; i < FIELDS; i++)
		if (strcmp(event->name, r->fields[i].name) == 0)
			return field_set(&r->fields[i], event, where, e);
	return 0;
}

/* identity: whether this pass is the one over a replayed log */
static int event_handle(struct reader *r, const json_t *object, size_t i, bool identity, struct err *e)
{
	auto_call(event_fini) struct event event = { 0 };
	char where[64];

	snprintf(where, sizeof(where), WHERE "[%zu]", i);
	if (!event_read(object, &event))
		return err_reason(e, ID_EVENTLOG_MALFORMED, where,
				  "imr 0..3, event_type, digest, event and event_payload (hex) are needed");
	if (event.imr != 3)
		return 0;
	return identity ? identity_take(r, &event, where, e) : event_extend(&event, where, &r->log, e);
}

static int pass(struct reader *r, const json_t *array, bool identity, struct err *e)
{
	size_t i;
	json_t *object;

	json_array_foreach (array, i, object) {
		int ret = event_handle(r, object, i, identity, e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static int identity_check(const struct reader *r, struct err *e)
{
	if (!r->fields[APP_ID].seen || !r->fields[COMPOSE_HASH].seen)
		return err_reason(e, ID_EVENTLOG_IDENTITY, WHERE, "no %s before system-ready",
				  r->fields[APP_ID].seen ? "compose-hash" : "app-id");
	/* without it nobody knows where the application's own events begin */
	if (!r->is_ready)
		return err_reason(e, ID_EVENTLOG_IDENTITY, WHERE, "no system-ready");
	return 0;
}

int id_eventlog_read(const char *json, size_t len, const uint8_t rtmr3[ID_MR_LEN], struct id_log *log, struct err *e)
{
	auto_call(cleanup_json) json_t *array = NULL;
	json_error_t why;
	struct reader r;
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
	reader_init(&r);
	ret = pass(&r, array, false, e);
	if (ret < 0)
		return ret;
	if (rtmr3 && memcmp(r.log.rtmr3, rtmr3, ID_MR_LEN) != 0)
		return err_reason(e, ID_EVENTLOG_REPLAY, WHERE, "%u events do not replay to RTMR3 of the quote",
				  r.log.n_runtime);
	ret = pass(&r, array, true, e);
	if (ret < 0)
		return ret;
	ret = identity_check(&r, e);
	if (ret < 0)
		return ret;
	*log = r.log;
	return 0;
}
