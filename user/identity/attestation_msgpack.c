// SPDX-License-Identifier: Apache-2.0
/* Version 1: maps with the names of dstack's structures, in their order; a member may be left out only where said. */
#include "attestation.h"
#include "base/text.h"
#include "msgpack.h"

static bool hex_take(struct in hex, uint8_t **room, struct in *bytes)
{
	const char *digits = (const char *)hex.p;

	*bytes = in_of(*room, hex.left / 2);
	if (hex.left % 2)
		return false;
	for (size_t i = 0; i < hex.left; i += 2)
		if (!hex_parse((*room)++, 1, (char[]){ digits[i], digits[i + 1], '\0' }))
			return false;
	return true;
}

/* The members behind the fixed ones of an event: [version] [preimage]. `n` are left. */
static bool event_tail(struct in *in, uint32_t n, uint8_t **room, struct id_event *event)
{
	struct in key, hex;
	uint32_t version;

	for (const char *name = "version"; n; n--) {
		if (!mp_str(in, &key))
			return false;
		if (mp_is(key, "version") && *name == 'v') {
			if (!mp_uint(in, &version) || version < 1 || version > 2)
				return false;
			event->version = version;
			name = "preimage";
		} else if (mp_is(key, "preimage") && n == 1) {
			if (!mp_str(in, &hex) || !hex_take(hex, room, &event->preimage))
				return false;
		} else {
			return false;
		}
	}
	return true;
}

static bool platform_event(struct in *in, uint8_t **room, struct id_events *events)
{
	struct id_event *event = id_events_add(events);
	struct mp_item map;
	struct in digest;

	if (!event || !mp_read(in, &map) || map.type != MP_MAP || map.n < 5 || map.n > 7 || !mp_key(in, "imr") ||
	    !mp_uint(in, &event->rtmr) || event->rtmr >= ID_RTMRS || !mp_key(in, "event_type") ||
	    !mp_uint(in, &event->type) || !mp_key(in, "digest") || !mp_blob(in, room, &digest) ||
	    (digest.left && digest.left != ID_MR_LEN) || !mp_key(in, "event") || !mp_str(in, &event->name) ||
	    !mp_key(in, "event_payload") || !mp_blob(in, room, &event->payload))
		return false;
	event->digest = digest.left ? digest.p : NULL;
	return event_tail(in, map.n - 5, room, event);
}

static bool runtime_event(struct in *in, uint8_t **room, struct id_events *events)
{
	struct id_event *event = id_events_add(events);
	struct mp_item map;

	if (!event || !mp_read(in, &map) || map.type != MP_MAP || map.n < 2 || map.n > 3 || !mp_key(in, "event") ||
	    !mp_str(in, &event->name) || !mp_key(in, "payload") || !mp_blob(in, room, &event->payload))
		return false;
	event->rtmr = 3;
	event->type = ID_EVENT_RUNTIME;
	return event_tail(in, map.n - 2, room, event) && !event->preimage.p;
}

static bool events_read(struct in *in, uint8_t **room, struct id_events *events,
			bool (*read)(struct in *in, uint8_t **room, struct id_events *events))
{
	uint32_t n;

	if (!mp_array(in, &n) || n > ID_EVENTS_MAX)
		return false;
	while (n--)
		if (!read(in, room, events))
			return false;
	return true;
}

static bool tdx_read(struct in *in, uint8_t **room, struct id_attestation *att)
{
	return mp_map(in, 2) && mp_key(in, "quote") && mp_blob(in, room, &att->evidence) && mp_key(in, "event_log") &&
	       events_read(in, room, &att->events, platform_event);
}

static bool snp_read(struct in *in, uint8_t **room, struct id_attestation *att)
{
	att->kind = ID_ATTESTATION_SNP;
	if (!mp_map(in, 3) || !mp_key(in, "report") || !mp_blob(in, room, &att->evidence) ||
	    !mp_key(in, "cert_chain") || !mp_array(in, &att->n_certs) || att->n_certs > ID_ATTESTATION_CERTS_MAX)
		return false;
	for (uint32_t i = 0; i < att->n_certs; i++)
		if (!mp_blob(in, room, &att->certs[i]))
			return false;
	return mp_key(in, "mr_config") && mp_str(in, &att->mr_config);
}

static bool platform_read(struct in *in, uint8_t **room, struct id_attestation *att, bool *is_unsupported)
{
	struct in kind;

	if (!mp_key(in, "platform") || !mp_map(in, 2) || !mp_key(in, "kind") || !mp_str(in, &kind) ||
	    !mp_key(in, "data"))
		return false;
	if (mp_is(kind, "tdx"))
		return tdx_read(in, room, att);
	if (mp_is(kind, "sev-snp"))
		return snp_read(in, room, att);
	*is_unsupported = mp_is(kind, "gcp-tdx") || mp_is(kind, "nitro-enclave") || mp_is(kind, "aws-nitro-tpm");
	return false;
}

/* A pod's attestation binds a payload of its own in place of a key; it is read and then fails as a certificate's. */
static bool stack_read(struct in *in, uint8_t **room, struct id_attestation *att)
{
	struct in kind, payload;
	bool is_pod;

	if (!mp_key(in, "stack") || !mp_map(in, 2) || !mp_key(in, "kind") || !mp_str(in, &kind) || !mp_key(in, "data"))
		return false;
	is_pod = mp_is(kind, "dstack-pod");
	return (is_pod || mp_is(kind, "dstack")) && mp_map(in, is_pod ? 4 : 3) && mp_key(in, "report_data") &&
	       mp_blob(in, room, &att->report_data) && att->report_data.left == ID_REPORT_DATA_LEN &&
	       mp_key(in, "runtime_events") && events_read(in, room, &att->runtime, runtime_event) &&
	       mp_key(in, "config") && mp_str(in, &att->config) &&
	       (!is_pod || (mp_key(in, "report_data_payload") && mp_str(in, &payload)));
}

bool id_attestation_msgpack(struct in in, struct id_attestation *att, bool *is_unsupported)
{
	uint8_t *room = att->bytes;
	uint32_t version;

	return mp_map(&in, 3) && mp_key(&in, "version") && mp_uint(&in, &version) && version == 1 &&
	       platform_read(&in, &room, att, is_unsupported) && stack_read(&in, &room, att) && !in.left;
}
