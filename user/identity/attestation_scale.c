// SPDX-License-Identifier: Apache-2.0
/* Version 0: fields one after the other, in the order of dstack's structures. */
#include "attestation.h"
#include "scale.h"

enum { QUOTE_TDX, QUOTE_GCP, QUOTE_NITRO, QUOTE_SNP, QUOTE_NITRO_TPM };

/* imr, type, digest, name, payload; the digest of a runtime event may be left out */
static bool platform_event(struct in *in, struct id_events *events)
{
	struct id_event *event = id_events_add(events);
	struct in digest;

	if (!event || !in_u32le(in, &event->rtmr) || event->rtmr >= ID_RTMRS || !in_u32le(in, &event->type) ||
	    !scale_bytes(in, &digest) || (digest.left && digest.left != ID_MR_LEN) || !scale_bytes(in, &event->name) ||
	    !scale_bytes(in, &event->payload))
		return false;
	event->digest = digest.left ? digest.p : NULL;
	return true;
}

static bool runtime_event(struct in *in, struct id_events *events)
{
	struct id_event *event = id_events_add(events);

	if (!event || !scale_bytes(in, &event->name) || !scale_bytes(in, &event->payload))
		return false;
	event->rtmr = 3;
	event->type = ID_EVENT_RUNTIME;
	return true;
}

static bool events_read(struct in *in, struct id_events *events, bool (*read)(struct in *in, struct id_events *events))
{
	uint32_t n;

	if (!scale_compact(in, &n) || n > ID_EVENTS_MAX)
		return false;
	while (n--)
		if (!read(in, events))
			return false;
	return true;
}

static bool snp_read(struct in *in, struct id_attestation *att)
{
	att->kind = ID_ATTESTATION_SNP;
	if (!scale_bytes(in, &att->evidence) || !scale_compact(in, &att->n_certs) ||
	    att->n_certs > ID_ATTESTATION_CERTS_MAX)
		return false;
	for (uint32_t i = 0; i < att->n_certs; i++)
		if (!scale_bytes(in, &att->certs[i]))
			return false;
	return scale_bytes(in, &att->mr_config);
}

bool id_attestation_scale(struct in in, struct id_attestation *att, bool *is_unsupported)
{
	uint8_t variant, kind;
	bool ok;

	if (!in_u8(&in, &variant) || variant != 0 || !in_u8(&in, &kind) || kind > QUOTE_NITRO_TPM)
		return false;
	*is_unsupported = kind != QUOTE_TDX && kind != QUOTE_SNP;
	if (*is_unsupported)
		return false;
	if (kind == QUOTE_SNP)
		ok = snp_read(&in, att);
	else
		ok = scale_bytes(&in, &att->evidence) && events_read(&in, &att->events, platform_event);
	return ok && events_read(&in, &att->runtime, runtime_event) &&
	       in_sub(&in, &att->report_data, ID_REPORT_DATA_LEN) && scale_bytes(&in, &att->config) && !in.left;
}
