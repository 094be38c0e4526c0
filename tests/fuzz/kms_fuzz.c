// SPDX-License-Identifier: Apache-2.0
/* What the issuer's front and asker read of strangers: certificate requests of both versions, a webhook's answer; and
 * the operator's list. The first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "kms/kms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const struct in *part, const uint8_t *data, size_t size)
{
	if (part->p && (part->p < data || part->left > size || (size_t)(part->p - data) > size - part->left))
		abort();
}

static void request(const uint8_t *data, size_t size, unsigned version)
{
	struct id_csr_evidence evidence;
	struct id_trust trust = { .now = 1790000000, .allow_simulated = true };
	struct kms_boot boot;
	struct err e = ERR_INIT;
	struct in pubkey;
	struct id_csr csr;

	if (id_csr_parse(data, size, version, &csr, &pubkey, &evidence, &e) < 0)
		return;
	inside(&pubkey, data, size);
	inside(&evidence.attestation, data, size);
	inside(&evidence.quote, data, size);
	inside(&evidence.event_log, data, size);
	if (csr.n_alt_names > ID_ISSUE_MAX_NAMES || strnlen(csr.subject, sizeof(csr.subject)) == sizeof(csr.subject))
		abort();
	/* no root is trusted, so nothing may be accepted */
	if (kms_verify_csr(&csr, &evidence, &trust, &boot, &e) == 0)
		abort();
}

static void answer(const uint8_t *data, size_t size)
{
	struct kms_decision decision = { 0 };
	struct err e = ERR_INIT;

	if (kms_webhook_answer((const char *)data, size, &decision, &e) < 0 && decision.is_allowed)
		abort();
}

/* Whatever the list says, an app without an entry gets nothing: its id is not in a text that short of random. */
static void list(const uint8_t *data, size_t size)
{
	struct kms_boot boot = { .tcb_status = "UpToDate" };
	struct kms_allow *allow = NULL;
	struct kms_decision decision;
	struct diags d = { 0 };

	if (kms_allow_parse("fuzz", (const char *)data, size, &allow, &d) == 0) {
		memset(boot.app_id, 0x5a, sizeof(boot.app_id));
		kms_allow_decide(allow, KMS_ASK_APP, &boot, &decision);
		if (decision.is_allowed && !memmem(data, size, "5a5a5a5a", 8) && !memmem(data, size, "5A", 2))
			abort();
		kms_allow_free(allow);
	}
	diags_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] == '1' || data[0] == '2')
		request(data + 1, size - 1, data[0] - '0');
	else if (data[0] == 'a')
		answer(data + 1, size - 1);
	else if (data[0] == 'l')
		list(data + 1, size - 1);
	return 0;
}
