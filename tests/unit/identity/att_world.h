/* SPDX-License-Identifier: Apache-2.0 */
/* Attestations of both versions as dstack writes them, for simulated guests, made wrongly on demand. */
#pragma once

#include "base/buf.h"
#include "identity/attestation.h"
#include "world.h"

struct att_event {
	const char *name;
	const void *payload;
	size_t len;
	unsigned version;
};

#define ATT_EVENTS_MAX 12

/* What to do differently. Zero: version 0, everything as dstack's guest would say. */
struct att_forge {
	unsigned version;
	bool runtime_v2;    /* digests of version 2: container version 1 only */
	bool as_arrays;     /* version 1: bytes as arrays of numbers, as dstack writes most of them */
	bool with_preimage; /* in the platform's log */
	bool no_platform_log;
	bool is_pod;
	const char *kind;                /* of the platform, version 1 */
	const struct att_event *runtime; /* another list than the guest's; RTMR3 is that of the guest */
	size_t n_runtime;
	const struct att_event *platform; /* the same for the platform's log */
	size_t n_platform;
	bool other_report_data; /* told beside the quote */
	const void *tail;
	size_t tail_len;
};

/* --- SCALE --- */

static inline void sc_compact(struct out *out, uint32_t n)
{
	if (n < 1u << 6)
		out_u8(out, (uint8_t)(n << 2));
	else if (n < 1u << 14)
		out_u16le(out, (uint16_t)(n << 2 | 1));
	else
		out_u32le(out, n << 2 | 2);
}

static inline void sc_bytes(struct out *out, const void *p, size_t len)
{
	sc_compact(out, (uint32_t)len);
	out_bytes(out, p, len);
}

/* --- MessagePack --- */

static inline void mp_be(struct out *out, uint8_t format, uint32_t n, int bytes)
{
	out_u8(out, format);
	while (bytes--)
		out_u8(out, (uint8_t)(n >> 8 * bytes));
}

/* format: of the one-byte length; 0: there is none */
static inline void mp_len(struct out *out, uint8_t fix, uint32_t fix_max, uint8_t format8, uint8_t format16, uint32_t n)
{
	if (n <= fix_max)
		out_u8(out, (uint8_t)(fix | n));
	else if (n <= 0xff && format8)
		mp_be(out, format8, n, 1);
	else if (n <= 0xffff)
		mp_be(out, format16, n, 2);
	else
		mp_be(out, (uint8_t)(format16 + 1), n, 4);
}

static inline void mp_put_uint(struct out *out, uint32_t n)
{
	mp_len(out, 0, 0x7f, 0xcc, 0xcd, n);
}

static inline void mp_put_str(struct out *out, const char *text)
{
	mp_len(out, 0xa0, 31, 0xd9, 0xda, (uint32_t)strlen(text));
	out_bytes(out, text, strlen(text));
}

static inline void mp_put_map(struct out *out, uint32_t n)
{
	mp_len(out, 0x80, 15, 0, 0xde, n);
}

static inline void mp_add_array(struct out *out, uint32_t n)
{
	mp_len(out, 0x90, 15, 0, 0xdc, n);
}

static inline void mp_add_bin(struct out *out, const void *p, size_t len)
{
	if (len <= 0xff)
		mp_be(out, 0xc4, (uint32_t)len, 1);
	else
		mp_be(out, 0xc5, (uint32_t)len, 2);
	out_bytes(out, p, len);
}

static inline void mp_put_blob(struct out *out, const void *p, size_t len, bool as_array)
{
	if (!as_array) {
		mp_add_bin(out, p, len);
		return;
	}
	mp_add_array(out, (uint32_t)len);
	for (size_t i = 0; i < len; i++)
		mp_put_uint(out, ((const uint8_t *)p)[i]);
}

/* --- the guest's events --- */

static inline size_t att_guest_events(const struct id_sim_request *req, unsigned version,
				      struct att_event events[ATT_EVENTS_MAX])
{
	static const char provider[] = "{\"name\":\"kms\",\"id\":\"00\"}";
	const struct att_event all[] = {
		{ "system-preparing", "", 0, version },
		{ "app-id", req->app_id, sizeof(req->app_id), version },
		{ "compose-hash", req->compose_hash, sizeof(req->compose_hash), version },
		{ "instance-id", req->instance_id, sizeof(req->instance_id), version },
		{ "boot-mr-done", "", 0, version },
		{ "os-image-hash", req->compose_hash, 32, version },
		{ "key-provider", provider, strlen(provider), version },
		{ "system-ready", "", 0, version },
		{ "compose-hash", "mine", 4, version }, /* the application's own */
	};

	memcpy(events, all, sizeof(all));
	return ARRAY_LEN(all);
}

static inline void att_rtmr3(const struct att_event *events, size_t n, uint8_t rtmr3[ID_MR_LEN])
{
	uint8_t digest[ID_MR_LEN];

	memset(rtmr3, 0, ID_MR_LEN);
	for (size_t i = 0; i < n; i++)
		assert_true(id_event_digest(events[i].version, in_of(events[i].name, strlen(events[i].name)),
					    in_of(events[i].payload, events[i].len), digest) &&
			    id_rtmr_extend(rtmr3, digest));
}

/* --- containers --- */

static inline void att_scale(struct out *out, const struct att_forge *f, const uint8_t *quote, size_t quote_len,
			     const uint8_t report_data[64], const struct att_event *platform, size_t n_platform,
			     const struct att_event *runtime, size_t n_runtime)
{
	out_u8(out, 0);
	out_u8(out, 0);
	sc_bytes(out, quote, quote_len);
	sc_compact(out, (uint32_t)n_platform);
	for (size_t i = 0; i < n_platform; i++) {
		out_u32le(out, 3);
		out_u32le(out, ID_EVENT_RUNTIME);
		sc_bytes(out, "", 0);
		sc_bytes(out, platform[i].name, strlen(platform[i].name));
		sc_bytes(out, platform[i].payload, platform[i].len);
	}
	sc_compact(out, (uint32_t)n_runtime);
	for (size_t i = 0; i < n_runtime; i++) {
		sc_bytes(out, runtime[i].name, strlen(runtime[i].name));
		sc_bytes(out, runtime[i].payload, runtime[i].len);
	}
	out_bytes(out, report_data, 64);
	sc_bytes(out, "{}", 2);
	out_bytes(out, f->tail, f->tail_len);
}

static inline void att_put_preimage(struct out *out, const struct att_event *event)
{
	char hex[257], text[600], digits[1201];

	hex_print(hex, event->payload, event->len);
	snprintf(text, sizeof(text), "{\"name\":\"%s\",\"payload\":\"%s\",\"type\":134217729}", event->name, hex);
	hex_print(digits, text, strlen(text));
	mp_put_str(out, "preimage");
	mp_put_str(out, digits);
}

static inline void att_put_platform(struct out *out, const struct att_forge *f, const struct att_event *events,
				    size_t n)
{
	mp_put_str(out, "event_log");
	mp_add_array(out, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		mp_put_map(out, 5 + (events[i].version == 2) + f->with_preimage);
		mp_put_str(out, "imr");
		mp_put_uint(out, 3);
		mp_put_str(out, "event_type");
		mp_put_uint(out, ID_EVENT_RUNTIME);
		mp_put_str(out, "digest");
		mp_add_bin(out, "", 0);
		mp_put_str(out, "event");
		mp_put_str(out, events[i].name);
		mp_put_str(out, "event_payload");
		mp_add_bin(out, events[i].payload, events[i].len);
		if (events[i].version == 2) {
			mp_put_str(out, "version");
			mp_put_uint(out, 2);
		}
		if (f->with_preimage)
			att_put_preimage(out, &events[i]);
	}
}

static inline void att_put_stack(struct out *out, const struct att_forge *f, const uint8_t report_data[64],
				 const struct att_event *events, size_t n)
{
	mp_put_str(out, "stack");
	mp_put_map(out, 2);
	mp_put_str(out, "kind");
	mp_put_str(out, f->is_pod ? "dstack-pod" : "dstack");
	mp_put_str(out, "data");
	mp_put_map(out, f->is_pod ? 4 : 3);
	mp_put_str(out, "report_data");
	mp_put_blob(out, report_data, 64, f->as_arrays);
	mp_put_str(out, "runtime_events");
	mp_add_array(out, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		mp_put_map(out, 2 + (events[i].version == 2));
		mp_put_str(out, "event");
		mp_put_str(out, events[i].name);
		mp_put_str(out, "payload");
		mp_add_bin(out, events[i].payload, events[i].len);
		if (events[i].version == 2) {
			mp_put_str(out, "version");
			mp_put_uint(out, 2);
		}
	}
	mp_put_str(out, "config");
	mp_put_str(out, "{}");
	if (f->is_pod) {
		mp_put_str(out, "report_data_payload");
		mp_put_str(out, "{}");
	}
}

static inline void att_msgpack(struct out *out, const struct att_forge *f, const uint8_t *quote, size_t quote_len,
			       const uint8_t report_data[64], const struct att_event *platform, size_t n_platform,
			       const struct att_event *runtime, size_t n_runtime)
{
	mp_put_map(out, 3);
	mp_put_str(out, "version");
	mp_put_uint(out, 1);
	mp_put_str(out, "platform");
	mp_put_map(out, 2);
	mp_put_str(out, "kind");
	mp_put_str(out, f->kind ? f->kind : "tdx");
	mp_put_str(out, "data");
	mp_put_map(out, 2);
	mp_put_str(out, "quote");
	mp_put_blob(out, quote, quote_len, f->as_arrays);
	att_put_platform(out, f, platform, n_platform);
	att_put_stack(out, f, report_data, runtime, n_runtime);
	out_bytes(out, f->tail, f->tail_len);
}

/* The attestation of a simulated guest that has this key. */
static inline void att_write(struct out *out, const struct att_forge *f, const struct id_sim_request *req,
			     const uint8_t report_data[ID_REPORT_DATA_LEN])
{
	uint8_t rtmr3[ID_MR_LEN], body[ID_QUOTE_SIGNED_LEN], other[ID_REPORT_DATA_LEN] = { 1 };
	struct att_event guest[ATT_EVENTS_MAX];
	size_t n = att_guest_events(req, f->runtime_v2 ? 2 : 1, guest), quote_len;
	const struct att_event *runtime = f->runtime ? f->runtime : guest,
			       *platform = f->platform ? f->platform : guest;
	size_t n_runtime = f->runtime ? f->n_runtime : n, n_platform = f->platform ? f->n_platform : n;
	const uint8_t *told = f->other_report_data ? other : report_data;
	auto_free uint8_t *quote = NULL;
	struct err e = ERR_INIT;

	att_rtmr3(guest, n, rtmr3);
	assert_true(id_sim_quote_body(body, rtmr3, report_data));
	assert_int_equal(id_sim_quote_sign(&world_root, body, &quote, &quote_len, &e), 0);
	(f->version ? att_msgpack : att_scale)(out, f, quote, quote_len, told, platform,
					       f->no_platform_log ? 0 : n_platform, runtime, n_runtime);
	assert_true(out_ok(out));
}
