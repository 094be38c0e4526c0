// SPDX-License-Identifier: Apache-2.0
/*
 * Report, VEK, intermediate, root and CRL, each after its length (2 bytes). The root that comes along is trusted, so
 * that what is behind the chain is reached; a report that is accepted is no longer with a flipped bit.
 */
#include <stdlib.h>
#include <string.h>

#include "identity/snp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct in part(struct in *in)
{
	struct in sub = { 0 };
	uint16_t len;

	return in_u16le(in, &len) && in_sub(in, &sub, len) ? sub : (struct in){ 0 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct in in = in_of(data, size), report = part(&in), roots[ID_SNP_PRODUCTS];
	struct id_snp_certs certs = { .vek = part(&in), .intermediate = part(&in), .root = part(&in) };
	struct id_snp_trust trust = { .now = 1790000000, .roots = roots };
	uint8_t flipped[ID_SNP_REPORT_LEN];
	struct id_snp_result result;
	struct err e = ERR_INIT;

	certs.crl = part(&in);
	for (int i = 0; i < ID_SNP_PRODUCTS; i++)
		roots[i] = certs.root;
	if (id_snp_verify(report.p, report.left, &certs, &trust, &result, &e) < 0)
		return 0;
	if (result.n_reasons || result.claims.tee != ID_TEE_SNP)
		abort();
	memcpy(flipped, report.p, sizeof(flipped));
	flipped[0x50] ^= 1;
	if (id_snp_verify(flipped, sizeof(flipped), &certs, &trust, &result, &e) == 0)
		abort();
	return 0;
}
