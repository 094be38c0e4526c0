// SPDX-License-Identifier: Apache-2.0
/* Envelope or bare payload. What is read must be written as the same bytes; nothing verifies without a root. */
#include <stdlib.h>
#include <string.h>

#include "identity/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void payload(const uint8_t *data, size_t size)
{
	uint8_t cert_sha256[32], again[ID_RECORD_PAYLOAD_MAX];
	struct id_record record;
	struct err e = ERR_INIT;
	size_t len;

	if (id_payload_read(data, size, &record, cert_sha256, &e) < 0)
		return;
	if (id_payload_write(&record, cert_sha256, again, &len, &e) < 0 || len != size || memcmp(again, data, len) != 0)
		abort();
}

static void envelope(const uint8_t *data, size_t size)
{
	struct id_envelope read = { 0 };
	struct err e = ERR_INIT;
	uint8_t *again;
	size_t len;

	if (id_envelope_read(data, size, &read, &e) < 0)
		return;
	if (id_envelope_write(&read, &again, &len, &e) < 0 || len != size || memcmp(again, data, len) != 0)
		abort();
	free(again);
	id_envelope_fini(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_trust trust = { .now = 1795253607, .allow_simulated = true };
	struct err e = ERR_INIT;
	struct id_node node;

	payload(data, size);
	envelope(data, size);
	if (id_record_verify(data, size, &trust, &node, &e) == 0)
		abort();
	return 0;
}
