// SPDX-License-Identifier: Apache-2.0
/* For whoever makes evidence: attestations, and the issuer's app_info. */
#include <string.h>

#include "attestation.h"
#include "msgpack.h"
#include "scale.h"

#define KIND_TDX 0

static bool is_runtime(const struct id_event *event)
{
	return event->rtmr == 3 && event->type == ID_EVENT_RUNTIME;
}

/* Of the firmware's events dstack leaves only these: their digest is what a verifier of the image compares. */
static bool is_acpi_data(const struct id_event *event)
{
	static const char acpi[] = "ACPI DATA";

	return event->rtmr == 0 && event->type == 0x0a && event->payload.left == strlen(acpi) &&
	       memcmp(event->payload.p, acpi, strlen(acpi)) == 0;
}

static bool is_kept(const struct id_event *event, bool is_stripped)
{
	return !is_stripped || is_runtime(event) || is_acpi_data(event);
}

/* A runtime event's digest is not repeated where the verifier computes it anyway. */
static size_t digest_len(const struct id_event *event, bool is_stripped)
{
	return event->digest && !(is_stripped && is_runtime(event)) ? ID_MR_LEN : 0;
}

/* Calls `put` for each event that is kept, or counts them where it is NULL. */
static size_t kept(struct out *out, const struct id_events *events, bool is_stripped,
		   void (*put)(struct out *out, const struct id_event *event, bool is_stripped))
{
	size_t n = 0;

	for (size_t i = 0; i < events->n; i++) {
		if (!is_kept(&events->at[i], is_stripped))
			continue;
		n++;
		if (put)
			put(out, &events->at[i], is_stripped);
	}
	return n;
}

static size_t runtime(struct out *out, const struct id_events *events,
		      void (*put)(struct out *out, const struct id_event *event))
{
	size_t n = 0;

	for (size_t i = 0; i < events->n; i++) {
		if (!is_runtime(&events->at[i]))
			continue;
		n++;
		if (put)
			put(out, &events->at[i]);
	}
	return n;
}

/* --- version 0 --- */

static void scale_platform(struct out *out, const struct id_event *event, bool is_stripped)
{
	out_u32le(out, event->rtmr);
	out_u32le(out, event->type);
	scale_put_bytes(out, event->digest, digest_len(event, is_stripped));
	scale_put_bytes(out, event->name.p, event->name.left);
	scale_put_bytes(out, event->payload.p, event->payload.left);
}

static void scale_runtime(struct out *out, const struct id_event *event)
{
	scale_put_bytes(out, event->name.p, event->name.left);
	scale_put_bytes(out, event->payload.p, event->payload.left);
}

static void scale_write(struct out *out, struct in quote, const struct id_events *events,
			const uint8_t report_data[ID_REPORT_DATA_LEN], bool is_stripped)
{
	out_u8(out, 0); /* version */
	out_u8(out, KIND_TDX);
	scale_put_bytes(out, quote.p, quote.left);
	scale_put_compact(out, kept(out, events, is_stripped, NULL));
	kept(out, events, is_stripped, scale_platform);
	scale_put_compact(out, runtime(out, events, NULL));
	runtime(out, events, scale_runtime);
	out_bytes(out, report_data, ID_REPORT_DATA_LEN);
	scale_put_bytes(out, "", 0); /* no configuration of a VM is known here */
}

/* --- version 1 --- */

static void key_put(struct out *out, const char *key)
{
	mp_put_text(out, key, strlen(key));
}

static void version_put(struct out *out, const struct id_event *event)
{
	if (event->version != 2)
		return;
	key_put(out, "version");
	mp_put_number(out, 2);
}

static void mp_platform(struct out *out, const struct id_event *event, bool is_stripped)
{
	mp_put_pairs(out, 5 + (event->version == 2));
	key_put(out, "imr");
	mp_put_number(out, event->rtmr);
	key_put(out, "event_type");
	mp_put_number(out, event->type);
	key_put(out, "digest");
	mp_put_bin(out, event->digest, digest_len(event, is_stripped));
	key_put(out, "event");
	mp_put_text(out, event->name.p, event->name.left);
	key_put(out, "event_payload");
	mp_put_bin(out, event->payload.p, event->payload.left);
	version_put(out, event);
}

static void mp_runtime(struct out *out, const struct id_event *event)
{
	mp_put_pairs(out, 2 + (event->version == 2));
	key_put(out, "event");
	mp_put_text(out, event->name.p, event->name.left);
	key_put(out, "payload");
	mp_put_bin(out, event->payload.p, event->payload.left);
	version_put(out, event);
}

static void kind_put(struct out *out, const char *part, const char *kind, size_t n_members)
{
	key_put(out, part);
	mp_put_pairs(out, 2);
	key_put(out, "kind");
	key_put(out, kind);
	key_put(out, "data");
	mp_put_pairs(out, n_members);
}

static void msgpack_write(struct out *out, struct in quote, const struct id_events *events,
			  const uint8_t report_data[ID_REPORT_DATA_LEN], bool is_stripped)
{
	mp_put_pairs(out, 3);
	key_put(out, "version");
	mp_put_number(out, 1);
	kind_put(out, "platform", "tdx", 2);
	key_put(out, "quote");
	mp_put_numbers(out, quote.p, quote.left);
	key_put(out, "event_log");
	mp_put_array(out, kept(out, events, is_stripped, NULL));
	kept(out, events, is_stripped, mp_platform);
	kind_put(out, "stack", "dstack", 3);
	key_put(out, "report_data");
	mp_put_numbers(out, report_data, ID_REPORT_DATA_LEN);
	key_put(out, "runtime_events");
	mp_put_array(out, runtime(out, events, NULL));
	runtime(out, events, mp_runtime);
	key_put(out, "config");
	key_put(out, "");
}

bool id_attestation_write(struct out *out, struct in quote, const struct id_events *events,
			  const uint8_t report_data[ID_REPORT_DATA_LEN], bool is_stripped)
{
	bool has_v2 = false;

	for (size_t i = 0; i < events->n; i++)
		has_v2 = has_v2 || (is_runtime(&events->at[i]) && events->at[i].version == 2);
	(has_v2 ? msgpack_write : scale_write)(out, quote, events, report_data, is_stripped);
	return out_ok(out);
}

void id_app_info_write(struct out *out, const struct id_app_info *info)
{
	mp_put_array(out, info->has_init_scripts ? 9 : 8);
	mp_put_bin(out, info->app_id, BY_APP_ID_LEN);
	mp_put_bin(out, info->compose_hash, ID_HASH_LEN);
	mp_put_bin(out, info->instance_id, info->has_instance_id ? BY_INSTANCE_ID_LEN : 0);
	mp_put_bin(out, info->device_id, ID_HASH_LEN);
	mp_put_bin(out, info->mr_system, ID_HASH_LEN);
	mp_put_bin(out, info->mr_aggregated, ID_HASH_LEN);
	mp_put_bin(out, info->os_image_hash, info->has_os_image_hash ? ID_HASH_LEN : 0);
	mp_put_bin(out, info->key_provider.p, info->key_provider.left);
	if (!info->has_init_scripts)
		return;
	mp_put_array(out, info->n_init_scripts);
	for (uint32_t i = 0; i < info->n_init_scripts; i++)
		mp_put_bin(out, info->init_script[i], ID_HASH_LEN);
}
