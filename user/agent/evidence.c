// SPDX-License-Identifier: Apache-2.0
/* A quote of this machine with its event log, and dstack's forms of it: versioned attestation and app_info. */
#include <errno.h>
#include <string.h>

#include "identity/claims.h"
#include "internal.h"

#define WHERE "evidence"

void evidence_fini(struct evidence *ev)
{
	free(ev->quote);
	free(ev->event_log);
	id_events_fini(&ev->events);
}

int evidence_get(struct agent *agent, struct evidence *ev, struct err *e)
{
	int ret = agent->tee->ops->quote(agent->tee, ev->report_data, &ev->quote, &ev->quote_len, &ev->event_log, e);

	return ret < 0 ? ret : id_events_from_json(ev->event_log, strlen(ev->event_log), &ev->events, e);
}

int evidence_attestation(const struct evidence *ev, bool is_stripped, struct out *out, struct err *e)
{
	if (id_attestation_write(out, in_of(ev->quote, ev->quote_len), &ev->events, ev->report_data, is_stripped))
		return 0;
	return err_at(e, -ENOMEM, WHERE, "no attestation can be made: out of memory, or the event log is too large");
}

/* The payload of "key-provider", among the events that count. */
static struct in key_provider(const struct id_events *events)
{
	static const char name[] = "key-provider", ready[] = "system-ready";

	for (size_t i = 0; i < events->n; i++) {
		const struct id_event *event = &events->at[i];

		if (event->name.left == strlen(name) && memcmp(event->name.p, name, strlen(name)) == 0)
			return event->payload;
		if (event->name.left == strlen(ready) && memcmp(event->name.p, ready, strlen(ready)) == 0)
			break;
	}
	return in_of("", 0);
}

int evidence_app_info(const struct evidence *ev, struct id_app_info *info, struct err *e)
{
	struct id_app_info made = { .key_provider = key_provider(&ev->events) };
	struct id_claims claims = { 0 };
	struct id_quote quote;
	struct id_log log;
	int ret = id_quote_parse(ev->quote, ev->quote_len, &quote, e);

	if (!ret)
		ret = id_events_replay(&ev->events, &log, e);
	if (!ret)
		ret = id_log_compare(&log, quote.rtmr, e);
	if (!ret)
		ret = id_events_identity(&ev->events, &log, e);
	if (ret < 0)
		return ret;
	/* dstack hashes the PPID, which the agent does not know: the hash of nothing then, as its KMS says too */
	if (!id_claims_from_quote(&quote, &log, &claims) || !id_hash(EVP_sha256(), made.device_id, "", 0, NULL, 0))
		return err_at(e, -ENOMEM, WHERE, "out of memory");
	memcpy(made.app_id, log.app_id, sizeof(made.app_id));
	memcpy(made.compose_hash, log.compose_hash, sizeof(made.compose_hash));
	memcpy(made.instance_id, log.instance_id, sizeof(made.instance_id));
	made.has_instance_id = log.has_instance_id;
	memcpy(made.mr_system, claims.mr_system, sizeof(made.mr_system));
	memcpy(made.mr_aggregated, claims.mr_aggregated, sizeof(made.mr_aggregated));
	memcpy(made.os_image_hash, log.os_image_hash, sizeof(made.os_image_hash));
	made.has_os_image_hash = log.has_os_image_hash;
	*info = made;
	return 0;
}
