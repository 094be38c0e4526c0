// SPDX-License-Identifier: Apache-2.0
/* id_cert_verify(). The root that a certificate's own quote carries is trusted, so that the checks behind are reached.
 */
#include <stdlib.h>
#include <string.h>

#include "identity/quote_tdx.h"
#include "identity/x509.h"

#define BEGIN "-----BEGIN CERTIFICATE-----"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The last certificate of the quote's chain. */
static void trust_own_root(const struct in *ext, struct id_trust *trust)
{
	struct id_quote quote;
	const char *p, *end;

	if (!ext->p || id_quote_parse(ext->p, ext->left, &quote, NULL) < 0)
		return;
	p = quote.pck_pem;
	end = p + quote.pck_pem_len;
	while (p < end && (p = memmem(p, (size_t)(end - p), BEGIN, strlen(BEGIN)))) {
		trust->simulated_roots = p;
		trust->simulated_roots_len = (size_t)(end - p);
		p++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_trust trust = { .allow_simulated = true };
	struct id_claims claims;
	struct id_cert cert;
	struct err e = ERR_INIT;

	if (id_cert_parse(data, size, &cert, &e) < 0)
		return 0;
	trust.now = cert.not_before;
	trust_own_root(&cert.ext[ID_EXT_QUOTE], &trust);
	if (id_cert_verify(data, size, &trust, &claims, &e) == 0 && !claims.is_simulated)
		abort();
	id_cert_fini(&cert);
	return 0;
}
