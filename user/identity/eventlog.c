// SPDX-License-Identifier: Apache-2.0
/*
 * A log is a stranger's text; the quote proves only digests. So a runtime event's digest is always recomputed from its
 * name and payload, and a name that would make the version 1 digest ambiguous (":") is refused. What the firmware's
 * events (RTMR0..2) carry is never used: nothing ties it to their digest.
 */
#include "eventlog.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "crypto.h"

#define WHERE       "event log"
#define EVENTS_STEP 64

DEFINE_CLEANUP(json, json_t, json_decref)

void id_events_fini(struct id_events *events)
{
	free(events->at);
	free(events->bytes);
	*events = (struct id_events){ 0 };
}

struct id_event *id_events_add(struct id_events *events)
{
	struct id_event *at = events->at;

	if (events->n == ID_EVENTS_MAX)
		return NULL;
	if (events->n % EVENTS_STEP == 0) {
		at = reallocarray(at, events->n + EVENTS_STEP, sizeof(*at));
		if (!at)
			return NULL;
		events->at = at;
	}
	at += events->n++;
	*at = (struct id_event){ .version = 1 };
	return at;
}

static bool is_text(struct in in, const char *text)
{
	return in.left == strlen(text) && memcmp(in.p, text, in.left) == 0;
}

/* {"name":"app-id","payload":"5bb4...","type":134217729}: RFC 8785 needs no escapes for these names and hex. */
static bool preimage_v2(struct out *out, struct in name, struct in payload)
{
	char type[32];
	auto_free char *hex = malloc(2 * payload.left + 1);

	if (!hex)
		return false;
	hex_print(hex, payload.p, payload.left);
	snprintf(type, sizeof(type), "\",\"type\":%u}", ID_EVENT_RUNTIME);
	out_bytes(out, "{\"name\":\"", strlen("{\"name\":\""));
	out_bytes(out, name.p, name.left);
	out_bytes(out, "\",\"payload\":\"", strlen("\",\"payload\":\""));
	out_bytes(out, hex, 2 * payload.left);
	out_bytes(out, type, strlen(type));
	return out_ok(out);
}

static bool preimage_v1(struct out *out, struct in name, struct in payload)
{
	out_u32le(out, ID_EVENT_RUNTIME);
	out_u8(out, ':');
	out_bytes(out, name.p, name.left);
	out_u8(out, ':');
	out_bytes(out, payload.p, payload.left);
	return out_ok(out);
}

static bool preimage(struct out *out, unsigned version, struct in name, struct in payload)
{
	return version == 2 ? preimage_v2(out, name, payload) : preimage_v1(out, name, payload);
}

bool id_event_digest(unsigned version, struct in name, struct in payload, uint8_t digest[ID_MR_LEN])
{
	auto_out struct out out = { 0 };

	return preimage(&out, version, name, payload) && id_hash(EVP_sha384(), digest, out.data, out.len, NULL, 0);
}

bool id_rtmr_extend(uint8_t mr[ID_MR_LEN], const uint8_t digest[ID_MR_LEN])
{
	return id_hash(EVP_sha384(), mr, mr, ID_MR_LEN, digest, ID_MR_LEN);
}

static bool is_name(struct in name)
{
	for (size_t i = 0; i < name.left; i++)
		if (!name.p[i] ||
		    !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", name.p[i]))
			return false;
	return name.left > 0 && name.left <= ID_EVENT_NAME_MAX;
}

/* --- replay --- */

static int runtime_digest(const struct id_event *event, const char *where, uint8_t digest[ID_MR_LEN], struct err *e)
{
	auto_out struct out out = { 0 };

	if (event->type != ID_EVENT_RUNTIME || !is_name(event->name))
		return err_reason(e, ID_EVENTLOG_MALFORMED, where,
				  "not a runtime event (type 0x%08x) with a name of [A-Za-z0-9._-]", ID_EVENT_RUNTIME);
	if (!preimage(&out, event->version, event->name, event->payload) ||
	    !id_hash(EVP_sha384(), digest, out.data, out.len, NULL, 0))
		return err_at(e, -ENOMEM, where, "out of memory");
	if ((event->digest && memcmp(digest, event->digest, ID_MR_LEN) != 0) ||
	    (event->preimage.p &&
	     (event->preimage.left != out.len || memcmp(event->preimage.p, out.data, out.len) != 0)))
		return err_reason(e, ID_EVENTLOG_REPLAY, where, "given digest is not that of %.*s and its payload",
				  (int)event->name.left, (const char *)event->name.p);
	return 0;
}

static int event_extend(const struct id_events *events, const struct id_event *event, const char *where,
			struct id_log *log, struct err *e)
{
	uint8_t computed[ID_MR_LEN];
	const uint8_t *digest = event->digest;

	if (event->rtmr == 3 && !events->is_binary) {
		int ret = runtime_digest(event, where, computed, e);

		if (ret < 0)
			return ret;
		digest = computed;
	} else if (event->type == ID_EVENT_NO_ACTION) {
		return 0;
	} else if (!digest) {
		return err_reason(e, ID_EVENTLOG_MALFORMED, where, "an event of RTMR%u has no digest", event->rtmr);
	}
	if (!id_rtmr_extend(log->rtmr[event->rtmr], digest))
		return err_at(e, -ENOMEM, where, "out of memory");
	log->n_events[event->rtmr]++;
	return 0;
}

/* What stripping leaves. */
static bool may_stay(const struct id_event *event)
{
	return event->rtmr == 3 || (event->rtmr == 0 && event->type == 0x0a && is_text(event->payload, "ACPI DATA"));
}

int id_events_replay(const struct id_events *events, struct id_log *log, struct err *e)
{
	struct id_log made = { .is_stripped = !events->is_binary };

	for (size_t i = 0; i < events->n; i++) {
		char where[64];
		int ret;

		snprintf(where, sizeof(where), WHERE "[%zu]", i);
		made.is_stripped = made.is_stripped && may_stay(&events->at[i]);
		ret = event_extend(events, &events->at[i], where, &made, e);
		if (ret < 0)
			return ret;
	}
	*log = made;
	return 0;
}

int id_log_compare(const struct id_log *log, const uint8_t rtmr[ID_RTMRS][ID_MR_LEN], struct err *e)
{
	for (unsigned i = log->is_stripped ? 3 : 0; i < ID_RTMRS; i++)
		if (memcmp(log->rtmr[i], rtmr[i], ID_MR_LEN) != 0)
			return err_reason(e, ID_EVENTLOG_REPLAY, WHERE,
					  "%u events do not replay to RTMR%u of the quote", log->n_events[i], i);
	return 0;
}

/* --- identity --- */

/* A name that may occur once, and where its payload goes. */
struct field {
	const char *name;
	uint8_t *dst;
	size_t len;
	bool *has; /* set when it came with a payload */
	bool may_be_empty;
	bool seen;
};

static int field_set(struct field *field, struct in payload, const char *where, struct err *e)
{
	if (field->seen)
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "second %s before system-ready", field->name);
	field->seen = true;
	if (!payload.left && field->may_be_empty)
		return 0;
	if (payload.left != field->len)
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "%s has %zu bytes, %zu are needed", field->name,
				  payload.left, field->len);
	memcpy(field->dst, payload.p, field->len);
	if (field->has)
		*field->has = true;
	return 0;
}

/* {"name":"kms","id":"..."} */
static int key_provider_set(struct id_log *log, struct in payload, const char *where, struct err *e)
{
	auto_call(cleanup_json) json_t *object =
		json_loadb((const char *)payload.p, payload.left, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(object, "name"));

	if (log->key_provider[0])
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "second key-provider before system-ready");
	if (!name || !is_name(in_of(name, strlen(name))) || strlen(name) >= sizeof(log->key_provider))
		return err_reason(e, ID_EVENTLOG_IDENTITY, where, "key-provider is not JSON with a name");
	if (!id_hash(EVP_sha256(), log->key_provider_sha256, payload.p, payload.left, NULL, 0))
		return err_at(e, -ENOMEM, where, "out of memory");
	strcpy(log->key_provider, name);
	return 0;
}

enum { APP_ID, COMPOSE_HASH, INSTANCE_ID, OS_IMAGE_HASH, FIELDS };

static int identity_take(struct field fields[FIELDS], struct id_log *log, const struct id_event *event,
			 const char *where, struct err *e)
{
	if (is_text(event->name, "key-provider"))
		return key_provider_set(log, event->payload, where, e);
	for (size_t i = 0; i < FIELDS; i++)
		if (is_text(event->name, fields[i].name))
			return field_set(&fields[i], event->payload, where, e);
	return 0;
}

static int identity_check(const struct field fields[FIELDS], bool is_ready, struct err *e)
{
	if (!fields[APP_ID].seen || !fields[COMPOSE_HASH].seen)
		return err_reason(e, ID_EVENTLOG_IDENTITY, WHERE, "no %s before system-ready",
				  fields[APP_ID].seen ? "compose-hash" : "app-id");
	/* without it nobody knows where the application's own events begin */
	if (!is_ready)
		return err_reason(e, ID_EVENTLOG_IDENTITY, WHERE, "no system-ready");
	return 0;
}

int id_events_identity(const struct id_events *events, struct id_log *log, struct err *e)
{
	struct id_log made = *log;
	struct field fields[FIELDS] = {
		[APP_ID] = { "app-id", made.app_id, BY_APP_ID_LEN, NULL, false, false },
		[COMPOSE_HASH] = { "compose-hash", made.compose_hash, ID_HASH_LEN, NULL, false, false },
		[INSTANCE_ID] = { "instance-id", made.instance_id, BY_INSTANCE_ID_LEN, &made.has_instance_id, true,
				  false },
		[OS_IMAGE_HASH] = { "os-image-hash", made.os_image_hash, ID_HASH_LEN, &made.has_os_image_hash, false,
				    false },
	};
	bool is_ready = false;
	int ret = 0;

	for (size_t i = 0; !ret && !is_ready && !events->is_binary && i < events->n; i++) {
		char where[64];

		snprintf(where, sizeof(where), WHERE "[%zu]", i);
		if (events->at[i].rtmr != 3)
			continue;
		is_ready = is_text(events->at[i].name, "system-ready");
		ret = identity_take(fields, &made, &events->at[i], where, e);
	}
	if (!ret)
		ret = identity_check(fields, is_ready, e);
	if (!ret)
		*log = made;
	return ret;
}

int id_eventlog_read(const char *json, size_t len, const uint8_t (*rtmr)[ID_MR_LEN], struct id_log *log, struct err *e)
{
	auto_call(id_events_fini) struct id_events events = { 0 };
	struct id_log made;
	int ret = id_events_from_json(json, len, &events, e);

	if (!ret)
		ret = id_events_replay(&events, &made, e);
	if (!ret && rtmr)
		ret = id_log_compare(&made, rtmr, e);
	if (!ret)
		ret = id_events_identity(&events, &made, e);
	if (!ret)
		*log = made;
	return ret;
}
