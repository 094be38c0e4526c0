// SPDX-License-Identifier: Apache-2.0
/* A bare quote: parse, and verify with whatever roots its own chain carries. */
#include <stdlib.h>
#include <string.h>

#include "identity/quote_tdx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_trust trust = { .now = 1795253607, .allow_simulated = true };
	struct id_quote quote;
	struct id_verdict verdict;
	struct err e = ERR_INIT;

	if (id_quote_parse(data, size, &quote, &e) < 0) {
		if (e.reason != ID_QUOTE_MALFORMED && e.reason != ID_QUOTE_UNSUPPORTED && e.reason != ID_NOT_TDX)
			abort();
		return 0;
	}
	if (quote.auth + quote.auth_len > data + size ||
	    (const uint8_t *)quote.pck_pem + quote.pck_pem_len > data + size)
		abort();
	trust.simulated_roots = quote.pck_pem;
	trust.simulated_roots_len = quote.pck_pem_len;
	id_quote_judge(&quote, &trust, &verdict, NULL);
	if (verdict.is_accepted && (verdict.tee != ID_TEE_SIM || quote.has_trailing))
		abort();
	return 0;
}
