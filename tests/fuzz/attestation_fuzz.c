// SPDX-License-Identifier: Apache-2.0
/*
 * Attestations (SCALE, MessagePack), app_info, and the document behind HOST_DATA: all that is handed out lies inside
 * the input or the attestation's own bytes, and what was read replays.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "identity/attestation.h"
#include "identity/crypto.h"
#include "identity/snp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A sanitizer sees what is not readable. */
static void touch(struct in part)
{
	volatile uint8_t sum = 0;

	for (size_t i = 0; part.p && i < part.left; i++)
		sum = (uint8_t)(sum + part.p[i]);
}

static void events_check(const struct id_events *events)
{
	struct id_log log;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < events->n; i++) {
		touch(events->at[i].name);
		touch(events->at[i].payload);
		touch(events->at[i].preimage);
		touch(in_of(events->at[i].digest, events->at[i].digest ? ID_MR_LEN : 0));
	}
	if (id_events_replay(events, &log, &e) == 0)
		id_events_identity(events, &log, &e);
}

static void attestation(const uint8_t *data, size_t size)
{
	auto_call(id_attestation_fini) struct id_attestation att = { 0 };
	struct err e = ERR_INIT;

	if (id_attestation_read(data, size, &att, &e) < 0) {
		if (e.reason != ID_ATTESTATION_MALFORMED && e.reason != ID_QUOTE_UNSUPPORTED &&
		    e.reason != ID_EVENTLOG_MALFORMED && e.reason != ID_EVENTLOG_IDENTITY)
			abort();
		return;
	}
	if (att.version > 1 || att.report_data.left != ID_REPORT_DATA_LEN || att.n_certs > ID_ATTESTATION_CERTS_MAX)
		abort();
	touch(att.evidence);
	touch(att.mr_config);
	touch(att.report_data);
	touch(att.config);
	for (uint32_t i = 0; i < att.n_certs; i++)
		touch(att.certs[i]);
	events_check(&att.events);
	events_check(&att.runtime);
}

/* Reached only through its own hash: the document is given the HOST_DATA that fits, and one that does not. */
static void mr_config(const uint8_t *data, size_t size)
{
	static const char tag[] = "dstack-mr-config-v3:"; /* with its NUL */
	uint8_t host_data[32];
	struct id_log log;
	struct err e = ERR_INIT;

	if (!id_hash(EVP_sha256(), host_data, tag, sizeof(tag), data, size))
		abort();
	id_mr_config_read(in_of(data, size), host_data, &log, &e);
	host_data[0] ^= 1;
	if (id_mr_config_read(in_of(data, size), host_data, &log, &e) == 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_app_info info;
	struct err e = ERR_INIT;

	attestation(data, size);
	mr_config(data, size);
	if (id_app_info_read(in_of(data, size), &info, &e) == 0) {
		touch(info.key_provider);
		if (info.n_init_scripts > ID_INIT_SCRIPTS_MAX)
			abort();
	}
	return 0;
}
