// SPDX-License-Identifier: Apache-2.0
/* Evidence of who asks -> what authorities are told of him. */
#include <errno.h>
#include <string.h>

#include "identity/evidence.h"
#include "base/text.h"
#include "identity/quote_tdx.h"
#include "internal.h"

static void claims_take(const struct id_claims *claims, struct kms_boot *boot)
{
	memcpy(boot->app_id, claims->app_id, BY_APP_ID_LEN);
	memcpy(boot->compose_hash, claims->compose_hash, ID_HASH_LEN);
	memcpy(boot->instance_id, claims->instance_id, BY_INSTANCE_ID_LEN);
	memcpy(boot->os_image_hash, claims->os_image_hash, ID_HASH_LEN);
	memcpy(boot->device_id, claims->device_id, ID_HASH_LEN);
	memcpy(boot->mr_aggregated, claims->mr_aggregated, ID_HASH_LEN);
	memcpy(boot->mr_system, claims->mr_system, ID_HASH_LEN);
	boot->has_instance_id = claims->has_instance_id;
	boot->has_os_image_hash = claims->has_os_image_hash;
	boot->has_device_id = claims->has_device_id;
	snprintf(boot->tee_variant, sizeof(boot->tee_variant), "%s",
		 claims->tee == ID_TEE_SNP   ? "dstack-amd-sev-snp"
		 : claims->tee == ID_TEE_TDX ? "dstack-tdx"
					     : "bailey-simulated");
}

static bool is_named(const struct id_event *event, const char *name)
{
	return event->name.left == strlen(name) && memcmp(event->name.p, name, event->name.left) == 0;
}

/*
 * Of the events that count: after system-ready they are the application's own. The log was replayed, and the event is
 * in it at most once: id_events_identity() has seen to that.
 */
static void provider_take(const struct id_events *events, struct kms_boot *boot)
{
	for (size_t i = 0; i < events->n && !is_named(&events->at[i], "system-ready"); i++) {
		const struct id_event *event = &events->at[i];

		if (event->rtmr != 3 || !is_named(event, "key-provider") || event->payload.left > KMS_PROVIDER_MAX)
			continue;
		memcpy(boot->key_provider, event->payload.p, event->payload.left);
		boot->key_provider_len = (uint32_t)event->payload.left;
		return;
	}
}

/* The verdict on the platform once more, for its words. The collateral set remembers the chain. */
static int status_take(const struct id_evidence *ev, const struct id_trust *trust, struct kms_boot *boot, struct err *e)
{
	struct id_verdict verdict;
	struct id_quote quote;
	struct id_pck pck;
	int ret;

	if (ev->att.kind == ID_ATTESTATION_SNP) {
		strcpy(boot->tcb_status, "UpToDate"); /* a TCB below the policy's is refused */
		return 0;
	}
	ret = id_quote_parse(ev->att.evidence.p, ev->att.evidence.left, &quote, e);
	if (ret < 0)
		return ret;
	id_quote_judge(&quote, trust, &verdict, &pck);
	ret = id_verdict_err(&verdict, "quote", e);
	if (ret < 0)
		return ret;
	snprintf(boot->tcb_status, sizeof(boot->tcb_status), "%s",
		 verdict.tee == ID_TEE_SIM ? "Simulated" : id_tcb_status_name(verdict.tcb_status));
	memcpy(boot->advisory, verdict.advisory, sizeof(boot->advisory));
	boot->n_advisories = verdict.n_advisories;
	return 0;
}

static int cert_take(const struct id_cert *cert, const struct id_trust *trust, struct kms_boot *boot, struct err *e)
{
	auto_call(id_evidence_fini) struct id_evidence ev = { 0 };
	struct kms_boot made = { 0 };
	struct id_claims claims;
	int ret = id_cert_check(cert, trust, &claims, e);

	if (!ret)
		ret = id_evidence_read(cert, &ev, e);
	if (!ret)
		ret = status_take(&ev, trust, &made, e);
	if (ret < 0)
		return ret;
	claims_take(&claims, &made);
	provider_take(ev.is_legacy ? &ev.att.events : &ev.att.runtime, &made);
	*boot = made;
	return 0;
}

int kms_verify_cert(const uint8_t *der, size_t len, const struct id_trust *trust, struct kms_boot *boot, struct err *e)
{
	auto_call(id_cert_fini) struct id_cert cert = { 0 };
	int ret = id_cert_parse(der, len, &cert, e);

	return ret < 0 ? ret : cert_take(&cert, trust, boot, e);
}

/* Judged as the certificate that it asks for: the request's signature stands for the certificate's own. */
int kms_verify_csr(const struct id_csr *csr, const struct id_csr_evidence *evidence, const struct id_trust *trust,
		   struct kms_boot *boot, struct err *e)
{
	struct id_cert cert = { .not_after = INT64_MAX, .is_self_issued = true, .is_self_signed = true };

	memcpy(cert.spki, csr->spki, ID_SPKI_LEN);
	cert.ext[ID_EXT_ATTESTATION] = evidence->attestation;
	cert.ext[ID_EXT_QUOTE] = evidence->quote;
	cert.ext[ID_EXT_EVENTLOG] = evidence->event_log;
	return cert_take(&cert, trust, boot, e);
}

static json_t *advisories_json(const struct kms_boot *boot)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < boot->n_advisories && i < ID_ADVISORIES_MAX; i++)
		json_array_append_new(list, json_string(boot->advisory[i]));
	return list;
}

char *kms_boot_json(const struct kms_boot *boot)
{
	auto_json json_t *o =
		json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "teeVariant", boot->tee_variant,
			  "mrAggregated", json_hex(boot->mr_aggregated, ID_HASH_LEN), "osImageHash",
			  json_hex(boot->os_image_hash, boot->has_os_image_hash ? ID_HASH_LEN : 0), "mrSystem",
			  json_hex(boot->mr_system, ID_HASH_LEN), "appId", json_hex(boot->app_id, BY_APP_ID_LEN),
			  "composeHash", json_hex(boot->compose_hash, ID_HASH_LEN), "instanceId",
			  json_hex(boot->instance_id, boot->has_instance_id ? BY_INSTANCE_ID_LEN : 0), "deviceId",
			  json_hex(boot->device_id, boot->has_device_id ? ID_HASH_LEN : 0), "keyProviderInfo",
			  json_hex(boot->key_provider, boot->key_provider_len), "tcbStatus", boot->tcb_status,
			  "advisoryIds", advisories_json(boot));

	return o ? json_dumps(o, JSON_COMPACT) : NULL;
}
