// SPDX-License-Identifier: Apache-2.0
/* For whoever makes evidence: attestations of version 0, and the issuer's app_info. */
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

/* A runtime event's digest is not repeated where the verifier computes it anyway. */
static void platform_event(struct out *out, const struct id_event *event, bool is_stripped)
{
	bool has_digest = event->digest && !(is_stripped && is_runtime(event));

	out_u32le(out, event->rtmr);
	out_u32le(out, event->type);
	scale_put_bytes(out, event->digest, has_digest ? ID_MR_LEN : 0);
	scale_put_bytes(out, event->name.p, event->name.left);
	scale_put_bytes(out, event->payload.p, event->payload.left);
}

static void events_write(struct out *out, const struct id_events *events, bool is_stripped)
{
	size_t n = 0;

	for (size_t i = 0; i < events->n; i++)
		n += !is_stripped || is_runtime(&events->at[i]) || is_acpi_data(&events->at[i]);
	scale_put_compact(out, n);
	for (size_t i = 0; i < events->n; i++)
		if (!is_stripped || is_runtime(&events->at[i]) || is_acpi_data(&events->at[i]))
			platform_event(out, &events->at[i], is_stripped);
}

static void runtime_write(struct out *out, const struct id_events *events)
{
	size_t n = 0;

	for (size_t i = 0; i < events->n; i++)
		n += is_runtime(&events->at[i]);
	scale_put_compact(out, n);
	for (size_t i = 0; i < events->n; i++) {
		const struct id_event *event = &events->at[i];

		if (!is_runtime(event))
			continue;
		scale_put_bytes(out, event->name.p, event->name.left);
		scale_put_bytes(out, event->payload.p, event->payload.left);
		out->failed = out->failed || event->version != 1;
	}
}

bool id_attestation_write(struct out *out, struct in quote, const struct id_events *events,
			  const uint8_t report_data[ID_REPORT_DATA_LEN], bool is_stripped)
{
	out_u8(out, 0); /* version */
	out_u8(out, KIND_TDX);
	scale_put_bytes(out, quote.p, quote.left);
	events_write(out, events, is_stripped);
	runtime_write(out, events);
	out_bytes(out, report_data, ID_REPORT_DATA_LEN);
	scale_put_bytes(out, "", 0); /* no configuration of a VM is known here */
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
